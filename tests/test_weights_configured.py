"""The configuration of imported weights says of every value where it comes from."""

import pytest

from robustjax import config as configs
from robustjax.config import DEFAULTS
from robustjax.errors import UserError
from robustjax.weights.configured import configured

FILE = "R50.npz: shapes"


def made(name="R50", **values):
  given = {n.replace("__", "."): (value, FILE) for n, value in values.items()}
  return configured(name, "R50.npz sha256:12", given)


def test_values_of_the_file_and_their_sources():
  config = made(model__depth=50, model__input_mean=(1.0, 2.0, 3.0), data__resize=-1)
  sources = configs.sources(config)
  assert (config.setting, config.init.weights) == ("imported_R50", "R50.npz sha256:12")
  assert (config.model.depth, config.data.resize) == (50, -1)
  assert config.model.input_mean == (1.0, 2.0, 3.0)
  assert sources["model.input_mean"] == sources["data.resize"] == FILE
  assert sources["data.name"] == DEFAULTS["data.name"].source


def test_nothing_was_trained_and_nothing_is_guessed():
  config = made(model__depth=50)
  sources = configs.sources(config)
  assert config.train.epochs == 0 and configs.guesses(config) == []
  parts = ("loss.", "optimizer.", "train.")
  assert all("not trained" in s for n, s in sources.items() if n.startswith(parts[:2]))
  assert all("trained" in s for n, s in sources.items() if n.startswith(parts[2]))


def test_an_eps_that_nobody_says_is_none():
  assert made().eval.eps == made().attack.eps == 0
  own = made(eval__eps=8.0)
  assert (own.attack.eps, own.attack.step_size, own.eval.step_size) == (8.0, 0.5, 0.5)


def test_classes_are_not_known_by_their_number():
  assert made(data__classes=1000).data.class_digest
  assert made(data__classes=10).data.class_digest == ""


@pytest.mark.parametrize(
  ("name", "setting"), [("a b-c.d", "imported_a_b_c_d"), ("./", "imported_weights")]
)
def test_a_setting_has_a_name_that_folders_can_have(name, setting):
  assert made(name).setting == setting


@pytest.mark.parametrize(
  ("values", "message"),
  [
    ({"model__activation": "tanh"}, "config.model.activation is 'tanh'; it may be"),
    ({"model__width": "64"}, r"config.model.width cannot be '64' \(R50.npz: shapes\)"),
    ({"data__size": 3}, "config.data.size does not exist"),
  ],
)
def test_a_value_that_no_network_has_is_named(values, message):
  with pytest.raises(UserError, match=message) as caught:
    made(**values)
  assert "\n" not in str(caught.value)


def test_weights_are_not_trained_in_their_own_run():
  config = configs.base("mine", "mini")
  configs.change(config, "init.weights", "R50.npz sha256:12", "this test")
  with pytest.raises(UserError, match="name its folder with --config.init.run=DIR"):
    configs.check(config)
