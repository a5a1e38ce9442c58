"""Sweeps with a stand-in for main: skipping, failing, stopping, going on; one real."""

import contextlib
import fcntl
import json
import os
import pty
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from robustjax import config as configs
from robustjax.sweep import runs, standing
from robustjax.sweep.screen import Member, Screen

ROOT = Path(__file__).parents[1]
TINY = [
  "--config.model.width=4",
  "--config.model.stages=(1,1)",
  "--config.attack.steps=2",
  "--config.train.epochs=0.1",
  "--config.train.validation_images=40",
  "--config.eval.readings=(4,8)",
  "--config.eval.images=40",
  "--config.eval.attack=",
  "--config.eval.batch_size=20",
]

# Does what main does, as far as a sweep can see: locks its folder, draws a bar, saves
# when it is told to stop, goes on from there. The words of the setting say how it goes.
STAND_IN = r"""
import fcntl, json, signal, sys, time
from pathlib import Path

flags = dict(word.lstrip("-").split("=", 1) for word in sys.argv[1:])
path, _, words = flags.pop("config").partition(":")
workdir, words = Path(flags.pop("workdir")), words.split(",")
with Path("started.txt").open("a") as file:
  print(workdir.name, file=file)
if "broken" in words:
  print("error: no variant 'broken'; there is mini", file=sys.stderr)
  sys.exit(2)
if "raises" in words:
  raise RuntimeError("out of memory")
if (workdir / "evaluation.json").exists():
  json.loads((workdir / "evaluation.json").read_text())
workdir.mkdir(parents=True, exist_ok=True)
lock = (workdir / ".lock").open("w")
fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
overrides = {n.removeprefix("config."): json.loads(v) for n, v in flags.items()}
setting = "_".join([Path(path).stem, *(w for w in words if w != "mini")])
config = {"setting": setting, "scale": "mini", "overrides": overrides}
(workdir / "config.json").write_text(json.dumps(config))
begun = (workdir / "checkpoints/7").exists()
print("goes on from step 7" if begun else "has 9 steps to go", flush=True)
bar = "\rtrain:  43%|####      | 4.3k/10k [00:33<{:02d}:26, 447 images/s, loss 1.5]"
print(bar.format(2), end="", file=sys.stderr, flush=True)

def stop(*_):
  if "stubborn" not in words:
    time.sleep(0.3)
    (workdir / "checkpoints/7").mkdir(parents=True, exist_ok=True)
    print("stopped after step 7", file=sys.stderr)
    sys.exit(143)

signal.signal(signal.SIGTERM, stop)
(workdir / "ready").touch()
for tick in range(2000 if {"slow", "stubborn"} & set(words) and not begun else 0):
  time.sleep(0.05)
  print(bar.format(3 + tick), end="", file=sys.stderr, flush=True)
rows = [
  {"branch": b, "steps": n, "accuracy": a}
  for b, n, a in [("clean", 0, 0.9), ("clean", 50, 0.5), ("adv", 0, 0.8),
                  ("adv", 50, 0.7931), ("clean", 20, 0.6)]
]
(workdir / "evaluation.json").write_text(json.dumps({"rows": rows}))
"""
# A SIGHUP that whoever runs the tests ignores would be ignored here too.
DRIVER = (
  "import signal, sys; from robustjax.sweep import __main__ as sweep;"
  " signal.signal(signal.SIGHUP, signal.SIG_DFL); sys.exit(sweep.main({}))"
)
STRONGEST = "PGD-50 50.0% clean, 79.3% adv"


