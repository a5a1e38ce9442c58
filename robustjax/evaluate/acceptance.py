"""Whether a network scores what its card says: clean first, and card.json."""

import contextlib
import json
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from robustjax.errors import UserError
from robustjax.evaluate import cards, suspects
from robustjax.evaluate.cards import Card, Number
from robustjax.evaluate.clean import Reader
from robustjax.evaluate.subject import Subject
from robustjax.evaluation.ledger import make_folder
from robustjax.report.table import align
from robustjax.runtime import files, log

FILE = "card.json"


@dataclass
class Acceptance:
  """A network beside its card.

  Attributes:
    card: what it should score.
    eps: of the attacks, of 255.
    same: whether the images are the card's.
    identity: what is evaluated, from `identity.subject`.
    path: of card.json.
    leads: whether this process writes and talks.
    rows: what was measured, as card.json has it.
  """

  card: Card
  eps: float
  same: bool
  identity: Mapping[str, Any]
  path: Path
  leads: bool
  rows: list[dict[str, Any]] = field(default_factory=list)

  def clean(
    self, reader: Reader, subject: Subject, indices: Sequence[int], tries: int
  ) -> None:
    """Counts the clean images before anything is attacked.

    Args:
      reader: of the branch that is read.
      subject: the network and its images.
      indices: of them.
      tries: on how many of them suspects are tried, if the number is wrong.

    Raises:
      Stopped: the reader's stop asked for it.
      UserError: it is not what was published: what may be wrong was said before.
    """
    (found,) = reader(subject.images, indices)
    correct, images = found.counts
    if self._note("none", 0, correct, images):
      self.write()
      return
    off = 100 * correct / images - self.card.clean.accuracy
    chosen = np.random.default_rng(0).permutation(len(indices))[:tries]
    some = [int(indices[i]) for i in np.sort(chosen)]
    log.say(f"Trying what may be wrong on {len(some):,} images.", self.leads)
    tried, notes = suspects.interrogate(reader, subject, some, self.card, off)
    self.write(suspects=[one._asdict() for one in tried])
    log.say(_table(tried, notes), self.leads)
    first = tried[1] if len(tried) > 1 and tried[1].fits else None
    mend = f"{first.name} would fit: {first.remedy}" if first else "mend the import"
    raise UserError(
      f"{self.card.title}: the clean accuracy is not reproduced, and nothing was"
      f" attacked: {mend}, or leave --card out"
    )

  def readings(self, rows: Sequence[Mapping[str, Any]]) -> None:
    """Notes the rows of a reading by the paper's protocol."""
    for row in rows:
      if row["steps"]:
        counts = row["correct"], row["images"], row["target_hits"]
        self._note("pgd-random", row["steps"], *counts)

  def suite(self, attack: str, summary: Mapping[str, Any]) -> None:
    """Notes what attacks left."""
    self._note(attack, 0, summary["robust"], summary["images"])

  def write(self, **more: Any) -> None:
    """Writes card.json: what was measured, what is published, and the verdicts."""
    if self.leads:
      make_folder(self.path.parent)
      card: dict[str, Any] = {"word": self.card.word, "title": self.card.title}
      card |= {"setting": self.card.setting, "source": self.card.source}
      card |= {"identity": dict(self.identity), "rows": [*self.rows, *self._before()]}
      files.write_json(self.path, {**card, **more})

  def _before(self) -> list[dict[str, Any]]:
    """What earlier calls measured of the same, and this one did not."""
    before: dict[str, Any] = {}
    with contextlib.suppress(OSError, UserError):
      before = files.read_json(self.path)
    identity = json.loads(json.dumps(dict(self.identity)))
    if (before.get("word"), before.get("identity")) != (self.card.word, identity):
      return []
    key = operator.itemgetter("attack", "steps", "eps")
    have = {key(row) for row in self.rows}
    return [row for row in before["rows"] if key(row) not in have]

  def finish(self) -> None:
    """Writes what was measured.

    Raises:
      UserError: a number is not reproduced.
    """
    wrong = [row["name"] for row in self.rows if row["agrees"] is False]
    self.write()
    log.say(f"Card: {self.path}", self.leads)
    if wrong:
      raise UserError(f"{self.card.title}: not reproduced: {', '.join(wrong)}")

  def _note(
    self,
    attack: str,
    steps: int,
    correct: int,
    images: int,
    target_hits: int | None = None,
  ) -> bool:
    """Adds a row, says it, and tells whether it agrees with what is published."""
    card, eps = self.card, self.eps if attack != "none" else 0.0
    number = card.clean if attack == "none" else cards.find(card, attack, steps, eps)
    name = (number or Number(attack, 0, steps)).name
    row = {
      "name": name, "attack": attack, "steps": steps, "eps": eps, "images": images,
      "correct": correct, "accuracy": correct / images, "published": None,
      "agrees": None,
    }  # fmt: skip
    text = f"{100 * correct / images:.1f} %; nothing is published of it"
    if number:
      same = self.same and images == card.images
      verdict = cards.judge(card, number.accuracy, correct, images, same)
      row |= {"published": number.accuracy, "agrees": verdict.agrees}
      text = verdict.text
    if target_hits is not None:
      row["target_hits"] = target_hits
      text += f"; target reached: {100 * target_hits / images:.1f} %"
    if number and number.target_hits is not None and target_hits is not None:
      reached = cards.judge(card, number.target_hits, target_hits, images, same)
      row |= {"agrees": verdict.agrees and reached.agrees}
      text = f"{verdict.text}; target reached: {reached.text}"
    self.rows.append(row)
    log.say(f"{name}: {text}", self.leads)
    return row["agrees"] is not False


def _table(tried: Sequence[suspects.Tried], notes: Sequence[str]) -> str:
  rows: list[Sequence[str]] = [("suspect", "right", "accuracy", "what sets it")]
  for name, remedy, correct, images, fits in tried:
    fit = f"would fit: {remedy}" if fits else ""
    rows.append((name, f"{correct} / {images}", f"{correct / images:.1%}", fit))
  return "\n".join([align(rows, right=(1, 2)), *notes])
