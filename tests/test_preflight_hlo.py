"""What is read in the text of a compiled program."""

import pytest

from robustjax.preflight import hlo


def test_bytes_of_a_shape():
  shape = "(f32[3,5]{1,0:T(8,128)(2,1)S(1)}, bf16[7]{0}, pred[3], /*index=3*/s32[])"
  assert hlo.size(shape) == 60 + 14 + 3 + 4


def test_other_text_is_refused():
  with pytest.raises(ValueError, match="not an HLO module"):
    hlo.parse("HloModule nothing\n")
