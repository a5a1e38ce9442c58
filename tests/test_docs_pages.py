"""Links lead to pages on the site, and the notebook is one."""

from pathlib import Path

import pytest

from docs import pages

DOCS = Path(pages.__file__).parent


@pytest.mark.parametrize(
  ("page", "written", "shown"),
  [
    ("index.md", "[a](docs/tpu.md#v6e)", "[a](tpu.md#v6e)"),
    ("index.md", "![a](docs/demo.png)", "![a](demo.png)"),
    ("index.md", "[a](SECURITY.md)", "[a](security.md)"),
    ("evaluate.md", "[a](weights.md) [b](#c)", "[a](weights.md) [b](#c)"),
    ("tpu.md", "[a](../benchmarks/README.md)", "[a](benchmarks.md)"),
    ("launch.md", "[a](skypilot.yaml)", "`a`"),
    ("launch.md", "[a](../docs/tpu.md)", "[a](tpu.md)"),
    ("mini_study/report.md", "[a](../tpu.md)", "[a](../tpu.md)"),
    ("first_look.md", "[a](../robustjax/weights/shipped.md)", "[a](shipped.md)"),
    ("tpu.md", "[a](nowhere.md)", "[a](nowhere.md)"),
    ("tpu.md", "[a](https://arxiv.org/abs/1)", "[a](https://arxiv.org/abs/1)"),
  ],
)
def test_a_link_leads_to_a_page(page, written, shown):
  assert pages.linked(written, page) == shown


def test_a_notebook_is_shown_with_what_it_left():
  cells = [
    {"cell_type": "markdown", "source": ["# One"]},
    {
      "cell_type": "code",
      "source": ["1"],
      "outputs": [
        {"data": {"text/plain": ["<Figure>"], "image/png": "abc\n"}},
        {"name": "stdout", "text": ["two\n"]},
      ],
    },
  ]
  title, code, picture, text = pages.cells({"cells": cells})
  assert (title, code, text) == ("# One", "```python\n1\n```", "```text\ntwo\n```")
  assert picture.endswith("(data:image/png;base64,abc)")


def test_its_pictures_become_files():
  text, pictures = pages.apart("![a](data:image/png;base64,YWJj) b", "look")
  assert (text, pictures) == ("![a](look_1.png) b", {"look_1.png": b"abc"})


@pytest.mark.parametrize(
  ("html", "shown"),
  [
    ('<img alt="a" src="b.png" />', '<a href="b.png"><img alt="a" src="b.png" /></a>'),
    ("<code>a --b_c.d=e</code>", '<code>a <span class="flag">--b_c.d</span>=e</code>'),
    ("a --b <code>c--d</code>", "a --b <code>c--d</code>"),
  ],
)
def test_a_page_fits_narrow_screens(html, shown):
  assert pages.fitted(html) == shown


def test_a_link_leads_to_a_file_in_the_repository_too():
  documents = [pages.ROOT / name for name in pages.ELSEWHERE]
  for path in [*documents, *DOCS.glob("*.md")]:
    for _, _, target, _ in pages.LINK.findall(path.read_text()):
      there = path.parent / target
      assert there.exists(), f"{path}: {target}"
