"""How a run starts: what must hold, on every host, before anything compiles."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jaxlib

from robustjax import config as configs
from robustjax.config import Config
from robustjax.config import flags as config_flags
from robustjax.errors import UserError
from robustjax.evaluation import evaluate
from robustjax.hosts import processes
from robustjax.hosts.processes import Hosts
from robustjax.run import kept, pieces, place, pretrained, steps, trial
from robustjax.run import workdir as workdirs
from robustjax.run.data import Data, open_data
from robustjax.run.stages import Run, evaluation_identity
from robustjax.runtime import files, log, parallel
from robustjax.runtime.preemption import Stop

# Where and how a host reads its images is its own affair.
_OF_A_HOST = ("data.data_dir", "data.workers")


def facts(config: Config, workdir: Path) -> dict[str, Any]:
  """What must be the same on every host before anything is computed."""
  values = {f"config.{k}": v for k, v in configs.flatten(config).items()}
  for name in _OF_A_HOST:
    del values[f"config.{name}"]
  of_pieces = {
    f"the digest of config.{name}={what}": digest
    for name, (what, digest) in pieces.digests(config).items()
  }
  return {**values, **of_pieces, **installation(), "--workdir": str(workdir)}


def installation() -> dict[str, str]:
  """What of its software must be the same on every host."""
  versions = {"jax": jax.__version__, "jaxlib": jaxlib.__version__}
  return versions | {f"the digest of {file}": d for file, d in code().items()}


def code() -> dict[str, str]:
  """File of this package -> the beginning of its SHA-256."""
  package = Path(__file__).parents[1]
  return {
    f"{package.name}/{path.relative_to(package).as_posix()}": hashlib.sha256(
      path.read_bytes()
    ).hexdigest()[:12]
    for path in sorted(package.rglob("*.py"))
  }


def finished(config: Config, workdir: Path, hosts: Hosts) -> dict[str, Any] | None:
  """The evaluation that the folder holds, if the run is complete.

  What is damaged is set aside where it can be made anew.

  Raises:
    UserError: the folder holds another run, or another evaluation.
  """
  evaluation, damaged = None, {}
  try:
    workdirs.check(workdir, config)
  except files.Damaged as error:
    damaged[workdirs.CONFIG] = error
  try:
    evaluation = workdirs.finished_evaluation(
      workdir, evaluation_identity(config), workdirs.digest(config)
    )
  except files.Damaged as error:
    damaged[workdirs.EVALUATION] = error
  if damaged:
    of_run = place.of_checkpoints(workdir)
    workdirs.refuse_other(f"{workdir} holds", of_run, config)
    known = bool(of_run) or workdirs.RUN in (evaluation or {})
    _set_aside(workdir, damaged, known, hosts)
  if evaluation and place.moved(workdir, config):
    place.check(workdir, config, open_data(config).digest())
  complete = {f"whether {workdirs.EVALUATION} is in {workdir}": bool(evaluation)}
  hosts.agree(complete, remedy=processes.ONE_WORKDIR)
  if evaluation and hosts.leads:
    (workdir / evaluate.PROGRESS).unlink(missing_ok=True)
  return evaluation


def _set_aside(
  workdir: Path, damaged: Mapping[str, files.Damaged], known: bool, hosts: Hosts
) -> None:
  """Sets damaged files aside, so that they are made anew.

  Args:
    workdir: their folder.
    damaged: the name of each, and what is wrong with it.
    known: whether another file says that the run is this one.
    hosts: the processes.

  Raises:
    Damaged: the run cannot be known without one, or not be evaluated again.
  """
  anew = {
    workdirs.CONFIG: known,
    workdirs.EVALUATION: workdirs.has_checkpoint(workdir),
  }
  for name, error in damaged.items():
    if not anew[name]:
      raise error
  hosts.agree({"the damaged files": sorted(damaged)}, remedy=processes.ONE_WORKDIR)
  for name in damaged if hosts.leads else ():
    aside = files.set_aside(workdir / name).name
    log.complain(
      f"{workdir / name} is not what was written: it is {aside} now, and made anew"
    )
  hosts.agree({})  # nobody reads on before


def start(config: Config, workdir: Path, hosts: Hosts) -> Run:
  """Checks everything, makes the folder this run's, and listens for signals.

  Raises:
    UserError: one line that names what is wrong and the remedy.
  """
  stop = Stop(hosts.stops).listen()
  mesh = parallel.mesh()
  hosts.agree(_devices())  # or the batch may seem to be what is wrong
  steps.check(config, mesh.size)
  trial.check(config)
  if hosts.leads:
    pieces.tracker(config, workdir)
  workdirs.check_beginning(workdir)
  if not workdirs.has_checkpoint(workdir):  # later it does not need its source
    pretrained.check(config)
  data = _open(config)
  digest = data.digest()
  place.check(workdir, config, digest)
  kept.check(workdir, config)
  lock = workdirs.claim(workdir, config, digest) if hosts.leads else None
  if lock:
    kept.keep(workdir, config)
  images = _images(data) | {"the names of the images": digest}
  holder = hosts.agree(images, workdirs.holder(workdir), processes.ONE_DATA_SET)
  workdirs.await_holder(workdir, holder)
  return Run(config, workdir, data, mesh, stop, hosts, lock)


def _open(config: Config) -> Data:
  """The images; at the paper's scale, an error says what runs without them."""
  try:
    return open_data(config)
  except UserError as error:
    if config.scale != "paper":
      raise
    mini = f"what runs now, on the shipped images: {config_flags.at_mini_scale()}"
    raise UserError(f"{error}; {mini}") from error


def _devices() -> dict[str, Any]:
  """What must be the same on every host of its devices."""
  own = jax.local_devices()
  return {"the number of devices": len(own), "the kind of device": own[0].device_kind}


def _images(data: Data) -> dict[str, Any]:
  """What must be the same on every host of its images."""
  properties: dict[str, Any] = {}
  for split, source in data._asdict().items():
    properties[f"the number of {split} images"] = len(source)
    properties[f"the classes of the {split} images"] = list(source.class_names)
  return properties
