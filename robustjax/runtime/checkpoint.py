"""Checkpoints: the only file that names orbax.

A checkpoint is the whole TrainState, a digest of every array in it, and what run it is
of. Orbax notices truncated and missing files, but hands out bit-flipped arrays without
a word, so what is restored is compared with the digests. And one damaged file of one
checkpoint keeps its Checkpointer from opening, so that it only writes here; each
checkpoint is read by itself.
"""

import hashlib
import json
import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import flax.serialization
import jax
import numpy as np
from orbax.checkpoint import v1 as ocp

from robustjax.errors import UserError
from robustjax.runtime import files, log

KEPT = 3  # the latest ones; the best one is kept beside them

_policies = ocp.training.preservation_policies
# Hundreds of lines about reads that failed beside the one that is raised.
logging.getLogger("asyncio").setLevel(logging.CRITICAL)
_unraisable = sys.unraisablehook


def _heard(lost: "sys.UnraisableHookArgs") -> None:
  """Leaves out what tensorstore still has to say to a loop that a failure closed."""
  if str(lost.exc_value) != "Event loop is closed":
    _unraisable(lost)


sys.unraisablehook = _heard


class Checkpoints:
  """Writes the checkpoints of one run, in the background.

  Args:
    directory: where they are; one folder a step. None of them is damaged in what
      `damaged` looks at, or nothing can be written.
    best: the name of the metric whose highest value marks the best checkpoint.
    run: what the run is, as JSON: it stands in every checkpoint.
    records: gives the digest of the run's records so far; it does too.
  """

  def __init__(
    self,
    directory: Path,
    best: str,
    run: Mapping[str, Any] | None = None,
    records: Callable[[], str] = str,
  ):
    self.directory = directory.absolute()
    self._run, self._records = dict(run or {}), records
    with self._saving():
      self._checkpointer = ocp.training.Checkpointer(
        self.directory,
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

    Raises:
      UserError: the disk takes no more, now or since the save before.
    """
    if step in self.steps():
      return
    tree = flax.serialization.to_state_dict(state)
    about: dict[str, Any] = {
      "shapes": shapes(tree),
      "sha256": digests(tree),
      "run": self._run,
    }
    about["records"] = self._records()
    with self._saving():
      self._checkpointer.save_async(
        step,
        tree,
        force=True,  # the caller decides when; orbax has its own idea of intervals
        metrics=dict(metrics) if metrics else None,
        custom_metadata={**about, "digest": files.digest(about)},
      )

  def wait(self) -> None:
    """Waits until everything is saved. A failed save raises here."""
    with self._saving():
      self._checkpointer.wait()

  def close(self) -> None:
    """Waits, then lets go of the directory."""
    try:
      self.wait()
    finally:
      self._checkpointer.close()

  @contextmanager
  def _saving(self) -> Iterator[None]:
    """What the disk refuses is a line, with the step that is safe."""
    try:
      yield
    except Exception as error:  # orbax raises what tensorstore raises: anything
      reason = " ".join(str(error).split())
      if not any(word in reason for word in _OF_THE_DISK):
        raise
      good = steps(self.directory)
      last = f"step {good[-1]} is the last that is safe" if good else "none is saved"
      raise UserError(
        f"{self.directory} cannot be written to ({reason[:200]}): {last}; make room,"
        " and start again"
      ) from error


_OF_THE_DISK = (
  "No space left", "RESOURCE_EXHAUSTED", "quota", "Input/output error",
  "Read-only file system", "Permission denied", "PERMISSION_DENIED", "File too large",
  "Not a directory", "Too many open files", "Stale file handle",
)  # fmt: skip


class About(NamedTuple):
  """What a checkpoint says of itself.

  Attributes:
    shapes: path -> dtype and shape of each array.
    sha256: path -> digest of each array.
    run: what run it is of; empty in those of older versions.
    records: the digest of the run's records until then; the same.
  """

  shapes: Mapping[str, str]
  sha256: Mapping[str, str]
  run: Mapping[str, Any]
  records: str


def steps(directory: Path) -> list[int]:
  """The steps that have a complete checkpoint in a folder, ascending."""
  return sorted(int(p.name) for p in directory.glob("*") if p.name.isdigit())


def about(directory: Path, step: int) -> About:
  """What the checkpoint of a step says of itself.

  Raises:
    Damaged: one of its small files is not what was written.
  """
  folder = directory / str(step)
  try:
    found = json.loads((folder / "_CHECKPOINT_METADATA").read_bytes())
    metrics = folder / "metrics" / "metrics"
    if metrics.exists():
      dict(json.loads(metrics.read_bytes()))
    of_it = found["custom_metadata"]
    written = of_it.pop("digest", None)
    if written not in (None, files.digest(of_it)):
      raise ValueError("its description is not what was saved")
    run, records = of_it.get("run", {}), of_it.get("records", "")
    return About(of_it["shapes"], of_it["sha256"], run, records)
  except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
    raise _unread(folder, error) from error


def restore(directory: Path, state: Any, step: int) -> Any:
  """The state of a step, checked against its digests.

  Args:
    directory: the checkpoints.
    state: a state of the same shapes and the wished shardings (arrays, or
      `jax.ShapeDtypeStruct`s).
    step: which one.

  Returns:
    A state like `state`.

  Raises:
    Damaged: it is not what was saved.
    UserError: it is of another model.
  """
  folder, saved = directory.absolute() / str(step), about(directory, step)
  abstract = jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding),
    flax.serialization.to_state_dict(state),
  )
  wanted = shapes(abstract)
  for path in log.differences(saved.shapes, wanted):
    raise UserError(
      f"checkpoint {folder} is of another model: {path} is"
      f" {saved.shapes.get(path, 'not there')}, and this run's is"
      f" {wanted.get(path, 'not there')}: give this run a --workdir of its own"
    )
  try:
    tree = ocp.load(folder, abstract, checkpointable_name="state")
  except Exception as error:  # anything
    raise _unread(folder, error) from error
  for path in log.differences(saved.sha256, digests(tree)):
    raise _damaged(folder, f"{path} is not what was saved")
  return flax.serialization.from_state_dict(state, tree)


def fits(directory: Path, state: Any, step: int) -> bool:
  """Whether the checkpoint of a step has the arrays of a state, by name and shape.

  Raises:
    Damaged: it is not what was saved.
  """
  have = shapes(flax.serialization.to_state_dict(state))
  return about(directory, step).shapes == have


# What a machine lacks for now, which no checkpoint is damaged by.
_FOR_NOW = ("RESOURCE_EXHAUSTED", "Out of memory", "out of memory", "UNAVAILABLE",
  "DEADLINE_EXCEEDED", "PERMISSION_DENIED", "Permission denied",
  "Too many open files", "Stale file handle", "Input/output error")  # fmt: skip


def _unread(folder: Path, error: Exception) -> UserError:
  """Why a checkpoint was not read: it is damaged, or the machine could not."""
  reason = " ".join(str(error).split())[:200]
  if isinstance(error, MemoryError) or any(word in reason for word in _FOR_NOW):
    return UserError(
      f"checkpoint {folder} cannot be read now ({reason or 'no memory'}); it is as it"
      " was: start again when it can"
    )
  return _damaged(folder, error)


def _damaged(folder: Path, reason: object) -> files.Damaged:
  text = " ".join(str(reason).split())[:200] or type(reason).__name__
  return files.Damaged(f"checkpoint {folder} is damaged ({text})")


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
