"""Imports go one way, and what may change elsewhere is named in one file each."""

import ast
import pathlib
from collections.abc import Iterator

import pytest

from docs.rooms import imports

PACKAGE = pathlib.Path(__file__).parents[1] / "robustjax"

# What each room of the package may import from the others, besides itself and errors.
# main puts the rooms together: it may import all, and none may import it. A room's
# command line, its __main__.py or prepare.py, may import what main may too.
PURE = {"data", "models", "attacks"}
OF_A_RUN = PURE | {"config", "training", "evaluation", "runtime", "hosts"}
MAY_IMPORT: dict[str, set[str]] = {
  "errors": set(),
  "config": set(),
  "data": set(),
  "models": set(),
  "attacks": set(),
  "runtime": set(),
  "paper": set(),
  "hosts": {"runtime"},
  "report": {"paper", "runtime"},  # of which files and log alone know no JAX
  "training": PURE | {"runtime"},
  "evaluation": PURE | {"runtime"},
  "run": OF_A_RUN,
  "weights": OF_A_RUN | {"run"},
  "inspect": OF_A_RUN | {"run", "report"},
  "evaluate": OF_A_RUN | {"run", "report", "weights"},
  "audit": PURE | {"config", "evaluation", "runtime", "run", "evaluate", "report"},
  "preflight": OF_A_RUN | {"run", "report", "paper"},
  "sweep": {"runtime"},
  "cli": {"config", "run"},  # it names the modules of its verbs, and imports none
  "main": OF_A_RUN | {"run", "report", "inspect", "preflight"},
}
# Packages that some parts must not import, and those that only one file may.
NOT_IN = {
  "jax": {"errors", "config", "report", "paper"},
  "flax": {"errors", "config", "report", "paper", "data"},
  "ml_collections": MAY_IMPORT.keys() - {"config"},
}
ONLY_IN = {"orbax": "runtime/checkpoint.py"}
MESH_NAMES = {"Mesh", "make_mesh", "shard_map"}  # for runtime/parallel.py alone

FILES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))


def names(tree: ast.AST) -> Iterator[tuple[int, str]]:
  """Yields the line and the name of all that is imported or looked up."""
  for node in ast.walk(tree):
    if isinstance(node, ast.alias):
      yield node.lineno, node.name.split(".")[-1]
    elif isinstance(node, ast.Attribute):
      yield node.lineno, node.attr


def may_import(file: str, name: str) -> bool:
  room = file.split("/")[0].removesuffix(".py")
  top, _, rest = name.partition(".")
  others = MAY_IMPORT.get(room, set())
  if file.endswith(("__main__.py", "data/prepare.py")):
    others = others | MAY_IMPORT["main"]
  if top != "robustjax":
    return room not in NOT_IN.get(top, ()) and ONLY_IN.get(top, file) == file
  return rest.split(".")[0] in {room, "errors", "__version__", *others}


def mistakes(file: str, source: str) -> list[str]:
  """Returns a line for each breach, naming the file, the line and the rule."""
  tree, found = ast.parse(source), []
  for line, name in imports(tree):
    if name.startswith("."):
      found.append(f"robustjax/{file}:{line}: write the import of {name} in full")
    elif not may_import(file, name):
      found.append(f"robustjax/{file}:{line}: must not import {name}")
  for line, name in names(tree):
    if name in MESH_NAMES and file != "runtime/parallel.py":
      found.append(f"robustjax/{file}:{line}: only runtime/parallel.py names {name}")
  return found


def test_the_root_has_no_other_files() -> None:
  loose = {file for file in FILES if "/" not in file}
  assert loose == {"__init__.py", "errors.py", "main.py"}
  assert {file.split("/")[0] for file in FILES} - loose <= set(MAY_IMPORT)


def test_no_file_is_long() -> None:
  """A file has one subject; what fits no more has two."""
  lines = {file: (PACKAGE / file).read_text().count("\n") for file in FILES}
  assert not {file: count for file, count in lines.items() if count > 300}


@pytest.mark.parametrize("file", FILES)
def test_file_keeps_to_the_layout(file: str) -> None:
  found = mistakes(file, (PACKAGE / file).read_text(encoding="utf-8"))
  assert not found, "\n".join(found)


@pytest.mark.parametrize(
  ("file", "source"),
  [
    ("attacks/pgd.py", "from robustjax.models import resnet"),
    ("attacks/pgd.py", "from robustjax import data"),
    ("models/resnet.py", "from robustjax.attacks import pgd"),
    ("evaluation/evaluate.py", "from robustjax.training import state"),
    ("training/step.py", "import robustjax.config as c"),
    ("training/loop.py", "import ml_collections"),
    ("training/loop.py", "from ..runtime import log"),
    ("evaluation/reading.py", "import robustjax.main"),
    ("training/loop.py", "from robustjax.run import stages"),
    ("run/stages.py", "from robustjax import main"),
    ("run/stages.py", "from robustjax.inspect import inspection"),
    ("run/stages.py", "from robustjax.audit import audit"),
    ("audit/audit.py", "from robustjax.training import state"),
    ("report/runs.py", "def f():\n  import jax.numpy as jnp"),
    ("report/figures.py", "from robustjax.training import state"),
    ("config/checks.py", "from robustjax.run import commandline"),
    ("config/__main__.py", "from robustjax import main"),
    ("cli/verbs.py", "from robustjax.evaluate import words"),
    ("sweep/runs.py", "from robustjax import config"),
    ("runtime/log.py", "from orbax.checkpoint import v1"),
    ("training/step.py", "import jax\njax.shard_map(f)"),
    ("training/step.py", "from jax.sharding import Mesh"),
    ("data/mini.py", "import jax\njax.sharding.Mesh"),
  ],
)
def test_mistake_is_found(file: str, source: str) -> None:
  (found,) = mistakes(file, source)
  assert f"{file}:{source.count(chr(10)) + 1}: " in found
