"""Weights of other projects and of ours, from their files and into them."""

from collections.abc import Callable
from os import PathLike, fspath

import jax

from robustjax.errors import UserError
from robustjax.run import network as networks
from robustjax.runtime import parallel
from robustjax.runtime.paths import typed
from robustjax.weights import opened


def logits_fn(
  what: str | PathLike[str], branch: str | None = None
) -> Callable[[jax.Array], jax.Array]:
  """The function of images that a file of weights or a run computes.

  Args:
    what: a file of weights of any form that `python -m robustjax.weights import`
      takes, "shipped" among them, or the folder of a run: trained here or imported.
    branch: "clean" or "adv" of Mixture BN; by default "adv" of it, and of every other
      network the only branch.

  Returns:
    From pixels [n, h, w, c] of 0..255 to logits [n, classes], in float32 at full
    precision. The normaliser is in it. It may be jitted and differentiated.

  Raises:
    UserError: it cannot be read, or has no such branch.

  Examples:
    logits = jax.jit(robustjax.weights.logits_fn("R152.npz"))
    predicted = logits(images).argmax(-1)
  """
  mesh = parallel.mesh(jax.local_devices()[:1])
  config, load = opened.opened(typed(fspath(what)))
  known = networks.branches(config, load(mesh)[0])
  chosen = branch or networks.usual(known)
  if chosen not in known:
    raise UserError(f"{what} has no branch {chosen!r}: name {' or '.join(known)}")
  platform = parallel.platform(mesh.devices.flat[0])
  logits, variables = networks.logits_fn(config, platform, exact=True), known[chosen]
  return lambda images: logits(variables, images)
