"""Functions by name get what they ask for by name; what is wrong is a line."""

import sys

import pytest

from robustjax import config
from robustjax.errors import UserError
from robustjax.run import pieces


def named(what, name="loss.name", **values):
  c = config.base("test", "mini")
  config.change(c, name, what, "mine")
  config.check(c)
  return pieces.piece(c, name, values, ("adv", "labels"))


@pytest.fixture
def module(tmp_path, monkeypatch):
  """Writes a module that can be imported, and forgets it."""
  monkeypatch.syspath_prepend(tmp_path)

  def write(text, name="of_somebody"):
    (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path / f"{name}.py"

  yield write
  sys.modules.pop("of_somebody", None)


def test_a_piece_gets_what_it_asks_for_and_no_more(module):
  module("def loss(adv, beta, scale=2, **rest): return adv, beta, scale, rest")
  found = named("of_somebody:loss", beta=3, alp_weight=0)
  assert found.sees == {"adv"} and set(found.asked) == {"beta"}
  assert found(adv=1, labels=5) == (1, 3, 2, {})


@pytest.mark.parametrize(
  ("text", "told"),
  [
    ("def lose(adv): ...", "the module of_somebody has no loss"),
    ("loss = 3", "of_somebody:loss is a int, not a function"),
    ("def loss(adv, colour): ...", "asks for 'colour'; it may ask by name for adv"),
    ("def loss(adv, /): ...", "asks for 'adv'; it may ask by name"),
    ("import nothing_like_it", "there is no module nothing_like_it; start where"),
    ("def loss(:", "cannot be imported: SyntaxError: .*of_somebody.py, line 1"),
    ("1 / 0", "of_somebody:loss cannot be imported: ZeroDivisionError"),
    ("import math; math.loss_of", "AttributeError: module 'math' has no"),
  ],
)  # fmt: skip
def test_what_is_wrong_is_a_line_that_names_it(module, text, told):
  module(text)
  with pytest.raises(UserError, match=f"config.loss.name: .*{told}") as error:
    named("of_somebody:loss", beta=1.0)
  assert "\n" not in str(error.value)


def test_a_module_that_is_not_there_is_a_line():
  with pytest.raises(
    UserError, match="loss.name: no.where:loss: there is no module no"
  ):
    named("no.where:loss")


def test_the_projects_own_are_called_the_same_way():
  for name, what, values in (
    ("loss.name", "trades", {"beta": 6.0, "label_smoothing": 0.0}),
    ("attack.name", "kl", {"eps": 1.0, "step_size": 1.0, "steps": 1}),
  ):
    c = config.base("test", "mini")
    config.change(c, name, what, "not in the paper")
    given = ("clean", "adv", "labels", "logits_fn", "clean_logits_fn", "images", "keys")
    assert set(pieces.piece(c, name, values, given).asked) == set(values)


def test_the_digest_is_of_the_file(module):
  path = module("def loss(adv): ...")
  c = config.base("test", "mini")
  assert pieces.digests(c) == {}
  c.loss.name, c.attack.name = "of_somebody:loss", "no.where:attack"
  first = pieces.digests(c)
  assert first["attack.name"] == ("no.where:attack", "not there")
  assert first == pieces.digests(c) and pieces.source("of_somebody:loss") == path
  module("def loss(adv): return 0")
  assert pieces.digests(c)["loss.name"] != first["loss.name"]


def test_values_that_a_piece_does_not_ask_for_cannot_be_set():
  c = config.base("test", "mini")
  c.loss.name = "of_somebody:loss"
  pieces.unused(c, "loss", ("clean_ratio",))
  c.loss.clean_ratio, c.loss.alp_weight = 1.0, 0.5
  with pytest.raises(UserError, match="alp_weight is 0.5, which of_somebody:loss does"):
    pieces.unused(c, "loss", ("clean_ratio",))
  pieces.unused(c, "loss", ("clean_ratio", "alp_weight"))
