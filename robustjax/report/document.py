"""What a report says, in no format: blocks that page.py and markdown.py render.

Text is plain and never escaped here; a renderer escapes all of it.
"""

import re
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from matplotlib.figure import Figure

SPACE = "\N{NO-BREAK SPACE}"  # between a number and its unit


class Code(NamedTuple):
  """A name, a path or a value, shown as typed."""

  text: str


class Note(NamedTuple):
  """A reference to a note at the end of the report."""

  number: int


class Small(NamedTuple):
  """An addition to what stands before it, such as an interval."""

  text: str


class Mark(NamedTuple):
  """A raised sign that leads to what explains it."""

  text: str
  anchor: str
  title: str


class Link(NamedTuple):
  """A reference to a heading."""

  text: str
  anchor: str


Inline: TypeAlias = str | Code | Note | Mark | Small | Link


@dataclass(frozen=True)
class Heading:
  """A heading; level 1 is the report's title."""

  level: int
  text: str
  anchor: str


@dataclass(frozen=True)
class Paragraph:
  """Running text; `kind` "warning" makes it stand out."""

  parts: tuple[Inline, ...]
  kind: str = ""


@dataclass(frozen=True)
class Bullets:
  """A list; numbered items can be the target of a `Note`."""

  items: tuple[tuple[Inline, ...], ...]
  numbered: bool = False


@dataclass(frozen=True)
class Details:
  """What is folded away until somebody asks for it."""

  summary: str
  items: tuple[tuple[Inline, ...], ...]


@dataclass(frozen=True)
class Cell:
  """A cell of a table.

  Attributes:
    parts: what it says.
    kind: words of: "label" (the row's name), "text", "long" (a sentence), "source",
      "number", "published", "paper" (measured in the paper's condition), "other"
      (measured in another), "missing". A label or a text comes first, and is aligned
      to the left.
    title: what a pointer held over it shows.
    rows: how many rows it spans.
    columns: how many columns it spans.
  """

  parts: tuple[Inline, ...]
  kind: str = "text"
  title: str = ""
  rows: int = 1
  columns: int = 1


@dataclass(frozen=True)
class Table:
  """A table with one row of headings.

  Attributes:
    caption: one line.
    head: the headings.
    body: rows; cells that an earlier one spans are left out.
  """

  caption: str
  head: tuple[Cell, ...]
  body: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True)
class Panel:
  """One picture.

  Attributes:
    name: of its file, without the ending.
    figure: to be drawn.
    title: one line above it.
    alt: what a person who cannot see it is told.
    kind: as a `Cell`'s: "published", "paper" or "other".
    wide: whether it needs the page's whole width.
  """

  name: str
  figure: Figure
  title: str
  alt: str
  kind: str
  wide: bool = False


@dataclass(frozen=True)
class Panels:
  """Pictures that belong together, and what they show."""

  caption: str
  panels: tuple[Panel, ...]


Block: TypeAlias = Heading | Paragraph | Bullets | Details | Table | Panels


@dataclass
class Document:
  """The report: its title and its blocks, in order."""

  title: str
  blocks: list[Block] = field(default_factory=list)

  def add(self, *blocks: Block) -> None:
    """Adds blocks at the end."""
    self.blocks += blocks

  def headings(self, level: int) -> list[Heading]:
    """The headings of one level, in order."""
    return [b for b in self.blocks if isinstance(b, Heading) and b.level == level]


def clean(text: str) -> str:
  """Text that any file can hold, in one line: no breaks, controls or half pairs."""
  whole = text.encode("utf-8", "replace").decode("utf-8")
  kept = "".join(c if c.isprintable() or c == SPACE else " " for c in whole)
  return re.sub(" +", " ", kept)
