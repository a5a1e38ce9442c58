"""Decoding: Pillow's pixels for whole images, an error for all others."""

import io
import itertools
import zlib

import numpy as np
import pytest
import simplejpeg
from PIL import Image

from robustjax.data.decode import decode


def noise(height, width, channels=3, seed=0):
  return np.random.default_rng(seed).integers(
    0, 256, (height, width, channels), dtype=np.uint8
  )


def smooth(height, width, seed=0):
  """Noise with gradients, such that JPEG keeps both."""
  small = Image.fromarray(noise(3, 4, seed=seed)).resize((width, height))
  return np.asarray(small) // 2 + noise(height, width, seed=seed) // 8


def encode(picture, kind, **options):
  out = io.BytesIO()
  if isinstance(picture, np.ndarray):
    picture = Image.fromarray(picture)
  picture.save(out, kind, **options)
  return out.getvalue()


def by_pillow(encoded, mode="RGB"):
  pixels = np.asarray(Image.open(io.BytesIO(encoded)).convert(mode))
  return pixels.reshape(*pixels.shape[:2], -1)


def marker(jpeg, code):
  """Where the contents of a JPEG's first segment of this kind start."""
  return jpeg.index(bytes([0xFF, code])) + 4


def test_png_gives_the_pixels_back():
  image = noise(5, 7)
  np.testing.assert_array_equal(decode(encode(image, "PNG"), 3), image)
  grey = noise(5, 7, 1)
  png = encode(grey[..., 0], "PNG")
  np.testing.assert_array_equal(decode(png, 1), grey)
  np.testing.assert_array_equal(decode(png, 3), np.repeat(grey, 3, 2))


SIZES = [(1, 1), (1, 40), (40, 1), (2, 3), (15, 17), (33, 16), (131, 100)]


@pytest.mark.parametrize("sampling", ["444", "422", "420", "440", "411"])
def test_jpeg_is_identical_with_pillow(sampling):
  for size, quality in itertools.product(SIZES, (5, 75, 95)):
    jpeg = simplejpeg.encode_jpeg(
      np.ascontiguousarray(smooth(*size)), quality, "RGB", sampling
    )
    np.testing.assert_array_equal(decode(jpeg, 3), by_pillow(jpeg))
    np.testing.assert_array_equal(decode(jpeg, 1), by_pillow(jpeg, "L"))


@pytest.mark.parametrize(
  "options",
  [
    {"progressive": True},
    {"progressive": True, "subsampling": "4:4:4"},
    {"restart_marker_blocks": 3},
    {"optimize": True},
    {"keep_rgb": True, "subsampling": "4:4:4"},
  ],
  ids=str,
)
def test_kinds_of_jpeg_are_identical_with_pillow(options):
  for size in SIZES:
    jpeg = encode(smooth(*size), "JPEG", quality=90, **options)
    np.testing.assert_array_equal(decode(jpeg, 3), by_pillow(jpeg))


def test_large_jpeg_keeps_its_size():
  # Draft mode would decode it at half the size or less.
  jpeg = encode(noise(600, 800), "JPEG", quality=90)
  np.testing.assert_array_equal(decode(jpeg, 3), by_pillow(jpeg))


def test_grey_jpeg():
  jpeg = encode(smooth(20, 30)[..., 0], "JPEG")
  grey = by_pillow(jpeg, "L")
  np.testing.assert_array_equal(decode(jpeg, 1), grey)
  np.testing.assert_array_equal(decode(jpeg, 3), np.repeat(grey, 3, 2))
  # A single channel may state any sampling, which changes nothing.
  twice = bytearray(jpeg)
  twice[marker(jpeg, 0xC0) + 7] = 0x22
  np.testing.assert_array_equal(decode(bytes(twice), 1), grey)


def test_cmyk_as_pillow_converts_it():
  pure = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
  cmyk = encode(pure, "JPEG", quality=100)
  red = decode(cmyk, 3)
  assert np.abs(red.astype(int) - [255, 0, 0]).max() <= 3
  ycck = simplejpeg.encode_jpeg(noise(20, 30, 4), 95, "CMYK", "420")
  assert [simplejpeg.decode_jpeg_header(j)[2] for j in (cmyk, ycck)] == ["CMYK", "YCCK"]
  for jpeg, mode in itertools.product((cmyk, ycck), ("RGB", "L")):
    pixels = decode(jpeg, len(mode))
    np.testing.assert_array_equal(pixels, by_pillow(jpeg, mode))


def test_orientation_in_exif_is_ignored():
  exif = Image.Exif()
  exif[0x0112] = 6  # a quarter turn
  picture = Image.fromarray(smooth(20, 30))
  for mode in ("RGB", "CMYK"):
    jpeg = encode(picture.convert(mode), "JPEG", exif=exif)
    assert decode(jpeg, 3).shape == (20, 30, 3)
    np.testing.assert_array_equal(decode(jpeg, 3), by_pillow(jpeg))


