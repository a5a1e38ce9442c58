"""The orientation of a photograph is what OpenCV makes of its EXIF data."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from robustjax.data.decode import decode

PIXELS = np.random.default_rng(0).integers(0, 256, (9, 14, 3), dtype=np.uint8)
HEADER = b"Exif\0\0"


def tiff(*entries, order="<", at=8):
  """TIFF data with entries of (tag, kind, count, value)."""
  mark = {"<": b"II*\0", ">": b"MM\0*"}[order]
  data = mark + struct.pack(order + "I", at) + bytes(at - 8)
  data += struct.pack(order + "H", len(entries))
  for tag, kind, count, value in entries:
    data += struct.pack(order + "HHI", tag, kind, count)
    short = struct.pack(order + "H", value) + b"\0\0" if value < 65536 else b""
    data += short if kind == 3 else struct.pack(order + "I", value)
  return data + bytes(4)


def orientation(number, **options):
  return tiff((0x112, 3, 1, number), **options)


def jpeg(*segments, late=False):
  out = io.BytesIO()
  Image.fromarray(PIXELS).save(out, "JPEG", quality=95, subsampling=0)
  whole = out.getvalue()
  at = whole.index(b"\xff\xda") if late else 2
  extra = [b"\xff\xe1" + struct.pack(">H", len(s) + 2) + s for s in segments]
  return whole[:at] + b"".join(extra) + whole[at:]


def png(exif):
  out = io.BytesIO()
  Image.fromarray(PIXELS).save(out, "PNG")
  whole, check = out.getvalue(), zlib.crc32(b"eXIf" + exif)
  chunk = struct.pack(">I", len(exif)) + b"eXIf" + exif + struct.pack(">I", check)
  return whole[:33] + chunk + whole[33:]


def by_opencv(encoded):
  bgr = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
  return bgr[..., ::-1]


@pytest.mark.parametrize("number", range(1, 9))
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_all_orientations_are_pillows_and_opencvs(kind, order, number):
  exif = orientation(number, order=order)
  encoded = jpeg(HEADER + exif) if kind == "JPEG" else png(exif)
  found = decode(encoded, 3, oriented=True)
  turned = ImageOps.exif_transpose(Image.open(io.BytesIO(encoded)))
  np.testing.assert_array_equal(found, np.asarray(turned))
  np.testing.assert_array_equal(found, by_opencv(encoded))
  assert found.flags["C_CONTIGUOUS"]
  stored = np.asarray(Image.open(io.BytesIO(encoded)))
  np.testing.assert_array_equal(decode(encoded, 3), stored)
  grey = decode(encoded, 1, oriented=True)
  assert grey.shape == (*found.shape[:2], 1)


SIX, OUTSIDE = (0x112, 3, 1, 6), 70_000
ODD = {
  "none": jpeg(),
  "another number": jpeg(HEADER + orientation(0)),
  "nine": jpeg(HEADER + orientation(9)),
  "behind other tags": jpeg(HEADER + tiff((0x100, 3, 1, 7), (0x10F, 2, 3, 7), SIX)),
  "a later directory": jpeg(HEADER + orientation(6, at=40)),
  "of another type": jpeg(HEADER + tiff((0x112, 4, 1, 6), order=">")),
  "twice in one": jpeg(HEADER + tiff(SIX, (0x112, 3, 1, 3))),
  "in two segments": jpeg(HEADER + orientation(8), HEADER + orientation(3)),
  "upright, then not": jpeg(HEADER + orientation(1), HEADER + orientation(3)),
  "behind a broken one": jpeg(HEADER + orientation(1)[:12], HEADER + orientation(3)),
  "behind XMP": jpeg(b"http://ns.adobe.com/xap/1.0/\0<x/>", HEADER + orientation(6)),
  "in XMP": jpeg(b'http://ns.adobe.com/xap/1.0/\0<x tiff:Orientation="6"/>'),
  "late": jpeg(HEADER + orientation(6), late=True),
  "no TIFF": jpeg(HEADER + b"II+\0" + orientation(6)[4:]),
  "no order": jpeg(HEADER + b"XX" + orientation(6)[2:]),
  "another header": jpeg(b"exif\0\0" + orientation(6)),
  "directory outside": jpeg(HEADER + b"II*\0" + struct.pack("<I", 9999) + bytes(30)),
  "maker outside": jpeg(HEADER + tiff((0x10F, 2, 99, OUTSIDE), SIX)),
  "maker to the end": jpeg(HEADER + tiff((0x10F, 2, 9, 29), SIX)),
  "maker beyond it": jpeg(HEADER + tiff((0x10F, 2, 9, 30), SIX)),
  "short maker": jpeg(HEADER + tiff((0x10F, 2, 3, OUTSIDE), SIX)),
  "another outside": jpeg(HEADER + tiff((0x10D, 2, 99, OUTSIDE), SIX)),
  "then one outside": jpeg(HEADER + tiff(SIX, (0x11A, 5, 1, OUTSIDE))),
}
ODD |= {f"cut at {n}": jpeg(HEADER + orientation(6)[:n]) for n in (0, 5, 9, 19, 20, 25)}


@pytest.mark.parametrize("name", ODD)
def test_odd_data_are_read_as_by_opencv(name):
  found = decode(ODD[name], 3, oriented=True)
  np.testing.assert_array_equal(found, by_opencv(ODD[name]))


def test_damage_of_a_byte_is_read_as_by_opencv():
  whole = HEADER + tiff((0x10F, 2, 9, 30), SIX, (0x128, 3, 1, 2)) + b"a camera\0"
  turned = 0
  for at in range(len(whole)):
    for value in (0, 1, 3, 77, 255):
      encoded = jpeg(whole[:at] + bytes([value]) + whole[at + 1 :])
      found = decode(encoded, 3, oriented=True)
      np.testing.assert_array_equal(found, by_opencv(encoded), f"{at} {value}")
      turned += found.shape != PIXELS.shape
  assert 100 < turned < 5 * len(whole) - 20
