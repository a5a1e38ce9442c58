"""Image folders, as torchvision and TFDS read them: FOLDER/<split>/<class>/<image>.

ImageNet's usual train/ and val/ with a folder for each synset is one.
"""

import contextlib
import dataclasses
import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from robustjax.errors import UserError

_ENDINGS = (b".jpg", b".jpeg", b".png")


@dataclasses.dataclass(frozen=True)
class Files:
  """The images of a split: classes by name, and within each the files by name.

  The names of a class are one array of bytes, which takes a third of the memory that
  as many strings would, also in each worker process that gets a copy.

  Attributes:
    folder: of the split.
    class_names: the names of the class folders, sorted.
    names: of each class, the sorted names of its files.
    ends: [classes]; for each class, how many images it and those before it have.
    left_out: how many files are no images, and one of them; empty if there are none.
  """

  folder: str
  class_names: tuple[str, ...]
  names: tuple[npt.NDArray[np.bytes_], ...]
  ends: npt.NDArray[np.int64]
  left_out: str = ""

  def __len__(self) -> int:
    return int(self.ends[-1])

  def __getitem__(self, index: int) -> dict[str, Any]:
    """The file's bytes and the class's number, as "image" and "label"."""
    return {
      "image": pathlib.Path(self.location(index)).read_bytes(),
      "label": self._label(index),
    }

  def location(self, index: int) -> str:
    """The path of an image."""
    label = self._label(index)
    names = self.names[label]
    name = os.fsdecode(names[index - int(self.ends[label])])
    return os.path.join(self.folder, self.class_names[label], name)

  def _label(self, index: int) -> int:
    return int(np.searchsorted(self.ends, index, side="right"))


def read(folder: pathlib.Path, split: str) -> Files:
  """Lists a split; no image is opened.

  Args:
    folder: with a folder for each split.
    split: the name of one.

  Returns:
    Its files that end in .jpg, .jpeg or .png, in capitals or not. Other files and
    names that begin with a dot are left out.

  Raises:
    UserError: if the split is missing, has no folders of classes, or has images in
      folders within those.
  """
  splits = _folders(folder)
  if split not in splits:
    raise UserError(
      f"{folder} has no folder {split!r}"
      + (f", only {', '.join(splits)}" if splits else "")
      + ": an image folder is FOLDER/<split>/<class>/<image>, and"
      " --config.data.test_split=NAME names the split that is tested on"
    )
  class_names = _folders(folder / split)
  if not class_names:
    raise UserError(
      f"{folder / split} has no folders of classes: an image folder is"
      " FOLDER/<split>/<class>/<image>"
    )
  root = os.fsencode(folder / split)
  paths = [os.path.join(root, os.fsencode(name)) for name in class_names]
  found = [_contents(path) for path in paths]
  _check_images(folder / split, class_names, found)
  names = tuple(of_class.images for of_class in found)
  ends = np.cumsum([len(of_class) for of_class in names])
  loose = _contents(root)
  others = [os.path.join(root, name) for name in (*loose.images, *loose.others)]
  for path, of_class in zip(paths, found, strict=True):
    others += [os.path.join(path, name) for name in of_class.others]
  left_out = f"{len(others)} files, such as {os.fsdecode(others[0])}" if others else ""
  return Files(str(folder / split), tuple(class_names), names, ends, left_out)


class _Contents(NamedTuple):
  """What is in the folder of a class, by name."""

  images: npt.NDArray[np.bytes_]
  others: list[bytes]
  folders: list[bytes]


def _check_images(
  folder: pathlib.Path, class_names: Sequence[str], found: Sequence[_Contents]
) -> None:
  """Refuses images in deeper folders, which would be left out, and a split without.

  Raises:
    UserError: one line that names the first folder of them, or what was looked for.
  """
  for name, of_class in zip(class_names, found, strict=True):
    for inner in of_class.folders:
      path = folder / name / os.fsdecode(inner)
      images = sum(
        _is_image(os.fsencode(file)) for _, _, files in os.walk(path) for file in files
      )
      if images:
        raise UserError(
          f"{path} has {images} images, a level deeper than FOLDER/<split>/<class>/"
          f"<image>: move or link those of every class up, these to {folder / name}"
        )
  if not any(len(of_class.images) for of_class in found):
    raise UserError(
      f"{folder} has {len(class_names)} folders of classes, and no files in them that"
      " end in .jpg, .jpeg or .png: an image folder is FOLDER/<split>/<class>/<image>"
    )


def _folders(path: pathlib.Path) -> Sequence[str]:
  """The sorted names of the folders in a folder."""
  with _readable(path), os.scandir(path) as entries:
    return sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))


@contextlib.contextmanager
def _readable(path: str | pathlib.Path) -> Iterator[None]:
  """Says which folder it is that cannot be read."""
  try:
    yield
  except OSError as error:
    raise UserError(
      f"{path} cannot be read ({error.strerror}): name a folder of images with"
      " --config.data.name=FOLDER"
    ) from error


def _contents(folder: bytes) -> _Contents:
  """The sorted names of what is in a folder, but for those that begin with a dot."""
  images: list[bytes] = []
  others: list[bytes] = []
  folders: list[bytes] = []
  with _readable(os.fsdecode(folder)), os.scandir(folder) as entries:
    for entry in entries:
      if entry.name.startswith(b"."):
        continue
      if entry.is_dir():
        folders.append(entry.name)
      else:
        (images if _is_image(entry.name) else others).append(entry.name)
  return _Contents(np.array(sorted(images), np.bytes_), sorted(others), sorted(folders))


def _is_image(name: bytes) -> bool:
  return name.lower().endswith(_ENDINGS) and not name.startswith(b".")
