"""The loop that drives training steps: it fetches, logs, validates, saves and stops."""

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax

from robustjax.errors import UserError
from robustjax.runtime import log
from robustjax.runtime.checkpoint import Checkpoints
from robustjax.runtime.metrics import MetricsLog
from robustjax.runtime.preemption import Stop, Stopped
from robustjax.runtime.profile import Profile
from robustjax.training.state import TrainState
from robustjax.training.step import Batch, Step

Values = Mapping[str, float]

BEST = "accuracy_adv"  # the validation value that marks the best checkpoint
# What helps where training diverges.
LESS = (
  "Lower config.optimizer.lr_per_256 or momentum, lengthen"
  " config.optimizer.warmup_epochs, or attack less, by config.attack.eps and step_size"
)


@dataclasses.dataclass(frozen=True)
class Schedule:
  """How long training takes, in steps.

  Attributes:
    steps: in all.
    steps_per_epoch: of the data set at this batch size.
    batch_size: images a step, over all devices.
    save_every: steps between checkpoints, each of which is validated first.
    log_every: steps between records in metrics.jsonl.
    running_from: the step from which running statistics normalise (paper section
      4.3, the * rows), or None.
  """

  steps: int
  steps_per_epoch: int
  batch_size: int
  save_every: int
  log_every: int
  running_from: int | None = None

  def statistics(self, step: int) -> str:
    """Which statistics normalise the training pass of this step."""
    running = self.running_from is not None and step >= self.running_from
    return "running" if running else "batch"


def train(
  state: TrainState,
  train_steps: Mapping[str, Step],
  batches: Iterator[Batch],
  key: jax.Array,
  schedule: Schedule,
  *,
  validate: Callable[[TrainState], Mapping[str, float]],
  checkpoints: Checkpoints,
  metrics_log: MetricsLog,
  stop: Stop,
  skipped: int = 0,
  shows: bool = True,
  profile: Profile | None = None,
  at_peak: Callable[[str], float | None] | None = None,
) -> TrainState:
  """Trains from the state's step to the schedule's last.

  Args:
    state: new or restored.
    train_steps: "batch" and, where the schedule needs it, "running" -> the train step
      with those statistics, mapped over the devices.
    batches: the batches from the state's step on.
    key: of the run; the same at every start.
    schedule: how long.
    validate: state -> values, among them `BEST`.
    checkpoints: where the state is saved.
    metrics_log: where values are recorded.
    stop: asked at each step.
    skipped: how many broken images were passed over before the state's step. Each
      step that passes over more has a record of its own, {"skipped": number}.
    shows: whether this process draws the progress bar.
    profile: of some steps.
    at_peak: the text of a compiled train step -> seconds that it would take at the
      devices' peak; None if that is not known.

  Returns:
    The state after the last step, saved.

  Raises:
    Stopped: `stop` asked for it; the state is saved.
    UserError: the loss is no longer finite, of which nothing is saved; or no images
      come any more, and a process that is alone has saved what it had.
  """
  first = int(state.step)
  bar = log.progress(
    "train",
    schedule.steps * schedule.batch_size,
    first * schedule.batch_size,
    "images",
    shows,
    compiles=True,
  )
  report = _Report(schedule, metrics_log, checkpoints, bar, skipped)
  profile = profile or Profile(Path(), 0)
  try:
    for step in range(first, schedule.steps):
      try:
        with report.waiting():
          batch = next(batches)
      except UserError:
        # A save takes all processes, which wait for this one elsewhere.
        if jax.process_count() == 1:
          report.save(step, state, None)
          if stop.requested():  # what ended the images may be the same signal
            raise Stopped(f"after step {step} of {schedule.steps}") from None
        raise
      train_step = train_steps[schedule.statistics(step)]
      with profile.step(step):
        state, metrics = train_step(state, batch, key)
      if at_peak and step == first:
        with log.aside("the share of the peak", shows):
          # JAX keeps what it compiled for the call; this asks for the same.
          compiled = train_step.lower(state, batch, key).compile()  # type: ignore[attr-defined]
          report.at_peak = at_peak(compiled.as_text())
      profile.after(metrics)
      # The metrics of a step are fetched once the next one is on its way, so that
      # the devices never wait for the host.
      report.fetch_pending()
      report.pending = step + 1, metrics
      last = step + 1 == schedule.steps
      saves = last or (step + 1) % schedule.save_every == 0
      stops = stop.requested() and not last
      if saves or stops:
        report.fetch_pending()  # before the validation: a loss that is not finite ends
        report.save(step + 1, state, validate(state) if saves else None)
      if stops:
        raise Stopped(f"after step {step + 1} of {schedule.steps}")
  finally:
    profile.close()
    bar.close()
  return state


