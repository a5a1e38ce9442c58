"""What a compiler returns, refuses with and writes, read."""

import types

import jax
import pytest

from robustjax.preflight import answers, cost

G = 2**30


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
def test_a_refusal_for_memory_is_an_answer(tmp_path, words, needed):
  made = answers.compile_fully(Refused(words), tmp_path, False)
  assert made.memory is None and made.work is None
  assert made.needed == int(needed) and "\n" not in made.refusal


def test_a_refusal_may_say_no_number(tmp_path):
  words = "RESOURCE_EXHAUSTED: too much"
  assert answers.compile_fully(Refused(words), tmp_path, False).needed is None


@pytest.mark.parametrize(("is_tpu", "needed"), [(True, 26125743616), (False, 17.5 * G)])
def test_a_tpus_report_is_more_exact_than_its_refusal(tmp_path, is_tpu, needed):
  (tmp_path / "m.memory-usage-report.txt").write_text(REPORT)
  assert answers.compile_fully(Refused(USED), tmp_path, is_tpu).needed == needed


def test_other_errors_of_the_compiler_are_no_answers(tmp_path):
  with pytest.raises(jax.errors.JaxRuntimeError, match="a bug"):
    answers.compile_fully(Refused("INTERNAL: a bug"), tmp_path, True)


@pytest.mark.parametrize("unit", list(enumerate("KMGT", 1)))
def test_units_of_a_refusal(unit):
  power, letter = unit
  text = f"Used 2.5{letter} of 1.0{letter} hbm"
  assert answers.out_of_memory(text) == int(2.5 * 2 ** (10 * power))


REPORT = """Memory Space: default (color=0)
Total bytes: 26125743616 (24.33GiB)
  cumulative_size;       size;       offset; used_by_n_values; shapes_list
  ------------------------------------------------------------
    4.00GiB( 16%);    4.00GiB;   1178664960;                1; f32[98304,14,14,32]

Memory Space: vmem (color=1)
Total bytes: 117440512 (112.00MiB)
"""
BUFFERS = """BufferAssignment:
allocation 0: size 512, thread-local:
 value: <2 reduce @0> (size=512,offset=0): bf16[]{:T(256)}
allocation 1: size 3000, parameter 124, shape |f32[35]| at ShapeIndex {}:
 value: <3 param.284 @0> (size=3000,offset=0): f32[35]{0:T(128)}
allocation 2: size 4000, parameter 1, shape |f32[8]| at ShapeIndex {}, maybe-live-out:
allocation 3: size 600, maybe-live-out:
allocation 4: size 20, output shape is |(f32[8])|, maybe-live-out:
allocation 5: size 26125730000, preallocated-temp:
allocation 6: size 512, constant:
allocation 7: size 131424256, color 3, preallocated-temp:
allocation 8: size 99, color 3, parameter 2, shape |f32[8]| at ShapeIndex {}:
"""
MODULE = """HloModule jit_f

ENTRY %main (p: f32[2,3]) -> f32[2,2] {
  %p = f32[2,3]{1,0} parameter(0)
  ROOT %d = f32[2,2] dot(%p, %p), lhs_contracting_dims={1}, rhs_contracting_dims={1}
}
"""


def write(folder):
  begin = folder / "module_0003.jit_f.after_optimizations"
  for end, text in {
    "_before_buffer_assignment.txt": "",
    ".txt": MODULE,
    "-buffer-assignment.txt": BUFFERS,
    "-buffer-assignment-values.txt": "allocation 9: size 1, parameter 0",
    "-live-range.txt": "",
    "-memory-usage-report.txt": REPORT,
  }.items():
    begin.with_name(begin.name + end).write_text(text)
    assert not answers.is_assigned(folder)
  begin.with_name(begin.name + "_after_buffer_assignment.txt").write_text("")


def test_a_compile_that_was_stopped_is_read_from_what_was_written(tmp_path):
  write(tmp_path)
  assert answers.is_assigned(tmp_path)
  made = answers.stopped(tmp_path)
  total = 26125743616
  assert made.memory == answers.Memory(7000, 620, total - 7620, None)
  assert made.memory.total == total
  assert made.work == cost.analysis(MODULE) and made.work.total_flops == 2 * 2 * 2 * 3


@pytest.mark.parametrize("lacking", ["*.after_optimizations.txt", "*report.txt"])
def test_what_is_not_written_is_not_guessed(tmp_path, lacking):
  write(tmp_path)
  for file in tmp_path.glob(lacking):
    file.unlink()
  with pytest.raises(ValueError, match="were written"):
    answers.stopped(tmp_path)


def test_what_a_program_was_assigned_in_main_memory(tmp_path):
  vmem = REPORT[REPORT.index("Memory Space: vmem") :]
  assert answers.assigned(tmp_path) is None
  (tmp_path / "1.memory-usage-report.txt").write_text(vmem)
  assert answers.assigned(tmp_path) is None
  (tmp_path / "2.memory-usage-report.txt").write_text(REPORT)
  assert answers.assigned(tmp_path) == 26125743616


def test_a_tpus_temporaries_are_what_it_was_assigned():
  numbers = {"argument": 5, "output": 4, "alias": 3, "temp": 90, "generated_code": 2}
  stats = types.SimpleNamespace(
    **{f"{name}_size_in_bytes": number for name, number in numbers.items()}
  )
  assert answers._memory(stats, 50) == answers.Memory(5, 1, 44, 2)
  assert answers._memory(stats, None) == answers.Memory(5, 1, 90, 2)
