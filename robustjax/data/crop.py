"""The evaluation crop: the shorter side to a length, then the centre.

Libraries make different pixels of the same words: OpenCV does not smooth when it
shrinks, and Pillow does; and each rounds the longer side and the corner of the centre
in a way of its own. Here every pixel is that of the library which is named.
"""

import cv2
import numpy as np
from PIL import Image as pil

from robustjax.data.decode import Image
from robustjax.errors import UserError

INTERPOLATIONS = ("opencv", "pillow", "bilinear")
STORED = -1  # the length that says: do not resize

_PILLOW = {"pillow": pil.Resampling.BICUBIC, "bilinear": pil.Resampling.BILINEAR}
# A line of pixels would take gigabytes when its width becomes 256. Of an image whose
# sides have a greater ratio, only the middle part of this ratio is resized.
_LONG = 1000

# What runs side by side are the processes and threads that make batches.
cv2.setNumThreads(0)


def centre(image: Image, size: int, resize: int, interpolation: str) -> Image:
  """The centre of an image, after its shorter side is resized.

  Args:
    image: [height, width, channels] pixels. Of one more than 1000 times as long as
      wide the ends count as cut off.
    size: side of the result in pixels.
    resize: what the shorter side becomes, at least `size`; or -1: the image is not
      resized, and zeros surround it where it is smaller than `size`.
    interpolation: "opencv": INTER_CUBIC in the frame of tensorpack's
      ResizeShortestEdge and CenterCrop (FD). "pillow" and "bilinear": Pillow's bicubic
      and bilinear, which smooth, in the frame of torchvision's Resize and CenterCrop,
      which is also timm's.

  Returns:
    [size, size, channels] pixels.

  Raises:
    UserError: there is no such interpolation, or the centre is larger than the image.
  """
  check(size, resize, interpolation)
  if resize != STORED:
    image = _middle(image)
    if interpolation == "opencv":
      image = _by_opencv(image, resize)
      top, left = ((side - size) // 2 for side in image.shape[:2])
      return image[top : top + size, left : left + size]
    image = _by_pillow(image, resize, _PILLOW[interpolation])
  return _torchvisions_centre(image, size)


def check(size: int, resize: int, interpolation: str) -> None:
  """Refuses what no crop can be.

  Raises:
    UserError: one line that names it.
  """
  if interpolation not in INTERPOLATIONS:
    raise UserError(
      f"there is no interpolation {interpolation!r}: use one of"
      f" {', '.join(INTERPOLATIONS)}"
    )
  if resize != STORED and resize < size:
    raise UserError(
      f"the shorter side becomes {resize} pixels, and the centre of it has {size}:"
      f" resize to {size} or more, or say -1, which does not resize"
    )


def resize_of(size: int) -> int:
  """The length that goes with a centre by custom: 256 with 224, and in proportion."""
  return round(size * 256 / 224)


def _by_opencv(image: Image, resize: int) -> Image:
  height, width = image.shape[:2]
  scale = resize / min(height, width)
  if height < width:
    tall, wide = resize, int(scale * width + 0.5)
  else:
    tall, wide = int(scale * height + 0.5), resize
  resized = cv2.resize(image, (wide, tall), interpolation=cv2.INTER_CUBIC)
  # OpenCV drops a single channel's axis.
  return np.asarray(resized, np.uint8).reshape(tall, wide, image.shape[2])


def _by_pillow(image: Image, resize: int, filter: pil.Resampling) -> Image:
  height, width, channels = image.shape
  long = int(resize * max(height, width) / min(height, width))
  tall, wide = (resize, long) if height <= width else (long, resize)
  picture = pil.fromarray(image if channels > 1 else image[..., 0])
  return np.asarray(picture.resize((wide, tall), filter)).reshape(tall, wide, channels)


def _torchvisions_centre(image: Image, size: int) -> Image:
  short = [max(0, size - side) for side in image.shape[:2]]
  image = np.pad(image, [*((gap // 2, (gap + 1) // 2) for gap in short), (0, 0)])
  # A half goes to the even neighbour, in torchvision as in Python.
  top, left = (round((side - size) / 2) for side in image.shape[:2])
  return image[top : top + size, left : left + size]


def _middle(image: Image) -> Image:
  """The part of a very long image that is resized; its centre is the image's."""
  most = _LONG * min(image.shape[:2])
  height, width = image.shape[:2]
  top, left = (max(0, side - most) // 2 for side in (height, width))
  return image[top : height - top, left : width - left]
