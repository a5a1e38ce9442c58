"""Writes a report of runs beside the paper's numbers, from their files alone.

robustjax report runs --out=report
"""

import re
import sys
from collections.abc import Sequence
from pathlib import Path

from robustjax.errors import Parser, UserError, ended
from robustjax.report import content, drawing
from robustjax.report.content import Content
from robustjax.report.document import FIGURES, HTML, MARKDOWN, render
from robustjax.runtime import files, log
from robustjax.runtime.paths import typed

# The pictures that a Markdown of its own shows; no other name is ever the tool's.
_PICTURE = re.compile(
  rf"(?<!\\)\]\({FIGURES}/"
  r"((?:figure-\d|images)(?:-published|-condition-\d+(?:-\d+)?)\.png)\)"
)


def parser() -> Parser:
  """The flags."""
  made = Parser("robustjax report", description=__doc__.splitlines()[0])
  add = made.add_argument
  add("runs", nargs="+", type=typed, metavar="RUNS", help="a folder with runs in it")
  what = "folder for index.html and report.md"
  add("--out", type=typed, required=True, metavar="DIR", help=what)
  return made


@drawing.plain()
def main(arguments: Sequence[str] | None = None) -> int:
  """The command line; returns the exit status.

  Args:
    arguments: `sys.argv` without the program if None.
  """

  def command() -> None:
    values = parser().parse_args(arguments)
    for path in write(values.runs, values.out):
      print(path)

  return ended(command)


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
  _, earlier = (_earlier(out / form.file, form.mark) for form in (HTML, MARKDOWN))
  with log.waiting("reading the runs"):
    found = content.build(folders)
  try:
    return _write(found, out, set(_PICTURE.findall(earlier)))
  except OSError as error:
    raise UserError(
      f"{out} cannot be written to ({error.strerror}): name another --out"
    ) from error


def _earlier(path: Path, mark: str) -> str:
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


def _write(found: Content, out: Path, earlier: set[str]) -> list[Path]:
  figures = out / FIGURES
  figures.mkdir(parents=True, exist_ok=True)
  with log.waiting("pictures", total=len(found.panels)) as done:
    for panel in found.panels:
      files.write_bytes(figures / f"{panel.name}.png", panel.png())
      done()
  for form in (HTML, MARKDOWN):
    text = render(form, content.TITLE, vars(found))
    files.write_bytes(out / form.file, text.encode())
  for name in earlier - {f"{panel.name}.png" for panel in found.panels}:
    (figures / name).unlink(missing_ok=True)
  return [out / HTML.file, out / MARKDOWN.file]


if __name__ == "__main__":
  sys.exit(main())
