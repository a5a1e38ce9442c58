"""What a piece may be called."""

import pytest

from robustjax import config
from robustjax.config.pieces import PIECES
from robustjax.errors import UserError


@pytest.mark.parametrize("name", PIECES)
def test_a_piece_is_one_of_the_projects_or_a_function(name):
  section, _, key = name.partition(".")
  default = config.DEFAULTS[name].value
  for value in (default, *PIECES[name], "mine:f", "my_pkg.sub.mod:make_it2"):
    assert not config.checks.ranges.wrong(name, value)
  for value in ("mine", "mine:", ":f", "a b:f", "mine:f()", "1:f", "a.:f", "../a:f"):
    c = config.base("test", "mini")
    c[section][key] = value
    told = f"config.{name} is '.*'; it may be '.*', or package.module:function"
    with pytest.raises(UserError, match=told):
      config.check(c)


def test_those_that_are_functions_are_known_with_data_among_them():
  c = config.base("test", "mini")
  assert config.own(config.flatten(c)) == {}
  c.data.name, c.loss.name, c.attack.name = "mine:images", "trades", "mine:attack"
  found = config.own(config.flatten(c))
  assert found == {"attack.name": "mine:attack", "data.name": "mine:images"}


def test_the_values_of_a_resnet_bind_no_other_network():
  c = config.base("test", "mini")
  c.model.norm, c.model.gn_groups = "gn", 5  # does not divide the width
  with pytest.raises(UserError, match="gn_groups is 5"):
    config.check(c)
  c.model.network = "mine:network"
  config.check(c)
