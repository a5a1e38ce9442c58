"""A look into a run: the statistics of its norm layers, and images with their attacks.

Figures 5 and 6 of the paper, and a panel of images, as files for a report.
"""

import dataclasses
import difflib
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from robustjax import assemble
from robustjax import workdir as workdirs
from robustjax.data import pipeline, sources, transforms
from robustjax.errors import UserError
from robustjax.evaluation import examples, statistics, trajectory
from robustjax.report import anatomy
from robustjax.runtime import log, parallel
from robustjax.training import step
from robustjax.training.state import TrainState

Arrays = dict[str, npt.NDArray[Any]]

NO_STATISTICS = "group norm keeps no statistics"

# What the seed's randomness is for: each purpose has a key of its own.
_BATCHES, _EXAMPLES = range(2)


@dataclasses.dataclass(frozen=True)
class Choice:
  """What to look at.

  Attributes:
    layer: a norm layer; `statistics.default_layer` if empty.
    channels: how many of its channels, at least 1 (paper Figures 5 and 6: 20); all, if
      it has fewer.
    seed: 0 and up; of the channels, the images and their attacks.
    images: how many examples, at least 1; all that the evaluation counts, if these are
      fewer.
    steps: of the attack on the examples; the most that the evaluation reads if 0.
  """

  layer: str = ""
  channels: int = 20
  seed: int = 0
  images: int = 8
  steps: int = 0


def inspect(
  config: assemble.Config,
  folder: Path,
  data: assemble.Data,
  state: TrainState,
  choice: Choice = Choice(),  # noqa: B008 - it is frozen
) -> list[Path]:
  """Writes statistics.json and examples.npz, and a picture of each.

  It runs on one device of process 0, without collectives: on other processes it does
  nothing. Files of an earlier inspection are replaced. GN keeps no statistics, and so
  has no statistics.json.

  Args:
    config: of the run.
    folder: where the files go; it exists.
    data: of the run, from `assemble.open_data`.
    state: of the run, replicated over any devices.
    choice: what to look at.

  Returns:
    The files written.

  Raises:
    UserError: there is no such layer.
  """
  if jax.process_index():
    return []
  # A replicated array is whole on each device: this one needs no other process.
  state = jax.tree.map(lambda x: x.addressable_data(0), state.replace(opt_state=()))
  written = []
  if config.model.norm != "gn":
    found = norm_statistics(config, data.train, state, choice)
    written.append(folder / anatomy.STATISTICS)
    log.write_json(written[-1], found)
    written.append(written[-1].with_suffix(".png"))
    drawn = anatomy.statistics_figure(anatomy.read_statistics(written[0]))
    drawn.savefig(written[-1], dpi=150)
  elif choice.layer:
    raise UserError(f"there is no norm layer {choice.layer!r}: {NO_STATISTICS}")
  shown = attacked_images(config, data.test, state, choice)
  written.append(folder / anatomy.EXAMPLES)
  _write_arrays(written[-1], shown)
  written.append(written[-1].with_suffix(".png"))
  panel = anatomy.panel_figure(anatomy.read_examples(written[-2]))
  panel.savefig(written[-1], dpi=150)
  return written


