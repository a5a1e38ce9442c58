"""A complete run's files are looked at, and what is damaged is named."""

import json

import pytest

from robustjax import config
from robustjax.evaluation import ledger
from robustjax.run import whole, workdir
from robustjax.runtime import metrics

_OF_AN_EVALUATION = (ledger.SUMMARY, ledger.IMAGES)


@pytest.fixture
def run(tmp_path):
  """The configuration and the folder of a complete run, as `whole.look` sees it."""
  c = config.base("test", "mini")
  log = metrics.MetricsLog(tmp_path, 0)
  log.write(7, 0.5, "train", {"loss": 1.0})
  log.close()
  about = {"shapes": {}, "sha256": {}, "run": config.plain(c) | {"files": "abc"}}
  about["records"] = log.digest()
  checkpoint = tmp_path / workdir.CHECKPOINTS / "7"
  checkpoint.mkdir(parents=True)
  metadata = json.dumps({"custom_metadata": about})
  (checkpoint / "_CHECKPOINT_METADATA").write_text(metadata)
  evaluation = ledger.Ledger(tmp_path / ledger.EVALUATIONS / "one", {"step": 7})
  evaluation.commit([{"index": 3}])
  evaluation.finish({"images": 1})
  workdir.claim(tmp_path, c, "abc").close()
  return c, tmp_path


def test_nothing_is_said_of_what_is_whole(run, capsys):
  c, folder = run
  before = (folder / workdir.CONFIG).read_bytes()
  whole.look(folder, c)
  assert capsys.readouterr() == ("", "")
  (folder / workdir.CONFIG).unlink()
  whole.look(folder, c)
  assert (folder / workdir.CONFIG).read_bytes() == before


@pytest.mark.parametrize(
  "name",
  [metrics.METRICS, "evaluations/one/summary.json", "evaluations/one/images.jsonl"],
)
@pytest.mark.parametrize("damage", ["gone", "empty", "changed"])
def test_what_is_damaged_is_named_and_left_as_it_is(run, capsys, name, damage):
  c, folder = run
  path = folder / name
  text = path.read_text().replace("7", "8").replace("3", "4")
  path.write_text("" if damage == "empty" else text)
  if damage == "gone":
    path.unlink()
  before = files_of(folder)
  whole.look(folder, c)
  told = capsys.readouterr().err
  assert told.count("\n") == 1 and str(path.parent) in told
  assert files_of(folder) == before


def test_what_goes_on_and_what_says_nothing_are_left_alone(run, capsys):
  c, folder = run
  (folder / workdir.CHECKPOINTS / "7" / "_CHECKPOINT_METADATA").write_text("{")
  (folder / metrics.METRICS).write_text("of an older version, which says no digest")
  begun = folder / ledger.EVALUATIONS / "begun"
  ledger.Ledger(begun, {"step": 7}).commit([{"index": 1}])
  (begun / ledger.IMAGES).write_text("whoever goes on with it looks")
  whole.look(folder, c)
  assert capsys.readouterr() == ("", "")


def files_of(folder):
  found = (p for p in folder.rglob("*") if p.is_file() and p.name != workdir.LOCK)
  return {p: p.read_bytes() for p in found}
