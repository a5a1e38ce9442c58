"""What any source does with a record that cannot be read."""

import subprocess
import sys

import pytest

from robustjax.data import sources
from robustjax.errors import UserError


class Reader:
  """Gives what it is told to, or raises it."""

  def __init__(self, what):
    self.what = what

  def __len__(self):
    return 1

  def __getitem__(self, index):
    if isinstance(self.what, Exception):
      raise self.what
    return self.what


@pytest.mark.parametrize(
  "what",
  [
    FileNotFoundError(2, "gone"), RuntimeError("crc"), ValueError("x"), IndexError("x"),
    {"image": None, "label": None},
  ],
)  # fmt: skip
def test_damage_makes_a_broken_image(what):
  source = sources.Source("x", "train", ("a",), (None, None, 3), Reader(what))
  with pytest.raises(sources.BrokenImage, match="missing or damaged"):
    source[0]


def test_what_may_pass_is_no_broken_image():
  busy = Reader(OSError(24, "Too many open files"))
  source = sources.Source("x", "train", ("a",), (None, None, 3), busy)
  with pytest.raises(UserError, match="Too many open files") as raised:
    source[0]
  assert not isinstance(raised.value, sources.BrokenImage)


def test_neither_tensorflow_nor_jax_is_imported():
  program = (
    "import sys; from robustjax.data import sources;"
    "print(sources.open_source('fashion_mnist_mini', split='test')[0]['label']);"
    "print([m for m in ('tensorflow', 'jax') if m in sys.modules])"
  )
  done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
  assert done.stdout.split("\n") == ["0", "[]", ""], done.stderr