def test_sixteen_bits_are_scaled():
  values = np.arange(0, 65536, 1000, dtype=np.uint16).reshape(6, 11)
  png = encode(Image.fromarray(values), "PNG")
  np.testing.assert_array_equal(decode(png, 1)[..., 0], values >> 8)
  np.testing.assert_array_equal(decode(png, 3)[..., 2], values >> 8)


def test_palette_transparency_and_two_levels():
  image = Image.fromarray(smooth(20, 30))
  palette = image.convert("P")
  expected = np.asarray(palette.convert("RGB"))
  for options in ({}, {"transparency": b"\0" * 9}, {"transparency": 3}):
    png = encode(palette, "PNG", **options)
    np.testing.assert_array_equal(decode(png, 3), expected)
  transparent = image.copy()
  transparent.putalpha(100)
  np.testing.assert_array_equal(decode(encode(transparent, "PNG"), 3), image)
  two = decode(encode(image.convert("1"), "PNG"), 3)
  assert set(np.unique(two)) == {0, 255}


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("damage", ["cut", "empty", "header", "start"])
def test_broken_bytes_are_refused(kind, damage):
  whole = encode(noise(40, 40), kind)
  broken = {
    "cut": whole[: len(whole) // 2],
    "empty": b"",
    "header": b"x" + whole,
    "start": whole[:2],
  }
  with pytest.raises(ValueError, match=r"not a readable image \(") as caught:
    decode(broken[damage], 3)
  assert "0x" not in str(caught.value)  # an object's address


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("colours", ["RGB", "L", "CMYK"])
def test_missing_blocks_are_never_filled_in(colours, progressive):
  picture = Image.fromarray(smooth(60, 80)).convert(colours)
  whole = encode(picture, "JPEG", quality=90, progressive=progressive)
  first = marker(whole, 0xDA) + 20
  for length in range(first, len(whole) - 2, len(whole) // 25):
    # The end mark makes it look complete: Pillow gives such a file a grey part.
    for broken in (whole[:length], whole[:length] + b"\xff\xd9"):
      with pytest.raises(ValueError, match="not a readable image"):
        decode(broken, 3)


def test_bad_code_is_refused():
  whole = encode(smooth(60, 80), "JPEG", quality=90)
  middle = len(whole) // 2
  # All ones are no code of any table of JPEG's.
  broken = whole[:middle] + b"\xff\x00" * 40 + whole[middle:]
  assert by_pillow(broken).shape == (60, 80, 3)
  with pytest.raises(ValueError, match="not a readable image"):
    decode(broken, 3)


def test_what_loses_no_pixel_is_harmless():
  whole = encode(smooth(20, 30), "JPEG")
  expected = by_pillow(whole)
  scan = bytearray(whole)
  scan[marker(whole, 0xDA) + 8] = 0  # the last coefficient, which must be 63
  for odd in (whole + b"more", whole[:-2] + b"more" + whole[-2:], bytes(scan)):
    np.testing.assert_array_equal(decode(odd, 3), expected)


def test_bytes_between_blocks_are_damage():
  jpeg = encode(smooth(64, 64), "JPEG", restart_marker_blocks=1)
  at = jpeg.index(b"\xff\xd1", marker(jpeg, 0xDA))
  with pytest.raises(ValueError, match="bytes before marker 0xd1"):
    decode(jpeg[:at] + 50 * b"7" + jpeg[at:], 3)


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF", "WEBP"])
def test_other_formats_are_refused(kind):
  with pytest.raises(ValueError, match="neither a JPEG nor a PNG"):
    decode(encode(noise(5, 7), kind), 3)


@pytest.mark.filterwarnings("ignore")  # Pillow's, of what it can still read
def test_damage_of_any_kind_is_one_kind_of_error():
  rng = np.random.default_rng(0)
  modes = itertools.product(("RGB", "L", "P", "CMYK"), ("PNG", "JPEG"))
  possible = [m for m in modes if m not in {("P", "JPEG"), ("CMYK", "PNG")}]
  files = [encode(Image.fromarray(smooth(9, 12)).convert(m), k) for m, k in possible]
  refused = 0
  for file in files * 60:
    # Most of the bytes of such a small file are its headers.
    broken = bytearray(file)
    broken[rng.integers(len(file))] = rng.integers(256)
    try:
      assert decode(bytes(broken), 3).shape[2] == 3
    except ValueError as error:
      assert "not a readable image" in str(error)
      refused += 1
  assert refused > 100


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_too_many_pixels_are_refused_before_they_are_decoded(kind):
  whole = bytearray(encode(noise(8, 8), kind))
  at, width = (marker(whole, 0xC0) + 1, 2) if kind == "JPEG" else (16, 4)
  whole[at : at + 2 * width] = 2 * (20_000).to_bytes(width, "big")
  if kind == "PNG":
    whole[29:33] = zlib.crc32(whole[12:29]).to_bytes(4, "big")
  with pytest.raises(ValueError, match="too many|exceeds limit"):
    decode(bytes(whole), 3)