@dataclasses.dataclass
class _Report:
  """Metrics on their way from the devices to the log and the progress bar."""

  schedule: Schedule
  metrics_log: MetricsLog
  checkpoints: Checkpoints
  bar: Any
  skipped: int  # broken images in all steps fetched, and in those before the first
  pending: tuple[int, Any] | None = None
  clock: float = dataclasses.field(default_factory=time.perf_counter)
  since: int = 0  # steps fetched since `clock`
  waited: float = 0.0  # seconds for images since then
  at_peak: float | None = None  # seconds of a step at the devices' peak, if known

  @contextlib.contextmanager
  def waiting(self) -> Iterator[None]:
    began = time.perf_counter()
    with jax.profiler.TraceAnnotation("wait for images"):
      yield
    self.waited += time.perf_counter() - began

  def fetch_pending(self) -> None:
    if self.pending is None:
      return
    (step, arrays), self.pending = self.pending, None
    values = {name: float(x) for name, x in jax.device_get(arrays).items()}
    self._check_finite(step, values)
    if skipped := int(values.pop("skipped", 0)):
      self.skipped += skipped
      self.write(step, "train", {"skipped": skipped})
    self.bar.update(self.schedule.batch_size)
    self.since += 1
    if step % self.schedule.log_every == 0 or step == self.schedule.steps:
      speeds = self._speeds()
      broken = f" skipped {self.skipped}" if self.skipped else ""
      self.bar.set_postfix_str(_short(values) + broken, refresh=False)
      self.write(step, "train", values, speeds)

  def save(self, step: int, state: TrainState, values: Values | None) -> None:
    """Saves a state and all records until it, the validation's values among them."""
    self.fetch_pending()
    if values:
      self.write(step, "validation", values)
    self.metrics_log.sync()  # or a checkpoint could outlive the records before it
    self.checkpoints.save(step, state, values)

  def write(
    self, step: int, split: str, values: Values, speeds: Values | None = None
  ) -> None:
    epoch = step / self.schedule.steps_per_epoch
    self.metrics_log.write(step, epoch, split, values, speeds)

  def _speeds(self) -> Values:
    """Since the last time: nothing that the same run would repeat."""
    clock = time.perf_counter()
    took, steps, waited = clock - self.clock, self.since, self.waited
    self.clock, self.since, self.waited = clock, 0, 0.0
    speeds = {
      "images_per_second": steps * self.schedule.batch_size / took,
      "waited_for_images": waited / took,
    }
    if self.at_peak is not None:
      speeds["share_of_peak"] = steps * self.at_peak / took
    return speeds

  def _check_finite(self, step: int, values: Mapping[str, float]) -> None:
    bad = [f"{n} is {x}" for n, x in values.items() if not math.isfinite(x)]
    if bad:
      steps = self.checkpoints.steps()
      saved = f"step {steps[-1]} is saved" if steps else "nothing was saved yet"
      raise UserError(
        f"training diverged at step {step}: {bad[0]}; {saved}. {LESS}; and start in a"
        " new --workdir"
      )


def _short(values: Mapping[str, float]) -> str:
  names = {"loss": "loss", "accuracy_clean": "clean", "accuracy_adv": "adv"}
  chosen = {short: values[name] for name, short in names.items() if name in values}
  return " ".join(f"{name} {x:.3f}" for name, x in chosen.items())
