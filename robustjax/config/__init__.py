"""The configuration of a run: defaults, what an experiment changes, and their sources.

`base` gives an experiment the defaults at its scale; `change` sets a value together
with its source. The text of a source says where the value comes from: a section of the
paper, "FD", "ours", or "guess" (see `defaults`).
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import ml_collections

from robustjax.config import checks
from robustjax.config import odd as oddities
from robustjax.config.checks import nearest
from robustjax.config.defaults import DEFAULTS, MINI, Config, Default
from robustjax.config.older import BEFORE, SINCE_DIGESTS
from robustjax.config.pieces import is_own, own
from robustjax.config.variants import COMMON, Variant, chosen

__all__ = [
  "BEFORE", "COMMON", "DEFAULTS", "MINI", "SINCE_DIGESTS", "Config", "Default",
  "Variant", "apply", "base", "change", "check", "copy", "flatten", "frozen",
  "guesses", "is_own", "load", "nearest", "odd", "overrides", "own", "plain",
  "sources", "table",
]  # fmt: skip

# A configuration is an ml_collections.ConfigDict, whose attributes a type checker does
# not know; `Config` says which there are. `cast` is where one becomes the other.

COMMAND_LINE = "command line"
# Where a configuration carries the sources of what was changed; not a value itself.
_SOURCES = "sources"


def base(
  setting: str,
  variant: str = "",
  *,
  choices: Mapping[str, Variant] | None = None,
  own: Mapping[str, Variant] | None = None,
  common: Sequence[str] = tuple(COMMON),
) -> Config:
  """The defaults that every experiment starts from.

  Args:
    setting: the experiment's name; with the words of the variant behind it, it names
      the run.
    variant: words with commas between them: what follows the colon in
      --config=experiments/X.py:mini,star.
    choices: words of this experiment, exactly one of which must be there.
    own: other words of this experiment.
    common: the words of `COMMON` that it takes.

  Returns:
    The configuration, a section for each part of a run.

  Raises:
    UserError: a word that is not a variant, or words that contradict each other.
  """
  mini, words = chosen(variant, choices or {}, own or {}, common)
  values = {name: default.value for name, default in DEFAULTS.items()}
  values |= MINI if mini else {}
  fresh = ml_collections.ConfigDict({_SOURCES: ()})
  for name, value in values.items():
    section, _, key = name.rpartition(".")
    if section and section not in fresh:
      fresh[section] = ml_collections.ConfigDict()
    (fresh[section] if section else fresh)[key] = value
  config = cast(Config, fresh)
  config.setting = "_".join([setting, *words])
  for word in words.values():
    apply(config, word)
  return config


def apply(config: Config, variant: Variant) -> None:
  """Makes the changes of a variant, at the scale that the configuration has.

  Args:
    config: from `base`; changed in place.
    variant: one of `COMMON`, or the experiment's.
  """
  mini = config.scale == MINI["scale"]
  source = f"ours: mini scale, for {variant.source}" if mini else variant.source
  for name, value in (variant.mini if mini else variant.paper).items():
    change(config, name, value, source)


def change(config: Config, name: str, value: Any, source: str) -> None:
  """Sets a value and says where it comes from.

  Args:
    config: from `base`; changed in place.
    name: such as "loss.alp_weight".
    value: of the default's type.
    source: a section of the paper, "FD", "ours", or "guess" with its reason.
  """
  values = _dict(config)
  section, _, key = name.rpartition(".")
  (values[section] if section else values)[key] = value
  kept = tuple(pair for pair in values[_SOURCES] if pair[0] != name)
  values[_SOURCES] = (*kept, (name, source))


def copy(config: Config) -> Config:
  """The same values and sources in a configuration that can be changed."""
  return cast(Config, ml_collections.ConfigDict(_dict(config).to_dict()))


def frozen(config: Config) -> Config:
  """The same values and sources in a configuration that cannot be changed."""
  return cast(Config, ml_collections.FrozenConfigDict(_dict(config)))


def _dict(config: Config) -> ml_collections.ConfigDict:
  return cast(ml_collections.ConfigDict, config)


def flatten(config: Config | Mapping[str, Any]) -> dict[str, Any]:
  """Dotted name -> value, of a configuration or of what config.json holds of it."""
  flat: dict[str, Any] = {}
  for key, value in cast(Mapping[str, Any], config).items():
    if isinstance(value, ml_collections.ConfigDict | dict):
      flat |= {f"{key}.{name}": inner for name, inner in flatten(value).items()}
    elif key != _SOURCES:
      flat[key] = value
  return flat


def check(config: Config) -> None:
  """Refuses values that no run can have or nobody means, before anything compiles.

  Raises:
    UserError: one line that names the value and what it may be.
  """
  checks.check(flatten(config))


def odd(config: Config) -> list[str]:
  """What a run can have and a person may not have meant, a few words for each."""
  return oddities.odd(flatten(config))


def sources(config: Config) -> dict[str, str]:
  """Dotted name -> where its value comes from."""
  changed = dict(_dict(config)[_SOURCES])
  mini = config.scale == MINI["scale"]

  def source(name: str, value: Any) -> str:
    of_scale = MINI[name] if mini and name in MINI else DEFAULTS[name].value
    if name in changed:
      return changed[name]
    if value != of_scale and name != "setting":
      return "this experiment"  # assigned to without `change`
    return "ours: mini scale" if mini and name in MINI else DEFAULTS[name].source

  return {name: source(name, value) for name, value in flatten(config).items()}


def guesses(config: Config) -> list[str]:
  """The values that are guesses and that this configuration depends on.

  Returns:
    "name=value" for each: neither the paper nor FD says it, and results may depend on
    it.
  """
  flat = flatten(config)
  matters = {
    "model.gn_groups": flat["model.norm"] == "gn",
    "model.dtype": flat["model.dtype"] != "float32",
    "optimizer.rmsprop_decay": flat["optimizer.name"] == "rmsprop",
    "optimizer.rmsprop_eps": flat["optimizer.name"] == "rmsprop",
  }
  guessed = {
    name
    for name, source in sources(config).items()
    # A value of the mini scale stands for the paper's: it is no more certain.
    if "guess" in source or ("mini" in source and "guess" in DEFAULTS[name].source)
  }
  return [
    f"{name}={flat[name]}"
    for name in DEFAULTS
    if name in guessed and matters.get(name, True)
  ]


def table(config: Config) -> list[dict[str, Any]]:
  """Every value with its unit and source.

  Returns:
    {"name", "value", "unit", "source"} for each, in the order of `DEFAULTS`.
  """
  flat, origins = flatten(config), sources(config)
  return [
    {
      "name": name,
      "value": flat[name],
      "unit": default.unit,
      "source": origins[name],
    }
    for name, default in DEFAULTS.items()
  ]


def overrides(config: Config) -> dict[str, Any]:
  """Dotted name -> value of what the command line changed."""
  flat = flatten(config)
  return {
    name: flat[name]
    for name, source in _dict(config)[_SOURCES]
    if source == COMMAND_LINE
  }


def plain(config: Config) -> dict[str, Any]:
  """The values alone, nested by section."""
  return {
    name: value for name, value in _dict(config).to_dict().items() if name != _SOURCES
  }


def load(values: Mapping[str, Any]) -> Config:
  """The configuration of a run from what its config.json holds.

  Args:
    values: nested by section; what is not a configuration value is left out.

  Returns:
    The configuration, with the values of `BEFORE` where an older file lacks them.
    Sources are not kept: it is for reading values.
  """
  names = {name.partition(".")[0] for name in DEFAULTS}
  config = ml_collections.ConfigDict({_SOURCES: ()})
  for name, value in values.items():
    if name in names:
      config[name] = value
  for name, value in BEFORE.items():
    section, _, key = name.partition(".")
    values_of = config.get(section)
    if isinstance(values_of, ml_collections.ConfigDict) and key not in values_of:
      values_of[key] = value
  return cast(Config, config)
