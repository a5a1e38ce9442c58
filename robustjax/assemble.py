"""From a configuration to the pieces of a run, which know plain values alone.

main puts them together; tests and tools take the same pieces, so what they look at is
what runs.
"""

import functools
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import ml_collections
import optax

from robustjax.attacks import pgd
from robustjax.data import pipeline, sources, transforms
from robustjax.errors import UserError
from robustjax.evaluation import trajectory
from robustjax.models import norm as norms
from robustjax.models import resnet
from robustjax.runtime import parallel
from robustjax.training import loop, optimizer, state, step

Config: TypeAlias = ml_collections.ConfigDict


def network(
  config: Config, platform: str, *, attacked: bool = False, plain: bool = False
) -> resnet.ResNet:
  """The network of a configuration.

  Args:
    config: checked.
    platform: where it will run, from `parallel.platform`.
    attacked: for use inside an attack's loop.
    plain: with a single branch, for variables from `norm.branch_of`.
  """
  model = config.model
  if model.norm == "gn":
    norm = norms.group(model.gn_groups)
  else:
    mixture = model.norm == "mbn" and not plain
    norm = norms.batch(("clean", "adv") if mixture else ("all",))
  method: resnet.Method = "fenced" if platform == "tpu v6e" else "lax"
  if platform == "cpu" and (attacked or model.scan):  # in a loop
    method = "shifted"
  return resnet.make(
    tuple(model.stages) or model.depth,
    norm=norm,
    num_classes=config.data.classes,
    block=model.block or None,
    width=model.width,
    stem=model.stem,
    dtype=jnp.dtype(model.dtype),
    method=method,
    scan=model.scan,
    # The gradient by pixel needs the signs of activations alone. To keep them takes no
    # more memory than to keep the blocks' inputs, and no second forward pass in every
    # step of the attack (benchmarks/README.md). Group norm's also needs what it
    # normalised, in float32.
    remat="none" if attacked and model.norm != "gn" else model.remat,
  )


def schedule(config: Config) -> loop.Schedule:
  """How long the run trains, in steps."""
  train = config.train
  per_epoch = pipeline.steps_per_epoch(config.data.train_examples, train.batch_size)
  running = train.running_statistics_epochs
  return loop.Schedule(
    steps=round(train.epochs * per_epoch),
    steps_per_epoch=per_epoch,
    batch_size=train.batch_size,
    save_every=max(1, round(train.save_every_epochs * per_epoch)),
    log_every=train.log_every_steps,
    running_from=round((train.epochs - running) * per_epoch) if running else None,
  )


def make_optimizer(config: Config) -> optax.GradientTransformation:
  """The optimiser, its learning rate scheduled."""
  values = config.optimizer
  learning_rate = optimizer.step_schedule(
    peak=values.lr_per_256 * config.train.batch_size / 256,
    steps_per_epoch=schedule(config).steps_per_epoch,
    warmup_epochs=values.warmup_epochs,
    warmup_from=values.warmup_from,
    decay_epochs=_decay_epochs(config),
    decay_factor=values.decay_factor,
  )
  common = {
    "momentum": values.momentum,
    "nesterov": values.nesterov,
    "weight_decay": values.weight_decay,
  }
  if values.name == "rmsprop":
    decay, eps = values.rmsprop_decay, values.rmsprop_eps
    made = optimizer.rmsprop(learning_rate, decay=decay, eps=eps, **common)
  else:
    made = optimizer.sgd(learning_rate, **common)
  norm_alone = config.train.parameters == "norm"
  return optimizer.norms_alone(made) if norm_alone else made


def _decay_epochs(config: Config) -> tuple[float, ...]:
  every, epochs = config.optimizer.decay_every, config.train.epochs
  if not every:
    return tuple(config.optimizer.decay_epochs)
  return tuple(every * i for i in range(1, math.ceil(epochs / every)))


def initial_state(config: Config, key: jax.Array) -> state.TrainState:
  """The state before the first step; works under `jax.eval_shape`."""
  data = config.data
  shape = (data.image_size, data.image_size, data.channels)
  init = functools.partial(resnet.initial, network(config, "cpu"))
  return state.create(init, make_optimizer(config), key, shape)


def abstract_state(config: Config) -> state.TrainState:
  """The shapes and dtypes of the state."""
  return jax.eval_shape(lambda key: initial_state(config, key), jax.random.key(0))


