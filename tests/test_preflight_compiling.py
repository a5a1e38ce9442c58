"""What the compiler says of a program, kept and read back."""

import dataclasses
import os
import types

import jax
import pytest
from test_preflight_programs import small

from robustjax.preflight import compiling, hlo, programs, topology
from robustjax.runtime import parallel

G = 2**30


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
  assert made.work == hlo.read(compiled.as_text())


def test_the_gradients_cross_the_devices_once(target):
  (step, _) = programs.training(small(), parallel.mesh(target.devices))
  made = compiling.compile_program(step, target)
  parameters, statistics = step.parts["parameters"], step.parts["statistics"]
  bytes_ = hlo.collectives(made.work)["all-reduce"].bytes
  assert parameters + statistics <= bytes_ < parameters + statistics + 100
  assert hlo.longest(made.work).trips == 7  # the attack's loop
  assert not hlo.unknown_loops(made.work)


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


class Refused:
  """A function whose compiler refuses."""

  def __init__(self, words):
    self._words = words

  def lower(self, *_):
    return self

  def as_text(self):
    return self._words

  def compile(self, compiler_options):
    raise jax.errors.JaxRuntimeError(self._words)


TOTAL = (
  "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for HLO"
  " temporaries (16.05G) exceeds available HBM (15.75G)."
)
USED = (
  "RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm. Used 17.50G of 15.75G"
  " hbm. Exceeded hbm capacity by 1.75G.\n\nTotal hbm usage >= 17.75G:"
)


@pytest.mark.parametrize(("words", "needed"), [(TOTAL, 16.05 * G), (USED, 17.5 * G)])
def test_a_refusal_for_memory_is_an_answer(target, tmp_path, words, needed):
  program = programs.Program("train step", Refused(words), (), {})
  made = compiling.compile_program(program, target, tmp_path)
  assert made.memory is None and made.work is None
  assert made.needed == int(needed) and "\n" not in made.refusal
  again = compiling.compile_program(program, target, tmp_path)
  assert again.kept and again.needed == made.needed


REPORT = """Memory Space: default (color=0)
Total bytes: 26125743616 (24.33GiB)
  cumulative_size;       size;       offset; used_by_n_values; shapes_list
  ------------------------------------------------------------
    4.00GiB( 16%);    4.00GiB;   1178664960;                1; f32[98304,14,14,32]

Memory Space: vmem (color=1)
Total bytes: 117440512 (112.00MiB)
"""


def test_what_a_program_was_assigned_in_main_memory():
  vmem = REPORT[REPORT.index("Memory Space: vmem") :]
  assert compiling.assigned([vmem, REPORT]) == 26125743616
  assert compiling.assigned([vmem]) is None and compiling.assigned([]) is None


def test_a_tpus_temporaries_are_what_it_was_assigned():
  numbers = {"argument": 5, "output": 4, "alias": 3, "temp": 90, "generated_code": 2}
  stats = types.SimpleNamespace(
    **{f"{name}_size_in_bytes": number for name, number in numbers.items()}
  )
  assert compiling._memory(stats, 50) == compiling.Memory(5, 1, 44, 2)
  assert compiling._memory(stats, None) == compiling.Memory(5, 1, 90, 2)


def test_a_refusal_may_say_no_number(target):
  program = programs.Program("x", Refused("RESOURCE_EXHAUSTED: too much"), (), {})
  assert compiling.compile_program(program, target).needed is None


def test_other_errors_of_the_compiler_are_no_answers(target, tmp_path):
  program = programs.Program("x", Refused("INTERNAL: a bug"), (), {})
  with pytest.raises(jax.errors.JaxRuntimeError, match="a bug"):
    compiling.compile_program(program, target, tmp_path)
  assert not list(tmp_path.iterdir())


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


@pytest.mark.parametrize("unit", list(enumerate("KMGT", 1)))
def test_units_of_a_refusal(unit):
  power, letter = unit
  text = f"Used 2.5{letter} of 1.0{letter} hbm"
  assert compiling.out_of_memory(text) == int(2.5 * 2 ** (10 * power))


def test_what_compiles_is_marked_until_it_ends(target, reading, tmp_path, monkeypatch):
  def interrupted(*_):
    (mark,) = tmp_path.iterdir()
    assert mark.suffix == ".begun" and str(os.getpid()) in mark.name
    raise KeyboardInterrupt

  monkeypatch.setattr(compiling, "_compile", interrupted)
  with pytest.raises(KeyboardInterrupt):
    compiling.compile_program(reading, target, tmp_path)
  assert not list(tmp_path.iterdir())


def test_a_crash_is_kept_for_the_program_of_that_process(target, reading, tmp_path):
  compiling.compile_program(reading, target, tmp_path)
  (kept,) = tmp_path.iterdir()
  kept.rename(mark := tmp_path / f"{kept.stem}.77.begun")
  assert not compiling.crashed(tmp_path, 7, 11) and mark.exists()
  assert compiling.crashed(tmp_path, 77, 11)
  made = compiling.compile_program(reading, target, tmp_path)
  assert made.kept and made.crashed and made.memory is None and "11" in made.refusal
