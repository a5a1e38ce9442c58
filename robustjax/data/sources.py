"""Where images come from: TFDS data sets, image folders, Fashion-MNIST, .npz files.

All of them are read without TensorFlow.
"""

import dataclasses
import hashlib
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from robustjax.data import array_record, arrays, idx
from robustjax.data import folder as folders
from robustjax.errors import UserError

# What TFDS's readers raise for damaged files, and folders for missing ones. Other
# errors of the system, such as too many open files, may pass and break no image.
_UNREADABLE = (
  FileNotFoundError, IsADirectoryError, RuntimeError, ValueError, IndexError
)  # fmt: skip


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
    location: index -> the file that holds the image, and where in it, for messages.
    oriented: whether EXIF data turns an encoded image (see `decode`).
  """

  name: str
  split: str
  class_names: tuple[str, ...]
  image_shape: tuple[int | None, int | None, int]
  records: Records = dataclasses.field(repr=False, compare=False)
  location: Callable[[int], str] = dataclasses.field(
    default=_record, repr=False, compare=False
  )
  oriented: bool = False

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
    record = self.record(index)
    label = int(record["label"])
    if not 0 <= label < self.num_classes:
      raise UserError(
        f"{self.at(index)}: label {label} is not one of 0..{self.num_classes - 1}; use"
        " a split that has labels"
      )
    return {"image": record["image"], "label": label}

  def record(self, index: int) -> Mapping[str, Any]:
    """All that is kept of an example, such as its "file_name".

    Raises:
      IndexError: if the index is out of range.
      BrokenImage: if the record cannot be read.
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
    return record

  def at(self, index: int) -> str:
    """An image by all its names: data set, split, index, file and place in it."""
    return f"{self.name}, split {self.split}, index {index} ({self.location(index)})"


def open_source(
  name: str,
  *,
  split: str,
  data_dir: str | os.PathLike[str] | None = None,
  version: str | None = None,
  channels: int = 3,
  oriented: bool = False,
) -> Source:
  """Opens a data set: by a name one of TFDS's, by a path a folder or file.

  Args:
    name: "fashion_mnist_mini", which ships with the package, or the name of any
      other data set in the array_record format ("imagenet2012",
      "imagenet2012_subset/10pct") whose features include an "image" and a class
      "label". Or a path, which begins with "/", "." or "~": of an image folder (see
      `folder`), or of a folder with Fashion-MNIST's four files (see `idx`). Or a
      path that ends in .npz, of a file of arrays (see `arrays`).
    split: a split's name; of a prepared data set also a slice of one ("train[:1%]").
      A .npz file has one, "all", and gives it whatever is asked for.
    data_dir: where data sets were prepared. TFDS's own default if not given:
      $TFDS_DATA_DIR, else ~/tensorflow_datasets. Unused for the shipped set and for
      a path.
    version: such as "5.1.0"; the newest prepared one if empty. A path has none.
    channels: what an image folder's images are converted to: 1 for grey, 3 for RGB.
    oriented: whether EXIF data turns an encoded image (see `decode`).

  Returns:
    The source. No image is read yet, save those of Fashion-MNIST and of a .npz file.

  Raises:
    UserError: if the data set, version or split is missing, incomplete, or in a
      format or of features that cannot be read here.
  """
  if is_path(name) or arrays.is_name(name):
    return _open_path(name, split, version, channels, oriented)
  records = array_record.read(name, split, data_dir, version)
  return Source(
    name, split, records.class_names, records.image_shape, records, records.location,
    oriented,
  )  # fmt: skip


def is_path(name: str) -> bool:
  """Whether the name of a data set is a path: TFDS's names begin with a letter."""
  return name[:1] in ("/", ".", "~")


def place(name: str) -> str:
  """The one name of a path, however it is written; other names are as they are."""
  return os.path.realpath(os.path.expanduser(name)) if is_path(name) else name


def digest(source: Source) -> str:
  """Which images a path has, wherever it is: 16 hexadecimal digits; else "".

  Of an image folder it is of the names of classes and files, of arrays of their bytes.
  """
  records = source.records
  parts: list[bytes] = []
  if isinstance(records, folders.Files):
    for name, files in zip(records.class_names, records.names, strict=True):
      parts += [os.fsencode(name), b"/", b"/".join(files), b"//"]
  elif isinstance(records, idx.Images):
    parts = [records.images.tobytes(), records.labels.tobytes()]
  return hashlib.sha256(b"".join(parts)).hexdigest()[:16] if parts else ""


def _open_path(
  name: str, split: str, version: str | None, channels: int, oriented: bool
) -> Source:
  if version:
    raise UserError(
      f"data set {name!r} is a path and has no version {version}: add"
      " --config.data.version= with nothing behind it"
    )
  try:
    folder = pathlib.Path(name).expanduser()
  except RuntimeError as error:  # nobody has this name
    raise UserError(f"data set {name!r}: {error}; write the whole path") from error
  if arrays.is_name(name):
    of_file = arrays.read(folder)
    shape = of_file.images.shape[1:]
    return Source(
      name, arrays.SPLIT, of_file.class_names, shape, of_file, of_file.location
    )
  if idx.is_here(folder):
    images = idx.read(folder, split)
    shape = images.images.shape[1:]
    return Source(name, split, idx.CLASS_NAMES, shape, images, images.location)
  files = folders.read(folder, split)
  shape = (None, None, channels)
  return Source(name, split, files.class_names, shape, files, files.location, oriented)
