"""Compiled programs, kept in the user's cache folder for the processes to come.

JAX keeps them in any folder that it is told, but a process that is killed while it
writes one leaves half a file, of which every later one complains, bytes that a disk has
turned are run, and to limit the folder's size wants one package more.
"""

import contextlib
import functools
import hashlib
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax

# Private, but JAX has no other way to say how it keeps programs.
from jax._src import compilation_cache
from jax._src.compilation_cache_interface import CacheInterface

from robustjax.runtime import files

MOST = 2**30  # bytes, of all programs together
_SECONDS = 0.1  # what compiles faster is not worth a file; JAX's own number is 1
_JAXS_SECONDS = 1.0
_DIGEST = hashlib.sha256().digest_size


class CompileCache(CacheInterface):
  """A folder of programs, of which those that were not used for longest go first.

  What cannot be read or written is as if it were not there: then JAX compiles. Any
  number of processes may use a folder.

  Args:
    folder: made when there is something to write.
    most: bytes of all its files.
  """

  def __init__(self, folder: Path, most: int = MOST):
    self._path = folder
    self._most = most

  def get(self, key: str) -> bytes | None:
    """What was put, or None if it is not there or not what was written."""
    path = self._file(key)
    with contextlib.suppress(OSError):
      content = path.read_bytes()
      digest, value = content[:_DIGEST], content[_DIGEST:]
      if hashlib.sha256(value).digest() == digest:
        os.utime(path)
        return value
      path.unlink()
    return None

  def put(self, key: str, value: bytes) -> None:
    """Keeps a program; others make room for it."""
    if len(value) + _DIGEST > self._most:
      return
    with contextlib.suppress(OSError):
      self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
      files.write_bytes(self._file(key), hashlib.sha256(value).digest() + value)
      self._make_room()

  def _make_room(self) -> None:
    found = [(path.stat(), path) for path in self._path.iterdir()]
    size = sum(of_it.st_size for of_it, _ in found)
    for of_it, path in sorted(found, key=lambda pair: pair[0].st_mtime_ns):
      if size <= self._most:
        return
      path.unlink(missing_ok=True)
      size -= of_it.st_size

  def _file(self, key: str) -> Path:
    return self._path / f"{key}-{_machine()}"


@functools.cache
def _machine() -> str:
  """Of which machine a program is: where a home is shared, others have other code.

  JAX's key says nothing of the processor, nor how many cores a program is cut for.
  """
  about = [platform.machine(), str(os.cpu_count())]
  if hasattr(os, "sched_getaffinity"):
    about.append(str(len(os.sched_getaffinity(0))))
  with contextlib.suppress(OSError):
    first, *_ = Path("/proc/cpuinfo").read_text().split("\n\n")
    lines = (line.split(":", 1) for line in first.splitlines() if ":" in line)
    known = {name.strip(): text.strip() for name, text in lines}
    about += [known.get(name, "") for name in ("model name", "flags", "Features")]
  return hashlib.sha256("\n".join(about).encode()).hexdigest()[:12]


def folder() -> Path | None:
  """Where programs are kept: in XDG_CACHE_HOME, or ~/.cache; None without a home."""
  named = Path(os.environ.get("XDG_CACHE_HOME", ""))
  with contextlib.suppress(RuntimeError):
    root = named if named.is_absolute() else Path.home() / ".cache"
    return root / "robustjax" / "programs"
  return None


def _is_private(folder: Path) -> bool:
  """Whether nobody else can have put programs there, which would be run."""
  try:
    about = folder.stat()
  except FileNotFoundError:
    return True
  except OSError:
    return False
  return about.st_uid == os.getuid() and not about.st_mode & 0o022


@contextlib.contextmanager
def kept() -> Iterator[None]:
  """Programs are kept for as long as it lasts, unless JAX is told where, or not to.

  JAX_COMPILATION_CACHE_DIR says where, JAX_ENABLE_COMPILATION_CACHE=0 turns it off, and
  JAX_COMPILATION_CACHE_MAX_SIZE says how many bytes are kept.
  """
  told: Any = jax.config
  where = None if told.jax_compilation_cache_dir else folder()
  if not (where and told.jax_enable_compilation_cache and _is_private(where)):
    yield
    return
  most = told.jax_compilation_cache_max_size
  seconds = told.jax_persistent_cache_min_compile_time_secs
  compilation_cache.reset_cache()  # or JAX remembers that there was none
  compilation_cache._cache = CompileCache(where, MOST if most < 0 else most)
  if seconds == _JAXS_SECONDS:
    jax.config.update("jax_persistent_cache_min_compile_time_secs", _SECONDS)
  try:
    yield
  finally:
    jax.config.update("jax_persistent_cache_min_compile_time_secs", seconds)
    compilation_cache.reset_cache()
