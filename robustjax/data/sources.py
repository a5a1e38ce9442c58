"""Where images come from: prepared TFDS data sets, read without TensorFlow."""

import dataclasses
import json
import os
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow_datasets as tfds
from etils import epath

from robustjax.errors import UserError

SHIPPED = ("fashion_mnist_mini",)

_SHIPPED_DIR = pathlib.Path(__file__).parent / "mini"
_VERSION = re.compile(r"\d+\.\d+\.\d+")


@dataclasses.dataclass(frozen=True)
class Source:
  """One split of a prepared data set: a sequence of encoded images and labels.

  It can be pickled, which is how it reaches worker processes.

  Attributes:
    name: the data set's name.
    split: the split's name, or a slice of one as TFDS writes it ("train[:100]").
    class_names: one name a class, in the order of the labels.
    image_shape: height, width and channels; None where it differs between images.
    records: TFDS's reader.
  """

  name: str
  split: str
  class_names: tuple[str, ...]
  image_shape: tuple[int | None, int | None, int]
  records: Sequence[Mapping[str, Any]] = dataclasses.field(repr=False, compare=False)

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
      "image", the encoded bytes (JPEG or PNG), and "label", an int.

    Raises:
      IndexError: if the index is out of range.
      UserError: if the record cannot be read or has no label.
    """
    if not 0 <= index < len(self):
      raise IndexError(f"{self.name} has examples 0..{len(self) - 1}, not {index}")
    try:
      record = self.records[index]
    except (OSError, RuntimeError, ValueError, IndexError) as error:
      raise UserError(
        f"{self.name}, split {self.split}, index {index}: the record cannot be read,"
        " its file is damaged; copy or prepare the data set again"
      ) from error
    label = int(record["label"])
    if not 0 <= label < self.num_classes:
      raise UserError(
        f"{self.name}, split {self.split}, index {index}: label {label} is not one of"
        f" 0..{self.num_classes - 1}; use a split that has labels"
      )
    return {"image": record["image"], "label": label}


def open_source(
  name: str,
  *,
  split: str,
  data_dir: str | os.PathLike[str] | None = None,
  version: str | None = None,
) -> Source:
  """Opens a prepared TFDS data set in the array_record format.

  Args:
    name: "fashion_mnist_mini", which ships with the package, or the name of any
      other prepared data set ("imagenet2012", "imagenet2012_subset/10pct") whose
      features include an "image" and a class "label".
    split: a split's name, or a slice of one ("train[:1%]").
    data_dir: where data sets were prepared. TFDS's own default if not given:
      $TFDS_DATA_DIR, else ~/tensorflow_datasets. Unused for the shipped set.
    version: such as "5.1.0"; the newest prepared one if not given.

  Returns:
    The source. No image is read yet.

  Raises:
    UserError: if the data set, version or split is missing, incomplete, or in a
      format or of features that cannot be read here.
  """
  root = epath.Path(_SHIPPED_DIR) if name in SHIPPED else _data_dir(data_dir)
  folder = _version_folder(name, root, version)
  _check_format(name, folder)
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
  )


def check(
  source: Source, *, examples: int | None = None, classes: int | None = None
) -> None:
  """Checks that a source is the one that a configuration was written for.

  Args:
    source: what was opened.
    examples: the expected number of examples; not checked if None.
    classes: the expected number of classes; not checked if None.

  Raises:
    UserError: if a number differs.
  """
  found = {"examples": len(source), "classes": source.num_classes}
  for noun, expected in (("examples", examples), ("classes", classes)):
    if expected is not None and expected != found[noun]:
      raise UserError(
        f"{source.name}, split {source.split}, has {found[noun]} {noun} where the"
        f" configuration expects {expected}: prepare the complete data set again, or"
        " change the configuration"
      )


def _data_dir(given: str | os.PathLike[str] | None) -> epath.Path:
  default = os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
  return epath.Path(given or default).expanduser()


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
  if version is not None and version not in found:
    raise UserError(
      f"data set {name!r} under {os.fspath(root)} has no version {version}, only"
      f" {', '.join(sorted(found))}: name one of these, or prepare that one"
    )
  newest = max(found, key=lambda v: tuple(map(int, v.split("."))))
  return family / (version or newest)


def _how_to_prepare(name: str, root: epath.Path) -> str:
  if name in SHIPPED:
    return "it ships with robustjax, so install the package again"
  folder = os.fspath(root)
  build = (
    f"tfds build {name} --file_format=array_record --data_dir={folder} (TensorFlow is"
    " needed for this preparation only), or name its folder with"
    " --config.data.data_dir=DIR"
  )
  if name == "imagenet2012":
    return (
      "put the official ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar in"
      f" {os.fspath(root / 'downloads' / 'manual')} and run {build}"
    )
  return f"run {build}"


def _check_format(name: str, folder: epath.Path) -> None:
  """Reads the format before TFDS does, whose own errors fill a screen."""
  path = folder / "dataset_info.json"
  try:
    file_format = json.loads(path.read_text()).get("fileFormat", "tfrecord")
  except (ValueError, AttributeError) as error:
    raise UserError(
      f"{os.fspath(path)} is not a TFDS description: copy or prepare {name!r} again"
    ) from error
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
  missing = sorted(needed - {p.name for p in folder.iterdir()})
  if missing:
    raise UserError(
      f"data set {name!r} in {os.fspath(folder)} lacks {len(missing)} of the"
      f" {len(needed)} files of split {split!r}, the first {missing[0]}: copy or"
      " prepare it again"
    )
