"""Settings by name: a file of the person's own, or one that comes with the package."""

import difflib
from pathlib import Path

from robustjax.errors import UserError

_PACKAGE = Path(__file__).resolve().parents[1]
# An installed package has it inside, the repository beside it.
_PLACES = (_PACKAGE / "experiments", _PACKAGE.parent / "experiments")
FOLDER = next(filter(Path.is_dir, _PLACES), _PLACES[0])


def names(marker: str = "get_config") -> list[str]:
  """What comes with the package, in the order of the alphabet.

  Args:
    marker: of what is meant: "get_config" of settings, "get_card" of published
      networks.
  """
  files = sorted(FOLDER.glob("*.py"))
  return [file.stem for file in files if marker in file.read_text(errors="replace")]


def find(said: str, marker: str = "get_config") -> Path:
  """The file that a person means.

  Args:
    said: a path, whose .py may be left out, or else the name of what comes with the
      package, as "adv", "adv.py" or "experiments/adv.py".
    marker: of what is meant, as of `names`.

  Raises:
    UserError: there is no such file, and none of this name comes with the package.
  """
  path, known = Path(said), names(marker)
  own = [path] if path.suffix else [Path(f"{said}.py"), path]
  if file := next(filter(Path.is_file, own), None):
    return file
  if path.stem in known and str(path.parent) in (".", FOLDER.name):
    return FOLDER / f"{path.stem}.py"
  near = difflib.get_close_matches(path.stem, known, 1, 0.4)
  raise UserError(
    f"there is no file {said!r}, and none of this name comes with robustjax"
    f" ({', '.join(known)})" + (f"; did you mean {near[0]}?" if near else "")
  )
