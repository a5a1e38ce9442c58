"""Running and batch statistics of norm layers (paper Figures 5 and 6).

A layer is named by its path in the variables, such as "stage2_block4/bn3". GN keeps no
statistics: its networks have no layer here; nor has a norm that is a piece, of which
nobody knows how it moves its own.
"""

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from robustjax.config import Config
from robustjax.data import sources
from robustjax.errors import UserError
from robustjax.inspect.choice import Choice
from robustjax.models import blocks
from robustjax.models.norm import MOMENTUM
from robustjax.run import network, steps
from robustjax.run import workdir as workdirs
from robustjax.run.data import images_of
from robustjax.runtime import log, parallel, settings
from robustjax.training import step
from robustjax.training.state import TrainState

Tree = Mapping[str, Any]

NO_STATISTICS = "group norm keeps no statistics, and other norms none known here"

_MOMENTS = {"mean", "var"}
_KEY = (
  0  # of the seed's randomness: the attack on batches; that on examples has another
)


def layers(batch_stats: Tree) -> dict[str, int]:
  """The norm layers that keep statistics, as the forward pass meets the blocks.

  Args:
    batch_stats: of a network, with any branches.

  Returns:
    Layer name -> its number of channels; empty under GN.
  """
  alone = jax.eval_shape(blocks.unstack, batch_stats)
  channels = {name: _channels(layer) for name, layer in _walk(alone, "")}
  return {name: channels[name] for name in sorted(channels, key=_natural)}


