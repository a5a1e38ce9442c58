"""The network of a configuration, and the branches of its variables."""

from collections.abc import Callable, Container, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from robustjax.config import Config
from robustjax.evaluation.network import Network
from robustjax.models import norm as norms
from robustjax.models import residual, resnet


def network(
  config: Config,
  platform: str,
  *,
  attacked: bool = False,
  plain: bool = False,
  exact: bool = False,
) -> resnet.ResNet:
  """The network of a configuration.

  Args:
    config: checked.
    platform: where it will run, from `parallel.platform`.
    attacked: for use inside an attack's loop.
    plain: with a single branch, for variables from `norm.branch_of`.
    exact: computed in float32, as evaluations are, whatever training computes in.
      Where float32 is meant it is at full precision: by themselves TPUs multiply it in
      bfloat16, and GPUs in TF32.
  """
  model = config.model
  dtype = jnp.dtype("float32" if exact else model.dtype)
  if model.norm == "gn":
    norm = norms.group(model.gn_groups)
  else:
    mixture = model.norm == "mbn" and not plain
    norm = norms.batch(("clean", "adv") if mixture else ("all",))
  method: residual.Method = "fenced" if platform == "tpu v6e" else "lax"
  if platform == "cpu" and (attacked or model.scan):  # in a loop
    method = "looped"
  return resnet.make(
    tuple(model.stages) or model.depth,
    norm=norm,
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
    precision="highest" if dtype == jnp.float32 else None,
    method=method,
    scan=model.scan,
    remat="none" if attacked and _keeps_signs_alone(config) else model.remat,
    # TPUs wait for memory, and would keep the activations (benchmarks/README.md).
    keep_signs=attacked and platform.startswith("tpu"),
  )


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

  MBN has "clean" and "adv"; plain BN and GN have one branch, "all".
  """
  if config.model.norm != "mbn":
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
