"""What an audit writes: audit.json, audit.png, and a table for the terminal."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from robustjax.audit.audit import Audit
from robustjax.audit.page import MEANING, page
from robustjax.runtime import files

JSON, PICTURE = "audit.json", "audit.png"


def write(audit: Audit, folder: Path, names: Sequence[str] = ()) -> list[Path]:
  """Writes both files; returns their paths.

  Args:
    audit: from `audit.audit`.
    folder: exists; earlier files are replaced.
    names: of the classes, for the page.
  """
  written = [folder / JSON, folder / PICTURE]
  files.write_json(written[0], audit.result)
  files.write_picture(written[1], page(audit.result, audit.evidence, names))
  return written


def table(result: Mapping[str, Any]) -> str:
  """The verdict and a line for each check, those that failed first."""
  order = ("masked", "suspicious", "clean", "not made")
  checks = sorted(result["checks"], key=lambda check: order.index(check["verdict"]))
  wide = max(len(check["name"]) for check in checks)
  lines = [f"{result['verdict']}: {MEANING[result['verdict']]}", ""]
  lines.append(f"{'verdict':10}  {'check':{wide}}  {'number':>8}  {'limit':>8}")
  for check in checks:
    numbers = (_number(check["number"]), _number(check["limit"]))
    line = f"{check['verdict']:10}  {check['name']:{wide}}"
    line += f"  {numbers[0]:>8}  {numbers[1]:>8}  {check['what']}"
    if check["images"] and check["verdict"] in ("masked", "suspicious"):
      line += f"; images {', '.join(map(str, check['images']))}"
    lines.append(line)
  return "\n".join(lines)


def _number(value: float | None) -> str:
  return "-" if value is None else f"{value:.3g}"
