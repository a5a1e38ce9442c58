"""A trace of the steps that are asked for, and of no others."""

import gzip
import json

import jax
import jax.numpy as jnp

from robustjax.runtime.profile import Profile


@jax.jit
def double(x):
  return x + x


def steps_traced(folder):
  """The numbers of the steps in a trace, as Perfetto reads it."""
  (path,) = folder.glob("plugins/profile/*/perfetto_trace.json.gz")
  with gzip.open(path) as file:
    events = json.load(file)["traceEvents"]
  return {
    int(event["args"]["step_num"]) for event in events if event.get("name") == "train"
  }


def run(folder, traced, steps):
  profile = Profile(folder, traced)
  for number in range(steps):
    with profile.step(number):
      x = double(jnp.float32(number))
    profile.after(x)
  profile.close()


def test_it_begins_with_the_second_step(tmp_path, capsys):
  run(tmp_path, 2, 6)
  assert steps_traced(tmp_path) == {1, 2}
  (folder,) = tmp_path.glob("plugins/profile/*")
  assert list(folder.glob("*.xplane.pb"))  # which TensorBoard reads
  assert capsys.readouterr().out == f"Profile: {folder}\n"


def test_a_run_that_ends_before_leaves_what_there_is(tmp_path, capsys):
  run(tmp_path / "short", 9, 3)
  assert steps_traced(tmp_path / "short") == {1, 2}
  capsys.readouterr()
  run(tmp_path / "none", 2, 0)
  assert not (tmp_path / "none").exists()
  assert "No profile" in capsys.readouterr().out


def test_without_steps_it_is_nothing(tmp_path, capsys):
  run(tmp_path, 0, 3)
  assert not list(tmp_path.iterdir()) and not capsys.readouterr().out


def test_a_folder_that_cannot_be_written_stops_nothing(tmp_path, capsys):
  (tmp_path / "plugins").write_text("in the way")
  run(tmp_path, 1, 3)
  assert "the profile could not be made" in capsys.readouterr().err
