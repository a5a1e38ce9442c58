"""A number above its limit fails by its rule, and the worst check is the verdict."""

import pytest

from robustjax.audit import check


def test_a_check_fails_above_its_limit_alone():
  limit = check.RULES["repeated pass"].limit
  assert check.made("repeated pass", limit, "").verdict == "clean"
  assert check.made("repeated pass", 1.01 * limit, "").verdict == "masked"
  assert check.made("repeated pass", float("nan"), "").verdict == "masked"


def test_two_images_are_chance_however_few_there_are():
  of_20 = {n: check.made("black box", n / 20, "", count=20).verdict for n in (2, 3)}
  assert of_20 == {2: "clean", 3: "masked"}
  assert check.made("black box", 0.03, "", count=1000).verdict == "masked"


def test_a_check_names_the_first_images():
  assert check.made("black box", 1.0, "", range(50)).images == list(range(10))


@pytest.mark.parametrize(
  ("verdicts", "worst"),
  [
    (["clean", "not made"], "clean"),
    (["clean", "suspicious", "not made"], "suspicious"),
    (["suspicious", "masked", "clean"], "masked"),
  ],
)
def test_the_verdict_is_the_worst(verdicts, worst):
  assert check.verdict([check.Check("", v, 0, 0, "") for v in verdicts]) == worst


def test_a_note_is_no_ground_for_a_verdict():
  assert check.note("a note", 1.0, "").verdict == "clean"


def test_every_rule_says_where_it_is_from():
  for rule in check.RULES.values():
    assert rule.fails in ("masked", "suspicious") and rule.source
    assert any(word in rule.source for word in ("ours", "limit", check.AUTOATTACK))
