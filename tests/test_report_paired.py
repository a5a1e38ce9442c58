"""Ledgers are read with doubt, and compared image by image with exact numbers."""

import fractions
import json
import math
import random
import time

import pytest
import report_runs as make

from robustjax.errors import UserError
from robustjax.report import paired
from robustjax.report.checked import Damaged
from robustjax.report.paired import Image, Pair


def write(path, lines):
  path.write_text("".join(json.dumps(line) + "\n" for line in lines))
  return path


def of(robust):
  """A ledger in which these images are robust, of five."""
  return {i: Image(i % 2, True, None if i in robust else "pgd") for i in range(5)}


def test_what_was_written_is_read(tmp_path):
  found = paired.read_ledger(write(tmp_path / "x", make.ledger(2, 4, 6)))
  assert found == {
    **{i: Image(i, True, None) for i in (0, 1)},
    **{i: Image(i, True, "apgd-t") for i in (2, 3)},
    **{i: Image(i, False, None) for i in (4, 5)},
  }
  assert [found[i].robust for i in range(6)] == [True] * 2 + [False] * 4


def test_a_line_that_a_kill_cut_short_is_left_out(tmp_path):
  path = write(tmp_path / "x", make.ledger(2, 4, 6))
  path.write_text(path.read_text()[:-9])
  assert len(paired.read_ledger(path)) == 5
  assert paired.read_ledger(tmp_path / "none") == {}


@pytest.mark.parametrize(
  ("changed", "says"),
  [
    ({"index": -1}, "line 2: its index is -1"),
    ({"index": 5}, "an image is there twice"),
    ({"label": "3"}, "line 2: its label is '3'"),
    ({"clean": 1}, "line 2: its clean is 1"),
    ({"prediction": 3}, "line 2: its clean is True, its prediction 3"),
    ({"clean": False}, "line 2: its clean is False, its prediction 4"),
    ({"clean": False, "prediction": 3, "broken_by": "a\nb"}, "broken by 'a b'"),
    ({"broken_by": 7}, "line 2: its broken_by is 7"),
    ({"margin": float("nan")}, "line 2: it holds 'NaN'"),
    ({"adv_margin": float("-inf")}, "line 2: it holds '-Infinity'"),
  ],
)
def test_damage_is_named(tmp_path, changed, says):
  lines = make.ledger(6, 6, 6)
  lines[1].update(changed)
  with pytest.raises(Damaged) as caught:
    paired.read_ledger(write(tmp_path / "x", lines))
  assert says in str(caught.value) and "\n" not in str(caught.value)


def test_images_are_counted_in_pairs():
  pair = paired.mcnemar(of({0, 1, 2}), dict(reversed(of({2, 3}).items())))
  assert pair == Pair(images=5, both=1, one=2, other=1)
  assert pair.difference == pytest.approx(0.2)
  low, high = pair.interval
  assert -1 <= low < 0.2 < high <= 1


def test_other_images_are_refused():
  fewer = {i: image for i, image in of({1}).items() if i}
  other = {**of({1}), 0: Image(1, True, None)}
  for ledger in (fewer, other):
    assert not paired.same_images(of({1}), ledger)
    with pytest.raises(UserError, match="of different images"):
      paired.mcnemar(of({1}), ledger)


def test_attacks_together_leave_what_each_leaves():
  ledgers = [of({0, 1, 2}), of({1, 2, 4}), of({0, 1, 2, 3})]
  together = paired.union(ledgers)
  assert {i for i, image in together.items() if image.robust} == {1, 2}
  assert paired.union(ledgers[:1]) == ledgers[0]
  named = {0: Image(0, True, "a")}, {0: Image(0, True, "b")}
  assert paired.union(named)[0].broken_by == "a"
  assert paired.gain(ledgers) == [2, 1, 0]
  assert paired.gain(ledgers[::-1]) == [1, 2, 0]


def test_attacks_on_other_networks_are_not_put_together():
  other = {**of({1}), 0: Image(0, False, None)}
  fewer = {i: image for i, image in of({1}).items() if i}
  for ledger in (other, fewer):
    with pytest.raises(UserError, match="different images or networks"):
      paired.union([of({1}), ledger])


@pytest.mark.parametrize(
  "one, other", [(0, 0), (0, 5), (1, 9), (4, 4), (12, 7), (3, 2)]
)
def test_p_is_that_of_a_fair_coin(one, other):
  """Over all ways in which the coin may fall: those at least as uneven."""
  n, half = one + other, fractions.Fraction(1, 2)
  uneven = [k for k in range(n + 1) if abs(2 * k - n) >= abs(one - other)]
  p = sum(math.comb(n, k) * half**n for k in uneven)
  assert Pair(100, 10, one, other).p == pytest.approx(float(p))
  assert Pair(100, 10, other, one).p == pytest.approx(float(p))


def test_p_of_the_whole_validation_set_is_exact_and_quick():
  begun = time.perf_counter()
  assert Pair(50_000, 0, 25_000, 25_000).p == 1.0
  assert Pair(50_000, 0, 0, 50_000).p == 0.0  # less than the least float
  # By the normal approximation, which is good there.
  near = math.erfc((400 - 1) / math.sqrt(2 * 40_400))
  assert Pair(50_000, 0, 20_000, 20_400).p == pytest.approx(near, rel=1e-3)
  assert time.perf_counter() - begun < 10


def test_equal_networks_are_told_apart_as_often_as_p_says():
  draw = random.Random(5)
  splits = [sum(draw.random() < 0.5 for _ in range(60)) for _ in range(2000)]
  below = sum(Pair(500, 0, k, 60 - k).p <= 0.05 for k in splits) / len(splits)
  assert 0.015 < below <= 0.055  # exact: never more often, but for chance
