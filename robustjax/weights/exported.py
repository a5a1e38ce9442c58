"""A run as a file: a branch with PyTorch's names or FD's, or all of it with ours."""

import ast
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from robustjax import config as configs
from robustjax.config import Config
from robustjax.errors import UserError
from robustjax.models import blocks
from robustjax.run import network as networks
from robustjax.run import pieces
from robustjax.runtime import files
from robustjax.weights import layouts, pytorch, safetensors, torchfiles
from robustjax.weights.files import File

Form = Literal["torchvision", "fd", "safetensors", "robustjax"]
FORMS: tuple[Form, ...] = ("torchvision", "fd", "safetensors", "robustjax")

# What says, in PyTorch's files, which network the arrays are of: other programs pass it
# over.
MARK = "robustjax."
_SAID = (
  "data.channels", "data.classes", "data.image_size", "data.interpolation",
  "data.orientation", "data.resize", "data.transform", "eval.eps", "model.activation",
  "model.block", "model.bottleneck", "model.cardinality", "model.depth",
  "model.input_mean", "model.input_std", "model.padding", "model.stages", "model.stem",
  "model.width", "scale",
)  # fmt: skip
# And what a file of all branches says besides, which one branch has no need of.
_SAID_OF_ALL = (
  "loss.clean_ratio", "model.gn_groups", "model.non_local", "model.norm",
)  # fmt: skip


def arrays(
  config: Config, variables: Mapping[str, Any], branch: str | None, form: Form
) -> dict[str, np.ndarray]:
  """A network by the names of a layout: one branch, or all with our own names.

  Args:
    config: of the run.
    variables: its "params" and "batch_stats".
    branch: by default "adv" of Mixture BN, else the only one; none of "robustjax".
    form: whose names; "robustjax" are those of the tree, "params/fc/bias".

  Raises:
    UserError: there is no such branch, or the layout cannot hold the network.
  """
  if own := {n: v for n, v in pieces.own(config).items() if n.startswith("model.")}:
    name, what = next(iter(own.items()))
    raise UserError(
      f"no form has room for config.{name}={what}: export a ResNet with BN, MBN or GN"
    )
  if form == "robustjax":
    if branch:
      raise UserError("robustjax is the form of all branches: leave --branch out")
    return layouts.to_ours(blocks.unstack(dict(variables)))
  if config.model.norm == "gn":
    raise UserError(f"{form} has no room for group norm: take --to=robustjax")
  for is_so, what in _not_held(config, form):
    if is_so:
      raise UserError(f"{form} has no room for {what}: take --to=safetensors")
  have = networks.branches(config, variables)
  chosen = branch or networks.usual(have)
  if chosen not in have:
    raise UserError(f"no branch {chosen!r}: name {' or '.join(have)} with --branch")
  alone = blocks.unstack(have[chosen])
  named = layouts.to_fd(alone) if form == "fd" else layouts.to_torch(alone)
  return dict(sorted(named.items()))  # in an order that no history of a run changes


def _not_held(config: Config, form: Form) -> Iterator[tuple[Any, str]]:
  model = config.model
  if form == "torchvision":
    yield from pytorch.not_held(config)
  if form == "fd":
    scaled = {*model.input_mean, *model.input_std}
    yield model.stem != "imagenet", f"config.model.stem={model.stem!r}, only 'imagenet'"
    yield scaled != {127.5}, "config.model.input_mean and .input_std, only 127.5"
    yield model.padding != "SAME", f"config.model.padding={model.padding!r}, only SAME"
    yield model.activation != "relu", f"config.model.activation={model.activation!r}"


def write(
  config: Config, named: Mapping[str, np.ndarray], form: Form, out: Path
) -> None:
  """Writes arrays in a form; the same bytes for the same network.

  Args:
    config: of the run.
    named: from `arrays`.
    form: of the file.
    out: where it is not yet.

  Raises:
    UserError: there is a file, or it cannot be written.
  """
  if out.exists():
    raise UserError(f"{out} is there already: name another file with --out")
  said = described(config, form)
  try:
    out.parent.mkdir(parents=True, exist_ok=True)
    if form == "torchvision":
      torchfiles.write(out, named, said)
    elif form != "fd":
      safetensors.write(out, named, said)
    else:
      with files.replacing(out) as file:
        np.savez(file, **named)  # type: ignore[arg-type]
  except OSError as error:
    raise UserError(
      f"{out} cannot be written ({error.strerror}): name another file with --out"
    ) from error


def described(config: Config, form: Form) -> dict[str, str]:
  """What network the arrays are of, for `values_of`: a short text for each value."""
  flat = configs.flatten(config)
  names = (*_SAID, *_SAID_OF_ALL) if form == "robustjax" else _SAID
  return {f"{MARK}{name}": json.dumps(flat[name]) for name in names}


def values_of(file: File) -> dict[str, tuple[Any, str]]:
  """What a file that was exported here says of its network.

  Args:
    file: any file of weights.

  Returns:
    Dotted name of the configuration, "scale" too -> value and its source; nothing of
    another's file.

  Raises:
    UserError: what it says is damaged.
  """
  found: dict[str, tuple[Any, str]] = {}
  for key, text in file.extras.items():
    name = key.removeprefix("__metadata__.")
    if not name.startswith(MARK):
      continue
    name = name.removeprefix(MARK)
    try:
      value = json.loads(ast.literal_eval(text))
      if name not in (*_SAID, *_SAID_OF_ALL):
        raise ValueError
    except (ValueError, TypeError, SyntaxError) as error:
      raise UserError(
        f"{file.path} says {text} of its {name}, which this version does not"
        " understand: export it again"
      ) from error
    found[name] = tuple(value) if isinstance(value, list) else value, "said in the file"
  ours = layouts.are_ours(file.arrays)
  wanted = {*_SAID, *_SAID_OF_ALL} if ours else set(_SAID)
  if found.keys() != wanted and (found or ours):
    raise UserError(
      f"{file.path} says {len(found)} of the {len(wanted)} things that it should of its"
      " network: export it again"
    )
  if found and found["scale"][0] not in ("paper", "mini"):
    raise UserError(f"{file.path} is of no scale that there is: export it again")
  return found
