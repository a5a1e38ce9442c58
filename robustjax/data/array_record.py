"""Data sets that TFDS has prepared in the array_record format, without TensorFlow."""

import dataclasses
import json
import os
import pathlib
import re
from collections.abc import Mapping
from typing import Any

import tensorflow_datasets as tfds
from etils import epath

from robustjax.errors import UserError

SHIPPED = ("fashion_mnist_mini",)

_IMAGENET = "imagenet2012"
_SHIPPED_DIR = pathlib.Path(__file__).parent / "mini"
_VERSION = re.compile(r"\d+\.\d+\.\d+")


@dataclasses.dataclass(frozen=True)
class Shard:
  """A file of a split, and the part of it that the split takes.

  Attributes:
    name: of the file.
    first: its first record in the split, counted from 0.
    count: how many records of it the split has.
  """

  name: str
  first: int
  count: int


@dataclasses.dataclass(frozen=True)
class Records:
  """The records of a split: encoded images and labels.

  Attributes:
    class_names: one name a class, in the order of the labels.
    image_shape: height, width and channels; None where it differs between images.
    reader: TFDS's, which has random access.
    shards: the files, in the order of the records.
  """

  class_names: tuple[str, ...]
  image_shape: tuple[int | None, int | None, int]
  reader: Any
  shards: tuple[Shard, ...]

  def __len__(self) -> int:
    return len(self.reader)

  def __getitem__(self, index: int) -> Mapping[str, Any]:
    """The encoded image and the label, as "image" and "label"."""
    return self.reader[index]

  def location(self, index: int) -> str:
    """Where an image is: the file, and the record in it."""
    for shard in self.shards:
      if index < shard.count:
        return f"{shard.name}, record {shard.first + index}"
      index -= shard.count
    raise IndexError(index)


def read(
  name: str, split: str, data_dir: str | os.PathLike[str] | None, version: str | None
) -> Records:
  """Opens a split; no record is read.

  Args:
    name: of the data set.
    split: a split's name, or a slice of one ("train[:1%]").
    data_dir: where data sets were prepared; TFDS's own default if not given.
    version: such as "5.1.0"; the newest prepared one if empty.

  Raises:
    UserError: it is missing, incomplete, or of another format or other features.
  """
  root = epath.Path(_SHIPPED_DIR) if name in SHIPPED else _data_dir(data_dir)
  folder = _version_folder(name, root, version)
  _check_description(name, folder)
  builder = tfds.builder_from_directory(os.fspath(folder))
  image, label = _features(name, builder.info.features)
  _check_split(name, split, builder.info.splits, folder)
  reader = builder.as_data_source(
    split=split, decoders={"image": tfds.decode.SkipDecoding()}
  )
  shards = tuple(
    Shard(pathlib.PurePath(part.filename).name, part.skip, part.take)
    for part in builder.info.splits[split].file_instructions
  )
  return Records(tuple(label.names), image.shape, reader, shards)


def _data_dir(data_dir: str | os.PathLike[str] | None) -> epath.Path:
  named = data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
  try:
    return epath.Path(named).expanduser()
  except (ImportError, RuntimeError) as error:  # gs:// without gcsfs; nobody's home
    raise UserError(
      f"the data directory {os.fspath(named)} cannot be read here ({error}): mount it,"
      " or name a folder with --config.data.data_dir=DIR"
    ) from error


def _version_folder(name: str, root: epath.Path, version: str | None) -> epath.Path:
  """The folder of the wanted version, or the newest if none is named."""
  family = root / name
  names = [p.name for p in family.iterdir()] if family.is_dir() else []
  # An interrupted preparation leaves a folder with another kind of name.
  found = [
    v
    for v in names
    if _VERSION.fullmatch(v) and (family / v / "dataset_info.json").exists()
  ]
  if not found:
    raise UserError(
      f"data set {name!r} is not under {os.fspath(root)} (no"
      f" {name}/<version>/dataset_info.json): {_how_to_prepare(name, root)}"
    )
  if version and version not in found:
    raise UserError(
      f"data set {name!r} under {os.fspath(root)} has no version {version}, only"
      f" {', '.join(sorted(found))}: name one of these, or prepare that one"
    )
  newest = max(found, key=lambda v: tuple(map(int, v.split("."))))
  return family / (version or newest)


def _how_to_prepare(name: str, root: epath.Path) -> str:
  if name in SHIPPED:
    return "it ships with robustjax, so install the package again"
  if name == _IMAGENET:
    return (
      "get ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar, which image-net.org"
      " gives to those who register there, and run python -m robustjax.data.prepare"
      f" {name} --archives=DIR --data_dir={os.fspath(root)}, or name the folder where"
      " it was prepared with --config.data.data_dir=DIR"
    )
  hint = f"; the folder {name} would be ./{name}" if os.path.isdir(name) else ""
  return (
    f"run tfds build {name} --file_format=array_record --data_dir={os.fspath(root)}"
    " (TensorFlow is needed for this preparation only), or name the folder where it was"
    f" prepared with --config.data.data_dir=DIR{hint}"
  )


def _check_description(name: str, folder: epath.Path) -> None:
  """Reads name, version and format before TFDS does, whose errors fill a screen."""
  path = folder / "dataset_info.json"
  try:
    described = dict(json.loads(path.read_text()))
  except (ValueError, TypeError) as error:
    raise UserError(
      f"{os.fspath(path)} is not a TFDS description: copy or prepare {name!r} again"
    ) from error
  for key, expected in (("name", name.split("/")[0]), ("version", folder.name)):
    if described.get(key) != expected:
      raise UserError(
        f"{os.fspath(path)} says {key} {described.get(key)!r}, its folder {expected!r}:"
        f" copy or prepare {name!r} again"
      )
  file_format = described.get("fileFormat", "tfrecord")
  if file_format != "array_record":
    raise UserError(
      f"data set {name!r} in {os.fspath(folder)} is in the format {file_format}, which"
      " has no random access: run tfds convert_format"
      f" --dataset_version_dir={os.fspath(folder)} --out_file_format=array_record"
      f" --out_dir=NEW_DATA_DIR/{name}/{folder.name}, then give data_dir=NEW_DATA_DIR"
    )


def _features(name: str, described: Any) -> tuple[Any, Any]:
  is_dict = isinstance(described, tfds.features.FeaturesDict)
  features = dict(described.items()) if is_dict else {}
  image, label = features.get("image"), features.get("label")
  if not isinstance(image, tfds.features.Image) or not isinstance(
    label, tfds.features.ClassLabel
  ):
    raise UserError(
      f"data set {name!r} has the features {', '.join(sorted(features))}: choose one"
      ' with an Image "image" and a ClassLabel "label"'
    )
  return image, label


def _check_split(name: str, split: str, splits: Any, folder: epath.Path) -> None:
  """Finds a wrong split or a missing file now, not hours into an epoch."""
  try:
    needed = {pathlib.PurePath(p).name for p in splits[split].filenames}
  except (KeyError, ValueError, AssertionError) as error:
    raise UserError(
      f"data set {name!r} has no split {split!r}: use one of"
      f" {', '.join(sorted(splits))}, or a slice such as train[:100]"
    ) from error
  if not needed:
    raise UserError(
      f"split {split!r} of data set {name!r} is empty: name another, or a longer slice"
    )
  missing = sorted(needed - {p.name for p in folder.iterdir()})
  if missing:
    raise UserError(
      f"data set {name!r} in {os.fspath(folder)} lacks {len(missing)} of the"
      f" {len(needed)} files of split {split!r}, the first {missing[0]}: copy or"
      " prepare it again"
    )
