"""An evaluation of 50,000 images counts each once, however they are spread.

What a program computes of one image may differ in the last bit where the images are cut
into other batches, and an image on the edge between two classes would then be counted
differently. On this network no image is, and so the counts are equal to the last one.

`python tests/test_exact_counts.py HOST:PORT PROCESSES PROCESS WORKDIR` is one process.
"""

import json
import os
import pickle
import socket
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import CLASSES, tiny

from robustjax.attacks import pgd
from robustjax.data import pipeline
from robustjax.data.sources import Source
from robustjax.evaluation import evaluate, trajectory
from robustjax.hosts.cluster import Member
from robustjax.hosts.processes import Hosts, join
from robustjax.inspect import norms as statistics
from robustjax.models import norm as norms
from robustjax.runtime import parallel
from robustjax.runtime.preemption import Stop

ROOT = Path(__file__).parents[1]
COUNT, EPS, KEY = 50_000, 8.0, 3
BATCH = 7_008  # the last batch is not full, and its images end within a device's share
PLAN = trajectory.trajectories((1, 2), EPS, 1.0)
STEP_SIZES = {n: t.step_size for t in PLAN for n in t.readings}


class Records:
  """Coarse random images in memory, each made from its index."""

  def __init__(self, labels):
    self.labels = labels

  def __len__(self):
    return COUNT

  def __getitem__(self, index):
    noise = np.random.default_rng(index)
    coarse = noise.integers(0, 256, (2, 2, 3)).repeat(4, 0).repeat(4, 1)
    image = np.clip(coarse + noise.integers(-40, 40, (8, 8, 3)), 0, 255)
    return {"image": image.astype(np.uint8), "label": self.labels[index]}


def batches(labels, first=0, **processes):
  source = Source("noise", "test", tuple("abcde"), (8, 8, 3), Records(labels))
  return pipeline.evaluation_batches(
    source, lambda image: image, indices=range(first, COUNT), batch_size=BATCH,
    **processes,
  )  # fmt: skip


# 50,000 images take longer to run than their programs to compile.
pytestmark = pytest.mark.usefixtures("optimised")
NET = tiny(norms.batch())


def classifier(images):
  """Variables for which every class is predicted often, by small margins."""
  init = jax.jit(NET.init)(jax.random.key(0), jnp.zeros((1, 8, 8, 3)))
  noise = np.random.default_rng(0)
  params = jax.tree.map(
    lambda x: np.float32(x + 0.3 * noise.normal(size=x.shape)), init["params"]
  )
  variables = {"params": params, "batch_stats": init["batch_stats"]}
  moments = jax.jit(lambda v, x: statistics.batch_statistics(NET.apply, v, x))(
    variables, images
  )
  variables = jax.tree.map(np.asarray, {"params": params, "batch_stats": moments})
  params["fc"]["bias"] = -np.asarray(jax.jit(NET.apply)(variables, images).mean(0))
  return {"params": params, "batch_stats": variables["batch_stats"]}


def counts(folder, variables, labels, hosts=Hosts()):  # noqa: B008
  """The rows of an evaluation over all devices, as JSON has them."""
  mesh = parallel.mesh()
  made = trajectory.make_steps(
    NET.apply, NET.apply, eps=EPS, num_classes=CLASSES, axis=parallel.AXIS
  )
  whole, cut = None, 0
  steps = trajectory.Steps(
    parallel.pmap(made.begin, mesh, (cut, whole), cut),
    parallel.pmap(made.advance, mesh, (whole, cut, cut, cut, whole, whole), cut),
    parallel.pmap(made.read, mesh, (whole, cut, cut, cut, cut), (cut, whole)),
  )
  processes = {
    "process_index": jax.process_index(), "process_count": jax.process_count()
  }  # fmt: skip

  def from_batch(done):
    local = batches(labels, done * BATCH, **processes)
    return (parallel.shard(batch, mesh) for batch in local)

  found = evaluate.evaluate(
    steps, {"all": variables}, from_batch, key=jax.random.key(KEY), plan=PLAN, eps=EPS,
    images=COUNT, batch_size=BATCH, identity={}, workdir=folder, stop=Stop(),
    shows=hosts.leads,
  )  # fmt: skip
  rows = {
    row["steps"]: [row["images"], row["correct"], row["target_hits"]]
    for row in found["rows"]
  }
  return json.loads(json.dumps([rows, found["worst_case"][0]["correct"]]))


