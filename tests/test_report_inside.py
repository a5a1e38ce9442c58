"""Each look into a run is drawn where the paper has its picture, or is a line."""

import json

import numpy as np
import report_runs as make
import test_report_anatomy as anatomies
from test_report_content import build, headings, markdown

from robustjax.report import anatomy


def test_figures_5_and_6_are_of_the_runs_that_the_paper_shows(tmp_path):
  for name, branches in (("mbn", ("clean", "adv")), ("adv", ("all",))):
    run = make.make(tmp_path / name, name)
    found = anatomies.statistics(branches)
    (run / "statistics.json").write_text(json.dumps(found))
    np.savez(run / "examples.npz", **anatomies.examples())
  found = build(tmp_path)
  names = [h for h in headings(found) if h.startswith(("Figure ", "Images"))]
  assert names == [*(f"Figure {n}" for n in (1, 2, 3, 5, 6, 7)), "Images"]
  titles = {p.name: p.title for p in found.panels if p.wide}
  assert titles["figure-5-condition-2-1"].endswith(": mbn")
  assert titles["figure-6-condition-2-1"].endswith(": adv")
  assert len(titles) == 4


def test_what_cannot_be_drawn_is_a_line_and_another_run_is_drawn(tmp_path, monkeypatch):
  for name in ("a", "b"):
    run = make.make(tmp_path / name, "mbn")
    found = {**anatomies.statistics(), "layer": name}
    (run / "statistics.json").write_text(json.dumps(found))
  title = anatomy._title

  def fails(statistics):
    if statistics["layer"] == "a":
      raise RuntimeError("no\nfont")
    return title(statistics)

  monkeypatch.setattr(anatomy, "_title", fails)
  text = markdown(build(tmp_path))
  assert "- a/statistics.json cannot be drawn (RuntimeError: no font)\n" in text
  assert "Layer b" in text and "figure-5-condition-2-1.png" in text
