"""The paper's protocol: targeted PGD with random targets, read as a run's end reads it.

One target an image, drawn among the wrong classes; a random start; steps of
max(step size, eps / N); the last iterate; no restarts. Every image is attacked, also
those that are wrong without an attack, as the published numbers count them.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from robustjax.errors import UserError
from robustjax.evaluation import evaluate, trajectory
from robustjax.evaluation.identity import folder_name, in_words, of_readings
from robustjax.evaluation.ledger import EVALUATIONS, make_folder
from robustjax.evaluation.network import Network
from robustjax.hosts import processes
from robustjax.hosts.processes import Hosts
from robustjax.report import curves
from robustjax.report.table import evaluation_table
from robustjax.run import robustness, stages, steps
from robustjax.run.data import Images
from robustjax.runtime import files, log, parallel
from robustjax.runtime.preemption import Stop

NAME = "pgd-random"
FILE = "readings.json"  # no summary.json: nothing takes it for a measure of robustness
PICTURE = "readings.png"
STEP_SIZE = 1.0  # paper section 3: "set the attack step size alpha = 1"


class Readings(NamedTuple):
  """What is read, and the compiled functions that do.

  Attributes:
    steps: for all branches of a network.
    readings: numbers of steps, ascending.
    eps: of 255.
    step_size: the least, of 255.
  """

  steps: trajectory.Steps
  readings: Sequence[int]
  eps: float
  step_size: float


def make(
  network: Network,
  shape: tuple[int, int, int],
  readings: Sequence[int],
  eps: float,
  step_size: float,
  mesh: Any,
) -> Readings:
  """The readings of a network, and of all of its shapes.

  Args:
    network: whose functions they are made of.
    shape: of an image, [h, w, c].
    readings: numbers of steps.
    eps: of 255, L-infinity.
    step_size: the least, of 255.
    mesh: the devices.
  """
  images = jax.ShapeDtypeStruct((2, *shape), jnp.float32)
  logits = jax.eval_shape(network.logits, network.variables, images)
  if len(logits.shape) != 2 or logits.shape[1] < 2:
    raise UserError(
      f"{network.name} makes {list(logits.shape)} of images {[2, *shape]}: {NAME} wants"
      " logits [n, classes], of two classes or more"
    )
  per_device = trajectory.make_steps(
    network.logits,
    network.attack_logits,
    eps=eps,
    num_classes=logits.shape[1],
    axis=parallel.AXIS,
  )
  mapped = steps.mapped_evaluation(per_device, mesh)
  return Readings(mapped, sorted(set(readings)), eps, step_size)


def read(
  network: Network,
  made: Readings,
  *,
  images: Images,
  indices: Sequence[int],
  data: Mapping[str, str],
  step: int | None,
  seed: int,
  batch_size: int,
  mesh: Any,
  folder: Path,
  out: Path | None = None,
  hosts: Hosts,
  stop: Stop,
) -> tuple[Path, dict[str, Any]]:
  """Counts every image, clean and at every reading, or goes on with what was begun.

  The arguments are those of `run.robustness.evaluate`.

  Returns:
    The folder, and what its readings.json holds: "identity", and "rows", "worst_case"
    and perhaps "skipped" as evaluation.json has them.

  Raises:
    Stopped: `stop` asked for it; whole batches are kept.
    UserError: the folder holds another evaluation, or logits are not finite.
  """
  known = of_readings(
    network, NAME, made.readings, indices, data,
    eps=made.eps, step_size=made.step_size, step=step, seed=seed,
  )  # fmt: skip
  word = f"{NAME}-{'+'.join(str(n) for n in made.readings)}"
  out = out or folder / EVALUATIONS / folder_name(known | {"attack": word})
  if hosts.leads:
    make_folder(out)
  path, progress = out / FILE, out / evaluate.PROGRESS
  found = files.read_json(path) if path.exists() else None
  everywhere = batch_size * mesh.size
  done = evaluate.done(out, known, [network.branch], len(indices), everywhere)
  far = {"how far the evaluation is": [found is not None, done]}
  hosts.agree(far, remedy=processes.ONE_WORKDIR)
  if found is not None:
    log.same_identity(path, found.get("identity"), known)
    return out, found
  log.say(robustness.beginning(known, mesh.size, out), hosts.leads)

  def batches_from(done: int) -> Iterator[trajectory.Batch]:
    return images.batches(indices[done * everywhere :], everywhere, mesh)

  results = evaluate.evaluate(
    made.steps,
    {network.branch: network.variables},
    batches_from,
    key=stages.evaluation_key(seed),
    plan=trajectory.trajectories(made.readings, made.eps, made.step_size),
    eps=made.eps,
    images=len(indices),
    batch_size=everywhere,
    identity=known,
    workdir=out,
    stop=stop,
    shows=hosts.leads,
  )
  found = {"identity": known, **results}
  if hosts.leads:
    files.write_json(path, found)
    progress.unlink(missing_ok=True)
  return out, found


def show(out: Path, found: Mapping[str, Any]) -> None:
  """Draws the picture, and prints the table; both say what such numbers are not."""
  who, ball = in_words(found["identity"])
  images = found["rows"][0]["images"]
  title = f"{who}\n{images:,} images of {found['identity']['data']}, {ball}"
  curves.draw(out / PICTURE, title, found["rows"])
  table = evaluation_table(found)
  log.say(f"\n{table}\n\nCounts: {out / FILE}\nPicture: {out / PICTURE}\n")
