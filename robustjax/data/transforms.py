"""Images to fixed-size pixels: decoding, augmentation, evaluation crops.

Every transform is a pure function of an image and, in training, of a random
generator that belongs to that image alone. Pixels are 0..255, RGB or grey.
"""

import functools
import io
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from PIL import Image as pil

from robustjax.errors import UserError

Image = npt.NDArray[np.uint8]
# (image, rng) -> image in training, (image) -> image in evaluation.
Transform = Callable[..., Image]

_Pixels = npt.NDArray[np.float32]

_MODES = {1: "L", 3: "RGB"}
# Pillow reports broken bytes in each of these ways, by format and by damage.
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, pil.DecompressionBombError)

# FD: "8%~100% area", aspect ratio 3/4 to 4/3, ten tries.
_AREA = (0.08, 1.0)
_ASPECT = (3 / 4, 4 / 3)
_TRIES = 10
# FD: brightness, contrast and saturation are each scaled by 0.6 to 1.4.
_JITTER = (0.6, 1.4)
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


def decode(encoded: bytes, channels: int) -> Image:
  """Decodes a JPEG or PNG.

  Args:
    encoded: the file's bytes, of any colour space that Pillow knows. The bytes
      decide the format, not a file name: ImageNet has a PNG named JPEG.
    channels: 1 for grey or 3 for RGB; the image is converted to it.

  Returns:
    [height, width, channels] pixels, 0..255.

  Raises:
    ValueError: if the bytes are not a whole image.
  """
  try:
    with pil.open(io.BytesIO(encoded), formats=("JPEG", "PNG")) as picture:
      pixels = np.asarray(picture.convert(_MODES[channels]))
  except _BROKEN as error:
    raise ValueError(f"its {len(encoded)} bytes are not a readable image") from error
  return pixels.reshape(*pixels.shape[:2], channels)


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
  pixels = _random_crop(image, rng, size).astype(np.float32)
  changes = (_brightness, _contrast, _saturation, _lighting)
  for i in rng.permutation(len(changes)):
    pixels = np.clip(changes[i](pixels, rng), 0, 255)
  if rng.random() < 0.5:
    pixels = pixels[:, ::-1]
  return np.rint(pixels).astype(np.uint8)


def imagenet_eval(image: Image, size: int = 224, resize: int = 256) -> Image:
  """The evaluation crop of ImageNet (FD): shorter side to 256, centre 224.

  Args:
    image: [height, width, 3] pixels.
    size: side of the result in pixels.
    resize: what the shorter side is resized to before the crop, bicubic.

  Returns:
    [size, size, 3] pixels.

  Raises:
    UserError: if the image is not RGB.
  """
  _check_rgb(image)
  height, width = image.shape[:2]
  scale = resize / min(height, width)
  resized = _resize(image, int(height * scale + 0.5), int(width * scale + 0.5))
  return _centre(resized, size)


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


def by_name(name: str, train: bool, size: int) -> Transform:
  """The transform of a configuration.

  Args:
    name: "imagenet", "small" (shift and flip) or "none".
    train: whether to augment.
    size: side of the result in pixels. "imagenet" resizes to it, in evaluation
      through a shorter side of size * 256 / 224; the others require it.

  Returns:
    `(image, rng) -> image` for training, `(image) -> image` for evaluation.

  Raises:
    UserError: if there is no such transform.
  """
  resize = round(size * 256 / 224)
  evaluations: dict[str, Transform] = {
    "imagenet": functools.partial(imagenet_eval, size=size, resize=resize),
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
  height, width = image.shape[:2]
  for _ in range(_TRIES):
    area = rng.uniform(*_AREA) * height * width
    aspect = rng.uniform(*_ASPECT)
    w, h = int((area * aspect) ** 0.5 + 0.5), int((area / aspect) ** 0.5 + 0.5)
    if rng.random() < 0.5:
      w, h = h, w
    if 0 < h <= height and 0 < w <= width:
      y = rng.integers(0, height - h + 1)
      x = rng.integers(0, width - w + 1)
      # Cropped first: less to copy, and no pixel outside the crop bleeds in.
      return _resize(image[y : y + h, x : x + w], size, size)
  return imagenet_eval(image, size=size, resize=size)


def _resize(image: Image, height: int, width: int) -> Image:
  picture = pil.fromarray(image)
  return np.asarray(picture.resize((width, height), pil.Resampling.BICUBIC))


def _centre(image: Image, size: int) -> Image:
  y, x = (image.shape[0] - size) // 2, (image.shape[1] - size) // 2
  return image[y : y + size, x : x + size]


def _brightness(pixels: _Pixels, rng: np.random.Generator) -> _Pixels:
  return pixels * np.float32(rng.uniform(*_JITTER))


def _contrast(pixels: _Pixels, rng: np.random.Generator) -> _Pixels:
  mean = pixels.mean(axis=(0, 1), dtype=np.float64).astype(np.float32)
  return mean + (pixels - mean) * np.float32(rng.uniform(*_JITTER))


def _saturation(pixels: _Pixels, rng: np.random.Generator) -> _Pixels:
  red, green, blue = pixels[..., 0], pixels[..., 1], pixels[..., 2]
  weights = np.array([0.299, 0.587, 0.114], np.float32)
  grey = (weights[0] * red + weights[1] * green + weights[2] * blue)[..., None]
  return grey + (pixels - grey) * np.float32(rng.uniform(*_JITTER))


def _lighting(pixels: _Pixels, rng: np.random.Generator) -> _Pixels:
  strength = rng.normal(0.0, _LIGHTING_STD, size=3) * _EIGENVALUES
  return pixels + (_EIGENVECTORS @ strength).astype(np.float32)
