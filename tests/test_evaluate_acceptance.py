"""A card is reproduced, or by how much not, and a wrong clean number ends it early."""

import json

import jax
import networks
import numpy as np
import pytest

from experiments import published
from robustjax.evaluate import __main__ as command
from robustjax.evaluate import acceptance, task
from robustjax.runtime import files, parallel

ONE = parallel.mesh(jax.devices()[:1])
CLEAN = 100 * (1 - 9 / networks.COUNT)  # every seventh of 60 is a mistake
CARD = """
from robustjax.evaluate.cards import Card, Number

def get_card(word):
  return Card(
    word=word, title="the network", file="f", where="w", source="s", images=60,
    which="all", eps=16.0, clean=Number("none", {clean}),
    attacked=(Number({attack!r}, {robust}, {steps}, {hits}),),
    tolerance={tolerance}, reason="r", setting="adv",
  )
"""


@pytest.fixture
def evaluate(tmp_path, capsys, monkeypatch):
  """Evaluates beside a card; returns the status, what was printed, and card.json."""
  monkeypatch.setattr(command.parallel, "mesh", lambda: ONE)
  data, out = tmp_path / "images.npz", tmp_path / "out"
  np.savez(data, images=networks.IMAGES, labels=networks.LABELS)

  def call(*words, what="networks:function", **values):
    card = {"clean": CLEAN, "attack": "pgd-random", "robust": 50.0, "steps": 3}
    card |= {"hits": None, "tolerance": 0.3}
    path = tmp_path / "mine.py"
    path.write_text(CARD.format(**(card | values)))
    given = [what, f"--data={data}", "--split=all", f"--card={path}:mine"]
    status = command.main([*given, f"--out={out}", "--batch_size=60", *words])
    printed, said = capsys.readouterr()
    errors = [line for line in said.splitlines() if line.startswith("error: ")]
    found = out / "card.json"
    card = json.loads(found.read_text()) if found.exists() else None
    return status, printed, errors, card

  return call


def test_a_card_is_reproduced_or_by_how_much_not(evaluate, tmp_path):
  status, printed, errors, card = evaluate(tolerance=100)
  assert status == 0 and not errors
  clean, attacked = card["rows"]
  assert (clean["correct"], clean["agrees"]) == (51, True)
  folder = tmp_path / "out/evaluations/pgd-random-3-linf16-all-60"
  rows = json.loads((folder / "readings.json").read_text())["rows"]
  for name in ("correct", "images", "target_hits", "steps"):
    assert attacked[name] == rows[1][name]
  robust, hits = (100 * attacked[name] / 60 for name in ("correct", "target_hits"))

  status, printed, errors, card = evaluate(robust=robust, hits=hits)
  assert status == 0 and card["rows"][1]["agrees"]
  assert (
    f"clean: 85.0 %, published {CLEAN:g}: reproduced (within 0.3 points)" in printed
  )
  for far in (
    {"robust": robust + 5, "hits": hits},
    {"robust": robust, "hits": hits + 5},
  ):
    status, printed, errors, card = evaluate(**far)
    assert status == 2 and "not reproduced: " in printed
    assert "5.0 points below" in printed and not card["rows"][1]["agrees"]
    assert errors == ["error: the network: not reproduced: targeted PGD-3"]


def test_other_steps_are_measured_and_compared_with_nothing(evaluate):
  status, printed, _, card = evaluate("--steps=1,3", "--eps=8", robust=99.0)
  assert status == 0 and [row["steps"] for row in card["rows"]] == [0, 1, 3]
  assert printed.count("; nothing is published of it") == 2


def test_an_adaptive_attack_has_its_number_too(evaluate):
  words = "--steps=2", "--images=30"
  status, printed, _, card = evaluate(*words, attack="apgd-ce", steps=0, robust=80.0)
  (clean, attacked) = card["rows"]
  assert clean["images"] == attacked["images"] == 30
  assert "clean: " in printed and "99.9 % interval of 30 images" in printed
  assert attacked["name"] == "apgd-ce" and attacked["correct"] < clean["correct"]
  assert status == (0 if attacked["agrees"] else 2)


def test_a_wrong_clean_number_is_explained_and_nothing_is_attacked(
  evaluate, monkeypatch
):
  monkeypatch.delattr(task.Task, "readings")
  status, printed, errors, card = evaluate(what="networks:of_other_channels")
  assert status == 2 and "clean: not reproduced: " in printed
  (found,) = (line for line in printed.splitlines() if "would fit" in line)
  assert found.split()[:5] == ["channels", "reversed", "51", "/", "60"]
  assert errors[0].startswith(
    "error: the network: the clean accuracy is not reproduced, and nothing was"
    " attacked: channels reversed would fit: "
  )
  first, second, *_ = card["suspects"]
  assert (first["name"], second["name"]) == ("as it is", "channels reversed")
  assert (second["correct"], second["fits"]) == (51, True)
  assert [row["attack"] for row in card["rows"]] == ["none"]


def test_fewer_images_are_no_false_alarm_and_a_fault_is_one(evaluate):
  assert evaluate("--images=20", tolerance=0, steps=1)[3]["rows"][0]["agrees"]
  status, printed, *_ = evaluate(
    "--images=40", "--suspect_images=30", what="networks:of_other_channels"
  )
  assert status == 2 and "on 30 images" in printed
  assert "99.9 % interval of 40 images" in printed


@pytest.mark.parametrize("word", ["--norm=l2", "--branch=clean,adv"])
def test_mistakes_are_one_line(evaluate, word):
  status, printed, errors, card = evaluate(word)
  assert (status, printed, card) == (2, "", None)
  assert errors == ["error: --card is for L-infinity and one branch, attacked itself"]


def test_what_an_earlier_call_measured_is_kept(tmp_path):
  card, path = published.get_card("fd_resnet152"), tmp_path / "card.json"

  def measured(identity, *notes):
    made = acceptance.Acceptance(card, 16.0, True, identity, path, True)
    for attack, steps, correct in notes:
      made._note(attack, steps, correct, 50_000, 100 if steps else None)
    made.write()
    rows = files.read_json(path)["rows"]
    return {(row["attack"], row["steps"]): row["correct"] for row in rows}

  first, second = ("none", 0, 31_150), ("pgd-random", 10, 26_250)
  assert measured({"weights": 1}, first, second) == {
    first[:2]: 31_150,
    second[:2]: 26_250,
  }
  again = measured({"weights": 1}, ("none", 0, 31_000))
  assert again == {first[:2]: 31_000, second[:2]: 26_250}
  assert measured({"weights": 2}, first) == {first[:2]: 31_150}
