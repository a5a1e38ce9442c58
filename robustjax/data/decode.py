"""Encoded images to pixels, with nothing made up where bytes are missing.

Two libraries share the work. simplejpeg (libjpeg-turbo) decodes the JPEGs that a data
set consists of: it is the faster one, and the only one that reports what libjpeg
itself merely warns of, such as blocks that are missing and were filled in with grey.
Pillow decodes all that is rare. Where both can, they give the same pixels.
"""

import io
import re

import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import Image as pil

from robustjax.data import orientation

Image = npt.NDArray[np.uint8]

_MODES = {1: "L", 3: "RGB"}
# Where simplejpeg converts to the wanted channels as Pillow does.
_DIRECT = {
  (1, "Gray"): "GRAY",
  (3, "Gray"): "RGB",
  (3, "YCbCr"): "RGB",
  (3, "RGB"): "RGB",
}
# What libjpeg warns of although it found every block of the image. Cameras and
# editors leave such files, and all decoders take them. (Some damage looks the same,
# but what befalls an array_record is found by its checksums.)
_HARMLESS = re.compile(r"extraneous bytes before marker 0xd9|Invalid SOS parameters")
# 0.5 GiB of pixels, where Pillow refuses too.
_MOST_PIXELS = 178_956_970
# Pillow reports broken bytes in each of these ways, by format and by damage.
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, pil.DecompressionBombError)


def decode(encoded: bytes, channels: int, oriented: bool = False) -> Image:
  """Decodes a JPEG or PNG.

  Transparency is dropped. A JPEG has no checksum, so that damage which leaves it
  decodable cannot be seen here.

  Args:
    encoded: the file's bytes, of any colour space that Pillow knows. The bytes
      decide the format, not a file name: ImageNet has a PNG named JPEG.
    channels: 1 for grey or 3 for RGB; the image is converted to it as by Pillow.
    oriented: whether an orientation in EXIF data turns the image, as in cv2.imread
      (FD). TFDS and torchvision's image folder leave the pixels as they are stored.

  Returns:
    [height, width, channels] pixels, 0..255. Of 16-bit values the upper eight.

  Raises:
    ValueError: if the bytes are not a whole image, or one of more than 178,956,970
      pixels.
  """
  try:
    pixels = _pixels(encoded, channels)
  except _BROKEN as error:
    # Pillow names the buffer's address instead of what is wrong.
    unknown = isinstance(error, pil.UnidentifiedImageError)
    reason = "neither a JPEG nor a PNG" if unknown else error
    raise ValueError(
      f"its {len(encoded)} bytes are not a readable image ({reason})"
    ) from error
  return orientation.turned(encoded, pixels) if oriented else pixels


def _pixels(encoded: bytes, channels: int) -> Image:
  try:
    height, width, space, _ = simplejpeg.decode_jpeg_header(encoded)
  except ValueError:
    # Not a JPEG, or one whose channels are sampled in an unusual way.
    return _by_pillow(encoded, channels)
  _check_size(int(height), int(width))
  direct = _DIRECT.get((channels, space))
  try:
    # What simplejpeg converts otherwise is decoded all the same: it may be broken.
    pixels = simplejpeg.decode_jpeg(encoded, direct or "RGB")
  except ValueError as error:
    if not _HARMLESS.search(str(error)):
      raise
    return _by_pillow(encoded, channels)
  return pixels if direct else _by_pillow(encoded, channels)


def _by_pillow(encoded: bytes, channels: int) -> Image:
  with pil.open(io.BytesIO(encoded), formats=("JPEG", "PNG")) as file:
    _check_size(file.height, file.width)
    picture: pil.Image = file
    if file.mode.startswith("I"):
      # 16 bits, which Pillow would cut off at 255 instead of scaling them.
      picture = pil.fromarray((np.asarray(file) >> 8).astype(np.uint8))
    elif file.mode == "P":
      # In one step, Pillow warns of a palette with transparency.
      picture = file.convert("RGBA")
    pixels = np.asarray(picture.convert(_MODES[channels]))
  return pixels.reshape(*pixels.shape[:2], channels)


def _check_size(height: int, width: int) -> None:
  if height * width > _MOST_PIXELS:
    raise ValueError(f"{height} x {width} pixels are too many")
