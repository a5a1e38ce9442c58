"""The states of a configuration and its compiled steps, on the devices.

main puts them together; tests and tools take the same pieces, so what they look at is
what runs.
"""

import functools
from collections import Counter
from collections.abc import Callable
from typing import Any

import jax

from robustjax import config as configs
from robustjax.attacks import pgd
from robustjax.attacks.balls import Ball
from robustjax.config import Config
from robustjax.data import sample, sources
from robustjax.errors import UserError
from robustjax.evaluation import suite, trajectory
from robustjax.models import resnet
from robustjax.run import pieces
from robustjax.run.data import images_of
from robustjax.run.network import logits_fn, network, separate
from robustjax.run.schedule import make_optimizer, schedule
from robustjax.runtime import parallel, settings
from robustjax.training import average, loop, optimizer, state, step


def initial_state(config: Config, key: jax.Array) -> state.TrainState:
  """The state before the first step; works under `jax.eval_shape`."""
  data = config.data
  shape = (data.image_size, data.image_size, data.channels)
  net = network(config, "cpu")
  if isinstance(net, resnet.ResNet):
    init: Callable[..., Any] = functools.partial(resnet.initial, net)
  else:
    init = net.init
  made = state.create(init, make_optimizer(config), key, shape)
  return average.begun(made) if config.optimizer.ema_decay else made


def abstract_state(config: Config) -> state.TrainState:
  """The shapes and dtypes of the state."""
  return jax.eval_shape(lambda key: initial_state(config, key), settings.key(0))


def attack_step(config: Config, platform: str) -> step.Step:
  """The per-device step that makes adversarial images as training does."""
  values, classes = config.attack, config.data.classes
  net = network(config, platform, attacked=True)
  if values.name != "pgd":
    own = attack_piece(config)
    return step.make_attack_step(net.apply, own, classes, own.sees)
  attack = pgd.PGD(values.eps, values.step_size, values.steps, values.clean_start)
  return step.make_attack_step(net.apply, attack, classes)


def attack_piece(config: Config) -> pieces.Piece:
  """The attack of training, where it is a piece."""
  values = configs.plain(config)["attack"]
  names = ("eps", "step_size", "steps", "clean_start")
  return pieces.piece(
    config,
    "attack.name",
    {name: values[name] for name in names} | {"classes": config.data.classes},
    step.ATTACK_SEES,
  )


def loss_piece(config: Config) -> pieces.Piece | None:
  """The loss of training, where it is a piece."""
  if config.loss.name == "mixture":
    return None
  values = configs.plain(config)["loss"]
  names = ("clean_ratio", "alp_weight", "label_smoothing", "beta")
  return pieces.piece(
    config,
    "loss.name",
    {name: values[name] for name in names},
    ("clean", "adv", "labels"),
  )


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
    separate=separate(config),
    statistics=statistics,
  )
  made = step.make_train_step(
    network(config, platform).apply,
    attack_step(config, platform),
    strategy,
    make_optimizer(config),
    axis,
    optimizer.norms if config.train.parameters == "norm" else None,
    loss_piece(config),
  )
  decay = config.optimizer.ema_decay
  return average.keeping(made, decay) if decay else made


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
  per_device = step.make_eval_step(
    network(config, platform).apply, attack_step(config, platform), parallel.AXIS
  )
  return parallel.pmap(per_device, mesh)


def evaluation_steps(config: Config, mesh: Any) -> trajectory.Steps:
  """The mapped and compiled functions of the evaluation, exact whatever training is."""
  platform = parallel.platform(mesh.devices.flat[0])
  per_device = trajectory.make_steps(
    logits_fn(config, platform, exact=True),
    logits_fn(config, platform, attacked=True, exact=True),
    eps=config.eval.eps,
    num_classes=config.data.classes,
    axis=parallel.AXIS,
  )
  return mapped_evaluation(per_device, mesh)


def mapped_evaluation(per_device: trajectory.Steps, mesh: Any) -> trajectory.Steps:
  """The functions of an evaluation over the devices, compiled."""
  same, split = None, 0
  return trajectory.Steps(
    begin=parallel.pmap(per_device.begin, mesh, (split, same), split),
    advance=parallel.pmap(
      per_device.advance, mesh, (same, split, split, split, same, same), split
    ),
    read=parallel.pmap(
      per_device.read, mesh, (same, split, split, split, split), (split, same)
    ),
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
  try:
    if config.eval.attack:
      suite.check(attacks(config), config.data.classes)
  except UserError as error:
    raise UserError(f"config.eval.attack: {error}") from error


def fit(config: Config, devices: int) -> bool:
  """Whether so many devices can share the batches, in whole groups."""
  training = config.train.batch_size % (devices * config.model.group) == 0
  return training and config.eval.batch_size % devices == 0


def attacks(config: Config) -> tuple[suite.Attack, ...]:
  """The adaptive attacks that an evaluation ends with."""
  return suite.named(config.eval.attack, Ball("linf", config.eval.eps))


def validation(
  config: Config, source: sources.Source, mesh: Any, key: jax.Array
) -> Callable[[state.TrainState], dict[str, float]]:
  """State -> rates over the test split's last images, attacked as in training.

  The final evaluation takes the split's first images, so that at mini scale, where it
  does not need them all, no image serves both; `sample` says which these are where a
  split is in the order of its classes. Where broken images were skipped, "skipped" says
  how many.

  Raises:
    UserError: the network has diverged, which its loss may not have shown yet.
  """
  counted = eval_step(config, mesh)
  images = config.train.validation_images
  last = sample.others(source, images)

  def validate(trained: state.TrainState) -> dict[str, float]:
    totals: Counter[str] = Counter()
    seen = average.evaluated(trained)
    for batch in images_of(config, source).batches(last, config.eval.batch_size, mesh):
      counts = jax.device_get(counted(seen, batch, key))
      totals.update({name: int(count) for name, count in counts.items()})
    if not totals["images"]:
      raise UserError(
        f"all {images} images of the validation are broken: prepare {source.name} again"
      )
    if bad := totals["not_finite"]:
      raise UserError(
        f"training diverged by step {int(trained.step)}, which is not saved: the logits"
        f" of {bad} of {totals['images']} validation images are not finite."
        f" {loop.LESS}; and start in a new --workdir"
      )
    skipped = images - totals["images"]
    return {
      "accuracy_clean": totals["correct_clean"] / totals["images"],
      "accuracy_adv": totals["correct_adv"] / totals["images"],
      "target_rate": totals["target_hits"] / totals["images"],
      **({"skipped": skipped} if skipped else {}),
    }

  return validate
