"""JPEGs with the sizes and frequencies of ImageNet's photographs, made of noise."""

import contextlib
import io
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow_datasets as tfds
from PIL import Image

CLASSES = 10
# The sizes that are most frequent in ImageNet, which has about 110 KB an image.
SIZES = ((375, 500), (375, 500), (333, 500), (500, 375))
# Amplitudes of natural images fall with the frequency f as f**-1 to f**-1.2. This one
# and the quality together give the 110 KB.
_SLOPE, _QUALITY = 1.2, 93


def photograph(
  rng: np.random.Generator, height: int, width: int
) -> npt.NDArray[np.uint8]:
  """Noise with a photograph's spectrum: luminance, and a third of it in colour.

  Args:
    rng: decides the picture.
    height: in pixels.
    width: in pixels.

  Returns:
    [height, width, 3] pixels, 0..255.
  """
  rows, columns = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)
  frequency = np.hypot(rows, columns)
  frequency[0, 0] = np.inf  # no constant part
  white = np.fft.rfft2(rng.standard_normal((3, height, width)))
  fields = np.fft.irfft2(white / frequency**_SLOPE, s=(height, width))
  fields /= fields.std(axis=(1, 2), keepdims=True)
  light, warm, green = 50 * fields[0], 15 * fields[1], 15 * fields[2]
  colours = np.stack([light + warm, light - 0.3 * (warm + green), light + green], -1)
  pixels = colours + rng.uniform(80, 150, 3)
  return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)


def jpegs(count: int) -> Iterator[bytes]:
  """Yields `count` encoded photographs, always the same."""
  rng = np.random.default_rng(0)
  for i in range(count):
    encoded = io.BytesIO()
    picture = Image.fromarray(photograph(rng, *SIZES[i % len(SIZES)]))
    picture.save(encoded, "JPEG", quality=_QUALITY)
    yield encoded.getvalue()


class Photographs(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
  """The TFDS builder, of files as `write` lays them out."""

  name = "photographs"
  VERSION = tfds.core.Version("1.0.0")

  def __init__(self, files: list[pathlib.Path], data_dir: pathlib.Path) -> None:
    self._files = files
    super().__init__(data_dir=str(data_dir), file_format="array_record")

  def _info(self) -> tfds.core.DatasetInfo:
    features = {
      "image": tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg"),
      "label": tfds.features.ClassLabel(num_classes=CLASSES),
    }
    return tfds.core.DatasetInfo(
      builder=self, features=tfds.features.FeaturesDict(features)
    )

  def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
    del dl_manager
    return {"train": self._generate_examples()}

  def _generate_examples(self) -> Iterator[tuple[str, dict[str, Any]]]:
    for file in self._files:
      image = io.BytesIO(file.read_bytes())
      yield file.name, {"image": image, "label": int(file.parent.name)}


def write(folder: pathlib.Path, count: int) -> float:
  """Writes photographs, as a folder a class and as a TFDS data set.

  Args:
    folder: gets `images/<class>/<number>.jpg` and `tfds/photographs`.
    count: how many.

  Returns:
    The mean size of a file in bytes.
  """
  files = []
  for i, encoded in enumerate(jpegs(count)):
    file = folder / "images" / str(i % CLASSES) / f"{i:05d}.jpg"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(encoded)
    files.append(file)
  tfds.disable_progress_bar()
  with contextlib.redirect_stdout(io.StringIO()):  # TFDS talks
    Photographs(files, folder / "tfds").download_and_prepare()
  return sum(file.stat().st_size for file in files) / count
