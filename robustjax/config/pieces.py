"""The pieces that a configuration names: the project's, and other people's."""

import re
from collections.abc import Mapping

# What is chosen by name: those that come with the project. Others are functions, as a
# data set may be one, too: docs/extend.md.
PIECES: Mapping[str, tuple[str, ...]] = {
  "model.network": ("resnet",),
  "model.norm": ("bn", "mbn", "gn"),
  "attack.name": ("pgd", "kl"),
  "loss.name": ("mixture", "trades"),
  "optimizer.schedule": ("steps", "cosine"),
  "train.tracker": ("", "wandb"),
}
FORM = "package.module:function"
_OWN = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*", re.ASCII)


def is_own(value: object) -> bool:
  """Whether it has the form "package.module:function"."""
  return isinstance(value, str) and bool(_OWN.fullmatch(value))


def own(flat: Mapping[str, object]) -> dict[str, str]:
  """Dotted name -> "package.module:function", of each that a configuration has.

  Args:
    flat: dotted name -> value.
  """
  names = (*PIECES, "data.name")
  return {n: str(flat[n]) for n in names if n in flat and is_own(flat[n])}
