"""Which values do not go together."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from robustjax.config import sizes
from robustjax.config.defaults import DEFAULTS, MINI

Flat = Mapping[str, Any]

# What is 0 where weights were imported: nothing was trained, and no file says the eps.
OF_IMPORTED = ("train.epochs", "attack.eps", "eval.eps")


def wrong(flat: Flat) -> Iterator[tuple[Any, str]]:
  """Whether two values contradict each other, and what to say of them then.

  Args:
    flat: dotted name -> value, each of which may be by itself.

  Yields:
    A truth value and a line that begins with a name, for each thing that is refused.
  """
  yield from _wrong_pieces(flat)
  if flat["model.network"] == "resnet":
    yield from _wrong_network(flat)
  yield from _wrong_crop(flat)
  yield from _wrong_strategy(flat)
  if not flat["init.weights"]:
    yield from _wrong_schedule(flat)
  yield from _wrong_attack(flat)
  yield from _wrong_images(flat)
  yield from sizes.wrong(flat)


def _wrong_pieces(flat: Flat) -> Iterator[tuple[Any, str]]:
  setting = flat["setting"]
  yield (
    not re.fullmatch(r"[\w-]{1,100}", setting),
    f"setting is {setting!r}; it names a folder: up to 100 letters, digits, _ and -",
  )
  yield (
    flat["model.depth"] and flat["model.stages"],
    "model.depth and config.model.stages are both set, two ways to say the same: set"
    " depth to 0 or stages to ()",
  )
  yield (
    flat["optimizer.decay_every"] and flat["optimizer.decay_epochs"],
    "optimizer.decay_every and config.optimizer.decay_epochs are both set, two ways to"
    " say the same: set decay_every to 0 or decay_epochs to ()",
  )
  yield (
    flat["data.transform"] == "imagenet" and flat["data.channels"] != 3,
    "data.transform='imagenet' needs config.data.channels=3",
  )


def _wrong_network(flat: Flat) -> Iterator[tuple[Any, str]]:
  width, groups, channels, inner, cardinality = (
    flat[name]
    for name in (
      "model.width", "model.gn_groups", "data.channels", "model.bottleneck",
      "model.cardinality",
    )
  )  # fmt: skip
  yield (
    flat["model.norm"] == "gn" and width % groups,
    f"model.gn_groups is {groups}; it must divide config.model.width, {width}",
  )
  for name in ("model.input_mean", "model.input_std"):
    yield (
      len(flat[name]) not in (1, channels),
      f"{name} has {len(flat[name])} values; it needs one, or one for each of"
      f" config.data.channels={channels}",
    )
  yield (
    width * inner % cardinality,
    f"model.cardinality is {cardinality}; it must divide the channels inside a block,"
    f" config.model.width={width} times config.model.bottleneck={inner}",
  )


def _wrong_crop(flat: Flat) -> Iterator[tuple[Any, str]]:
  resize, size = flat["data.resize"], flat["data.image_size"]
  crops = flat["data.transform"] == "imagenet" and resize != -1
  yield (
    crops and resize < size,
    f"data.resize is {resize}, and config.data.image_size, the centre of that, {size}:"
    f" set data.resize to {size} or more, such as {round(size * 256 / 224)}, or to -1,"
    " which does not resize",
  )
  yield (
    crops and resize > 2 * size,
    f"data.resize is {resize}, of which config.data.image_size={size} would show less"
    f" than a quarter: set data.resize to {round(size * 256 / 224)}, in proportion as"
    " 256 to 224",
  )


def _wrong_strategy(flat: Flat) -> Iterator[tuple[Any, str]]:
  ratio, adv, group = (
    flat[name] for name in ("loss.clean_ratio", "loss.adv", "model.group")
  )
  both = adv and ratio
  yield (
    flat["train.epochs"] and flat["init.weights"],
    "init.weights says that a run was imported and not trained: to train from it name"
    " its folder with --config.init.run=DIR",
  )
  yield (
    not adv and not ratio,
    "loss has neither adversarial nor clean images to train on",
  )
  yield (
    both and not round(group * ratio),
    f"loss.clean_ratio is {ratio}; a group of {group} images keeps none of its clean"
    " ones: set it to 0 or higher",
  )
  yield (
    flat["loss.alp_weight"] and not both,
    "loss.alp_weight pairs adversarial images with clean ones: it needs loss.adv and a"
    " loss.clean_ratio above 0; without them set it to 0",
  )
  yield (
    flat["model.norm"] == "mbn" and not both,
    "model.norm is 'mbn', whose clean or adv branch would never be trained here: set"
    " it to 'bn', or loss.adv with a loss.clean_ratio above 0",
  )
  yield (
    flat["model.norm"] == "gn" and flat["train.running_statistics_epochs"],
    "train.running_statistics_epochs needs running statistics, which norm='gn' has"
    " none of: set it to 0",
  )
  yield (
    flat["train.parameters"] == "norm" and not flat["init.run"],
    "train.parameters='norm' trains normalisation alone, on kernels that were never"
    " trained: name the folder of a finished run with --config.init.run=DIR",
  )


def _wrong_schedule(flat: Flat) -> Iterator[tuple[Any, str]]:
  epochs, decays = flat["train.epochs"], list(flat["optimizer.decay_epochs"])
  running = flat["train.running_statistics_epochs"]
  yield (
    running > epochs,
    f"train.running_statistics_epochs is {running}; it may be 0 to"
    f" config.train.epochs, {epochs}",
  )
  yield _not_ascending("optimizer.decay_epochs", decays)
  for name, last in ends(flat).items():
    yield (
      last > epochs and not as_the_scale(flat, name),
      f"{name} is {flat[name]}, beyond the end of training at config.train.epochs,"
      f" {epochs}: it may be up to that",
    )


def ends(flat: Flat) -> dict[str, float]:
  """What belongs into the training: name -> the epoch by which all of it was there."""
  return {
    "optimizer.decay_epochs": max(flat["optimizer.decay_epochs"], default=0),
    "optimizer.warmup_epochs": flat["optimizer.warmup_epochs"],
    "train.save_every_epochs": flat["train.save_every_epochs"],
  }


def as_the_scale(flat: Flat, name: str) -> bool:
  """Whether nobody said the value: a shorter training leaves it behind its end."""
  mini = flat["scale"] == MINI["scale"] and name in MINI
  value = MINI[name] if mini else DEFAULTS[name].value
  same = tuple(flat[name]) if isinstance(flat[name], list) else flat[name]
  return bool(same == value)


def _wrong_attack(flat: Flat) -> Iterator[tuple[Any, str]]:
  for section, steps in (
    ("attack", flat["attack.steps"]),
    ("eval", max(flat["eval.readings"], default=0)),
  ):
    size, eps = flat[f"{section}.step_size"], flat[f"{section}.eps"]
    yield (
      size > 2 * eps > 0 and steps > 1,  # a single step of any such size is one of FGSM
      f"{section}.step_size is {size}, more than twice config.{section}.eps, {eps}:"
      f" every step would cross the whole cube; it may be up to {2 * eps:g}",
    )
  readings = list(flat["eval.readings"])
  yield not readings, "eval.readings must hold numbers of steps"
  yield _not_ascending("eval.readings", readings)


def _wrong_images(flat: Flat) -> Iterator[tuple[Any, str]]:
  split, most = flat["data.test_split"], flat["data.test_examples"]
  yield (
    re.search(r"(^|\+)\s*(train|all)\b", split),
    f"data.test_split is {split!r}, which has images that the run trains on: take"
    " another split",
  )
  yield (
    not all(_is_split(part.strip()) for part in split.split("+")),
    f"data.test_split is {split!r}; it may be the name of a split, such as test, or a"
    " part of one that has images, such as test[:50%] or test[100:200]",
  )
  for name in ("train.validation_images", "eval.images"):
    yield (
      flat[name] > most,
      f"{name} is {flat[name]}; it may be 1 to {most}, config.data.test_examples",
    )
  counted, seen = flat["eval.images"], flat["train.validation_images"]
  yield (
    # The whole split, as in the paper, has those of the validation by its nature.
    counted < most < counted + seen,
    f"eval.images is {counted} and config.train.validation_images {seen}, more than the"
    f" {most} of config.data.test_examples: images would serve both; eval.images may be"
    f" up to {max(most - seen, 0)}, or the whole split",
  )
  digest = flat["data.class_digest"]
  yield (
    not re.fullmatch(r"([0-9a-f]{16})?", digest),
    f"data.class_digest is {digest!r}; it may be 16 hexadecimal digits, or empty",
  )


def _not_ascending(name: str, values: Sequence[Any]) -> tuple[bool, str]:
  ascending = sorted(set(values))
  texts = ",".join(map(str, ascending))
  return (
    list(values) != ascending,
    f"{name} is {values}; it may be ascending numbers, each once: ({texts},)",
  )


def _is_split(text: str) -> bool:
  """Whether it names a split, or a slice of one that can have images."""
  number = r"(-?\d+%?|)"
  found = re.fullmatch(rf"[\w .-]+(?:\[{number}:{number}\])?", text, re.ASCII)
  if not found or not text.strip(" ."):
    return False
  low, high = (found[1] or "0"), found[2]
  percents = [int(x[:-1]) for x in (low, high) if x and x.endswith("%")]
  if any(abs(x) > 100 for x in percents) or low == "100%" or high in ("0", "0%"):
    return False
  if not high or low.endswith("%") != high.endswith("%"):
    return True
  first, last = (int(x.removesuffix("%")) for x in (low, high))
  return first < last or (first < 0) != (last < 0)
