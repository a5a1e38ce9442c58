"""Each value by itself: odd ones are refused in a line, or lie within its range."""

import math

import numpy as np
import pytest

from robustjax import config
from robustjax.config import ranges
from robustjax.errors import UserError

NUMBERS = {
  name
  for name, default in config.DEFAULTS.items()
  if isinstance(default.value, int | float | tuple)
  and not isinstance(default.value, bool)
}


def test_every_number_has_a_range():
  assert set(ranges.RANGES) == NUMBERS
  for name, own in ranges.RANGES.items():
    values = (config.DEFAULTS[name].value, config.MINI.get(name, ()))
    for value in values:
      assert all(x in own for x in (value if isinstance(value, tuple) else (value,)))


@pytest.mark.parametrize(
  ("name", "value", "words"),
  [
    ("attack.eps", 0, "attack.eps is 0; it may be 0.1 to 255, of 255: 8/255 is 8"),
    ("eval.eps", 8 / 255, "8/255 is 8"),
    ("attack.step_size", 2 / 255, "it may be 0.01 to 255, of 255"),
    ("model.width", 10**12, "is 1000000000000; it may be 1 to 4096"),
    ("model.width", 8.0, "width is 8.0; it may be a whole number"),
    ("attack.steps", 2**63, "it may be 1 to 100,000"),
    ("train.epochs", 1e300, "epochs is 1e\\+300; it may be above 0 to 10,000"),
    ("train.epochs", 10**400, "epochs is 1000.*\\.\\.\\.; it may be above 0"),
    ("seed", True, "seed is True; it may be a whole number"),
    ("loss.adv", 1, "adv is 1; it may be True or False"),
    ("data.name", None, "name is None; it may be a text"),
    ("data.name", "a\nb", "it may be a line of printable letters"),
    ("optimizer.momentum", 1, "momentum is 1; it may be 0 to below 1"),
    ("loss.label_smoothing", 1.0, "label_smoothing is 1.0; it may be 0 to below 1"),
    ("optimizer.decay_factor", 0.0, "it may be above 0 to 1"),
    ("optimizer.decay_epochs", (1e400,), "is \\(inf,\\); it may be numbers"),
    ("eval.readings", (10**9,), "it may be whole numbers, each 1 to 100,000"),
    ("eval.readings", (True,), "it may be whole numbers"),
    ("model.stages", (1,) * 99, "a tuple of at most 8 whole numbers"),
  ],
)  # fmt: skip
def test_what_no_one_means_is_refused_with_the_range(name, value, words):
  flat = config.flatten(config.base("test", "mini")) | {name: value}
  with pytest.raises(UserError, match=words) as caught:
    config.checks.check(flat)
  assert "\n" not in str(caught.value) and len(str(caught.value)) < 250


def odd_value(rng, default):
  """A value that somebody could write, or no one would."""
  number = rng.choice([0, 1, -1, 0.5, 3, 1e-9, 1e300, -7.5, 2**31, 2**63, 10**12])
  number = number if rng.random() < 0.5 else int(number)
  scaled = default * rng.choice([-1, 0, 0.1, 0.5, 1, 2, 10, 1000]) if (
    isinstance(default, int | float)
  ) else default  # fmt: skip
  several = tuple(rng.choice([0, 1, 5, 10, 10, 20, 1e9, math.inf, math.nan], 2))
  whole = tuple(int(x) if math.isfinite(x) else x for x in several)
  kinds = (
    number, scaled, several, whole, int(scaled) if isinstance(scaled, float) else "b",
    list(whole), math.nan, math.inf, True, None, "", "a", "../x", "\0", "test[50:10]",
    "test[:10%]", "test[", b"x", (), ((),), ("a",), {}, 10**5000,
  )  # fmt: skip
  return kinds[rng.integers(len(kinds))]


def test_whatever_is_written_is_refused_in_a_line_or_within_its_range():
  """Singly and in pairs, so that what belongs together meets what is odd, too."""
  rng = np.random.default_rng(0)
  accepted = 0
  for variant in ("", "mini"):
    whole = config.flatten(config.base("test", variant))
    for _ in range(1500):
      names = rng.choice([*whole], rng.integers(1, 3), replace=False)
      changed = {str(name): odd_value(rng, whole[name]) for name in names}
      flat = whole | changed
      try:
        config.checks.check(flat)
      except UserError as error:
        assert "\n" not in str(error) and str(error).isprintable()
        assert any(name.partition(".")[2] in str(error) for name in changed), error
        continue
      accepted += 1
      assert all(isinstance(line, str) for line in config.oddities.odd(flat))
      for name, value in changed.items():
        default = config.DEFAULTS[name].value
        numbers = value if isinstance(default, tuple) else (value,)
        if name in NUMBERS:
          own = ranges.RANGES[name]
          assert all(own.low <= x <= own.high for x in numbers), (name, value)
        assert isinstance(value, bool) == isinstance(default, bool)
  assert accepted > 100
