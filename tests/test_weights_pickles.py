"""A pickle is read as what it says, and never does what it says."""

import argparse
import builtins
import collections
import io
import os
import pickle
import sys
import time

import numpy as np
import pytest
from weight_files import call, text

from robustjax.weights import pickled, pickles

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


class Slotted:
  __slots__ = ("left", "right")


class Keyed:
  def __getnewargs_ex__(self):
    return (), {"w": np.ones(2)}


class Odd(dict):
  """With items, attributes and arguments, as a dict of one's own may have."""


def load(content):
  root = pickles.load(io.BytesIO(content))
  return pickled.leaves(root, lambda tensor: np.zeros(tensor.shape))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_values_have_their_paths(protocol):
  odd, slotted = Odd(a=1), Slotted()
  odd.attribute, slotted.left, slotted.right = "x", 1.5, None
  value = {
    "epoch": 90,
    "best": np.float64(64.02),
    "args": argparse.Namespace(lr=0.1, mean=[0.485, 0.456], name="resnet50", on=True),
    "nested": [{"deep": (1, 2)}, b"raw", bytearray(b"b"), {3}, frozenset([4]), None],
    "ordered": collections.OrderedDict([("k", -(2**70)), (0, 2)]),
    "lists": collections.defaultdict(list, a=[]),
    "queue": collections.deque([1, 2], maxlen=3),
    "odd": odd,
    "slotted": slotted if protocol >= 2 else None,  # it cannot be pickled before
    "arrays": [np.arange(6.0).reshape(2, 3).T, np.zeros((0, 2), ">i4"), np.array(True)],
  }
  arrays, extras = load(pickle.dumps(value, protocol))
  expected = dict(
    zip(["arrays.0", "arrays.1", "arrays.2"], value["arrays"], strict=True)
  )
  assert arrays.keys() == expected.keys()
  for name, array in arrays.items():
    np.testing.assert_array_equal(array, expected[name])
  told = {
    "epoch": "90",
    "best": "64.02",
    "args.lr": "0.1",
    "args.mean": "[0.485, 0.456]",
    "args.name": "'resnet50'",
    "args.on": "True",
    "nested.0.deep": "(1, 2)",
    "nested.1": "b'raw'",
    "ordered.k": str(-(2**70)),
    "ordered.0": "2",
    "odd.a": "1",
    "odd.attribute": "'x'",
    "lists.a": "[]",
  }
  if protocol >= 2:
    told["slotted.left"] = "1.5"
  assert told.items() <= extras.items()


@pytest.fixture
def marker(tmp_path, monkeypatch):
  """A file that appears if code runs or `evil` is imported; then the test fails."""
  path = tmp_path / "marker"
  (tmp_path / "evil.py").write_text(f"open({str(path)!r}, 'w')\nrun = exec\n")
  monkeypatch.syspath_prepend(tmp_path)
  yield path
  assert not path.exists()
  assert "evil" not in sys.modules


class Calls:
  def __init__(self, *reduced):
    self.reduced = reduced

  def __reduce__(self):
    return self.reduced


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("function", [os.system, eval, exec, builtins.__import__])
def test_hostile_calls_stay_data(marker, function, protocol):
  order = f"touch {marker}" if function is os.system else f"open({str(marker)!r}, 'w')"
  value = {"w": np.arange(3), "evil": Calls(function, (order,))}
  arrays, extras = load(pickle.dumps(value, protocol))
  np.testing.assert_array_equal(arrays["w"], np.arange(3))
  assert function.__name__ in extras["evil"]
  assert repr(order)[:100] in extras["evil"] or len(order) > 100


@pytest.mark.parametrize(
  "evil",
  [
    call("evil", "run", "1"),
    b"(" + text("1") + b"ievil\nrun\n",  # INST
    b"(cevil\nrun\n" + text("1") + b"o",  # OBJ
    b"cevil\nrun\n)\x81",  # NEWOBJ
    b"cevil\nrun\n)}\x92",  # NEWOBJ_EX
    text("evil") + text("run") + b"\x93)R",  # STACK_GLOBAL
    b"cevil\nrun\n)R" + text("state") + b"b",  # BUILD
    b"cbuiltins\ngetattr\n(cevil\nrun\n" + text("__call__") + b"tR)R",
    b"ccopyreg\n_reconstructor\n(cevil\nrun\ncbuiltins\nobject\nNtR",
    b"ctorch._tensor\n_rebuild_from_type_v2\n(cevil\nrun\ncevil\nrun\n)NtR",
  ],
)
def test_every_way_to_call_stays_data(marker, evil):
  arrays, extras = load(b"\x80\x02}(" + text("evil") + evil + b"u.")
  assert not arrays and extras


DEPTH = 2_000


@pytest.mark.parametrize(
  ("content", "why"),
  [
    (b"", "damaged"),
    (b"\x80\x02}", "damaged"),
    (b"\x80\x02.", "damaged"),
    (b"u.", "damaged"),
    (b"h\x05.", "damaged"),
    (b"Nu.", "damaged"),
    (b"\x82\x01.", "EXT1"),
    (b"\x97.", "NEXT_BUFFER"),
    (b"P7\n.", "PERSID"),
    (b"\x8d" + b"\xff" * 8 + b"x.", "damaged"),  # 2^64 characters
    (b"]" * DEPTH + b"a" * (DEPTH - 1) + b".", "deep"),
    (b")" + b"\x85" * DEPTH + b".", "deep"),
    # Each list is the one before twice: 2^50 leaves, of a few hundred bytes.
    (b"]N0" + b"q\x00](h\x00h\x00e" * 50 + b".", "more than"),
    (b"}(K\x00N" + text("0") + b"Nu.", "two things"),
    (b"}(" + text("a\x1b[2J") + b"Nu.", "no name"),
    (b"N0" * 5001 + b"N.", "opcodes"),
    (pickle.dumps({"w": np.array([{}])}), "w is an array of Python objects"),
    (
      b"}(" + text("q") + b"ctorch._utils\n_rebuild_qtensor\n)Ru.",
      "q is no plain dense",
    ),
  ],
)
def test_what_cannot_be_read_is_refused_in_time(content, why, monkeypatch):
  monkeypatch.setattr(pickles, "MOST_OPCODES", 10_000)
  monkeypatch.setattr(pickled, "MOST_PLACES", 1000)
  before = time.process_time()
  with pytest.raises(pickled.Refused, match=why):
    load(content)
  assert time.process_time() - before < 1


def test_a_few_bytes_cannot_copy_a_long_text_again_and_again():
  again = b"c_codecs\nencode\nq\x010" + text("x" * 1000) + b"q\x020(" + text("latin1")
  again += b"q\x030" + b"h\x01(h\x02h\x03tR" * 50 + b"l."
  with pytest.raises(pickled.Refused, match="again and again"):
    load(again)


def test_arguments_by_keyword_are_kept():
  arrays, _ = load(pickle.dumps([Keyed()], 4))
  assert list(arrays) == ["0.w"]


def test_what_is_within_itself_ends():
  value = {"w": np.ones(2)}
  value["self"] = [value]
  arrays, extras = load(pickle.dumps(value))
  assert list(arrays) == ["w"]
  assert extras == {"self.0": "<itself>"}


def test_a_module_has_the_names_of_its_state_dict():
  inner = argparse.Namespace(
    _parameters={"weight": np.ones(2)}, _buffers={}, _modules={}
  )
  outer = argparse.Namespace(_parameters={}, _buffers={}, _modules={"conv1": inner})
  arrays, _ = load(pickle.dumps({"model": outer}))
  assert list(arrays) == ["model.conv1.weight"]
