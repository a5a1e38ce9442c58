"""matplotlib's figures, as they look without a person's settings.

The one module that imports matplotlib. No window is opened and no backend chosen, so a
notebook's own stays as it is.
"""

import contextlib
import importlib
import os
from collections.abc import Iterator
from typing import Any


def _imported() -> Any:
  """matplotlib, also where MPLBACKEND names one that is not installed here.

  Every notebook sets it, and hands it on to the commands that it starts.
  """
  try:
    return importlib.import_module("matplotlib")
  except ValueError:
    asked = os.environ.pop("MPLBACKEND", None)
    if asked is None:
      raise
    try:
      return importlib.import_module("matplotlib")
    finally:
      os.environ["MPLBACKEND"] = asked


matplotlib = _imported()

from matplotlib.figure import Figure, SubFigure  # noqa: E402

__all__ = ["Figure", "SubFigure", "matplotlib", "plain"]

_OF_A_WINDOW = ("backend", "date.epoch", "docstring", "interactive",
  "savefig.directory", "timezone", "tk.", "toolbar", "webagg")  # fmt: skip


@contextlib.contextmanager
def plain() -> Iterator[None]:
  """Matplotlib's own settings, without a matplotlibrc's; a decorator, too."""
  with matplotlib.rc_context():
    # Not rcdefaults(), which looks for a person's styles, also in a home that it may
    # not read.
    defaults = matplotlib.rcParamsDefault.items()
    own = {name: v for name, v in defaults if not name.startswith(_OF_A_WINDOW)}
    matplotlib.rcParams.update(own)
    yield