class Folder:
  """A folder to sweep in: starts sweeps, and knows which runs were started."""

  def __init__(self, path):
    self.path = path
    (path / "stand_in.py").write_text(STAND_IN)

  def start(self, *words, patience=60.0, **kwargs):
    command = [sys.executable, "-S", str(self.path / "stand_in.py")]
    driver = DRIVER.format(f"sys.argv[1:], {command!r}, {patience}")
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **kwargs}
    return subprocess.Popen(
      [sys.executable, "-c", driver, *words],
      cwd=self.path, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, **streams,
    )  # fmt: skip

  def sweep(self, *words, **kwargs):
    """Returns the exit status, and what was printed."""
    process = self.start(*words, **kwargs)
    out, err = process.communicate(timeout=60)
    return process.returncode, out + err

  def listed(self, *lines):
    (self.path / "list.txt").write_text("\n".join(lines))
    return "--list=list.txt"

  def started(self):
    """The names of the runs that main was started for, in order; forgets them."""
    path = self.path / "started.txt"
    names = path.read_text().split() if path.exists() else []
    path.unlink(missing_ok=True)
    return names

  def wait_for(self, name, process):
    deadline = time.monotonic() + 60
    while not (self.path / "runs" / name / "ready").exists():
      assert process.poll() is None and time.monotonic() < deadline
      time.sleep(0.01)


@pytest.fixture
def folder(tmp_path):
  return Folder(tmp_path)


def rows(text):
  """The last table: name -> the rest of its row."""
  last = re.split(r"^run +state.*\n", text, flags=re.MULTILINE)[-1].split("\n\n")[0]
  pairs = (line.split(maxsplit=1) for line in last.splitlines()[1:])
  return {name: re.sub(" +", " ", rest) for name, rest in pairs}


# The list


@pytest.mark.parametrize(
  "setting, name",
  [
    ("experiments/adv.py:mini", "adv-mini"),
    ("experiments/adv.py", "adv-paper"),
    ("experiments/adv.py:", "adv-paper"),
    ("experiments/mbn_alp.py:pgd5,mini,star,", "mbn_alp_star_pgd5-mini"),
    ("experiments/adv_clean.py:eps8,80,mini,star", "adv_clean_80_star_eps8-mini"),
    ("experiments/batch_size.py:512,mini", "batch_size_512-mini"),
  ],
)
def test_a_folder_is_called_as_main_would_call_it(setting, name):
  run = runs.run_of([setting], [], Path("runs"))
  assert run.name == name and run.workdir == Path("runs") / name
  path, _, variant = setting.partition(":")
  space = {}
  exec((ROOT / path).read_text(), space)
  config = space["get_config"](variant)
  assert name == f"{config.setting}-{config.scale}"


def test_the_common_words_are_those_of_the_configuration():
  assert tuple(configs.COMMON) == runs.COMMON_WORDS


def test_overrides_are_part_of_the_name_and_names_are_safe():
  word = "--config.model.stages=(1, 1)"
  run = runs.run_of(["a.py:mini", word], ["--config.data.data_dir=/x y"], Path("r"))
  assert run.name == "a-mini-model.stages=1,1-data.data_dir=_xy"
  assert run.overrides == (word, "--config.data.data_dir=/x y")
  assert run.values == {"model.stages": [1, 1], "data.data_dir": "/x y"}
  many = [f"--config.train.epochs={i}" for i in range(40)]
  one, other = (runs.run_of(["a.py"], many[i:], Path()).name for i in (0, 1))
  assert one != other and len(one) == len(other) == runs.LONGEST_NAME
  named = runs.run_of(["a.py", word, "--name=b", "--workdir=c"], many[:1], Path())
  assert named.name == "b-train.epochs=0" and named.workdir == Path("c")


@pytest.mark.parametrize(
  "words, message",
  [
    ([], "nothing to run"),
    (["a.py", "--dryrun"], "--dryrun"),
    (["a.py", "--config=b.py"], "--config=b.py"),
    (["a.py", "--config.x"], "--config.x"),
    (["a.py", "--dry"], "--dry"),
    (["a.py:mini", "b.py:mini", "./a.py:,mini"], "in the list twice.*a.py:mini"),
    (["x/a.py", "y/a.py"], "runs/a-paper.*--name"),
    (["a.py", "--list=none.txt"], "none.txt.*No such file"),
    ([":mini"], "--name"),
  ],
)
def test_a_mistake_is_one_line_and_starts_nothing(folder, words, message):
  status, said = folder.sweep(*words)
  assert status == 2 and re.fullmatch(f"error: .*{message}.*\n", said)
  assert not folder.started() and not (folder.path / "runs").exists()


