"""A network as an evaluation sees it: a function of weights and images, and a name."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax

# (variables, images [n, h, w, c] in 0..255) to logits [n, k].
Logits = Callable[[Any, jax.Array], jax.Array]


class Network(NamedTuple):
  """One branch of a network.

  Attributes:
    name: where it comes from, such as "runs/mbn_alp-mini".
    branch: "clean" or "adv" of Mixture BN, else "all".
    variables: its weights, an argument of every program.
    logits: what predictions come from.
    attack_logits: the same function, perhaps computed in another way, for gradients.
    precision: what an identity says of that of both: only what training had not.
  """

  name: str
  branch: str
  variables: Any
  logits: Logits
  attack_logits: Logits
  precision: Mapping[str, str] = {}
