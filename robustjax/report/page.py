"""A report as one HTML page that fetches nothing and runs nothing."""

import base64
import html
from collections.abc import Sequence
from pathlib import Path

from robustjax.report import pictures
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
  Panel,
  Panels,
  Paragraph,
  Small,
  Table,
  clean,
)

# How the tool knows a page of its own.
MARK = '<meta name="generator" content="robustjax">'

_STYLE = Path(__file__).with_name("style.css")
# Nothing may run or be fetched, whatever a file's text says.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def render(document: Document) -> str:
  """The page: styles and pictures are in it.

  Args:
    document: starts with its title, a heading of level 1. Any text in it is shown as
      it is, tags included.

  Returns:
    HTML, the same for the same document.
  """
  title, *blocks = document.blocks
  body = "\n".join(_block(block) for block in blocks)
  return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
{MARK}
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<title>{_text(document.title)}</title>
<link rel="icon" href="data:,">
<style>
{_STYLE.read_text(encoding="utf-8")}</style>
</head>
<body>
<div class="sheet">
<header>{_block(title)}</header>
{_contents(document)}
<main>
{body}
</main>
</div>
</body>
</html>
"""


def _text(text: str) -> str:
  return html.escape(clean(text))


def _contents(document: Document) -> str:
  lines = ['<nav aria-label="Contents">', "<p>Contents</p>", "<ul>"]
  inner = False
  headings = [b for b in document.blocks if isinstance(b, Heading) and b.level > 1]
  for i, heading in enumerate(headings):
    if heading.level > 2 and not inner:
      lines.append("<ul>")
    inner = heading.level > 2
    link = f'<li><a href="#{_text(heading.anchor)}">{_text(heading.text)}</a>'
    following = headings[i + 1].level if i + 1 < len(headings) else 2
    if inner:
      lines.append(link + "</li>" + ("</ul></li>" if following == 2 else ""))
    else:
      lines.append(link + ("</li>" if following == 2 else ""))
  return "\n".join([*lines, "</ul>", "</nav>"])


def _block(block: Block) -> str:
  if isinstance(block, Heading):
    tag = f"h{block.level}"
    return f'<{tag} id="{_text(block.anchor)}">{_text(block.text)}</{tag}>'
  if isinstance(block, Paragraph):
    kind = f' class="{block.kind}"' if block.kind else ""
    return f"<p{kind}>{_inline(block.parts)}</p>"
  if isinstance(block, Bullets):
    return _bullets(block)
  if isinstance(block, Details):
    items = "\n".join(f"<li>{_inline(parts)}</li>" for parts in block.items)
    summary = f"<summary>{_text(block.summary)}</summary>"
    return f"<details>{summary}\n<ul>\n{items}\n</ul>\n</details>"
  if isinstance(block, Table):
    return _table(block)
  return _panels(block)


def _bullets(block: Bullets) -> str:
  if not block.numbered:
    items = "\n".join(f"<li>{_inline(parts)}</li>" for parts in block.items)
    return f"<ul>\n{items}\n</ul>"
  items = "\n".join(
    f'<li id="note-{i}">{_inline(parts)}</li>' for i, parts in enumerate(block.items, 1)
  )
  return f"<ol>\n{items}\n</ol>"


def _inline(parts: Sequence[Inline]) -> str:
  return "".join(_part(part) for part in parts)


def _part(part: Inline) -> str:
  if isinstance(part, Code):
    return f"<code>{_text(part.text)}</code>"
  if isinstance(part, Note):
    number = part.number
    return f'<sup><a href="#note-{number}" title="note {number}">{number}</a></sup>'
  if isinstance(part, Mark):
    title, text = _text(part.title), _text(part.text)
    return f'<sup><a href="#{_text(part.anchor)}" title="{title}">{text}</a></sup>'
  if isinstance(part, Small):
    return f"<small>{_text(part.text)}</small>"
  if isinstance(part, Link):
    return f'<a href="#{_text(part.anchor)}">{_text(part.text)}</a>'
  return _text(part)


def _table(table: Table) -> str:
  head = "".join(_cell(cell, heads=True) for cell in table.head)
  rows = "\n".join(
    "<tr>" + "".join(_cell(cell) for cell in row) + "</tr>" for row in table.body
  )
  caption = _text(table.caption)
  return (
    f"<figure>\n<figcaption>{caption}</figcaption>\n"
    f'<div class="scroll" role="region" tabindex="0" aria-label="{caption}">'
    f"\n<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table>\n"
    "</div>\n</figure>"
  )


def _cell(cell: Cell, heads: bool = False) -> str:
  tag = "th" if heads or cell.kind == "label" else "td"
  attributes = ""
  if tag == "th":
    attributes += ' scope="col"' if heads else ' scope="row"'
  if cell.kind != "label":
    attributes += f' class="{cell.kind}"'
  if cell.title:
    attributes += f' title="{_text(cell.title)}"'
  if cell.rows > 1:
    attributes += f' rowspan="{cell.rows}"'
  if cell.columns > 1:
    attributes += f' colspan="{cell.columns}"'
  return f"<{tag}{attributes}>{_inline(cell.parts)}</{tag}>"


def _panels(block: Panels) -> str:
  panels = "\n".join(_panel(panel) for panel in block.panels)
  caption = f"<figcaption>{_text(block.caption)}</figcaption>"
  return f'<figure>\n{caption}\n<div class="grid">\n{panels}\n</div>\n</figure>'


def _panel(panel: Panel) -> str:
  data = base64.b64encode(pictures.svg(panel.figure)).decode("ascii")
  kind = f"{panel.kind} wide" if panel.wide else panel.kind
  width = f' width="{round(96 * panel.figure.get_figwidth())}"' if panel.wide else ""
  return (
    f'<div class="panel {kind}"><p>{_text(panel.title)}</p>\n'
    f'<div><img alt="{_text(panel.alt)}"{width}'
    f' src="data:image/svg+xml;base64,{data}"></div></div>'
  )