@pytest.mark.parametrize(
  "lines, message",
  [
    (["a.py --config.a=64", "a.py --config.a=1 --config.a=64.0"], "in the list twice"),
    (["a.py --workdir=w", "b.py --workdir=./w"], "w and b-paper.log"),
    (["a.py --name=n", "b.py --name=n"], "n.log"),
    (["a.py --name=logs"], "'logs'"),
    (["a.py --name=../n"], "'../n'"),
    (["a.py --runs=w"], "'--runs=w' is not known"),
    (["a.py", "b.py --name='n"], "list.txt:2: No closing quotation"),
  ],
)
def test_a_mistake_in_a_list_is_one_line_and_starts_nothing(folder, lines, message):
  status, said = folder.sweep(folder.listed(*lines))
  assert status == 2 and re.fullmatch(f"error: .*{re.escape(message)}.*\n", said)
  assert not folder.started() and not (folder.path / "runs").exists()


def test_dry_run_says_what_would_be_done_and_does_nothing(folder):
  folder.sweep("a.py:mini")
  (folder.path / "runs/b-mini/checkpoints/7").mkdir(parents=True)
  folder.started()
  before = sorted(folder.path.rglob("*"))
  listed = folder.listed("c.py:mini --config.a='(1, 2)' --workdir='a b' # why", "", "#")
  status, said = folder.sweep("a.py:mini", "b.py:mini", listed, "--dry_run")
  todo = [line.rpartition("  # ")[2] for line in said.splitlines()]
  assert status == 0 and todo == ["done", "resume", "run"]
  words = shlex.split(said.splitlines()[2], comments=True)
  assert words[3:] == ["--config=c.py:mini", "--workdir=a b", "--config.a=(1, 2)"]
  assert not folder.started()
  assert set(folder.path.rglob("*")) - set(before) == {folder.path / "list.txt"}


# The runs


def test_each_is_run_once_in_order_and_with_its_flags(folder):
  listed = folder.listed("c.py:mini --name=mine --config.a=1", "d.py:mini --workdir=d")
  words = ["b.py:mini", "a.py:mini", listed, "--config.b=2"]
  status, said = folder.sweep(*words)
  names = ["b-mini-b=2", "a-mini-b=2", "mine-b=2", "d"]
  assert status == 0 and folder.started() == names
  assert "4 of 4 done" in said and rows(said)["mine-b=2"] == f"done {STRONGEST}"
  saved = json.loads((folder.path / "runs/mine-b=2/config.json").read_text())
  assert saved["overrides"] == {"a": 1, "b": 2}
  logs = {p.name for p in (folder.path / "runs/logs").iterdir()}
  assert logs == {f"{n}.log" for n in (*names[:3], "d-mini-b=2")}
  status, said = folder.sweep(*words)
  assert status == 0 and not folder.started() and "4 of 4 done" in said
  assert rows(said)["mine-b=2"] == f"done {STRONGEST}"


@pytest.mark.parametrize(
  "name, text",
  [
    ("evaluation.json", None),
    ("evaluation.json", '{"rows": ['),
    ("evaluation.json", '{"rows": []}'),
    ("evaluation.json", "[]"),
    ("evaluation.progress.json", "{}"),
    ("config.json", None),
    ("config.json", '{"setting": "a", "scale": "mini", "overrides": {"eps": 64}}'),
    ("config.json", '{"setting": "b", "scale": "mini", "overrides": {}}'),
    ("config.json", '{"setting": "a", "scale": "paper", "overrides": {}}'),
  ],
)
def test_what_may_not_be_finished_is_left_to_main(folder, name, text):
  folder.sweep("a.py:mini", "b.py:mini")
  assert folder.started() == ["a-mini", "b-mini"]
  path = folder.path / "runs/a-mini" / name
  path.write_text(text) if text else path.unlink()
  status, _ = folder.sweep("a.py:mini", "b.py:mini")
  assert folder.started() == ["a-mini"]
  damaged = text == '{"rows": ['
  assert status == (1 if damaged else 0)


