"""A source of toy images and its batches, for the tests of what makes them."""

import io

import numpy as np
import pytest
from absl import flags
from PIL import Image

from robustjax.data import pipeline, sources, transforms
from robustjax.errors import UserError

SMALL = transforms.by_name("small", True, 6)
PLAIN = transforms.by_name("none", False, 6)


@pytest.fixture(autouse=True)
def parsed_flags():
  """Grain's workers read absl's flags, which pytest does not parse."""
  flags.FLAGS.mark_as_parsed()
  yield
  flags.FLAGS.unparse_flags()


def png(pixels):
  out = io.BytesIO()
  Image.fromarray(pixels).save(out, "PNG")
  return out.getvalue()


def toy(n):
  """A source in memory of n random images, the label being index % 3."""
  rng = np.random.default_rng(0)
  images = rng.integers(0, 256, (n, 6, 6), dtype=np.uint8)
  records = [{"image": png(x), "label": i % 3} for i, x in enumerate(images)]
  return sources.Source("toy", "train", ("a", "b", "c"), (6, 6, 1), records)


def broken(n, *indices):
  """A toy source of n images, some of which are broken."""
  source = toy(n)
  for i in indices:
    source.records[i]["image"] = b"\x89PNG broken"
  return source


def train(source, transform=SMALL, **changes):
  options = {"seed": 7, "batch_size": 8, "first_step": 0, "last_step": 6}
  return list(pipeline.train_batches(source, transform, **(options | changes)))


def evaluate(source, transform=PLAIN, **options):
  return list(pipeline.evaluation_batches(source, transform, **options))


def assert_same(first, second):
  assert len(first) == len(second)
  for a, b in zip(first, second, strict=True):
    assert a.keys() == b.keys()
    for key in a:
      assert a[key].dtype == b[key].dtype
      np.testing.assert_array_equal(a[key], b[key], err_msg=key)


def joined(shards):
  """The global batches that the processes' local ones make up, in order."""
  return [
    {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    for parts in zip(*shards, strict=True)
  ]


def one_line(pattern):
  return pytest.raises(UserError, match=rf"\A[^\n]*{pattern}[^\n]*\Z")
