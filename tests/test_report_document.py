"""The page and the Markdown say the same, show any text as it is, and never vary."""

import dataclasses
import html.parser
import re

import pytest
from matplotlib.figure import Figure

from robustjax.report.content import Content
from robustjax.report.document import (
  HTML,
  MARKDOWN,
  Cell,
  Panel,
  Section,
  Table,
  clean,
  render,
)

HOSTILE = (
  "<script>alert(1)</script> | `x` *b* [a](javascript:b) &amp; \"q\" 'r' _i_ ![p](q)"
)


def figure():
  drawn = Figure(figsize=(2, 1))
  drawn.subplots().plot([1, 2], [3, 4])
  return drawn


def content(text):
  """A report in which all that is not the template's own words is one text."""
  label = Cell(text, "label", notes=[1], rows=2)
  wide = Cell(text, "other missing", text, columns=2)
  table = Table(
    text,
    [Cell(text, "label"), Cell("a"), Cell("b", "paper")],
    [
      [label, Cell("1", "paper"), Cell("2", "paper", small=[text])],
      [wide],
      [Cell(guesses=text), Cell("3"), Cell(text, code=True)],
    ],
    text,
    {text: [text]},
  )
  panel = Panel("one", figure(), text, text, "other")
  return Content(
    summary=text,
    foreign=[text],
    miniature=None,
    verdicts=[],
    tables={"1": table},
    robustness=None,
    pairs=[],
    sections=[Section("Figure 1", text, [panel], [1])],
    runs=None,
    others=[(text, text)],
    guesses={(text,): [text]},
    problems=[text],
    is_marked=True,
    notes=[text],
  )


def example(form, text="plain"):
  return render(form, text, vars(content(text)))


class Reader(html.parser.HTMLParser):
  """Tags, ids, links and text of a page; complains of tags that do not match."""

  EMPTY = {"meta", "link", "img"}

  def __init__(self, text):
    super().__init__()
    self.tags, self.ids, self.links, self.text, self.open = [], [], [], "", []
    self.feed(text)
    assert not self.open

  def handle_starttag(self, tag, attrs):
    self.tags.append((tag, dict(attrs)))
    self.ids += [value for name, value in attrs if name == "id"]
    self.links += [value[1:] for name, value in attrs if name == "href" and tag == "a"]
    if tag not in self.EMPTY:
      self.open.append(tag)

  def handle_endtag(self, tag):
    assert self.open.pop() == tag

  def handle_data(self, data):
    self.text += data


def test_the_page_is_whole():
  read = Reader(example(HTML))
  assert set(read.links) <= set(read.ids) and len(set(read.ids)) == len(read.ids)
  images = [attrs for tag, attrs in read.tags if tag == "img"]
  assert images and all(attrs["alt"] for attrs in images)
  assert HTML.mark in example(HTML)


def test_the_page_fetches_and_runs_nothing():
  read = Reader(example(HTML, HOSTILE))
  names = {tag for tag, _ in read.tags}
  assert not names & {"script", "iframe", "object"} and "b" not in names
  for tag, attrs in read.tags:
    assert not any(name.startswith("on") for name in attrs)
    where = attrs.get("src") or attrs.get("href") or "data:"
    assert where.startswith("data:") or (tag == "a" and where.startswith("#"))


def test_the_policy_lets_a_page_show_its_own_pictures_and_styles_alone():
  read = Reader(example(HTML, HOSTILE))
  metas = [attrs for tag, attrs in read.tags if tag == "meta"]
  (policy,) = [m["content"] for m in metas if "http-equiv" in m]
  assert "Content-Security-Policy" in [m.get("http-equiv") for m in metas]
  assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def test_hostile_text_is_shown_as_it_is():
  read = Reader(example(HTML, HOSTILE))
  assert read.text.count(HOSTILE) >= 10
  (alt,) = [attrs["alt"] for tag, attrs in read.tags if tag == "img"]
  assert alt == HOSTILE


def test_hostile_text_in_markdown():
  text = example(MARKDOWN, HOSTILE)
  bare = re.sub(r"\\.", "", re.sub(r"<summary>.*</summary>", "", text))
  assert "<script" not in bare and "javascript:b)" not in bare.replace(
    "javascript:b", ""
  )
  assert "<script" not in text.replace("\\<script", "")
  rows = [line for line in text.splitlines() if line.startswith("|")]
  bars = [len(re.findall(r"(?<!\\)\|", row)) for row in rows]
  assert bars == [4, 4, 4, 4, 4, 2, 2, 2], "no text makes a column of its own"


def test_markdown_of_spans():
  rows = [line for line in example(MARKDOWN).splitlines() if line[0:1] == "|"]
  assert rows[2:5] == [
    r"| plain [\[1\]](#note-1) | 1 | 2 (plain) |",
    "|  | plain |  |",
    r"| [\[g\]](#guesses) | 3 | `plain` |",
  ]


def test_both_say_the_same():
  words = {f"{name}{i}" for i, name in enumerate(["alpha", "beta", "gamma", "delta"])}
  found = dataclasses.replace(
    content("alpha0"), tables={"1": Table("beta1", [], [], "", {"gamma2": ["delta3"]})}
  )
  for form in (HTML, MARKDOWN):
    assert words <= set(re.findall(r"\w+", render(form, "alpha0", vars(found))))


@pytest.mark.parametrize("form", [HTML, MARKDOWN])
def test_the_same_document_gives_the_same_bytes(form):
  assert example(form) == example(form)


def test_text_is_one_printable_line():
  assert clean("a\nb\x00\ud800c\u202e") == "a b ?c "
