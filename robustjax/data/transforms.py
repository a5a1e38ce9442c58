"""Images to fixed-size pixels: augmentation, and the evaluation crop by its name.

Every transform is a pure function of an image and, in training, of a random
generator that belongs to that image alone. Pixels are 0..255, RGB or grey.
"""

import functools
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from PIL import Image as pil

from robustjax.data import crop
from robustjax.data.decode import Image
from robustjax.errors import UserError

# (image, rng) -> image in training, (image) -> image in evaluation.
Transform = Callable[..., Image]

# [3, height, width]: numpy works through one colour at a time several times as fast
# as through pixels of three.
_Planes = npt.NDArray[np.float32]

# FD: "8%~100% area", aspect ratio 3/4 to 4/3, ten tries.
_AREA = (0.08, 1.0)
_ASPECT = (3 / 4, 4 / 3)
_TRIES = 10
# FD: brightness, contrast and saturation are each scaled by 0.6 to 1.4.
_JITTER = (0.6, 1.4)
# Luma of ITU-R BT.601, which OpenCV's conversion to grey uses.
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
# FD: AlexNet's colour noise. Columns are the principal directions of RGB over
# ImageNet, with the standard deviations along them on the 0..255 scale.
_LIGHTING_STD = 0.1
_EIGENVALUES = 255.0 * np.array([0.2175, 0.0188, 0.0045])
_EIGENVECTORS = np.array(
  [
    [-0.5675, 0.7192, 0.4009],
    [-0.5808, -0.0045, -0.8140],
    [-0.5836, -0.6948, 0.4203],
  ]
)


def imagenet_train(image: Image, rng: np.random.Generator, size: int = 224) -> Image:
  """The training augmentation of ImageNet (FD).

  Random resized crop, colour jitter and lighting in random order, random flip.
  Two departures from FD: resizing smooths when it shrinks, as Pillow's does and
  OpenCV's does not, and pixels are rounded once at the end, not
  truncated to integers after each change.

  Args:
    image: [height, width, 3] pixels.
    rng: the randomness of this image in this epoch.
    size: side of the result in pixels.

  Returns:
    [size, size, 3] pixels.

  Raises:
    UserError: if the image is not RGB.
  """
  _check_rgb(image)
  planes = np.empty((3, size, size), np.float32)
  planes[:] = _random_crop(image, rng, size).transpose(2, 0, 1)
  changes = (_brightness, _contrast, _saturation, _lighting)
  for i in rng.permutation(len(changes)):
    changes[i](planes, rng)
    np.clip(planes, 0, 255, out=planes)
  flipped = rng.random() < 0.5
  rounded = np.rint(planes, out=planes).astype(np.uint8)
  # One colour at a time, which takes a third of the time of a transposed copy.
  result = np.empty((size, size, 3), np.uint8)
  for colour, plane in enumerate(rounded):
    result[..., colour] = plane[:, ::-1] if flipped else plane
  return result


def training_crop(
  height: int, width: int, rng: np.random.Generator
) -> tuple[int, int, int, int] | None:
  """Draws the part of an image that a training example shows (FD).

  Its area is uniform in 8 to 100 % of the image's, its aspect in 3/4 to 4/3 and
  turned around in half of the draws, its place uniform. What does not fit is drawn
  again.

  Args:
    height: of the image in pixels.
    width: of the image in pixels.
    rng: the randomness of this image in this epoch.

  Returns:
    Top, left, height and width, or None if none of ten draws fits.
  """
  for _ in range(_TRIES):
    area = rng.uniform(*_AREA) * height * width
    aspect = rng.uniform(*_ASPECT)
    w, h = int((area * aspect) ** 0.5 + 0.5), int((area / aspect) ** 0.5 + 0.5)
    if rng.random() < 0.5:
      w, h = h, w
    if 0 < h <= height and 0 < w <= width:
      top = int(rng.integers(0, height - h + 1))
      return top, int(rng.integers(0, width - w + 1)), h, w
  return None


def imagenet_eval(
  image: Image, size: int = 224, resize: int = 256, interpolation: str = "opencv"
) -> Image:
  """The evaluation crop of ImageNet: `crop.centre`, by default FD's.

  Raises:
    UserError: if the image is not RGB.
  """
  _check_rgb(image)
  return crop.centre(image, size, resize, interpolation)


def small_train(image: Image, rng: np.random.Generator, pad: int = 2) -> Image:
  """The augmentation of small images: a random shift and a random flip (ours).

  Args:
    image: [height, width, channels] pixels.
    rng: the randomness of this image in this epoch.
    pad: the largest shift in pixels, each way; zeros fill the gap.

  Returns:
    Pixels of the same shape.
  """
  height, width = image.shape[:2]
  padded = np.pad(image, ((pad, pad), (pad, pad), (0, 0)))
  y, x = rng.integers(0, 2 * pad + 1, size=2)
  shifted = padded[y : y + height, x : x + width]
  return shifted[:, ::-1] if rng.random() < 0.5 else shifted


