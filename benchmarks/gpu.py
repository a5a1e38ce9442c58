"""The training step with PGD-30 on this machine's GPU, beside PyTorch. See gpu.sh.

python -m benchmarks.gpu FILE [--tiny]

Trains ResNet-50 and -152 on noise of 224 px in bfloat16, by robustjax and by PyTorch
(channels-last, compiled), in processes of their own, batch by batch, twice as large
each time until memory is out. FILE gets JSON after each of them:

- "device", "versions"; "matrices": bfloat16 TFLOP/s by library;
- "networks": name -> side -> images in a batch -> "images_per_second" (median, lowest
  and highest of five steps), "share" of the faster library's matrix rate, and "costs",
  the five kinds of operations that took most of a step, with their part of it;
- "best": name -> side -> the batch with the most images a second;
- "measurements": each by itself. Started again, it goes on behind those in FILE.

--tiny shows that all of this works where there is no GPU, and writes nothing.
"""

import argparse
import dataclasses
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import machine

# A process that measures says by this exit status that its batch does not fit.
NO_MEMORY = 3
REPEATS, COSTS = 5, 5
SIDES = {"robustjax": "benchmarks.gpu_ours", "PyTorch": "benchmarks.gpu_theirs"}


@dataclasses.dataclass(frozen=True)
class Size:
  """What is trained.

  Attributes:
    stages: bottleneck blocks a stage.
    width: channels of the first.
    side: of the images, in pixels.
    classes: of the images.
    steps: of PGD.
    group: images that share statistics here; PyTorch takes the whole batch's at once.
    matrices: side of those whose product is the measure.
    batches: that are tried, until one does not fit.
  """

  stages: tuple[int, ...]
  width: int = 64
  side: int = 224
  classes: int = 1000
  steps: int = 30
  group: int = 32
  matrices: int = 8192
  batches: tuple[int, ...] = tuple(32 * 2**i for i in range(8))


NETWORKS = {"ResNet-50": Size((3, 4, 6, 3)), "ResNet-152": Size((3, 8, 36, 3))}
TINY = {"tiny": Size((1, 1), 8, 32, 10, 2, 4, 256, (4, 8))}
# The recipe of FD, in pixels of 0 to 255.
EPS, STEP_SIZE, CLEAN_START = 16.0, 1.0, 0.2
RATE, MOMENTUM, DECAY, SMOOTHING = 0.1, 0.9, 1e-4, 0.1


def noise(size: Size, images: int) -> dict[str, Any]:
  """A batch: images [n, h, w, 3] uint8, and labels [n]."""
  rng = np.random.default_rng(0)
  shape = images, size.side, size.side, 3
  return {
    "image": rng.integers(0, 256, shape, np.uint8),
    "label": rng.integers(0, size.classes, images, np.int32),
  }


def largest(seconds: Mapping[str, float]) -> list[dict[str, Any]]:
  """The largest of some times by name, each with its part of all of them."""
  total = sum(seconds.values()) or 1.0
  first = sorted(seconds.items(), key=lambda item: -item[1])[:COSTS]
  return [{"name": name, "part": round(taken / total, 4)} for name, taken in first]


def measured(side: str, name: str, images: int, folder: str) -> dict[str, Any]:
  """What a process found, {"fits": False} if the batch does not fit.

  Raises:
    SystemExit: it failed otherwise; its own lines say how.
  """
  command = [sys.executable, "-m", SIDES[side], name, str(images), folder]
  done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
  if done.returncode == NO_MEMORY:
    return {"fits": False}
  if done.returncode:
    raise SystemExit(f"error: {' '.join(command[1:])} failed")
  found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
  return found


def search(
  networks: Mapping[str, Size], before: Sequence[dict[str, Any]] = ()
) -> Iterator[list[dict[str, Any]]]:
  """All that was found so far, after each batch.

  Args:
    networks: by name.
    before: what an earlier start found, which is not measured again.
  """
  found = list(before)
  for name, size in networks.items():
    with tempfile.TemporaryDirectory() as folder:
      measured("robustjax", name, 0, folder)  # its weights and logits, for PyTorch
      for side in SIDES:
        for images in size.batches:
          which = {"network": name, "side": side, "images": images}
          one = next((f for f in found if f.items() >= which.items()), None)
          if one is None:
            print(f"{name}, {side}, {images} images", file=sys.stderr, flush=True)
            one = which | measured(side, name, images, folder)
            found.append(one)
            yield found
          if not one.get("fits", True):
            break


def summary(measurements: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
  """What FILE gets; see the module's docstring."""
  found = [one for one in measurements if one.get("fits", True)]
  rates: dict[str, float] = {}
  operations = {f["network"]: f["operations"] for f in found if "operations" in f}
  for one in found:
    rates[one["side"]] = max(rates.get(one["side"], 0.0), one["matrices"])
  networks: dict[str, Any] = {}
  for one in found:
    speeds = [one["images"] / seconds for seconds in one["seconds"]]
    middle = statistics.median(speeds)
    row: dict[str, Any] = {
      "images_per_second": [middle, min(speeds), max(speeds)],
      "costs": one["costs"],
    }
    if one["network"] in operations:
      flops = middle * operations[one["network"]]
      row["share"] = flops / max(rates.values()) / 1e12
    sides = networks.setdefault(one["network"], {})
    sides.setdefault(one["side"], {})[str(one["images"])] = row
  return {
    "device": next((one["device"] for one in found), ""),
    "versions": machine.versions(),
    "matrices": rates,
    "networks": networks,
    "best": {
      name: {
        side: max(rows, key=lambda images: rows[images]["images_per_second"][0])
        for side, rows in sides.items()
      }
      for name, sides in networks.items()
    },
    "measurements": measurements,
  }


def main() -> int:
  """The command line; see the module's docstring."""
  parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
  parser.add_argument("file", type=Path)
  parser.add_argument("--tiny", action="store_true", help="proves that it runs")
  args = parser.parse_args()
  if args.tiny:
    *_, found = search(TINY)
    sides = ", ".join(summary(found)["networks"]["tiny"])
    print(f"ran, and wrote nothing: {sides}")
    return 0
  before = json.loads(args.file.read_text()) if args.file.exists() else {}
  for found in search(NETWORKS, before.get("measurements", ())):
    args.file.write_text(json.dumps(summary(found), indent=1) + "\n")
  print(f"complete: {args.file}")
  return 0


if __name__ == "__main__":
  sys.exit(main())
