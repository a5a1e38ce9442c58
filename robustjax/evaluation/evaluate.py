"""An evaluation from the first batch to its rows, resumable at every batch."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from robustjax.errors import UserError
from robustjax.evaluation import trajectory
from robustjax.runtime import files, log
from robustjax.runtime.preemption import Stop, Stopped

PROGRESS = "evaluation.progress.json"


def evaluate(
  steps: trajectory.Steps,
  branches: Mapping[str, Any],
  batches_from: Callable[[int], Iterator[trajectory.Batch]],
  *,
  key: jax.Array,
  plan: Sequence[trajectory.Trajectory],
  eps: float,
  images: int,
  batch_size: int,
  identity: Mapping[str, Any],
  workdir: Path,
  stop: Stop,
  shows: bool = True,
) -> dict[str, Any]:
  """Counts every image once through every branch, at every reading.

  Args:
    steps: from `trajectory.make_steps`, mapped over the devices.
    branches: branch name -> variables of a network with that branch alone.
    batches_from: k -> the batches from the k-th on, padded and masked.
    key: of the evaluation.
    plan: from `trajectory.trajectories`.
    eps: of 255.
    images: how many there are in all batches, broken ones included.
    batch_size: images in a batch, padding included.
    identity: what the counts depend on beside the code, such as the step.
    workdir: where the counts so far are kept, in `evaluation.progress.json`.
    stop: asked between chunks of attack steps.
    shows: whether this process draws the progress bar and writes files.

  Returns:
    {"rows": [...], "worst_case": [...]}: see `trajectory.rows`. A worst case counts
    an image as correct if no reading of the branch broke it. Where broken images were
    left out, "skipped" says how many, and "images" of every row how many were counted.

  Raises:
    Stopped: `stop` asked for it; whole batches are kept.
    UserError: the workdir holds counts of another identity, or every image is broken.
  """
  path = workdir / PROGRESS
  batch_count = -(-images // batch_size)
  try:
    done, counts = counted(workdir, identity, list(branches), batch_count)
  except files.Damaged as error:  # it can be made anew
    done, counts = 0, {name: Counter[str]() for name in branches}
    if shows:
      aside = files.set_aside(path)
      log.complain(f"{error}; it is {aside.name} now, and all images count again")
  cost = sum(t.readings[-1] for t in plan) * len(branches)
  whole = batch_count * cost
  bar = log.progress(
    "evaluate", whole, done * cost, "attack steps", shows, compiles=True
  )

  def after_chunk(steps_made: int) -> None:
    bar.update(steps_made)
    if stop.requested():
      bar.close()
      raise Stopped(f"during the evaluation, after {done} of {batch_count} batches")

  # Nothing may be left: all that an interrupted run still had to do was to write it.
  for batch in batches_from(done) if done < batch_count else ():
    for name, variables in branches.items():
      try:
        found = trajectory.count_batch(steps, variables, batch, key, plan, after_chunk)
      except UserError as error:
        raise UserError(f"branch {name}, batch {done + 1}: {error}") from error
      counts[name].update(found)
    done += 1
    if shows:
      saved = {"identity": dict(identity), "batches": done, "counts": counts}
      files.write_json(path, saved)
  bar.close()
  return _results(counts, images, plan, eps)


def _results(
  counts: Mapping[str, Counter[str]],
  images: int,
  plan: Sequence[trajectory.Trajectory],
  eps: float,
) -> dict[str, Any]:
  skipped = max(of_branch["skipped"] for of_branch in counts.values())
  counted = images - skipped
  if not counted:
    raise UserError(f"all {images} images are broken: prepare the data set again")
  return {
    "rows": [
      row
      for name in counts
      for row in trajectory.rows(counts[name], counted, name, plan, eps)
    ],
    "worst_case": [
      {
        "branch": name,
        "images": counted,
        "correct": counts[name]["worst/correct"],
        "accuracy": counts[name]["worst/correct"] / counted,
      }
      for name in counts
    ],
    **({"skipped": skipped} if skipped else {}),
  }


def done(
  workdir: Path,
  identity: Mapping[str, Any],
  branches: Sequence[str],
  images: int,
  batch_size: int,
) -> int:
  """How many batches an earlier start counted; none if its counts are damaged."""
  try:
    return counted(workdir, identity, branches, -(-images // batch_size))[0]
  except files.Damaged:
    return 0


def counted(
  workdir: Path, identity: Mapping[str, Any], branches: Sequence[str], batches: int
) -> tuple[int, dict[str, Counter[str]]]:
  """How many batches an earlier start counted, and its counts of each branch.

  Args:
    workdir: where they are kept.
    identity: of the evaluation.
    branches: the names of all.
    batches: how many there are.

  Raises:
    Damaged: they are not what was written.
    UserError: they are of another evaluation.
  """
  path = workdir / PROGRESS
  if not path.exists():
    return 0, {name: Counter[str]() for name in branches}
  saved = files.read_json(path, old=False)
  log.same_identity(path, saved.get("identity"), identity)
  try:
    done, counts = saved["batches"], saved["counts"]
    if not (0 <= done <= batches and list(counts) == list(branches)):
      raise ValueError
    return done, {name: Counter(of_branch) for name, of_branch in counts.items()}
  except (KeyError, TypeError, ValueError) as error:
    raise files.Damaged(f"{path} does not hold counts") from error
