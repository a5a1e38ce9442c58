"""A file of weights as a run: read, recognised, and written as its folder."""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from robustjax import config as configs
from robustjax.config import Config
from robustjax.errors import UserError
from robustjax.models import blocks
from robustjax.run import steps
from robustjax.run import workdir as workdirs
from robustjax.runtime import checkpoint, log, parallel
from robustjax.runtime.files import read_json
from robustjax.training import loop
from robustjax.weights import exported, files, recognise
from robustjax.weights.configured import configured
from robustjax.weights.recognise import Recognised

# What a kill may leave, and what evaluations of the file itself do.
_NO_RUN = {workdirs.LOCK, f"{workdirs.CONFIG}.part", "evaluations", "card.json"}


class Said(NamedTuple):
  """What a person says of a file; None is as it is recognised.

  Attributes:
    wanted: arguments of `recognise.recognise` by name, such as "kind".
    values: dotted name of the configuration -> value and the flag that says it.
  """

  wanted: Mapping[str, Any] = {}
  values: Mapping[str, tuple[Any, str]] = {}


class Imported(NamedTuple):
  """A file of weights, understood.

  Attributes:
    config: of the run that it makes, checked.
    variables: "params" and "batch_stats" as that run's network has them, float32.
    found: what was recognised.
    arrays: how many the file holds.
  """

  config: Config
  variables: dict[str, Any]
  found: Recognised
  arrays: int


def read(path: Path, said: Said = Said()) -> Imported:  # noqa: B008 - it is frozen
  """Reads a file of weights.

  Args:
    path: of a form that `files.read` knows.
    said: what a person says of it.

  Raises:
    UserError: it cannot be read or recognised, or what is said of it does not fit.
  """
  with log.waiting(f"reading {path.name}"):
    file = files.read(path)
  found = recognise.recognise(file, **said.wanted)
  own = exported.values_of(file)  # all that there is to say, or nothing
  scale, _ = own.pop("scale", ("paper", ""))
  notes = {
    note: names
    for note, names in found.notes.items()
    if not own and said.values.keys().isdisjoint(names)  # else nothing was assumed
  }
  found = found._replace(notes=notes)
  origin = f"{path.name} sha256:{file.sha256}"
  values = {
    name: (value, f"{path.name}: {source}")
    for name, (value, source) in {**found.values, **own}.items()
  }
  if found.kind == "fd":
    source = "FD: trained at the paper's"
    values["eval.eps"] = (configs.DEFAULTS["eval.eps"].value, source)
  config = configured(path.stem, origin, {**values, **said.values}, str(scale))
  variables = blocks.stack(found.variables) if config.model.scan else found.variables
  _check_fits(path, config, variables)
  return Imported(config, dict(variables), found, len(file.arrays))


def _check_fits(path: Path, config: Config, variables: Mapping[str, Any]) -> None:
  """Refuses values said of a network that its arrays are not of."""
  try:
    state = steps.abstract_state(config)
  except ValueError as error:  # of a network that there is not
    raise UserError(f"{path}: {error}") from error
  wanted = checkpoint.shapes(state.variables)
  have = checkpoint.shapes(variables)
  for name in log.differences(wanted, have):
    raise UserError(
      f"{path} has {name} {have.get(name, 'not there')}, and the network that flags or"
      f" the file itself say {wanted.get(name, 'not there')}: leave out what is wrong"
    )


def write(imported: Imported, folder: Path) -> bool:
  """Makes a folder the run of imported weights.

  Args:
    imported: from `read`.
    folder: new or empty, or of the same import: that goes on where it was killed.

  Returns:
    Whether there was something to write.

  Raises:
    UserError: the folder holds something else, or cannot be written.
  """
  _check_folder(imported.config, folder)
  with contextlib.closing(workdirs.claim(folder, imported.config)):
    checkpoints = checkpoint.Checkpoints(
      folder / workdirs.CHECKPOINTS, loop.BEST, configs.plain(imported.config)
    )
    with contextlib.closing(checkpoints):
      if checkpoints.steps():
        return False
      shapes = steps.abstract_state(imported.config)
      zeros = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes)
      state = zeros.replace(**imported.variables)
      mesh = parallel.mesh(jax.local_devices()[:1])
      checkpoints.save(0, parallel.replicate(state, mesh))
  return True


def _check_folder(config: Config, folder: Path) -> None:
  if not folder.is_dir():
    return  # `claim` says of a file that it is none
  path = folder / workdirs.CONFIG
  if not path.exists():
    if {one.name for one in folder.iterdir()} - _NO_RUN:
      raise UserError(f"{folder} is not empty: name another folder with --out")
    return
  before = configs.load(read_json(path))
  for name, theirs, ours in workdirs.differences(before, config):
    raise UserError(
      f"{folder} holds a run with config.{name}={theirs!r}, not {ours!r}: name another"
      " folder with --out"
    )
