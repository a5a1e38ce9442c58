"""A compile in a process of its own, stopped early: what comes of its ends."""

import dataclasses

import pytest
from test_preflight_answers import write
from test_preflight_programs import small

from robustjax.errors import UserError
from robustjax.preflight import answers, programs, quick, topology
from robustjax.runtime import files, parallel


@pytest.fixture(scope="module")
def target():
  return topology.cpu()


@pytest.fixture(scope="module")
def reading(target):
  return programs.evaluation(small(), parallel.mesh(target.devices))[1]


def digest(program):
  return quick._digest(program.function.lower(*program.arguments).as_text())


def make(program, folder, monkeypatch, target, digest_):
  """What the process does, here and for the CPU."""
  monkeypatch.setattr(topology, "tpu", {target.name: target}.__getitem__)
  values = program.config.to_dict()
  quick._make(values, program.name, target.name, digest_, folder)


def test_a_compile_that_ended_first_is_the_whole_answer(
  target, reading, tmp_path, monkeypatch
):
  make(reading, tmp_path, monkeypatch, target, digest(reading))
  found = quick._answer(tmp_path, 0)
  lowered = reading.function.lower(*reading.arguments)
  (other := tmp_path / "other").mkdir()
  assert (
    found == answers.compile_fully(lowered, other, False)
    and found.memory.code is not None
  )


def test_another_program_than_was_asked_for_is_no_answer(
  target, reading, tmp_path, monkeypatch
):
  (step, _) = programs.training(small(), parallel.mesh(target.devices))
  with pytest.raises(RuntimeError, match="evaluation, reading is another program"):
    make(reading, tmp_path, monkeypatch, target, digest(step))
  with pytest.raises(RuntimeError, match="ended with 1"):
    quick._answer(tmp_path, 1)


def test_what_was_written_is_the_answer_of_a_stopped_one(tmp_path):
  write(tmp_path)
  assert quick._answer(tmp_path, -9) == answers.stopped(tmp_path)


def test_a_refusal_is_an_answer(tmp_path):
  refusal = answers.Compiled(None, 5, "no", None, 0.0)
  files.write_json(tmp_path / "done.json", dataclasses.asdict(refusal))
  assert quick._answer(tmp_path, 0) == refusal


def test_a_crash_is_an_answer_with_its_last_words(tmp_path):
  assert quick._answer(tmp_path, -11).refusal == "it crashed (signal 11)"
  (tmp_path / "errors").write_text("frames\nstd::bad_alloc\n")
  made = quick._answer(tmp_path, -6)
  assert made.crashed and made.refusal == "it crashed (signal 6): std::bad_alloc"


def test_another_end_is_none(tmp_path):
  with pytest.raises(UserError, match="no memory left"):
    quick._answer(tmp_path, -9)
  (tmp_path / "errors").write_text("Traceback: why")
  with pytest.raises(RuntimeError, match="ended with 3: Traceback: why"):
    quick._answer(tmp_path, 3)


@pytest.mark.toolchain
def test_the_processes_own_error_is_shown(target, reading):
  """A real process, which knows no slice of that name."""
  unknown = dataclasses.replace(target, name="v9:1x1")
  text = reading.function.lower(*reading.arguments).as_text()
  with pytest.raises(RuntimeError, match="(?s)ended with 1: .*no TPU slice 'v9:1x1'"):
    quick.compile_quickly(reading, text, unknown)
