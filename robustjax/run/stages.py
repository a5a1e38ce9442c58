"""The stages of a run, training and evaluation, each going on where it stopped."""

import contextlib
import dataclasses
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import jax
from clu import parameter_overview

from robustjax import config as configs
from robustjax.config import Config
from robustjax.data import sample, sources
from robustjax.evaluation import compiled, evaluate, trajectory
from robustjax.evaluation.robustness import images_a_device
from robustjax.hosts import processes
from robustjax.hosts.processes import Hosts
from robustjax.run import network, pieces, pretrained, robustness, saved, steps
from robustjax.run import schedule as schedules
from robustjax.run import workdir as workdirs
from robustjax.run.data import Data, data_names, images_of, train_batches
from robustjax.runtime import checkpoint, files, log, metrics, parallel, settings
from robustjax.runtime.preemption import Stop
from robustjax.runtime.profile import Profile
from robustjax.training import average, loop
from robustjax.training.state import TrainState

# What the run's randomness is for: each purpose has a key of its own.
_INIT, _TRAIN, _VALIDATION, _EVALUATION = range(4)


def evaluation_key(seed: int) -> jax.Array:
  """The PRNG key of an evaluation's targets and starts."""
  return jax.random.fold_in(jax.random.key(seed), _EVALUATION)


@dataclasses.dataclass(frozen=True)
class Run:
  """One run: its configuration and what it works on.

  Attributes:
    config: checked and frozen.
    workdir: where its files are.
    data: opened and checked.
    mesh: the devices.
    stop: asked in every loop.
    hosts: the processes of the run.
    lock: from `workdir.claim`; None on processes that do not lead.
  """

  config: Config
  workdir: Path
  data: Data
  mesh: Any
  stop: Stop
  hosts: Hosts = dataclasses.field(default_factory=Hosts)
  lock: TextIO | None = None

  @property
  def leads(self) -> bool:
    """Whether this process writes the files and talks to the person."""
    return self.hosts.leads

  def close(self) -> None:
    """Leaves the folder to others."""
    if self.lock:
      self.lock.close()

  def key(self, purpose: int) -> jax.Array:
    """The PRNG key of a purpose, from the configuration's seed."""
    return jax.random.fold_in(settings.key(self.config.seed), purpose)


def train(
  run: Run,
  profiled: int = 0,
  at_peak: Callable[[str, bool], Callable[[str], float | None] | None] | None = None,
) -> TrainState:
  """Trains to the schedule's end and returns the state there, as it is evaluated.

  Args:
    run: started.
    profiled: how many steps are traced, for TensorBoard.
    at_peak: a kind of device and whether training is in float32 -> the function that
      the loop takes, if that device's peak is known.
  """
  config, mesh = run.config, run.mesh
  schedule = schedules.schedule(config)
  kind, exact = mesh.devices.flat[0].device_kind, config.model.dtype == "float32"
  state = _begin(run)
  done = int(state.step)
  _introduce(run, state, done, schedule.steps)
  with contextlib.ExitStack() as closing:  # each, also where another fails to
    directory = run.workdir / workdirs.CHECKPOINTS
    known = checkpoint.about(directory, done).records if done else ""
    tracker = pieces.tracker(config, run.workdir) if run.leads else None
    metrics_log = metrics.MetricsLog(run.workdir, done, run.leads, known, tracker)
    closing.callback(metrics_log.close)
    checkpoints = checkpoint.Checkpoints(
      directory,
      loop.BEST,
      configs.plain(config) | workdirs.with_files(run.data.digest()),
      metrics_log.digest,
    )
    closing.callback(checkpoints.close)
    if done < schedule.steps:
      state = loop.train(
        state,
        steps.train_steps(config, mesh),
        train_batches(config, run.data.train, mesh, done),
        run.key(_TRAIN),
        schedule,
        validate=steps.validation(config, run.data.test, mesh, run.key(_VALIDATION)),
        checkpoints=checkpoints,
        metrics_log=metrics_log,
        stop=run.stop,
        skipped=_skipped(run) if run.leads else 0,
        shows=run.leads,
        profile=Profile(run.workdir / metrics.BOARD, profiled, run.leads),
        at_peak=at_peak(kind, exact) if at_peak and run.leads else None,
      )
  return average.evaluated(state)


def _begin(run: Run) -> TrainState:
  """The latest state that is saved and whole, or the first one."""
  config, mesh = run.config, run.mesh
  directory = run.workdir / workdirs.CHECKPOINTS
  there = checkpoint.steps(directory)
  run.hosts.agree({"the saved steps": there}, remedy=processes.ONE_WORKDIR)
  if not there:
    initial = parallel.once(lambda key: steps.initial_state(config, key))
    state = parallel.replicate(initial(run.key(_INIT)), mesh)
    return pretrained.weights(config, state, mesh) if config.init.run else state
  state, damaged = saved.newest(config, run.workdir, mesh)
  damaged |= saved.damaged_before(run.workdir, int(state.step))
  run.hosts.agree({"the damaged checkpoints": sorted(damaged)})
  if run.leads:
    for step, error in damaged.items():
      aside = files.set_aside(directory / str(step))
      log.complain(f"{error}; it is {aside.name} now. Step {int(state.step)} is whole")
  run.hosts.agree({})  # nobody opens the folder before
  return state


