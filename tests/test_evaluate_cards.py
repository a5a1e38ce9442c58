"""A number is reproduced on the same images, and contradicted only where that is so."""

import dataclasses

import numpy as np
import pytest

from robustjax.errors import UserError
from robustjax.evaluate import cards
from robustjax.evaluate.cards import Card, Number

CARD = Card(
  word="w", title="t", file="f", where="w", source="s", images=50_000, which="all",
  eps=16.0, clean=Number("none", 62.3), attacked=(Number("pgd-random", 52.5, 10),),
  tolerance=0.3, reason="r",
)  # fmt: skip


def judged(percent, images=50_000, same=True, card=CARD):
  return cards.judge(card, 62.3, round(percent * images / 100), images, same)


@pytest.mark.parametrize("off", [0, 0.3, -0.3, 0.302, -0.302, -21.3])
def test_the_same_images_must_come_within_the_tolerance(off):
  verdict = judged(62.3 + off)
  assert verdict.agrees == (abs(off) <= 0.3)
  assert ("not reproduced" in verdict.text) != verdict.agrees
  if not verdict.agrees:
    way = "below" if off < 0 else "above"
    assert verdict.text.endswith(f": {abs(off):.1f} points {way}")


@pytest.mark.parametrize(
  ("images", "of"), [(500, 50_000), (500, 5_000), (5_000, 5_000)]
)
def test_chance_is_no_contradiction_on_other_images(images, of):
  rng = np.random.default_rng(0)
  card = dataclasses.replace(CARD, images=of, tolerance=0.0)
  theirs = rng.binomial(of, 0.623, 1000) / of
  ours = rng.binomial(images, 0.623, 1000)
  pairs = zip(theirs, ours, strict=True)
  agree = [cards.judge(card, 100 * p, int(k), images, False).agrees for p, k in pairs]
  assert sum(agree) >= 996  # 999 are expected
  half = 100 * 4 * (0.25 / images + 0.25 / of) ** 0.5
  assert not judged(62.3 - half, images, False, card).agrees


def test_what_is_told_from_few_images_is_said():
  verdict = judged(60.0, 500, False)
  assert verdict.agrees and "not contradicted (99.9 % interval of 500" in verdict.text
  assert "not reproduced: 41.0 %, published 62.3: 21.3 points below" in (
    judged(41.0, 500, False).text
  )


def test_a_number_is_of_its_attack_alone():
  assert cards.find(CARD, "pgd-random", 10, 16.0).accuracy == 52.5
  for other in (("pgd-random", 100, 16.0), ("pgd-random", 10, 8.0), ("pgd", 10, 16.0)):
    assert cards.find(CARD, *other) is None


@pytest.mark.parametrize(
  ("name", "message"),
  [
    ("nowhere.py:w", r"there is no file 'nowhere.py', .* \(published\)"),
    ("published:w", "there is no card 'w': name one of"),
    ("experiments/adv.py:w", r"experiments/adv.py has no get_card\(word\)"),
    ("experiments/published.py:w", "there is no card 'w': name one of"),
    ("experiments/published.py", "there is no card ''"),
  ],
)
def test_what_is_no_card_is_named(argv, name, message):
  argv()  # in the repository's root
  with pytest.raises(UserError, match=message):
    cards.load(name)


@pytest.mark.parametrize(
  ("content", "message"),
  [
    ("def get_card(", "SyntaxError"),
    ("import nowhere_at_all", "ModuleNotFoundError"),
    ("def get_card(word): return 7", "is no robustjax.evaluate.cards.Card"),
  ],
)
def test_a_mistake_in_a_persons_cards_is_a_line(tmp_path, content, message):
  path = tmp_path / "mine.py"
  path.write_text(content)
  with pytest.raises(UserError, match=f"mine.py: .*{message}"):
    cards.load(f"{path}:w")
