"""TFDS's own builder of ImageNet 2012, run without TensorFlow.

The builder asks TensorFlow for two things, which are given to it here: files, and the
conversion of the 23 images that are no RGB JPEGs. What it writes is what it writes with
TensorFlow, but for two things. The order of the features within a record is that of a
hash there, which changes from run to run, and sorted here. And the pixels of a CMYK
image with chroma subsampling are rounded differently (see `rgb_jpeg`).
"""

import contextlib
import io
import os
import pathlib
import tarfile
import types
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
import tqdm
from PIL import Image, JpegImagePlugin, UnidentifiedImageError
from tensorflow_datasets.core import file_adapters, shuffle, writer
from tensorflow_datasets.core.download import extractor
from tensorflow_datasets.datasets.imagenet2012 import (
  imagenet2012_dataset_builder,
  imagenet_common,
)
from tensorflow_datasets.proto import tf_example_pb2

from robustjax.data import archives
from robustjax.errors import UserError

NAME, VERSION = "imagenet2012", "5.1.0"
# TFDS sorts what does not fit into this much memory through files, all open at once.
SORTED_IN_MEMORY = shuffle.MAX_MEM_BUFFER_SIZE
SORTING_FILES = shuffle.BUCKETS_NUMBER

_TEST = "ILSVRC2012_img_test.tar"
# The modules between the archives and the shards that look for files as `tf.io.gfile`.
_MODULES = (imagenet2012_dataset_builder, imagenet_common, extractor, shuffle)

# Makes a bar from a description and a number of images.
Progress = Callable[[str, int], "tqdm.tqdm[Any]"]


def write(
  train: archives.Archive,
  validation: archives.Archive,
  data_dir: pathlib.Path,
  progress: Progress,
) -> pathlib.Path:
  """Writes the data set in the array_record format.

  Args:
    train: checked; in one folder with the other.
    validation: checked.
    data_dir: a TFDS data directory without this data set.
    progress: makes the bars: two for each archive, in images.

  Returns:
    The folder of the version.

  Raises:
    UserError: an archive turns out to be damaged.
    OSError, RuntimeError: the disk is full, or cannot be written to.
  """
  builder = tfds.builder(NAME, data_dir=data_dir, file_format="array_record")
  if str(builder.version) != VERSION:
    raise UserError(
      f"the installed tensorflow-datasets writes {NAME}:{builder.version}, not"
      f" {VERSION}: install the version that robustjax asks for"
    )
  records = _Records(progress)
  examples = builder._generate_examples

  def counted(archive: Any, **labels: Any) -> Iterator[Any]:
    source = validation if labels else train
    return records.counted(examples(archive, **labels), source)

  # Three of its own steps, of this instance alone.
  builder._generate_examples = counted
  builder._fix_image = _fixed
  builder._example_writer = lambda: records
  config = tfds.download.DownloadConfig(
    manual_dir=train.path.parent,
    try_download_gcs=False,  # or it would ask the network
  )
  with _without_tensorflow(), contextlib.redirect_stdout(io.StringIO()):
    tfds.disable_progress_bar()
    try:
      builder.download_and_prepare(download_config=config)
    finally:
      records.close()
      tfds.enable_progress_bar()
  return pathlib.Path(builder.data_dir)


class _Records(writer.ExampleWriter):
  """What TFDS offers a place for between its examples and its files.

  It counts images as they are read and as they are written, and sorts the features.
  """

  def __init__(self, progress: Progress) -> None:
    super().__init__(file_adapters.FileFormat.ARRAY_RECORD)
    self._progress = progress
    self._bar = tqdm.tqdm(disable=True)

  def close(self) -> None:
    """Ends the bar."""
    self._bar.close()

  def counted(self, examples: Iterable[Any], source: archives.Archive) -> Iterator[Any]:
    """Passes the examples of a split on, and sees to it that none is missing."""
    name, found = source.path.name, 0
    with self._progress(f"reading {name}", source.images) as bar:
      try:
        for example in examples:
          found += 1
          bar.update()
          yield example
      except (tarfile.TarError, EOFError, OSError) as error:
        raise UserError(
          f"{source.path} cannot be read beyond its first {found} images ({error}):"
          " copy or download it again"
        ) from error
    if found != source.images:
      raise UserError(
        f"{source.path} gave {found} images where {source.images} were expected: it is"
        " damaged; copy or download it again, and compare its MD5 with"
        f" {archives.OFFICIAL[name].md5} if it is the official one"
      )
    self._bar.close()
    self._bar = self._progress(f"writing {name}", source.images)

  def write(self, path: Any, examples: Iterable[tuple[Any, bytes]]) -> Any:
    """Writes a shard."""
    return super().write(path, self._sorted(examples))

  def _sorted(
    self, examples: Iterable[tuple[Any, bytes]]
  ) -> Iterator[tuple[Any, bytes]]:
    for key, record in examples:
      example = tf_example_pb2.Example.FromString(record)
      yield key, example.SerializeToString(deterministic=True)
      self._bar.update()
    if self._bar.n == self._bar.total:
      self._bar.close()


