"""The example of docs/extend.md is run as it is printed, killed, read and evaluated."""

import json
import re
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from robustjax import config, main
from robustjax.errors import UserError
from robustjax.evaluate import __main__ as evaluate
from robustjax.report import __main__ as report
from robustjax.run import kept, saved
from robustjax.run import workdir as workdirs
from robustjax.runtime import checkpoint, metrics, parallel, preemption

DOC = Path(__file__).parents[1] / "docs/extend.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```$", DOC.read_text(), re.M | re.S)
NAME = "convnext_trades"
TINY = [
  "--config.model.width=4", "--config.model.stages=(1,)",
  "--config.model.group=8", "--config.attack.steps=1",
  "--config.train.epochs=0.026",  # 4 steps of 64 images
  "--config.train.save_every_epochs=0.013", "--config.train.log_every_steps=1",
  "--config.train.validation_images=40", "--config.eval.readings=(2,)",
  "--config.eval.images=40", "--config.eval.attack=", "--config.eval.batch_size=40",
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  """Somebody's own folder, where commands start."""
  path = tmp_path_factory.mktemp("own")
  (path / f"{NAME}.py").write_text(BLOCKS[0])
  with pytest.MonkeyPatch.context() as patch:
    patch.chdir(path)
    patch.syspath_prepend(path)
    patch.delitem(sys.modules, NAME, raising=False)
    yield path
  sys.modules.pop(NAME, None)


def start(monkeypatch, workdir, *words):
  flags = [f"--config={NAME}.py:mini", *TINY, f"--workdir={workdir}", *words]
  monkeypatch.setattr(sys, "argv", ["main", *flags])
  return main.main()


@pytest.fixture(scope="module")
def whole(folder):
  with pytest.MonkeyPatch.context() as patch:
    assert start(patch, "whole") == 0
  return folder / "whole"


def digests(workdir, step):
  return checkpoint.about(workdir / workdirs.CHECKPOINTS, step).sha256


def test_it_is_short():
  assert BLOCKS[0].count("\n") < 80


@pytest.mark.slow
def test_it_trains_and_says_what_it_is(whole, folder):
  record = json.loads((whole / "config.json").read_text())
  sources = {row["name"]: row["source"] for row in record["table"]}
  assert sources["loss.name"] == "not in the paper: Zhang et al. 2019"
  assert {n: what for n, (what, _) in record["pieces"].items()} == {
    "model.network": f"{NAME}:network", "loss.name": f"{NAME}:trades",
  }  # fmt: skip
  records = metrics.read_metrics(whole / metrics.METRICS)
  trained = [r for r in records if r["split"] == "train"]
  assert len(trained) == 4 and all(r["kl"] >= 0 for r in trained)
  for r in trained:  # without label smoothing the clean part is the rest
    assert r["loss"] > 6 * r["kl"]
  rows = json.loads((whole / "evaluation.json").read_text())["rows"]
  assert {(r["branch"], r["steps"]) for r in rows} == {
    (branch, n) for branch in ("clean", "adv") for n in (0, 2)
  }
  looked = json.loads((whole / "statistics.json").read_text())
  assert set(looked["running"]) == {"clean", "adv"}
  assert (whole / kept.FOLDER / f"{NAME}.py").read_text() == BLOCKS[0]


# A process that is told to stop ends, and so lets go of its folder.
@pytest.mark.filterwarnings(
  "ignore:Exception ignored:pytest.PytestUnraisableExceptionWarning"
)
@pytest.mark.slow
def test_stopped_and_started_again_it_ends_in_the_same_bytes(
  whole, folder, monkeypatch, capsys
):
  asked = []
  with monkeypatch.context() as patch:
    patch.setattr(preemption.Stop, "requested", lambda self: asked.append(1) or True)
    assert start(patch, "stopped") == 143
  assert checkpoint.steps(folder / "stopped" / workdirs.CHECKPOINTS) == [1]
  other = BLOCKS[0].replace("beta * kl", "beta + kl")
  (folder / f"{NAME}.py").write_text(other)
  assert start(monkeypatch, "stopped") == 2
  assert f"stopped/{kept.FOLDER}/{NAME}.py: put that back" in capsys.readouterr().err
  (folder / f"{NAME}.py").write_text(BLOCKS[0])
  assert start(monkeypatch, "stopped") == 0
  for name in ("metrics.jsonl", "evaluation.json", "config.json"):
    ours, theirs = (folder / run / name for run in ("stopped", "whole"))
    assert ours.read_bytes() == theirs.read_bytes(), name
  assert digests(folder / "stopped", 4) == digests(whole, 4)


@pytest.mark.slow
def test_what_is_read_back_is_the_average(whole):
  c = saved.read_config(whole)
  mesh = parallel.mesh(jax.devices()[:1])
  trained, _ = saved.newest(c, whole, mesh)
  read = saved.restore(c, whole, mesh)
  averaged = trained.opt_state
  assert any(path.startswith("opt_state/params/") for path in digests(whole, 4))
  for ours, of_it, last in (
    (read.params, averaged.params, trained.params),
    (read.batch_stats, averaged.batch_stats, trained.batch_stats),
  ):
    jax.tree.map(np.testing.assert_array_equal, ours, of_it)
    same = jax.tree.map(lambda a, b: bool((a == b).all()), ours, last)
    assert not all(jax.tree.leaves(same))


@pytest.mark.slow
def test_the_other_commands_take_it(whole, folder, capsys):
  words = [str(whole), "--attack=pgd", "--steps=2", "--images=8", "--batch_size=1"]
  assert evaluate.main(words) == 0
  assert "/ 8" in capsys.readouterr().out
  assert report.main([str(whole), f"--out={folder / 'report'}"]) == 0
  assert NAME in (folder / "report/report.md").read_text()


def test_the_other_pieces_are_what_they_are_said_to_be(tmp_path, monkeypatch):
  monkeypatch.syspath_prepend(tmp_path)
  (tmp_path / "printed_pieces.py").write_text("\n".join(BLOCKS[1:]))
  from robustjax.run import data, pieces

  source = data.open_named("printed_pieces:flowers", split="train")
  assert source.num_classes == 4 and source[0]["label"] == 3
  c = config.base("test", "mini")
  c.train.tracker = "printed_pieces:start"
  log = metrics.MetricsLog(tmp_path, 0, tracker=pieces.tracker(c, tmp_path))
  log.write(1, 0.5, "train", {"loss": 2.0})
  log.close()
  text = (tmp_path / "lines.txt").read_text()
  assert text == "1 {'train/loss': 2.0, 'epoch': 0.5}\n"
  c.train.tracker = "printed_pieces:flowers"
  with pytest.raises(
    UserError, match="asks for 'split'; it may ask by name for config"
  ):
    pieces.tracker(c, tmp_path)
  sys.modules.pop("printed_pieces")
