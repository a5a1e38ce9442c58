"""The command: files in, one page and its Markdown out; mistakes in one line."""

import copy
import json
import os
import random
import re

import numpy as np
import pytest
import report_runs as make
import test_report_anatomy as anatomies

from robustjax.report import __main__ as report
from robustjax.report import conditions, content, inside
from robustjax.report import runs as finder
from robustjax.report.document import HTML, MARKDOWN, render


@pytest.fixture(scope="module")
def written(tmp_path_factory):
  """A folder of runs, and the report of them in another."""
  folder = tmp_path_factory.mktemp("report")
  make.make(folder / "runs" / "x", "mbn", {"adv": make.MINI, "clean": make.MINI})
  out = folder / "deep" / "out"
  assert report.main([str(folder / "runs"), "--out", str(out)]) == 0
  return folder / "runs", out


def test_every_picture_of_the_markdown_is_there(written):
  _, out = written
  named = re.findall(r"\]\((figures/[^)]*)\)", (out / "report.md").read_text())
  assert len(named) > 4
  for name in named:
    assert (out / name).read_bytes().startswith(b"\x89PNG")


def test_the_same_files_give_the_same_bytes(written, tmp_path):
  runs, out = written
  assert report.main([str(runs), f"--out={tmp_path}"]) == 0
  one, two = (
    {p.relative_to(o): p.read_bytes() for p in _files(o)} for o in (out, tmp_path)
  )
  assert one == two


def _files(folder):
  return [path for path in folder.rglob("*") if path.is_file()]


def test_an_empty_folder_gives_a_report_and_overwrites_an_earlier_one(tmp_path, capsys):
  (tmp_path / "runs").mkdir()
  arguments = [str(tmp_path / "runs"), f"--out={tmp_path / 'out'}"]
  paths = [tmp_path / "out" / name for name in ("index.html", "report.md")]
  for _ in range(2):
    assert report.main(arguments) == 0
    assert capsys.readouterr().out.splitlines() == list(map(str, paths))
  for path in paths:
    text = path.read_text()
    assert "nothing measured" in text and "39.2" in text and "not run" in text


@pytest.mark.parametrize(
  ("name", "text"),
  [
    ("index.html", "<p>mine</p>"),
    ("report.md", "mine, of pictures: ![](figures/x.png)"),
  ],
)
def test_what_is_no_report_is_kept(tmp_path, capsys, name, text):
  (tmp_path / "runs").mkdir()
  (tmp_path / name).write_text(text)
  assert report.main([str(tmp_path / "runs"), f"--out={tmp_path}"]) == 2
  assert f"{name} is not a report of this tool" in capsys.readouterr().err
  assert (tmp_path / name).read_text() == text
  assert {path.name for path in tmp_path.iterdir()} == {"runs", name}


def test_pictures_that_only_an_earlier_report_had_are_removed(tmp_path):
  runs, out = tmp_path / "runs", tmp_path / "out"
  run = make.make(runs / "x", "adv", {"all": make.MINI})
  assert report.main([str(runs), f"--out={out}"]) == 0
  figures = out / "figures"
  (mini, *_) = old = [p.name for p in figures.glob("*condition*")]
  others = (
    "mine.png",
    "figure-2-condition-9.png",
    "notes.txt",
    "images-condition-9-1.png",
  )
  for name in others:
    (figures / name).write_text("mine")
  # A reference that a run's name imitates is no reference.
  (run / "evaluation.json").unlink()
  run.rename(runs / "y](figures\\images-condition-9-1.png)")
  named = f"![x\\](figures/{others[3]}) ![](figures/../report.md) ![](figures/mine.png)"
  with (out / "report.md").open("a") as file:
    file.write(named)
  assert report.main([str(runs), f"--out={out}"]) == 0
  left = {path.name for path in figures.iterdir()}
  assert mini not in left and not left & set(old)
  assert left >= {*others, "figure-2-published.png"}
  text = (out / "report.md").read_text()
  shown = set(re.findall(r"\]\(figures/([^)]*png)\)", text))
  assert left - set(others) == shown


@pytest.mark.parametrize(
  ("arguments", "says"),
  [
    (["nowhere", "--out=out"], "nowhere is not a folder"),
    (["runs", "--out=file"], "file cannot be written to"),
    (["runs", "--out=file/below"], "file/below cannot be written to"),
    (["runs", "--out=odd"], "odd/index.html cannot be read"),
    (["runs"], "required: --out"),
    (["--out=out"], "required: RUNS"),
    (["runs", "--out=out", "--what"], "unrecognized arguments: --what"),
  ],
)
def test_a_mistake_is_one_line(tmp_path, monkeypatch, capsys, arguments, says):
  monkeypatch.chdir(tmp_path)
  (tmp_path / "runs").mkdir()
  (tmp_path / "file").touch()
  (tmp_path / "odd" / "index.html").mkdir(parents=True)
  assert report.main(arguments) == 2
  written = capsys.readouterr()
  assert not written.out
  (line,) = written.err.splitlines()
  assert line.startswith("error: ") and says in line


# What stands in no file that a run wrote: too large, not finite, or of another kind.
ODD = (10**400, -1, float("nan"), float("inf"), "x", "$\\bad{$", None, [], {}, True)


EVIL = "<script>alert(1)</script>"
OF_A_RUN = ("config.json", "metrics.jsonl", "evaluation.json", "statistics.json",
            "examples.npz", "evaluations/x/summary.json", "evaluations/x/images.jsonl",
            "audits/x/audit.json", "card.json")  # fmt: skip


def _sparse(path):
  with path.open("wb") as file:
    file.truncate(2**31)  # it takes as much memory, and nothing on the disk


