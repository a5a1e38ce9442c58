"""Image folders, as torchvision and TFDS read them: FOLDER/<split>/<class>/<image>.

ImageNet's usual train/ and val/ with a folder for each synset is one.
"""

import contextlib
import dataclasses
import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

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
  """

  folder: str
  class_names: tuple[str, ...]
  names: tuple[npt.NDArray[np.bytes_], ...]
  ends: npt.NDArray[np.int64]

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
    Its files that end in .jpg, .jpeg or .png, in capitals or not. Other files, folders
    within a class and names that begin with a dot are left out.

  Raises:
    UserError: if the split is missing or has no folders of classes.
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
  names = tuple(_images(os.path.join(root, os.fsencode(name))) for name in class_names)
  ends = np.cumsum([len(of_class) for of_class in names])
  return Files(str(folder / split), tuple(class_names), names, ends)


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


def _images(folder: bytes) -> npt.NDArray[np.bytes_]:
  """The sorted names of the images in a folder, [n]."""
  with _readable(os.fsdecode(folder)), os.scandir(folder) as entries:
    names = [
      e.name
      for e in entries
      if e.name.lower().endswith(_ENDINGS)
      and not e.name.startswith(b".")
      and not e.is_dir()
    ]
  return np.array(sorted(names), np.bytes_)
