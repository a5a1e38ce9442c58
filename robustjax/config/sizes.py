"""Sizes that no machine holds, by a rough count."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_MOST_STEPS = 2**31 - 1  # they are counted in 32 bits
_MOST_PARAMETERS = 10**10  # with their momentum and gradient 120 GB, on every device
_MOST_PIXELS = 10**11  # of a batch, as bytes in one host's memory


def wrong(flat: Mapping[str, Any]) -> Iterator[tuple[Any, str]]:
  """As `relations.wrong`, of what cannot be held or counted."""
  per_epoch = max(1, flat["data.train_examples"] / flat["train.batch_size"])
  yield (
    flat["train.epochs"] * per_epoch > _MOST_STEPS,
    f"train.epochs is {flat['train.epochs']}, {flat['train.epochs'] * per_epoch:.1g}"
    f" steps; it may be up to {_MOST_STEPS / per_epoch:.3g}",
  )
  count = _parameters(flat) if flat["model.network"] == "resnet" else 0
  yield (
    count > _MOST_PARAMETERS,
    f"model.width is {flat['model.width']}: a network of about {count:.1g} parameters"
    f" fits on no device; at most {_MOST_PARAMETERS:.0g} do: take a smaller width or"
    " fewer config.model.stages",
  )
  image = flat["data.image_size"] ** 2 * flat["data.channels"]
  for name in ("train.batch_size", "eval.batch_size"):
    yield (
      flat[name] * image > _MOST_PIXELS,
      f"{name} is {flat[name]}: so many images of config.data.image_size="
      f"{flat['data.image_size']} fit in no memory; it may be up to"
      f" {_MOST_PIXELS // image}",
    )


def _parameters(flat: Mapping[str, Any]) -> float:
  """About how many the blocks have: 18 widths squared each, doubling with a stage."""
  stages: Sequence[float] = flat["model.stages"] or [flat["model.depth"] / 12] * 4
  inner = max(1, flat["model.bottleneck"]) ** 2 / flat["model.cardinality"]
  width = flat["model.width"]
  sizes = (n * (width * 2**i) ** 2 for i, n in enumerate(stages))
  return sum(sizes) * (9 + 9 * max(inner, 1 / 9))
