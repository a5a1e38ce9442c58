"""Evaluations by attacks and audits are read; whatever is damaged is one line."""

import json

import pytest
import report_runs as make

from robustjax.report import runs as finder

OTHERS = [
  {"branch": "clean"},
  {"attack_branch": "clean"},
  {"norm": "l2"},
  {"eps": 16.0},
  {"split": "train"},
  {"data": "fashion_mnist_mini_2"},
  {"data": "cifar10"},
  {"step": 600},
  {"step": None},
]


@pytest.fixture
def run(tmp_path):
  return make.make(tmp_path / "x", "mbn", {"adv": make.MINI})


def read(run):
  found, problems = finder.find([run.parent])
  return found[0], problems


def test_old_runs_have_none(run):
  found, problems = read(run)
  assert found.suites == found.audits == () and not problems
  assert found.standard("adv") is found.audit("adv") is None


def test_what_was_written_is_read(run):
  make.suite(run)
  make.audit(run, "masked")
  found, problems = read(run)
  assert not problems
  suite, audit = found.standard("adv"), found.audit("adv")
  assert (suite.images, suite.clean, suite.robust) == (1000, 811, 660)
  assert suite.name == "standard" and len(suite.ledger) == 1000
  assert suite.identity == audit.identity and suite.identity.step == 1248
  assert audit.verdict == "masked"
  assert audit.checks[1] == ("steps", "not made", "more steps break more")


@pytest.mark.parametrize("changed", OTHERS)
def test_what_is_not_of_the_readings_is_not_shown_for_them(run, changed):
  make.suite(run, **changed)
  make.audit(run, name="adv", **changed)
  found, problems = read(run)
  assert not problems and len(found.suites) == len(found.audits) == 1
  assert found.standard("adv") is found.audit("adv") is None


@pytest.mark.parametrize("attack", ["apgd-ce", "apgd-ce,apgd-t"])
def test_other_attacks_are_not_the_standard(run, attack):
  make.suite(run, attack=attack)
  found, _ = read(run)
  assert found.suites and found.standard("adv") is None


def test_a_version_of_the_data_may_be_left_out(run):
  make.suite(run, data="fashion_mnist_mini")
  assert read(run)[0].standard("adv")


def test_the_largest_suite_and_the_worst_audit_count(run):
  for name, images in (("a", 900), ("b", 1000), ("c", 950)):
    make.suite(run, name, make.ledger(1, 811, images))
  for name, verdict in (("a", "suspicious"), ("b", "masked"), ("c", "clean")):
    make.audit(run, verdict, name=name)
  found, _ = read(run)
  assert found.standard("adv").images == 1000
  assert found.audit("adv").verdict == "masked"


def test_an_evaluation_under_way_is_no_damage(run):
  (make.suite(run) / "summary.json").unlink()
  (run / "audits" / "adv").mkdir(parents=True)
  found, problems = read(run)
  assert not problems and not found.suites


def test_runs_are_not_looked_for_in_a_runs_own_folders(run):
  for name in ("evaluations", "audits"):
    make.make(run / name / "y")
    make.make(run.parent / name / "z")
  found, _ = finder.find([run.parent])
  assert [r.name for r in found] == ["audits/z", "evaluations/z", "x"]


def _suite(change):
  def changed(run):
    folder = make.suite(run)
    found = json.loads((folder / "summary.json").read_text())
    change(found)
    (folder / "summary.json").write_text(json.dumps(found))

  return changed


def _lines(change):
  def changed(run):
    lines = make.ledger(660, 811, 1000)
    folder = make.suite(run, lines=lines)
    change(lines)
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "images.jsonl").write_text(text)

  return changed


def _audit(change):
  def changed(run):
    path = make.audit(run) / "audit.json"
    found = json.loads(path.read_text())
    change(found)
    path.write_text(json.dumps(found))

  return changed


