"""The bytes that one step of an attack and one of training move on a TPU, by kind.

python -m benchmarks.bytes                 # ResNet-50, batch norm, 32 images, v5e
python -m benchmarks.bytes --depths 50 152 --images 32 64 --norms bn mbn gn \
  --chips v5e v4 v6e --steps attack train

Compiles each for a TPU that need not be here (libtpu: `pip install "robustjax[tpu]"`),
as training builds it, unrolled, in bfloat16 at 224 px, in about a minute a program, and
prints GFLOP and, by kind of operation, two counts of bytes, both with the padding that
arrays have there (64 channels take the room of 128):

- "compiler": what XLA's cost analysis of the finished program says. Operands and
  results of all operations count, wherever they lie; an array that is moved between
  the chip's main memory and its vector memory counts four times, one moved in parts
  three times.
- "HBM": what passes the main memory. What lies in the vector memory costs nothing and
  a move counts once. The time is that of these bytes at the chip's bandwidth.
"""

import argparse
import glob
import multiprocessing
import os
import tempfile
import threading
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from robustjax import config as configs
from robustjax.attacks import pgd
from robustjax.config import Config
from robustjax.preflight import answers, chips, cost, hlo, topology
from robustjax.preflight.moved import Moved
from robustjax.preflight.quick import end_with_parent
from robustjax.run import network, steps
from robustjax.runtime import parallel
from robustjax.training import step

SLICES = {"v5e": "v5e:2x4", "v4": "v4:2x2x1", "v6e": "v6e:2x4"}
_NOTHING = {
  "parameter", "constant", "iota", "tuple", "get-tuple-element", "bitcast", "after-all",
  "copy-done", "async-done", "custom-call",
}  # fmt: skip


def settings(depth: int, images: int, norm: str, size: int = 224) -> Config:
  """The paper's adversarial training, unrolled, with everything kept, on one chip."""
  made = configs.base("bytes")
  values = {
    "model.depth": depth, "model.norm": norm, "model.scan": False,
    "model.remat": "none", "model.group": images, "train.batch_size": images,
    "data.image_size": size,
  }  # fmt: skip
  for name, value in values.items():
    configs.change(made, name, value, "ours")
  return made


def attack_step(config: Config, platform: str) -> Any:
  """(variables, images, iterate, targets) -> the next iterate of training's attack."""
  net = network.network(config, platform, attacked=True)
  values = config.attack
  attack = pgd.PGD(values.eps, values.step_size, 1)

  def one(variables: Any, images: Any, adv: Any, targets: Any) -> Any:
    def logits(x: jax.Array) -> Any:
      return net.apply(variables, x, domain="adv", statistics="running")

    return attack.advance(logits, images, adv, targets, 1)

  return one


def train_step(config: Config, platform: str) -> Any:
  """(state, batch) -> the next state: of images that are adversarial already."""

  def given(state: Any, batch: Any, key: Any) -> Any:
    return batch["image"], None

  strategy = step.Strategy(
    clean_ratio=0.0, group=config.model.group, separate=config.model.norm == "mbn"
  )
  apply = network.network(config, platform).apply
  learn = step.make_train_step(apply, given, strategy, steps.make_optimizer(config))
  return lambda state, batch: learn(state, batch, None)


def lowered(config: Config, name: str, target: topology.Target) -> Any:
  """The step called "attack" or "train", lowered for one device of the target."""
  mesh = parallel.mesh(target.devices[:1])
  platform = parallel.platform(target.devices[0])
  size, count = config.data.image_size, config.train.batch_size
  image = jax.ShapeDtypeStruct((count, size, size, config.data.channels), jnp.float32)
  label = jax.ShapeDtypeStruct((count,), jnp.int32)
  state = steps.abstract_state(config)
  if name == "attack":
    made = attack_step(config, platform)
    arguments: tuple[Any, ...] = (state.variables, image, image, label)
  else:
    made = train_step(config, platform)
    arguments = (state, {"image": image, "label": label})
  function = parallel.pmap(made, mesh, (None,) * len(arguments))
  return function.lower(*parallel.abstract_replicas(arguments, mesh))


def compiled_text(config: Config, name: str, chip: str) -> str:
  """The compiled step's text, from a compiler that is stopped when it is written."""
  with tempfile.TemporaryDirectory() as folder:
    child = multiprocessing.get_context("spawn").Process(
      target=_compile, args=(configs.plain(config), name, chip, folder), daemon=True
    )
    child.start()
    while child.is_alive() and not answers.is_assigned(Path(folder)):
      child.join(0.2)
    child.kill()
    child.join()
    (file,) = glob.glob(f"{folder}/*.after_optimizations.txt")
    return Path(file).read_text()


