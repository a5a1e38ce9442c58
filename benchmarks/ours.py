"""robustjax's side of a comparison, in a process of its own: see `turns.serve`.

python -m benchmarks.ours CASE FOLDER

Writes into FOLDER what the other side computes the same with: the network's variables,
images, and what comes out here. What is timed is what training and evaluation run.
"""

import dataclasses
import functools
import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import cases, machine, turns
from benchmarks.cases import CASES, Case
from robustjax import config as configs
from robustjax.attacks import pgd
from robustjax.config import Config
from robustjax.evaluation import trajectory
from robustjax.run import network, steps
from robustjax.run.schedule import make_optimizer
from robustjax.runtime import parallel

_KEY = 1  # of starts and targets
_SIDE = machine.SIDE


def configured(case: Case) -> Config:
  """The configuration of a case."""
  module = importlib.import_module(f"experiments.{case.experiment}")
  config: Config = module.get_config(case.variant)
  for name, value in case.changes.items():
    configs.change(config, name, value, "the benchmark")
  configs.change(config, "train.batch_size", case.images, "the benchmark")
  return config


def batch_of(config: Config, images: int) -> dict[str, jax.Array]:
  """A batch of noise."""
  data, rng = config.data, np.random.default_rng(1)
  shape = images, data.image_size, data.image_size, data.channels
  return {
    "image": jnp.asarray(rng.integers(0, 256, shape, np.uint8)),
    "label": jnp.asarray(rng.integers(0, data.classes, images, np.int32)),
    "index": jnp.arange(images, dtype=jnp.int32),
    "mask": jnp.ones(images, bool),
  }


def pgd_steps(case: Case, config: Config, folder: Path) -> Callable[[], Any]:
  """An attack of `case.steps` steps, from the loop that training has."""
  state, batch = _begun(config, case)
  branch = network.usual(network.branches(config, state.variables))
  variables = network.branches(config, state.variables)[branch]
  logits = network.logits_fn(config, "cpu", attacked=True)
  attack = pgd.PGD(config.attack.eps, config.attack.step_size, case.steps)
  keys = pgd.image_keys(jax.random.key(_KEY), batch["index"])
  targets = pgd.random_targets(batch["label"], config.data.classes, keys)
  images = batch["image"].astype(jnp.float32)
  start = attack.start(images, keys)

  def share(variables: Any, *of_images: jax.Array) -> jax.Array:
    fn = lambda x: logits(variables, x)  # noqa: E731
    return attack.advance(fn, *of_images, case.steps)

  run = parallel.pmap(share, parallel.mesh(), (None, 0, 0, 0), 0)
  adv = run(variables, images, start, targets)
  found = {"logits": jax.jit(logits)(variables, images), "adv": adv}
  _hand_over(case, config, folder, variables, batch, start, targets, found)
  return lambda: run(variables, images, start, targets).block_until_ready()


def evaluation(case: Case, config: Config, folder: Path) -> Callable[[], Any]:
  """All readings of a batch through one branch."""
  state, batch = _begun(config, case)
  mesh = parallel.mesh()
  variables = network.branches(config, state.variables)["adv"]
  mapped, plan = steps.evaluation_steps(config, mesh), _plan(config)
  targets, start = mapped.begin(batch, jax.random.key(_KEY))
  images = batch["image"].astype(jnp.float32)
  logits = jax.jit(network.logits_fn(config, "cpu"))(variables, images)
  found = {"logits": logits}
  _hand_over(case, config, folder, variables, batch, start, targets, found)
  key = jax.random.key(_KEY)
  return lambda: trajectory.count_batch(mapped, variables, batch, key, plan)