NO_FILES = (
  os.mkfifo,  # whoever opens it waits for ever
  _sparse,
  lambda path: path.symlink_to("/dev/zero"),
  lambda path: path.symlink_to(path.name),
  lambda path: path.mkdir(),
)


def test_a_hostile_folder_gives_an_inert_page(tmp_path):
  runs = tmp_path / "runs"
  for name in OF_A_RUN:
    for number, made in enumerate(NO_FILES):
      folder = runs / EVIL[:8] / f"{name.replace('/', '-')}-{number}"
      path = make.make(folder, "adv") / name
      path.parent.mkdir(parents=True, exist_ok=True)
      path.unlink(missing_ok=True)
      made(path)
      (folder / "up").symlink_to(runs, target_is_directory=True)
  evil = make.make(runs / "evil", "adv")
  values = json.loads((evil / "config.json").read_text())
  values |= {"setting": "../../../" + EVIL, "scale": "mini"}
  (evil / "config.json").write_text(json.dumps(values))
  before = {p.relative_to(runs) for p in runs.rglob("*")}
  assert report.main([str(runs), f"--out={tmp_path / 'out'}"]) == 0
  assert {p.relative_to(runs) for p in runs.rglob("*")} == before
  assert {p.name for p in tmp_path.iterdir()} == {"runs", "out"}
  for name in ("index.html", "report.md"):
    page = (tmp_path / "out" / name).read_text()
    assert "<script>alert" not in page and len(page) < 2**22


def _places(value, path=()):
  """Where there is something in a JSON value, branches and leaves."""
  nested = {
    dict: lambda: value.items(),
    list: lambda: enumerate(value),
  }.get(type(value), tuple)()
  for name, inner in nested:
    yield (*path, name)
    yield from _places(inner, (*path, name))


def _replaced(value, path, odd):
  changed = inner = copy.deepcopy(value)
  for name in path[:-1]:
    inner = inner[name]
  inner[path[-1]] = odd
  return changed


def _good():
  """What the files of a good run hold."""
  record = {"step": 5, "epoch": 1.0, "split": "validation", "accuracy_adv": 0.5}
  both = {"adv": {0: 812, 10: 800}, "clean": {0: 900, 10: 10}}
  found = make.evaluation(both, guesses=["a=1"])
  return {
    "config.json": make.config("mbn", overrides={"seed": 0, "eval.readings": [10]}),
    "evaluation.json": found,
    "metrics.jsonl": record,
    "statistics.json": anatomies.statistics(channels=(3, 5)),
    **_attacked(),
  }


def _attacked():
  line = make.ledger(0, 1, 1)[0]
  attack = {"name": "apgd-t", "attacked": 1, "broken": 1}
  counts = {"images": 1, "clean": 1, "robust": 0, "attacks": [attack]}
  check = {"name": "steps", "verdict": "clean", "number": -0.1, "what": "words"}
  identity = make.identity()
  return {
    "evaluations/standard/images.jsonl": line,
    "evaluations/standard/summary.json": {"identity": identity, **counts},
    "audits/adv/audit.json": {
      "identity": identity, "verdict": "clean", "checks": [check],
    },
  }  # fmt: skip


def _odd_arrays(array):
  for odd in ("x", "$\\bad{$", -1, np.nan, np.inf, True, 2**62):
    yield np.asarray(odd)
    yield np.full(array.shape, odd)
  yield np.asarray([])
  yield np.asarray(None, object)
  yield array[None]
  yield array.astype(str)
  if array.dtype.kind != "U":
    yield array.astype(np.float64)


def _odd_runs(folder):
  """Writes runs with one odd value each; yields the run's name, the file, the value."""
  good = _good()
  arrays = anatomies.examples(1)
  changes = [
    (file, path, odd, _replaced(value, path, odd))
    for file, value in good.items()
    for path in _places(value)
    for odd in ODD
  ]
  changes += [
    ("examples.npz", name, odd, {**arrays, name: odd})
    for name, array in arrays.items()
    for odd in _odd_arrays(array)
  ]
  # Some 350 of them, of all files, places and values; which, the seed says.
  changes = random.Random(0).sample(changes, len(changes) * 2 // 5)
  for number, (file, _, odd, changed) in enumerate(changes):
    run = folder / f"run{number:04d}"
    run.mkdir(parents=True)
    for name, value in good.items():
      if name != "statistics.json" or file == name:
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text(json.dumps(changed if name == file else value))
    if file == "examples.npz":
      np.savez(run / file, **changed)
    yield run.name, file, odd


@pytest.mark.slow
@pytest.mark.thorough
def test_no_value_in_a_file_costs_the_report(tmp_path):
  odd = list(_odd_runs(tmp_path))
  document = vars(content.build([tmp_path]))
  problems = render(MARKDOWN, content.TITLE, document)
  problems = problems[problems.index("## Problems") : problems.index("## Notes on")]
  assert "cannot be drawn" not in problems
  assert "Problems" in render(HTML, content.TITLE, document)
  found, _ = finder.find([tmp_path])
  read = {run.name: run for run in found}
  assert len(read) > 120
  assert len(odd) > 320
  for name, file, value in odd:
    file = file.replace("images.jsonl", "summary.json")  # which it has to agree with
    if file not in ("config.json", "metrics.jsonl", "examples.npz") and isinstance(
      value, float
    ):
      assert f"{name}/{file} is damaged" in problems, "no number that is none passes"
    assert name in read or f"{name}/config.json is damaged" in problems
    # Each by itself, so that each is drawn.
    if file in ("statistics.json", "examples.npz"):
      said = []
      alone, others = conditions.group([read[name]])
      drawn = inside.sections(alone, others, said)
      assert bool(drawn) != bool(said), (name, said)
      assert all(f"{name}/{file} is damaged" in line for line in said)
