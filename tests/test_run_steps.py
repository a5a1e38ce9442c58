"""The paper's scale traced abstractly, and pieces that fit together."""

import functools
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from data_files import folder_config, image_folder

from experiments import mbn_alp
from robustjax.attacks import pgd
from robustjax.data import sample
from robustjax.errors import UserError
from robustjax.models import norm as norms
from robustjax.run import network, steps
from robustjax.run import schedule as schedules
from robustjax.run.data import Images, open_data
from robustjax.runtime import parallel
from robustjax.training import step


def count(tree):
  return sum(x.size for x in jax.tree.leaves(tree))


def shapes(c, images):
  data = c.data
  size = (images, data.image_size, data.image_size, data.channels)
  ints = jax.ShapeDtypeStruct((images,), jnp.int32)
  image = jax.ShapeDtypeStruct(size, jnp.uint8)
  return {"image": image, "label": ints, "index": ints}


@pytest.mark.slow
@pytest.mark.parametrize(
  "statistics", [pytest.param("batch", marks=pytest.mark.thorough), "running"]
)
def test_the_papers_step_traces_at_224_pixels(statistics):
  c = mbn_alp.get_config()
  key = jax.eval_shape(lambda: jax.random.key(0))
  state = jax.eval_shape(lambda k: steps.initial_state(c, k), key)
  # ResNet-152 with BN has 60,192,808 parameters; MBN adds a scale and a bias for
  # each of the 75,712 channels that it normalises.
  assert count(state.params) == 60192808 + 2 * 75712
  assert count(norms.branch_of(state.params, "adv")) == 60192808
  train_step = steps.train_step(c, "tpu", statistics, axis=None)
  new, metrics = jax.eval_shape(train_step, state, shapes(c, c.model.group), key)
  assert jax.tree.map(jnp.shape, new) == jax.tree.map(jnp.shape, state)
  assert {"loss", "loss_clean", "loss_adv", "alp", "accuracy_adv"} <= set(metrics)


@pytest.mark.parametrize(
  "name, value", [("train.batch_size", 96), ("eval.batch_size", 100)]
)
def test_batches_that_the_devices_do_not_divide_are_refused(name, value):
  c = mbn_alp.get_config("mini")
  c.train.batch_size, c.eval.batch_size = 256, 200
  steps.check(c, 8)
  section, key = name.split(".")
  c[section][key] = value
  with pytest.raises(UserError, match=f"config.{name} of {value} images"):
    steps.check(c, 8)


def test_a_run_takes_as_many_devices_as_its_batches_can_be_cut_over():
  c = mbn_alp.get_config("mini")
  fitting = [devices for devices in range(1, 9) if steps.fit(c, devices)]
  assert fitting == [1, 2]
  for devices in range(1, 9):
    if devices in fitting:
      steps.check(c, devices)
    else:
      with pytest.raises(UserError, match="does not split"):
        steps.check(c, devices)


def test_validation_counts_the_last_images(monkeypatch):
  c = mbn_alp.get_config("mini")
  c.train.validation_images = 24
  c.eval.batch_size = 16
  c.attack.steps = 1
  c.model.width = 8
  mesh = parallel.mesh()
  seen = []
  original = Images.batches

  def recorded(*args):
    for batch in original(*args):
      seen.extend(int(i) for i in batch["index"])
      yield batch

  monkeypatch.setattr(Images, "batches", recorded)
  source = open_data(c).test
  state = parallel.replicate(steps.initial_state(c, jax.random.key(0)), mesh)
  validate = steps.validation(c, source, mesh, jax.random.key(0))
  rates = validate(state)
  with pytest.raises(UserError, match="diverged by step 0, which is not saved"):
    validate(state.replace(params=jax.tree.map(lambda x: x * math.nan, state.params)))
  seen[24:] = []
  assert [i for i in seen if i >= 0] == list(range(1976, 2000))
  assert set(rates) == {"accuracy_clean", "accuracy_adv", "target_rate"}
  assert all(0 <= rate <= 1 for rate in rates.values())


