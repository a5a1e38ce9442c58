"""Fashion-MNIST as its authors publish it: four IDX files, compressed with gzip.

Debian's package dataset-fashion-mnist installs them in `DEBIAN`.
"""

import dataclasses
import gzip
import pathlib
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

from robustjax.errors import UserError

# IDX files hold no names: these are Fashion-MNIST's.
CLASS_NAMES = (
  "T-shirt/top",
  "Trouser",
  "Pullover",
  "Dress",
  "Coat",
  "Sandal",
  "Shirt",
  "Sneaker",
  "Bag",
  "Ankle boot",
)
DEBIAN = pathlib.Path("/usr/share/datasets/fashion-mnist")

_PREFIX = {"train": "train", "test": "t10k"}

Pixels = npt.NDArray[np.uint8]


@dataclasses.dataclass(frozen=True)
class Images:
  """The images of a split, in the order of the file, and their labels.

  Attributes:
    path: the file of the images.
    images: [n, rows, columns, 1], 0..255.
    labels: [n].
  """

  path: pathlib.Path
  images: Pixels
  labels: Pixels

  def __len__(self) -> int:
    return len(self.labels)

  def __getitem__(self, index: int) -> dict[str, Any]:
    """The pixels and the label of an image, as "image" and "label"."""
    return {"image": self.images[index], "label": int(self.labels[index])}

  def location(self, index: int) -> str:
    """Where an image is: the file, and the image's number in it."""
    return f"{self.path}, image {index}"


def is_here(folder: pathlib.Path) -> bool:
  """Whether a folder holds Fashion-MNIST's files."""
  return _images_file(folder, "train").exists()


def read(folder: pathlib.Path, split: str) -> Images:
  """Reads a split.

  Args:
    folder: with the four IDX files.
    split: "train" or "test".

  Returns:
    All of its images, in memory: 47 MB for the 60,000 of "train".

  Raises:
    UserError: if there is no such split, or a file is missing or broken.
  """
  if split not in _PREFIX:
    raise UserError(f"{folder} has no split {split!r}: use one of {', '.join(_PREFIX)}")
  path = _images_file(folder, split)
  images = read_idx(path)
  labels = read_idx(folder / f"{_PREFIX[split]}-labels-idx1-ubyte.gz")
  if images.ndim != 3 or labels.shape != images.shape[:1]:
    raise UserError(
      f"{path} has the shape {images.shape}, its labels {labels.shape}: fetch the four"
      " files again"
    )
  return Images(path, images[..., None], labels)


def read_idx(path: pathlib.Path) -> Pixels:
  """Reads a gzip-compressed IDX file of unsigned bytes.

  Args:
    path: the file; images are [count, rows, columns] and labels [count].

  Returns:
    The array with the shape that the header states, 0..255.

  Raises:
    UserError: if the file is missing or is not such a file.
  """
  try:
    content = gzip.decompress(path.read_bytes())
  except FileNotFoundError as error:
    raise UserError(
      f"{path} does not exist: install dataset-fashion-mnist (Debian), or name the"
      " folder of Fashion-MNIST's four .gz files"
    ) from error
  except (OSError, EOFError, zlib.error) as error:
    raise UserError(f"{path} is not a readable gzip file: fetch it again") from error
  rank = content[3] if content[:3] == b"\0\0\x08" else 0
  shape = np.frombuffer(content[4 : 4 + 4 * rank], ">u4").astype(int)
  body = content[4 + 4 * rank :]
  if rank == 0 or len(shape) != rank or len(body) != shape.prod():
    raise UserError(f"{path} is not a complete IDX file of bytes: fetch it again")
  return np.frombuffer(body, np.uint8).reshape(shape)


def _images_file(folder: pathlib.Path, split: str) -> pathlib.Path:
  return folder / f"{_PREFIX[split]}-images-idx3-ubyte.gz"
