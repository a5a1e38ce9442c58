"""The page and the Markdown say the same, show any text as it is, and never vary."""

import html.parser
import re

import pytest
from matplotlib.figure import Figure

from robustjax.report import document as doc
from robustjax.report import markdown, page

HOSTILE = (
  "<script>alert(1)</script> | `x` *b* [a](javascript:b) &amp; \"q\" 'r' _i_ ![p](q)"
)


def figure():
  drawn = Figure(figsize=(2, 1))
  drawn.subplots().plot([1, 2], [3, 4])
  return drawn


def example(text="plain"):
  document = doc.Document(text)
  label = doc.Cell((text, doc.Note(1)), "label", rows=2)
  wide = doc.Cell((text,), "other missing", text, columns=2)
  document.add(
    doc.Heading(1, text, "top"),
    doc.Heading(2, text, "part"),
    doc.Paragraph((text, doc.Code(text), doc.Link(text, "part")), "warning"),
    doc.Table(
      text,
      (doc.Cell((text,), "label"), doc.Cell(("a",)), doc.Cell(("b",), "paper")),
      (
        (label, doc.Cell(("1",), "paper"), doc.Cell(("2", doc.Small(text)), "paper")),
        (wide,),
        (doc.Cell((doc.Mark("g", "part", text),)), doc.Cell(("3",)), doc.Cell(())),
      ),
    ),
    doc.Details(text, ((text,),)),
    doc.Panels(text, (doc.Panel("one", figure(), text, text, "other"),)),
    doc.Heading(3, text, "inner"),
    doc.Bullets(((text,),), numbered=True),
    doc.Bullets(((text,),)),
  )
  return document


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
  read = Reader(page.render(example()))
  assert set(read.links) <= set(read.ids) and len(set(read.ids)) == len(read.ids)
  images = [attrs for tag, attrs in read.tags if tag == "img"]
  assert images and all(attrs["alt"] for attrs in images)
  assert page.MARK in page.render(example())


def test_the_page_fetches_and_runs_nothing():
  read = Reader(page.render(example(HOSTILE)))
  names = {tag for tag, _ in read.tags}
  assert not names & {"script", "iframe", "object"} and "b" not in names
  for tag, attrs in read.tags:
    assert not any(name.startswith("on") for name in attrs)
    where = attrs.get("src") or attrs.get("href") or "data:"
    assert where.startswith("data:") or (tag == "a" and where.startswith("#"))


def test_the_policy_lets_a_page_show_its_own_pictures_and_styles_alone():
  read = Reader(page.render(example(HOSTILE)))
  metas = [attrs for tag, attrs in read.tags if tag == "meta"]
  (policy,) = [m["content"] for m in metas if "http-equiv" in m]
  assert "Content-Security-Policy" in [m.get("http-equiv") for m in metas]
  assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def test_hostile_text_is_shown_as_it_is():
  read = Reader(page.render(example(HOSTILE)))
  assert read.text.count(HOSTILE) >= 10
  (alt,) = [attrs["alt"] for tag, attrs in read.tags if tag == "img"]
  assert alt == HOSTILE


def test_hostile_text_in_markdown():
  text = markdown.render(example(HOSTILE))
  bare = re.sub(r"\\.", "", re.sub(r"<summary>.*</summary>", "", text))
  assert "<script" not in bare and "javascript:b)" not in bare.replace(
    "javascript:b", ""
  )
  assert "<script" not in text.replace("\\<script", "")
  rows = [line for line in text.splitlines() if line.startswith("|")]
  bars = [len(re.findall(r"(?<!\\)\|", row)) for row in rows]
  assert bars == [4, 4, 4, 4, 4, 2, 2, 2], "no text makes a column of its own"


def test_markdown_of_spans():
  rows = [line for line in markdown.render(example()).splitlines() if line[0:1] == "|"]
  assert rows[2:5] == [
    r"| plain [\[1\]](#note-1) | 1 | 2 (plain) |",
    "|  | plain |  |",
    r"| [\[g\]](#part) | 3 |  |",
  ]


def test_both_say_the_same():
  words = {"alpha", "beta", "gamma", "delta"}
  document = doc.Document("alpha")
  document.add(
    doc.Heading(2, "alpha", "a"),
    doc.Paragraph(("beta",)),
    doc.Details("gamma", (("delta",),)),
  )
  for text in (page.render(document), markdown.render(document)):
    assert words <= set(re.findall(r"\w+", text))


@pytest.mark.parametrize("render", [page.render, markdown.render])
def test_the_same_document_gives_the_same_bytes(render):
  assert render(example()) == render(example())


def test_text_is_one_printable_line():
  assert doc.clean("a\nb\x00\ud800c\u202e") == "a b ?c "
