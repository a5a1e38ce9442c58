"""The command as a person gives it, for this machine's CPU, and its mistakes."""

import dataclasses
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from robustjax.preflight import __main__ as command
from robustjax.preflight import chips, topology

ROOT = Path(__file__).parents[1]
NET = (
  "--config=experiments/mbn_alp.py:mini", "--config.model.stages=(1,)",
  "--config.model.width=4", "--config.train.batch_size=256",
)  # fmt: skip


def say(monkeypatch, capsys, *words):
  monkeypatch.setattr(sys, "argv", ["preflight", "--cache=", *words])
  monkeypatch.setattr(command.signal, "signal", lambda *_: None)
  status = command.main()
  shown = capsys.readouterr()
  return status, shown.out, shown.err


def in_name_a_tpu(monkeypatch, hbm):
  """Makes --device=cpu a target with a peak, chips and so much memory a device."""
  here = topology.cpu()
  made = dataclasses.replace(
    here, hbm=hbm, peak=1e12, exact_peak=2e11, bandwidth=1e10, chips=4, hosts=2
  )
  monkeypatch.setattr(topology, "cpu", lambda: made)


def test_what_fits_is_told_with_its_parts(monkeypatch, capsys):
  words = (*NET, "--device=cpu", "--no-largest")
  status, out, _ = say(monkeypatch, capsys, *words)
  assert status == command.FITS
  assert "It fits on cpu." in out and "8 devices" in out and "32 a device" in out
  for part in ("parameters", "optimiser", "temporaries", "all-reduce", "compiled in"):
    assert part in out
  assert "No forecast: there is no published peak of cpu." in out


@pytest.mark.slow
@pytest.mark.toolchain
def test_json_alone_is_on_stdout_and_says_the_same(monkeypatch, capsys):
  in_name_a_tpu(monkeypatch, chips.GIB)
  words = (*NET, "--device=cpu", "--json", "--utilisation=0.5")
  status, out, err = say(monkeypatch, capsys, *words)
  assert status == command.FITS and "compiling the train step" in err
  found = json.loads(out)
  step, *others = found["programs"]
  assert found["fits"] and step["fits"] and step["exceeds"] == 0 and len(others) == 5
  memory = step["memory"]
  assert step["needed"] == sum(memory.values()) and memory["temporaries"] > 0
  assert found["images_per_device"] == 32 and found["batch_size"] == 256
  guessed = found["forecast"]
  roof = {"operations": step["flops"] / 2e11, "memory": step["bytes"] / 1e10}
  assert step["roof"] == pytest.approx(roof | {"limit": max(roof, key=roof.get)})
  assert guessed["step_seconds"] == pytest.approx(max(roof.values()) / 0.5)
  assert guessed["images_per_second"] == pytest.approx(256 / guessed["step_seconds"])
  assert guessed["chip_hours"] == pytest.approx(guessed["days"] * 24 * 4)
  tried = found["largest"]["tried"]
  assert found["largest"]["images"] > 32 and "64" in tried and "32" in tried
  assert tried[str(found["largest"]["images"])] <= chips.GIB


