"""How fast a core decodes and augments ImageNet, and how many cores a TPU host needs.

python -m benchmarks.data_pipeline [--images=256] [--seconds=3] [--rounds=3]
  [--tensorflow_python=PYTHON] [--torch_python=PYTHON]

Writes photographs made of noise into a temporary folder and lets robustjax's pipeline,
its parts, tf.data and torchvision's loader read them: each in a process of its own, on
one core, in turn, in several rounds. Prints two tables in Markdown: what was measured,
and what follows from it for TPU hosts. tf.data and torchvision are left out unless the
Python of an environment that has them is named.
"""

import argparse
import dataclasses
import math
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

import jax
import jax.numpy as jnp

from benchmarks import photographs
from robustjax.models import norm as norms
from robustjax.models import resnet

PATHS = {
  "**robustjax: decode and augment**": ("ours", "train"),
  "robustjax: the same in a worker process": ("ours", "train_worker"),
  "robustjax: decode and evaluation crop": ("ours", "evaluation"),
  "a part: read a record": ("ours", "read"),
  "a part: decode": ("ours", "decode"),
  "a part: augment": ("ours", "augment"),
  "a part: evaluation crop": ("ours", "crop"),
  "tf.data: decode and augment": ("tf", "train"),
  "tf.data: the same, resized without smoothing": ("tf", "train_plain"),
  "tf.data: decode and evaluation crop": ("tf", "evaluation"),
  "torchvision: decode and augment": ("torch", "train"),
  "torchvision: the same in a worker process": ("torch", "train_worker"),
  "torchvision: decode and evaluation crop": ("torch", "evaluation"),
}
FEEDS = next(iter(PATHS))  # what the second table divides by

# Peak TFLOP/s of a chip in bfloat16, and chips a host, as Google's Cloud TPU
# documentation has them. (v5e and v6e also come with 4 chips a host: half the cores.)
CHIPS = {
  "v3": (123, 4),
  "v4": (275, 4),
  "v5e": (197, 8),
  "v5p": (459, 4),
  "v6e": (918, 8),
}
# Of the peak; a guess, and rather a high one for these networks.
UTILISATION = 0.4
# A backward pass has the operations of two forward passes: one for the gradient by
# the activations, which is all that a step of an attack needs, one for the weights'.
PASSES = {"plain training": 3, "PGD-30": 30 * 2 + 3}


@dataclasses.dataclass(frozen=True)
class Reading:
  """What one process measured.

  Attributes:
    speed: images a second.
    idle: MiB of memory when its libraries had been imported.
    peak: MiB of memory at most, with its workers.
  """

  speed: float
  idle: float
  peak: float


def memory(process: int) -> float:
  """MiB of a process and its descendants; a page that they share counts once."""
  folder, total = pathlib.Path(f"/proc/{process}"), 0.0
  try:
    for line in (folder / "smaps_rollup").read_text().splitlines():
      if line.startswith("Pss:"):
        total += int(line.split()[1]) / 1024
    for task in (folder / "task").iterdir():
      total += sum(memory(int(c)) for c in (task / "children").read_text().split())
  except OSError:
    pass  # it has just ended
  return total


def measure(python: str, path: tuple[str, str], folder: str, seconds: float) -> Reading:
  """One measurement, in a process of its own on the last of our cores."""
  core = max(os.sched_getaffinity(0))
  command = [python, "-m", "benchmarks.data_measure", *path, folder, str(seconds)]
  with (
    tempfile.TemporaryFile("w+") as errors,
    subprocess.Popen(
      [*command, str(core)], stdout=subprocess.PIPE, stderr=errors, text=True
    ) as process,
  ):
    assert process.stdout is not None
    versions = process.stdout.readline().strip()
    idle = peak = memory(process.pid)
    while process.poll() is None:
      peak = max(peak, memory(process.pid))
      try:
        process.wait(0.5)
      except subprocess.TimeoutExpired:
        continue
    speed = process.stdout.read()
    if process.returncode:
      errors.seek(0)
      raise SystemExit(f"{errors.read()}\n{' '.join(command)} failed")
  print(f"{path[0]} {path[1]}: {float(speed):,.0f}/s, {versions}", file=sys.stderr)
  return Reading(float(speed), idle, peak)


def measured(readings: dict[str, list[Reading]]) -> str:
  """The first table."""
  lines = ["| On one core | Images/s | Memory in MiB, peak (before) |", "|---|---|---|"]
  for name, found in readings.items():
    speeds = [r.speed for r in found]
    middle = statistics.median(speeds)
    size = f"{max(r.peak for r in found):,.0f} ({min(r.idle for r in found):,.0f})"
    lines.append(
      f"| {name} | {middle:,.0f} ({min(speeds):,.0f} to {max(speeds):,.0f}) |"
      f" {'' if name.startswith('a part') else size} |"
    )
  return "\n".join(lines)


def forward_flops(depth: int) -> float:
  """Operations of a ResNet's forward pass for an image of 224 x 224, as XLA counts."""
  net = resnet.make(depth, norm=norms.batch())
  image = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
  variables = jax.eval_shape(net.init, jax.random.key(0), image)
  cost = jax.jit(net.apply).lower(variables, image).cost_analysis()
  assert cost is not None
  return float(cost["flops"])


def computed(speed: float) -> str:
  """The second table.

  Args:
    speed: images a second that a core decodes and augments.
  """
  depths = {f"ResNet-{d}": forward_flops(d) for d in (50, 152)}
  columns = {
    f"{net}, {work}": flops * passes
    for work, passes in PASSES.items()
    for net, flops in depths.items()
  }
  lines = [
    f"| Images/s of a host: cores | {' | '.join(columns)} |",
    "|---" * (len(columns) + 1) + "|",
    f"| TFLOP an image | {' | '.join(f'{f / 1e12:.3f}' for f in columns.values())} |",
  ]
  for chip, (peak, chips) in CHIPS.items():
    rates = [chips * peak * 1e12 * UTILISATION / flops for flops in columns.values()]
    cells = [f"{rate:,.0f}: {math.ceil(rate / speed)}" for rate in rates]
    lines.append(f"| {chips} x {chip} | {' | '.join(cells)} |")
  return "\n".join(lines)


def main() -> None:
  """The command line; see the module's docstring."""
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--images", type=int, default=256, help="how many are written")
  parser.add_argument("--seconds", type=float, default=3, help="of each measurement")
  parser.add_argument("--rounds", type=int, default=3)
  parser.add_argument("--tensorflow_python", help="a Python that has TensorFlow")
  parser.add_argument("--torch_python", help="a Python that has torchvision")
  options = parser.parse_args()
  pythons = {
    "ours": sys.executable,
    "tf": options.tensorflow_python,
    "torch": options.torch_python,
  }
  readings: dict[str, list[Reading]] = {
    name: [] for name, (library, _) in PATHS.items() if pythons[library]
  }
  with tempfile.TemporaryDirectory() as folder:
    size = photographs.write(pathlib.Path(folder), options.images)
    for _ in range(options.rounds):
      for name, found in readings.items():
        path = PATHS[name]
        found.append(measure(pythons[path[0]], path, folder, options.seconds))
  print(f"JPEGs of {size / 1e3:.0f} KB; the median of {options.rounds}, with extremes.")
  for library in [name for name, python in pythons.items() if not python]:
    print(f"{library} was not measured: no Python that has it was named.")
  print(f"\n{measured(readings)}\n")
  print(f"Computed, not measured: chips at {UTILISATION:.0%} of their peak.\n")
  print(computed(statistics.median(r.speed for r in readings[FEEDS])))


if __name__ == "__main__":
  main()
