"""Our crops and torchvision's: the same pixels in evaluation, the same law in training.

One rule differs by design: torchvision draws the logarithm of the aspect uniformly,
FD the aspect, turned around in half of the draws: the distributions are at most 0.3 %
apart.
"""

import io
import math

import numpy as np
import pytest
from PIL import Image
from torch_networks import WHY, torch, torchvision

from robustjax.data import crop, transforms
from robustjax.data.decode import decode

pytestmark = pytest.mark.parity

stats = pytest.importorskip("scipy.stats", reason=WHY)

from torchvision.transforms import transforms as T  # noqa: E402

BICUBIC = T.InterpolationMode.BICUBIC
AREA, ASPECT = (0.08, 1.0), (3 / 4, 4 / 3)


def picture(height, width, mode="RGB"):
  """Gradients with noise, as a photograph has them."""
  rng = np.random.default_rng(height * width)
  small = rng.integers(0, 256, (5, 6, 3), dtype=np.uint8)
  wide = np.asarray(Image.fromarray(small).resize((width, height)))
  grain = rng.integers(0, 64, wide.shape, dtype=np.uint8)
  return Image.fromarray(wide // 2 + grain).convert(mode)


SIZES = [
  (375, 500),
  (500, 375),
  (333, 500),
  (500, 332),
  (500, 351),
  (281, 500),
  (500, 360),
  (400, 500),
  (500, 500),
  (256, 256),
  (224, 300),
  (100, 150),
  (60, 41),
  (1200, 1600),
  (1, 1),
  (1, 70),
  (70, 1),
  (300, 1900),
]
FILES = [(*size, "RGB", {}) for size in SIZES] + [
  (375, 500, "L", {}),
  (500, 375, "CMYK", {}),
  (333, 500, "RGB", {"progressive": True}),
  (400, 300, "RGB", {"subsampling": "4:4:4"}),
  (375, 500, "RGB", {"exif": 6}),
]


CROPS = [("pillow", BICUBIC), ("bilinear", T.InterpolationMode.BILINEAR)]


@pytest.mark.parametrize("height, width, mode, options", FILES, ids=str)
def test_evaluation_crop(height, width, mode, options, tmp_path):
  options = dict(options)
  if "exif" in options:
    exif = Image.Exif()
    exif[0x0112] = options["exif"]  # a quarter turn, which nobody makes
    options["exif"] = exif
  file = tmp_path / "class" / "image.jpg"
  file.parent.mkdir()
  picture(height, width, mode).save(file, quality=92, **options)
  image = decode(file.read_bytes(), 3)
  theirs = {
    name: T.Compose([T.Resize(256, filter), T.CenterCrop(224)])
    for name, filter in CROPS
  }
  for name, transform in theirs.items():
    expected, _ = torchvision.datasets.ImageFolder(tmp_path, transform)[0]
    ours = transforms.imagenet_eval(image, 224, 256, name)
    np.testing.assert_array_equal(ours, np.asarray(expected), name)


def test_evaluation_crops_of_many_sizes():
  rng = np.random.default_rng(0)
  for number in range(120):
    most = (30, 90, 700)[number % 3]
    height, width = rng.integers(1, most, 2).tolist()
    size, resize = ((224, 256), (288, 288), (64, 73), (33, 80))[number % 4]
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    given = Image.fromarray(image)
    centre = T.CenterCrop(size)
    for name, filter in CROPS:
      expected = centre(T.Resize(resize, filter)(given))
      ours = crop.centre(image, size, resize, name)
      np.testing.assert_array_equal(ours, expected, f"{height} {width} {resize}")
    ours = crop.centre(image, size, -1, "opencv")
    np.testing.assert_array_equal(ours, centre(given), f"{height} {width} {size}")


def test_decoding_equals_torchvisions_loader(tmp_path):
  for mode in ("RGB", "L", "CMYK"):
    out = io.BytesIO()
    picture(120, 90, mode).save(out, "JPEG")
    file = tmp_path / f"{mode}.jpg"
    file.write_bytes(out.getvalue())
    theirs = np.asarray(torchvision.datasets.folder.pil_loader(str(file)))
    np.testing.assert_array_equal(decode(out.getvalue(), 3), theirs)


DRAWS = 4000
# Each of the tests below compares two samples, or one with its law. Seeds are fixed,
# so that a result is one and for all; were both samples of one law, a p below this
# would have a chance of one in a thousand.
SMALL = 1e-3


def our_crops(height, width):
  rng = np.random.default_rng(1)
  found = [transforms.training_crop(height, width, rng) for _ in range(DRAWS)]
  kept = np.array([crop for crop in found if crop]).reshape(-1, 4)
  return kept, DRAWS - len(kept)


def their_crops(height, width):
  torch.manual_seed(1)
  image = torch.empty(1, height, width)
  crops = np.array(
    [T.RandomResizedCrop.get_params(image, AREA, ASPECT) for _ in range(DRAWS)]
  )
  ratio = width / height
  if ASPECT[0] <= ratio <= ASPECT[1]:
    fallback = (0, 0, height, width)
  elif ratio > 1:
    side = round(height * ASPECT[1])
    fallback = (0, (width - side) // 2, height, side)
  else:
    side = round(width / ASPECT[0])
    fallback = ((height - side) // 2, 0, side, width)
  same = (crops == fallback).all(axis=1)
  return crops[~same], int(same.sum())


def area_aspect(crops, height, width):
  return crops[:, 2] * crops[:, 3] / (height * width), crops[:, 3] / crops[:, 2]


@pytest.mark.parametrize(
  "height, width", [(375, 500), (500, 375), (500, 333), (480, 480), (1500, 2000)]
)
def test_training_crops_have_torchvisions_areas_and_aspects(height, width):
  ours, ours_failed = our_crops(height, width)
  theirs, theirs_failed = their_crops(height, width)
  # Ten draws in a row practically never fail to fit.
  assert ours_failed <= 2
  assert theirs_failed <= 2
  pairs = zip(
    area_aspect(ours, height, width), area_aspect(theirs, height, width), strict=True
  )
  for mine, its in pairs:
    assert stats.ks_2samp(mine, its).pvalue > SMALL


def test_areas_and_aspects_follow_their_laws():
  # At most half the area always fits into this image, so nothing was drawn again.
  height, width, most = 1600, 2000, 0.5
  edge = math.log(4 / 3)
  laws = {
    our_crops: lambda u: 0.5 + np.sinh(u) / (2 * math.sinh(edge)),
    their_crops: lambda u: 0.5 + u / (2 * edge),
  }
  for crops, law in laws.items():
    area, aspect = area_aspect(crops(height, width)[0], height, width)
    small = area < most
    uniform = stats.uniform(AREA[0], most - AREA[0])
    assert stats.kstest(area[small], uniform.cdf).pvalue > SMALL
    assert stats.kstest(np.log(aspect[small]), law).pvalue > SMALL


@pytest.mark.parametrize("crops", [our_crops, their_crops])
@pytest.mark.parametrize("height, width", [(375, 500), (500, 333)])
def test_places_are_uniform(crops, height, width):
  found, _ = crops(height, width)
  # Within its pixel a corner may be anywhere.
  jitter = np.random.default_rng(2).random((len(found), 2))
  free = np.array([height, width]) - found[:, 2:] + 1
  places = (found[:, :2] + jitter) / free
  for axis in places.T:
    assert stats.kstest(axis, "uniform").pvalue > SMALL
  assert stats.spearmanr(places).pvalue > SMALL


@pytest.mark.parametrize(
  "height, width", [(120, 480), (480, 120), (80, 640), (100, 2000)]
)
def test_as_many_images_as_in_torchvision_have_no_crop(height, width):
  _, ours = our_crops(height, width)
  _, theirs = their_crops(height, width)
  table = [[ours, DRAWS - ours], [theirs, DRAWS - theirs]]
  if width == 2000:  # 8 % of the area is higher than the image
    assert ours == theirs == DRAWS
  else:
    assert 0 < ours < DRAWS
    assert stats.fisher_exact(table).pvalue > SMALL


@pytest.mark.parametrize("height, width", [(100, 2000), (2000, 100)])
def test_without_a_crop_we_take_the_centre_square(height, width):
  # FD. torchvision takes the whole shorter side too, and 4/3 of it of the longer.
  image = np.asarray(picture(height, width))
  crop = transforms._random_crop(image, np.random.default_rng(0), 100)
  top, left = (height - 100) // 2, (width - 100) // 2
  np.testing.assert_array_equal(crop, image[top : top + 100, left : left + 100])
  assert {*their_crops(height, width)[0].ravel()} == set()
