"""The network of a configuration, and the branches of its variables."""

import functools
from collections.abc import Callable, Container, Mapping
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from robustjax.config import Config
from robustjax.errors import UserError
from robustjax.evaluation.network import Network
from robustjax.models import norm as norms
from robustjax.models import residual, resnet
from robustjax.run import pieces


def network(
  config: Config,
  platform: str,
  *,
  attacked: bool = False,
  plain: bool = False,
  exact: bool = False,
) -> nn.Module:
  """The network of a configuration: a ResNet, or a piece with its call.

  Args:
    config: checked.
    platform: where it will run, from `parallel.platform`.
    attacked: for use inside an attack's loop.
    plain: with a single branch, for variables from `norm.branch_of`.
    exact: computed in float32, as evaluations are, whatever training computes in.
      Where float32 is meant it is at full precision: by themselves TPUs multiply it in
      bfloat16, and GPUs in TF32.
  """
  if is_resnet(config):
    return resnet_of(config, platform, attacked=attacked, plain=plain, exact=exact)
  made = own(config, platform, attacked=attacked, plain=plain, exact=exact)
  if not isinstance(net := made.make(), nn.Module):
    kind = type(net).__name__
    raise UserError(f"{made} returns a {kind}: it must return a Flax module")
  return net


def is_resnet(config: Config) -> bool:
  """Whether the network is this project's, and no piece."""
  return config.model.network == "resnet"


def own(
  config: Config,
  platform: str = "cpu",
  *,
  attacked: bool = False,
  plain: bool = False,
  exact: bool = False,
) -> pieces.Piece:
  """The function that makes a network that is a piece; arguments as `network`'s."""
  model = config.model
  dtype, precision = _precision(config, exact)
  method = _method(config, platform, attacked)
  values = {
    "classes": config.data.classes,
    "norm": _norm(config, plain),
    "conv": functools.partial(residual.conv, model.padding, method, dtype, precision),
    "dtype": dtype,
    "precision": precision,
    "width": model.width,
    "stages": tuple(model.stages),
    "activation": model.activation,
    "input_mean": tuple(model.input_mean),
    "input_std": tuple(model.input_std),
    "remat": model.remat,
  }
  return pieces.piece(config, "model.network", values)


def _norm(config: Config, plain: bool) -> Callable[..., nn.Module]:
  """A maker of norm layers, each with a branch for each domain or with a single one."""
  model, both = config.model, ("clean", "adv")
  if model.norm == "gn":
    return norms.group(model.gn_groups)
  if model.norm in ("bn", "mbn"):
    return norms.batch(both if model.norm == "mbn" and not plain else ("all",))
  values = {"domains": ("all",) if plain else both, "gn_groups": model.gn_groups}
  made = pieces.piece(config, "model.norm", values)
  if not callable(maker := made.make()):
    kind = type(maker).__name__
    raise UserError(f"{made} returns a {kind}: it must return a maker of layers")
  return maker


def separate(config: Config) -> bool:
  """Whether each domain has a branch of its own: Mixture BN, or a norm that is such.

  Raises:
    UserError: a norm that is a piece makes no layers.
  """
  if config.model.norm in ("bn", "mbn", "gn"):
    return config.model.norm == "mbn"
  maker = _norm(config, plain=False)
  x = jax.ShapeDtypeStruct((2, 4, 4, 2 * config.model.gn_groups), jnp.float32)
  try:
    layer = maker(domain="adv", statistics="running", groups=1, dtype=jnp.float32)
    variables = jax.eval_shape(lambda x: layer.init(jax.random.key(0), x), x)
  except Exception as error:  # whatever somebody's code raises
    what = f"config.model.norm: {config.model.norm}"
    raise UserError(
      f"{what} makes no layer of {x.shape}: {pieces.told(error)}"
    ) from error
  return norms.has_branches(variables)