def default_layer(names: Sequence[str]) -> str:
  """The layer to look at where nobody says which.

  The paper's Figures 5 and 6 take "a ResNet-152's res3 block", which is one of the
  second stage; they say neither which block nor which of its norms. Here it is the last
  norm of the middle block: stage2_block4/bn3 of ResNet-152. Of a
  network that is no ResNet it is the middle one of all.

  Args:
    names: from `layers`, of a network with at least one stage. A network with one
      stage has its middle block there.

  Returns:
    One of the names.
  """
  matches = (re.fullmatch(r"stage(\d+)_block(\d+)/bn(\d+)", name) for name in names)
  blocks_and_norms = [tuple(map(int, match.groups())) for match in matches if match]
  if not blocks_and_norms:  # of a network that is a piece
    return names[len(names) // 2]
  stage = min(2, max(stage for stage, _, _ in blocks_and_norms))
  blocks = max(block for at, block, _ in blocks_and_norms if at == stage)
  middle = (blocks + 1) // 2
  last = max(
    norm for at, block, norm in blocks_and_norms if (at, block) == (stage, middle)
  )
  return f"stage{stage}_block{middle}/bn{last}"


def sample_channels(count: int, channels: int, seed: int) -> list[int]:
  """Some of a layer's channels, at random (20 in the paper's Figures 5 and 6).

  Args:
    count: how many, at least 1; a layer with fewer has all of them taken.
    channels: how many the layer has.
    seed: 0 and up.

  Returns:
    Ascending numbers of 0..channels - 1, each once.
  """
  rng = np.random.default_rng(seed)
  chosen = rng.choice(channels, min(count, channels), replace=False)
  return sorted(int(channel) for channel in chosen)


def batch_statistics(
  apply: Callable[..., Any], variables: Tree, images: jax.Array
) -> dict[str, Any]:
  """The batch statistics of every layer for one batch, from one forward pass.

  The pass normalises each layer with the batch's own statistics, as training does.
  Works under `jax.jit`.

  Args:
    apply: of a network with a single branch.
    variables: of that network (`norm.branch_of`). Their running statistics play no
      part, and stay as they are.
    images: [n, h, w, c], pixels in 0..255; one group.

  Returns:
    A tree like the network's `batch_stats`, which holds the means and the unbiased
    variances over the images and all positions instead, to rounding.
  """
  # The pass moves running statistics by (1 - MOMENTUM) towards the batch's: those that
  # start at zero end at this part of the batch's statistics.
  zeros = jax.tree.map(jnp.zeros_like, variables["batch_stats"])
  _, moved = apply(
    {**variables, "batch_stats": zeros},
    images,
    statistics="batch",
    groups=1,
    mutable=["batch_stats"],
  )
  return jax.tree.map(lambda x: x / (1 - MOMENTUM), moved["batch_stats"])


def at(
  batch_stats: Tree, layer: str, channels: Sequence[int]
) -> dict[str, dict[str, list[float]]]:
  """The statistics of one layer at some of its channels.

  Args:
    batch_stats: of a network, with any branches; or from `batch_statistics`.
    layer: one of `layers`.
    channels: numbers of its channels.

  Returns:
    Branch -> {"mean": [...], "var": [...]}, in the order of the channels. MBN has the
    branches "clean" and "adv", plain BN has "all".
  """
  alone = blocks.unstack(jax.device_get(batch_stats))
  branches = dict(_walk(alone, ""))[layer]
  return {
    branch: {k: np.asarray(values[k])[list(channels)].tolist() for k in ("mean", "var")}
    for branch, values in branches.items()
  }


def norm_statistics(
  config: Config,
  source: sources.Source,
  state: TrainState,
  choice: Choice,
) -> dict[str, Any]:
  """Running statistics beside those of two batches (paper Figures 5 and 6).

  The batches are one group each of random training images, attacked and mixed as in
  training, but as the evaluation crops them, without augmentation. Each branch gets
  what training sends through it.

  Args:
    config: of the run; its norm is not GN.
    source: of the training images.
    state: on one device.
    choice: its layer, channels and seed.

  Returns:
    What statistics.json holds, see `files.read_statistics`.

  Raises:
    UserError: there is no such layer.
  """
  names = layers(state.batch_stats)
  layer = choice.layer or default_layer(list(names))
  _check_layer(layer, names)
  picked = sample_channels(choice.channels, names[layer], choice.seed)
  batches = _of_two_batches(config, source, state, choice.seed)
  running = at(state.batch_stats, layer, picked)
  return {
    "run": workdirs.default(config).name,
    "step": int(state.step),
    "layer": layer,
    "images": config.model.group,
    "seed": choice.seed,
    "domains": _parts(config),
    "channels": picked,
    "running": {branch: running[branch] for branch in batches},
    "batches": {
      branch: [at(tree, layer, picked)["all"] for tree in both]
      for branch, both in batches.items()
    },
  }


def _of_two_batches(
  config: Config, source: sources.Source, state: TrainState, seed: int
) -> dict[str, list[Any]]:
  """Branch -> of each of two batches, the statistics of every layer."""
  # Two batches without an image in common, as long as there are enough.
  group, few = config.model.group, len(source) < 2 * config.model.group
  indices = np.random.default_rng(seed).choice(len(source), (2, group), few)
  (device,) = state.step.devices()
  platform = parallel.platform(device)
  log.complain(
    f"Statistics of two batches of {group} images; the attack compiles first."
  )
  attack = parallel.once(steps.attack_step(config, platform))
  net = network.network(config, platform, plain=True)
  of_batch = parallel.once(
    lambda variables, x: batch_statistics(net.apply, variables, x)
  )
  key = jax.random.fold_in(settings.key(seed), _KEY)
  variables = network.branches(config, state.variables)
  batches: dict[str, list[Any]] = {branch: [] for branch in variables}
  for row in indices:
    batch = images_of(config, source).read(row)
    clean = batch["image"].astype(np.float32)
    domains = {"clean": jax.device_put(clean, device)}  # as the others are
    if config.loss.adv:
      domains["adv"] = attack(state, batch, key)[0]
    for branch, parts in _parts(config).items():
      x = jnp.concatenate([domains[domain][:n] for domain, n in parts.items()])
      batches[branch].append(of_batch(variables[branch], x))
  return batches


def layers_of(config: Config) -> dict[str, int]:
  """Name -> channels of the norm layers that keep statistics; none under GN."""
  if config.model.norm not in ("bn", "mbn"):
    return {}
  return layers(steps.abstract_state(config).batch_stats)


def keeps_statistics(config: Config) -> bool:
  """Whether there is a layer to look at."""
  return config.model.norm in ("bn", "mbn") and (
    network.is_resnet(config) or bool(layers_of(config))
  )


def _parts(config: Config) -> dict[str, dict[str, int]]:
  """Branch -> domain -> images of it in one batch of training that share statistics."""
  strategy = step.Strategy(
    adv=config.loss.adv, clean_ratio=config.loss.clean_ratio, group=config.model.group
  )
  counts = {
    "clean": strategy.clean_kept, "adv": strategy.group if strategy.adv else 0
  }  # fmt: skip
  counts = {domain: count for domain, count in counts.items() if count}
  if network.separate(config):
    return {domain: {domain: count} for domain, count in counts.items()}
  return {"all": counts}


def _check_layer(layer: str, names: dict[str, int]) -> None:
  if layer in names:
    return
  have = list(names)
  if len(have) > 20:  # a line should stay readable
    near = difflib.get_close_matches(layer, have, 3, 0.0)
    raise UserError(
      f"there is no norm layer {layer!r}; the nearest are {', '.join(near)}, and"
      f" --layers lists all {len(have)}"
    )
  raise UserError(f"there is no norm layer {layer!r}; there are {', '.join(have)}")


def _walk(tree: Tree, path: str) -> list[tuple[str, Tree]]:
  """Every layer's path and its branches, {branch: {"mean", "var"}}."""
  layers = []
  for name, child in tree.items():
    if not isinstance(child, Mapping):
      continue  # of a norm that has no branches
    if all(isinstance(x, Mapping) and set(x) == _MOMENTS for x in child.values()):
      layers.append((path + name, child))
    else:
      layers += _walk(child, f"{path}{name}/")
  return layers


def _channels(layer: Tree) -> int:
  return next(iter(layer.values()))["mean"].shape[0]


def _natural(name: str) -> list[tuple[int, str]]:
  """Sorts stage2_block10 after stage2_block9."""
  parts = re.split(r"(\d+)", name)
  return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]
