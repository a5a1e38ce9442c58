"""What the files of a run hold, each checked: of damage they say where it is."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from robustjax.errors import UserError
from robustjax.paper import settings
from robustjax.report.checked import MOST, Damaged, each, get, read_json, read_lines
from robustjax.report.document import clean
from robustjax.runtime import files

CONFIG = "config.json"
EVALUATION = "evaluation.json"
METRICS = "metrics.jsonl"
STATISTICS = "statistics.json"  # this and the next: what robustjax.inspect writes
EXAMPLES = "examples.npz"

Arrays = dict[str, npt.NDArray[Any]]

_LARGEST = 1e30  # no statistic of a net that still computes is above
_LEAST_EPS = 1e-3  # of 255: a smaller eps cannot be told from none
_MOMENTS = ("mean", "var")
_BRANCHES = {"clean", "adv", "all"}


@dataclass(frozen=True)
class Row:
  """A reading of an evaluation: `steps` is 0 for clean images."""

  branch: str
  steps: int
  correct: int
  images: int


@dataclass(frozen=True)
class Adaptive:
  """What attacks that aim at any wrong class left: `robust` images of `clean` ones."""

  branch: str
  attack: str
  images: int
  clean: int
  robust: int


@dataclass(frozen=True)
class Evaluation:
  """What evaluation.json says, checked; older runs have nothing adaptive."""

  step: int
  rows: tuple[Row, ...]
  guesses: tuple[str, ...]
  adaptive: tuple[Adaptive, ...] = ()


def read_config(path: Path) -> dict[str, Any]:
  """What config.json says of a `runs.Run`, and the "epochs" that it trains for."""
  config = read_json(path)
  overrides = None
  if isinstance(config, dict) and "overrides" in config:
    overrides = get(config, "overrides", dict)
  return {
    "setting": clean(get(config, "setting", str)),
    "scale": clean(get(config, "scale", str)),
    "seed": get(config, "seed", int),
    "eps": float(get(config, "eval.eps", float)),
    "step_size": float(get(config, "eval.step_size", float)),
    "trained_eps": float(get(config, "attack.eps", float)),
    "trained_step_size": float(get(config, "attack.step_size", float)),
    "epochs": float(get(config, "train.epochs", float)),
    "overrides": overrides,
    "data": clean(get(config, "data.name", str)),
    "split": clean(get(config, "data.test_split", str)),
    "values": settings.recorded(config),
  }


def read_evaluation(path: Path, eps: float) -> Evaluation | None:
  """What evaluation.json says, or None without the file; `eps` is config.json's."""
  found = read_json(path, finite=True)
  if found is None and not path.exists():
    return None
  step = get(found, "step", int)
  rows = each(get(found, "rows", list), lambda value: _row(value, eps), "row")
  if not rows:
    raise Damaged("it has no rows")
  if len({(row.branch, row.steps) for row in rows}) < len(rows):
    raise Damaged("a reading is there twice")
  given = get({"adaptive": [], **found}, "adaptive", list)
  adaptive = each(given, lambda value: _adaptive(value, eps), "adaptive row")
  if len({(row.branch, row.attack) for row in adaptive}) < len(adaptive):
    raise Damaged("an adaptive row is there twice")
  guesses = found.get("guesses", [])
  if not isinstance(guesses, list) or not all(isinstance(g, str) for g in guesses):
    raise Damaged("its guesses are not a list of names")
  cleaned = tuple(clean(guess) for guess in guesses)
  return Evaluation(step, tuple(rows), cleaned, tuple(adaptive))


def _row(value: Any, eps: float) -> Row:
  row = Row(
    clean(get(value, "branch", str)),
    get(value, "steps", int),
    get(value, "correct", int),
    get(value, "images", int),
  )
  if row.images < 1:
    raise Damaged(f"its images are {row.images}")
  if row.correct > row.images:
    raise Damaged(f"{row.correct} correct of {row.images} images")
  accuracy = get(value, "accuracy", float)
  if abs(accuracy - row.correct / row.images) > 1e-6:
    raise Damaged(f"accuracy {accuracy:g} is not {row.correct} / {row.images}")
  if row.steps:
    _need_eps(value, eps)
  return row


def _adaptive(value: Any, eps: float) -> Adaptive:
  row = Adaptive(
    clean(get(value, "branch", str)),
    names_of(get(value, "attack", str)),
    *counts(value),
  )
  _need_eps(value, eps)
  return row


def _need_eps(value: Any, eps: float) -> None:
  if get(value, "eps", float) != eps:
    raise Damaged(f"eps {value['eps']:g}, where config.json says {eps:g}")


def names_of(attack: str) -> str:
  """A list of attacks for a person: "apgd-ce,apgd-t" as "apgd-ce, apgd-t"."""
  return clean(", ".join(name.strip() for name in attack.split(",")))


