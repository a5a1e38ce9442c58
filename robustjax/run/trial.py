"""Tries the pieces of a configuration on shapes, before anything compiles."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp

from robustjax import config as configs
from robustjax.config import Config
from robustjax.errors import UserError
from robustjax.models import norm as norms
from robustjax.run import network, pieces, schedule, steps
from robustjax.runtime import settings

_IMAGES = 4  # of a batch to try with, in groups of 2


def check(config: Config) -> None:
  """Refuses pieces that do not do what they are for.

  Args:
    config: checked; where it names no piece nothing is traced.

  Raises:
    UserError: one line that names the piece and what is wrong.
  """
  own = pieces.own(config)
  if {"model.network", "model.norm"} & own.keys():
    _network(config)
  if config.attack.name != "pgd":
    _attack(config)
  if config.loss.name != "mixture":
    _loss(config)
  if config.optimizer.schedule != "steps":
    _schedule(config)


def _network(config: Config) -> None:
  name = "model.network" if not network.is_resnet(config) else "model.norm"
  made = f"config.{name}: {configs.flatten(config)[name]}"
  if name == "model.network":
    asked = {*network.own(config).asked, "dtype", "group", "norm", "gn_groups", "remat"}
    pieces.unused(config, "model", asked)
  with _trying(f"{made} cannot begin on images {_shape(config)}"):
    variables = steps.abstract_state(config).variables
  _check_variables(config, made, variables)
  for domain in ("clean", "adv"):
    for how in (
      {"statistics": "running"},
      {"statistics": "batch", "groups": 2, "mutable": ["batch_stats"]},
    ):
      call = (
        f"(images, domain={domain!r}, statistics={how['statistics']!r}, groups=...)"
      )
      with _trying(f"{made} cannot be called as {call}"):
        out = _applied(config, variables, domain=domain, **how)
      logits, changed = out if "mutable" in how else (out, None)
      _check_logits(config, made, logits)
      if changed is not None and variables["batch_stats"]:
        _check_same(f"{made}: batch_stats", changed.get("batch_stats"), variables)


def _applied(config: Config, variables: Any, **how: Any) -> Any:
  net = network.network(config, "cpu")
  return jax.eval_shape(lambda v, x: net.apply(v, x, **how), variables, _images(config))


def _check_variables(config: Config, made: str, variables: Mapping[str, Any]) -> None:
  branched, separate = norms.has_branches(dict(variables)), network.separate(config)
  if separate and not branched:
    raise UserError(
      f"{made} has no norm with branches, as config.model.norm={config.model.norm} has:"
      " make its norm layers with the argument norm"
    )
  if separate and not (config.loss.adv and config.loss.clean_ratio):
    raise UserError(
      f"config.model.norm is {config.model.norm!r}, whose clean or adv branch would"
      " never be trained here: set loss.adv and a loss.clean_ratio above 0"
    )
  running = config.train.running_statistics_epochs
  if running and not variables["batch_stats"]:
    raise UserError(
      f"config.train.running_statistics_epochs is {running}, and {made} has no running"
      " statistics: set it to 0"
    )
  if separate:
    plain = network.network(config, "cpu", plain=True)
    alone = norms.branch_of(dict(variables), "adv")
    with _trying(f"{made}: one branch of it does not fit it with norm(('all',))"):
      jax.eval_shape(plain.apply, alone, _images(config))


def _check_logits(config: Config, made: str, logits: Any) -> None:
  wanted = [_IMAGES, config.data.classes]
  found = list(getattr(logits, "shape", ())) or type(logits).__name__
  if found != wanted or not jnp.issubdtype(logits.dtype, jnp.floating):
    raise UserError(
      f"{made} makes {found} of images {_shape(config)}: it must return logits {wanted}"
    )


def _check_same(what: str, found: Any, variables: Mapping[str, Any]) -> None:
  wanted = variables["batch_stats"]
  if jax.tree.map(jnp.shape, found) != jax.tree.map(jnp.shape, wanted):
    raise UserError(f"{what} have other shapes after a batch than before it")


def _attack(config: Config) -> None:
  attack = steps.attack_piece(config)
  pieces.unused(config, "attack", attack.asked)
  step = steps.attack_step(config, "cpu")
  with _trying(f"{attack} cannot attack images {_shape(config)}"):
    found = jax.eval_shape(step, steps.abstract_state(config), *_batch(config))[0]
  if (getattr(found, "shape", None), found.dtype) != (_shape(config), jnp.float32):
    raise UserError(
      f"{attack} makes {found.dtype}{list(found.shape)} of images {_shape(config)}: it"
      " must return as many of that shape, float32"
    )


def _loss(config: Config) -> None:
  loss = steps.loss_piece(config)
  assert loss
  asked = {*loss.asked, "adv", "clean_ratio"}
  pieces.unused(config, "loss", asked)
  has = {"clean": config.loss.clean_ratio, "adv": config.loss.adv}
  for domain, there in has.items():
    if domain in loss.sees and not there:
      raise UserError(
        f"{loss} asks for {domain} logits, which a setting with config.loss.adv="
        f"{config.loss.adv} and .clean_ratio={config.loss.clean_ratio} has not"
      )
  logits = jax.ShapeDtypeStruct((2, 2, config.data.classes), jnp.float32)
  labels = jax.ShapeDtypeStruct((2, 2), jnp.int32)
  given = {domain: logits for domain, there in has.items() if there}
  with _trying(f"{loss} cannot be computed of logits {list(logits.shape)}"):
    found = jax.eval_shape(loss, **given, labels=labels)
  value, others = found if isinstance(found, tuple) and len(found) == 2 else (None, 0)
  if not (
    isinstance(others, dict) and all(_is_scalar(x) for x in (value, *others.values()))
  ):
    raise UserError(
      f"{loss} must return a float32 scalar and a dictionary of more, to be recorded:"
      f" (loss, {{name: scalar}})"
    )
  if clash := {"loss", "loss_clean", "loss_adv", "grad_norm", "skipped",
               "accuracy_clean", "accuracy_adv"} & others.keys():  # fmt: skip
    raise UserError(f"{loss} records {clash.pop()!r}, which a step does already")


def _schedule(config: Config) -> None:
  made = schedule.rate(config)
  with _trying(f"{made} makes no learning rate of a step"):
    found = jax.eval_shape(made.make(), jax.ShapeDtypeStruct((), jnp.int32))
  if not _is_scalar(found):
    raise UserError(f"{made} must return a function from a step to a scalar")


def _is_scalar(x: Any) -> bool:
  return getattr(x, "shape", None) == () and jnp.issubdtype(x.dtype, jnp.floating)


def _shape(config: Config) -> tuple[int, ...]:
  data = config.data
  return _IMAGES, data.image_size, data.image_size, data.channels


def _images(config: Config) -> jax.ShapeDtypeStruct:
  return jax.ShapeDtypeStruct(_shape(config), jnp.float32)


def _batch(config: Config) -> tuple[dict[str, Any], Any]:
  ints = jax.ShapeDtypeStruct((_IMAGES,), jnp.int32)
  image = jax.ShapeDtypeStruct(_shape(config), jnp.uint8)
  batch = {"image": image, "label": ints, "index": ints}
  return batch, jax.eval_shape(lambda: settings.key(0))


@contextmanager
def _trying(what: str) -> Iterator[None]:
  """What somebody's code raises becomes a line."""
  try:
    yield
  except UserError as error:  # to which JAX adds lines
    raise UserError(str(error).splitlines()[0]) from error
  except Exception as error:
    raise UserError(f"{what}: {pieces.told(error)}") from error
