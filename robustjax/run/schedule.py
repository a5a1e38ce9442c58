"""How long a run trains, and by which rule: its steps and its optimiser."""

import math
from typing import Any

import optax

from robustjax.config import Config
from robustjax.data import order
from robustjax.run import pieces
from robustjax.training import loop, optimizer


def schedule(config: Config) -> loop.Schedule:
  """How long the run trains, in steps."""
  train = config.train
  per_epoch = order.steps_per_epoch(config.data.train_examples, train.batch_size)
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
  """The optimiser, its learning rate scheduled: see `optimizer.peak_rate`."""
  values = config.optimizer
  learning_rate = rate(config).make()
  common: dict[str, Any] = {
    "momentum": values.momentum,
    "nesterov": values.nesterov,
    "weight_decay": values.weight_decay,
  }
  if values.name == "rmsprop":
    decay, eps = values.rmsprop_decay, values.rmsprop_eps
    update = optimizer.rmsprop(learning_rate, decay=decay, eps=eps, **common)
  else:
    update = optimizer.sgd(learning_rate, **common)
  norm_alone = config.train.parameters == "norm"
  return optimizer.norms_alone(update) if norm_alone else update


def rate(config: Config) -> pieces.Piece:
  """The maker of the learning rate's schedule."""
  values, length = config.optimizer, schedule(config)
  there = {
    "peak": optimizer.peak_rate(values.lr_per_256, config.train.batch_size),
    "steps": length.steps,
    "steps_per_epoch": length.steps_per_epoch,
    "warmup_epochs": values.warmup_epochs,
    "warmup_from": values.warmup_from,
    "decay_epochs": _decay_epochs(config),
    "decay_factor": values.decay_factor,
  }
  return pieces.piece(config, "optimizer.schedule", there)


def _decay_epochs(config: Config) -> tuple[float, ...]:
  every, epochs = config.optimizer.decay_every, config.train.epochs
  if not every:
    return tuple(config.optimizer.decay_epochs)
  return tuple(every * i for i in range(1, math.ceil(epochs / every)))