def attack_step(config: Config, platform: str) -> step.Step:
  """The per-device step that makes adversarial images as training does."""
  values = config.attack
  attack = pgd.PGD(values.eps, values.step_size, values.steps, values.clean_start)
  net = network(config, platform, attacked=True)
  return step.make_attack_step(net.apply, attack, config.data.classes)


def train_step(
  config: Config,
  platform: str,
  statistics: str = "batch",
  axis: str | None = parallel.AXIS,
) -> step.Step:
  """The per-device train step, normalising with "batch" or "running" statistics."""
  strategy = step.Strategy(
    adv=config.loss.adv,
    clean_ratio=config.loss.clean_ratio,
    alp_weight=config.loss.alp_weight,
    label_smoothing=config.loss.label_smoothing,
    group=config.model.group,
    separate=config.model.norm == "mbn",
    statistics=statistics,
  )
  return step.make_train_step(
    network(config, platform).apply,
    attack_step(config, platform),
    strategy,
    make_optimizer(config),
    axis,
    optimizer.norms if config.train.parameters == "norm" else None,
  )


def train_steps(config: Config, mesh: Any) -> dict[str, step.Step]:
  """The mapped and compiled train steps that the schedule needs, by statistics."""
  needed = (
    ("batch", "running") if config.train.running_statistics_epochs else ("batch",)
  )
  platform = parallel.platform(mesh.devices.flat[0])
  return {
    statistics: parallel.pmap(
      train_step(config, platform, statistics), mesh, donate_argnums=(0,)
    )
    for statistics in needed
  }


def eval_step(config: Config, mesh: Any) -> step.Step:
  """The mapped and compiled validation step."""
  platform = parallel.platform(mesh.devices.flat[0])
  made = step.make_eval_step(
    network(config, platform).apply, attack_step(config, platform), parallel.AXIS
  )
  return parallel.pmap(made, mesh)


def evaluation_steps(config: Config, mesh: Any) -> trajectory.Steps:
  """The mapped and compiled functions of the evaluation."""
  platform = parallel.platform(mesh.devices.flat[0])

  def logits(attacked: bool) -> Any:
    net = network(config, platform, attacked=attacked, plain=True)
    return lambda variables, images: net.apply(variables, images)

  made = trajectory.make_steps(
    logits(False),
    logits(True),
    eps=config.eval.eps,
    num_classes=config.data.classes,
    axis=parallel.AXIS,
  )
  whole, cut = None, 0
  return trajectory.Steps(
    begin=parallel.pmap(made.begin, mesh, (cut, whole), cut),
    advance=parallel.pmap(
      made.advance, mesh, (whole, cut, cut, cut, whole, whole), cut
    ),
    read=parallel.pmap(made.read, mesh, (whole, cut, cut, cut, cut), (cut, whole)),
  )


def branches(config: Config, variables: Mapping[str, Any]) -> dict[str, Any]:
  """Branch name -> variables of the network with that branch alone.

  MBN has "clean" and "adv"; plain BN and GN have one branch, "all".
  """
  if config.model.norm != "mbn":
    return {"all": dict(variables)}
  return {
    "clean": norms.branch_of(dict(variables), "clean"),
    "adv": norms.branch_of(dict(variables), "adv"),
  }


class Data(NamedTuple):
  """The images of a run."""

  train: sources.Source
  test: sources.Source


def open_data(config: Config) -> Data:
  """Opens the data set and checks that it is what the configuration expects.

  Raises:
    UserError: it is missing or another one; one line with what to do.
  """
  data = config.data
  train, test = (
    sources.open_source(
      data.name,
      split=split,
      data_dir=data.data_dir or None,
      version=data.version,
      channels=data.channels,
    )
    for split in ("train", data.test_split)
  )
  side = None if data.transform == "imagenet" else data.image_size
  for found, wanted in zip(train.image_shape, (side, side, data.channels), strict=True):
    if None not in (found, wanted) and found != wanted:
      raise UserError(
        f"data set {data.name!r} has images of {train.image_shape}, not of"
        f" {data.image_size} x {data.image_size} x {data.channels}: mend"
        " config.data.image_size and config.data.channels"
      )
  sources.check_same_classes(train, test)
  _check_expected(config, train, test)
  return Data(train, test)


