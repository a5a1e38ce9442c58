"""Compiling a program for devices that need not be here, and what the compiler says.

A result is kept in a folder, under everything that it depends on, so that a preflight
that is repeated, or that was stopped, does not compile again. (JAX's own cache cannot
read back what was compiled for absent devices.) While a program compiles, the folder
says so: a compiler may crash, and take its process with it.
"""

import contextlib
import dataclasses
import hashlib
import importlib.metadata
import os
import re
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from robustjax.preflight import hlo
from robustjax.preflight.programs import Program
from robustjax.preflight.topology import Target
from robustjax.runtime import log

# Environment variables that change what the compilers do.
_FLAGS = ("XLA_FLAGS", "LIBTPU_INIT_ARGS")
# This code as it was imported: it may be edited while a table compiles.
_CODE = [
  Path(__file__).with_name(name).read_text()
  for name in ("chips.py", "compiling.py", "hlo.py", "topology.py")
]
_BEGUN = ".begun"
_REPORT = "*memory-usage-report.txt"  # what XLA calls it
_UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40, "": 1}


@dataclasses.dataclass(frozen=True)
class Memory:
  """Bytes on one device, as the compiler counts them.

  Attributes:
    arguments: the state and the batch, with the padding of their layout.
    outputs: results that take memory of their own, not an argument's.
    temporaries: activations and workspace, at their most.
    code: the program itself.
  """

  arguments: int
  outputs: int
  temporaries: int
  code: int

  @property
  def total(self) -> int:
    """All of it."""
    return self.arguments + self.outputs + self.temporaries + self.code


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
  work: hlo.Work | None
  seconds: float
  kept: bool = False
  crashed: bool = False


def compile_program(
  program: Program, target: Target, cache: Path | None = None
) -> Compiled:
  """Compiles a program and reads what comes of it.

  Args:
    program: from `programs`, over the target's devices.
    target: what it is compiled for.
    cache: where results are kept; nowhere if None.

  Returns:
    What the compiler says. Progress goes to stderr.
  """
  with _showing(f"{program.name} for {target.name}"):
    lowered = program.function.lower(*program.arguments)
    file = cache / f"{_key(lowered, target)}.json" if cache else None
    if file and file.exists():
      return _from_json(log.read_json(file))
    began = time.monotonic()
    with _marking(file):
      result = _compile(lowered, target)
    result = dataclasses.replace(result, seconds=time.monotonic() - began)
  if file:
    log.write_json(file, dataclasses.asdict(result))
  return result


def crashed(cache: Path, process: int, signal: int) -> bool:
  """Keeps that the program on which a process ended cannot be compiled.

  Args:
    cache: where results are kept.
    process: its number.
    signal: that it ended of.

  Returns:
    Whether it was compiling.
  """
  begun = list(cache.glob(f"*.{process}{_BEGUN}"))
  for mark in begun:
    refusal = f"it crashed (signal {signal})"
    result = Compiled(None, None, refusal, None, 0.0, crashed=True)
    log.write_json(
      cache / f"{mark.name.split('.')[0]}.json", dataclasses.asdict(result)
    )
    mark.unlink()
  return bool(begun)


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


def _compile(lowered: Any, target: Target) -> Compiled:
  with tempfile.TemporaryDirectory() as folder:
    refusal = ""
    try:
      compiled = lowered.compile(compiler_options={"xla_dump_to": folder})
    except jax.errors.JaxRuntimeError as error:
      refusal = str(error)
      if "RESOURCE_EXHAUSTED" not in refusal:
        raise
    reports = [file.read_text() for file in Path(folder).glob(_REPORT)]
  found = assigned(reports) if target.is_tpu else None
  if refusal:
    first = " ".join(refusal.splitlines()[0].split())
    return Compiled(None, found or out_of_memory(refusal), first, None, 0.0)
  memory = _memory(compiled.memory_analysis(), found)
  return Compiled(memory, None, "", hlo.read(compiled.as_text()), 0.0)


def _memory(stats: Any, found: int | None) -> Memory:
  """From a compiled program's `memory_analysis`, and what was `assigned`."""
  arguments = stats.argument_size_in_bytes
  outputs = stats.output_size_in_bytes - stats.alias_size_in_bytes
  temporaries = stats.temp_size_in_bytes
  if found is not None:
    temporaries = max(0, found - arguments - outputs)
  return Memory(arguments, outputs, temporaries, stats.generated_code_size_in_bytes)


def assigned(reports: Sequence[str]) -> int | None:
  """Bytes of main memory that a program was assigned, its arguments among them.

  It is the number that a TPU's compiler holds against the memory when it refuses. The
  temporaries of `memory_analysis` are more there: for one train step of ResNet-152 they
  are 19.2 GiB where 14.2 GiB were assigned, and the compiler took it for 15.75 GiB.

  Args:
    reports: the compiler's, on its kinds of memory.

  Returns:
    The bytes, or None if no report says so.
  """
  for text in reports:
    if found := re.search(r"Memory Space: default .*\nTotal bytes: (\d+)", text):
      return int(found.group(1))
  return None


def _key(lowered: Any, target: Target) -> str:
  """A name for everything that a result depends on, this code included."""
  parts = [
    lowered.as_text(),
    target.name,
    str(len(target.devices)),
    target.compiler,
    importlib.metadata.version("jax"),
    importlib.metadata.version("jaxlib"),
    *(f"{name}={os.environ.get(name, '')}" for name in _FLAGS),
    *_CODE,
  ]
  return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def _from_json(saved: Mapping[str, Any]) -> Compiled:
  memory, work = saved["memory"], saved["work"]
  return Compiled(
    memory=Memory(**memory) if memory else None,
    needed=saved["needed"],
    refusal=saved["refusal"],
    work=hlo.from_dict(work) if work else None,
    seconds=saved["seconds"],
    kept=True,
    crashed=saved["crashed"],
  )


@contextlib.contextmanager
def _marking(file: Path | None) -> Iterator[None]:
  """Has a file beside the result while this process compiles it."""
  if file is None:
    yield
    return
  file.parent.mkdir(parents=True, exist_ok=True)
  mark = file.with_suffix(f".{os.getpid()}{_BEGUN}")
  mark.touch()
  try:
    yield
  finally:
    mark.unlink()


@contextlib.contextmanager
def _showing(what: str) -> Iterator[None]:
  """Says on stderr what is compiled, and for how long: a compile cannot be looked into.

  On a terminal the line counts seconds; elsewhere there is one a minute.
  """
  began, done = time.monotonic(), threading.Event()
  live = sys.stderr.isatty()

  def show(end: str) -> None:
    elapsed = time.monotonic() - began
    start = "\r" if live else ""
    print(f"{start}compiling the {what}: {elapsed:.0f} s", end=end, file=sys.stderr)
    sys.stderr.flush()

  def tick() -> None:
    while not done.wait(1 if live else 60):
      show("" if live else "\n")

  thread = threading.Thread(target=tick, daemon=True)
  thread.start()
  try:
    yield
  finally:
    done.set()
    thread.join()
    show("\n")
