"""What a report is made of, and how it becomes a page or Markdown.

Templates have what the report says (report.jinja) and both formats (html.jinja and
markdown.jinja). Any text that a template is given is shown as it is: what comes from a
file is never a tag or a mark.
"""

import base64
import html
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from markupsafe import Markup

from robustjax.report.drawing import Figure, matplotlib

if TYPE_CHECKING:
  import jinja2

SPACE = "\N{NO-BREAK SPACE}"  # between a number and its unit
FIGURES = "figures"  # the folder of the Markdown's pictures, beside it


@dataclass(frozen=True)
class Cell:
  """A cell of a table.

  Attributes:
    text: what it says.
    kind: words of: "label" (the row's name), "text", "source", "number",
      "published", "paper" (measured in the paper's condition), "other" (measured in
      another), "missing". A label or a text comes first, and is aligned to the left.
    title: what a pointer held over it shows.
    notes: numbers of notes at the end of the report.
    guesses: that its number depends on, or "".
    small: additions to the text, such as an interval.
    code: whether the text is shown as typed.
    rows: how many rows it spans.
    columns: how many columns it spans.
  """

  text: str = ""
  kind: str = "text"
  title: str = ""
  notes: Sequence[int] = ()
  guesses: str = ""
  small: Sequence[str] = ()
  code: bool = False
  rows: int = 1
  columns: int = 1

  @property
  def is_left(self) -> bool:
    """Whether its column is aligned to the left, if it is a heading."""
    return self.kind.split()[0] in ("label", "text")


@dataclass(frozen=True)
class Table:
  """A table with one row of headings.

  Attributes:
    caption: one line.
    head: the headings.
    body: rows; cells that an earlier one spans are left out.
    below: a line under it, or "".
    folded: summary -> lines that are folded away until somebody asks for them.
  """

  caption: str
  head: Sequence[Cell]
  body: Sequence[Sequence[Cell]]
  below: str = ""
  folded: Mapping[str, Sequence[str]] = field(default_factory=dict)

  def grid(self) -> Iterator[list[Cell]]:
    """The rows without spans: the cells that one covers are blank."""
    covered: dict[int, int] = {}  # column -> how many further rows a cell covers it
    for row in self.body:
      cells, line = iter(row), list[Cell]()
      while len(line) < sum(cell.columns for cell in self.head):
        if covered.get(len(line), 0):
          covered[len(line)] -= 1
          line.append(Cell())
          continue
        cell = next(cells, Cell())
        covered[len(line)] = cell.rows - 1
        line += [cell, *[Cell()] * (cell.columns - 1)]
      yield line


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

  def svg(self) -> bytes:
    """The picture with its letters as shapes, so that it needs no font."""
    # Without a salt matplotlib names the parts of a picture at random.
    with matplotlib.rc_context({"svg.hashsalt": "robustjax", "svg.fonttype": "path"}):
      return self._drawn("svg", {"Date": None, "Creator": None})

  def png(self) -> bytes:
    """The picture, twice as dense as a screen of 96 pixels an inch."""
    return self._drawn("png", {"Software": None})

  def _drawn(self, form: str, metadata: dict[str, None]) -> bytes:
    buffer = io.BytesIO()
    self.figure.savefig(
      buffer, format=form, dpi=192, metadata=metadata, facecolor="white"
    )
    return buffer.getvalue()


@dataclass(frozen=True)
class Section:
  """Pictures that belong together under a heading, what they show, and its notes."""

  title: str
  caption: str
  panels: Sequence[Panel]
  notes: Sequence[int] = ()


class Format(NamedTuple):
  """A kind of file that a report can be.

  Attributes:
    name: of its template.
    file: that a report is written to.
    mark: by which the tool knows a file of its own.
    escape: one line of text -> the same, shown as it is.
  """

  name: str
  file: str
  mark: str
  escape: Callable[[str], str]


def clean(text: str) -> str:
  """Text that any file can hold, in one line: no breaks, controls or half pairs."""
  whole = text.encode("utf-8", "replace").decode("utf-8")
  kept = "".join(c if c.isprintable() or c == SPACE else " " for c in whole)
  return re.sub(" +", " ", kept)


def _markdown(text: str) -> str:
  """Escapes what Markdown would read as a mark."""
  text = re.sub(r"([\\`*\[\]<>|~$&#@])", r"\\\1", text)
  # An underscore within a word is no mark.
  return re.sub(r"(?<!\w)_|_(?!\w)", r"\\_", text)


HTML = Format(
  "html", "index.html", '<meta name="generator" content="robustjax">', html.escape
)
MARKDOWN = Format(
  "markdown", "report.md", "<!-- Written by python -m robustjax.report. -->", _markdown
)


def render(form: Format, title: str, values: Mapping[str, Any]) -> str:
  """The report as text.

  Args:
    form: of the text.
    title: of the report.
    values: by the names that report.jinja has for them.

  Returns:
    The same for the same report.
  """
  templates = _environment(form)
  contents: list[Any] = []
  macros: Any = templates.get_template(f"{form.name}.jinja").make_module(
    {"contents": contents, "folder": FIGURES}
  )
  body = templates.get_template("report.jinja").render(values, f=macros)
  whole = macros.page(title, Markup(body), Markup(form.mark))
  return re.sub("\n{3,}", "\n\n", whole).strip() + "\n"


def _environment(form: Format) -> "jinja2.Environment":
  import jinja2  # many read files as the report does, and few write it

  def shown(value: Any) -> Markup:
    if isinstance(value, Markup):  # a template's output
      return value
    return Markup(form.escape(clean(str(value))))

  found = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).with_name("templates")),
    autoescape=True,
    finalize=shown,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
  )
  found.filters["base64"] = lambda data: base64.b64encode(data).decode("ascii")
  found.filters["clean"] = clean
  return found
