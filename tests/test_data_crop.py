"""The evaluation crop has the pixels of the library that it names.

torchvision's are in test_parity_transforms.py; OpenCV's and Pillow's are here.
"""

import cv2
import numpy as np
import pytest
from PIL import Image

from robustjax.data import crop
from robustjax.errors import UserError

RNG = np.random.default_rng(0)


def noise(height, width, channels=3):
  return RNG.integers(0, 256, (height, width, channels), dtype=np.uint8)


def as_tensorpack(image, size, resize):
  """What FD's augmentors do to an image that cv2.imread gives, written from theirs."""
  height, width = image.shape[:2]
  scale = resize * 1.0 / min(height, width)
  if height < width:
    shape = resize, int(scale * width + 0.5)
  else:
    shape = int(scale * height + 0.5), resize
  bgr = image[..., ::-1]
  resized = cv2.resize(bgr, shape[::-1], interpolation=cv2.INTER_CUBIC)
  resized = resized.reshape(*shape, -1)
  top, left = (int((side - size) * 0.5) for side in shape)
  return resized[top : top + size, left : left + size, ::-1]


# Among them some where FD's sides and torchvision's differ, and where 256 / side times
# the side is not 256.
SHAPES = [
  (375, 500), (500, 333), (500, 351), (255, 257), (256, 256), (224, 224), (1, 1),
  (2, 3), (61, 49), (17, 900), (900, 7), (1200, 1601), (103, 103),
]  # fmt: skip
SIZES = [(224, 256), (288, 288), (64, 73), (33, 90)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_opencv_is_fds_evaluation(shape):
  for size, resize in SIZES:
    image = noise(*shape)
    found = crop.centre(image, size, resize, "opencv")
    np.testing.assert_array_equal(found, as_tensorpack(image, size, resize))
  grey = noise(*shape, 1)
  found = crop.centre(grey, 224, 256, "opencv")
  np.testing.assert_array_equal(found, as_tensorpack(grey, 224, 256))


def test_opencv_does_not_smooth_and_pillow_does():
  image = noise(1024, 1024)
  spread = {n: crop.centre(image, 224, 256, n).std() for n in crop.INTERPOLATIONS}
  assert spread["opencv"] > 45 > 25 > max(spread["pillow"], spread["bilinear"])


@pytest.mark.parametrize("filter", ["pillow", "bilinear"])
def test_a_square_is_pillows_alone(filter):
  kind = {"pillow": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
  image = noise(300, 300)
  whole = np.asarray(Image.fromarray(image).resize((256, 256), kind[filter]))
  np.testing.assert_array_equal(
    crop.centre(image, 224, 256, filter), whole[16:-16, 16:-16]
  )


def test_without_resizing_pixels_are_the_stored_ones():
  for interpolation in crop.INTERPOLATIONS:
    image = noise(20, 31)
    out = crop.centre(image, 10, -1, interpolation)
    # 10.5 goes to the even neighbour.
    np.testing.assert_array_equal(out, image[5:15, 10:20])
    out = crop.centre(image, 24, -1, interpolation)
    np.testing.assert_array_equal(out[2:22], image[:, 4:28])
    assert not out[:2].any() and not out[22:].any()
    out = crop.centre(image, 41, -1, interpolation)
    np.testing.assert_array_equal(out[10:30, 5:36], image)
    assert int(out.sum()) == int(image.sum())


@pytest.mark.parametrize("interpolation", crop.INTERPOLATIONS)
def test_a_line_of_pixels_is_never_wholly_resized(interpolation):
  image = noise(1, 60_001)
  out = crop.centre(image, 24, 28, interpolation)
  near = crop.centre(image[:, 29_900:-29_900], 24, 28, interpolation)
  assert out.shape == (24, 24, 3)
  np.testing.assert_array_equal(out, near)
  turned = crop.centre(image.swapaxes(0, 1), 24, 28, interpolation)
  assert np.abs(turned.astype(int) - out.swapaxes(0, 1)).max() <= 1


def test_what_no_crop_can_be_is_one_line():
  image = noise(9, 9)
  for arguments, message in (
    (
      (24, 23, "opencv"),
      "becomes 23 pixels, and the centre of it has 24: resize",
    ),
    ((24, 0, "opencv"), "becomes 0 pixels"),
    ((24, 28, "nearest"), "no interpolation 'nearest': use one of opencv, pillow"),
  ):
    with pytest.raises(UserError, match=message):
      crop.centre(image, *arguments)
