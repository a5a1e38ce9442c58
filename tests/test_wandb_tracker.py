"""Weights & Biases without a network: its own files, one run over several starts."""

import pytest

from robustjax import config
from robustjax.errors import UserError
from robustjax.run import pieces
from robustjax.runtime import metrics


def tracked(workdir):
  c = config.base("test", "mini")
  c.train.tracker = "wandb"
  return pieces.tracker(c, workdir)


@pytest.mark.parity
@pytest.mark.filterwarnings("ignore")  # its own
def test_offline_it_leaves_what_can_be_sent_later(tmp_path, monkeypatch, capsys):
  pytest.importorskip("wandb", reason="`make parity` installs wandb")
  monkeypatch.setenv("WANDB_MODE", "offline")
  run = tmp_path / "run"
  run.mkdir()
  for step in (0, 1):
    log = metrics.MetricsLog(run, step, tracker=tracked(run))
    log.write(step + 1, 0.5, "train", {"loss": 2.0})
    log.close()
  said = capsys.readouterr()
  assert "cannot be written" not in said.err
  assert said.out.count(f"Tracked: wandb sync {run}/wandb/offline-run-") == 2
  found = sorted(run.glob("wandb/offline-run-*/run-*.wandb"))
  assert (
    len({path.name for path in found}) == 1 and b"train/loss" in found[0].read_bytes()
  )


def test_without_it_its_name_is_a_line(tmp_path, monkeypatch):
  monkeypatch.setattr(pieces.importlib.util, "find_spec", lambda _: None)
  with pytest.raises(UserError, match="'wandb', which is not installed: pip install"):
    tracked(tmp_path)


def test_another_one_by_name_is_checked(tmp_path):
  c = config.base("test", "mini")
  assert pieces.tracker(c, tmp_path) is None
  c.train.tracker = "own_pieces:no_such"
  with pytest.raises(UserError, match="train.tracker: .* has no no_such"):
    pieces.tracker(c, tmp_path)
  c.train.tracker = "own_pieces:alone"
  with pytest.raises(UserError, match="asks for 'adv'; it may ask by name for config"):
    pieces.tracker(c, tmp_path)
