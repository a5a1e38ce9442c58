"""Groups runs by what their numbers may be compared with, and looks numbers up."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from robustjax.report.document import SPACE
from robustjax.report.figures import wilson
from robustjax.report.runs import Row, Run

NOT_RUN = "not run"
PAPER_SCALE, PAPER_DATA, PAPER_EPS = "paper", "imagenet2012", 16.0
_DATA_OF_SCALE = {PAPER_SCALE: PAPER_DATA, "mini": "fashion_mnist_mini"}

# What the command line may change without making a run another row of the paper: it
# changes how much is measured or written down, not what is trained.
FREE = {
  "data.data_dir", "data.workers", "seed", "train.log_every_steps",
  "train.save_every_epochs", "train.validation_images", "eval.readings",
  "eval.images", "eval.batch_size",
}  # fmt: skip
# These make a condition of their own, or the same in proportion.
_ATTACK = {"attack.eps", "attack.step_size", "eval.eps", "eval.step_size"}
# As in the paper an evaluation step is eps / 16, and the steps of training reach
# together 1.25 eps (PGD-5, -10, -20) to 1.875 eps (PGD-30).
_STEPS_AN_EPS = 16
_REACH = (1.25, 1.875)


@dataclass(frozen=True)
class Measurement:
  """An accuracy: of one run, or of several that differ in their seeds alone.

  Attributes:
    rows: one for each run.
    runs: the same number of runs.
  """

  rows: tuple[Row, ...]
  runs: tuple[Run, ...]

  @property
  def correct(self) -> int:
    """Over all runs."""
    return sum(row.correct for row in self.rows)

  @property
  def images(self) -> int:
    """Over all runs: each run counts each image."""
    return sum(row.images for row in self.rows)

  @property
  def rates(self) -> tuple[float, ...]:
    """The accuracy of each run, 0..1."""
    return tuple(row.correct / row.images for row in self.rows)

  @property
  def mean(self) -> float:
    """Over the runs, 0..1."""
    return sum(self.rates) / len(self.rates)

  @property
  def interval(self) -> tuple[float, float]:
    """95 % Wilson interval of the counts, within 0..1.

    Runs share their test images: however many there are, the interval is as wide as
    that of one.
    """
    z = 1.96 * math.sqrt(len(self.runs))  # z squared is over the images in the formula
    return wilson(self.correct, self.images, z)

  @property
  def guesses(self) -> tuple[str, ...]:
    """What any of the runs depends on and no source settles."""
    found = (run.evaluation.guesses for run in self.runs if run.evaluation)
    return tuple(dict.fromkeys(guess for guesses in found for guess in guesses))


@dataclass(frozen=True)
class Condition:
  """Runs whose numbers may stand side by side.

  Attributes:
    scale: "paper" or "mini".
    data: the data set's name.
    eps: of the evaluation's attack, of 255.
    trained_eps: of the attack in training.
    steps: what is unusual in the sizes of the attacks' steps, in words.
    runs: of settings of the paper, in the order of their names.
  """

  scale: str
  data: str
  eps: float
  trained_eps: float
  steps: tuple[str, ...]
  runs: tuple[Run, ...] = ()

  @property
  def is_paper(self) -> bool:
    """Whether its numbers may stand beside the published ones."""
    found = self.scale, self.data, self.eps, self.trained_eps, self.steps
    return found == (PAPER_SCALE, PAPER_DATA, PAPER_EPS, PAPER_EPS, ())

  @property
  def label(self) -> str:
    """For headings, such as "miniature, eps 32"."""
    name = {"paper": "ImageNet", "mini": "miniature"}.get(self.scale, self.scale)
    if self.data != _DATA_OF_SCALE.get(self.scale):
      name = f"{self.data} at {self.scale} scale"
    label = f"{name}, eps{SPACE}{self.eps:g}"
    if self.trained_eps != self.eps:
      label += f", trained at eps{SPACE}{self.trained_eps:g}"
    return ", ".join((label, *self.steps))

  def of(self, setting: str) -> tuple[Run, ...]:
    """The runs of a setting.

    The word eps8 in a run's name says its condition, not its row.
    """
    names = {setting} if self.is_paper else {setting, f"{setting}_eps8"}
    return tuple(run for run in self.runs if run.setting in names)

  def readings(self, setting: str, branch: str) -> list[int]:
    """The numbers of steps that were read through a branch, 0 for clean images."""
    return sorted(
      {
        row.steps
        for run in self.of(setting)
        if run.evaluation
        for row in run.evaluation.rows
        if row.branch == branch
      }
    )

  @property
  def strongest(self) -> int:
    """The strongest attack of most evaluations, in steps; 0 if there is none."""
    found = Counter(
      max(row.steps for row in run.evaluation.rows)
      for run in self.runs
      if run.evaluation
    )
    return max(found, key=lambda steps: (found[steps], steps), default=0)

  def measure(self, setting: str, branch: str, steps: int) -> Measurement | None:
    """An accuracy, over all seeds; None if nobody measured it.

    Runs with the same seed are the same run twice: the one with more images counts.
    """
    best: dict[int, tuple[Row, Run]] = {}
    for run in self.of(setting):
      for row in run.evaluation.rows if run.evaluation else ():
        if (row.branch, row.steps) != (branch, steps):
          continue
        if run.seed not in best or row.images > best[run.seed][0].images:
          best[run.seed] = row, run
    found = [best[seed] for seed in sorted(best)]
    if not found:
      return None
    return Measurement(tuple(row for row, _ in found), tuple(run for _, run in found))

  def state(self, setting: str) -> str:
    """Why there is no number: "not run", or how far the furthest run has come."""
    order = ("empty", "training", "trained", "evaluating", "complete")
    runs = self.of(setting)
    if not runs:
      return NOT_RUN
    best = max(runs, key=lambda r: (order.index(r.progress.state), r.progress.step))
    return "not read" if best.progress.state == "complete" else best.progress.text


PAPER = Condition(PAPER_SCALE, PAPER_DATA, PAPER_EPS, PAPER_EPS, ())


def group(runs: Sequence[Run]) -> tuple[list[Condition], list[Run]]:
  """Sorts runs into conditions.

  Args:
    runs: from `runs.find`.

  Returns:
    The conditions, the paper's first and always there; and the runs that are no row of
    the paper, because the command line changed what matters or config.json does not
    say whether it did.
  """
  groups: dict[Condition, list[Run]] = {PAPER: []}
  others = []
  for run in runs:
    if run.overrides is None or changes(run):
      others.append(run)
    else:
      groups.setdefault(_condition(run), []).append(run)
  order = sorted(groups, key=lambda c: (not c.is_paper, c.scale != "paper", c.label))
  return [
    Condition(c.scale, c.data, c.eps, c.trained_eps, c.steps, tuple(groups[c]))
    for c in order
  ], others


def twins(conditions: Sequence[Condition]) -> list[str]:
  """A line for each evaluated run that another has the setting and the seed of."""
  found = []
  for condition in conditions:
    first: dict[tuple[str, int], Run] = {}
    for run in condition.runs:
      if not run.evaluation:
        continue
      other = first.setdefault((run.setting, run.seed), run)
      if other is not run:
        found.append(
          f"{run.name} has the setting, the condition and the seed of {other.name}: of"
          " each reading the one with more images counts"
        )
  return found


def changes(run: Run) -> dict[str, Any]:
  """The overrides that make a run another than its setting."""
  return {
    name: value
    for name, value in (run.overrides or {}).items()
    if name not in FREE and name not in _ATTACK and not _same_start(run, name, value)
  }


def _same_start(run: Run, name: str, value: Any) -> bool:
  """Whether BN fine-tuning starts from its usual run in another folder."""
  starts = {"bn_finetune_to_clean": "adv", "bn_finetune_to_adv": "clean"}
  usual = f"{starts.get(run.setting)}-{run.scale}"
  # Behind its usual name a study may say what it changed: adv-mini-eps64.
  return name == "init.run" and PurePath(str(value)).name.startswith(usual)


def _condition(run: Run) -> Condition:
  steps = []
  if run.step_size * _STEPS_AN_EPS != run.eps:
    steps.append(f"in steps of {run.step_size:g}")
  reach = run.trained_steps * run.trained_step_size / (run.trained_eps or math.nan)
  low, high = _REACH
  if _ATTACK & (run.overrides or {}).keys() and not low <= reach <= high:
    steps.append(f"trained in steps of {run.trained_step_size:g}")
  return Condition(run.scale, run.data, run.eps, run.trained_eps, tuple(steps))