def _compile(values: Mapping[str, Any], name: str, chip: str, folder: str) -> None:
  threading.Thread(target=end_with_parent, daemon=True).start()
  made = lowered(configs.load(values), name, topology.tpu(SLICES[chip]))
  answers.compile_fully(made, Path(folder), is_tpu=True)


MOVES = "moves to and from vector memory"


def moved(text: str) -> tuple[Counter[str], Counter[str]]:
  """Bytes of a program by kind of operation: in the compiler's count, and of HBM.

  Args:
    text: of a compiled program without loops, which would count once.
  """
  computations, entry = hlo.parse(text)
  body = computations[entry]
  counted: Counter[str] = Counter()
  main: Counter[str] = Counter()
  passing = Moved(computations)
  for one in body.instructions.values():
    if one.opcode in _NOTHING:
      continue
    begins = one.opcode.endswith("-start")
    kind = MOVES if begins else _kind(one, computations)
    main[kind] += passing.bytes(one, body)
    if begins:
      # (destination, source, context), or ((source), part of it, context).
      whole = one.opcode == "copy-start"
      size = hlo.padded(hlo.arrays(one.shape)[0 if whole else 1])
      counted[kind] += size * (4 if whole else 3)
    else:
      shapes = (one.shape, *map(body.shape, one.operands))
      counted[kind] += sum(map(hlo.padded, shapes))
  return counted, main


def _kind(one: hlo.Instruction, computations: Mapping[str, hlo.Computation]) -> str:
  called = one.calls("calls")
  inside = _opcodes(called, computations) if called else {one.opcode}
  where = one.attribute(r'op_name="([^"]*)"') or ""
  if inside & {"reduce-window", "select-and-scatter"} or "max_pool" in where:
    return "pooling"
  if "_stem" in where or "_scaled" in where or "conv0" in where:
    return "stem"
  if inside & {"convolution", "dot"}:
    return "convolutions, with what is fused into them"
  if inside <= {"parameter", "copy", "transpose", "bitcast", "reshape", "slice"}:
    return "copies and layouts"
  if inside <= {"parameter", "convert", "bitcast", "copy"}:
    return "conversions"
  return "norms, activations and the rest"


def _opcodes(name: str, computations: Mapping[str, hlo.Computation]) -> set[str]:
  found = set()
  for one in computations[name].instructions.values():
    called = one.calls("calls") if one.opcode == "fusion" else None
    found |= _opcodes(called, computations) if called else {one.opcode}
  return found


def row(config: Config, name: str, chip: str) -> str:
  """What one step comes to, as text."""
  text = compiled_text(config, name, chip)
  counted, main = moved(text)
  flops, chosen = cost.analysis(text).total_flops, chips.CHIPS[chip]

  def line(bytes_: tuple[int, int], kind: str) -> str:
    first, second = (size / 1e9 for size in bytes_)
    time = bytes_[1] / chosen.bandwidth * 1e3
    return f"{first:7.3f} GB compiler {second:7.3f} GB HBM {time:6.2f} ms  {kind}"

  title = (
    f"{chip} ResNet-{config.model.depth} {config.model.norm}, {name} step of"
    f" {config.train.batch_size}: {flops / 1e9:,.0f} GFLOP,"
    f" {flops / chosen.peak * 1e3:.2f} ms"
  )
  kinds = sorted(main | counted, key=lambda kind: -counted[kind])
  rows = [line((counted[kind], main[kind]), kind) for kind in kinds]
  return "\n".join([line((counted.total(), main.total()), title), *rows])


def main() -> None:
  """Prints the rows that the command line asks for."""
  parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
  parser.add_argument("--depths", type=int, nargs="+", default=[50])
  parser.add_argument("--images", type=int, nargs="+", default=[32])
  parser.add_argument("--norms", nargs="+", default=["bn"])
  parser.add_argument("--chips", nargs="+", default=["v5e"], choices=SLICES)
  parser.add_argument("--steps", nargs="+", default=["attack", "train"])
  flags = parser.parse_args()
  os.environ["JAX_PLATFORMS"] = "cpu"
  for chip in flags.chips:
    for depth in flags.depths:
      for norm in flags.norms:
        for images in flags.images:
          for name in flags.steps:
            made = settings(depth, images, norm)
            print(row(made, name, chip), flush=True)


if __name__ == "__main__":
  main()