def counts(value: Any) -> tuple[int, int, int]:
  """(images, clean, robust) of an evaluation: none more than the one before."""
  images, right, robust = (get(value, n, int) for n in ("images", "clean", "robust"))
  if images < 1:
    raise Damaged(f"its images are {images}")
  if not robust <= right <= images:
    raise Damaged(f"{robust} robust and {right} clean of {images} images")
  return images, right, robust


def read_metrics(path: Path) -> list[dict[str, Any]]:
  """The records; a last line that a kill cut short is left out."""
  return each(read_lines(path), _record, "line")


def _record(value: Any) -> dict[str, Any]:
  get(value, "step", int)
  get(value, "epoch", float)
  get(value, "split", str)
  found: dict[str, Any] = value
  return found


def read_statistics(path: Path) -> dict[str, Any]:
  """What statistics.json holds.

  Returns:
    "run", its name; "step" of the checkpoint; "layer", its name; "seed"; "images", how
    many a batch was drawn from the training images; "channels", numbers of channels;
    "running", branch -> {"mean", "var"}, each a value a channel; "batches", branch ->
    the same of two batches; "domains", branch -> domain -> how many images of it were
    in a batch.

  Raises:
    UserError: the file is missing or damaged.
  """
  return _inspected(path, _load_statistics)


def read_examples(path: Path) -> Arrays:
  """What examples.npz holds.

  Returns:
    "clean" uint8 and "adv" float32, [n, h, w, c] with 1 or 3 channels, pixels in
    0..255; "index", "label", "target", "predicted_clean", "predicted_adv", [n], whole
    numbers; "names" [classes] of the classes; and, of shape [], "run", "step" of the
    checkpoint, "branch", and "eps" and "steps" of the attack.

  Raises:
    UserError: the file is missing or damaged.
  """
  return _inspected(path, _load_examples)


def _inspected(path: Path, load: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
  """What `load` returns; it raises an error, of no certain kind, for a damaged file."""
  try:
    return load(path)
  except FileNotFoundError as error:
    what = f"there is no {path}: python -m robustjax.inspect RUN writes it"
    raise UserError(what) from error
  except Exception as error:  # zipfile, zlib and numpy have many words for damage
    what = f"{path} is damaged: python -m robustjax.inspect RUN writes it anew"
    raise UserError(what) from error


def _load_statistics(path: Path) -> dict[str, Any]:
  found = files.read_json(path)
  channels, branches = found["channels"], found["running"].keys()
  _need(all(_is_whole(found[name]) for name in ("step", "images", "seed")))
  _need(all(isinstance(found[name], str) for name in ("run", "layer")))
  _need(isinstance(channels, list) and channels and all(map(_is_whole, channels)))
  _need(branches and branches <= _BRANCHES)
  _need(branches == found["batches"].keys() == found["domains"].keys())
  for branch in branches:
    batches, domains = found["batches"][branch], found["domains"][branch]
    _need(isinstance(batches, list) and len(batches) == 2)
    _need(domains.keys() <= {"clean", "adv"} and all(map(_is_whole, domains.values())))
    for values in (found["running"][branch], *batches):
      for moment in _MOMENTS:
        _need(len(values[moment]) == len(channels))
        _need(all(map(_is_statistic, values[moment])))
  return found


def _load_examples(path: Path) -> Arrays:
  found = files.read_arrays(path)
  pixels, adv, count = found["clean"], found["adv"], len(found["clean"])
  _need(pixels.ndim == 4 and pixels.dtype == np.uint8 and pixels.size > 0)
  _need(pixels.shape[-1] in (1, 3))
  # Not a number is outside of all bounds.
  _need(adv.dtype == np.float32 and adv.shape == pixels.shape)
  _need(((adv > -1) & (adv < 256)).all())
  kinds = {"run": "U", "branch": "U", "eps": "fiu", "step": "iu", "steps": "iu"}
  for name, kind in kinds.items():
    _need(found[name].shape == () and found[name].dtype.kind in kind)
  _need(0 <= found["step"] <= MOST and 0 <= found["steps"] <= MOST)
  _need(found["eps"] == 0 or _LEAST_EPS <= found["eps"] <= 255)
  names = found["names"]
  _need(names.ndim == 1 and names.dtype.kind == "U")
  for name in ("index", "label", "target", "predicted_clean", "predicted_adv"):
    _need(found[name].dtype.kind in "iu" and found[name].shape == (count,))
    _need(found[name].min() >= 0)
    _need(name == "index" or found[name].max() < len(names))
  return found


def _need(sound: Any) -> None:
  if not sound:
    raise ValueError


def _is_whole(value: Any) -> bool:
  return type(value) is int and 0 <= value <= MOST


def _is_statistic(value: Any) -> bool:
  """Whether it is a number, and a finite one that can be drawn."""
  return type(value) in (int, float) and -_LARGEST <= value <= _LARGEST


INSPECTED = {STATISTICS: read_statistics, EXAMPLES: read_examples}