def _skipped(run: Run) -> int:
  """How many broken images the steps so far passed over, from their records."""
  records = metrics.read_metrics(run.workdir / metrics.METRICS)
  return sum(r.get("skipped", 0) for r in records if r["split"] == "train")


def evaluation(run: Run, state: TrainState) -> dict[str, Any]:
  """Counts every test image through every branch at every reading."""
  config, values = run.config, run.config.eval
  indices = sample.indices(run.data.test, values.images)
  identity = evaluation_identity(config)
  if isinstance(indices, list):  # counts of an older version are of the first ones
    identity["sample"] = files.digest({"indices": indices})[:16]

  def batches_from(done: int) -> Any:
    left = indices[done * values.batch_size :]
    return images_of(config, run.data.test).batches(left, values.batch_size, run.mesh)

  # Where one host sees fewer counts than another, they would take other batches.
  branches = network.branches(config, state.variables)
  counted = evaluate.done(
    run.workdir, identity, list(branches), values.images, values.batch_size
  )
  facts = {"the number of evaluated batches": counted}
  run.hosts.agree(facts, remedy=processes.ONE_WORKDIR)
  results = evaluate.evaluate(
    steps.evaluation_steps(config, run.mesh),
    branches,
    batches_from,
    key=evaluation_key(config.seed),
    plan=trajectory.trajectories(values.readings, values.eps, values.step_size),
    eps=values.eps,
    images=values.images,
    batch_size=values.batch_size,
    identity=identity,
    workdir=run.workdir,
    stop=run.stop,
    shows=run.leads,
  )
  if adaptive := attack(run, state):
    results["adaptive"] = adaptive
  guesses = configs.guesses(config)
  return {
    "step": int(state.step),
    **results,
    "guesses": guesses,
    "identity": evaluation_identity(config),
    workdirs.RUN: workdirs.digest(config),
  }


def attack(run: Run, state: TrainState) -> list[dict[str, Any]]:
  """Attacks every branch without a target, adaptively: what its robustness is.

  Returns:
    For each branch what was attacked with, and how many images it left.
  """
  config, values, mesh = run.config, run.config.eval, run.mesh
  if not values.attack:
    return []
  platform = parallel.platform(mesh.devices.flat[0])
  branches = network.of_run(config, state.variables, platform)
  shape = config.data.image_size, config.data.image_size, config.data.channels
  first = next(iter(branches.values()))
  programs = compiled.programs(first, steps.attacks(config), shape, mesh)
  count, found = min(values.attack_images, len(run.data.test)), []
  for name, branch in branches.items():
    _, summary = robustness.evaluate(
      branch,
      branch,
      programs,
      attack=values.attack,
      images=images_of(config, run.data.test),
      indices=sample.indices(run.data.test, count),
      data=data_names(config),
      step=int(state.step),
      seed=config.seed,
      batch_size=images_a_device(platform),
      mesh=mesh,
      folder=run.workdir,
      hosts=run.hosts,
      stop=run.stop,
    )
    counts = {key: summary[key] for key in ("images", "clean", "robust")}
    found.append({"branch": name, "attack": values.attack, "eps": values.eps, **counts})
  return found


def finish(run: Run, evaluation: dict[str, Any]) -> None:
  """Writes evaluation.json: the run is complete, and may be ended at any time.

  For the process that leads.

  Args:
    run: trained and evaluated.
    evaluation: from `evaluation`.
  """
  files.write_json(run.workdir / workdirs.EVALUATION, evaluation)
  (run.workdir / evaluate.PROGRESS).unlink(missing_ok=True)
  run.stop.at_once("stopped; but for the look inside, which the same command makes")


def evaluation_identity(config: Config) -> dict[str, Any]:
  """What the counts of an evaluation depend on, beside the trained weights."""
  values, name = configs.plain(config)["eval"], config.data.name
  return {
    "step": schedules.schedule(config).steps,
    "seed": config.seed,
    "data": "a folder" if sources.is_path(name) else f"{name}:{config.data.version}",
    **{name: text for name, text in data_names(config).items() if name != "data"},
    **network.evaluation_precision(config),
    **values,
  }


def _introduce(run: Run, state: TrainState, done: int, steps: int) -> None:
  config, devices = run.config, run.mesh.devices
  count = parameter_overview.count_parameters(state.params)
  log.say(
    f"{config.setting} at {config.scale} scale: {count:,} parameters on {devices.size}"
    f" {devices.flat[0].platform} device{'s' if devices.size > 1 else ''}",
    run.leads,
  )
  if guesses := configs.guesses(config):
    guessed = "Guesses, which neither the paper nor its training pipeline settles"
    log.say(f"{guessed}: {', '.join(guesses)}", run.leads)
  if odd := configs.odd(config):
    log.say(f"Odd, and perhaps not meant: {'; '.join(odd)}", run.leads)
  for split, source in run.data._asdict().items():
    if left_out := getattr(source.records, "left_out", ""):
      log.say(f"No images of the {split} split: {left_out}", run.leads)
  begins = (
    f"goes on from step {done} of {steps}" if done else f"has {steps} steps to go"
  )
  log.say(
    f"{run.workdir} {begins}; the first one compiles. To watch it: tensorboard"
    f" --logdir={shlex.quote(str(run.workdir))}",
    run.leads and done < steps,
  )
