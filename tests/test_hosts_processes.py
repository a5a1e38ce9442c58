"""Two real processes: they go on together, or end together with a line."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import pytest

from robustjax import config, errors
from robustjax.hosts import processes, secret
from robustjax.hosts.cluster import Member
from robustjax.hosts.processes import Hosts
from robustjax.run import start as starts

ROOT = Path(__file__).parents[1]
TINY = [
  "--config=experiments/mbn_alp.py:mini",
  "--config.model.width=4",
  "--config.model.stages=(1,)",
  "--config.model.group=8",
  "--config.attack.steps=1",
  "--config.train.epochs=0.08",  # 12 steps of 64 images
  "--config.train.save_every_epochs=0.03",
  "--config.train.log_every_steps=1",
  "--config.train.validation_images=40",
  "--config.eval.readings=(2,)",
  "--config.eval.images=77",
  "--config.eval.attack=",
  "--config.eval.batch_size=24",
]
STEPS = 12


@pytest.fixture(scope="module")
def started():
  """Starts a Python process with some devices; none is left behind."""
  processes = []

  def start(words, devices):
    process = subprocess.Popen(
      [sys.executable, *words],
      cwd=ROOT, env={**os.environ, "JAX_NUM_CPU_DEVICES": str(devices)}, text=True,
      stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    processes.append(process)
    return process

  yield start
  for process in processes:
    process.kill()
    process.communicate()


def coordinator():
  with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    return f"127.0.0.1:{free.getsockname()[1]}"


@pytest.fixture(scope="module")
def two(started):
  """Starts main as two processes of 4 devices, the second perhaps later."""

  def start(workdir, *words, late=0.0, of_each=((), ())):
    flags = ["-m", "robustjax.main", *TINY, f"--workdir={workdir}", *words]
    flags += [f"--coordinator={coordinator()}", "--processes=2", "--wait=60"]
    first = started([*flags, "--process=0", *of_each[0]], 4)
    time.sleep(late)
    return first, started([*flags, "--process=1", *of_each[1]], 4)

  return start


# The threads of JAX's collectives print these pieces of a line in any order.
GLOO = re.compile(
  r"\[Gloo\] Rank |is connected to|peer ranks\.|Expected number of connected peer ranks"
  r" is :|[\d\s]"
)


def of_jax(line):
  return not GLOO.sub("", line)


def ended(processes, timeout=240):
  """(exit status, stdout, stderr) of each, without what JAX says by itself."""
  found = []
  for process in processes:
    texts = process.communicate(timeout=timeout)
    print(*texts)  # for whoever reads a failure
    lines = [[x for x in text.splitlines() if not of_jax(x)] for text in texts]
    found.append((process.returncode, *("\n".join(x) for x in lines)))
  return found


@pytest.fixture(scope="module")
def alone(started, tmp_path_factory):
  """The workdir of one process with 8 devices."""
  workdir = tmp_path_factory.mktemp("alone")
  run = started(["-m", "robustjax.main", *TINY, f"--workdir={workdir}"], 8)
  ((status, _, err),) = ended([run])
  assert status == 0, err
  return workdir


@pytest.fixture(scope="module")
def together(two, tmp_path_factory):
  """The workdir of two processes with 4 devices each, and what they printed."""
  workdir = tmp_path_factory.mktemp("together")
  found = ended(two(workdir, late=4.0))
  assert [status for status, *_ in found] == [0, 0], found
  return workdir, found


def records(workdir):
  return [json.loads(x) for x in (workdir / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.slow
@pytest.mark.thorough
def test_two_processes_compute_what_one_does(alone, together):
  workdir, _ = together
  one, both = records(alone), records(workdir)
  assert len(one) == len(both) > STEPS
  for record, other in zip(one, both, strict=True):
    assert record.keys() == other.keys()
    for name, value in record.items():
      expected = value if isinstance(value, str) else pytest.approx(value, 1e-4, 1e-6)
      assert other[name] == expected, (record["step"], name)
  names = {path.name for path in alone.iterdir()}
  assert {path.name for path in workdir.iterdir()} == names | {secret.FILE}
  counts = [json.loads((x / "evaluation.json").read_text()) for x in (alone, workdir)]
  assert counts[0] == counts[1]


@pytest.mark.slow
def test_one_of_them_talks_and_names_the_other_that_is_late(together):
  _, ((_, out, err), (_, other_out, other_err)) = together
  assert "waiting for process 1 of 2 to come to 127.0.0.1:" in err
  assert "on 8 cpu devices" in out and "worst case" in out and "images/s" in err
  assert other_out == "" and other_err == ""


@pytest.mark.slow
@pytest.mark.thorough
def test_stopped_by_a_signal_to_one_both_go_on_to_the_same_bytes(
  two, together, tmp_path
):
  processes = two(tmp_path)
  until = time.monotonic() + 240
  while (
    not (path := tmp_path / "metrics.jsonl").exists()
    or len(path.read_text().splitlines()) < 5
  ):
    assert processes[0].poll() is None and time.monotonic() < until
    time.sleep(0.002)
  processes[1].send_signal(signal.SIGTERM)
  (status, _, err), (other, _, other_err) = ended(processes)
  assert (status, other) == (143, 143), err + other_err
  assert "the same command goes on from there" in err
  assert other_err.strip().startswith("Stopping as soon as this step is saved")
  assert not (tmp_path / "evaluation.json").exists()
  assert [status for status, *_ in ended(two(tmp_path))] == [0, 0]
  for name in ("metrics.jsonl", "evaluation.json", "config.json"):
    assert (tmp_path / name).read_bytes() == (together[0] / name).read_bytes(), name


def one_line_each(found, expected=2):
  """The line of each process; all must end with the expected status."""
  lines = []
  for status, _, err in found:
    (line,) = [x for x in err.splitlines() if "waiting for" not in x]
    assert status == expected and line.startswith("error: ")
    lines.append(line)
  return lines


def test_other_configurations_end_both_with_the_difference(two, tmp_path):
  words = ["--config.attack.eps=8"], []
  found = ended(two(tmp_path / "run", of_each=words))
  for line in one_line_each(found):
    assert "config.attack.eps is 8.0 on process 0 of 2" in line
    assert "and 32.0 on process 1 of 2" in line
  assert not (tmp_path / "run").exists()


def test_images_that_one_host_lacks_end_both(two, tmp_path):
  words = ["--config.data.name=fashion_mnist", "--config.data.version=3.0.1"]
  found = ended(two(tmp_path / "run", *words))
  assert all("'fashion_mnist' is not under" in line for line in one_line_each(found))


def test_a_workdir_that_is_taken_ends_both(two, started, tmp_path):
  hold = "import fcntl, sys, time; fcntl.flock(f := open(sys.argv[1], 'w'), 2);"
  holder = started(
    ["-c", f"{hold} print('held', flush=True); time.sleep(200)", tmp_path / ".lock"], 1
  )
  assert holder.stdout.readline() == "held\n"
  first, second = one_line_each(ended(two(tmp_path)))
  holder.kill()
  assert first.startswith("error: another process is at work in")
  assert second.startswith("error: process 0 of 2 (") and "another process" in second


def test_a_process_that_never_comes_is_named(started, tmp_path):
  flags = [f"--coordinator={coordinator()}", "--processes=2", "--process=0"]
  words = [*TINY, f"--workdir={tmp_path / 'run'}", *flags, "--wait=2"]
  first = started(["-m", "robustjax.main", *words], 4)
  (line,) = one_line_each(ended([first], 60), processes.LOST)
  assert "process 1 of 2 did not come to" in line and "--process=1" in line
  assert not (tmp_path / "run").exists()


# A process that meets another at argv[1], is number argv[2], and then does something.
MEETS = """
import os, sys, time
from robustjax.errors import UserError
from robustjax.hosts import cluster, processes, tunnel
BEFORE
os.environ["ROBUSTJAX_SECRET"] = sys.argv[1]
member = cluster.Member(sys.argv[1], int(sys.argv[3]), int(sys.argv[2]))
hosts = processes.join(member, {"--workdir": "none"}, 60)
print("met", flush=True)
try:
  first = hosts.leads
  DO
