"""The table shows every count."""

import report_runs as make

from robustjax.paper.rows import TARGETED
from robustjax.report import table

EVALUATION = {
  "step": 5,
  "rows": [
    {"branch": "adv", "attack": "none", "steps": 0, "step_size": 0.0, "eps": 0.0,
     "images": 80, "correct": 60, "accuracy": 0.75, "target_hits": 3},
    {"branch": "adv", "attack": "pgd", "steps": 10, "step_size": 1.6, "eps": 16.0,
     "images": 80, "correct": 40, "accuracy": 0.5, "target_hits": 12},
  ],
  "worst_case": [{"branch": "adv", "images": 80, "correct": 38, "accuracy": 0.475}],
}  # fmt: skip


def test_every_row_with_its_counts():
  text = table.evaluation_table(EVALUATION)
  header, rule, clean, pgd, worst, says = text.splitlines()
  assert header.split() == ["branch", "attack", "step", "size", "eps", "correct",
                            "accuracy", "target", "hits"]  # fmt: skip
  assert set(rule) == {"-", " "}
  assert clean.split() == [
    "adv",
    "none",
    "(clean)",
    *["60", "/", "80", "75.0%", "3", "/", "80"],
  ]
  assert pgd.split() == [
    "adv",
    "PGD-10",
    "1.6",
    "16",
    *["40", "/", "80", "50.0%", "12", "/", "80"],
  ]
  assert worst.split() == ["adv", "worst", "case", *["38", "/", "80", "47.5%"]]


def test_what_adaptive_attacks_left_stands_below_the_readings():
  adaptive = [make.adaptive("adv", 690, eps=16.0), make.adaptive("adv", 3, 80, "pgd")]
  text = table.evaluation_table({**EVALUATION, "adaptive": adaptive})
  *_, one, other, says = text.splitlines()
  assert one.split() == ["adv", "apgd-ce,", "apgd-t", "16", "690", "/", "1000", "69.0%"]
  assert other.split() == ["adv", "pgd", "32", "3", "/", "80", "3.8%"]
  assert says == TARGETED


def test_broken_images_that_were_left_out_are_told():
  text = table.evaluation_table({**EVALUATION, "skipped": 3, "guesses": ["a=1"]})
  assert text.splitlines()[-2:] == [
    "broken images, which no row counts: 3", "guesses: a=1"
  ]  # fmt: skip