def small_eval(image: Image) -> Image:
  """The image as it is."""
  return image


def by_name(
  name: str,
  train: bool,
  size: int,
  resize: int | None = None,
  interpolation: str = "opencv",
) -> Transform:
  """The transform of a configuration.

  Args:
    name: "imagenet", "small" (shift and flip) or "none".
    train: whether to augment.
    size: side of the result in pixels, which images have already unless the name is
      "imagenet".
    resize: of "imagenet" in evaluation, as in `crop.centre`; size * 256 / 224 if None.
    interpolation: of the same.

  Returns:
    `(image, rng) -> image` for training, `(image) -> image` for evaluation.

  Raises:
    UserError: if there is no such transform, or no such crop.
  """
  if resize is None:
    resize = crop.resize_of(size)
  if name == "imagenet":
    crop.check(size, resize, interpolation)
  evaluations: dict[str, Transform] = {
    "imagenet": functools.partial(
      imagenet_eval, size=size, resize=resize, interpolation=interpolation
    ),
    "small": functools.partial(_of_size, small_eval, size),
    "none": functools.partial(_of_size, small_eval, size),
  }
  trainings: dict[str, Transform] = {
    "imagenet": functools.partial(imagenet_train, size=size),
    "small": functools.partial(_of_size, small_train, size),
    "none": functools.partial(_of_size, _unchanged, size),
  }
  if name not in evaluations:
    raise UserError(
      f"there is no transform {name!r}: use one of {', '.join(sorted(evaluations))}"
    )
  return trainings[name] if train else evaluations[name]


def _unchanged(image: Image, rng: np.random.Generator) -> Image:
  del rng
  return image


def _of_size(transform: Transform, size: int, image: Image, *rng: object) -> Image:
  if image.shape[:2] != (size, size):
    raise UserError(
      f"an image of {image.shape[0]} x {image.shape[1]} pixels came where the"
      f" configuration says {size} x {size}: change the image size, or use the"
      " transform 'imagenet', which resizes"
    )
  return transform(image, *rng)


def _check_rgb(image: Image) -> None:
  if image.shape[2] != 3:
    raise UserError(
      f"the transform 'imagenet' is for RGB images, not for {image.shape[2]} channel:"
      " use 'small' or 'none'"
    )


def _random_crop(image: Image, rng: np.random.Generator, size: int) -> Image:
  drawn = training_crop(image.shape[0], image.shape[1], rng)
  if drawn is None:
    return _resize(image, size, _middle(image, size))
  top, left, height, width = drawn
  # Cropped first: less to copy, and no pixel outside the crop bleeds in.
  return _resize(image[top : top + height, left : left + width], size)


def _middle(image: Image, size: int) -> tuple[float, float, float, float]:
  """What is left when the shorter side becomes `size` and the longer one is cut (FD).

  Only this part is resized: as a whole, a line of pixels would take gigabytes.
  """
  height, width = image.shape[:2]
  scale = size / min(height, width)
  tall, wide = int(scale * height + 0.5), int(scale * width + 0.5)
  top, left = (tall - size) // 2, (wide - size) // 2
  xs = [x * width / wide for x in (left, left + size)]
  ys = [y * height / tall for y in (top, top + size)]
  return xs[0], ys[0], xs[1], ys[1]


def _resize(
  image: Image, size: int, box: tuple[float, float, float, float] | None = None
) -> Image:
  picture = pil.fromarray(image)
  return np.asarray(picture.resize((size, size), pil.Resampling.BICUBIC, box))


def _brightness(planes: _Planes, rng: np.random.Generator) -> None:
  planes *= np.float32(rng.uniform(*_JITTER))


def _contrast(planes: _Planes, rng: np.random.Generator) -> None:
  mean = planes.mean(axis=(1, 2), keepdims=True)
  factor = np.float32(rng.uniform(*_JITTER))
  planes *= factor
  planes += (1 - factor) * mean


def _saturation(planes: _Planes, rng: np.random.Generator) -> None:
  factor = np.float32(rng.uniform(*_JITTER))
  red, green, blue = (1 - factor) * _LUMA
  grey = red * planes[0]
  grey += green * planes[1]
  grey += blue * planes[2]
  planes *= factor
  planes += grey


def _lighting(planes: _Planes, rng: np.random.Generator) -> None:
  strength = rng.normal(0.0, _LIGHTING_STD, size=3) * _EIGENVALUES
  planes += (_EIGENVECTORS @ strength).astype(np.float32)[:, None, None]
