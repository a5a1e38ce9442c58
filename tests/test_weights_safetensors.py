"""safetensors: its header must describe its numbers exactly."""

import json
import struct

import jax.numpy as jnp
import numpy as np
import pytest

from robustjax.errors import UserError
from robustjax.weights import files

HEADER = {
  "__metadata__": {"format": "pt"},
  "w": {"dtype": "F32", "shape": [2, 3], "data_offsets": [4, 28]},
  "half": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]},
  "none": {"dtype": "I64", "shape": [0, 2], "data_offsets": [28, 28]},
}
NUMBERS = (
  np.array([1.5, -2], jnp.bfloat16).tobytes() + np.arange(6, dtype="f4").tobytes()
)


def write(path, header, numbers=NUMBERS):
  text = header if isinstance(header, str) else json.dumps(header)
  path.write_bytes(struct.pack("<Q", len(text)) + text.encode() + numbers)
  return path


def test_arrays_and_metadata(tmp_path):
  found = files.read(write(tmp_path / "w", HEADER))
  assert found.form == "safetensors"
  assert found.extras == {"__metadata__.format": "'pt'"}
  assert {k: (a.shape, str(a.dtype)) for k, a in found.arrays.items()} == {
    "half": ((2,), "bfloat16"),
    "w": ((2, 3), "float32"),
    "none": ((0, 2), "int64"),
  }
  np.testing.assert_array_equal(found.arrays["w"], np.arange(6).reshape(2, 3))
  np.testing.assert_array_equal(found.arrays["half"].astype(float), [1.5, -2])


def changed(**entry):
  return HEADER | {"w": HEADER["w"] | entry}


@pytest.mark.parametrize(
  ("header", "numbers", "why"),
  [
    (HEADER, NUMBERS[:-1], "w .* is of 24 bytes and has 23"),
    (HEADER, NUMBERS + b"x", "28 bytes of 29"),
    (changed(shape=[2, 4]), NUMBERS, "w .* is of 32 bytes and has 24"),
    (changed(shape=[-2, -3]), NUMBERS, "shape"),
    (changed(shape=[2**40, 2**40]), NUMBERS, "w .* is of"),
    (changed(shape="23"), NUMBERS, "shape"),
    (changed(shape=None), NUMBERS, "damaged"),
    (changed(dtype="F8_E4M3"), NUMBERS, "F8_E4M3"),
    (changed(dtype=[]), NUMBERS, "damaged"),
    (changed(data_offsets=[0, 24]), NUMBERS, "w does not begin where"),
    (changed(data_offsets=[8, 32]), NUMBERS + b"hole", "w does not begin where"),
    (HEADER | {"w": 1}, NUMBERS, "damaged"),
    (HEADER | {"a\n": HEADER["none"]}, NUMBERS, "no name"),
    (HEADER | {"__metadata__": 1}, NUMBERS, "damaged"),
    ('{"w": 1, "w": 2}', b"", "twice"),
    ('{"w": ' + "[" * 100_000, b"", "damaged"),
    ("{", b"", "damaged"),
    ("{}", b"", "no array"),
  ],
)
def test_one_thing_wrong(tmp_path, header, numbers, why):
  with pytest.raises(UserError, match=why) as caught:
    files.read(write(tmp_path / "w", header, numbers))
  assert "\n" not in str(caught.value)
  assert len(str(caught.value)) < 500
