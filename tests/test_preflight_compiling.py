"""What the compiler says of a program, kept and read back."""

import dataclasses

import jax
import pytest
from test_preflight_answers import USED, Refused
from test_preflight_programs import small

from robustjax.preflight import answers, compiling, cost, programs, topology
from robustjax.preflight.work import Work
from robustjax.runtime import parallel


@pytest.fixture(scope="module")
def target():
  return topology.cpu()


@pytest.fixture(scope="module")
def reading(target):
  return programs.evaluation(small(), parallel.mesh(target.devices))[1]


def test_memory_is_the_compilers_own_and_aliased_arguments_count_once(target):
  (step, _) = programs.training(small(), parallel.mesh(target.devices))
  made = compiling.compile_program(step, target)
  compiled = step.function.lower(*step.arguments).compile()
  stats = compiled.memory_analysis()
  assert stats.alias_size_in_bytes > 0  # the state is donated
  assert made.memory.total == (
    stats.argument_size_in_bytes
    + stats.output_size_in_bytes
    - stats.alias_size_in_bytes
    + stats.temp_size_in_bytes
    + stats.generated_code_size_in_bytes
  )
  assert made.memory.arguments >= sum(step.parts.values())
  assert made.work == cost.analysis(compiled.as_text())


def test_the_gradients_cross_the_devices_once(target):
  (step, _) = programs.training(small(), parallel.mesh(target.devices))
  made = compiling.compile_program(step, target)
  parameters, statistics = step.parts["parameters"], step.parts["statistics"]
  bytes_ = made.work.total_collectives["all-reduce"].bytes
  assert parameters + statistics <= bytes_ < parameters + statistics + 100
  assert made.work.longest_loop.trips == 7  # the attack's loop
  assert not made.work.unknown_loops


def test_a_result_is_kept(target, reading, tmp_path):
  first = compiling.compile_program(reading, target, tmp_path)
  again = compiling.compile_program(reading, target, tmp_path)
  assert (first.kept, again.kept) == (False, True)
  assert (first.memory, first.work, first.seconds) == (
    again.memory, again.work, again.seconds,
  )  # fmt: skip
  assert len(list(tmp_path.iterdir())) == 1


def test_another_program_or_another_compiler_is_not_the_kept_one(
  target, reading, tmp_path, monkeypatch
):
  compiling.compile_program(reading, target, tmp_path)
  wider = small(**{"model.width": 8})
  other = programs.evaluation(wider, parallel.mesh(target.devices))[1]
  assert not compiling.compile_program(other, target, tmp_path).kept
  monkeypatch.setenv("LIBTPU_INIT_ARGS", "--xla_something=1")
  assert not compiling.compile_program(reading, target, tmp_path).kept


def test_a_refusal_is_kept_and_another_error_is_not(target, tmp_path):
  def program(words):
    return programs.Program("x", Refused(words), (), {}, small())

  with pytest.raises(jax.errors.JaxRuntimeError, match="a bug"):
    compiling.compile_program(program("INTERNAL: a bug"), target, tmp_path)
  assert not list(tmp_path.iterdir())
  made = compiling.compile_program(program(USED), target, tmp_path)
  again = compiling.compile_program(program(USED), target, tmp_path)
  assert (made.kept, again.kept) == (False, True)
  assert again.memory is None and again.needed == made.needed


def stopped(size):
  memory = answers.Memory(size, 0, 0, None)
  return answers.Compiled(memory, None, "", Work(1.0), 0.0)


def test_what_was_stopped_early_answers_only_quick_ones(
  target, reading, tmp_path, monkeypatch
):
  asked = []

  def quickly(program, text, target):
    asked.append(program.name)
    return stopped(77)

  monkeypatch.setattr(compiling, "compile_quickly", quickly)
  for kept in (False, True):
    made = compiling.compile_program(reading, target, tmp_path, quick=True)
    assert made.kept == kept and made.memory == answers.Memory(77, 0, 0, None)
  whole = compiling.compile_program(reading, target, tmp_path)
  assert not whole.kept and whole.memory.code is not None
  made = compiling.compile_program(reading, target, tmp_path, quick=True)
  assert made.kept and made.memory == whole.memory  # which knows more
  assert asked == [reading.name]


def test_a_quick_one_that_was_refused_answers_all(
  target, reading, tmp_path, monkeypatch
):
  refusal = answers.Compiled(None, 5, "no", None, 0.0)
  monkeypatch.setattr(compiling, "compile_quickly", lambda *_: refusal)
  compiling.compile_program(reading, target, tmp_path, quick=True)
  made = compiling.compile_program(reading, target, tmp_path)
  assert made.kept and made.refusal == "no"


def test_progress_goes_to_stderr(target, reading, capsys):
  compiling.compile_program(reading, target)
  shown = capsys.readouterr()
  assert not shown.out
  assert shown.err.startswith("compiling the evaluation, reading for cpu: ")


@pytest.mark.parametrize("change", [{"name": "another"}, {"compiler": "libtpu 1"}])
def test_a_kept_result_is_of_one_target(target, reading, tmp_path, change):
  compiling.compile_program(reading, target, tmp_path)
  other = dataclasses.replace(target, **change)
  assert not compiling.compile_program(reading, other, tmp_path).kept


@pytest.fixture
def run(tmp_path, monkeypatch):
  """The folder of one command."""
  (folder := tmp_path / "run").mkdir()
  monkeypatch.setenv(compiling.RUN, str(folder))
  return folder


def test_what_compiles_is_marked_until_it_ends(target, reading, run, monkeypatch):
  def interrupted(*_):
    assert len(list(run.iterdir())) == 1
    raise KeyboardInterrupt

  monkeypatch.setattr(answers, "compile_fully", interrupted)
  with pytest.raises(KeyboardInterrupt):
    compiling.compile_program(reading, target)
  assert not list(run.iterdir())


def test_a_crash_is_known_to_its_command_and_not_kept(
  target, reading, run, tmp_path, monkeypatch
):
  def crash(*_):
    assert compiling.crashed(run, 11)
    raise KeyboardInterrupt

  assert not compiling.crashed(run, 11)  # nothing was compiling
  with monkeypatch.context() as patch, pytest.raises(FileNotFoundError):
    patch.setattr(answers, "compile_fully", crash)
    compiling.compile_program(reading, target, tmp_path / "cache")
  made = compiling.compile_program(reading, target, tmp_path / "cache")
  assert made.kept and made.crashed and made.memory is None and "11" in made.refusal
  other = programs.evaluation(small(), parallel.mesh(target.devices))[2]
  assert not compiling.compile_program(other, target).crashed
  monkeypatch.delenv(compiling.RUN)
  made = compiling.compile_program(reading, target, tmp_path / "cache")
  assert not made.kept and not made.crashed


def test_a_quick_ones_crash_is_not_kept_either(target, reading, tmp_path, monkeypatch):
  monkeypatch.setattr(compiling, "compile_quickly", lambda *_: answers.crashed(6))
  made = compiling.compile_program(reading, target, tmp_path, quick=True)
  assert made.crashed and not list(tmp_path.iterdir())
