"""Trains and evaluates one setting of the paper, or goes on with what was begun.

python -m robustjax.main --config=experiments/mbn_alp.py:mini --workdir=runs/mine
"""

import sys
from pathlib import Path
from typing import Any

import jax
import jaxlib
from absl import logging

from robustjax import assemble, commandline, inspection, pretrained, stages
from robustjax import config as configs
from robustjax import workdir as workdirs
from robustjax.errors import UserError
from robustjax.evaluation import evaluate
from robustjax.report import anatomy, figures, table
from robustjax.runtime import distributed, log, parallel, rendezvous
from robustjax.runtime.distributed import Hosts
from robustjax.runtime.preemption import Stop, Stopped

STOPPED = 143  # exit status; a shell's for "ended by SIGTERM"

# Where and how a host reads its images is its own affair.
_OF_A_HOST = ("data.data_dir", "data.workers")


def main() -> int:
  """The command line; returns the exit status, 0 when the run is complete."""
  if {"--help", "-h"} & set(sys.argv):
    print(commandline.usage())
    return 0
  logging.set_verbosity(logging.FATAL)  # libraries' chatter; what matters is raised
  hosts, status = Hosts(), 0
  try:
    said = commandline.parse()
    place = rendezvous.place(said.coordinator, said.processes, said.process, said.wait)
    hosts = distributed.join(place, facts(said.config, said.workdir), said.wait)
    run(said.config, said.workdir, hosts)
  except UserError as error:
    hosts.end(str(error), distributed.status(error))
    return distributed.status(error)
  except Stopped as stopped:
    log.complain(f"stopped {stopped}: the same command goes on from there", hosts.leads)
    status = STOPPED
  except Exception as error:
    hosts.broke(error)
    raise
  hosts.leave()
  return status


def facts(config: assemble.Config, workdir: Path) -> dict[str, Any]:
  """What must be the same on every host before anything is computed."""
  values = {f"config.{k}": v for k, v in configs.flatten(config).items()}
  for name in _OF_A_HOST:
    del values[f"config.{name}"]
  versions = {"jax": jax.__version__, "jaxlib": jaxlib.__version__}
  code = {f"the digest of {file}": d for file, d in distributed.code().items()}
  return {**values, **versions, **code, "--workdir": str(workdir)}


def run(config: assemble.Config, workdir: Path, hosts: Hosts) -> None:
  """Everything between a configuration and the files in a workdir."""
  workdirs.check(workdir, config)
  identity = assemble.evaluation_identity(config)
  evaluation = workdirs.finished_evaluation(workdir, identity)
  finished = {f"whether {workdirs.EVALUATION} is in {workdir}": bool(evaluation)}
  hosts.agree(finished, remedy=distributed.ONE_WORKDIR)
  if evaluation:
    log.say(f"This run is complete: {workdir}", hosts.leads)
  else:
    evaluation = work(config, workdir, hosts)
  if hosts.leads:
    (workdir / evaluate.PROGRESS).unlink(missing_ok=True)
    picture = workdir / figures.EVALUATION
    if not picture.exists():
      figures.evaluation_figure(workdir)
    log.say(f"\n{table.evaluation_table(evaluation)}\n\nPicture: {picture}")
    if not (workdir / anatomy.EXAMPLES).exists():
      log.say(f"Figures 5, 6 and images: python -m robustjax.inspect {workdir}")


def work(config: assemble.Config, workdir: Path, hosts: Hosts) -> dict[str, Any]:
  """Trains and evaluates what is left to do; writes and returns the evaluation."""
  stop = Stop().listen()
  mesh = parallel.mesh()
  hosts.agree(devices())  # or the batch may seem to be what is wrong
  assemble.check(config, mesh.size)
  if not workdirs.has_checkpoint(workdir):  # later it does not need its source
    pretrained.check(config)
  this = stages.Run(config, workdir, open_data(config), mesh, stop, hosts)
  lock = workdirs.claim(workdir, config) if this.leads else None
  holder = hosts.agree(
    seen(this.data), workdirs.holder(workdir), distributed.ONE_DATA_SET
  )
  workdirs.await_holder(workdir, holder)
  state = stages.train(this)
  evaluation = stages.evaluation(this, state)
  if lock:
    (workdir / figures.EVALUATION).unlink(missing_ok=True)  # of an earlier evaluation
    log.write_json(workdir / workdirs.EVALUATION, evaluation)
    stop.release()  # the run is complete, and this can be done at any time
    inspection.inspect(config, workdir, this.data, state)
    lock.close()
  return evaluation


def open_data(config: assemble.Config) -> assemble.Data:
  """The images; at the paper's scale, an error says what runs without them."""
  try:
    return assemble.open_data(config)
  except UserError as error:
    if config.scale != "paper":
      raise
    now = f"what runs now, on the shipped images: {commandline.at_mini_scale()}"
    raise UserError(f"{error}; {now}") from error


def devices() -> dict[str, Any]:
  """What must be the same on every host of its devices."""
  own = jax.local_devices()
  return {"the number of devices": len(own), "the kind of device": own[0].device_kind}


def seen(data: assemble.Data) -> dict[str, Any]:
  """What must be the same on every host of its images."""
  found: dict[str, Any] = {}
  for split, source in data._asdict().items():
    found[f"the number of {split} images"] = len(source)
    found[f"the classes of the {split} images"] = list(source.class_names)
  return found


if __name__ == "__main__":
  sys.exit(main())