def tiny_folder(tmp_path, broken=()):
  """The configuration of a folder of 20 + 20 grey images, some broken."""
  folder = image_folder(
    tmp_path / "images", {"train": 2, "val": 10}, size=(28, 28), channels=1
  )
  for name in broken:
    (folder / name).write_bytes(b"")
  c = folder_config(folder, "mini")
  c.data.train_examples, c.data.test_examples, c.data.classes = 4, 20, 2
  c.data.class_digest = ""
  c.train.validation_images, c.eval.batch_size = 12, 8
  c.attack.steps, c.model.width = 1, 8
  return c


def test_validation_leaves_broken_images_out_and_tells(tmp_path):
  c = tiny_folder(tmp_path)
  mesh = parallel.mesh()
  source = open_data(c).test
  first, last, *_ = sample.others(source, 12)
  for index in (first, last):
    Path(source.location(index)).write_bytes(b"")
  state = parallel.replicate(steps.initial_state(c, jax.random.key(0)), mesh)
  with pytest.raises(UserError, match=Path(source.location(first)).name):
    steps.validation(c, source, mesh, jax.random.key(0))(state)
  c.data.broken_images = "skip"
  rates = steps.validation(c, source, mesh, jax.random.key(0))(state)
  assert rates["skipped"] == 2
  assert rates["accuracy_clean"] * 10 == pytest.approx(
    round(rates["accuracy_clean"] * 10)
  )
  for index in sample.others(source, 12):
    Path(source.location(index)).write_bytes(b"")
  with pytest.raises(UserError, match="all 12 images of the validation are broken"):
    steps.validation(c, source, mesh, jax.random.key(0))(state)


def test_a_depth_that_does_not_exist_is_refused():
  c = mbn_alp.get_config("mini")
  c.train.batch_size, c.model.stages, c.model.depth = 256, (), 151
  with pytest.raises(UserError, match="config.model: no ResNet-151"):
    steps.check(c, 8)


def test_the_papers_values_reach_the_pieces(monkeypatch):
  """From the configuration to what the pieces are made with."""
  made = {}
  c = mbn_alp.get_config()
  for module, name in (
    (steps.step, "make_attack_step"),
    (steps.step, "make_train_step"),
    (schedules.optimizer, "step_schedule"),
    (schedules.optimizer, "sgd"),
    (steps.trajectory, "make_steps"),
  ):
    original = getattr(module, name)

    @functools.wraps(original)  # some are called by the names of their arguments
    def spy(*args, original=original, name=name, **kwargs):
      made[name] = (args, kwargs)
      return original(*args, **kwargs)

    monkeypatch.setattr(module, name, spy)
  steps.train_step(c, "tpu", axis=None)
  steps.evaluation_steps(c, parallel.mesh())
  _, attack, classes = made["make_attack_step"][0]
  assert attack == pgd.PGD(16.0, 1.0, 30, clean_start=0.2) and classes == 1000
  strategy = made["make_train_step"][0][2]
  assert strategy == step.Strategy(
    adv=True, clean_ratio=1.0, alp_weight=0.5, label_smoothing=0.1, group=32,
    separate=True, statistics="batch",
  )  # fmt: skip
  assert made["step_schedule"][1] == {
    "peak": 1.6, "steps_per_epoch": 313, "warmup_epochs": 5.0, "warmup_from": 0.1,
    "decay_epochs": (35.0, 70.0, 95.0), "decay_factor": 0.1,
  }  # fmt: skip
  assert made["sgd"][1] == {"momentum": 0.9, "nesterov": True, "weight_decay": 1e-4}
  evaluated = made["make_steps"][1]
  assert evaluated["eps"] == 16.0 and evaluated["num_classes"] == 1000
  assert network.network(c, "tpu").dtype == jnp.bfloat16


def test_less_than_one_step_is_refused():
  c = mbn_alp.get_config("mini")
  c.train.batch_size, c.train.epochs = 256, 0.001
  with pytest.raises(UserError, match="train.epochs is 0.001, less than one step"):
    steps.check(c, 8)
