"""One preflight: what it adds up, and what it says of programs that do not fit."""

import dataclasses

import pytest
from test_preflight_programs import small

from robustjax.preflight import compiling, examine, hlo, programs, topology
from robustjax.preflight.forecast import Amount


def test_how_much_a_run_has_to_do():
  # 10,000 images in batches of 256 are 39 steps; 8 epochs, the last with running ones.
  changes = {"attack.steps": 3, "train.save_every_epochs": 3.0}
  changes |= {"eval.readings": (1, 10, 20, 50), "eval.images": 901}
  found = examine.amount(small(**changes, **{"train.validation_images": 201}))
  assert found == Amount(
    batch_size=256,
    steps=312,
    running_steps=39,
    validations=3,
    validation_batches=2,
    attack_steps=3,
    evaluation_batches=5,
    branches=2,
    evaluation_steps=1 + 10 + 50,
    readings=5,
  )
  assert examine.amount(small(**{"model.norm": "bn"})).branches == 1


def work(flops, *loops):
  return hlo.Work(flops, loops=loops)


def test_operations_by_what_they_are_for():
  works = {
    programs.TRAIN: work(1.0, hlo.Loop(7, work(10.0))),
    programs.RUNNING: work(2.0),
    programs.ADVANCE: work(3.0, hlo.Loop(None, work(4.0, hlo.Loop(5, work(1.0))))),
    programs.READ: work(6.0),
  }
  assert dataclasses.astuple(examine._operations(works)) == (71.0, 2.0, 9.0, 6.0)
  assert examine._operations(works | {programs.READ: None}) is None
  del works[programs.RUNNING]
  assert examine._operations(works).running_step == 71.0


def checked(memory=None, needed=None, beside=0, hbm=100, name=programs.TRAIN):
  program = programs.Program(name, None, (), {}, beside)
  made = memory and compiling.Memory(memory, 0, 0, 0)
  return examine.Checked(program, compiling.Compiled(made, needed, "", None, 0.0), hbm)


def test_what_lies_beside_counts():
  assert checked(memory=60, beside=40).fits
  one = checked(memory=60, beside=41)
  assert (one.needed, one.fits, one.exceeds) == (101, False, 1)


@pytest.mark.parametrize(("needed", "exceeds"), [(None, None), (100, 1), (170, 70)])
def test_what_the_compiler_refuses_never_fits(needed, exceeds):
  one = checked(needed=needed)
  assert not one.fits and one.exceeds == exceeds


def test_one_program_that_does_not_fit_is_enough():
  parts = [checked(memory=1), checked(memory=101)]
  target = topology.cpu()
  assert not examine.Examined(small(), target, parts, None, None, []).fits
  assert examine.Examined(small(), target, parts[:1], None, None, []).fits


def test_a_size_that_is_refused_is_not_the_largest():
  target = dataclasses.replace(topology.cpu(), hbm=1000)

  def compiled(program):
    images = program.arguments[1]["label"].shape[0] // len(target.devices)
    memory = images * 10 if images <= 32 else None
    return checked(memory, needed=1000, hbm=1000)

  known = checked(memory=320, hbm=1000)
  assert examine._largest(small(), target, known, compiled).images == 32


def test_advice_is_what_main_takes():
  def advice(images):
    return examine.advice(checked(), small(), images)

  assert "--config.train.batch_size" in advice(64)
  assert "batch_size" not in advice(32) and "--config.model.group" in advice(32)
  assert "--config.model.remat=block" in advice(32)
  one = checked(name=programs.READ)
  assert "--config.eval.batch_size" in examine.advice(one, small(), 32)
