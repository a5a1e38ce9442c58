"""A report as GitHub's Markdown, its pictures in files beside it."""

import re
from collections.abc import Sequence

from robustjax.report.document import (
  Block,
  Bullets,
  Cell,
  Code,
  Details,
  Document,
  Heading,
  Inline,
  Link,
  Mark,
  Note,
  Panels,
  Paragraph,
  Small,
  Table,
  clean,
)

FIGURES = "figures"


def render(document: Document) -> str:
  """The report.

  Args:
    document: any text in it is shown as it is, marks and tags included.

  Returns:
    Markdown; a `Panel` named x is the picture figures/x.png.
  """
  return "\n\n".join(_block(block) for block in document.blocks) + "\n"


def _text(text: str) -> str:
  """Escapes what Markdown would read as a mark, in one line."""
  text = re.sub(r"([\\`*\[\]<>|~$&#@])", r"\\\1", clean(text))
  # An underscore within a word is no mark.
  return re.sub(r"(?<!\w)_|_(?!\w)", r"\\_", text)


def _code(text: str) -> str:
  """A code span; of a text with backticks, plain text."""
  text = clean(text)
  if "`" in text or not text or "|" in text:
    return _text(text)
  return f"`{text}`"


def _block(block: Block) -> str:
  if isinstance(block, Heading):
    anchor = f'<a id="{block.anchor}"></a>\n\n'
    return f"{anchor}{'#' * block.level} {_text(block.text)}"
  if isinstance(block, Paragraph):
    return ("> " if block.kind == "warning" else "") + _start(_inline(block.parts))
  if isinstance(block, Bullets):
    return _bullets(block)
  if isinstance(block, Details):
    items = "\n".join(f"- {_inline(parts)}" for parts in block.items)
    summary = f"<summary>{_html(block.summary)}</summary>"
    return f"<details>{summary}\n\n{items}\n\n</details>"
  if isinstance(block, Table):
    return _table(block)
  return _panels(block)


def _html(text: str) -> str:
  return clean(text).replace("&", "&amp;").replace("<", "&lt;")


def _start(text: str) -> str:
  """Keeps a paragraph from being read as a list or a heading."""
  return re.sub(r"^(\d+)([.)])(?= )", r"\1\\\2", re.sub(r"^([-+=])", r"\\\1", text))


def _bullets(block: Bullets) -> str:
  if not block.numbered:
    return "\n".join(f"- {_inline(parts)}" for parts in block.items)
  return "\n".join(
    f'{i}. <a id="note-{i}"></a>{_inline(parts)}'
    for i, parts in enumerate(block.items, 1)
  )


def _inline(parts: Sequence[Inline]) -> str:
  return "".join(_part(part) for part in parts)


def _part(part: Inline) -> str:
  if isinstance(part, Code):
    return _code(part.text)
  if isinstance(part, Note):
    return f" [\\[{part.number}\\]](#note-{part.number})"
  if isinstance(part, Mark):
    return f" [\\[{_text(part.text)}\\]](#{part.anchor})"
  if isinstance(part, Small):
    return f" ({_text(part.text)})"
  if isinstance(part, Link):
    return f"[{_text(part.text)}](#{part.anchor})"
  return _text(part)


def _table(table: Table) -> str:
  """A table without spans: the cells that one covers are left blank."""
  width = sum(cell.columns for cell in table.head)
  lines = [[_inline(cell.parts) for cell in table.head]]
  covered: dict[int, int] = {}  # column -> how many further rows a cell covers it
  for row in table.body:
    cells = iter(row)
    line: list[str] = []
    while len(line) < width:
      if covered.get(len(line), 0):
        covered[len(line)] -= 1
        line.append("")
        continue
      cell = next(cells, Cell(()))
      covered[len(line)] = cell.rows - 1
      line += [_inline(cell.parts), *[""] * (cell.columns - 1)]
    lines.append(line)
  rule = [":--" if _left(cell) else "--:" for cell in table.head]
  rows = [_line(lines[0]), _line(rule), *(_line(line) for line in lines[1:])]
  return "\n".join([f"{_start(_text(table.caption))}", "", *rows])


def _left(cell: Cell) -> bool:
  return cell.kind.split()[0] in ("label", "text")


def _line(cells: Sequence[str]) -> str:
  return f"| {' | '.join(cell.strip() for cell in cells)} |"


def _panels(block: Panels) -> str:
  """The pictures side by side, each under its title; wide ones below each other."""
  wide = any(panel.wide for panel in block.panels)
  groups = [[panel] for panel in block.panels] if wide else [list(block.panels)]
  tables = []
  for panels in groups:
    heads = _line([_text(panel.title) for panel in panels])
    images = [f"![{_text(panel.alt)}]({FIGURES}/{panel.name}.png)" for panel in panels]
    tables.append("\n".join([heads, _line(["---"] * len(panels)), _line(images)]))
  return "\n\n".join([_start(_text(block.caption)), *tables])
