"""Which way up a photograph is: the orientation in its EXIF data, as OpenCV reads it.

Pillow takes an orientation from XMP data too, and one of another type of number; what
is said here of odd files was found with OpenCV 5.0.
"""

import struct
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]

_ORIENTATION = 0x112
# OpenCV reads these on its way (description, make, model), and no further than one
# that lies outside the data.
_TEXTS = range(0x10E, 0x111)

# Of the stored pixels, what is seen. EXIF 2.32, section 4.6.4 A: in words, where its
# first row and column are.
_TURNS: Mapping[int, Callable[[Image], Image]] = {
  2: lambda stored: stored[:, ::-1],
  3: lambda stored: stored[::-1, ::-1],
  4: lambda stored: stored[::-1],
  5: lambda stored: stored.swapaxes(0, 1),
  6: lambda stored: stored.swapaxes(0, 1)[:, ::-1],
  7: lambda stored: stored.swapaxes(0, 1)[::-1, ::-1],
  8: lambda stored: stored.swapaxes(0, 1)[::-1],
}


def turned(encoded: bytes, stored: Image) -> Image:
  """An image the way up that its file says.

  Args:
    encoded: a JPEG or PNG.
    stored: [height, width, channels], its pixels as they are stored.

  Returns:
    The same pixels as cv2.imread turns them; [width, height, channels] after a
    quarter turn. As stored if the file says nothing or nothing that can be read.
  """
  # Of several, OpenCV keeps the first, even if it is none of the eight.
  found = next((n for exif in _exif(encoded) if (n := _read(exif)) is not None), 1)
  return np.ascontiguousarray(_TURNS[found](stored)) if found in _TURNS else stored


def _exif(encoded: bytes) -> Iterator[bytes]:
  """The EXIF data of a file: of a JPEG perhaps in several segments."""
  try:
    if encoded.startswith(b"\x89PNG"):
      yield from _of_png(encoded)
    else:
      yield from _of_jpeg(encoded)
  except struct.error:  # the file ends
    return


def _of_jpeg(encoded: bytes) -> Iterator[bytes]:
  at = 2
  while (at := encoded.find(b"\xff", at)) >= 0:
    marker, length = struct.unpack_from(">BH", encoded, at + 1)
    if marker == 0xDA:  # the pixels
      return
    if marker in (0x00, 0xFF):  # no marker, but padding
      at += 1
      continue
    data = encoded[at + 4 : at + 2 + length]
    if marker == 0xE1 and data.startswith(b"Exif\0\0"):
      yield data[6:]
    at += 2 + length


def _of_png(encoded: bytes) -> Iterator[bytes]:
  at = 8
  while True:
    length, name = struct.unpack_from(">I4s", encoded, at)
    if name == b"eXIf":
      yield encoded[at + 8 : at + 8 + length]
    at += 12 + length


def _read(exif: bytes) -> int | None:
  """The orientation in the first directory of TIFF data, whatever number it is."""
  order = {b"II": "<", b"MM": ">"}.get(exif[:2])
  if order is None:
    return None

  def number(kind: str, at: int) -> int:
    value: int = struct.unpack_from(order + kind, exif, at)[0]
    return value

  try:
    first = number("I", 4) if number("H", 2) == 42 else len(exif)
    for entry in range(first + 2, first + 2 + 12 * number("H", first), 12):
      tag = number("H", entry)
      if tag == _ORIENTATION:
        return number("H", entry + 8)
      if tag in _TEXTS and (length := number("I", entry + 4)) > 4:
        number("B", number("I", entry + 8) + length - 1)
  except struct.error:
    return None
  return None