@pytest.fixture(scope="module")
def task(optimised):
  """The images, the variables, and labels that are mostly what the net says."""
  images = np.stack([Records([0] * COUNT)[i]["image"] for i in range(COUNT)])
  variables = classifier(images[:512].astype(np.float32))
  say = jax.jit(lambda x: NET.apply(variables, x).argmax(-1))
  labels = np.concatenate([say(part) for part in np.split(images, 20)])
  # Not of the first, which pads the last batch: counted, it would be seen.
  labels[1::5] = np.arange(COUNT // 5) % CLASSES
  return images, variables, labels


@pytest.fixture(scope="module")
def reference(task):
  """The counts without masks, padding, devices or shared trajectories."""
  images, variables, labels = task

  @jax.jit
  def predict(images, labels, index, steps, size):
    keys = pgd.image_keys(jax.random.key(KEY), index)
    targets = pgd.random_targets(labels, CLASSES, keys)
    attack = pgd.PGD(EPS, size, 0)
    start = attack.start(images, keys)
    adv = attack.advance(
      lambda x: NET.apply(variables, x), images, start, targets, steps
    )
    logits = NET.apply(variables, jnp.where(steps > 0, adv, images))
    return logits.argmax(-1), targets

  def predict_all(*attack):
    whole = images, labels, np.arange(COUNT)
    parts = zip(*(np.split(x, 20) for x in whole), strict=True)
    found = [predict(*part, *attack) for part in parts]
    return (np.concatenate(x) for x in zip(*found, strict=True))

  rows, unbroken = {}, np.ones(COUNT, bool)
  for steps, size in {0: 0.0, **STEP_SIZES}.items():
    predicted, targets = predict_all(steps, size)
    right, hit = predicted == labels, predicted == targets
    rows[str(steps)] = [COUNT, int(right.sum()), int(hit.sum())]
    unbroken &= right
  return [rows, int(unbroken.sum())]


def test_the_masks_hold_every_image_once():
  parts = [
    batches(np.zeros(COUNT, int), process_index=process, process_count=2)
    for process in range(2)
  ]
  index = [b["index"][b["mask"]] for both in zip(*parts, strict=True) for b in both]
  np.testing.assert_array_equal(np.concatenate(index), np.arange(COUNT))


@pytest.mark.slow
def test_counts_on_devices_are_those_of_a_plain_computation(tmp_path, task, reference):
  _, variables, labels = task
  assert counts(tmp_path, variables, labels) == reference
  rows, _ = reference
  assert len({right for _, right, _ in rows.values()}) == 3  # the attack does something


@pytest.mark.slow
@pytest.mark.thorough
def test_counts_on_two_processes_are_those_of_a_plain_computation(
  tmp_path, task, reference
):
  (tmp_path / "task").write_bytes(pickle.dumps(task[1:]))
  with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    coordinator = f"127.0.0.1:{free.getsockname()[1]}"
  words = [sys.executable, __file__, coordinator, "2"]
  environment = {
    **os.environ,
    "JAX_DISABLE_MOST_OPTIMIZATIONS": "0",
    "XLA_FLAGS": "",
    "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}",
  }
  both = [
    subprocess.Popen([*words, str(process), str(tmp_path)], env=environment)
    for process in range(2)
  ]
  try:
    assert [process.wait(timeout=240) for process in both] == [0, 0]
  finally:
    for process in both:
      process.kill()
      process.wait()
  for process in range(2):
    assert json.loads((tmp_path / f"{process}.json").read_text()) == reference


def main(coordinator, processes, process, folder):
  jax.config.update("jax_num_cpu_devices", 4)
  hosts = join(
    Member(coordinator, int(processes), int(process)), {"--workdir": folder}, 60
  )
  variables, labels = pickle.loads((Path(folder) / "task").read_bytes())
  found = counts(Path(folder), variables, labels, hosts=hosts)
  (Path(folder) / f"{process}.json").write_text(json.dumps(found))
  hosts.leave()


if __name__ == "__main__":
  main(*sys.argv[1:])
