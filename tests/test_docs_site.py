"""The site that `make docs` built, in a real browser, from a disk."""

import time
from pathlib import Path

import pytest
from browsers import SIZES, browser, complaints, resize  # noqa: F401

pytestmark = pytest.mark.toolchain
SITE = Path(__file__).parents[1] / "site"
# A server shows the page for what is missing, so that it names files from the root.
PAGES = sorted(set(SITE.glob("*.html")) - {SITE / "404.html"})
PAGES += [SITE / "mini_study" / "report.html"] if PAGES else []


@pytest.fixture(autouse=True)
def built():
  if not PAGES:
    pytest.skip("needs `make docs`")


@pytest.mark.parametrize("size", SIZES)
def test_a_page_is_as_wide_as_the_window_and_asks_no_server(browser, size):  # noqa: F811
  resize(browser, size)
  for page in PAGES:
    browser.get(page.as_uri())
    wide, window = browser.execute_script(
      "return [document.documentElement.scrollWidth, innerWidth]"
    )
    assert wide <= window == SIZES[size][0], page.name
    loaded = "return [...document.images].every(i => i.complete && i.naturalWidth > 0)"
    assert browser.execute_script(loaded), page.name
    assert not complaints(browser), page.name


@pytest.mark.parametrize("size", SIZES)
def test_the_search_finds_a_page(browser, size):  # noqa: F811
  resize(browser, size)
  browser.get((SITE / "index.html").as_uri())
  browser.execute_script(
    """
    document.querySelector("#__search").click();
    const field = document.querySelector("[data-md-component=search-query]");
    field.focus();
    field.value = "preflight";
    field.dispatchEvent(new Event("keyup", {bubbles: true}));
    """
  )
  found = (
    "return [...document.querySelectorAll('.md-search-result a')].map(a => a.href)"
  )
  end = time.monotonic() + 20
  while not (links := browser.execute_script(found)) and time.monotonic() < end:
    time.sleep(0.1)
  assert any("tpu.html" in link for link in links)