def test_one_that_fails_is_reported_and_the_others_run(folder):
  words = ["a.py:mini", "b.py:mini,broken", "c.py:mini,raises", "d.py:mini"]
  status, said = folder.sweep(*words)
  assert status == 1 and "2 of 4 done, 2 failed" in said
  found = rows(said)
  assert found["a-mini"] == found["d-mini"] == f"done {STRONGEST}"
  assert re.search(
    r"b_broken-mini +2 +runs/logs/b_broken-mini.log +no variant 'broken'", said
  )
  assert re.search(r"c_raises-mini +1 +\S+ +RuntimeError: out of memory", said)
  assert not (folder.path / "runs/b_broken-mini").exists()
  folder.started()
  log = folder.path / "runs/logs/b_broken-mini.log"
  first = log.read_text()
  assert folder.sweep(*words)[0] == 1  # what failed is tried again
  assert folder.started() == ["b_broken-mini", "c_raises-mini"]
  assert log.read_text().startswith(first) and len(log.read_text()) > len(first)


# Stopping


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_stopped_it_lets_the_run_save_and_goes_on_when_started_again(folder, number):
  words = ["a.py:mini", "b.py:mini,slow", "c.py:mini"]
  process = folder.start(*words, start_new_session=True)
  folder.wait_for("b_slow-mini", process)
  os.killpg(process.pid, number)  # as a terminal does: to all that run in it
  out, err = process.communicate(timeout=60)
  assert process.returncode == 143 and not err
  assert rows(out)["b_slow-mini"] == "stopped" and rows(out)["c-mini"] == "waiting"
  assert "the same command goes on" in out
  assert (folder.path / "runs/b_slow-mini/checkpoints/7").exists()
  assert folder.started() == ["a-mini", "b_slow-mini"]
  status, said = folder.sweep(*words)
  assert status == 0 and "3 of 3 done" in said
  assert folder.started() == ["b_slow-mini", "c-mini"]
  log = (folder.path / "runs/logs/b_slow-mini.log").read_text()
  assert "has 9 steps to go" in log and "goes on from step 7" in log


def test_a_second_interrupt_kills_the_run(folder):
  process = folder.start("a.py:mini,stubborn", "b.py:mini")
  folder.wait_for("a_stubborn-mini", process)
  process.send_signal(signal.SIGINT)
  time.sleep(0.3)
  assert process.poll() is None
  process.send_signal(signal.SIGINT)
  out, _ = process.communicate(timeout=60)
  assert process.returncode == 143 and rows(out)["a_stubborn-mini"] == "stopped"
  assert folder.started() == ["a_stubborn-mini"]


@pytest.mark.skipif(sys.platform != "linux", reason="the run would be an orphan")
def test_killed_it_goes_on_once_its_run_has_saved(folder):
  words = ["a.py:mini,slow", "b.py:mini"]
  process = folder.start(*words)
  folder.wait_for("a_slow-mini", process)
  process.kill()
  process.communicate(timeout=60)
  status, said = folder.sweep(*words)  # at once: the run is still saving
  assert status == 0 and "2 of 2 done" in said
  assert folder.started() == ["a_slow-mini", "a_slow-mini", "b-mini"]
  log = (folder.path / "runs/logs/a_slow-mini.log").read_text()
  assert "stopped after step 7" in log and "goes on from step 7" in log


