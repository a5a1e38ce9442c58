"""One measurement of benchmarks/gpu.py: robustjax's training step.

python -m benchmarks.gpu_ours NETWORK IMAGES FOLDER

Prints a line of JSON. For 0 images FOLDER gets the variables that both sides begin with
and logits, which PyTorch's must be. Of the package it takes what knows no
configuration: JAX, flax, optax and numpy are enough.
"""

import functools
import json
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks import cases, gpu
from robustjax.attacks import pgd
from robustjax.models import norm as norms
from robustjax.models import resnet
from robustjax.runtime import parallel
from robustjax.training import optimizer, state, step

_CHECKED = 2  # images
_HOLDS = "ThunkExecutor"  # on CPUs: what the operations are inside of


def network(size: gpu.Size, exact: bool = False) -> resnet.ResNet:
  """Padded as torchvision's; in bfloat16, or exact."""
  return resnet.make(
    size.stages,
    norm=norms.batch(),
    num_classes=size.classes,
    width=size.width,
    padding="symmetric",
    dtype=jnp.float32 if exact else jnp.bfloat16,
    precision="highest" if exact else None,
  )


def hand_over(size: gpu.Size, folder: Path) -> None:
  """Writes the variables that both sides begin with, and logits of some images."""
  net, images = network(size, exact=True), gpu.noise(size, _CHECKED)["image"]
  initial = jax.jit(functools.partial(resnet.initial, net))
  variables = cases.lively(initial(jax.random.key(0), jnp.asarray(images)))
  logits = jax.jit(net.apply)(variables, jnp.asarray(images))
  cases.save(folder, "variables", variables)
  cases.save(folder, "found", {"images": images, "logits": logits})


def training(size: gpu.Size, images: int, variables: Any) -> Callable[[], Any]:
  """A call that makes one training step."""
  net, mesh = network(size), parallel.mesh(jax.devices()[:1])
  attack = pgd.PGD(gpu.EPS, gpu.STEP_SIZE, size.steps, gpu.CLEAN_START)
  update = optimizer.sgd(
    lambda _: gpu.RATE,
    momentum=gpu.MOMENTUM,
    nesterov=True,
    weight_decay=gpu.DECAY,
  )
  train = step.make_train_step(
    net.apply,
    step.make_attack_step(net.apply, attack, size.classes),
    step.Strategy(
      clean_ratio=0.0, label_smoothing=gpu.SMOOTHING, group=min(size.group, images)
    ),
    update,
    parallel.AXIS,
  )
  mapped = parallel.pmap(train, mesh, donate_argnums=(0,))
  shape, key = (size.side, size.side, 3), jax.random.key(0)
  begun = state.create(lambda *_: variables, update, key, shape)
  current = parallel.replicate(begun, mesh)
  given = {**gpu.noise(size, images), "index": jnp.arange(images, dtype=jnp.int32)}
  batch = parallel.shard(given, mesh)

  def run() -> None:
    nonlocal current
    current, metrics = mapped(current, batch, key)
    jax.block_until_ready(metrics)

  return run


def product(side: int) -> float:
  """TFLOP/s of bfloat16 matrices' product."""
  square = jax.random.normal(jax.random.key(0), (side, side), jnp.bfloat16)
  multiply = jax.jit(jnp.matmul)
  multiply(square, square).block_until_ready()
  start, count = time.perf_counter(), 20
  for _ in range(count):
    made = multiply(square, square)
  made.block_until_ready()
  return 2 * side**3 * count / (time.perf_counter() - start) / 1e12


def costs(run: Callable[[], Any]) -> list[dict[str, Any]]:
  """The largest kinds of operations of a call, from a profile of it."""
  with tempfile.TemporaryDirectory() as folder:
    with jax.profiler.trace(folder):
      run()
    (file,) = Path(folder).rglob("*.xplane.pb")
    return gpu.largest(by_kind(jax.profiler.ProfileData.from_file(str(file))))


def by_kind(profile: Any) -> dict[str, float]:
  """Kind of operation -> seconds; of the GPU's streams, or of XLA's threads on CPUs."""
  on_gpu = jax.default_backend() == "gpu"
  device, begins = ("/device:GPU", "Stream") if on_gpu else ("/host:CPU", "tf_XLA")
  seconds: Counter[str] = Counter()
  for plane in profile.planes:
    for line in plane.lines:
      if plane.name.startswith(device) and line.name.startswith(begins):
        for event in line.events:
          seconds[kind(event.name)] += event.duration_ns / 1e9
  return {name: taken for name, taken in seconds.items() if _HOLDS not in name}


def kind(name: str) -> str:
  """An operation's name without the numbers that tell it from others of its kind."""
  return re.sub(r"([._]\d+)+$", "", name)


def main() -> int:
  """The command line; see the module's docstring."""
  name, images, folder = sys.argv[1:]
  size = {**gpu.NETWORKS, **gpu.TINY}[name]
  if not int(images):
    hand_over(size, Path(folder))
    print("{}")
    return 0
  try:
    run = training(size, int(images), cases.load(Path(folder), "variables"))
    run()
    run()
    seconds = [_timed(run) for _ in range(gpu.REPEATS)]
    found = {
      "device": jax.devices()[0].device_kind,
      "seconds": seconds,
      "costs": costs(run),
      "matrices": product(size.matrices),
    }
  except jax.errors.JaxRuntimeError as error:
    if "RESOURCE_EXHAUSTED" in str(error) or "out of memory" in str(error).lower():
      return gpu.NO_MEMORY
    raise
  print(json.dumps(found))
  return 0


def _timed(run: Callable[[], Any]) -> float:
  start = time.perf_counter()
  run()
  return time.perf_counter() - start


if __name__ == "__main__":
  sys.exit(main())
