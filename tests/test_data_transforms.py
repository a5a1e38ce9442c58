"""Transforms: exact where they can be, properties where they are random."""

import functools
import pickle

import numpy as np
import pytest
from PIL import Image

from robustjax.data import crop, transforms
from robustjax.errors import UserError


def rng(seed=0):
  return np.random.default_rng(seed)


def noise(height, width, channels=3, seed=0):
  return rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


def test_eval_crop_is_fds_by_default():
  image = noise(300, 451)
  expected = crop.centre(image, 224, 256, "opencv")
  np.testing.assert_array_equal(transforms.imagenet_eval(image), expected)
  stored = transforms.by_name("imagenet", False, 288, -1, "pillow")
  np.testing.assert_array_equal(stored(image), image[6:294, 82:370])


@pytest.mark.parametrize("shape", [(300, 500), (20, 15), (1, 1), (8, 900), (900, 8)])
def test_train_gives_the_size_for_any_shape(shape):
  for seed in range(3):
    out = transforms.imagenet_train(noise(*shape), rng(seed), size=64)
    assert out.shape == (64, 64, 3)
    assert out.dtype == np.uint8


def test_train_falls_back_to_the_centre():
  # No crop of 3:4 to 4:3 and 8 % of the area fits into 8 x 900 pixels.
  image = noise(8, 900)
  np.testing.assert_array_equal(
    transforms._random_crop(image, rng(), 8), image[:, 446:454]
  )


@pytest.mark.parametrize("shape", [(7, 901), (300, 20), (1, 60_000), (29, 333)])
def test_the_middle_is_cut_as_if_from_the_resized_whole(shape):
  for size in (64, 33):
    left, top, right, bottom = transforms._middle(np.empty((*shape, 0)), size)
    assert 0 <= left < right <= shape[1] and 0 <= top < bottom <= shape[0]
    scale = min(shape) / size
    np.testing.assert_allclose([right - left, bottom - top], min(shape), rtol=0.01)
    # FD cuts whole pixels of the resized image.
    assert abs(left + right - shape[1]) <= 1.01 * scale
    assert abs(top + bottom - shape[0]) <= 1.01 * scale


def test_crops_cover_the_stated_areas_and_aspects():
  generator = rng()
  crops = [transforms.training_crop(400, 500, generator) for _ in range(3000)]
  _, _, height, width = np.array([crop for crop in crops if crop]).T
  area, aspect = height * width / (400 * 500), width / height
  assert 0.078 < area.min() < 0.1
  assert 0.9 < area.max() <= 1.0
  assert 0.74 < aspect.min() < 0.77
  assert 1.31 < aspect.max() < 1.35
  # Half of the area always fits: there nothing was drawn again. The law of the
  # logarithm u is symmetric, with a density that is proportional to cosh(u).
  u = np.linspace(-np.log(4 / 3), np.log(4 / 3), 1001)
  spread = np.sqrt(np.average(u**2, weights=np.cosh(u)))
  found = np.log(aspect[area < 0.5])
  assert abs(found.mean()) < 0.015
  assert abs(found.std() / spread - 1) < 0.04


def test_ten_crops_are_drawn_before_it_gives_up():
  drawn = []

  class Counting:
    def uniform(self, low, high):
      drawn.append((low, high))
      return rng().uniform(low, high)

    def random(self):
      return 0.0

  assert transforms.training_crop(8, 900, Counting()) is None
  assert drawn == [(0.08, 1.0), (3 / 4, 4 / 3)] * 10


def test_crops_reach_every_side_and_lie_inside():
  generator = rng()
  crops = [transforms.training_crop(6, 7, generator) for _ in range(500)]
  top, left, height, width = np.array([crop for crop in crops if crop]).T
  assert top.min() == left.min() == 0
  assert (top + height).max() == 6
  assert (left + width).max() == 7
  assert {*top} == {0, 1, 2, 3, 4}


