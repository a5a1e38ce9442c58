"""What a file's wrapper does to pixels."""

import numpy as np
import pytest

from robustjax.errors import UserError
from robustjax.weights import recognise
from tests import weights_made as made

MEAN, STD = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
PIXELS = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
NET = made.state_dict()


def scaled(arrays):
  found = recognise.recognise(made.file(arrays))
  values = [found.values[f"model.input_{name}"] for name in ("mean", "std")]
  return values[0][0], values[1][0], values[0][1], found


@pytest.mark.parametrize("shape", [(3,), (3, 1, 1), (1, 3, 1, 1)])
@pytest.mark.parametrize(
  ("root", "mean", "std"),
  [
    ("model.", "normalize.mean", "normalize.std"),
    ("", "normalizer.mean", "normalizer.std"),
    ("model.", "mu", "sigma"),
    ("", "mu", "sigma"),
    ("module.model.", "module.normalizer.new_mean", "module.normalizer.new_std"),
    ("1.", "0.means", "0.sds"),
  ],
)
def test_it_is_read_whatever_its_names(root, mean, std, shape):
  extra = {mean: MEAN.reshape(shape), std: STD.reshape(shape)}
  *pixels, source, found = scaled(made.under(root, NET) | extra)
  assert tuple(pixels) == PIXELS
  assert source == f"the file: {mean}"
  assert not {mean, std} & found.unused.keys()


def test_without_one_it_is_imagenets_with_a_note():
  *pixels, source, found = scaled(NET)
  assert tuple(pixels) == PIXELS
  assert source.startswith("not in the file")
  assert any("no normaliser" in note for note in found.notes)


def test_one_number_for_all_channels():
  extra = {"mean": np.array(0.5), "std": np.array(0.25)}
  assert scaled(made.under("model.", NET) | extra)[:2] == ((127.5,), (63.75,))


@pytest.mark.parametrize("apart", [False, True])
def test_a_copy_has_to_be_equal(apart):
  arrays = made.under("m.model.", NET) | made.under("m.attacker.model.", NET)
  arrays |= {"m.normalizer.new_mean": MEAN, "m.normalizer.new_std": STD}
  arrays |= {"m.attacker.normalize.new_mean": MEAN + 0.1 * apart}
  arrays |= {"m.attacker.normalize.new_std": STD}
  if apart:
    with pytest.raises(UserError, match="two normalisers"):
      scaled(arrays)
  else:
    unused = scaled(arrays)[-1].unused
    why = unused["m.attacker.normalize.new_std"]
    assert why == "equal to m.normalizer.new_std"


@pytest.mark.parametrize(
  ("model", "mean", "std"),
  [("model.", "normalize.mean", "normalize.std"), ("", "mu", "sigma")],
)
def test_that_of_a_network_not_chosen_is_left(model, mean, std):
  arrays = made.under(f"state_dict.{model}", NET)
  arrays |= made.under(f"ema.{model}", made.state_dict(seed=1))
  arrays |= {f"state_dict.{mean}": MEAN, f"state_dict.{std}": STD}
  arrays |= {f"ema.{mean}": MEAN / 2, f"ema.{std}": STD}
  found = recognise.recognise(made.file(arrays), part="ema")
  assert found.values["model.input_mean"][0] == (61.8375, 58.14, 51.765)
  assert "not chosen" in found.unused[f"state_dict.{mean}"]


def test_that_of_something_else_is_none():
  arrays = made.under("model.", NET) | {"data.of.mean": MEAN, "data.of.std": STD}
  with pytest.raises(UserError, match=r"data\.of\.mean \[3\] is no array"):
    recognise.recognise(made.file(arrays))


@pytest.mark.parametrize(
  ("mean", "std", "said"),
  [
    (MEAN * 255, STD * 255, "implausible"),
    (-MEAN, STD, "implausible"),
    (MEAN, 0 * STD, "implausible"),
    (MEAN + np.nan, STD, "implausible"),
    (MEAN, np.float32([0.2]), "without a normalize.std of that shape"),
    (MEAN, None, "without a normalize.std"),
    (np.ones(4, np.float32), np.ones(4, np.float32), r"normalize.mean \[4\] is no"),
  ],
)
def test_a_wrong_one_is_named(mean, std, said):
  arrays = made.under("model.", NET) | {"normalize.mean": mean, "normalize.std": std}
  arrays = {name: array for name, array in arrays.items() if array is not None}
  with pytest.raises(UserError, match=said):
    recognise.recognise(made.file(arrays))
