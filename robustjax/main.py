"""Trains and evaluates one setting of the paper, or goes on with what was begun.

python -m robustjax.main --config=experiments/mbn_alp.py:mini --workdir=runs/mine
"""

import functools
import sys
from pathlib import Path
from typing import Any

from absl import logging

from robustjax.config import Config
from robustjax.hosts import cluster
from robustjax.hosts.processes import Hosts
from robustjax.hosts.together import Together
from robustjax.inspect import inspection
from robustjax.preflight import reached
from robustjax.report import curves, drawing, table
from robustjax.run import commandline, saved, stages, start, steps, whole
from robustjax.run.data import open_data
from robustjax.runtime import files, log, parallel, preemption, settings
from robustjax.training.state import TrainState

_LOOK = "the look inside, Figures 5, 6 and images,"


@settings.ours()
@drawing.plain()
def main() -> int:
  """The command line; returns the exit status, 0 when the run is complete."""
  if {"--help", "-h"} & set(sys.argv):
    print(commandline.usage())
    return 0
  logging.set_verbosity(logging.FATAL)  # libraries' chatter; what matters is raised
  with preemption.handed_back(__name__ == "__main__"), Together() as together:
    flags = commandline.parse()
    own = cluster.member(flags.coordinator, flags.processes, flags.process, flags.wait)
    if own is None:
      parallel.a_device_a_core(fits=functools.partial(steps.fit, flags.config))
    facts = start.facts(flags.config, flags.workdir)
    hosts = together.meet(own, facts, flags.wait)
    run(flags.config, flags.workdir, hosts, flags.profile)
  return together.status


def run(config: Config, workdir: Path, hosts: Hosts, profiled: int = 0) -> None:
  """Everything between a configuration and the files in a workdir.

  Args:
    config: of the run.
    workdir: where its files go.
    hosts: the processes.
    profiled: how many steps of training are traced.
  """
  evaluation, started, state = start.finished(config, workdir, hosts), None, None
  if evaluation:
    log.say(f"This run is complete: {workdir}", hosts.leads)
    if hosts.leads:
      whole.look(workdir, config)
  else:
    started = start.start(config, workdir, hosts)
    state = stages.train(started, profiled, reached.at_peak)
    evaluation = stages.evaluation(started, state)
    if hosts.leads:
      with log.aside("the picture of an earlier evaluation"):
        (workdir / curves.EVALUATION).unlink(missing_ok=True)
      stages.finish(started, evaluation)
  looks = hosts.leads and not inspection.is_whole(config, workdir)
  if hosts.agree({}, "looks" if looks else "") and state is None:
    with log.aside(_LOOK, hosts.leads):  # all processes restore together
      state = saved.restore(config, workdir, parallel.mesh(), evaluation["step"])
  if hosts.leads:
    _show(config, workdir, evaluation, started, state if looks else None)


def _show(
  config: Config,
  workdir: Path,
  evaluation: dict[str, Any],
  started: stages.Run | None,
  state: TrainState | None,
) -> None:
  """The table, and the pictures that are not there; none of them stops a run.

  Args:
    config: of the run.
    workdir: its folder.
    evaluation: what evaluation.json holds.
    started: the run, if it was not complete before.
    state: to look into; None if that was done.
  """
  log.say(f"\n{table.evaluation_table(evaluation)}")
  picture = workdir / curves.EVALUATION
  with log.aside("the picture of the evaluation"):
    if not files.is_picture(picture):
      curves.evaluation_figure(workdir)
    log.say(f"\nPicture: {picture}")
  with log.aside(_LOOK):
    if state:
      data = started.data if started else open_data(config)
      inspection.inspect(config, workdir, data, state)
  if started:
    started.close()


if __name__ == "__main__":
  sys.exit(main())