def test_train_shows_the_crop_that_was_drawn(monkeypatch):
  for change in ("_brightness", "_contrast", "_saturation", "_lighting"):
    monkeypatch.setattr(transforms, change, lambda planes, rng: None)
  image = noise(60, 90)
  views = set()
  for seed in range(20):
    top, left, height, width = transforms.training_crop(60, 90, rng(seed))
    picture = Image.fromarray(image[top : top + height, left : left + width])
    crop = np.asarray(picture.resize((32, 32), Image.Resampling.BICUBIC))
    out = transforms.imagenet_train(image, rng(seed), size=32)
    views.add(tuple(np.array_equal(out, v) for v in (crop, crop[:, ::-1])))
  assert views == {(True, False), (False, True)}


def test_train_is_a_function_of_its_generator():
  image = noise(100, 120)
  first = transforms.imagenet_train(image, rng(1), size=32)
  np.testing.assert_array_equal(
    first, transforms.imagenet_train(image, rng(1), size=32)
  )
  assert (first != transforms.imagenet_train(image, rng(2), size=32)).any()


def test_train_flips_half_of_the_images(monkeypatch):
  monkeypatch.setattr(transforms, "_random_crop", lambda image, rng, size: image)
  ramp = np.zeros((8, 8, 3), np.uint8) + np.arange(50, 210, 20)[:, None].astype("u1")
  outs = [transforms.imagenet_train(ramp, rng(s), size=8) for s in range(200)]
  flipped = sum(int(out[0, 0].sum()) > int(out[0, -1].sum()) for out in outs)
  assert 70 < flipped < 130


class Fixed:
  """A generator whose factor is known."""

  def __init__(self, factor):
    self.factor = factor

  def uniform(self, low, high):
    assert (low, high) == (0.6, 1.4)
    return self.factor

  def normal(self, mean, std, size):
    assert (mean, std, size) == (0.0, 0.1, 3)
    return np.array(self.factor)


def planes_of(pixels):
  return np.array(pixels, np.float32)[None].transpose(2, 0, 1)


@pytest.mark.parametrize(
  ("change", "expected"),
  [
    (transforms._brightness, [[50, 25, 0], [100, 75, 20]]),
    (transforms._contrast, [[125, 75, 10], [175, 125, 30]]),
    # 0.299 R + 0.587 G + 0.114 B is 59.25 and 152.41.
    (transforms._saturation, [[79.625, 54.625, 29.625], [176.205, 151.205, 96.205]]),
  ],
)
def test_colour_changes_by_hand(change, expected):
  planes = planes_of([[100, 50, 0], [200, 150, 40]])
  change(planes, Fixed(0.5))
  np.testing.assert_allclose(planes, planes_of(expected), rtol=1e-6)


@pytest.mark.parametrize(
  ("along", "expected"),
  [
    ([0.1, 0.0, 0.0], [-3.14740, -3.22126, -3.23679]),
    ([0.0, 0.0, 1.0], [0.46003, -0.93407, 0.48229]),
  ],
)
def test_lighting_moves_red_green_and_blue_in_this_order(along, expected):
  planes = planes_of([[100, 100, 100]])
  transforms._lighting(planes, Fixed(along))
  np.testing.assert_allclose(planes - 100, planes_of([expected]), rtol=1e-4)


def plainly(image, generator):
  """The colours and the flip as the docstring has them, in float64."""
  pixels = image.astype(np.float64)
  for change in generator.permutation(4):
    if change == 3:
      strength = generator.normal(0.0, 0.1, size=3) * transforms._EIGENVALUES
      pixels = np.clip(pixels + transforms._EIGENVECTORS @ strength, 0, 255)
      continue
    factor = generator.uniform(0.6, 1.4)
    # What a factor of 0 gives: black, the mean of each colour, grey.
    mean = pixels.mean(axis=(0, 1), keepdims=True)
    grey = (pixels @ [0.299, 0.587, 0.114])[..., None]
    nothing = (0.0, mean, grey)[change]
    pixels = np.clip(nothing + factor * (pixels - nothing), 0, 255)
  flipped = generator.random() < 0.5
  return np.rint(pixels[:, ::-1] if flipped else pixels)