def train_step(case: Case, config: Config, folder: Path) -> Callable[[], Any]:
  """Whole training steps, one after the other, each from the last one's state."""
  state, batch = _begun(config, case)
  mesh = parallel.mesh()
  key = jax.random.key(_KEY)
  attack_step = parallel.pmap(steps.attack_step(config, "cpu"), mesh, out_axes=0)
  adv, targets = attack_step(state, batch, key)
  logits = network.network(config, "cpu").apply(
    state.variables, batch["image"], domain="adv", statistics="running"
  )
  values = config.attack
  keys = pgd.image_keys(jax.random.fold_in(key, state.step), batch["index"])
  attack = pgd.PGD(values.eps, values.step_size, 0, values.clean_start)
  start = attack.start(batch["image"], keys)
  before = jax.tree.map(jnp.copy, state)  # the step takes its memory over
  step = steps.train_steps(config, mesh)["batch"]
  after, metrics = step(state, batch, key)
  found = {
    "logits": logits,
    "adv": adv,
    "loss": metrics["loss"],
    "after": cases.flat({"params": after.params, "batch_stats": after.batch_stats}),
  }
  _hand_over(case, config, folder, before.variables, batch, start, targets, found)

  def run() -> None:
    nonlocal after
    after, metrics = step(after, batch, key)
    jax.block_until_ready(metrics)

  return run


def _begun(config: Config, case: Case) -> tuple[Any, dict[str, jax.Array]]:
  state = jax.jit(lambda key: steps.initial_state(config, key))(jax.random.key(0))
  lives = cases.lively(state.variables)
  state = state.replace(params=lives["params"], batch_stats=lives["batch_stats"])
  mesh = parallel.mesh()
  return parallel.replicate(state, mesh), parallel.shard(
    batch_of(config, case.images), mesh
  )


def _hand_over(
  case: Case,
  config: Config,
  folder: Path,
  variables: Any,
  batch: Any,
  start: jax.Array,
  targets: jax.Array,
  found: dict[str, Any],
) -> None:
  cases.save(folder, "variables", variables)
  given = {"images": batch["image"], "labels": batch["label"]}
  cases.save(folder, "given", given | {"start": start, "targets": targets})
  cases.save(folder, "found", found)
  net, values = network.network(config, "cpu"), config.optimizer
  attack = config.eval if case.kind == "evaluation" else config.attack
  facts = {
    "stages": list(net.stages),
    "stride": 1 if net.stem == "small" else 2,
    "padding": net.padding,
    "eps": attack.eps,
    "step_size": attack.step_size,
    "steps": case.steps or config.attack.steps,
    "plan": [dataclasses.asdict(planned) for planned in _plan(config)],
    "alp_weight": config.loss.alp_weight,
    "smoothing": config.loss.label_smoothing,
    "batches": case.images // config.model.group,
    "rate": _rate(config),
    "momentum": values.momentum,
    "weight_decay": values.weight_decay,
  }
  (folder / "facts.json").write_text(json.dumps(facts))


def _rate(config: Config) -> float:
  """The learning rate of the first step, as the optimiser takes it."""
  one = {"bias": jnp.ones(())}  # no kernel, which would decay
  update, _ = (optimizer := make_optimizer(config)).update(
    one, optimizer.init(one), one
  )
  return float(-update["bias"]) / (1 + config.optimizer.momentum)


def fits(case: Case, config: Config, devices: int) -> bool:
  """Whether a case's batch can be cut over so many devices, as the commands cut it."""
  if case.kind == "train":
    return steps.fit(config, devices)
  return case.images % devices == 0


def work(case: Case, config: Config) -> int:
  """What of an image a call does, in the case's unit: steps, or the image itself."""
  if case.kind == "evaluation":
    return sum(t.readings[-1] for t in _plan(config))
  return case.steps or 1


def _plan(config: Config) -> list[trajectory.Trajectory]:
  values = config.eval
  return trajectory.trajectories(values.readings, values.eps, values.step_size)


MAKERS = {"pgd": pgd_steps, "train": train_step, "evaluation": evaluation}


def main() -> None:
  """The command line; see the module's docstring."""
  name, folder = sys.argv[1:]
  case = CASES[name]

  def prepare() -> tuple[turns.Forms, dict[str, Any]]:
    config = configured(case)
    parallel.a_device_a_core(fits=functools.partial(fits, case, config))
    run = MAKERS[case.kind](case, config, Path(folder))
    square = jax.random.normal(jax.random.key(0), (_SIDE, _SIDE))
    product = jax.jit(jnp.matmul)
    return {
      "robustjax": run,
      "matrices, XLA": lambda: product(square, square).block_until_ready(),
    }, {"work": case.images * work(case, config)}

  turns.serve(prepare)


if __name__ == "__main__":
  main()
