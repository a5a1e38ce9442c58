"""Where images come from: prepared TFDS data sets, image folders, Fashion-MNIST.

All of them are read without TensorFlow.
"""

import dataclasses
import functools
import hashlib
import importlib.resources
import json
import os
import pathlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import tensorflow_datasets as tfds
from etils import epath

from robustjax.data import folder as folders
from robustjax.data import idx
from robustjax.errors import UserError

SHIPPED = ("fashion_mnist_mini",)

_IMAGENET = "imagenet2012"
# What TFDS's readers raise for damaged files, and folders for missing ones. Other
# errors of the system, such as too many open files, may pass and break no image.
_UNREADABLE = (
  FileNotFoundError, IsADirectoryError, RuntimeError, ValueError, IndexError
)  # fmt: skip

_SHIPPED_DIR = pathlib.Path(__file__).parent / "mini"
_VERSION = re.compile(r"\d+\.\d+\.\d+")


class BrokenImage(UserError):
  """An image that cannot be read, which a run may pass over: one line that names it."""


class Records(Protocol):
  """Examples in a fixed order: "image", encoded or as pixels, and "label"."""

  def __len__(self) -> int: ...
  def __getitem__(self, index: int, /) -> Mapping[str, Any]: ...


def _record(index: int) -> str:
  return f"record {index}"


@dataclasses.dataclass(frozen=True)
class Source:
  """One split of a data set: a sequence of images and labels.

  It can be pickled, which is how it reaches worker processes.

  Attributes:
    name: the data set's name, or the folder that it is in.
    split: the split's name, or a slice of one as TFDS writes it ("train[:100]").
    class_names: one name a class, in the order of the labels.
    image_shape: height, width and channels; None where it differs between images.
    records: what reads them.
    place: index -> the file that holds the image, and where in it, for messages.
  """

  name: str
  split: str
  class_names: tuple[str, ...]
  image_shape: tuple[int | None, int | None, int]
  records: Records = dataclasses.field(repr=False, compare=False)
  place: Callable[[int], str] = dataclasses.field(
    default=_record, repr=False, compare=False
  )

  @property
  def num_classes(self) -> int:
    """The number of classes; labels are 0..num_classes - 1."""
    return len(self.class_names)

  def __len__(self) -> int:
    return len(self.records)

  def __getitem__(self, index: int) -> dict[str, Any]:
    """One example.

    Args:
      index: 0..len(self) - 1.

    Returns:
      "image", the encoded bytes (JPEG or PNG) or pixels [height, width, channels]
      in 0..255, and "label", an int.

    Raises:
      IndexError: if the index is out of range.
      BrokenImage: if the record cannot be read.
      UserError: if it has no label.
    """
    if not 0 <= index < len(self):
      raise IndexError(f"{self.name} has examples 0..{len(self) - 1}, not {index}")
    try:
      record = self.records[index]
      if record["image"] is None:  # of a file that was cut between two blocks
        raise ValueError("an empty record")
    except _UNREADABLE as error:
      raise BrokenImage(
        f"{self.at(index)}: the record cannot be read, its file is missing or damaged;"
        " copy or prepare the data set again"
      ) from error
    except OSError as error:
      raise UserError(
        f"{self.at(index)}: the file cannot be read ({error.strerror}): mend that, and"
        " the same command goes on"
      ) from error
    label = int(record["label"])
    if not 0 <= label < self.num_classes:
      raise UserError(
        f"{self.at(index)}: label {label} is not one of 0..{self.num_classes - 1}; use"
        " a split that has labels"
      )
    return {"image": record["image"], "label": label}

  def at(self, index: int) -> str:
    """An image by all its names: data set, split, index, file and place in it."""
    return f"{self.name}, split {self.split}, index {index} ({self.place(index)})"