def test_colours_equal_a_plain_computation(monkeypatch):
  monkeypatch.setattr(transforms, "_random_crop", lambda image, rng, size: image)
  # Black, white and what is between, so that much is cut off.
  image = np.clip(noise(64, 64).astype(int) * 2 - 128, 0, 255).astype(np.uint8)
  for seed in range(50):
    out = transforms.imagenet_train(image, rng(seed), size=64)
    expected = plainly(image, rng(seed))
    # float32 rounds a value that is nearly halfway to the other side.
    assert np.abs(out - expected).max() <= 1
    assert (out != expected).mean() < 1e-3


def test_the_four_changes_come_in_random_order(monkeypatch):
  seen = []

  def note(name, planes, rng):
    seen.append(name)

  for name in ("_brightness", "_contrast", "_saturation", "_lighting"):
    monkeypatch.setattr(transforms, name, functools.partial(note, name))
  image = noise(8, 8)
  for seed in range(60):
    transforms.imagenet_train(image, rng(seed), size=8)
  orders = {tuple(seen[i : i + 4]) for i in range(0, 240, 4)}
  assert all(len(set(order)) == 4 for order in orders)
  assert len(orders) > 12


def test_pixels_are_cut_after_each_change_and_rounded_at_the_end(monkeypatch):
  def add(amount, planes, rng):
    planes += amount

  monkeypatch.setattr(transforms, "_brightness", functools.partial(add, 900))
  for name in ("_contrast", "_saturation", "_lighting"):
    monkeypatch.setattr(transforms, name, functools.partial(add, -1.2))
  image = noise(8, 8)
  outs = [transforms.imagenet_train(image, rng(seed), size=8) for seed in range(60)]
  # 255, less 1.2 for each change that follows the brightness.
  assert {int(value) for out in outs for value in out.flat} == {255, 254, 253, 251}


def test_small_train_shifts_and_flips():
  image = noise(6, 6, 1)
  padded = np.pad(image, ((2, 2), (2, 2), (0, 0)))
  views = {}
  for y in range(5):
    for x in range(5):
      crop = padded[y : y + 6, x : x + 6]
      views[crop.tobytes()] = (y, x, False)
      views[crop[:, ::-1].tobytes()] = (y, x, True)
  outs = [transforms.small_train(image, rng(s)) for s in range(600)]
  # Every one is one of the 25 shifts, flipped or not, and each of the 50 occurs.
  assert {views[out.tobytes()] for out in outs} == set(views.values())


def test_small_train_leaves_its_input_alone():
  image = noise(6, 6, 1)
  before = image.copy()
  transforms.small_train(image, rng())
  np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize(
  ("name", "size"), [("imagenet", 96), ("small", 28), ("none", 28)]
)
def test_by_name(name, size, train):
  transform = pickle.loads(pickle.dumps(transforms.by_name(name, train, size)))
  image = noise(28, 28)
  out = transform(image, rng()) if train else transform(image)
  assert out.shape == (size, size, 3)
  if name == "none" or (name == "small" and not train):
    np.testing.assert_array_equal(out, image)


def test_by_name_scales_the_shorter_side_with_the_size():
  image = noise(140, 130)
  np.testing.assert_array_equal(
    transforms.by_name("imagenet", False, 112)(image),
    transforms.imagenet_eval(image, size=112, resize=128),
  )


def test_unknown_name_lists_those_that_exist():
  with pytest.raises(UserError, match="'Imagenet': use one of imagenet, none, small"):
    transforms.by_name("Imagenet", True, 224)
  with pytest.raises(UserError, match="no interpolation 'cubic': use one of opencv"):
    transforms.by_name("imagenet", False, 224, 256, "cubic")


def test_wrong_size_and_wrong_channels_are_named():
  with pytest.raises(UserError, match="28 x 20 pixels .* 28 x 28"):
    transforms.by_name("small", False, 28)(noise(28, 20))
  with pytest.raises(UserError, match="RGB"):
    transforms.by_name("imagenet", False, 28)(noise(28, 28, 1))
