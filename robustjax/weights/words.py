"""What was imported, in words for a person."""

from collections.abc import Sequence

from clu import parameter_overview

from robustjax import config as configs
from robustjax.config import Config
from robustjax.weights.imported import Imported

# Reasons that name a weight, a different one for each array: one line for all of them.
_OF_ONE = ("equal to ", "momentum of ")


def table(found: Imported) -> str:
  """What was imported, as a table and notes."""
  config, model = found.config, found.config.model
  count = parameter_overview.count_parameters(found.variables["params"])
  unused: dict[str, list[tuple[str, str]]] = {}
  for name, why in found.found.unused.items():
    kind = next(filter(why.startswith, _OF_ONE), why)
    unused.setdefault(kind, []).append((name, why))
  rows = {
    "file": config.init.weights,
    "kind": found.found.kind,
    "network": _network(config),
    "parameters": f"{count:,}",
    "pixels": f"(x - {_numbers(model.input_mean)}) / {_numbers(model.input_std)}",
    "images": _images(config),
    "arrays": f"{found.arrays - len(found.found.unused)} of {found.arrays} used",
  }
  lines = [f"{name:11} {text}" for name, text in rows.items()]
  for kind, ((name, why), *others) in unused.items():
    more = f" and {len(others)} more" if others else ""
    so_on = ", and so on" if others and kind != why else ""
    lines.append(f"{'no weight':11} {name}{more}: {why}{so_on}")
  return "\n".join([*lines, *(f"{'note':11} {note}" for note in found.found.notes)])


def _network(config: Config) -> str:
  model, flat = config.model, configs.flatten(config)
  blocks = f"ResNet-{model.depth}" if model.depth else f"stages {tuple(model.stages)}"
  others = [
    f"{name.partition('.')[2]} {flat[name]}"
    for name in ("model.block", "model.width", "model.bottleneck", "model.cardinality",
      "model.activation", "model.non_local", "model.stem")
    if flat[name] != configs.DEFAULTS[name].value
  ]  # fmt: skip
  return ", ".join(
    [blocks, *others, f"{model.padding} padding", f"{config.data.classes} classes"]
  )


def _images(config: Config) -> str:
  data = config.data
  size = f"{data.image_size}x{data.image_size}x{data.channels}"
  if data.transform != "imagenet":
    return size
  resized = f"shorter side {data.resize}" if data.resize > 0 else "not resized"
  return f"{size}, {resized}, {data.interpolation}, orientation {data.orientation}"


def _numbers(values: Sequence[float]) -> str:
  return ", ".join(f"{x:g}" for x in values)