def test_another_process_in_the_folder_is_waited_for_but_not_for_ever(folder):
  workdir = folder.path / "runs/a-mini"
  workdir.mkdir(parents=True)
  with (workdir / ".lock").open("w") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    status, said = folder.sweep("a.py:mini", "b.py:mini", patience=0.1)
    assert status == 1 and rows(said)["b-mini"].startswith("done")
    assert "another process is at work in runs/a-mini" in said
    process = folder.start("a.py:mini", "c.py:mini")
    time.sleep(1)
    assert process.poll() is None and folder.started() == ["a-mini", "b-mini"]
  process.communicate(timeout=60)
  assert process.returncode == 0 and folder.started() == ["a-mini", "c-mini"]


# What is shown


def test_without_a_terminal_each_change_is_a_line(folder):
  process = folder.start("a.py:mini", "b.py:mini,slow", "c.py:mini")
  folder.wait_for("b_slow-mini", process)
  time.sleep(2)
  process.terminate()
  out, _ = process.communicate(timeout=60)
  lines = out[: out.index("run ")].splitlines()
  assert "\x1b" not in out and not re.search(r" +$", out, re.MULTILINE)
  assert sum(line.startswith(f"a-mini: done: {STRONGEST}") for line in lines) == 1
  running = [line for line in lines if line.startswith("b_slow-mini: running")]
  assert len(running) == 1 and re.search(r"train 43%, \d+:26 left", running[0])
  assert re.search(r"1 of 3 done; about 0:00:0\d left", running[0])


def test_on_a_terminal_the_table_is_redrawn_in_place(folder):
  ours, theirs = pty.openpty()
  words = [f"{name}.py:mini" for name in "abcdefghij"]
  process = folder.start("z.py:mini,slow", *words, stdout=theirs)
  os.close(theirs)
  folder.wait_for("z_slow-mini", process)
  time.sleep(1.2)
  process.terminate()
  text = ""
  with contextlib.suppress(OSError):  # the other side is closed
    while chunk := os.read(ours, 4096):
      text += chunk.decode()
  os.close(ours)
  process.communicate(timeout=60)
  text = text.replace("\r\n", "\n")
  watch, text = text.split("\n", 1)
  assert re.match(r"To watch them: tensorboard --logdir=\S+; their logs: \S+", watch)
  drawn, *redrawn = re.split(r"\x1b\[\d+F\x1b\[J", text)
  erased = [int(n) for n in re.findall(r"\x1b\[(\d+)F", text)]
  assert erased == [part.count("\n") for part in [drawn, *redrawn][:-1]]
  shown = rows(drawn + redrawn[0])
  assert re.fullmatch(r"running: train 43%, \d+:26 left", shown["z_slow-mini"])
  assert len(redrawn) >= 3
  assert "stopping as soon as the run has saved" in text
  assert len(rows(redrawn[-1])) == 11


def test_a_long_table_shows_the_rows_about_the_running_one(monkeypatch):
  monkeypatch.setenv("LINES", "12")
  monkeypatch.setenv("COLUMNS", "80")
  members = [Member(runs.run_of([f"s{i}.py"], [], Path()), Path()) for i in range(40)]
  screen = Screen(sys.stdout)
  for running in range(40):
    members[running].state = "running"
    window = screen._window(members)
    assert len(window) == 9 and "34 more" in window[-1]
    assert any(line.startswith(f"s{running}-paper ") for line in window)
    members[running].state = "done"


@pytest.mark.parametrize(
  "text, shown",
  [
    ("", ""),
    ("mbn has 9 steps to go\n", ""),
    ("\rtrain:   0%|          | 0.00/79.9k [00:00<?, ? images/s]", "train 0%"),
    (
      "\rtrain:   9%|9 | 1/9 [00:10<07:18, 178 images/s, loss [2]]"
      "\revaluate: 100%|█████| 8.1k/8.1k [1:00:10<00:00, 17.8 attack steps/s]\nmore",
      "evaluate 100%, 00:00 left",
    ),
    ("\rtrain:  10%|█| 1/9 [00:20<2:02:51, 4/s]\n\nS", "train 10%, 2:02:51 left"),
  ],
)  # fmt: skip
def test_progress_is_that_of_the_last_bar(tmp_path, text, shown):
  log = tmp_path / "log"
  before = "train:  99%|9 | 1/9 [00:10<00:01, 178 images/s]\n"  # of an earlier start
  log.write_text(before + text)
  assert standing.progress(log, len(before)) == shown