def open_source(
  name: str,
  *,
  split: str,
  data_dir: str | os.PathLike[str] | None = None,
  version: str | None = None,
  channels: int = 3,
) -> Source:
  """Opens a data set: by a name one that TFDS has prepared, by a path a folder.

  Args:
    name: "fashion_mnist_mini", which ships with the package, or the name of any
      other data set in the array_record format ("imagenet2012",
      "imagenet2012_subset/10pct") whose features include an "image" and a class
      "label". Or a path, which begins with "/", "." or "~": of an image folder (see
      `folder`), or of a folder with Fashion-MNIST's four files (see `idx`).
    split: a split's name; of a prepared data set also a slice of one ("train[:1%]").
    data_dir: where data sets were prepared. TFDS's own default if not given:
      $TFDS_DATA_DIR, else ~/tensorflow_datasets. Unused for the shipped set and for
      a path.
    version: such as "5.1.0"; the newest prepared one if empty. A path has none.
    channels: what an image folder's images are converted to: 1 for grey, 3 for RGB.

  Returns:
    The source. No image is read yet, save those of Fashion-MNIST.

  Raises:
    UserError: if the data set, version or split is missing, incomplete, or in a
      format or of features that cannot be read here.
  """
  if is_path(name):
    return _open_path(name, split, version, channels)
  root = epath.Path(_SHIPPED_DIR) if name in SHIPPED else _data_dir(data_dir)
  folder = _version_folder(name, root, version)
  _check_description(name, folder)
  builder = tfds.builder_from_directory(os.fspath(folder))
  image, label = _features(name, builder.info.features)
  _check_split(name, split, builder.info.splits, folder)
  return Source(
    name=name,
    split=split,
    class_names=tuple(label.names),
    image_shape=image.shape,
    records=builder.as_data_source(
      split=split, decoders={"image": tfds.decode.SkipDecoding()}
    ),
    place=functools.partial(_shard_and_record, _shards(builder.info.splits[split])),
  )


def is_path(name: str) -> bool:
  """Whether the name of a data set is a path: TFDS's names begin with a letter."""
  return name[:1] in ("/", ".", "~")


def class_digest(names: Iterable[str]) -> str:
  """A digest of the names of classes in the order of their labels.

  Args:
    names: one a class.

  Returns:
    The first 16 hexadecimal digits of the SHA-256 of the names, joined by newlines.
  """
  # Names of folders need not be UTF-8.
  joined = "\n".join(names).encode(errors="surrogateescape")
  return hashlib.sha256(joined).hexdigest()[:16]


def first_difference(names: Sequence[str], digest: str) -> str:
  """Where the names of classes leave ImageNet's, if those are what was expected.

  Args:
    names: that were found, of a data set with another digest.
    digest: the expected one.

  Returns:
    Such as "class 3 is 'cat', not 'n01484850'"; "" if the digest is of other names.
  """
  expected = _imagenet_synsets()
  if class_digest(expected) != digest:
    return ""
  return _first_difference(names, expected, "not ")


def check_same_classes(train: Source, test: Source) -> None:
  """Refuses splits whose labels mean different classes.

  Raises:
    UserError: one line with the first difference.
  """
  if train.class_names != test.class_names:
    other = f"but of split {test.split!r} "
    raise UserError(
      f"{train.name}: of split {train.split!r},"
      f" {_first_difference(train.class_names, test.class_names, other)}: give both"
      " splits the same classes"
    )


def _first_difference(names: Sequence[str], others: Sequence[str], other: str) -> str:
  for i, (one, two) in enumerate(zip(names, others, strict=False)):
    if one != two:
      return f"class {i} is {one!r}, {other}{two!r}"
  return f"there are {len(names)} classes, {other}{len(others)}"


def _imagenet_synsets() -> list[str]:
  """The synsets of imagenet2012 in the order of its labels, as TFDS lists them."""
  package = importlib.resources.files("tensorflow_datasets.datasets.imagenet2012")
  return (package / "labels.txt").read_text().split()


def _open_path(name: str, split: str, version: str | None, channels: int) -> Source:
  if version:
    raise UserError(
      f"data set {name!r} is a folder and has no version {version}: add"
      " --config.data.version= with nothing behind it"
    )
  try:
    folder = pathlib.Path(name).expanduser()
  except RuntimeError as error:  # nobody has this name
    raise UserError(f"data set {name!r}: {error}; write the whole path") from error
  if idx.is_here(folder):
    images = idx.read(folder, split)
    shape = images.images.shape[1:]
    return Source(name, split, idx.CLASS_NAMES, shape, images, images.place)
  files = folders.read(folder, split)
  shape = (None, None, channels)
  return Source(name, split, files.class_names, shape, files, files.place)


def _data_dir(given: str | os.PathLike[str] | None) -> epath.Path:
  named = given or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
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
  for key, wanted in (("name", name.split("/")[0]), ("version", folder.name)):
    if described.get(key) != wanted:
      raise UserError(
        f"{os.fspath(path)} says {key} {described.get(key)!r}, its folder {wanted!r}:"
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


def _shards(split: Any) -> tuple[tuple[str, int, int], ...]:
  """The files of a split: each one's name, its first record and how many it gives."""
  return tuple(
    (pathlib.PurePath(part.filename).name, part.skip, part.take)
    for part in split.file_instructions
  )


def _shard_and_record(shards: Sequence[tuple[str, int, int]], index: int) -> str:
  for name, skip, take in shards:
    if index < take:
      return f"{name}, record {skip + index}"
    index -= take
  raise IndexError(index)
