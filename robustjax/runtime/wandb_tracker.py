"""Weights & Biases as a tracker; its own environment variables say the rest.

WANDB_MODE=offline needs no account and no network; WANDB_PROJECT and WANDB_ENTITY say
where a run belongs.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PATIENCE = 60.0  # seconds: what is not sent by then is on the disk, for `wandb sync`


def start(config: Mapping[str, Any], workdir: Path, id: str) -> "Run":
  """Begins a run there, or goes on with it.

  Args:
    config: the values of the configuration, nested by section.
    workdir: of the run, whose name it takes; its files go to "wandb" in it.
    id: the same at every start of a run.
  """
  import wandb  # only who asks for it needs it, and it takes a while

  return Run(
    wandb.init(
      project=os.environ.get("WANDB_PROJECT", "robustjax"),
      name=workdir.name,
      id=id,
      resume="allow",
      dir=workdir,
      config=dict(config),
      settings=wandb.Settings(
        console="off",
        silent=True,
        login_timeout=PATIENCE,
        init_timeout=PATIENCE,
        finish_timeout=PATIENCE,
        finish_timeout_raises=True,
      ),
    )
  )


class Run:
  """A run of Weights & Biases.

  Attributes:
    where: its address; where it is offline, the command that sends it later.
  """

  def __init__(self, run: Any):
    self._run = run
    folder = Path(run.settings.sync_dir)
    self.where = run.url or f"wandb sync {folder}"

  def write(self, step: int, values: Mapping[str, float]) -> None:
    """Sends the values of a step."""
    self._run.log(dict(values), step=step)

  def close(self) -> None:
    """Ends this start, after all is sent or written."""
    self._run.finish()
