"""One measurement of benchmarks/gpu.py: PyTorch's training step.

python -m benchmarks.gpu_theirs NETWORK IMAGES FOLDER

Prints a line of JSON, once its network's logits are those that FOLDER has. Channels-
last and bfloat16, compiled.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import cases, gpu
from benchmarks.torch_resnet import ResNet
from benchmarks.torch_steps import Recipe, Training

TOLERANCE = 5e-3  # of logits in float32, by the largest


def recipe(size: gpu.Size) -> Recipe:
  """As ours; statistics of the whole batch at once, which costs PyTorch less."""
  return Recipe(
    eps=gpu.EPS / 255,
    step_size=gpu.STEP_SIZE / 255,
    steps=size.steps,
    mixture=False,
    alp_weight=0.0,
    smoothing=gpu.SMOOTHING,
    batches=1,
    rate=gpu.RATE,
    momentum=gpu.MOMENTUM,
    weight_decay=gpu.DECAY,
  )


def tensors(size: gpu.Size, images: int, device: str) -> tuple[torch.Tensor, ...]:
  """Images, labels, starts and targets of a batch."""
  batch, eps = gpu.noise(size, images), gpu.EPS / 255
  pixels = torch.tensor(batch["image"].transpose(0, 3, 1, 2) / np.float32(255))
  pixels = pixels.contiguous(memory_format=torch.channels_last).to(device)
  labels = torch.tensor(batch["label"].astype(np.int64), device=device)
  start = (pixels + torch.empty_like(pixels).uniform_(-eps, eps)).clamp_(0, 1)
  return pixels, labels, start, (labels + 1) % size.classes


def check(variables: Any, size: gpu.Size, folder: Path, device: str) -> None:
  """Whether it is the same network.

  Raises:
    SystemExit: it is not.
  """
  found = cases.load(folder, "found")
  pixels = torch.tensor(found["images"].transpose(0, 3, 1, 2) / np.float32(255))
  net = ResNet(variables, size.stages, 2, padding="symmetric").moved(device)
  torch.backends.cudnn.allow_tf32 = False
  with torch.no_grad():
    logits = net(pixels.to(device)).cpu().numpy()
  torch.backends.cudnn.allow_tf32 = True
  apart = np.abs(logits - found["logits"]).max() / np.abs(found["logits"]).max()
  if not apart <= TOLERANCE:
    raise SystemExit(f"error: the logits are {apart:.2g} apart, not the same")


def operations(variables: Any, size: gpu.Size) -> int:
  """Of a training step, for an image, in convolutions and matrix products."""
  images = 2  # batch norm wants more than one value a channel
  net = ResNet(variables, size.stages, 2, padding="symmetric").moved("meta")
  step = Training(net, recipe(size))
  given = [x.to("meta") for x in tensors(size, images, "cpu")]
  with FlopCounterMode(display=False) as counter:
    step(*given)
  return int(counter.get_total_flops()) // images


def product(side: int, device: str) -> float:
  """TFLOP/s of bfloat16 matrices' product."""
  square = torch.randn(side, side, device=device, dtype=torch.bfloat16)
  _finished(square @ square)
  start, count = time.perf_counter(), 20
  for _ in range(count):
    made = square @ square
  _finished(made)
  return 2 * side**3 * count / (time.perf_counter() - start) / 1e12


def costs(run: Callable[[], Any]) -> list[dict[str, Any]]:
  """The largest kinds of operations of a call, from a profile of it."""
  on_gpu = torch.cuda.is_available()
  wanted = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
  with profile(activities=wanted) as found:
    run()
  kernels = torch.autograd.DeviceType.CUDA if on_gpu else torch.autograd.DeviceType.CPU
  return gpu.largest(
    {
      event.key: event.self_device_time_total if on_gpu else event.self_cpu_time_total
      for event in found.key_averages()
      if event.device_type == kernels
    }
  )


def _finished(result: torch.Tensor) -> float:
  """Waits for a result, of which it is one number."""
  return result.flatten()[0].item()


def main() -> int:
  """The command line; see the module's docstring."""
  name, images, folder = sys.argv[1:]
  size = {**gpu.NETWORKS, **gpu.TINY}[name]
  device = "cuda" if torch.cuda.is_available() else "cpu"
  torch.backends.cudnn.benchmark = True
  variables = cases.load(Path(folder), "variables")
  check(variables, size, Path(folder), device)
  found: dict[str, Any] = {"operations": operations(variables, size)}
  net = ResNet(
    variables, size.stages, 2, padding="symmetric", dtype=torch.bfloat16
  ).moved(device)
  step = Training(net, recipe(size), compiled=True)
  given = tensors(size, int(images), device)

  def run() -> None:
    _finished(step(*given))

  def timed() -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start

  try:
    run()
    run()
    found["seconds"] = [timed() for _ in range(gpu.REPEATS)]
    found["costs"] = costs(run)
  except torch.OutOfMemoryError:
    return gpu.NO_MEMORY
  found["matrices"] = product(size.matrices, device)
  found["device"] = torch.cuda.get_device_name() if device == "cuda" else "cpu"
  print(json.dumps(found))
  return 0


if __name__ == "__main__":
  sys.exit(main())
