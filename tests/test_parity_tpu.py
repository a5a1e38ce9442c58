"""What the preflight says against the TPU compiler itself, without a TPU."""

import dataclasses
import functools
import json
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from jax.experimental.compilation_cache import compilation_cache
from test_preflight_programs import small

from robustjax.preflight import (
  answers,
  chips,
  compiling,
  programs,
  table,
  topology,
)
from robustjax.runtime import parallel

pytestmark = pytest.mark.parity

WHY = "`make parity` installs what the parity tests compare with"
pytest.importorskip("libtpu", reason=WHY)

NET = {"data.image_size": 8, "data.channels": 3}
KINDS = {"v3": "2x2", "v4": "2x2x1", "v5e": "2x4", "v5p": "2x2x1", "v6e": "2x4"}


@pytest.fixture(autouse=True, scope="module")
def no_jax_cache():
  """A preflight turns JAX's cache off for its process; here others go on with it."""
  yield
  jax.config.update("jax_enable_compilation_cache", True)
  compilation_cache.reset_cache()


@functools.cache
def slice_of(kind):
  found = topology.tpu(f"{kind}:{KINDS[kind]}")
  compilation_cache.reset_cache()  # or what earlier tests settled would hold
  return found


def train_step(config, target):
  return programs.training(config, parallel.mesh(target.devices))[0]


@pytest.mark.parametrize("kind", KINDS)
def test_the_memory_of_a_device_is_what_the_compiler_has(kind):
  target = slice_of(kind)
  assert len(target.devices) == target.chips * chips.CHIPS[kind].devices
  assert target.hosts == 1
  mesh = parallel.mesh(target.devices)
  huge = parallel.pmap(lambda *xs: [jnp.sin(x) @ x for x in xs], mesh, (None,) * 200)
  one = parallel.abstract_replicas(
    jax.ShapeDtypeStruct((16384,) * 2, jnp.float32), mesh
  )
  program = programs.Program("huge", huge, (one,) * 200, {}, small())
  made = compiling.compile_program(program, target)
  assert made.memory is None and made.needed >= 200 * 2**30
  assert f"available HBM ({target.hbm / chips.GIB:.2f}G)" in made.refusal


@pytest.mark.parametrize("kind", ["v3", "v5e"])
def test_the_memory_that_is_counted_is_what_the_compiler_refuses_for(kind):
  target = slice_of(kind)
  mesh = parallel.mesh(target.devices)

  def chain(x):
    ys = [x]
    for _ in range(60):
      ys.append(jnp.maximum(ys[-1] @ x, 0))
    return functools.reduce(jnp.matmul, reversed(ys))

  one = parallel.abstract_replicas(
    jax.ShapeDtypeStruct((16300,) * 2, jnp.float32), mesh
  )
  program = programs.Program(
    "chain", parallel.pmap(chain, mesh, (None,)), (one,), {}, small()
  )
  made = compiling.compile_program(program, target)
  assert made.memory is None and made.needed > target.hbm
  said = answers.out_of_memory(made.refusal)
  assert made.needed != said  # which is rounded
  assert abs(made.needed - said) <= 0.01 * chips.GIB


def test_memory_and_work_of_the_train_step():
  target = slice_of("v5e")
  step = train_step(small(**NET), target)
  made = compiling.compile_program(step, target)
  stats = step.function.lower(*step.arguments).compile().memory_analysis()
  memory = made.memory
  assert memory.code == stats.generated_code_size_in_bytes > 0
  # What is live at most is packed into what is assigned; the sum has more in it.
  assert stats.peak_memory_in_bytes <= memory.total - memory.code
  assert memory.arguments < memory.total <= stats.temp_size_in_bytes + 2**20
  assert made.memory.arguments >= sum(step.parts.values())
  assert made.work.longest_loop.trips == 7 and not made.work.unknown_loops
  bytes_ = made.work.total_collectives["all-reduce"].bytes
  summed = step.parts["parameters"] + step.parts["statistics"]
  assert summed <= bytes_ < summed + 100  # and the metrics


@pytest.mark.parametrize("kind", ["v3", "v5e", "v6e"])
def test_stopped_when_memory_is_assigned_it_says_the_same(kind):
  target = slice_of(kind)
  step = train_step(small(**NET), target)
  whole = compiling.compile_program(step, target)
  quick = compiling.compile_program(step, target, quick=True)
  assert quick.work == whole.work
  assert quick.memory == dataclasses.replace(whole.memory, code=None)


def test_fewer_attack_steps_are_fewer_trips_and_nothing_else():
  """What the table derives without compiling it."""
  target = slice_of("v5e")
  seven = small(**NET)
  five = small(**{**NET, "attack.steps": 5, "attack.step_size": 4.0, "attack.eps": 8.0})
  one, other = (
    compiling.compile_program(train_step(config, target), target)
    for config in (seven, five)
  )
  assert one.work.with_trips(5) == other.work
  near = pytest.approx(other.memory.temporaries, rel=0.02)
  assert one.memory.temporaries == near
  assert one.memory.arguments == other.memory.arguments
  assert table.one_program(seven).attack.steps == table.one_program(five).attack.steps


def test_the_command(tmp_path):
  words = (
    "--topology=v5e-8", "--json", "--no-largest", f"--cache={tmp_path}",
    "--config=experiments/adv.py:mini", "--config.model.stages=(1,)",
    "--config.model.width=4", "--config.train.batch_size=256",
    "--config.eval.attack=", "--quick",  # to the end it takes minutes
  )  # fmt: skip
  for kept in (False, True):
    done = subprocess.run(
      [sys.executable, "-m", "robustjax.preflight", *words],
      cwd=Path(__file__).parents[1], text=True, capture_output=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["fits"] and found["forecast"]["chip_hours"] > 0
    assert found["target"]["hbm"] == chips.CHIPS["v5e"].hbm
    assert all(one["kept"] == kept for one in found["programs"])
    lines = done.stderr.splitlines()
    assert lines and all(line.startswith("compiling the ") for line in lines)
