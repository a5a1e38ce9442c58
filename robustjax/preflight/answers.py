"""What a compiler says of a program: what it returns, refuses with, and writes.

XLA writes down what it does (`xla_dump_to`). A TPU's compiler has assigned the memory
and settled the operations after seconds; it goes on generating code for minutes.
"""

import dataclasses
import re
import signal
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from robustjax.preflight import cost
from robustjax.preflight.work import Work, from_dict

# Signals that a process ends of whose compiler has a bug.
CRASHES = frozenset(
  {signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE}
)
KILLED = (
  "the compiler was killed (signal 9), as a machine does that has no memory left for"
  " it: its log says"
)
# XLA's names of what it writes, in their order: the last is begun when the others are
# complete.
_TEXT = "*.after_optimizations.txt"
_BUFFERS = "*after_optimizations-buffer-assignment.txt"
_REPORT = "*memory-usage-report.txt"
_AFTER = "*.after_optimizations_after_buffer_assignment.txt"
_UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40, "": 1}


@dataclasses.dataclass(frozen=True)
class Memory:
  """Bytes on one device, as the compiler counts them.

  Attributes:
    arguments: the state and the batch, with the padding of their layout.
    outputs: results that take memory of their own, not an argument's.
    temporaries: activations and workspace, at their most.
    code: the program itself; None where the compiler was stopped before it made it.
  """

  arguments: int
  outputs: int
  temporaries: int
  code: int | None

  @property
  def total(self) -> int:
    """All of it that is known."""
    return self.arguments + self.outputs + self.temporaries + (self.code or 0)


@dataclasses.dataclass(frozen=True)
class Compiled:
  """What the compiler says of one program.

  Attributes:
    memory: None if it does not fit, in which case the compiler gives up.
    needed: bytes a device that it would need, where it does not fit and says so.
    refusal: the compiler's words then, else "".
    work: what one device does; None if it does not fit.
    seconds: how long it compiled.
    kept: whether it is an earlier compile's result.
    crashed: whether the compiler crashed on it.
  """

  memory: Memory | None
  needed: int | None
  refusal: str
  work: Work | None
  seconds: float
  kept: bool = False
  crashed: bool = False


def compile_fully(lowered: Any, folder: Path, is_tpu: bool) -> Compiled:
  """Compiles a program to its end.

  Args:
    lowered: the program.
    folder: where XLA writes; empty.
    is_tpu: whether it is for TPUs.

  Returns:
    What the compiler says, which may be that the program does not fit.
  """
  options = {"xla_dump_to": str(folder), "xla_dump_hlo_as_text": True}
  try:
    compiled = lowered.compile(compiler_options=options)
  except jax.errors.JaxRuntimeError as error:
    text = str(error)
    if "RESOURCE_EXHAUSTED" not in text:
      raise
    needed = (assigned(folder) if is_tpu else None) or out_of_memory(text)
    return Compiled(None, needed, " ".join(text.splitlines()[0].split()), None, 0.0)
  memory = _memory(compiled.memory_analysis(), assigned(folder) if is_tpu else None)
  return Compiled(memory, None, "", cost.analysis(compiled.as_text()), 0.0)


def crashed(number: int, words: str = "") -> Compiled:
  """Of a program on which the compiler's process ended by a signal.

  Args:
    number: the signal's.
    words: what the process said, of which the last line is kept.
  """
  last = "".join(words.strip().splitlines()[-1:])[:200]
  refusal = f"it crashed (signal {number}){': ' if last else ''}{last}"
  return Compiled(None, None, refusal, None, 0.0, crashed=True)


def is_assigned(folder: Path) -> bool:
  """Whether XLA has written all that `stopped` reads."""
  return any(folder.glob(_AFTER))


def stopped(folder: Path) -> Compiled:
  """Of a program whose compiler was stopped when it had assigned the memory.

  Args:
    folder: where XLA wrote.

  Raises:
    ValueError: it wrote something else than is known here.
  """
  total = assigned(folder)
  texts = _texts(folder, _TEXT)
  if total is None or len(texts) != 1:
    raise ValueError(f"{len(texts)} programs were written and {total} bytes assigned")
  arguments = outputs = 0
  for size, use in _allocations(folder):
    if "parameter" in use:
      arguments += size
    elif "maybe-live-out" in use:
      outputs += size
  memory = Memory(arguments, outputs, total - arguments - outputs, None)
  return Compiled(memory, None, "", cost.analysis(texts[0]), 0.0)


def assigned(folder: Path) -> int | None:
  """Bytes of main memory that a program was assigned, its arguments among them.

  It is the number that a TPU's compiler holds against the memory when it refuses. The
  temporaries of `memory_analysis` are more there: for one train step of ResNet-152 they
  are 19.2 GiB where 14.2 GiB were assigned, and the compiler took it for 15.75 GiB.

  Args:
    folder: where XLA wrote.

  Returns:
    The bytes, or None if no report says so.
  """
  for text in _texts(folder, _REPORT):
    if found := re.search(r"Memory Space: default .*\nTotal bytes: (\d+)", text):
      return int(found.group(1))
  return None


def out_of_memory(text: str) -> int | None:
  """Bytes a device that a program would need, from the compiler's refusal.

  Args:
    text: such as "Ran out of memory in memory space hbm. Used 17.5G of 15.7G hbm."

  Returns:
    The bytes, or None if the text does not say.
  """
  found = re.search(r"Used ([\d.]+)([KMGT]?) of [\d.]+[KMGT]? hbm", text)
  found = found or re.search(r"total memory required[^(]*\(([\d.]+)([KMGT]?)\)", text)
  return int(float(found.group(1)) * _UNITS[found.group(2)]) if found else None


def from_json(saved: Mapping[str, Any]) -> Compiled:
  """Reads what `dataclasses.asdict` made of an answer."""
  memory, work = saved["memory"], saved["work"]
  nested = {
    "memory": Memory(**memory) if memory else None,
    "work": from_dict(work) if work else None,
  }
  return Compiled(**{**saved, **nested})


def _texts(folder: Path, name: str) -> Sequence[str]:
  return [file.read_text() for file in sorted(folder.glob(name))]


def _allocations(folder: Path) -> Iterator[tuple[int, str]]:
  """Sizes in main memory ("color" is another memory's), and what each is for."""
  for text in _texts(folder, _BUFFERS):
    for size, use in re.findall(r"^allocation \d+: size (\d+), (.*)$", text, re.M):
      if not use.startswith("color"):
        yield int(size), use


def _memory(stats: Any, assigned: int | None) -> Memory:
  """From a compiled program's `memory_analysis`, and what was `assigned`."""
  arguments = stats.argument_size_in_bytes
  outputs = stats.output_size_in_bytes - stats.alias_size_in_bytes
  temporaries = stats.temp_size_in_bytes
  if assigned is not None:
    temporaries = max(0, assigned - arguments - outputs)
  return Memory(arguments, outputs, temporaries, stats.generated_code_size_in_bytes)
