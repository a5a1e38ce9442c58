"""Writes a report of runs beside the paper's numbers, from their files alone.

python -m robustjax.report runs --out=report
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from robustjax.errors import UserError
from robustjax.report import content, markdown, page, pictures
from robustjax.report.document import Document, Panels

MISTAKE = 2  # exit status
PAGE, MARKDOWN = "index.html", "report.md"


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
    out: folder for the report; an earlier report in it is overwritten.

  Returns:
    The page's path and the Markdown's.

  Raises:
    UserError: a folder cannot be read, or the report cannot be written.
  """
  _check(out)
  document = content.build(folders)
  try:
    return _write(document, out)
  except OSError as error:
    raise UserError(
      f"{out} cannot be written to ({error.strerror}): name another --out"
    ) from error


def _check(out: Path) -> None:
  """Refuses to overwrite a page that is no report."""
  path = out / PAGE
  try:
    text = path.read_text(encoding="utf-8", errors="replace")
  except (FileNotFoundError, NotADirectoryError):
    return
  except OSError as error:
    raise UserError(
      f"{path} cannot be read ({error.strerror}): name another --out"
    ) from error
  if page.MARK not in text:
    raise UserError(f"{path} is not a report of this tool: name another --out")


def _write(document: Document, out: Path) -> list[Path]:
  figures = out / markdown.FIGURES
  figures.mkdir(parents=True, exist_ok=True)
  for block in document.blocks:
    for panel in block.panels if isinstance(block, Panels) else ():
      (figures / f"{panel.name}.png").write_bytes(pictures.png(panel.figure))
  paths = [out / PAGE, out / MARKDOWN]
  for path, render in zip(paths, (page.render, markdown.render), strict=True):
    path.write_text(render(document), encoding="utf-8")
  return paths


if __name__ == "__main__":
  sys.exit(main())
