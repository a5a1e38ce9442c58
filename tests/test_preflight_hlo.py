"""What is read in the text of a compiled program."""

import pytest

from robustjax.preflight import hlo


def test_bytes_of_a_shape():
  shape = "(f32[3,5]{1,0:T(8,128)(2,1)S(1)}, bf16[7]{0}, pred[3], /*index=3*/s32[])"
  assert hlo.size(shape) == 60 + 14 + 3 + 4


@pytest.mark.parametrize(
  ("shape", "bytes_"),
  [
    ("f32[3,5]", 60),
    ("f32[3,5]{1,0}", 60),
    ("f32[3,5]{1,0:T(8,128)}", 4 * 8 * 128),
    ("f32[3,5]{0,1:T(8,128)}", 4 * 8 * 128),
    ("bf16[32,56,56,64]{3,0,2,1:T(8,128)(2,1)S(1)}", 2 * 32 * 56 * 56 * 128),
    ("bf16[32,56,56,64]{0,3,2,1:T(8,128)(2,1)}", 2 * 128 * 56 * 56 * 64),
    ("pred[300]{0:T(512)(128)(4,1)}", 512),
    ("s32[]{:T(128)}", 4 * 128),
    ("f32[5]{0:T(8,128)}", 4 * 8 * 128),
    ("(f32[3,5]{1,0}, s32[]{:T(128)S(6)})", 60 + 512),
  ],
)
def test_a_layouts_tiles_pad_the_sides_that_change_fastest(shape, bytes_):
  assert hlo.padded(shape) == bytes_


def test_a_memory_nearer_by_is_told_by_its_space():
  assert hlo.is_near("f32[3,5]{1,0:T(8,128)S(1)}")
  assert not hlo.is_near("f32[3,5]{1,0:T(8,128)}") and not hlo.is_near("f32[3,5]{S(0)}")


def test_other_text_is_refused():
  with pytest.raises(ValueError, match="not an HLO module"):
    hlo.parse("HloModule nothing\n")