def norm_statistics(
  config: assemble.Config,
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
    What statistics.json holds, see `anatomy.read_statistics`.

  Raises:
    UserError: there is no such layer.
  """
  names = statistics.layers(state.batch_stats)
  layer = choice.layer or statistics.default_layer(list(names))
  _check_layer(layer, names)
  picked = statistics.sample_channels(choice.channels, names[layer], choice.seed)
  batches = _batch_statistics(config, source, state, choice.seed)
  running = statistics.at(state.batch_stats, layer, picked)
  return {
    "run": _name(config),
    "step": int(state.step),
    "layer": layer,
    "images": config.model.group,
    "seed": choice.seed,
    "domains": _parts(config),
    "channels": picked,
    "running": {branch: running[branch] for branch in batches},
    "batches": {
      branch: [statistics.at(found, layer, picked)["all"] for found in both]
      for branch, both in batches.items()
    },
  }


def _batch_statistics(
  config: assemble.Config, source: sources.Source, state: TrainState, seed: int
) -> dict[str, list[Any]]:
  """Branch -> of each of two batches, the statistics of every layer."""
  # Two batches without an image in common, as long as there are enough.
  group, few = config.model.group, len(source) < 2 * config.model.group
  indices = np.random.default_rng(seed).choice(len(source), (2, group), few)
  platform = _platform(state)
  _say(f"Statistics of two batches of {group} images; the attack compiles first.")
  attack = jax.jit(assemble.attack_step(config, platform))
  net = assemble.network(config, platform, plain=True)
  of_batch = jax.jit(lambda variables, x: statistics.batch(net.apply, variables, x))
  key = jax.random.fold_in(jax.random.key(seed), _BATCHES)
  variables = assemble.branches(config, state.variables)
  found: dict[str, list[Any]] = {branch: [] for branch in variables}
  for row in indices:
    batch = _read(config, source, row)
    domains = {"clean": jnp.asarray(batch["image"], jnp.float32)}
    if config.loss.adv:
      domains["adv"] = attack(state, batch, key)[0]
    for branch, parts in _parts(config).items():
      x = jnp.concatenate([domains[domain][:n] for domain, n in parts.items()])
      found[branch].append(of_batch(variables[branch], x))
  return found


def attacked_images(
  config: assemble.Config,
  source: sources.Source,
  state: TrainState,
  choice: Choice,
) -> Arrays:
  """Random images of the evaluation, attacked as there, through the adv branch.

  Args:
    config: of the run.
    source: of the test images.
    state: on one device.
    choice: its images, seed and steps.

  Returns:
    What examples.npz holds, see `anatomy.read_examples`.
  """
  values = config.eval
  rng = np.random.default_rng(choice.seed)
  count = min(choice.images, values.images)
  batch = _read(config, source, np.sort(rng.choice(values.images, count, False)))
  steps = choice.steps or max(values.readings)
  (plan,) = trajectory.trajectories((steps,), values.eps, values.step_size)
  branch = "adv" if config.model.norm == "mbn" else "all"
  platform = _platform(state)
  _say(f"{count} images against PGD-{steps}; it compiles first.")
  found = examples.examples(
    _logits(config, platform, attacked=False),
    _logits(config, platform, attacked=True),
    assemble.branches(config, state.variables)[branch],
    batch,
    jax.random.fold_in(jax.random.key(choice.seed), _EXAMPLES),
    steps=steps,
    step_size=plan.step_size,
    eps=values.eps,
    num_classes=config.data.classes,
  )
  about = {
    "index": batch["index"],
    "names": np.asarray(source.class_names),
    "run": np.asarray(_name(config)),
    "step": np.asarray(state.step),
    "branch": np.asarray(branch),
    "eps": np.asarray(values.eps),
    "steps": np.asarray(steps),
  }
  return found | about


def _logits(config: assemble.Config, platform: str, attacked: bool) -> Any:
  net = assemble.network(config, platform, attacked=attacked, plain=True)
  return lambda variables, images: net.apply(variables, images)


def _parts(config: assemble.Config) -> dict[str, dict[str, int]]:
  """Branch -> domain -> images of it in one batch of training that share statistics."""
  strategy = step.Strategy(
    adv=config.loss.adv, clean_ratio=config.loss.clean_ratio, group=config.model.group
  )
  counts = {
    "clean": strategy.clean_kept, "adv": strategy.group if strategy.adv else 0
  }  # fmt: skip
  counts = {domain: count for domain, count in counts.items() if count}
  if config.model.norm == "mbn":
    return {domain: {domain: count} for domain, count in counts.items()}
  return {"all": counts}


def _read(
  config: assemble.Config, source: sources.Source, indices: npt.NDArray[Any]
) -> Arrays:
  """A batch of some images of a source, with the transform of the evaluation."""
  data = config.data
  transform = transforms.by_name(data.transform, train=False, size=data.image_size)
  return pipeline.batch_of(source, transform, indices, data.broken_images == "skip")


def _say(message: str) -> None:
  print(message, file=sys.stderr, flush=True)


def _name(config: assemble.Config) -> str:
  return workdirs.default(config).name


def _platform(state: TrainState) -> str:
  (device,) = state.step.devices()
  return parallel.platform(device)


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


def _write_arrays(path: Path, arrays: Arrays) -> None:
  """An .npz that is never seen half-written."""
  part = path.with_name(path.name + ".part")
  with part.open("wb") as file:
    np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
  part.replace(path)


def layers(config: assemble.Config) -> dict[str, int]:
  """Name -> channels of the norm layers that keep statistics; none under GN."""
  return statistics.layers(assemble.abstract_state(config).batch_stats)
