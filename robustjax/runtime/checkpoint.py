"""Checkpoints: the only file that names orbax.

A checkpoint is the whole TrainState and a digest of every array in it. Orbax notices
truncated and missing files, but hands out bit-flipped arrays without a word, so what is
restored is compared with the digests.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import flax.serialization
import jax
import numpy as np
from orbax.checkpoint import v1 as ocp

from robustjax.errors import UserError
from robustjax.runtime import log

KEPT = 3  # the latest ones; the best one is kept beside them

_policies = ocp.training.preservation_policies


class Checkpoints:
  """The checkpoints of one run, written in the background.

  Args:
    directory: where they are; one folder a step.
    best: the name of the metric whose highest value marks the best checkpoint.
  """

  def __init__(self, directory: Path, best: str):
    self._directory = directory.absolute()
    self._checkpointer = ocp.training.Checkpointer(
      self._directory,
      preservation_policy=_policies.AnyPreservationPolicy(
        [
          _policies.LatestN(KEPT),
          _policies.BestN(
            get_metric_fn=lambda metrics: metrics[best],
            n=1,
            keep_checkpoints_without_metrics=False,
          ),
        ]
      ),
      cleanup_tmp_directories=True,  # what a killed process left half-written
    )

  def steps(self) -> list[int]:
    """The steps that have a complete checkpoint, ascending."""
    return sorted(found.step for found in self._checkpointer.checkpoints)

  def save(
    self, step: int, state: Any, metrics: Mapping[str, float] | None = None
  ) -> None:
    """Begins to save; returns as soon as the arrays are off the device.

    Args:
      step: the state's step. One that is saved already is left as it is.
      state: any pytree that `flax.serialization` knows.
      metrics: of this step, for telling which checkpoint is best.
    """
    if step in self.steps():
      return
    tree = flax.serialization.to_state_dict(state)
    self._checkpointer.save_async(
      step,
      tree,
      force=True,  # the caller decides when; orbax has its own idea of intervals
      metrics=dict(metrics) if metrics else None,
      custom_metadata={"shapes": shapes(tree), "sha256": digests(tree)},
    )

  def restore(self, state: Any, step: int | None = None) -> Any:
    """The state of a step, checked against its digests.

    Args:
      state: a state of the same shapes and the wished shardings (arrays, or
        `jax.ShapeDtypeStruct`s).
      step: which; the latest by default.

    Returns:
      A state like `state`.

    Raises:
      UserError: there is none, it is damaged, or it is of another model.
    """
    step = self._existing(step)
    abstract = jax.tree.map(
      lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding),
      flax.serialization.to_state_dict(state),
    )
    try:
      metadata = self._checkpointer.checkpointables_metadata(step).custom_metadata
      self._check_model(step, metadata["shapes"], shapes(abstract))
      tree = self._checkpointer.load(step, abstract)
    except UserError:
      raise
    except Exception as error:  # orbax raises what tensorstore raises: anything
      raise self._damaged(step, str(error)) from error
    for path in log.differences(metadata["sha256"], digests(tree)):
      raise self._damaged(step, f"{path} is not what was saved")
    return flax.serialization.from_state_dict(state, tree)

  def fits(self, state: Any, step: int | None = None) -> bool:
    """Whether the checkpoint of a step has the arrays of a state, by name and shape.

    Args:
      state: as `restore` takes.
      step: which; the latest by default.

    Raises:
      UserError: there is none, or it is damaged.
    """
    step = self._existing(step)
    try:
      metadata = self._checkpointer.checkpointables_metadata(step).custom_metadata
      saved = dict(metadata["shapes"])
    except Exception as error:  # as in `restore`
      raise self._damaged(step, str(error)) from error
    return saved == shapes(flax.serialization.to_state_dict(state))

  def _existing(self, step: int | None) -> int:
    steps = self.steps()
    step = steps[-1] if step is None and steps else step
    if step not in steps:
      have = f"it has {steps}" if steps else "it is empty"
      raise UserError(f"no checkpoint of step {step} in {self._directory}: {have}")
    return step

  def _check_model(
    self, step: int, saved: Mapping[str, str], wanted: Mapping[str, str]
  ) -> None:
    for path in log.differences(saved, wanted):
      raise UserError(
        f"checkpoint {self._directory / str(step)} is of another model:"
        f" {path} is {saved.get(path, 'not there')}, and this run's is"
        f" {wanted.get(path, 'not there')}: give this run a --workdir of its own"
      )

  def _damaged(self, step: int, reason: str) -> UserError:
    earlier = [s for s in self.steps() if s < step]
    remedy = f"to go on from step {earlier[-1]}" if earlier else "to start anew"
    reason = " ".join(reason.split())[:200]
    return UserError(
      f"checkpoint {self._directory / str(step)} is damaged"
      f" ({reason}): move that folder away {remedy}"
    )

  def wait(self) -> None:
    """Waits until everything is saved. A failed save raises here."""
    self._checkpointer.wait()

  def close(self) -> None:
    """Waits, then lets go of the directory."""
    self.wait()
    self._checkpointer.close()


def shapes(tree: Any) -> dict[str, str]:
  """The dtype and shape of every array, by its path in the tree."""
  return {path: f"{x.dtype}{list(x.shape)}" for path, x in _leaves(tree)}


def digests(tree: Any) -> dict[str, str]:
  """The SHA-256 of every array's dtype, shape and bytes, by its path in the tree."""

  def digest(x: Any) -> str:
    # A replicated array is whole on each device, also where another host has the rest.
    whole = x.addressable_data(0) if isinstance(x, jax.Array) else x
    value = np.ascontiguousarray(whole)
    head = f"{value.dtype.name}{value.shape}".encode()
    return hashlib.sha256(head + value.tobytes()).hexdigest()

  return {path: digest(x) for path, x in _leaves(tree)}


def _leaves(tree: Any) -> list[tuple[str, Any]]:
  leaves = jax.tree_util.tree_leaves_with_path(tree)
  return [(jax.tree_util.keystr(p, simple=True, separator="/"), x) for p, x in leaves]
