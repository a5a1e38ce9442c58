"""Transforms: exact where they can be, properties where they are random."""

import functools
import io
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from robustjax.data import transforms
from robustjax.errors import UserError


def rng(seed=0):
  return np.random.default_rng(seed)


def noise(height, width, channels=3, seed=0):
  return rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


def encode(picture, kind, **options):
  out = io.BytesIO()
  picture.save(out, kind, **options)
  return out.getvalue()


def test_decode_gives_the_pixels_back():
  image = noise(5, 7)
  png = encode(Image.fromarray(image), "PNG")
  np.testing.assert_array_equal(transforms.decode(png, 3), image)
  grey = noise(5, 7, 1)
  png = encode(Image.fromarray(grey[..., 0]), "PNG")
  np.testing.assert_array_equal(transforms.decode(png, 1), grey)
  np.testing.assert_array_equal(transforms.decode(png, 3), np.repeat(grey, 3, 2))


def test_decode_equals_pillow_on_a_large_jpeg():
  # Draft mode would decode it at half the size or less.
  jpeg = encode(Image.fromarray(noise(600, 800)), "JPEG", quality=90)
  expected = np.asarray(Image.open(io.BytesIO(jpeg)))
  np.testing.assert_array_equal(transforms.decode(jpeg, 3), expected)


def test_decode_converts_cmyk():
  pure = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
  red = transforms.decode(encode(pure, "JPEG", quality=100), 3)
  assert red.shape == (16, 16, 3)
  assert np.abs(red.astype(int) - [255, 0, 0]).max() <= 3


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("damage", ["cut", "empty", "header"])
def test_decode_refuses_broken_bytes(kind, damage):
  whole = encode(Image.fromarray(noise(40, 40)), kind)
  broken = {"cut": whole[: len(whole) // 2], "empty": b"", "header": b"x" + whole}
  with pytest.raises(ValueError, match="not a readable image"):
    transforms.decode(broken[damage], 3)


@pytest.mark.parametrize("shape", [(300, 500), (500, 300), (256, 256), (60, 90)])
def test_eval_crop_equals_pillow(shape):
  image = noise(*shape)
  height, width = shape
  short = min(shape)
  size = (round(width * 256 / short), round(height * 256 / short))
  picture = Image.fromarray(image).resize(size, Image.Resampling.BICUBIC)
  left, top = (size[0] - 224) // 2, (size[1] - 224) // 2
  expected = np.asarray(picture.crop((left, top, left + 224, top + 224)))
  np.testing.assert_array_equal(transforms.imagenet_eval(image), expected)


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


def test_crops_cover_the_stated_areas_and_aspects(monkeypatch):
  shapes = []

  def keep(image, height, width):
    shapes.append(image.shape[:2])
    return np.zeros((height, width, 3), np.uint8)

  monkeypatch.setattr(transforms, "_resize", keep)
  generator, image = rng(), noise(400, 500)
  for _ in range(3000):
    transforms._random_crop(image, generator, 10)
  height, width = np.array(shapes).T
  area, aspect = height * width / (400 * 500), width / height
  assert 0.078 < area.min() < 0.1
  assert 0.9 < area.max() <= 1.0
  assert 0.74 < aspect.min() < 0.77
  assert 1.31 < aspect.max() < 1.35


def test_every_corner_can_be_cropped(monkeypatch):
  monkeypatch.setattr(transforms, "_resize", lambda image, height, width: image)
  image = np.zeros((6, 6, 3), np.uint8)
  image[0, 0], image[0, 5], image[5, 0], image[5, 5] = 1, 2, 3, 4
  generator = rng()
  crops = [transforms._random_crop(image, generator, 6) for _ in range(500)]
  small = [crop for crop in crops if max(crop.shape[:2]) < 6]
  assert {int(crop.max()) for crop in small} == {0, 1, 2, 3, 4}


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
  pixels = np.array([[[100, 50, 0], [200, 150, 40]]], np.float32)
  np.testing.assert_allclose(change(pixels, Fixed(0.5))[0], expected, rtol=1e-6)


@pytest.mark.parametrize(
  ("along", "expected"),
  [
    ([0.1, 0.0, 0.0], [-3.14740, -3.22126, -3.23679]),
    ([0.0, 0.0, 1.0], [0.46003, -0.93407, 0.48229]),
  ],
)
def test_lighting_moves_red_green_and_blue_in_this_order(along, expected):
  change: Callable[..., Any] = transforms._lighting
  moved = change(np.full((1, 1, 3), 100, np.float32), Fixed(along))[0, 0] - 100
  np.testing.assert_allclose(moved, expected, rtol=1e-4)


def test_the_four_changes_come_in_random_order(monkeypatch):
  seen = []

  def note(name, pixels, rng):
    seen.append(name)
    return pixels

  for name in ("_brightness", "_contrast", "_saturation", "_lighting"):
    monkeypatch.setattr(transforms, name, functools.partial(note, name))
  image = noise(8, 8)
  for seed in range(60):
    transforms.imagenet_train(image, rng(seed), size=8)
  orders = {tuple(seen[i : i + 4]) for i in range(0, 240, 4)}
  assert all(len(set(order)) == 4 for order in orders)
  assert len(orders) > 12


def test_pixels_are_cut_after_each_change_and_rounded_at_the_end(monkeypatch):
  monkeypatch.setattr(transforms, "_brightness", lambda pixels, rng: pixels + 900)
  for name in ("_contrast", "_saturation", "_lighting"):
    monkeypatch.setattr(transforms, name, lambda pixels, rng: pixels - 1.2)
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


def test_wrong_size_and_wrong_channels_are_named():
  with pytest.raises(UserError, match="28 x 20 pixels .* 28 x 28"):
    transforms.by_name("small", False, 28)(noise(28, 20))
  with pytest.raises(UserError, match="RGB"):
    transforms.by_name("imagenet", False, 28)(noise(28, 28, 1))