def _fixed(name: str, image: Any) -> Any:
  """In place of the builder's `_fix_image`: makes 23 images RGB JPEGs.

  Args:
    name: of the image.
    image: its opened file.

  Returns:
    An opened file.
  """
  builder = imagenet2012_dataset_builder
  if name not in builder.CMYK_IMAGES and name not in builder.PNG_IMAGES:
    return image
  try:
    return io.BytesIO(rgb_jpeg(image.read()))
  except OSError as error:
    # Pillow's own words for this name an object in memory.
    unknown = isinstance(error, UnidentifiedImageError)
    reason = "it is neither a JPEG nor a PNG" if unknown else error
    raise UserError(
      f"{name} in {archives.TRAIN} cannot be decoded ({reason}): the archive is"
      " damaged; copy or download it again"
    ) from error


def rgb_jpeg(content: bytes) -> bytes:
  """Makes an RGB JPEG of an image, as TFDS does with TensorFlow.

  The bytes are TensorFlow's for a PNG, and for a JPEG without chroma subsampling. With
  subsampling they are not: TensorFlow decodes with a fast, rougher transform, which
  Pillow offers only together with rougher upsampling.

  Args:
    content: a PNG, or a JPEG of any colours.

  Returns:
    A JPEG of quality 100.

  Raises:
    OSError: it cannot be decoded.
  """
  with Image.open(io.BytesIO(content)) as image:
    if isinstance(image, JpegImagePlugin.JpegImageFile):
      layers = image.layer  # the sampling factors stand after the number of each
      if len({layer[1:3] for layer in layers}) == 1:
        image.decoderconfig = (1, 1)  # not scaled, fast
    image.load()
    pixels = _from_cmyk(image) if image.mode == "CMYK" else image.convert("RGB")
  stream = io.BytesIO()
  # A new image: without the comment or the profile of the old one. The settings are
  # the defaults of tf.image.encode_jpeg.
  Image.fromarray(np.asarray(pixels)).save(
    stream, "JPEG", quality=100, subsampling="4:2:0", dpi=(300, 300)
  )
  return stream.getvalue()


def _from_cmyk(image: Image.Image) -> Any:
  """[height, width, 3] pixels: TensorFlow's formula, one level from Pillow's."""
  # Pillow takes all of them to be inverted, as Adobe writes them.
  inverted = 255 - np.asarray(image, np.int32)
  if "adobe" not in image.info:
    inverted = 255 - inverted
  return (inverted[..., :3] * inverted[..., 3:] // 255).astype(np.uint8)


class _NeverRaised(Exception):
  """In place of an error of TensorFlow's, which plain files do not raise."""


@contextlib.contextmanager
def _without_tensorflow() -> Iterator[None]:
  """Gives TFDS's modules what they use of TensorFlow's files, for the time being."""

  def exists(path: Any) -> bool:
    # The test images have no labels; TFDS would prepare them too if they were there.
    return os.path.basename(path) != _TEST and os.path.exists(path)

  gfile = types.SimpleNamespace(GFile=open, exists=exists, remove=os.remove)
  errors = types.SimpleNamespace(ResourceExhaustedError=_NeverRaised)
  files = types.SimpleNamespace(io=types.SimpleNamespace(gfile=gfile), errors=errors)
  originals = [module.tf for module in _MODULES]
  try:
    for module in _MODULES:
      module.tf = files
    yield
  finally:
    for module, original in zip(_MODULES, originals, strict=True):
      module.tf = original
