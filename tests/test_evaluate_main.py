"""The command: somebody's network in, a ledger, a table and a picture out."""

import json

import jax
import pytest
from conftest import lively
from data_files import image_folder

from robustjax import config
from robustjax.evaluate import __main__ as command
from robustjax.run import steps, workdir
from robustjax.runtime import checkpoint, parallel
from robustjax.training import loop


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
    (["--eps=0.0314"], "eps is 0.0314 of 255, which is nothing: 8/255 is --eps=8"),
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


def test_hosts_meet_where_the_results_go(tmp_path):
  known = {
    where: command._facts(command.parser().parse_args(words))["--workdir"]
    for where, words in {
      "runs/nets.vit.b": ["nets.vit:b"],
      "there": ["nets.vit:b", "--out=there"],
      str(tmp_path): [str(tmp_path)],
    }.items()
  }
  assert list(known) == list(known.values())


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


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  """The folder of a run of MBN with a checkpoint."""
  folder, c = tmp_path_factory.mktemp("run") / "made", config.base("made", "mini")
  c.model.norm, c.model.width, c.model.stages = "mbn", 4, (1, 1)
  c.loss.clean_ratio = 1.0
  workdir.claim(folder, c).close()
  state = jax.jit(lambda key: steps.initial_state(c, key))(jax.random.key(0))
  state = state.replace(
    params=lively(state.params), batch_stats=lively(state.batch_stats, 1)
  )
  checkpoints = checkpoint.Checkpoints(folder / workdir.CHECKPOINTS, loop.BEST)
  checkpoints.save(3, parallel.replicate(state, parallel.mesh()))
  checkpoints.close()
  return folder


def test_the_branches_of_a_run_are_a_matrix(run, capsys):
  words = ["--attack=pgd", "--steps=2", "--images=30", "--batch_size=5"]
  both = ["--branch=clean,adv", "--attack_branch=clean,adv"]
  assert command.main([str(run), *words, *both]) == 0
  printed = capsys.readouterr().out
  rows = [line.split() for line in printed.splitlines()]
  folders = sorted(path.name for path in (run / "evaluations").iterdir())
  assert folders == [
    "pgd-linf32-adv-30", "pgd-linf32-adv-by-clean-30", "pgd-linf32-clean-30",
    "pgd-linf32-clean-by-adv-30",
  ]  # fmt: skip
  for branch in ("clean", "adv"):
    (row,) = (row for row in rows if row[:1] == [branch])
    for other, shown in zip(("clean", "adv"), row[2:], strict=True):
      by = "" if other == branch else f"-by-{other}"
      folder = run / f"evaluations/pgd-linf32-{branch}{by}-30"
      summary = json.loads((folder / "summary.json").read_text())
      assert shown == f"{summary['robust'] / 30:.1%}"
      assert summary["identity"]["attack_branch"] == other
  # Alone, the adv branch attacked through itself is what it was, and not made again.
  assert command.main([str(run), *words]) == 0
  assert "pgd-linf32-adv-30" in capsys.readouterr().out


def test_robustbench_wants_one_standard_evaluation(run, tmp_path, capsys):
  entry = f"--robustbench={tmp_path / 'entry.json'}"
  assert command.main([str(run), entry, "--branch=clean,adv"]) == 2
  assert "is for one branch" in capsys.readouterr().err
  assert command.main([str(run), entry, "--attack=pgd"]) == 2
  assert "is for --attack=standard" in capsys.readouterr().err