def test_the_result_is_the_strongest_reading_of_each_branch(tmp_path):
  def written(*found):
    keys = ("branch", "steps", "accuracy")
    read = [dict(zip(keys, row, strict=True)) for row in found]
    (tmp_path / "evaluation.json").write_text(json.dumps({"rows": read}))
    return standing.result(tmp_path)

  assert standing.result(tmp_path) == ""
  assert written(("all", 0, 0.8), ("all", 9, 0.25)) == "PGD-9 25.0%"
  assert (
    written(("clean", 0, 0.8), ("adv", 0, 1)) == "no attack 80.0% clean, 100.0% adv"
  )
  assert written(("all", 9, None)) == ""


# The sweeps that come with the project


@pytest.mark.parametrize(
  "script, count",
  [
    ("pgd_n.sh", 32),
    ("batch_size.sh", 5),
    ("-m launch.sweep --list=launch/mini_study.txt", 28),
  ],
)
def test_every_run_of_a_listed_sweep_has_a_setting(tmp_path, script, count):
  is_script = script.endswith(".sh")
  command = (
    ["bash", str(ROOT / "launch" / script)]
    if is_script
    else [sys.executable, *script.split()]
  )
  folder = f"--runs={tmp_path}"
  for scale in [["mini"], ["paper"], []] if is_script else [[]]:
    said = subprocess.run(
      [*command, *scale, "--dry_run", folder],
      cwd=tmp_path if is_script else ROOT,
      text=True, capture_output=True, check=True,
    ).stdout  # fmt: skip
    lines = said.splitlines()
    assert len(lines) == count and all(line.endswith("# run") for line in lines)
    for line in lines:
      words = dict(w.split("=", 1) for w in shlex.split(line, comments=True)[3:])
      path, _, variant = words.pop("--config").partition(":")
      space = {}
      exec((ROOT / path).read_text(), space)
      config = space["get_config"](variant)
      name = f"{config.setting}-{config.scale}"
      if "--config.eval.eps" in words:
        name += "-eps64"
        assert words["--config.attack.eps"] == words["--config.eval.eps"] == "64"
      assert words["--workdir"] == str(tmp_path / name)
      if is_script:
        assert config.scale == (scale or ["paper"])[0]


@pytest.mark.slow
@pytest.mark.thorough
def test_with_the_real_main_one_mistake_does_not_stop_the_others(tmp_path):
  words = ("mbn_alp.py:mini,stra", "mbn_alp.py:mini")
  settings = [f"experiments/{word}" for word in words]

  def swept():
    folder = f"--runs={tmp_path / 'runs'}"
    return subprocess.run(
      [sys.executable, "-m", "launch.sweep", *settings, *TINY, folder], timeout=600,
      cwd=ROOT, text=True, capture_output=True,
    )  # fmt: skip

  process = swept()
  assert process.returncode == 1 and "1 of 2 done, 1 failed" in process.stdout
  assert re.search(r" 2 +\S+\.log +.*no variant 'stra'", process.stdout)
  folders = sorted((tmp_path / "runs").iterdir())
  assert len(folders) == 2 and len(list((tmp_path / "runs/logs").iterdir())) == 2
  broken, last = rows(process.stdout).values()
  assert re.fullmatch(r"done PGD-8 \d+\.\d% clean, \d+\.\d% adv", last)
  assert broken == "failed"
  del settings[0]
  logs = sorted((tmp_path / "runs/logs").iterdir())
  before = [log.read_bytes() for log in logs]
  process = swept()  # skips it: main is not even asked
  assert process.returncode == 0 and "1 of 1 done" in process.stdout
  assert [log.read_bytes() for log in logs] == before
