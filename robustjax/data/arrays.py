"""Images in a .npz file of NumPy, as numpy.savez writes it.

    np.savez("set.npz", images=images, labels=labels)

`images` is [n, h, w, c] or, of grey images, [n, h, w]; `labels` [n]; there may be
`names` [classes].
"""

import dataclasses
import pathlib
import zipfile
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

from robustjax.errors import UserError

SPLIT = "all"  # the only one

_MOST_CLASSES = 1_000_000  # of files without names; labels beyond are other numbers

# How zipfile and numpy's reader of the parts report damage.
_DAMAGED = (OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)


@dataclasses.dataclass(frozen=True)
class Arrays:
  """All images of a file, in memory.

  Attributes:
    path: of the file.
    images: [n, h, w, c], 0..255.
    labels: [n], 0..classes - 1.
    class_names: the file's, else "0", "1", ... to the largest label.
  """

  path: pathlib.Path
  images: npt.NDArray[np.uint8]
  labels: npt.NDArray[np.int64]
  class_names: tuple[str, ...]

  def __len__(self) -> int:
    return len(self.labels)

  def __getitem__(self, index: int) -> dict[str, Any]:
    """The pixels and the label of an image, as "image" and "label"."""
    return {"image": self.images[index], "label": int(self.labels[index])}

  def location(self, index: int) -> str:
    """Where an image is: the file, and the image's number in it."""
    return f"{self.path}, image {index}"


def is_name(name: str) -> bool:
  """Whether the name of a data set is that of a .npz file."""
  return name.endswith(".npz")


def read(path: pathlib.Path) -> Arrays:
  """Reads a file.

  Args:
    path: of the file. Pixels are uint8, or whole numbers in 0..255 of another type.

  Raises:
    UserError: it cannot be read, lacks an array, or one is not as described above.
  """
  found = _load(path)
  for name, of in (("images", "pixels"), ("labels", "classes")):
    if name not in found:
      raise UserError(
        f"{path} has no array {name!r}, only {', '.join(sorted(found)) or 'nothing'}:"
        f" save the {of} under that name, np.savez(FILE, images=..., labels=...)"
      )
  images = _images(path, found["images"])
  labels = _labels(path, found["labels"], len(images))
  return Arrays(path, images, labels, _class_names(path, found.get("names"), labels))


def _load(path: pathlib.Path) -> dict[str, npt.NDArray[Any]]:
  """The arrays that are wanted, by name; the names alone of all others."""
  try:
    if not path.exists():
      raise UserError(f"{path} does not exist: name a .npz file that does")
    with path.open("rb") as file:
      if not zipfile.is_zipfile(file):
        raise UserError(
          f"{path} is not a whole .npz file, which is a zip archive: write it with"
          " np.savez, or copy it again"
        )
    with np.load(path, allow_pickle=False) as archive:
      wanted = ("images", "labels", "names")
      return {n: _array(path, archive, n) if n in wanted else np.empty(0)
              for n in archive.files}  # fmt: skip
  except _DAMAGED as error:
    raise UserError(f"{path} is damaged ({error}): write or copy it again") from error


def _array(path: pathlib.Path, archive: Any, name: str) -> npt.NDArray[Any]:
  try:
    array = archive[name]
  except ValueError as error:
    if "allow_pickle" not in str(error):
      raise
    raise UserError(
      f"{path}: {name} holds Python objects, which may run code when they are read:"
      " save an array of numbers, or of strings for names"
    ) from error
  if not isinstance(array, np.ndarray):  # numpy gives the bytes of what is none
    raise ValueError(f"{name} is no array")
  return array


def _images(path: pathlib.Path, images: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
  shape = list(images.shape)
  if images.ndim == 3:
    images = images[..., None]
  if images.ndim != 4 or images.shape[3] not in (1, 3) or 0 in images.shape:
    colours_first = images.ndim == 4 and images.shape[1] in (1, 3)
    remedy = "save [n, height, width, channels] with 1 or 3 channels"
    raise UserError(
      f"{path}: images has the shape {shape}:"
      f" {'save images.transpose(0, 2, 3, 1)' if colours_first else remedy}"
    )
  if images.shape[3] == 1 and images.shape[1] != images.shape[2]:
    raise UserError(
      f"{path}: its grey images are {images.shape[1]} x {images.shape[2]} pixels: make"
      " them square, as only RGB images are cropped here"
    )
  if images.dtype == np.uint8:
    return images
  if images.dtype.kind not in "iuf":
    raise UserError(f"{path}: images are {images.dtype}: save them as uint8, 0..255")
  low, high = images.min(), images.max()
  if images.dtype.kind == "f" and low >= 0 and high <= 1:
    raise UserError(
      f"{path}: images are from {low:g} to {high:g}: save"
      " np.rint(255 * images).astype(np.uint8)"
    )
  if not (low >= 0 and high <= 255):
    raise UserError(
      f"{path}: images are from {low:g} to {high:g}: save pixels as uint8, 0..255,"
      " without any normalisation, which belongs to the network"
    )
  whole = images.astype(np.uint8)
  if (whole != images).any():
    raise UserError(
      f"{path}: images are not whole numbers: save np.rint(images).astype(np.uint8)"
    )
  return whole


def _labels(
  path: pathlib.Path, labels: npt.NDArray[Any], count: int
) -> npt.NDArray[np.int64]:
  if labels.dtype.kind not in "iu":
    raise UserError(
      f"{path}: labels are {labels.dtype}: save the number of each image's class, int64"
    )
  if labels.shape != (count,):
    raise UserError(
      f"{path}: labels has the shape {list(labels.shape)} for {count} images: save one"
      f" for each, [{count}]"
    )
  if labels.min() < 0:
    at = int(labels.argmin())
    raise UserError(
      f"{path}: the label of image {at} is {labels[at]}: classes count from 0; leave"
      " images without a class out"
    )
  return labels.astype(np.int64)


def _class_names(
  path: pathlib.Path, names: npt.NDArray[Any] | None, labels: npt.NDArray[np.int64]
) -> tuple[str, ...]:
  largest = int(labels.max())
  if names is None and largest >= _MOST_CLASSES:
    at = int(labels.argmax())
    raise UserError(
      f"{path}: the label of image {at} is {largest}: number the classes from 0 on, or"
      " save the names of all"
    )
  if names is None:
    return tuple(str(i) for i in range(largest + 1))
  if names.ndim != 1 or names.dtype.kind != "U":
    raise UserError(
      f"{path}: names are {names.dtype} of the shape {list(names.shape)}: save one"
      " string a class, np.array(['cat', 'dog'])"
    )
  if largest >= len(names):
    at = int(labels.argmax())
    raise UserError(
      f"{path}: the label of image {at} is {largest}, and names has"
      f" {len(names)} classes: save the names of all"
    )
  return tuple(str(name) for name in names)
