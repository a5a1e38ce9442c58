"""A function of somebody else's as a network, whatever computes its logits."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from robustjax.data.sources import Source
from robustjax.errors import UserError
from robustjax.evaluation.network import Logits, Network
from robustjax.run import pieces


def network(what: str, shape: tuple[int, int, int], source: Source) -> Network:
  """The network that a function is, with one branch, "all".

  Args:
    what: "package.module:function", which returns a function of images [n, h, w, c]
      in 0..255 to logits [n, classes].
    shape: of an image, [h, w, c].
    source: the images that it is for.

  Raises:
    UserError: there is no such function, JAX cannot trace it on such images, or the
      source has more classes than it tells apart.
  """
  variables, logits = hoisted(what, _load(what), shape)
  _check_classes(what, variables, logits, shape, source)
  return Network(what, "all", variables, logits, logits)


def _load(what: str) -> Callable[[jax.Array], jax.Array]:
  """The logits function that package.module:function returns."""
  logits_fn = pieces.imported(what)()
  if not callable(logits_fn):
    raise UserError(
      f"{what}() returns a {type(logits_fn).__name__}: it must return a function of"
      " images [n, h, w, c] in 0..255 to logits [n, classes]"
    )
  return logits_fn


def hoisted(
  name: str, logits_fn: Callable[[jax.Array], jax.Array], shape: tuple[int, int, int]
) -> tuple[Any, Logits]:
  """The arrays that a function closes over, and the function of them and of images.

  As arguments they lie in memory once; as constants they would be in every program,
  which takes long to compile.

  Raises:
    UserError: it cannot be traced, in its own words, or returns no logits.
  """

  def traced(count: int) -> Any:
    return jax.make_jaxpr(logits_fn)(jax.ShapeDtypeStruct((count, *shape), jnp.float32))

  try:
    first = traced(2)
  except Exception as error:  # whatever somebody's code raises
    raise UserError(
      f"{name} cannot be computed by JAX on images {[2, *shape]}: {pieces.told(error)}"
    ) from error
  shapes = [list(out.shape) for out in first.out_avals]
  if len(shapes) != 1 or len(shapes[0]) != 2 or shapes[0][0] != 2:
    raise UserError(
      f"{name} makes {', '.join(map(str, shapes)) or 'nothing'} of images"
      f" {[2, *shape]}: it must return logits [2, classes] alone"
    )

  def logits(consts: Any, images: jax.Array) -> jax.Array:
    jaxpr = traced(len(images)).jaxpr
    (out,) = jax.core.eval_jaxpr(jaxpr, consts, images.astype(jnp.float32))
    return out

  return first.consts, logits


def _check_classes(
  what: str,
  variables: Any,
  logits: Logits,
  shape: tuple[int, int, int],
  source: Source,
) -> None:
  """Refuses labels that no logit stands for."""
  images = jax.ShapeDtypeStruct((2, *shape), jnp.float32)
  out = jax.eval_shape(logits, variables, images).shape
  if out[1] < source.num_classes:
    raise UserError(
      f"{source.name} has {source.num_classes} classes, and {what} tells {out[1]}"
      " apart: name data of its classes with --data"
    )
