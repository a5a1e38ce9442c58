"""The command: somebody's network in, a ledger, a table and a picture out."""

import json

import jax
import pytest
from data_files import image_folder

from robustjax.evaluate import __main__ as command


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  made = tmp_path_factory.mktemp("images")
  return image_folder(made / "images", {"val": 12}, size=(4, 4))


@pytest.fixture
def evaluate(folder, tmp_path, capsys, monkeypatch):
  """Calls the command with few steps; returns its status and what it printed."""
  one = jax.devices()[:1]
  monkeypatch.setattr(
    command.parallel, "mesh", lambda mesh=command.parallel.mesh: mesh(one)
  )

  def call(*words, attack="apgd-ce,square"):
    given = [
      "networks:function", f"--data={folder}", "--split=val", "--size=4",
      "--transform=none", "--eps=8", "--steps=3", "--queries=20", "--batch_size=8",
      f"--attack={attack}", f"--out={tmp_path / 'out'}", *words,
    ]  # fmt: skip
    status = command.main([word for word in given if word])
    return status, *capsys.readouterr()

  return call


def test_an_evaluation_of_a_function(evaluate, tmp_path):
  status, printed, _ = evaluate()
  assert status == 0
  summary = json.loads((tmp_path / "out" / "summary.json").read_text())
  lines = (tmp_path / "out" / "images.jsonl").read_text().splitlines()
  assert len(lines) == summary["images"] == 24
  assert f"{summary['robust']} / 24" in printed
  assert (tmp_path / "out" / "summary.png").stat().st_size > 1000
  identity = summary["identity"]
  assert (identity["network"], identity["eps"]) == ("networks:function", 8.0)
  again, repeated, _ = evaluate()
  assert again == 0 and repeated.splitlines()[1:] == printed.splitlines()[1:]


def test_another_evaluation_in_its_folder_is_refused(evaluate):
  assert evaluate("--images=6")[0] == 0
  status, _, said = evaluate("--images=7")
  assert status == 2 and "images=6, not 7: move it away" in said


@pytest.mark.parametrize(
  ("words", "message"),
  [
    (["--attack=fgsm"], "there is no attack 'fgsm'"),
    (["--attack=standard"], "to change them, name its attacks"),
    (["--branch=adv"], "has no branch 'adv'"),
    (["--images=99"], "has 24 images, not 99"),
    (["--eps=0"], "'0' is not a number above 0"),
    (["--steps=0"], "'0' is not a whole number from 1 up"),
    (["--norm=l1"], "invalid choice"),
    (["--epsilon=3"], "unrecognized arguments: --epsilon=3"),
    (["--split=test"], "has no folder 'test', only val"),
  ],
)
def test_mistakes_are_one_line(evaluate, tmp_path, words, message):
  status, printed, said = evaluate(*words)
  assert status == 2 and message in said and printed == ""
  assert said.startswith("error: ") and said.count("\n") == 1
  assert not (tmp_path / "out").exists()


def test_two_evaluations_are_compared(evaluate, tmp_path, capsys):
  one, other = tmp_path / "one", tmp_path / "other"
  assert evaluate(f"--out={one}", attack="apgd-ce")[0] == 0
  assert evaluate(f"--out={other}", "--seed=1", attack="square")[0] == 0
  assert command.main(["--compare", str(one), str(other)]) == 0
  printed = capsys.readouterr().out
  assert "robust in both" in printed and "p = " in printed
  assert "robust against all: " in printed
  assert command.main(["--compare", str(one), str(tmp_path)]) == 2
  assert "is not the folder of an evaluation" in capsys.readouterr().err
