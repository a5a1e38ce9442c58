"""Which networks torchvision's class can be; that the code computes: parity."""

import pytest

from robustjax import config as configs
from robustjax.weights import pytorch


def config(**values):
  c = configs.base("mine")
  for name, value in values.items():
    configs.change(c, name.replace("__", "."), value, "this test")
  return c


@pytest.mark.parametrize(
  ("values", "what"),
  [
    ({}, []),
    ({"model__depth": 18, "model__padding": "symmetric"}, []),
    ({"model__bottleneck": 4, "model__cardinality": 32}, []),
    ({"model__stem": "small"}, ["config.model.stem='small', only 'imagenet'"]),
    ({"model__width": 32}, ["config.model.width=32, only 64"]),
    ({"model__depth": 0, "model__stages": (1, 1)}, ["2 stages, only 4"]),
  ],
)
def test_what_the_class_cannot_be(values, what):
  assert [text for is_so, text in pytorch.not_held(config(**values)) if is_so] == what


def test_the_code_mends_what_the_class_does_otherwise():
  same = config(model__padding="symmetric")
  assert pytorch.differences(same) == []
  assert "pad" not in pytorch.code(same, "torchvision", "a.pth")
  gelu = config(model__activation="gelu")
  assert [what.split()[0] for what in pytorch.differences(gelu)] == ["pads", "has"]
  code = pytorch.code(gelu, "safetensors", "it's.safetensors")
  compile(code, "code", "exec")
  for word in ("GELU()", "def pad(", "load_file(\"it's", "[3, 8, 36, 3]", "[0.5, 0.5"):
    assert word in code


def test_a_network_of_no_class_has_no_code():
  small = config(model__stem="small")
  assert "code of your own" in pytorch.remedy(small)
  assert "prints the code" in pytorch.remedy(config())
  for form in ("safetensors", "fd"):
    assert all(
      line.startswith("# ") for line in pytorch.code(small, form, "a").splitlines()
    )
