"""A run or a file of weights, opened to compute with."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from robustjax.config import Config
from robustjax.errors import UserError
from robustjax.run import saved
from robustjax.run import workdir as workdirs
from robustjax.runtime import log, parallel
from robustjax.weights import imported, words

# The name of the network that comes with the package, and its file.
SHIPPED = Path("shipped")
_FILE = Path(__file__).with_name("shipped.safetensors")

# The devices -> "params" and "batch_stats" on all of them, and their step.
Load = Callable[[Any], tuple[dict[str, Any], int]]


def located(what: Path) -> Path:
  """A path, or where the file is whose name it is."""
  return _FILE if what == SHIPPED and not what.exists() else what


def opened(what: Path) -> tuple[Config, Load]:
  """The configuration of a run or of a file of weights, and what loads its variables.

  Args:
    what: the folder of a run, "shipped", or a file, which is taken as if it were
      imported: what is assumed of it is said.

  Raises:
    UserError: there is none, or it is damaged.
  """
  what = located(what)
  if not what.exists():
    raise UserError(
      f"there is no {what}: name the folder of a run or a file of weights"
    )
  if what.is_file():
    found = imported.read(what)
    log.complain(words.table(found), jax.process_index() == 0)
    return found.config, lambda mesh: (parallel.replicate(found.variables, mesh), 0)
  config = saved.read_config(what)

  def load(mesh: Any) -> tuple[dict[str, Any], int]:
    with workdirs.at_rest(what):
      state = saved.restore(config, what, mesh)
    return state.variables, int(state.step)

  return config, load
