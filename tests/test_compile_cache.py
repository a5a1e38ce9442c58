"""Programs are kept for later processes, and a broken folder of them stops nothing."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest
from jax._src import compilation_cache

from robustjax.runtime import compile_cache, settings
from robustjax.runtime.compile_cache import CompileCache

SETTINGS = ("JAX_COMPILATION_CACHE_DIR", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS")
# Prints whether a program was found or compiled, and what it computes.
COMMAND = """
import jax, jax.monitoring
from robustjax.runtime import compile_cache, settings
compile_cache._SECONDS = 0.0
found = []
jax.monitoring.register_event_listener(lambda event, **_: found.append(event))
with settings.ours():
  made = jax.jit(lambda x: jax.numpy.sin(x) @ x)(jax.numpy.ones((8, 8)))
print(found.count("/jax/compilation_cache/cache_hits") > 0, float(made.sum()))
"""


@pytest.fixture
def cache(tmp_path):
  return CompileCache(tmp_path / "programs", most=400)


def command(**environment):
  """The words that COMMAND prints; on standard error it prints nothing."""
  usual = {name: v for name, v in os.environ.items() if name not in SETTINGS}
  done = subprocess.run(
    [sys.executable, "-c", COMMAND], env={**usual, **environment},
    text=True, capture_output=True, timeout=120,
  )  # fmt: skip
  assert (done.returncode, done.stderr) == (0, "")
  return done.stdout.split()


def test_a_program_is_found_by_the_next_process_and_computes_the_same(tmp_path):
  first = command(XDG_CACHE_HOME=str(tmp_path))
  again = command(XDG_CACHE_HOME=str(tmp_path))
  assert (first[0], again[0]) == ("False", "True")
  assert first[1] == again[1]
  (folder,) = tmp_path.iterdir()
  assert folder.name == "robustjax" and (folder / "programs").stat().st_mode & 0o77 == 0


def test_it_is_turned_off_by_jaxs_own_word_and_a_home_that_is_none_stops_nothing(
  tmp_path,
):
  command(XDG_CACHE_HOME=str(tmp_path), JAX_ENABLE_COMPILATION_CACHE="0")
  assert not any(tmp_path.iterdir())
  (tmp_path / "file").touch()
  command(XDG_CACHE_HOME="", HOME=str(tmp_path / "file"))


def test_what_jax_is_told_stays(monkeypatch, tmp_path):
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
  assert jax.config.jax_compilation_cache_dir  # by conftest
  before = compilation_cache._cache
  with settings.ours():
    assert compilation_cache._cache is before


def test_what_is_for_devices_that_are_not_here_is_not_kept(monkeypatch):
  monkeypatch.setattr(compile_cache, "kept", lambda: pytest.fail("it is"))
  with settings.ours(keeps=False):
    pass


def test_what_is_not_what_was_written_is_not_there_and_goes(cache):
  cache.put("key", b"program")
  (path,) = cache._path.iterdir()
  whole = path.read_bytes()
  assert cache.get("key") == b"program"
  for broken in (whole[:-1], whole[:10], b"", whole.replace(b"g", b"h", 1)):
    path.write_bytes(broken)
    assert cache.get("key") is None
    assert not path.exists()


def test_what_was_not_used_for_longest_makes_room(cache):
  for name in ("a", "b", "c"):
    cache.put(name, bytes(100))
  for age, path in enumerate(sorted(cache._path.iterdir())):
    os.utime(path, (age, age))
  assert cache.get("a")  # now b is the oldest
  cache.put("d", bytes(100))
  assert [name for name in "abcd" if cache.get(name)] == ["a", "c", "d"]
  cache.put("larger than all", bytes(401))
  assert cache.get("larger than all") is None and cache.get("a")


def test_another_processor_has_programs_of_its_own(cache, monkeypatch):
  cache.put("key", b"program")
  monkeypatch.setattr(compile_cache, "_machine", lambda: "another")
  assert cache.get("key") is None


def test_a_folder_that_others_may_write_to_is_not_used(monkeypatch, tmp_path):
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
  folder = compile_cache.folder()
  assert folder == tmp_path / "robustjax" / "programs"
  assert compile_cache._is_private(folder)
  folder.mkdir(parents=True)
  folder.chmod(0o777)
  assert not compile_cache._is_private(folder)


def test_a_relative_cache_home_is_none(monkeypatch):
  monkeypatch.setenv("XDG_CACHE_HOME", "here")
  monkeypatch.setenv("HOME", "/home/me")
  assert compile_cache.folder() == Path("/home/me/.cache/robustjax/programs")