def _check_expected(
  config: Config, train: sources.Source, test: sources.Source
) -> None:
  """Refuses data of other sizes or classes, with the flags that would take them."""
  data = config.data
  found = {
    "train_examples": len(train),
    "test_examples": len(test),
    "classes": train.num_classes,
    "class_digest": sources.class_digest(train.class_names),
  }
  wrong = [name for name, value in found.items() if data[name] not in (value, "")]
  if not wrong:
    return
  what = [f"data.{name} is {found[name]}, not {data[name]}" for name in wrong]
  if "class_digest" in wrong:
    where = sources.first_difference(train.class_names, data.class_digest)
    what += [where] if where else []
  flags = [f"--config.data.{name}={found[name]}" for name in wrong]
  for name in ("eval.images", "train.validation_images"):
    section, _, key = name.partition(".")
    if config[section][key] > len(test):
      flags.append(f"--config.{name}={len(test)}")
  raise UserError(
    f"data set {data.name!r} is not the one of this configuration:"
    f" {'; '.join(what)}. Prepare the complete one again, or, if it is the one to"
    f" use, add {' '.join(flags)}"
  )


def check(config: Config, devices: int) -> None:
  """Refuses networks that do not exist, too few epochs, batches that do not divide.

  Raises:
    UserError: one line with what does exist, or the nearest sizes.
  """
  try:
    network(config, "cpu")
  except ValueError as error:
    raise UserError(f"config.model: {error}") from error
  if schedule(config).steps < 1:
    epochs = config.train.epochs
    raise UserError(f"config.train.epochs is {epochs}, less than one step")
  parallel.check_divides(
    config.train.batch_size, devices, config.model.group, "config.train.batch_size"
  )
  parallel.check_divides(config.eval.batch_size, devices, name="config.eval.batch_size")


def train_batches(
  config: Config, source: sources.Source, mesh: Any, first_step: int
) -> Iterator[step.Batch]:
  """The batches of training from a step on, on the devices."""
  data = config.data
  local = pipeline.train_batches(
    source,
    transforms.by_name(data.transform, train=True, size=data.image_size),
    seed=config.seed,
    batch_size=config.train.batch_size,
    first_step=first_step,
    last_step=schedule(config).steps,
    process_index=jax.process_index(),
    process_count=jax.process_count(),
    workers=data.workers,
    skip_broken=data.broken_images == "skip",
  )
  return (parallel.shard(batch, mesh) for batch in local)


def test_batches(
  config: Config, source: sources.Source, mesh: Any, first: int, count: int
) -> Iterator[step.Batch]:
  """source[first:first + count] in padded and masked batches, on the devices."""
  data = config.data
  local = pipeline.evaluation_batches(
    source,
    transforms.by_name(data.transform, train=False, size=data.image_size),
    first=first,
    count=count,
    batch_size=config.eval.batch_size,
    process_index=jax.process_index(),
    process_count=jax.process_count(),
    workers=data.workers,
    skip_broken=data.broken_images == "skip",
  )
  return (parallel.shard(batch, mesh) for batch in local)


def validation(
  config: Config, source: sources.Source, mesh: Any, key: jax.Array
) -> Callable[[state.TrainState], dict[str, float]]:
  """State -> rates over the test split's last images, attacked as in training.

  The final evaluation takes the split's first images, so that at mini scale, where it
  does not need them all, no image serves both. Where broken images were skipped,
  "skipped" says how many.
  """
  counted = eval_step(config, mesh)
  images = config.train.validation_images

  def validate(now: state.TrainState) -> dict[str, float]:
    totals: Counter[str] = Counter()
    for batch in test_batches(config, source, mesh, len(source) - images, images):
      counts = jax.device_get(counted(now, batch, key))
      totals.update({name: int(count) for name, count in counts.items()})
    if not totals["images"]:
      raise UserError(
        f"all {images} images of the validation are broken: prepare {source.name} again"
      )
    skipped = images - totals["images"]
    return {
      "accuracy_clean": totals["correct_clean"] / totals["images"],
      "accuracy_adv": totals["correct_adv"] / totals["images"],
      "target_rate": totals["target_hits"] / totals["images"],
      **({"skipped": skipped} if skipped else {}),
    }

  return validate


def evaluation_identity(config: Config) -> dict[str, Any]:
  """What the counts of an evaluation depend on, beside the trained weights."""
  return {
    "step": schedule(config).steps,
    "seed": config.seed,
    "data": f"{config.data.name}:{config.data.version}",
    "split": config.data.test_split,
    **config.eval.to_dict(),
  }