def resnet_of(
  config: Config,
  platform: str,
  *,
  attacked: bool = False,
  plain: bool = False,
  exact: bool = False,
) -> resnet.ResNet:
  """The ResNet that a configuration says; arguments as `network`'s."""
  model = config.model
  dtype, precision = _precision(config, exact)
  return resnet.make(
    tuple(model.stages) or model.depth,
    norm=_norm(config, plain),
    num_classes=config.data.classes,
    block=model.block or None,
    width=model.width,
    stem=model.stem,
    padding=model.padding,
    input_mean=tuple(model.input_mean),
    input_std=tuple(model.input_std),
    bottleneck=model.bottleneck,
    cardinality=model.cardinality,
    activation=model.activation,
    non_local=model.non_local,
    dtype=dtype,
    precision=precision,
    method=_method(config, platform, attacked),
    scan=model.scan,
    remat="none" if attacked and _keeps_signs_alone(config) else model.remat,
    # TPUs wait for memory, and would keep the activations (benchmarks/README.md).
    keep_signs=attacked and platform.startswith("tpu"),
  )


def _precision(config: Config, exact: bool) -> tuple[Any, Literal["highest"] | None]:
  dtype = jnp.dtype("float32" if exact else config.model.dtype)
  return dtype, "highest" if dtype == jnp.float32 else None


def _method(config: Config, platform: str, attacked: bool) -> residual.Method:
  """How convolutions are computed."""
  if platform == "cpu" and (attacked or config.model.scan):  # in a loop
    return "looped"
  return "fenced" if platform == "tpu v6e" else "lax"


def _keeps_signs_alone(config: Config) -> bool:
  """Whether the gradient by pixel needs no more of activations than their signs.

  To keep them takes no more memory than to keep the blocks' inputs, and no second
  forward pass in every step of the attack (benchmarks/README.md). Group norm's gradient
  also needs what it normalised, in float32; GELU's what comes in; and that of non-local
  blocks their factors.
  """
  model = config.model
  others = model.activation, model.non_local
  return model.norm != "gn" and others == ("relu", "none")


def logits_fn(
  config: Config, platform: str, *, attacked: bool = False, exact: bool = False
) -> Callable[[Mapping[str, Any], jax.Array], jax.Array]:
  """(variables of one branch, images [n, h, w, c] in 0..255) to logits [n, k].

  Args:
    config: checked.
    platform: where it will run, from `parallel.platform`.
    attacked: for use inside an attack's loop.
    exact: in float32, see `network`.
  """
  net = network(config, platform, attacked=attacked, plain=True, exact=exact)

  def logits(variables: Mapping[str, Any], images: jax.Array) -> jax.Array:
    return net.apply(variables, images)  # type: ignore[return-value] # none mutable

  return logits


def evaluation_precision(config: Config) -> dict[str, str]:
  """What an evaluation's identity says of precision: only where training had less."""
  return {} if config.model.dtype == "float32" else {"precision": "float32"}


def branches(config: Config, variables: Mapping[str, Any]) -> dict[str, Any]:
  """Branch name -> variables of the network with that branch alone.

  MBN has "clean" and "adv", as a norm has that keeps a branch for each domain; plain BN
  and GN have one branch, "all".
  """
  if not separate(config):
    return {"all": dict(variables)}
  return {
    "clean": norms.branch_of(dict(variables), "clean"),
    "adv": norms.branch_of(dict(variables), "adv"),
  }


def usual(names: Container[str]) -> str:
  """The branch that is meant where nobody names one: adv where there are two."""
  return "adv" if "adv" in names else "all"


def of_run(
  config: Config, variables: Mapping[str, Any], platform: str
) -> dict[str, Network]:
  """Branch name -> that branch of a run's network, as evaluations take it: exact."""
  name = f"{config.setting}-{config.scale}"  # not its folder, which may move
  logits = logits_fn(config, platform, exact=True)
  attacked = logits_fn(config, platform, attacked=True, exact=True)
  precision = evaluation_precision(config)
  return {
    branch: Network(name, branch, of_branch, logits, attacked, precision)
    for branch, of_branch in branches(config, variables).items()
  }
