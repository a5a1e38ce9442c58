"""The page in a real browser, as wide as a telephone and as a desk."""

import json

import numpy as np
import pytest
import report_runs as make
import test_report_anatomy as anatomies
from browsers import SIZES, browser, complaints, resize  # noqa: F401

from robustjax.report import __main__ as report

pytestmark = pytest.mark.toolchain
HOSTILE = "<script>document.title='run'<!-- | `x`"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
  """A report with all that there can be in it."""
  folder = tmp_path_factory.mktemp("report")
  runs = folder / "runs"
  both = {"adv": make.MINI, "clean": {**make.MINI, 100: 300}}
  mbn = make.make(runs / "mbn-mini", "mbn", both, guesses=["loss.alp_weight=0.5"])
  (mbn / "statistics.json").write_text(json.dumps(anatomies.statistics()))
  np.savez(mbn / "examples.npz", **anatomies.examples())
  make.suite(mbn)
  make.suite(mbn, "weak", attack="apgd-ce,pgd")
  make.audit(mbn, "masked")
  for seed in range(3):
    make.make(runs / f"adv{seed}", "adv", {"all": make.MINI}, seed=seed)
  run = make.make(runs / "adv_clean-mini", "adv_clean", {"all": {**make.MINI, 100: 90}})
  make.suite(run, lines=make.ledger(90, 811, 1000), branch="all")
  paper = {n: round(500 * y) for n, y in make.PAPER.items()}
  make.make(runs / "p", "mbn", {"adv": paper}, images=50000, scale="paper")
  make.metrics(make.make(runs / "begun" / "gn", "gn"), (540, 3.47))
  hostile = {"loss.x": HOSTILE, "long": "y" * 300}
  make.make(runs / "<script>alert(1)<", HOSTILE, {"all": make.MINI}, overrides=hostile)
  (make.make(runs / "broken") / "evaluation.json").write_text("{")
  out = folder / "out"
  assert report.main([str(runs), f"--out={out}"]) == 0
  return out / "index.html"


@pytest.mark.parametrize("size", SIZES)
def test_the_page_in_a_browser(browser, page, size):  # noqa: F811
  width, _ = SIZES[size]
  resize(browser, size)
  browser.get(page.as_uri())

  def ask(script):
    return browser.execute_script(f"return {script}")

  assert ask("innerWidth") == width
  assert ask("document.documentElement.scrollWidth") <= width
  assert ask("document.title").startswith("Intriguing properties")
  loaded = ask("[...document.images].map(i => i.complete && i.naturalWidth > 0)")
  assert len(loaded) > 8 and all(loaded)
  assert not ask("[...document.images].filter(i => !i.alt).length")
  lost = ask(
    "[...document.querySelectorAll('a[href^=\"#\"]')].map(a => a.hash.slice(1))"
    ".filter(id => !document.getElementById(id))"
  )
  assert not lost
  headings = ask("[...document.querySelectorAll('h2')].map(h => h.textContent)")
  for heading in ("Which effects appear", "Tables", "Figures", "Runs", "Problems"):
    assert heading in headings
  assert ask("document.scripts.length") == 0
  assert not complaints(browser)


def test_wide_tables_scroll_in_their_own_frame(browser, page):  # noqa: F811
  resize(browser, "telephone")
  browser.get(page.as_uri())
  scrolled = browser.execute_script(
    """
    const frame = [...document.querySelectorAll('.scroll')]
      .find(f => f.scrollWidth > f.clientWidth + 100);
    frame.scrollLeft = 80;
    const name = frame.querySelector('tbody th').getBoundingClientRect();
    return [frame.scrollLeft, name.left - frame.getBoundingClientRect().left];
    """
  )
  assert scrolled[0] == 80
  assert abs(scrolled[1]) <= 2, "the first column stays in sight"
