"""Trains and evaluates one setting of the paper, or goes on with what was begun.

python -m robustjax.main --config=experiments/mbn_alp.py:mini --workdir=runs/mine
"""

import sys
from pathlib import Path

from robustjax import assemble, commandline, stages
from robustjax import workdir as workdirs
from robustjax.errors import UserError
from robustjax.evaluation import evaluate
from robustjax.report import figures, table
from robustjax.runtime import log, parallel
from robustjax.runtime.preemption import Stop, Stopped

MISTAKE, STOPPED = 2, 143  # exit statuses; 143 is a shell's for "ended by SIGTERM"


def main() -> int:
  """The command line; returns the exit status, 0 when the run is complete."""
  if {"--help", "-h"} & set(sys.argv):
    print(commandline.usage())
    return 0
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
  if evaluation := workdirs.finished_evaluation(workdir, identity):
    log.say(f"This run is complete: {workdir}\n\n{table.evaluation_table(evaluation)}")
    return
  data = assemble.open_data(config)
  mesh = parallel.mesh()
  assemble.check_devices(config, mesh)
  this = stages.Run(config, workdir, data, mesh, Stop().listen())
  lock = workdirs.claim(workdir, config) if this.leads else None
  evaluation = stages.evaluation(this, stages.train(this))
  if lock:
    log.write_json(workdir / workdirs.EVALUATION, evaluation)
    (workdir / evaluate.PROGRESS).unlink(missing_ok=True)
    picture = figures.evaluation_figure(workdir)
    log.say(f"\n{table.evaluation_table(evaluation)}\n\nPicture: {picture}")
    lock.close()


if __name__ == "__main__":
  sys.exit(main())
