"""Pieces are tried on shapes alone: right ones pass, wrong ones are a line."""

import jax
import own_pieces
import pytest

from robustjax import config
from robustjax.errors import UserError
from robustjax.run import network, steps, trial
from robustjax.run.data import open_data

NET = {"model__network": ":network"}  # traced in no time


def setting(**values):
  """A mini configuration; "a__b" is "a.b", and "own" behind a colon the module's."""
  c = config.base("test", "mini")
  c.loss.clean_ratio = 1.0
  for name, value in values.items():
    section, _, key = name.partition("__")
    own = isinstance(value, str) and value.startswith(":")
    c[section][key] = f"own_pieces{value}" if own else value
  config.check(c)
  return c


@pytest.mark.parametrize(
  "values",
  [
    {**NET},
    {**NET, "model__norm": "mbn"},
    {**NET, "model__norm": "gn"},
    {**NET, "model__norm": ":instance"},
    {"model__norm": ":instance"},
    {**NET, "model__norm": ":single"},
    {**NET, "model__norm": ":batch_norm", "train__running_statistics_epochs": 1.0},
    {**NET, "attack__name": ":fgsm"},
    {**NET, "attack__name": "kl", "loss__name": "trades", "loss__beta": 2.0},
    {"loss__name": ":adv_only", "loss__clean_ratio": 0.0},
    {"loss__name": ":clean_only", "loss__adv": False},
    {"optimizer__schedule": "cosine"},
    {"optimizer__schedule": ":linear"},
  ],
)
def test_pieces_that_do_what_they_are_for_pass(values):
  trial.check(setting(**values))


@pytest.mark.parametrize(
  ("values", "told"),
  [
    ({"model__network": ":nothing"}, "network: .* has no nothing"),
    ({"model__network": ":NOT_A_FUNCTION"}, "is a int, not a function"),
    ({"model__network": ":asks_too_much"}, "asks for 'colour'; it may .* classes"),
    ({"model__network": ":no_module"}, "returns a function: it must return a Flax mod"),
    ({"model__network": ":of_three_classes"}, "makes .4, 3. of .* logits .4, 10"),
    ({"model__network": ":other_call"}, r"called as \(images, domain='clean', statist"),
    ({"model__network": ":raises"}, "raises makes nothing: RuntimeError: out of$"),
    ({"model__network": ":without_norm", "model__norm": "mbn"}, "no norm with branc"),
    ({**NET, "model__depth": 50, "model__stages": ()},
     "model.depth is 50, which own_pieces:network does not ask for"),
    ({**NET, "model__norm": ":no_norm"}, "returns a int: it must return a maker of l"),
    ({"model__norm": ":without_scale"}, "norm: .*without_scale.*'name'"),
    ({**NET, "model__norm": ":instance", "loss__clean_ratio": 0.0}, "would never be"),
    ({**NET, "model__norm": ":single", "train__running_statistics_epochs": 1.0},
     "running_statistics_epochs is 1.0, and .* has no running statistics"),
    ({**NET, "attack__name": ":smaller"}, r"makes float32\[4, 27, 28, 1\] of images"),
    ({"attack__name": ":adv_only"}, "asks for 'adv'; it may ask by name for classes"),
    ({"attack__name": ":fgsm", "attack__clean_start": 0.5}, "start is 0.5, which"),
    ({"loss__name": ":of_each_image"}, "must return a float32 scalar and a"),
    ({"loss__name": ":alone"}, "must return a float32 scalar and a"),
    ({"loss__name": ":renames"}, "records 'loss_adv', which a step does already"),
    ({"loss__name": ":clean_only", "loss__clean_ratio": 0.0}, "asks for clean logits"),
    ({"loss__name": "trades", "loss__adv": False}, "asks for adv logits, which a sett"),
    ({"loss__name": "trades", "loss__alp_weight": 1.0}, "weight is 1.0, which trade"),
    ({"optimizer__schedule": ":no_rate"}, "a function from a step to a scalar"),
    ({"optimizer__schedule": ":NOT_A_FUNCTION"}, "is a int, not a function"),
  ],
)  # fmt: skip
def test_pieces_that_do_not_are_a_line(values, told):
  with pytest.raises(UserError, match=told) as error:
    trial.check(setting(**values))
  assert "\n" not in str(error.value) and str(error.value).startswith("config.")


@pytest.mark.parametrize(
  ("values", "names"),
  [
    ({**NET, "model__norm": ":instance"}, {"clean", "adv"}),
    ({**NET, "model__norm": ":single"}, {"all"}),
    ({**NET, "model__norm": "mbn"}, {"clean", "adv"}),
  ],
)
def test_each_branch_fits_the_network_that_is_evaluated(values, names):
  c = setting(**values)
  trained = steps.abstract_state(c)
  images = jax.ShapeDtypeStruct((3, 28, 28, 1), "float32")
  found = network.of_run(c, trained.variables, "cpu")
  assert set(found) == names
  for one in found.values():
    for logits in (one.logits, one.attack_logits):
      assert jax.eval_shape(logits, one.variables, images).shape == (3, 10)


def data(what):
  c = setting(data__name=what, data__version="", data__class_digest="")
  c.data.train_examples = c.data.test_examples = 40
  return c


def test_a_data_set_of_ones_own():
  found = open_data(data(":images"))
  assert (found.train.split, found.test.split, len(found.test)) == ("train", "test", 40)
  assert found.train[3]["label"] == 3 and found.digest() == ""


@pytest.mark.parametrize(
  ("what", "told"),
  [
    (":no_images", "data set 'own_pieces:no_images': it returns a list, not a robust"),
    (":raises", "asks for 'classes'; it may ask by name for channels, data_dir"),
    (":nothing", "the module own_pieces has no nothing"),
  ],
)
def test_what_is_no_data_set_is_a_line(what, told):
  with pytest.raises(UserError, match=told):
    open_data(data(what))


def test_a_data_set_with_no_or_broken_images_is_a_line(monkeypatch):
  made = own_pieces.images("train", 0)
  monkeypatch.setattr(own_pieces, "images", lambda split: made)
  with pytest.raises(UserError, match="images': its split 'train' is empty"):
    open_data(data(":images"))
  monkeypatch.setattr(own_pieces, "images", lambda split: 1 / 0)
  with pytest.raises(UserError, match="images': ZeroDivisionError"):
    open_data(data(":images"))
  c = data(":images")
  c.data.version = "1.0.0"
  with pytest.raises(UserError, match="is a function and has no version 1.0.0"):
    open_data(c)
