"""Compiling a program for devices that need not be here, and what the compiler says.

A result is kept in a folder, under everything that it depends on, so that a preflight
that is repeated, or that was stopped, does not compile again. (JAX's own cache cannot
read back what was compiled for absent devices.)
"""

import contextlib
import dataclasses
import hashlib
import importlib.metadata
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from robustjax.preflight import answers
from robustjax.preflight.answers import Compiled
from robustjax.preflight.programs import Program
from robustjax.preflight.quick import compile_quickly
from robustjax.preflight.topology import Target
from robustjax.runtime import files

# Environment variables that change what the compilers do.
_FLAGS = ("XLA_FLAGS", "LIBTPU_INIT_ARGS")
# This code as it was imported: it may be edited while a table compiles.
_CODE = [
  Path(__file__).with_name(name).read_text()
  for name in (
    "answers.py", "chips.py", "cost.py", "hlo.py", "moved.py", "topology.py",
    "work.py",
  )
]  # fmt: skip
# The environment variable with the folder of one command, in which a process that
# compiles says so: a compiler may crash, and take its process with it.
RUN, _MARK = "ROBUSTJAX_PREFLIGHT", "compiling"


def compile_program(
  program: Program,
  target: Target,
  cache: Path | None = None,
  *,
  quick: bool = False,
  remark: str = "",
) -> Compiled:
  """Compiles a program and reads what comes of it.

  Args:
    program: from `programs`, over the target's devices.
    target: what it is compiled for.
    cache: where results are kept; nowhere if None.
    quick: whether to stop when memory is assigned; for slices of TPUs.
    remark: of the program, for those who wait.

  Returns:
    What the compiler says. Progress goes to stderr.
  """
  with _showing(f"{program.name}{remark} for {target.name}"):
    lowered = program.function.lower(*program.arguments)
    text = lowered.as_text()
    key = _key(text, target)
    if known := _read(key, cache, quick):
      return known
    began = time.monotonic()
    if quick:
      result = compile_quickly(program, text, target)
    else:
      with _marked(key), tempfile.TemporaryDirectory() as folder:
        result = answers.compile_fully(lowered, Path(folder), target.is_tpu)
    result = dataclasses.replace(result, seconds=time.monotonic() - began)
    if cache and not result.crashed:
      cache.mkdir(parents=True, exist_ok=True)
      with contextlib.suppress(FileNotFoundError):  # another preflight had the same
        files.write_json(cache / f"{key}.json", dataclasses.asdict(result))
    return result


def crashed(run: Path, signal: int) -> bool:
  """Notes that the program on which a process ended cannot be compiled.

  It is for this command alone: another day the machine may have more memory.

  Args:
    run: the folder in $ROBUSTJAX_PREFLIGHT of that process.
    signal: that it ended of.

  Returns:
    Whether it was compiling.
  """
  mark = run / _MARK
  if not mark.exists():
    return False
  answer = dataclasses.asdict(answers.crashed(signal))
  files.write_json(run / f"{mark.read_text()}.json", answer)
  mark.unlink()
  return True


def _read(key: str, cache: Path | None, quick: bool) -> Compiled | None:
  """What this command or the cache knows; a whole result answers a quick one too."""
  for folder in (_run(), cache):
    file = folder / f"{key}.json" if folder else None
    if file and file.exists():
      known = answers.from_json(files.read_json(file))
      if quick or known.memory is None or known.memory.code is not None:
        return dataclasses.replace(known, kept=True)
  return None


def _run() -> Path | None:
  """The folder of this command."""
  return Path(os.environ[RUN]) if RUN in os.environ else None


@contextlib.contextmanager
def _marked(key: str) -> Iterator[None]:
  """Has the program's key in a file while this process compiles it."""
  mark = run / _MARK if (run := _run()) else None
  if mark:
    mark.write_text(key)
  try:
    yield
  finally:
    if mark:
      mark.unlink()


def _key(text: str, target: Target) -> str:
  """A name for everything that a result depends on, this code included."""
  parts = [
    text,
    target.name,
    str(len(target.devices)),
    target.compiler,
    importlib.metadata.version("jax"),
    importlib.metadata.version("jaxlib"),
    *(f"{name}={os.environ.get(name, '')}" for name in _FLAGS),
    *_CODE,
  ]
  return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


@contextlib.contextmanager
def _showing(title: str) -> Iterator[None]:
  """Says on stderr what is compiled, and for how long: a compile cannot be looked into.

  On a terminal the line counts seconds; elsewhere there is one a minute.
  """
  began, done = time.monotonic(), threading.Event()
  live = sys.stderr.isatty()

  def show(end: str) -> None:
    elapsed = time.monotonic() - began
    start = "\r" if live else ""
    print(f"{start}compiling the {title}: {elapsed:.0f} s", end=end, file=sys.stderr)
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
