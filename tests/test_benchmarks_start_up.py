"""A start is timed to the record of the first step, and ended there."""

import os
import textwrap

import pytest

from benchmarks import start_up

RUNS = """
  import os, pathlib, sys, time
  folder = pathlib.Path(sys.argv[1].removeprefix("--workdir="))
  cache = pathlib.Path(os.environ["XDG_CACHE_HOME"])
  folder.mkdir(parents=True)
  cache.mkdir(exist_ok=True)
  with open(os.environ["NOTES"], "a") as notes:
    print(os.getpid(), len(list(cache.iterdir())), file=notes)
  (cache / folder.name).touch()
  with (folder / "metrics.jsonl").open("w") as file:
    file.write('{"step": 1')
    file.flush()
    time.sleep(0.2)  # half a record is none
    file.write(', "loss": 1.0}' + chr(10))
    file.flush()
    time.sleep(600)
"""


@pytest.fixture
def notes(monkeypatch, tmp_path):
  """Makes `RUNS` what is started; reads the process and the cached files of each."""
  path = tmp_path / "notes"
  monkeypatch.setenv("NOTES", str(path))
  monkeypatch.setattr(start_up, "_COMMAND", ("-c", textwrap.dedent(RUNS)))
  return lambda: [
    tuple(map(int, line.split())) for line in path.read_text().splitlines()
  ]


def test_it_waits_for_the_whole_record_and_ends_the_run(notes, tmp_path):
  assert start_up.to_first_step(tmp_path / "run", tmp_path / "cache") >= 0.2
  ((process, _),) = notes()
  with pytest.raises(ProcessLookupError):
    os.kill(process, 0)


def test_the_second_start_of_a_round_has_the_cache_of_the_first(notes):
  after = []
  found = start_up.measure(2, lambda: after.append(1))
  assert [cached for _, cached in notes()] == [0, 1, 0, 1]
  assert len(found["cold"]) == len(found["warm"]) == 2
  assert len(after) == 4


def test_a_run_that_ends_without_a_step_is_an_error(monkeypatch, tmp_path):
  monkeypatch.setattr(start_up, "_COMMAND", ("-c", "raise SystemExit('no images')"))
  with pytest.raises(SystemExit, match="no images"):
    start_up.to_first_step(tmp_path / "run", tmp_path / "cache")