@pytest.mark.toolchain
def test_what_does_not_fit_says_by_how_much_and_what_to_change(monkeypatch, capsys):
  in_name_a_tpu(monkeypatch, chips.GIB // 4000)
  status, out, _ = say(monkeypatch, capsys, *NET, "--device=cpu")
  assert status == command.DOES_NOT_FIT
  assert "The train step does not fit by " in out and "MiB" in out
  for way in ("--config.model.group", "--config.model.remat=block", "depth"):
    assert way in out
  assert "No batch fits, not even one group a device" in out
  assert "It does not fit on cpu." in out


def test_a_forecast_says_that_it_is_one(monkeypatch, capsys):
  in_name_a_tpu(monkeypatch, chips.GIB)
  words = (*NET, "--device=cpu", "--no-largest")
  _, out, _ = say(monkeypatch, capsys, *words)
  table = out[out.index("forecast\n") :]
  for part in ("a train step", "all of it", "each host reads", "chip-hours", "60%"):
    assert part in table
  assert "operations  " in out and ", memory  " in out and "at 10 GB/s" in table
  assert "MLPerf 1.0 on v4 65%" in table and "V100 53%" in table
  assert "Nothing here was measured" in " ".join(table.split())


@pytest.mark.parametrize(
  ("words", "told"),
  [
    ((*NET, "--topology=v9-8"), "there is no TPU slice 'v9-8'"),
    ((*NET,), "--topology --device --devices is required"),
    ((*NET, "--device=cpu", "--topology=v5e-8"), "not allowed with"),
    ((*NET, "--device=h100"), "--device=h100 compiles on a machine"),
    (("--device=cpu",), "no configuration is given"),
    ((*NET, "--device=cpu", "--workdir=x"), "'--workdir=x' is not a flag"),
    ((*NET, "--device=cpu", "--config.model.dept=1"), "mean --config.model.depth?"),
    ((*NET, "--devices=0"), "0 is less than 1"),
    ((*NET, "--device=cpu", "--utilisation=0"), "0 is not above 0"),
    ((*NET, "--device=cpu", "--utilisation=much"), "--utilisation"),
    ((*NET, "--device=cpu", "--config.train.batch_size=100"), "so set it to 256"),
    ((*NET, "--device=cpu", "--config.eval.batch_size=100"), "config.eval.batch_size"),
    (("--all", "--device=cpu"), "--all needs --topology"),
    (("--all", "--topology=v5e-8", "--out=x", "--config=y"), "takes no '--config=y'"),
    ((*NET, "--topology=v5e-8", "--topology=v5e-4"), "are for --all"),
    ((*NET, "--device=cpu", "--quick"), "--quick is for --topology"),
  ],
)
def test_mistakes_are_one_line(monkeypatch, capsys, words, told):
  status, out, err = say(monkeypatch, capsys, *words)
  (line,) = err.splitlines()
  assert status == command.MISTAKE and not out
  assert line.startswith("error: ") and told in line


def test_too_many_devices_for_the_batch_names_how_many_would_do(monkeypatch, capsys):
  words = (*NET, "--device=cpu", "--config.train.batch_size=128")
  status, _, err = say(monkeypatch, capsys, *words)
  assert status == command.MISTAKE
  assert err.rstrip().endswith("or take a slice whose number of devices divides 4")


@pytest.mark.parametrize(("devices", "status"), [(1, 0), (8, 0), (16, 2), (3, 2)])
def test_whether_a_batch_splits_is_known_without_a_compiler(
  monkeypatch, capsys, devices, status
):
  monkeypatch.delattr(command.examination, "examine")
  found, out, err = say(monkeypatch, capsys, *NET, f"--devices={devices}")
  assert found == status
  assert (f"on {devices} devices, {256 // devices} images each" in out) == (status == 0)
  assert ("does not split over" in err) == (status == 2)


def test_whether_a_batch_splits_is_json_too(monkeypatch, capsys):
  _, out, _ = say(monkeypatch, capsys, *NET, "--devices=4", "--json")
  assert json.loads(out) == {
    "setting": "mbn_alp", "devices": 4, "images_per_device": 64,
  }  # fmt: skip


def rented():
  """Of each command in the documents that rents a slice: type, words."""
  for name in ("docs/tpu.md",):
    text = (ROOT / name).read_text().replace("\\\n", " ")
    for line in re.findall(r"^launch/tpu.sh run .*$", text, re.MULTILINE):
      words = shlex.split(line, comments=True)
      (type_,) = [word for word in words if word.startswith("--type=")]
      own = [word for word in words if word.startswith(("experiments/", "--config."))]
      yield pytest.param(type_.partition("=")[2], own, id=f"{name} {' '.join(own)}")


@pytest.mark.parametrize(("type_", "words"), list(rented()))
def test_a_slice_that_the_documents_rent_takes_its_batch(
  monkeypatch, capsys, type_, words
):
  kind, _, count = type_.partition("-")
  chip = chips.CHIPS[kind]
  devices = int(count) // (2 if chip.counts_cores else 1) * chip.devices
  (experiment, *values) = words
  words = [f"--config={experiment}", *values, f"--devices={devices}"]
  status, _, err = say(monkeypatch, capsys, *words)
  assert status == command.FITS, err


def test_who_has_no_home_keeps_no_answers(monkeypatch):
  """As in a container that runs as somebody whom it does not know."""
  monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
  monkeypatch.setattr(Path, "home", lambda: Path("~nobody_at_all").expanduser())
  assert command.parser().parse_args(["--device=cpu"]).cache == ""


@pytest.mark.toolchain
def test_a_compiler_that_crashes_is_an_answer(tmp_path):
  """The process is killed as a crash would; the program is not tried again."""
  program = (
    "import os, signal, pathlib, jax._src.stages as stages\n"
    "compile = stages.Lowered.compile\n"
    f"mark = pathlib.Path({str(tmp_path / 'crashed')!r})\n"
    "def crash(self, *args, **kwargs):\n"
    "  if not mark.exists():\n"
    "    mark.touch()\n"
    "    os.kill(os.getpid(), signal.SIGSEGV)\n"
    "  return compile(self, *args, **kwargs)\n"
    "stages.Lowered.compile = crash\n"
  )
  (tmp_path / "sitecustomize.py").write_text(program)
  paths = os.pathsep.join([str(tmp_path), str(ROOT)])
  cache = tmp_path / "cache"
  process = subprocess.run(
    [sys.executable, "-m", "robustjax.preflight", *NET, "--device=cpu", "--no-largest",
     f"--cache={cache}"],
    cwd=ROOT, env={**os.environ, "PYTHONPATH": paths}, text=True, capture_output=True,
  )  # fmt: skip
  assert process.returncode == command.DOES_NOT_FIT, process.stderr
  assert "The train step cannot be compiled." in process.stdout
  assert "The compiler: it crashed (signal 11)" in process.stdout
  assert process.stderr.count("the compiler crashed on this program") == 1
  assert len(list(cache.iterdir())) == 5


def test_a_crash_of_something_else_is_one_line(monkeypatch, capsys):
  monkeypatch.setattr(command, "_CHILD", "import os; os.kill(os.getpid(), 11)")
  monkeypatch.setattr(sys, "argv", ["preflight", "--cache=", *NET, "--device=cpu"])
  assert command.guarded() == command.BUG
  assert capsys.readouterr().err == "error: the compiler crashed (signal 11)\n"


@pytest.mark.toolchain
def test_the_process_that_compiles_ends_with_its_guard(tmp_path):
  """Even if the guard is killed, and has no time to say so."""
  code = (
    "import subprocess, sys\n"
    "child = subprocess.Popen([sys.executable, '-c', 'import threading, time\\n"
    "from robustjax.preflight import quick\\n"
    "threading.Thread(target=quick.end_with_parent, daemon=True).start()\\n"
    "print(1, flush=True)\\n"
    "time.sleep(600)'])\n"
    "child.wait()\n"
  )
  guard = subprocess.Popen(
    [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True,
    env={**os.environ, "PYTHONPATH": str(ROOT)},
  )  # fmt: skip
  assert guard.stdout and guard.stdout.readline() == "1\n"
  guard.kill()
  guard.wait()
  assert guard.stdout.read() == ""  # once nobody has it open any more
  guard.stdout.close()


@pytest.mark.parametrize(("number", "lines"), [(15, 0), (9, 1)])
def test_an_end_by_another_signal_is_passed_on(monkeypatch, capsys, number, lines):
  monkeypatch.setattr(command, "_CHILD", f"import os; os.kill(os.getpid(), {number})")
  monkeypatch.setattr(sys, "argv", ["preflight"])
  assert command.guarded() == 128 + number
  assert len(capsys.readouterr().err.splitlines()) == lines


@pytest.mark.toolchain
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_preflight_that_is_stopped_leaves_nothing_behind(tmp_path, number):
  child = (
    "import os, pathlib, tempfile, time\n"
    "tempfile.mkdtemp()\n"
    f"pathlib.Path({str(tmp_path)!r}, 'begun').write_text(str(os.getpid()))\n"
    "time.sleep(600)\n"
  )
  code = (
    "import signal, sys\n"
    "from robustjax.preflight import __main__ as command\n"
    f"command._CHILD = {child!r}\n"
    "sys.exit(command.guarded())\n"
  )
  (temporary := tmp_path / "temporary").mkdir()
  process = subprocess.Popen(
    [sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.PIPE, text=True,
    env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(temporary)},
  )  # fmt: skip
  begun = tmp_path / "begun"
  while not begun.exists() or not begun.read_text():
    assert process.poll() is None
    time.sleep(0.05)
  assert len(list(temporary.glob("*/*"))) == 1
  process.send_signal(number)
  _, err = process.communicate(timeout=60)
  assert process.returncode == 128 + number and not err
  assert not list(temporary.iterdir())
  with pytest.raises(ProcessLookupError):
    os.kill(int(begun.read_text()), 0)
