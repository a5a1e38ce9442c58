"""One preflight: what it adds up, and what it says of programs that do not fit."""

import dataclasses

import pytest
from test_preflight_programs import small

from robustjax.preflight import answers, examination, forecast, programs, text, topology
from robustjax.preflight.forecast import Amount
from robustjax.preflight.work import Loop, Work


def test_how_much_a_run_has_to_do():
  # 10,000 images in batches of 256 are 39 steps; 8 epochs, the last with running ones.
  changes = {"attack.steps": 3, "train.save_every_epochs": 3.0}
  changes |= {"eval.readings": (1, 10, 20, 50), "eval.images": 901}
  found = forecast.amount(small(**changes, **{"train.validation_images": 201}))
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
    adaptive_gradients=100 * 1000 / 200,  # Auto-PGD's steps on 1,000 images
  )
  assert forecast.amount(small(**{"model.norm": "bn"})).branches == 1
  without = forecast.amount(small(**{"eval.attack": ""}))
  assert (without.adaptive_gradients, without.adaptive_passes) == (0, 0)
  whole = forecast.amount(small(**{"eval.attack": "standard"}))
  assert whole.adaptive_gradients == (100 + 9 * 100 + 9 * 100) * 5
  assert whole.adaptive_passes == (9 * 100 + 5000) * 5


def work(flops, *loops):
  return Work(flops, loops=loops)


def checked(memory=None, needed=None, beside=0, hbm=100, name=programs.TRAIN):
  program = programs.Program(name, None, (), {}, small(), beside)
  made = memory and answers.Memory(memory, 0, 0, 0)
  return examination.Checked(
    program, answers.Compiled(made, needed, "", None, 0.0), hbm
  )


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
  assert not examination.Examined(small(), target, parts, None, None, []).fits
  assert examination.Examined(small(), target, parts[:1], None, None, []).fits


@pytest.fixture
def thousand():
  return dataclasses.replace(topology.cpu(), hbm=1000)


def test_a_size_that_is_refused_is_not_the_largest(thousand):
  def compiled(program, images):
    devices = len(thousand.devices)
    assert program.arguments[1]["label"].shape == (images * devices,)
    return checked(images * 10 if images <= 32 else None, needed=1000, hbm=1000)

  known = checked(memory=320, hbm=1000)
  assert examination._largest(small(), thousand, known, compiled).images == 32


@pytest.mark.parametrize(("code", "largest"), [(0, 96), (39, 96), (41, 64)])
def test_a_size_that_was_stopped_before_its_code_has_the_code_of_the_known_one(
  thousand, code, largest
):
  def stopped(images, made):
    memory = answers.Memory(images * 10, 0, 0, made)
    return dataclasses.replace(
      checked(hbm=1000), compiled=answers.Compiled(memory, None, "", None, 0.0)
    )

  known = stopped(32, code)
  found = examination._largest(
    small(), thousand, known, lambda _, images: stopped(images, None)
  )
  assert found.images == largest and found.needed == largest * 10 + code


G = 2**30


@pytest.mark.parametrize(
  ("code", "used", "told"),
  [
    (0, 15.99, "It fits on cpu."),
    (None, 15.0, "but for the code, which was not generated"),
    (None, 15.99, "less than 0.25 GiB to spare for its code"),
  ],
)
def test_a_code_that_was_not_made_is_told(code, used, told):
  memories = [answers.Memory(1, 0, 0, 0), answers.Memory(int(used * G), 0, 0, code)]
  parts = [
    dataclasses.replace(
      checked(hbm=16 * G), compiled=answers.Compiled(one, None, "", None, 0.0)
    )
    for one in memories
  ]
  found = examination.Examined(small(), topology.cpu(), parts, None, None, [])
  assert found.fits and found.has_code == (code is not None)
  assert told in text.lines(found)
  assert text.values(found)["is_close"] == (told.startswith("less"))


def test_only_the_attacks_own_loop_may_have_unknown_trips():
  def unknown(name, *loops):
    one = checked(name=name)
    made = dataclasses.replace(one.compiled, work=work(1.0, *loops))
    return examination.uncounted(dataclasses.replace(one, compiled=made))

  attack, other = Loop(None, work(9.0)), Loop(None, work(1.0))
  assert not unknown(programs.ADVANCE, attack, Loop(3, work(1.0)))
  assert unknown(programs.TRAIN, attack)
  assert unknown(programs.ADVANCE, attack, other)
  assert unknown(programs.ADVANCE, Loop(30, work(9.0)), other)


def test_advice_is_what_main_takes():
  def advice(images):
    return examination.advice(checked(), small(), images)

  assert "--config.train.batch_size" in advice(64)
  assert "batch_size" not in advice(32) and "--config.model.group" in advice(32)
  assert "--config.model.remat=block" in advice(32)
  for name, differentiated in ((programs.READ, False), (programs.ADVANCE, True)):
    told = examination.advice(checked(name=name), small(), 32)
    assert "--config.eval.batch_size" in told
    assert ("--config.model.remat=block" in told) == differentiated
  again = small(**{"model.remat": "block"})
  assert "remat" not in examination.advice(checked(), again, 32)
