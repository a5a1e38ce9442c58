"""An evaluation image by image: attacks in turn, each on what the others left."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from robustjax.errors import UserError
from robustjax.evaluation import adversarial
from robustjax.evaluation.compiled import Programs, Reading
from robustjax.evaluation.ledger import Ledger, Record
from robustjax.evaluation.network import Network
from robustjax.evaluation.suite import Attack, Found
from robustjax.runtime import log
from robustjax.runtime.preemption import Stop, Stopped

Batch = dict[str, jax.Array]


def images_a_device(platform: str) -> int:
  """How many images a device attacks at once, if nobody says.

  The same bytes on any number of devices want the same batch on each. A core is as fast
  with few, which leave fewer rows of the last batch empty (benchmarks/README.md).
  """
  return 16 if platform == "cpu" else 64


@dataclasses.dataclass(frozen=True)
class Evaluation:
  """One evaluation of one network; `run` makes it.

  Attributes:
    network: whose predictions count.
    attacked: what the attacks see of it: the same, or another branch.
    programs: from `compiled.programs`.
    indices: the images, by their places in the data set.
    batches: indices -> their batches on the devices, padded and masked.
    batch_size: images in a batch, over all devices.
    seed: of all randomness.
    ledger: where the records go, and how far it is.
    stop: asked after every part of an attack.
    save: the folder that adversarial images are saved in, or None.
    shows: whether this process draws the progress bar.
  """

  network: Network
  attacked: Network
  programs: Programs
  indices: Sequence[int]
  batches: Callable[[Sequence[int]], Iterator[Batch]]
  batch_size: int
  seed: int
  ledger: Ledger
  stop: Stop
  save: Path | None = None
  shows: bool = True

  def run(self) -> dict[str, Any]:
    """Reads the clean images and attacks those that are right, from where it stopped.

    Returns:
      What summary.json holds.

    Raises:
      Stopped: `stop` asked for it; at most one batch of one attack is lost.
      UserError: logits are not finite, or all images are broken.
    """
    if summary := self.ledger.summary():
      return summary
    state, stages = self.ledger.state, self._stages()
    bar = log.progress(
      "attack", self._left(), 0, "image steps", self.shows, compiles=True
    )
    try:
      if state.stage == 0:
        self._read_clean(bar)
        self._next()
      for stage in range(state.stage, len(stages) + 1):
        self._attack(*stages[stage - 1], bar)
        self._next()
    finally:
      bar.close()
    return self._finish()

  def _stages(self) -> list[tuple[Attack, int]]:
    """The runs of all attacks, in their order."""
    programs = self.programs
    return [
      (attack, run)
      for attack in programs.attacks
      for run in range(attack.runs(programs.classes))
    ]

  def _next(self) -> None:
    self.ledger.state.stage += 1
    self.ledger.state.done = 0
    self.ledger.commit(())

  def _read_clean(self, bar: Any) -> None:
    """Records which images are right before any attack."""
    state, programs = self.ledger.state, self.programs
    counts = state.counts
    counts |= {name: counts.get(name, 0) for name in ("images", "clean", "skipped")}
    left = self.indices[state.done :]
    for rows, batch in self._batches(left):
      found = programs.begin(batch)
      reading = self._read(batch, found, rows, "")
      wrong = []
      for i, index in enumerate(rows):
        if not reading.mask[i]:
          counts["skipped"] += 1
          continue
        record = _clean_record(index, reading, i)
        counts["images"] += 1
        counts["clean"] += record["clean"]
        if record["clean"]:
          state.waiting[index] = record
        else:
          wrong.append(record)
      state.done += len(rows)
      self.ledger.commit(wrong)
      self._show(bar, len(rows))

  def _attack(self, attack: Attack, run: int, bar: Any) -> None:
    """One run of an attack against all that are not decided."""
    state = self.ledger.state
    counts = state.counts.setdefault("attacks", {})
    if attack.name not in counts:
      counts[attack.name] = {"attacked": len(state.waiting), "broken": 0}
    left = list(state.waiting)[state.done :]
    for rows, batch in self._batches(left):
      found = self._found(attack, run, batch)
      reading = self._read(batch, found, rows, attack.name)
      broken = reading.allowed & (reading.prediction != reading.label)
      names: Mapping[int, str] = {}
      if self.save:
        wanted = {i: index for i, index in enumerate(rows) if broken[i]}
        names = adversarial.save(self.save, found.adv, wanted)
        found = found._replace(adv=adversarial.load(self.save, found.adv, names))
        reading = self._read(batch, found, rows, attack.name)
      decided = []
      for i, index in enumerate(rows):
        record = state.waiting[index]
        _note(record, reading, i)
        if not broken[i]:
          state.done += 1
          continue
        record |= {"broken_by": attack.name, "steps": _made(attack, run, reading, i)}
        record |= {"target": int(reading.target[i])} if attack.targeted else {}
        record |= {"adv": names[i]} if i in names else {}
        counts[attack.name]["broken"] += 1
        decided.append(state.waiting.pop(index))
      self.ledger.commit(decided)
      self._show(bar, len(rows) * attack.cost)

  def _found(self, attack: Attack, run: int, batch: Batch) -> Found:
    """What one run finds in a batch, over all its parts."""
    found, program = self.programs.begin(batch), self.programs.attack[attack.name]
    for part in range(attack.parts):
      numbers = np.uint32(self.seed), np.int32(run), np.int32(part)
      found = program(self.attacked.variables, batch, *numbers, found)
      if self.stop.requested():
        raise Stopped(f"during {attack.name}")
    return found

  def _read(
    self, batch: Batch, found: Found, rows: Sequence[int], attack: str
  ) -> Reading:
    """What the network says of found images, on this host."""
    reading = jax.device_get(self.programs.read(self.network.variables, batch, found))
    for i, index in enumerate(rows):
      if reading.mask[i] and not reading.finite[i]:
        what = f"image {index}" + (f", attacked by {attack}," if attack else "")
        raise UserError(
          f"the logits of {what} are not finite: no prediction follows from them; see"
          f" whether the weights of {self.network.name} are, or compute in float32"
        )
    return reading

  def _batches(self, indices: Sequence[int]) -> Iterator[tuple[Sequence[int], Batch]]:
    """Batches, and which images are in them."""
    if not indices:
      return
    for k, batch in enumerate(self.batches(indices)):
      yield indices[k * self.batch_size : (k + 1) * self.batch_size], batch

  def _show(self, bar: Any, made: int) -> None:
    """Moves the bar."""
    bar.update(made)
    bar.total = bar.n + self._left()
    bar.set_postfix_str(f"{len(self.ledger.state.waiting)} left", refresh=False)
    if self.stop.requested():
      raise Stopped("during the attacks")

  def _left(self) -> int:
    """How many steps of images remain, as if no other image were broken."""
    state, stages = self.ledger.state, self._stages()
    unread = 0 if state.stage else len(self.indices) - state.done
    left = unread + sum(
      attack.cost * (len(state.waiting) + unread) for attack, _ in stages[state.stage :]
    )
    if state.stage:
      left += stages[state.stage - 1][0].cost * (len(state.waiting) - state.done)
    return left

  def _finish(self) -> dict[str, Any]:
    """The survivors' records, and the sums of all."""
    state = self.ledger.state
    if not state.counts["images"]:
      raise UserError("all images are broken: prepare the data set again")
    counts = dict(state.counts)
    attacks = counts.pop("attacks", {})
    robust, survivors = len(state.waiting), list(state.waiting.values())
    state.waiting = {}
    state.counts["robust"] = counts["robust"] = counts.get("robust", robust)
    self.ledger.commit(survivors)
    counts["attacks"] = [{"name": name, **of_it} for name, of_it in attacks.items()]
    return self.ledger.finish(counts)


def _clean_record(index: int, reading: Reading, i: int) -> Record:
  """What is known of an image before any attack."""
  prediction, label = int(reading.prediction[i]), int(reading.label[i])
  return {
    "index": int(index),
    "label": label,
    "clean": prediction == label,
    "prediction": prediction,
    "margin": _rounded(reading.margin[i]),
    "broken_by": None,
    "target": None,
    "steps": None,
    "adv_prediction": None,
    "adv_margin": None,
  }


def _note(record: Record, reading: Reading, i: int) -> None:
  """Keeps what is known of the most dangerous image, if this one is more so."""
  margin, before = _rounded(reading.margin[i]), record["adv_margin"]
  if reading.allowed[i] and (before is None or margin < before):
    record["adv_margin"] = margin
    record["adv_prediction"] = int(reading.prediction[i])


def _made(attack: Attack, run: int, reading: Reading, i: int) -> int:
  """The steps or queries of all runs until an image was broken."""
  return run * attack.cost + int(reading.steps[i])


def _rounded(value: Any) -> float:
  return round(float(value), 4)