except UserError as error:
  hosts.end(str(error), 2)
except Exception as error:
  hosts.broke(error)
hosts.leave()
"""


@pytest.fixture
def pair(started):
  """Starts two processes that meet and then do something."""

  def start(something, before="", count=2, meet=True):
    address = coordinator()
    words = ["-c", MEETS.replace("DO", something).replace("BEFORE", before), address]
    all_of_them = [started([*words, str(i), str(count)], 1) for i in range(count)]
    if meet:
      assert {process.stdout.readline() for process in all_of_them} == {"met\n"}
    return all_of_them

  return start


@pytest.mark.parametrize("who", [0, 1])
def test_where_one_is_killed_the_other_ends_with_a_line(pair, who):
  both = pair("time.sleep(100)")
  both[who].kill()
  (status, _, err) = ended(both, 20)[1 - who]
  assert status == processes.LOST
  assert f"error: process {who} of 2 (" in err and "is lost: the same command" in err


@pytest.mark.parametrize("who", [0, 1])
def test_where_one_hangs_the_other_ends_with_a_line(pair, who):
  both = pair("time.sleep(100)", "processes._SILENCE, processes._PING = 5, 1")
  time.sleep(1)
  both[who].send_signal(signal.SIGSTOP)
  (status, _, err) = ended(both[1 - who : 2 - who], 30)[0]
  assert status == processes.LOST
  assert f"error: process {who} of 2 (" in err and "has not answered for 5 s" in err


@pytest.mark.thorough
def test_where_nobody_speaks_for_long_nobody_is_lost_and_the_slow_one_is_named(pair):
  patience = "processes._SILENCE, processes._PING = 5, 1"
  remind = "from robustjax.hosts import pace; pace.REMIND = 2"
  polls = "[hosts.stops(False) for _ in range(2 - first)]"
  both = pair(f"{polls}; time.sleep(7)", f"{patience}\n{remind}")
  (status, _, err), (other, _, other_err) = ended(both, 30)
  assert (status, other, other_err) == (0, 0, "")
  assert set(err.splitlines()) == {
    f"all wait for process 0 of 2 ({socket.gethostname()}), for 2 s now"
  }


def test_asked_at_the_same_moment_both_stop_at_the_same_poll(pair):
  # Polls in a tight loop, so that one meets the agreement of the other.
  poll = "while not stop.requested(): polls += 1"
  before = "from robustjax.runtime.preemption import Stop\npolls = 0"
  lines = [
    "stop = Stop(hosts.stops).listen(); print(flush=True)",
    poll,
    'print("polls", polls)',
  ]
  both = pair("\n  ".join(lines), before)
  for process in both:
    assert process.stdout.readline() == "\n"
  for process in both:
    process.send_signal(signal.SIGINT)
  (status, out, _), (other, other_out, _) = ended(both, 30)
  assert (status, other) == (0, 0) and out.split() == other_out.split() != []


@pytest.mark.thorough
def test_one_that_waits_for_the_others_to_end_can_be_stopped(pair):
  both = pair("time.sleep(100 * first)")
  time.sleep(1)
  both[1].send_signal(signal.SIGTERM)
  (status, _, err), (other, _, other_err) = ended(both, 20)
  assert (status, other) == (processes.LOST, errors.STOPPED)
  assert "error: process 1 of 2 (" in err and other_err.strip().startswith("stopped;")


@pytest.mark.parametrize("who", [0, 1])
def test_an_error_of_one_alone_ends_both(pair, who):
  # After a second: the other has to say that they met.
  wait = f"time.sleep(100 if first == {who} else 1)"
  both = pair(f"{wait}; raise UserError('no disk')")
  found = ended(both, 20)
  assert [status for status, *_ in found] == [2, 2]
  assert found[who][2] == "error: no disk"
  line = found[1 - who][2]
  assert line.startswith(f"error: process {who} of 2 (")
  assert line.endswith("): no disk")


def test_a_bug_on_one_ends_both(pair):
  (status, _, err), (other, _, other_err) = ended(
    pair("processes._PATIENCE = 1; time.sleep(100 * first); 1 / 0"), 30
  )
  assert (status, other) == (1, 1)
  assert "process 1 of 2 (" in err and "failed: ZeroDivisionError" in err
  assert "Traceback" in other_err and "Traceback" not in err


def test_facts_that_differ_end_both_and_notes_arrive(pair):
  both = pair(
    "print(hosts.agree({'a': 1}, 'note of ' + sys.argv[2]), flush=True);"
    "hosts.agree({'a': 1, 'b': first})"
  )
  assert [process.stdout.readline() for process in both] == ["note of 0\n"] * 2
  for line in one_line_each(ended(both, 20)):
    assert "b is True on process 0 of 2" in line and "False on process 1" in line


def test_one_process_alone_needs_nobody(capsys):
  hosts = Hosts()
  assert hosts.leads and hosts.agree({"a": 1}, "note") == "note"
  hosts.leave()
  hosts.end("no disk", 2)
  assert capsys.readouterr().err == "error: no disk\n"


def test_the_code_is_every_file_of_the_package():
  found = starts.code()
  assert "robustjax/main.py" in found and "robustjax/models/norm.py" in found
  assert all(len(digest) == 12 for digest in found.values())


def test_what_all_hosts_must_share():
  found = starts.facts(config.base("mbn_alp", "mini"), Path("somewhere"))
  assert found["--workdir"] == "somewhere" and found["jax"] == jax.__version__
  assert "jaxlib" in found and "the digest of robustjax/main.py" in found
  assert found["config.attack.eps"] == 32.0
  assert not {"config.data.workers", "config.data.data_dir"} & set(found)


def test_jax_is_told_of_the_devices_of_this_process(monkeypatch):
  given = {}
  monkeypatch.setattr(jax.distributed, "initialize", lambda *_, **x: given.update(x))
  monkeypatch.setattr(Hosts, "_listen", lambda *_: None)
  Hosts(Member("a:1", 2, 1, (3,)), []).connect()
  assert given["local_device_ids"] == (3,)


def test_one_that_hangs_before_jax_connects_is_named(pair):
  hangs = "if sys.argv[2] == '2': tunnel.dig = lambda *_: os.kill(os.getpid(), 19)"
  waits = "processes._SILENCE, processes._PATIENCE = 4, 1"
  three = pair("pass", f"{waits}\n{hangs}", 3, meet=False)
  (status, _, err), (other, _, line) = ended(three[:2], 60)
  assert (status, other) == (processes.LOST, processes.LOST)
  assert "error: process 2 of 3 (" in err and "has not answered for 4 s" in err
  assert "error: process 0 of 3 (" in line and "is lost" in line
  assert "stack trace" not in err + line


def test_signs_of_life_come_before_anyone_gives_up():
  assert processes._PING < processes._SILENCE < processes._HEARTBEAT / 2


def test_ctrl_c_while_hosts_are_compared_ends_both(pair):
  silent = "if sys.argv[2] == '1': processes.Hosts.agree = lambda *_: time.sleep(100)"
  says = "client = processes.jax.distributed.initialize"
  told = "def say(*a, **k):\n  client(*a, **k)\n  print('met', flush=True)\n"
  patch = "processes.jax.distributed.initialize = say"
  both = pair("pass", "\n".join([silent, says, told, patch]))
  time.sleep(1)
  both[0].send_signal(signal.SIGINT)
  (first, _, err), (second, _, line) = ended(both, 20)
  assert (first, second) == (errors.STOPPED, processes.LOST)
  assert "error: stopped by Ctrl-C" in err and "stopped by Ctrl-C" in line


def test_workers_end_with_their_process(pair):
  worker = (
    "import multiprocessing as m; m.get_context('spawn').Process(target=time.sleep,"
    " args=(100,), daemon=True).start(); time.sleep(1)"
  )
  # A worker that goes on holds the pipes.
  found = ended(pair(f"{worker}; raise UserError('no disk')"), 20)
  assert [status for status, *_ in found] == [2, 2]


def test_the_first_does_not_wait_for_the_one_that_failed(pair):
  both = pair("time.sleep(100 if first else 1); raise UserError('no disk')")
  began = time.monotonic()
  ended(both, 20)
  assert time.monotonic() - began < 1 + processes._PATIENCE


def test_other_devices_end_both_with_the_difference(started, tmp_path):
  flags = ["-m", "robustjax.main", *TINY, f"--workdir={tmp_path / 'run'}"]
  flags += [f"--coordinator={coordinator()}", "--processes=2", "--wait=60"]
  both = [
    started([*flags, f"--process={p}"], devices) for p, devices in ((0, 4), (1, 2))
  ]
  for line in one_line_each(ended(both)):
    assert "the number of devices is 4 on process 0" in line and "and 2 on" in line
