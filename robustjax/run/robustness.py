"""One evaluation image by image, in its folder: of a run's end, or by command."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from robustjax.evaluation import robustness
from robustjax.evaluation.compiled import Programs
from robustjax.evaluation.identity import folder_name, identity, in_words
from robustjax.evaluation.ledger import EVALUATIONS, Ledger
from robustjax.evaluation.network import Network
from robustjax.hosts import processes
from robustjax.hosts.processes import Hosts
from robustjax.run.data import Images
from robustjax.runtime import log
from robustjax.runtime.preemption import Stop


def evaluate(
  network: Network,
  attacked: Network,
  programs: Programs,
  *,
  attack: str,
  images: Images,
  indices: Sequence[int],
  data: Mapping[str, str],
  step: int | None,
  seed: int,
  batch_size: int,
  mesh: Any,
  folder: Path,
  out: Path | None = None,
  save_images: bool = False,
  hosts: Hosts,
  stop: Stop,
) -> tuple[Path, dict[str, Any]]:
  """Attacks a network, or goes on with what was begun.

  Args:
    network: whose predictions count.
    attacked: what the attacks see of it.
    programs: that attack such networks.
    attack: what they are, as it was asked for.
    images: of a split.
    indices: which of them.
    data: the names of the data set and the split.
    step: of the checkpoint, if it has one.
    seed: of all randomness.
    batch_size: images a device.
    mesh: the devices.
    folder: of the run: the evaluation has a folder of its own in it.
    out: the evaluation's folder, if it is another one.
    save_images: whether to keep the adversarial images.
    hosts: the processes.
    stop: asked in every loop.

  Returns:
    The folder, and what its summary.json holds.

  Raises:
    Stopped: `stop` asked for it.
    UserError: the folder holds another evaluation, or logits are not finite.
  """
  known = identity(
    network, attacked, attack, programs.attacks, indices, data, step, seed
  )
  out = out or folder / EVALUATIONS / folder_name(known)
  ledger = Ledger(out, known, hosts.leads)
  far = [ledger.state.stage, ledger.state.done, ledger.summary() is not None]
  hosts.agree({"how far the evaluation is": far}, remedy=processes.ONE_WORKDIR)
  log.say(beginning(known, mesh.size, out), hosts.leads)
  everywhere = batch_size * mesh.size
  summary = robustness.Evaluation(
    network,
    attacked,
    programs,
    indices,
    lambda some: images.batches(some, everywhere, mesh),
    everywhere,
    seed,
    ledger,
    stop,
    out if save_images else None,
    hosts.leads,
  ).run()
  return out, summary


def beginning(identity: Mapping[str, Any], devices: int, out: Path) -> str:
  """What is evaluated, in a line."""
  who, ball = in_words(identity)
  attacks, images = ", ".join(identity["attacks"]), f"{identity['images']:,} images"
  return (
    f"{who}: {attacks} at {ball} on {images} of {identity['data']},"
    f" {devices} device{'s' if devices > 1 else ''}. {out}"
  )
