"""Small data sets in files, for the tests of what reads them."""

import gzip
import io

import numpy as np
from PIL import Image

from experiments import mbn_alp


def write_idx(path, array):
  header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
  path.write_bytes(gzip.compress(header + array.tobytes()))


def write_fake(folder, n, rng):
  """Fashion-MNIST's files, of n images each.

  The first pixel of an image is its label, and the second its place in the file.
  """
  folder.mkdir(exist_ok=True)
  for prefix in ("train", "t10k"):
    labels = rng.permutation(np.arange(n) % 10).astype(np.uint8)
    images = rng.integers(0, 256, (n, 28, 28), dtype=np.uint8)
    images[:, 0, 0] = labels
    images[:, 0, 1] = np.arange(n)
    write_idx(folder / f"{prefix}-images-idx3-ubyte.gz", images)
    write_idx(folder / f"{prefix}-labels-idx1-ubyte.gz", labels)
  return folder


def picture(seed, size, channels=3):
  """[height, width, channels] random pixels; `size` is width and height."""
  width, height = size
  shape = (height, width, channels)
  return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def encoded(pixels, kind="JPEG"):
  """The bytes of a file of these pixels, [height, width, 1 or 3]."""
  out = io.BytesIO()
  Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels).save(out, kind)
  return out.getvalue()


def image_folder(folder, counts, classes=("cat", "dog"), size=None, channels=3):
  """Writes an image folder with images of many sizes.

  Args:
    folder: made if it is missing.
    counts: split -> number of images in each class.
    classes: names.
    size: width and height of all images; all different if None.
    channels: 1 or 3.

  Returns:
    The folder.
  """
  for split, count in counts.items():
    for c, name in enumerate(classes):
      (folder / split / name).mkdir(parents=True, exist_ok=True)
      for i in range(count):
        shape = size or (30 + 3 * i, 40 + 2 * c)
        content = encoded(picture([c, i], shape, channels))
        (folder / split / name / f"{name}_{i}.jpg").write_bytes(content)
  return folder


def folder_config(folder, variant=""):
  """The configuration of MBN with ALP on an image folder."""
  c = mbn_alp.get_config(variant)
  c.data.name, c.data.version, c.data.test_split = str(folder), "", "val"
  return c
