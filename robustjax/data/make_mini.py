"""Makes the image set that ships with robustjax: a balanced part of Fashion-MNIST.

    python -m robustjax.data.make_mini --source=FOLDER --out=robustjax/data/mini

FOLDER holds the four IDX files of Fashion-MNIST, compressed with gzip, as Debian's
package dataset-fashion-mnist installs them. The same input gives the same bytes.
"""

import argparse
import io
import pathlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow_datasets as tfds
from array_record.python import array_record_data_source, array_record_module
from PIL import Image
from tensorflow_datasets.proto import tf_example_pb2

from robustjax.data import idx
from robustjax.errors import UserError

PER_CLASS = {"train": 1000, "test": 200}

Arrays = tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]


class FashionMnistMini(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
  """The TFDS builder. TFDS offers no functional form that does without TensorFlow."""

  name = "fashion_mnist_mini"
  VERSION = tfds.core.Version("1.0.0")
  # TFDS writes the module into the metadata; run with -m it would be "__main__",
  # imported it would not, and the bytes would depend on how this file was started.
  __module__ = "robustjax.data.make_mini"

  def __init__(self, splits: Mapping[str, Arrays], data_dir: pathlib.Path) -> None:
    self._splits = splits
    super().__init__(data_dir=str(data_dir), file_format="array_record")

  def _info(self) -> tfds.core.DatasetInfo:
    features = {
      "image": tfds.features.Image(shape=(28, 28, 1), encoding_format="png"),
      "label": tfds.features.ClassLabel(names=idx.CLASS_NAMES),
    }
    return tfds.core.DatasetInfo(
      builder=self,
      description="The first images of each class of Fashion-MNIST, in turn.",
      features=tfds.features.FeaturesDict(features),
      supervised_keys=("image", "label"),
      homepage="https://github.com/zalandoresearch/fashion-mnist",
      license="MIT, Copyright (c) 2017 Zalando SE",
      # TFDS shuffles by default, which would undo the balance of every prefix.
      disable_shuffling=True,
    )

  def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
    del dl_manager
    return {name: self._generate_examples(*pair) for name, pair in self._splits.items()}

  def _generate_examples(
    self, images: npt.NDArray[np.uint8], labels: npt.NDArray[np.uint8]
  ) -> Iterator[tuple[int, dict[str, Any]]]:
    for key, (image, label) in enumerate(zip(images, labels, strict=True)):
      yield key, {"image": _png(image), "label": int(label)}


def balanced(labels: npt.NDArray[np.uint8], per_class: int) -> npt.NDArray[np.int64]:
  """The first `per_class` images of each class, in turns of the ten classes.

  Args:
    labels: [n] class numbers, 0..9.
    per_class: how many of each class.

  Returns:
    [10 * per_class] indices into `labels`; the classes run 0..9, 0..9, ..., so the
    first 10 * k of them hold k images of every class.

  Raises:
    UserError: if a class has too few images.
  """
  numbers = range(len(idx.CLASS_NAMES))
  columns = [np.flatnonzero(labels == c)[:per_class] for c in numbers]
  for name, column in zip(idx.CLASS_NAMES, columns, strict=True):
    if len(column) < per_class:
      raise UserError(
        f"class {name!r} has {len(column)} images where {per_class} are needed:"
        " use the complete Fashion-MNIST"
      )
  return np.stack(columns, axis=1).ravel()


def make(
  source: pathlib.Path,
  out: pathlib.Path,
  per_class: Mapping[str, int] | None = None,
) -> pathlib.Path:
  """Prepares `fashion_mnist_mini`, replacing the one that is there.

  Args:
    source: folder with the four IDX files.
    out: the TFDS data directory to write into.
    per_class: split to number of images of each class, `PER_CLASS` if not given.

  Returns:
    The folder of the prepared version.

  Raises:
    UserError: if a file is missing, broken or too small.
  """
  splits = {}
  for split, count in (per_class or PER_CLASS).items():
    read = idx.read(source, split)
    chosen = balanced(read.labels, count)
    splits[split] = (read.images[chosen, :, :, 0], read.labels[chosen])
  target = out / FashionMnistMini.name
  # TFDS leaves a folder for downloads beside what it prepares.
  with tempfile.TemporaryDirectory() as scratch:
    builder = FashionMnistMini(splits, pathlib.Path(scratch))
    builder.download_and_prepare()
    for shard in pathlib.Path(builder.data_dir).glob("*.array_record-*"):
      _normalise(shard)
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(pathlib.Path(scratch) / FashionMnistMini.name, target)
  return target / str(FashionMnistMini.VERSION)


def _png(image: npt.NDArray[np.uint8]) -> io.BytesIO:
  encoded = io.BytesIO()
  Image.fromarray(image).save(encoded, "PNG", optimize=True)
  encoded.seek(0)
  return encoded


def _normalise(shard: pathlib.Path) -> None:
  """Writes a shard again with the features of every record in sorted order.

  TFDS serialises them in the order of a hash that changes from run to run.
  """
  records = []
  with array_record_data_source.ArrayRecordDataSource([str(shard)]) as reader:
    for record in reader:
      example = tf_example_pb2.Example.FromString(record)
      records.append(example.SerializeToString(deterministic=True))
  writer = array_record_module.ArrayRecordWriter(str(shard), "group_size:1")
  for record in records:
    writer.write(record)
  writer.close()


def main(arguments: Sequence[str] | None = None) -> None:
  """The command line; see the module's docstring."""
  parser = argparse.ArgumentParser(description="Makes the shipped image set.")
  parser.add_argument("--source", type=pathlib.Path, default=idx.DEBIAN)
  parser.add_argument(
    "--out", type=pathlib.Path, default=pathlib.Path(__file__).parent / "mini"
  )
  options = parser.parse_args(arguments)
  try:
    print(make(options.source, options.out))
  except UserError as error:
    raise SystemExit(f"make_mini: {error}") from None


if __name__ == "__main__":
  main()
