"""Writes a report of runs beside the paper's numbers, from their files alone.

python -m robustjax.report runs --out=report
"""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from robustjax.errors import UserError
from robustjax.report import content, markdown, page, pictures
from robustjax.report.document import Document, Panels

MISTAKE = 2  # exit status
PAGE, MARKDOWN = "index.html", "report.md"

# How the tool knows a Markdown of its own.
MARK = "<!-- Written by python -m robustjax.report. -->\n\n"
# The pictures that a Markdown of its own shows; no other name is ever the tool's.
_PICTURE = re.compile(
  rf"(?<!\\)\]\({markdown.FIGURES}/"
  r"((?:figure-\d|images)(?:-published|-condition-\d+(?:-\d+)?)\.png)\)"
)


class _Parser(argparse.ArgumentParser):
  def error(self, message: str) -> NoReturn:
    raise UserError(f"{message}; write: {self.format_usage().split(': ', 1)[1]}")


def main(arguments: Sequence[str] | None = None) -> int:
  """The command line; returns the exit status.

  Args:
    arguments: `sys.argv` without the program if None.
  """
  parser = _Parser("python -m robustjax.report", description=__doc__.splitlines()[0])
  parser.add_argument("runs", nargs="+", type=Path, help="folders with runs in them")
  parser.add_argument(
    "--out", type=Path, required=True, help="folder for index.html and report.md"
  )
  try:
    values = parser.parse_args(arguments)
    for path in write(values.runs, values.out):
      print(path)
  except UserError as error:
    print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
    return MISTAKE
  return 0


def write(folders: Sequence[Path], out: Path) -> list[Path]:
  """Writes the report.

  Args:
    folders: searched for runs, at any depth.
    out: folder for the report; an earlier report in it is overwritten, and those of its
      pictures that this one lacks are removed.

  Returns:
    The page's path and the Markdown's.

  Raises:
    UserError: a folder cannot be read, or the report cannot be written.
  """
  _check(out / PAGE, page.MARK)
  earlier = _PICTURE.findall(_check(out / MARKDOWN, MARK))
  document = content.build(folders)
  try:
    return _write(document, out, earlier)
  except OSError as error:
    raise UserError(
      f"{out} cannot be written to ({error.strerror}): name another --out"
    ) from error


def _check(path: Path, mark: str) -> str:
  """The text of an earlier report, or ""; refuses to overwrite what is no report."""
  try:
    text = path.read_text(encoding="utf-8", errors="replace")
  except (FileNotFoundError, NotADirectoryError):
    return ""
  except OSError as error:
    raise UserError(
      f"{path} cannot be read ({error.strerror}): name another --out"
    ) from error
  if mark not in text:
    raise UserError(f"{path} is not a report of this tool: name another --out")
  return text


def _write(document: Document, out: Path, earlier: Sequence[str]) -> list[Path]:
  figures = out / markdown.FIGURES
  figures.mkdir(parents=True, exist_ok=True)
  panels = [
    panel
    for block in document.blocks
    for panel in (block.panels if isinstance(block, Panels) else ())
  ]
  for panel in panels:
    (figures / f"{panel.name}.png").write_bytes(pictures.png(panel.figure))
  (out / PAGE).write_text(page.render(document), encoding="utf-8")
  (out / MARKDOWN).write_text(MARK + markdown.render(document), encoding="utf-8")
  for name in set(earlier) - {f"{panel.name}.png" for panel in panels}:
    (figures / name).unlink(missing_ok=True)
  return [out / PAGE, out / MARKDOWN]


if __name__ == "__main__":
  sys.exit(main())