@pytest.mark.parametrize(
  ("change", "says"),
  [
    (_suite(lambda s: s.update(clean=1001)), "660 robust and 1001 clean of 1000"),
    (_suite(lambda s: s.update(robust=812)), "812 robust and 811 clean of 1000"),
    (_suite(lambda s: s.update(images=0)), "its images are 0"),
    (_suite(lambda s: s.update(images=1001)), "1001 images, and 1000 in images.jsonl"),
    (_suite(lambda s: s.update(clean=810)), "810 clean, and 811 in images.jsonl"),
    (_suite(lambda s: s.update(robust=659)), "659 robust, and 660 in images.jsonl"),
    (_suite(lambda s: s.update(robust=float("nan"))), "it holds 'NaN'"),
    (_suite(lambda s: s["identity"].pop("eps")), "it has no eps"),
    (_suite(lambda s: s["identity"].update(attack=4)), "its identity.attack is 4"),
    (_suite(lambda s: s["identity"].update(step="x")), "its step is 'x'"),
    (_suite(lambda s: s.update(attacks={})), "its attacks is {}"),
    (
      _suite(lambda s: s["attacks"][1].update(broken=150)),
      "attack 2: 150 broken by 'apgd-t', and 151 in images.jsonl",
    ),
    (
      _suite(lambda s: s["attacks"][1].update(attacked=150)),
      "attack 2: 150 attacked and 151 broken of 811",
    ),
    (_suite(lambda s: s["attacks"][1].update(attacked=812)), "attack 2: 812 attacked"),
    (_suite(lambda s: s["attacks"].pop(1)), "its attacks are not those of the ledger"),
    (
      _suite(lambda s: s["attacks"].append(s["attacks"][0])),
      "its attacks are not those of the ledger",
    ),
    (_lines(lambda lines: lines.clear()), "1000 images, and 0 in images.jsonl"),
    (_lines(lambda lines: lines.pop()), "1000 images, and 999 in images.jsonl"),
    (_lines(lambda lines: lines[0].clear()), "images.jsonl: line 1: it has no index"),
    (
      _lines(lambda lines: lines[-1].update(broken_by="square")),
      "660 robust, and 659 in images.jsonl",
    ),
    (_audit(lambda a: a.update(verdict="fine")), "its verdict is 'fine'"),
    (_audit(lambda a: a.update(verdict="not made")), "its verdict is 'not made'"),
    (_audit(lambda a: a.update(checks=[7])), "check 1: it has no verdict"),
    (_audit(lambda a: a["checks"][0].update(what=None)), "check 1: its what is None"),
    (_audit(lambda a: a["checks"][0].update(number=float("inf"))), "it holds 'Infini"),
    (_audit(lambda a: a["identity"].update(branch=[])), "its branch is []"),
  ],
)
def test_damage_is_one_line(run, change, says):
  change(run)
  make.suite(run, "sound", branch="adv")
  found, (problem,) = read(run)
  assert problem.startswith(("x/evaluations/standard/summary.json is damaged: ",
                             "x/audits/adv/audit.json is damaged: "))  # fmt: skip
  assert says in problem and len(problem) < 200 and "\n" not in problem
  assert found.standard("adv").name == "sound" and found.evaluation


def test_text_that_no_report_can_hold_is_cleaned(run):
  hostile = "a\n\u2028\ud800 b"
  lines = make.ledger(5, 7, 9, hostile)
  folder = make.suite(run, hostile.replace("\ud800", ""), lines)
  found = json.loads((folder / "summary.json").read_text())
  found["attacks"] = [{"name": hostile, "attacked": 7, "broken": 2}]
  found["robust"] = 5
  found["identity"].update(branch=hostile, attack=hostile)
  (folder / "summary.json").write_text(json.dumps(found))
  path = make.audit(run) / "audit.json"
  found = json.loads(path.read_text())
  found["checks"][0].update(name=hostile, what=hostile)
  path.write_text(json.dumps(found))
  read_run, problems = read(run)
  assert not problems
  (suite,), (audit,) = read_run.suites, read_run.audits
  broken = {image.broken_by for image in suite.ledger.values()} - {None}
  for text in (suite.name, suite.attack, suite.identity.branch, *broken,
               *audit.checks[0]):  # fmt: skip
    assert text.isprintable() and text.encode("utf-8") and "\n" not in text
