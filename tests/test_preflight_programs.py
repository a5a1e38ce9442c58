"""What a preflight compiles is what main runs: the same text, letter by letter."""

import jax
import numpy as np
import pytest

from robustjax import config
from robustjax.evaluation import compiled, trajectory
from robustjax.evaluation.robustness import BATCH
from robustjax.preflight import compiling, programs, topology
from robustjax.run import network, steps
from robustjax.run.data import images_of, open_data, train_batches
from robustjax.runtime import parallel


def small(**changes):
  """MBN at mini scale with the last epochs on running statistics, and a tiny net."""
  made = config.base("mbn_alp", "mini,star")
  values = {
    "model.norm": "mbn", "loss.clean_ratio": 1.0, "loss.alp_weight": 0.5,
    "model.stages": (1,), "model.width": 4, "train.batch_size": 256, **changes,
  }  # fmt: skip
  for name, value in values.items():
    config.change(made, name, value, "test")
  return made


@pytest.fixture(
  scope="module", params=["stop", pytest.param("skip", marks=pytest.mark.toolchain)]
)
def run(request):
  """What main has in its hands: the configuration, state, batches and key."""
  made = small(**{"data.broken_images": request.param})
  mesh = parallel.mesh()
  data = open_data(made)
  state = parallel.replicate(steps.initial_state(made, jax.random.key(0)), mesh)
  key = jax.random.fold_in(jax.random.key(0), 1)
  train = next(train_batches(made, data.train, mesh, 0))
  test = next(
    images_of(made, data.test).batches(range(1000), made.eval.batch_size, mesh)
  )
  return made, mesh, state, train, test, key


def same(program, function, *arguments):
  real = function.lower(*arguments)
  assert program.function.lower(*program.arguments).as_text() == real.as_text()


def test_evaluations_are_exact_whatever_training_computes_in():
  made, mesh = small(**{"model.dtype": "bfloat16"}), parallel.mesh()
  made.eval.attack = "apgd-ce"
  (train, *_), (advance, read, _) = (
    make(made, mesh) for make in (programs.training, programs.evaluation)
  )
  exact = [advance, read, *programs.adaptive(made, mesh)]
  for program in (train, *exact):
    text = program.function.lower(*program.arguments).as_text()
    assert ("bf16" in text, "HIGHEST" in text) == (program is train, program in exact)


def a_device(tree):
  shards = (leaf.addressable_shards[0].data for leaf in jax.tree.leaves(tree))
  return sum(np.asarray(shard).nbytes for shard in shards)


def test_the_train_steps_are_mains(run):
  made, mesh, state, train, _, key = run
  mapped = steps.train_steps(made, mesh)
  plain, running = programs.training(made, mesh)
  assert (plain.name, running.name) == (programs.TRAIN, programs.RUNNING)
  same(plain, mapped["batch"], state, train, key)
  same(running, mapped["running"], state, train, key)


def test_the_validation_step_is_mains(run):
  made, mesh, state, _, test, key = run
  program = programs.validation(made, mesh)
  same(program, steps.eval_step(made, mesh), state, test, key)


def test_the_evaluations_functions_are_mains(run):
  made, mesh, state, _, test, key = run
  mapped = steps.evaluation_steps(made, mesh)
  variables = network.branches(made, state.variables)["adv"]
  values = made.eval
  plan = trajectory.trajectories(values.readings, values.eps, values.step_size)
  targets, adv = mapped.begin(test, key)
  advance, read, begin = programs.evaluation(made, mesh)
  size, chunk = plan[0].step_size, min(trajectory.CHUNK, plan[0].readings[0])
  same(advance, mapped.advance, variables, test, adv, targets, size, chunk)
  same(read, mapped.read, variables, test, adv, targets, test["mask"])
  same(begin, mapped.begin, test, key)


def test_the_adaptive_attacks_are_mains(run):
  made, mesh, state, *_ = run
  platform = parallel.platform(mesh.devices.flat[0])
  branch = network.of_run(made, state.variables, platform)["adv"]
  shape = made.data.image_size, made.data.image_size, made.data.channels
  mains = compiled.programs(branch, steps.attacks(made), shape, mesh)
  images = images_of(made, open_data(made).test)
  size = BATCH * mesh.size
  batch = next(images.batches(range(size), size, mesh))
  numbers = np.uint32(0), np.int32(0), np.int32(0)
  (program,) = programs.adaptive(made, mesh)
  assert program.name == "evaluation, apgd-ce"
  attack = mains.attack["apgd-ce"]
  same(program, attack, branch.variables, batch, *numbers, mains.begin(batch))
  found = mains.begin(batch)
  assert program.parts["batch"] == a_device((batch, found))
  assert programs.adaptive(small(**{"eval.attack": ""}), mesh) == []


def test_bytes_of_the_parts_are_those_of_the_arrays(run):
  made, mesh, state, train, test, key = run
  (plain, _) = programs.training(made, mesh)
  assert plain.parts == {
    "parameters": a_device(state.params),
    "optimiser": a_device(state.opt_state),
    "statistics": a_device(state.batch_stats),
    "batch": a_device(train),
  }
  advance = programs.evaluation(made, mesh)[0]
  targets, adv = steps.evaluation_steps(made, mesh).begin(test, key)
  variables = network.branches(made, state.variables)["adv"]
  assert advance.parts["batch"] == a_device((test, targets, adv))
  assert advance.parts["parameters"] == a_device(variables["params"])
  idle = a_device(state) - a_device(variables)
  assert advance.beside == idle + a_device(adv)  # the first iterate is kept
  read, begin = programs.evaluation(made, mesh)[1:]
  assert read.beside == advance.beside + a_device(test["image"])
  assert begin.beside == a_device(state)


def test_a_validation_holds_the_whole_state(run):
  made, mesh, _, _, test, _ = run
  program = programs.validation(made, mesh)
  compiled = compiling.compile_program(program, topology.cpu())
  in_all = compiled.memory.arguments + program.beside
  # Of the batch it takes no index.
  assert in_all >= sum(program.parts.values()) - program.parts["batch"] + (
    a_device(test["image"])
  )


def test_without_running_statistics_there_is_one_train_step():
  made = small(**{"train.running_statistics_epochs": 0.0})
  (only,) = programs.training(made, parallel.mesh())
  assert only.name == programs.TRAIN


def test_a_program_is_made_again_by_its_name():
  made = small()
  mesh = parallel.mesh()
  every = programs.training(made, mesh) + programs.evaluation(made, mesh)
  every += programs.adaptive(made, mesh)
  for one in [*every, programs.validation(made, mesh)]:
    values = config.copy(one.config)
    again = programs.named(one.name, values, mesh)
    assert again.name == one.name
    same(again, one.function, *one.arguments)
