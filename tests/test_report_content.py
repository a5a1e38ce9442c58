"""The report says what there is, and keeps apart what may not be compared."""

import re

import report_runs as make

from robustjax.paper.rows import TARGETED
from robustjax.report import content, verdicts
from robustjax.report.document import MARKDOWN, render


def build(folder):
  return content.build([folder])


def markdown(found):
  text = render(MARKDOWN, content.TITLE, vars(found))
  return text.replace("\N{NO-BREAK SPACE}", " ")


def headings(found):
  return re.findall(r"^#+ (.*)$", markdown(found), re.M)


def part(found, name):
  """The Markdown of what stands below a heading."""
  _, *parts = re.split(r'<a id="[^"]*"></a>\n\n## ', markdown(found))
  named = dict(text.split("\n\n", 1) for text in parts)
  return named[name].rstrip() + "\n"


def test_no_run(tmp_path):
  found = build(tmp_path)
  names = headings(found)
  assert names[1:3] == ["Which effects appear", "Tables"]
  assert {f"Table {n}" for n in range(1, 8)} | {"Section 4.4"} <= set(names)
  assert [h for h in names if h.startswith("Figure ")] == [
    f"Figure {n}" for n in (1, 2, 3, 7)
  ]
  assert "Problems" not in names and "Guesses" not in names
  assert all(panel.kind == "published" for panel in found.panels)


def test_effects_of_a_condition(tmp_path):
  make.make(tmp_path / "a", "adv", {"all": make.MINI})
  make.make(tmp_path / "b", "adv_clean", {"all": {**make.MINI, 100: 300}})
  text = part(build(tmp_path), "Which effects appear")
  assert "miniature, eps 32" in text and "ImageNet" not in text
  (line,) = [
    line
    for line in text.splitlines()
    if line.startswith("| With plain BN, removing all clean images")
  ]
  assert "+18.3" in line and "+49.0" in line and verdicts.APPEARS in line
  assert "adv, PGD-100: 790 of 1,000 images" in text


def test_both_sides_of_a_claim_face_the_same_attack(tmp_path):
  make.make(tmp_path / "a", "adv", {"all": make.MINI})
  make.make(tmp_path / "b", "mbn", {"adv": make.MINI})
  make.make(tmp_path / "c", "adv_clean", {"all": {0: 900, 10: 100}})
  text = part(build(tmp_path), "Which effects appear")
  table = text[: text.index("<details>")]
  assert "MBN's adv branch is nearly as robust" in table
  assert "removing all clean images from training" not in table


def test_robustness_that_nobody_measured_is_said_to_be_so(tmp_path):
  make.make(tmp_path / "b", "adv_clean", {"all": make.MINI})
  make.make(tmp_path / "a", "adv", {"all": make.MINI})
  text = markdown(build(tmp_path))
  assert "Not measured: no run was evaluated but by targeted PGD" in text
  assert "Image by image" not in text and "standard:" not in text
  (caption,) = re.findall(r"^miniature, eps 32: differences.*$", text, re.M)
  assert "What the claims call robustness" in caption
  assert caption.endswith(TARGETED)


def test_robustness_that_was_measured(tmp_path):
  for name, branch, robust in (("a", "all", 600), ("b", "adv", 660)):
    setting = "adv_clean" if branch == "all" else "mbn"
    run = make.make(tmp_path / name, setting, {branch: make.MINI})
    make.suite(run, lines=make.ledger(robust, 811, 1000), branch=branch)
    make.audit(run, "suspicious", branch)
  text = part(build(tmp_path), "Robustness")
  assert "Not measured" not in text and "### Image by image" in text
  assert "| `b` | adv | 32 | 81.2 %" in text and "| suspicious |" in text
  assert "b, adv branch against a (Trained on the same mixture" in text


def test_an_overridden_run_is_no_row(tmp_path):
  make.make(tmp_path / "a", "adv", {"all": make.MINI}, overrides={"train.epochs": 1.0})
  found = build(tmp_path)
  text = part(found, "Other runs")
  assert "`a` (adv, mini, complete): train.epochs=1.0 instead of 8.0; measured" in text
  assert "79.0 % at" not in part(found, "Tables")
  assert all(panel.kind == "published" for panel in found.panels)


def test_imported_weights_are_said_to_be_that(tmp_path):
  run = make.make(tmp_path / "R9", "imported_R9",
    init={"run": "", "weights": "R9.pth sha256:12"})  # fmt: skip
  (run / "checkpoints/0").mkdir(parents=True)
  text = markdown(build(tmp_path))
  assert "1 run measured: 1 imported, not trained here." in text
  assert "imported, not trained here; not evaluated" in text
  (run / "evaluations/pgd").mkdir(parents=True)
  (run / "evaluations/pgd/readings.json").write_text("{}")
  text = markdown(build(tmp_path))
  assert "imported, not trained here; read by the paper's protocol" in text
  assert "its weights are of R9.pth sha256:12" in text
  assert "The furthest" not in text and "training" not in part(build(tmp_path), "Runs")


def test_damage_is_named(tmp_path):
  run = make.make(tmp_path / "a", "adv", {"all": make.MINI})
  (run / "statistics.json").write_text("{}")
  (run / "examples.npz").write_bytes(b"PK")
  other = make.make(tmp_path / "b", "adv", overrides={"train.epochs": 1.0})
  (other / "statistics.json").write_text("[]")
  (make.make(tmp_path / "c") / "evaluation.json").write_text("{")
  text = part(build(tmp_path), "Problems")
  lines = [line for line in text.splitlines() if line.startswith("- ")]
  assert [line.split(" is damaged")[0] for line in lines] == [
    "- c/evaluation.json",
    "- a/statistics.json",
    "- a/examples.npz",
    "- b/statistics.json",
  ]


def test_every_run_is_listed_with_its_guesses(tmp_path):
  make.make(tmp_path / "a", "alp", {"all": make.MINI}, ["loss.alp_weight=0.5"])
  make.make(tmp_path / "b", "gn", overrides={"seed": 3})
  found = build(tmp_path)
  text = part(found, "Runs")
  assert "| `a` | alp | mini | 32 | 0 | complete | 1,248 |" in text
  assert "| `b` | gn | mini | 32 | 3 | not begun | 0 |  | seed=3 |" in text
  assert part(found, "Guesses").endswith("- `loss.alp_weight=0.5`: `a`\n")


def test_names_of_pictures_and_headings_are_their_own(tmp_path):
  make.make(tmp_path / "a", "adv", {"all": make.MINI})
  make.make(tmp_path / "b", "adv", {"all": make.MINI}, eps=64.0)
  found = build(tmp_path)
  names = [panel.name for panel in found.panels]
  anchors = re.findall('<a id="([^"]*)">', markdown(found))
  assert len(set(names)) == len(names) and len(set(anchors)) == len(anchors)
  for table in (*found.verdicts, *found.tables.values(), found.runs):
    assert len(table.head) > 1
