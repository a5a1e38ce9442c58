"""The values that each setting of the paper has at each scale, from settings.json.

A run is a row's run by its values, not by its name, so the report must know them; this
room imports no other part of the package, so it keeps a copy. After a change of an
experiment or a default, `PYTHONPATH=. python tests/test_paper_settings.py` renews it;
as a test, the same file fails as long as the copy is old.
"""

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("settings.json")

# What no row of the paper depends on: it names a run, or says where its data are, how
# much is measured, what is written down, and how the same network is computed.
LEFT_OUT = {
  "setting", "scale", "seed", "data.class_digest", "data.data_dir", "data.workers",
  "model.remat", "model.scan", "train.log_every_steps", "train.save_every_epochs",
  "train.tracker", "train.validation_images", "eval.readings", "eval.images",
  "eval.batch_size", "eval.attack", "eval.attack_images",
}  # fmt: skip
# What tells a data set from others. An image folder has another name, but where its
# classes were checked to be those of a scale's data set, and its sizes are, it is that.
_DATA_SET = ("data.name", "data.version", "data.test_split")
# What config.json holds beside the values.
_NO_VALUES = {"overrides", "pieces", "table"}


def own_values(setting: str, scale: str) -> dict[str, Any] | None:
  """What a setting's own run has, without what no row depends on.

  Args:
    setting: such as "mbn_alp_star".
    scale: "paper" or "mini".

  Returns:
    Dotted name -> value; tuples are lists. None if no row of the paper is of this
    setting, or if there is no such scale.
  """
  of_scale = _read().get(scale, {"settings": {}})
  if setting not in of_scale["settings"]:
    return None
  return {**of_scale["defaults"], **of_scale["settings"][setting]}


def names(scale: str) -> list[str]:
  """All settings that rows of the paper are of, at a scale: "paper" or "mini"."""
  return list(_read()[scale]["settings"])


def defaults(scale: str) -> dict[str, Any]:
  """What the settings of a scale share, by dotted names: "paper" or "mini"."""
  return dict(_read()[scale]["defaults"])


def recorded(config: Mapping[str, Any]) -> dict[str, Any]:
  """What a run's config.json says of the same values, and of others that it has.

  Args:
    config: what the file holds.

  Returns:
    Dotted name -> value, also of values that an older run lacks, since they came into
    being later: what was in effect before. A folder with the classes of its scale's
    data set goes by that one's name.
  """
  kept = {name: value for name, value in config.items() if name not in _NO_VALUES}
  flat = {**_read()["before"], **_flat(kept)}
  flat |= _data_set(flat)
  return {n: value for n, value in flat.items() if n not in LEFT_OUT}


def _data_set(flat: dict[str, Any]) -> dict[str, Any]:
  """The names of its scale's data set, if a folder stands for it."""
  of_scale = _read().get(str(flat.get("scale")), {})
  is_path = str(flat.get("data.name"))[:1] in ("/", ".", "~")
  checked = flat["data.class_digest"] == of_scale.get("class_digest")
  return {n: of_scale["defaults"][n] for n in _DATA_SET if is_path and checked}


def _flat(values: dict[str, Any]) -> dict[str, Any]:
  flat: dict[str, Any] = {}
  for name, value in values.items():
    if isinstance(value, dict):
      flat |= {f"{name}.{inner}": v for inner, v in _flat(value).items()}
    else:
      flat[name] = value
  return flat


@functools.cache
def _read() -> dict[str, Any]:
  found: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
  return found
