"""Trains and evaluates one setting of the paper, or goes on with what was begun.

python -m robustjax.main --config=experiments/mbn_alp.py:mini --workdir=runs/mine
"""

import sys
from pathlib import Path
from typing import Any

import jax
from absl import logging

from robustjax import assemble, commandline, inspection, pretrained, stages
from robustjax import workdir as workdirs
from robustjax.errors import UserError
from robustjax.evaluation import evaluate
from robustjax.report import anatomy, figures, table
from robustjax.runtime import log, parallel
from robustjax.runtime.preemption import Stop, Stopped

MISTAKE, STOPPED = 2, 143  # exit statuses; 143 is a shell's for "ended by SIGTERM"


def main() -> int:
  """The command line; returns the exit status, 0 when the run is complete."""
  if {"--help", "-h"} & set(sys.argv):
    print(commandline.usage())
    return 0
  logging.set_verbosity(logging.FATAL)  # libraries' chatter; what matters is raised
  try:
    run(*commandline.parse())
  except UserError as error:
    print(f"error: {error}", file=sys.stderr)
    return MISTAKE
  except Stopped as stopped:
    print(f"stopped {stopped}: the same command goes on from there", file=sys.stderr)
    return STOPPED
  return 0


def run(config: assemble.Config, workdir: Path) -> None:
  """Everything between a configuration and the files in a workdir."""
  workdirs.check(workdir, config)
  identity = assemble.evaluation_identity(config)
  evaluation = workdirs.finished_evaluation(workdir, identity)
  if evaluation:
    log.say(f"This run is complete: {workdir}")
  else:
    evaluation = work(config, workdir)
  if jax.process_index() == 0:
    (workdir / evaluate.PROGRESS).unlink(missing_ok=True)
    picture = workdir / figures.EVALUATION
    if not picture.exists():
      figures.evaluation_figure(workdir)
    log.say(f"\n{table.evaluation_table(evaluation)}\n\nPicture: {picture}")
    if not (workdir / anatomy.EXAMPLES).exists():
      log.say(f"Figures 5, 6 and images: python -m robustjax.inspect {workdir}")


def work(config: assemble.Config, workdir: Path) -> dict[str, Any]:
  """Trains and evaluates what is left to do; writes and returns the evaluation."""
  stop = Stop().listen()
  mesh = parallel.mesh()
  assemble.check(config, mesh)
  if not workdirs.has_checkpoint(workdir):  # later it does not need its source
    pretrained.check(config)
  try:
    data = assemble.open_data(config)
  except UserError as error:
    if config.scale != "paper":
      raise
    now = f"what runs now, on the shipped images: {commandline.at_mini_scale()}"
    raise UserError(f"{error}; {now}") from error
  this = stages.Run(config, workdir, data, mesh, stop)
  lock = workdirs.claim(workdir, config) if this.leads else None
  state = stages.train(this)
  evaluation = stages.evaluation(this, state)
  if lock:
    (workdir / figures.EVALUATION).unlink(missing_ok=True)  # of an earlier evaluation
    log.write_json(workdir / workdirs.EVALUATION, evaluation)
    if jax.process_count() == 1:  # or the other hosts would have to wait
      stop.release()  # the run is complete, and this can be done at any time
      inspection.inspect(config, workdir, data, state)
    lock.close()
  return evaluation


if __name__ == "__main__":
  sys.exit(main())
