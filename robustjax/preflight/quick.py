"""A compile that is stopped when memory is assigned, before code is generated.

A compiler cannot be stopped but with its process. So there is one for each program: it
makes the program again from the configuration, and it is ended when XLA has written
what is asked for. What the compiler would meet afterwards is not seen.
"""

import dataclasses
import hashlib
import multiprocessing
import os
import signal
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from robustjax import config as configs
from robustjax.errors import UserError
from robustjax.preflight import answers, programs, topology
from robustjax.preflight.answers import Compiled
from robustjax.preflight.programs import Program
from robustjax.preflight.topology import Target
from robustjax.runtime import files, parallel

_DONE, _ERRORS = "done.json", "errors"


def compile_quickly(program: Program, text: str, target: Target) -> Compiled:
  """Compiles until memory is assigned.

  Args:
    program: from `programs`, which makes it again from its configuration.
    text: of the lowered program.
    target: a slice of TPUs.

  Returns:
    What the compiler says; the size of the code is not known unless it was as quick.

  Raises:
    UserError: the process was killed.
    RuntimeError: it ended without an answer, with its last words.
  """
  with tempfile.TemporaryDirectory() as temporary:
    folder = Path(temporary)
    child = multiprocessing.get_context("spawn").Process(
      target=_compile,
      args=(
        configs.plain(program.config),
        program.name,
        target.name,
        _digest(text),
        folder,
      ),
      daemon=True,
    )
    child.start()
    try:
      while child.is_alive() and not answers.is_assigned(folder):
        child.join(0.1)
    finally:
      child.kill()
      child.join()
    return _answer(folder, child.exitcode or 0)


def _answer(folder: Path, status: int) -> Compiled:
  if (folder / _DONE).exists():
    return answers.from_json(files.read_json(folder / _DONE))
  if answers.is_assigned(folder):
    return answers.stopped(folder)
  errors = folder / _ERRORS
  words = errors.read_text(errors="replace") if errors.exists() else ""
  if -status in answers.CRASHES:
    return answers.crashed(-status, words)
  if -status == signal.SIGKILL:
    raise UserError(answers.KILLED)
  raise RuntimeError(f"the process that compiled ended with {status}: {words[-4000:]}")


def _compile(
  config: Mapping[str, Any], name: str, slice_: str, digest: str, folder: Path
) -> None:
  """What the process does."""
  signal.signal(signal.SIGINT, signal.SIG_DFL)
  threading.Thread(target=end_with_parent, daemon=True).start()
  os.dup2(os.open(folder / _ERRORS, os.O_WRONLY | os.O_CREAT), 2)
  _make(config, name, slice_, digest, folder)


def _make(
  config: Mapping[str, Any], name: str, slice_: str, digest: str, folder: Path
) -> None:
  target = topology.tpu(slice_)
  mesh = parallel.mesh(target.devices)
  program = programs.named(name, configs.load(config), mesh)
  lowered = program.function.lower(*program.arguments)
  if _digest(lowered.as_text()) != digest:
    raise RuntimeError(f"the {name} is another program when it is made again")
  answer = answers.compile_fully(lowered, folder, target.is_tpu)
  files.write_json(folder / _DONE, dataclasses.asdict(answer))


def end_with_parent() -> None:
  """Ends this process when the one that started it is gone, in whatever way."""
  parent = os.getppid()
  while os.getppid() == parent:
    time.sleep(1)
  os._exit(1)  # which nobody asks for any more


def _digest(text: str) -> str:
  return hashlib.sha256(text.encode()).hexdigest()
