"""tf.data with robustjax's transforms, for benchmarks/data_pipeline.py."""

import functools
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from benchmarks.data_measure import BATCH, EIGENVALUES, EIGENVECTORS, RESIZE, SIZE

PACKAGES = ("tensorflow_cpu",)


def _resize(image: Any, height: Any, width: Any, antialias: bool) -> Any:
  bicubic = tf.image.ResizeMethod.BICUBIC
  return tf.image.resize(image, [height, width], bicubic, antialias=antialias)


def _evaluation(encoded: Any, antialias: bool) -> Any:
  image = tf.io.decode_jpeg(encoded, 3)
  height, width = tf.unstack(tf.cast(tf.shape(image)[:2], tf.float32))
  scale = RESIZE / tf.minimum(height, width)
  tall = tf.cast(height * scale + 0.5, tf.int32)
  wide = tf.cast(width * scale + 0.5, tf.int32)
  top, left = (tall - SIZE) // 2, (wide - SIZE) // 2
  image = _resize(image, tall, wide, antialias)
  return image[top : top + SIZE, left : left + SIZE]


def _training(encoded: Any, antialias: bool) -> Any:
  begin, size, _ = tf.image.sample_distorted_bounding_box(
    tf.io.extract_jpeg_shape(encoded),
    tf.zeros([1, 0, 4]),
    aspect_ratio_range=(3 / 4, 4 / 3),
    area_range=(0.08, 1.0),
    max_attempts=10,
    use_image_if_no_bounding_boxes=True,
  )
  window = tf.concat([begin[:2], size[:2]], 0)
  image = tf.io.decode_and_crop_jpeg(encoded, window, channels=3)
  image = _colours(_resize(image, SIZE, SIZE, antialias))
  return tf.image.random_flip_left_right(image)


def _colours(image: Any) -> Any:
  """Brightness, contrast, saturation and lighting, in random order."""

  def jitter(nothing: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def change(pixels: Any) -> Any:
      zero = nothing(pixels)
      return zero + tf.random.uniform([], 0.6, 1.4) * (pixels - zero)

    return change

  def light(pixels: Any) -> Any:
    strength = tf.random.normal([3], stddev=0.1) * EIGENVALUES
    return pixels + tf.linalg.matvec(EIGENVECTORS, strength)

  changes = [
    jitter(tf.zeros_like),
    jitter(lambda x: tf.reduce_mean(x, [0, 1], keepdims=True)),
    jitter(lambda x: tf.reduce_sum(x * [0.299, 0.587, 0.114], -1, keepdims=True)),
    light,
  ]
  order = tf.random.shuffle(tf.range(len(changes)))
  for i in range(len(changes)):
    branches = [functools.partial(change, image) for change in changes]
    image = tf.clip_by_value(tf.switch_case(order[i], branches), 0.0, 255.0)
  return image


def _records(folder: pathlib.Path) -> str:
  path = folder / "photographs.tfrecord"
  if not path.exists():
    with tf.io.TFRecordWriter(str(path)) as writer:
      for file in sorted(folder.glob("images/*/*.jpg")):
        image = tf.train.Feature(
          bytes_list=tf.train.BytesList(value=[file.read_bytes()])
        )
        features = tf.train.Features(feature={"image": image})
        writer.write(tf.train.Example(features=features).SerializeToString())
  return str(path)


def load(train: bool, folder: pathlib.Path, antialias: bool = True) -> Iterator[Any]:
  """Batches from a TFRecord file, made in one thread.

  Args:
    train: whether to augment, or to take the evaluation crop.
    folder: as `benchmarks.photographs.write` fills it.
    antialias: whether resizing smooths when it shrinks, as Pillow's does. It is not
      what tf.image.resize does by default, and slower.

  Returns:
    Endless uint8 arrays of [BATCH, SIZE, SIZE, 3].
  """
  tf.config.threading.set_intra_op_parallelism_threads(1)

  def example(record: Any) -> Any:
    features = {"image": tf.io.FixedLenFeature([], tf.string)}
    encoded = tf.io.parse_single_example(record, features)["image"]
    pixels = (_training if train else _evaluation)(encoded, antialias)
    pixels = tf.clip_by_value(tf.round(pixels), 0.0, 255.0)
    return tf.ensure_shape(tf.cast(pixels, tf.uint8), [SIZE, SIZE, 3])

  records = tf.data.TFRecordDataset(_records(folder)).repeat()
  if train:
    records = records.shuffle(256)
  images = records.map(example, num_parallel_calls=1).batch(BATCH)
  options = tf.data.Options()
  options.threading.private_threadpool_size = 1
  return images.prefetch(1).with_options(options).as_numpy_iterator()


LOADERS = {
  "train": functools.partial(load, True),
  "train_plain": functools.partial(load, True, antialias=False),
  "evaluation": functools.partial(load, False),
}
