"""launch/tpu.sh against a stand-in gcloud: whatever may go wrong on the way."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from cloud import FLAGS, HOSTILE, REPO, Cloud, commit, words_of

pytestmark = pytest.mark.toolchain
CHANGES = ("create", "install", "start", "stop", "delete")  # not the questions


def test_the_log_of_one_worker_is_shown(cloud: Cloud) -> None:
  cloud.script(follow=["epoch 1 of 110"])
  assert "epoch 1 of 110" in cloud.run("run", *FLAGS, "experiments/mbn.py")
  assert "--worker=0" in next(c for c in cloud.calls() if c[0] == "follow")


def test_a_slice_that_cannot_be_asked_for(cloud: Cloud) -> None:
  cloud.script(create=[{"rc": 1, "err": "ERROR: quota"}])
  printed = cloud.run("run", *FLAGS, "experiments/mbn.py", status=1)
  assert "error: the slice could not be asked for: ERROR: quota" in printed
  assert cloud.kinds("create", "delete") == ["create"] + 3 * ["delete"]  # to be sure


def test_a_slice_that_google_could_not_make(cloud: Cloud) -> None:
  cloud.script(look=["FAILED", "no more capacity"])
  printed = cloud.run("run", *FLAGS, "experiments/mbn.py", status=1)
  assert "error: Google could not make the slice: no more capacity" in printed
  assert cloud.kinds(*CHANGES) == ["create", "delete"]


def test_waiting_too_long(cloud: Cloud) -> None:
  cloud.script(look=400 * ["WAITING_FOR_RESOURCES"])
  printed = cloud.run(
    "run", *FLAGS, "--wait_hours=0.0003", "experiments/mbn.py", status=1
  )
  assert "within --wait_hours=0.0003: try later" in printed
  assert cloud.kinds(*CHANGES) == ["create", "delete"]


def test_an_installation_that_fails_once_is_tried_again(cloud: Cloud) -> None:
  cloud.script(install=[{"rc": 100}])
  cloud.run("run", *FLAGS, "experiments/mbn.py")
  assert cloud.kinds(*CHANGES) == ["create", "install", "install", "start", "delete"]


def test_an_installation_that_fails(cloud: Cloud) -> None:
  cloud.script(install=2 * [{"rc": 100, "err": "no space left\n"}])
  printed = cloud.run("run", *FLAGS, "experiments/mbn.py", status=1)
  assert "no space left" in printed and "error: the installation failed" in printed
  assert cloud.kinds(*CHANGES) == ["create", "install", "install", "delete"]
  assert not cloud.left()


AGAIN = [*CHANGES[:3], "delete"]  # of a slice that was taken away


@pytest.mark.parametrize("state", ["SUSPENDING", "SUSPENDED", "FAILED"])
def test_a_preempted_slice_is_replaced(cloud: Cloud, state: str) -> None:
  cloud.script(look=["ACTIVE", state], follow=[{"seconds": 30}])
  printed = cloud.run("run", *FLAGS, "experiments/mbn.py")
  assert f"was taken away ({state})" in printed and "goes on from its last" in printed
  assert cloud.kinds(*CHANGES) == AGAIN + AGAIN
  assert not cloud.left()


def test_a_preempted_machine_before_its_queued_resource_knows(cloud: Cloud) -> None:
  dead = {"rc": 255, "err": "ssh: connection timed out\n"}
  cloud.script(follow=[dead], status=[dead], machine=["PREEMPTED"])
  assert "taken away (PREEMPTED)" in cloud.run("run", *FLAGS, "experiments/mbn.py")
  assert cloud.kinds(*CHANGES) == AGAIN + AGAIN


def test_workers_that_do_not_answer_any_more(cloud: Cloud) -> None:
  dead = {"rc": 255}
  cloud.script(follow=30 * [dead], status=30 * [dead])
  printed = cloud.run("run", *FLAGS, "experiments/mbn.py")
  assert printed.count("is your key in the agent (ssh-add -l)?") == 30
  assert cloud.kinds(*CHANGES) == AGAIN + AGAIN


def test_a_slice_that_a_person_deletes_is_not_rented_again(cloud: Cloud) -> None:
  cloud.script(follow=[{"seconds": 20}])
  process = cloud.start("run", *FLAGS, "experiments/mbn.py")
  cloud.wait_for("follow")
  for path in (cloud.home / "slices").iterdir():
    path.unlink()
  printed, _ = process.communicate(timeout=60)
  assert process.returncode == 1
  assert "was deleted, by somebody or by itself" in printed
  assert cloud.kinds("create") == ["create"]


def test_a_run_that_leaves_nothing_in_the_bucket_is_not_complete(cloud: Cloud) -> None:
  nothing = {"rc": 1, "err": "One or more URLs matched no objects, again."}
  cloud.script(evaluation=5 * [nothing])  # one is asked before there is a slice
  printed = cloud.run("run", *FLAGS, "experiments/mbn.py")
  assert printed.count("ended well, but gs://mine/runs/mbn-paper has no") == 1
  assert cloud.kinds("start", "delete") == ["start", "start", "delete"]
  cloud.script(evaluation=20 * [nothing])
  cloud.run("run", *FLAGS, "--crashes=1", "experiments/adv.py", status=1)


def test_a_network_that_is_away_for_a_moment_is_no_crash(cloud: Cloud) -> None:
  lost, dead = {"rc": 1, "err": "ERROR: no route to host"}, {"rc": 255}
  cloud.script(
    look=["", "ACTIVE", lost, lost, "ACTIVE"], start=[dead, dead], stop=[dead, dead],
    claim=["", lost, *12 * [lost]], take=["", *11 * [lost]],
  )  # fmt: skip
  printed = cloud.run("run", *FLAGS, "--crashes=0", "experiments/mbn.py")
  assert printed.count("gcloud cannot reach") == 2
  assert cloud.kinds("start", "create") == ["create", "start", "start", "start"]


def test_what_went_well_once_is_installed_with_patience(cloud: Cloud) -> None:
  dead = {"rc": 255}
  cloud.script(look=["ACTIVE", "SUSPENDED"], install=["", *5 * [dead]])
  cloud.run("run", *FLAGS, "experiments/mbn.py")
  assert cloud.kinds("install") == 7 * ["install"] and not cloud.left()


def test_a_connection_on_which_nothing_happens_is_given_up(cloud: Cloud) -> None:
  cloud.script(install=[{"seconds": 30}, {"seconds": 30}])
  began = time.monotonic()
  printed = cloud.run("run", *FLAGS[:2], "--hours=0.0005", FLAGS[3],
                      "experiments/mbn.py", status=1)  # fmt: skip
  assert "have had their --hours=0.0005" in printed and not cloud.left()
  assert time.monotonic() - began < 20


def test_a_slice_without_its_watchdog_is_not_asked_for(cloud: Cloud) -> None:
  (cloud.repo / "launch/tpu/watchdog.sh").unlink()
  commit(cloud.repo)
  printed = cloud.run("run", *FLAGS, "experiments/mbn.py", status=2)
  assert "watchdog.sh cannot be read" in printed and not cloud.kinds("create")


def test_a_folder_in_the_folder_of_the_runs_is_refused(cloud: Cloud) -> None:
  words = ("experiments/mbn.py", "--workdir=/mnt/robustjax/runs/study/one")
  line = cloud.repo / "list.txt"
  line.write_text(" ".join(words) + "\n")
  commit(cloud.repo)
  printed = cloud.run("run", *FLAGS, "--list=list.txt", status=2)
  assert "is a folder in a folder" in printed and not cloud.kinds("create")


def test_of_several_slices_one_that_is_left_is_shouted_about(cloud: Cloud) -> None:
  denied = {"rc": 1, "err": "PERMISSION_DENIED"}
  cloud.script(delete=100 * [denied])
  words = ("--slices=2", "--name=sizes", "launch/batch_size.sh", "mini")
  printed = cloud.run("run", *FLAGS, *words, status=1)
  for name in cloud.left():
    assert f"######## {name} COULD NOT BE DELETED" in printed
  assert cloud.left() == ["sizes-1", "sizes-2"]


def test_preempted_while_it_installs_or_waits(cloud: Cloud) -> None:
  cloud.script(
    look=["PROVISIONING", "SUSPENDED", "ACTIVE", "SUSPENDED"], install=[{"rc": 255}]
  )
  cloud.run("run", *FLAGS, "experiments/mbn.py")
  assert cloud.kinds(*CHANGES) == [
    "create", "delete", "create", "install", "delete", *AGAIN,
  ]  # fmt: skip


def test_a_later_slice_may_have_to_be_asked_for_more_than_once(cloud: Cloud) -> None:
  no = {"rc": 1, "err": "ERROR: try later"}
  cloud.script(look=["ACTIVE", "SUSPENDED"], create=["", no, no])
  cloud.run("run", *FLAGS, "experiments/mbn.py")
  assert cloud.kinds("create") == 4 * ["create"] and not cloud.left()


def test_a_lost_connection_is_not_a_lost_run(cloud: Cloud) -> None:
  cloud.script(follow=[{"rc": 255}], status=["running running", "running", "0 0"])
  cloud.run("run", *FLAGS, "experiments/mbn.py")
  assert cloud.kinds(*CHANGES) == AGAIN
  assert cloud.kinds("follow", "status")[-2:] == ["follow", "status"]


def test_a_machine_without_a_network_does_not_give_its_slice_up(cloud: Cloud) -> None:
  lost = {"rc": 1, "err": "ERROR: no route to host"}
  dead = 15 * [{"rc": 255}]
  cloud.script(look=["ACTIVE", *60 * [lost]], follow=dead, status=dead)
  printed = cloud.run("run", *FLAGS, "experiments/mbn.py")
  assert printed.count("gcloud cannot look at") == 1
  assert cloud.kinds(*CHANGES) == AGAIN


def test_gcloud_without_a_network_is_not_a_lost_slice(cloud: Cloud) -> None:
  lost = {"rc": 1, "err": "ERROR: no route to host"}
  cloud.script(look=[lost, "ACTIVE", lost, lost], follow=[{"seconds": 0.3}])
  cloud.run("run", *FLAGS, "experiments/mbn.py")
  assert cloud.kinds(*CHANGES) == AGAIN


@pytest.mark.parametrize("statuses", ["2", "0 2", "1 2 134", "2 running"])
def test_a_mistake_is_not_tried_again(cloud: Cloud, statuses: str) -> None:
  cloud.script(status=[statuses])
  cloud.run("run", *FLAGS, "experiments/mbn.py", status=2)
  # Other hosts may still be at it when the next run of a list starts.
  assert cloud.kinds(*CHANGES) == ["create", "install", "start", "stop", "delete"]
  assert not cloud.left()


def test_a_run_that_was_told_to_stop_goes_on_there(cloud: Cloud) -> None:
  cloud.script(status=["143 143", "0 143", "0"])
  cloud.run("run", *FLAGS, "--crashes=0", "experiments/mbn.py")
  again = ["start", "stop"]
  assert cloud.kinds(*CHANGES) == ["create", "install", *again, *again, *AGAIN[2:]]


@pytest.mark.parametrize(
  "statuses",
  ["1", "0 134", "none 0", pytest.param("1 running", marks=pytest.mark.slow)],
)
def test_a_crash_is_tried_again_and_then_given_up(cloud: Cloud, statuses: str) -> None:
  cloud.script(status=40 * [statuses])
  printed = cloud.run("run", *FLAGS, "--crashes=1", "experiments/mbn.py", status=1)
  assert "mbn-paper failed (exit status 1)" in printed
  assert cloud.kinds("start", "stop", "create") == ["create"] + 2 * ["start", "stop"]
  assert not cloud.left()


def test_workers_that_go_on_after_another_has_ended_are_waited_for(
  cloud: Cloud,
) -> None:
  cloud.script(status=[*10 * ["0 running"], "0 0"])
  cloud.run("run", *FLAGS, "--crashes=0", "experiments/mbn.py")
  assert cloud.kinds("start") == ["start"]


def test_the_hours_are_a_limit(cloud: Cloud) -> None:
  cloud.script(follow=[{"seconds": 60}])
  printed = cloud.run("run", *FLAGS, "--hours=0.0003", "experiments/mbn.py", status=1)
  assert "have had their --hours=0.0003" in printed
  assert cloud.kinds(*CHANGES) == ["create", "install", "start", "stop", "delete"]


STOPS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


def stop(cloud: Cloud, number: int, at: str, times: int = 1) -> str:
  """Starts a run, sends it a signal at such a call; what it printed."""
  process = cloud.start("run", *FLAGS, "experiments/mbn.py")
  cloud.wait_for(at, times)
  time.sleep(0.1)
  # As a terminal does for Ctrl-C; the others may come to the script alone.
  send: Callable[[int, int], None] = os.killpg if number == signal.SIGINT else os.kill
  send(process.pid, number)
  printed, _ = process.communicate(timeout=60)
  assert process.returncode == 143, printed
  return printed


@pytest.mark.parametrize("number", STOPS)
def test_a_signal_while_it_waits(cloud: Cloud, number: int) -> None:
  cloud.script(look=10000 * ["WAITING_FOR_RESOURCES"])
  stop(cloud, number, "look", 2)  # the first one is for the name
  assert cloud.kinds(*CHANGES) == ["create", "delete"]
  assert not cloud.left()


@pytest.mark.parametrize("number", STOPS)
def test_a_signal_while_it_runs_lets_the_run_save(cloud: Cloud, number: int) -> None:
  cloud.script(follow=[{"seconds": 60}])
  printed = stop(cloud, number, "follow")
  assert cloud.kinds(*CHANGES) == ["create", "install", "start", "stop", "delete"]
  assert "letting mbn-paper save" in printed and not cloud.left()


def test_what_is_said_at_the_end_is_seen(cloud: Cloud) -> None:
  no = {"rc": 1, "err": "ERROR: PERMISSION_DENIED"}
  cloud.script(look=[{"seconds": 1}], delete=30 * [no])
  process = cloud.start("run", *FLAGS, "experiments/mbn.py")
  cloud.wait_for("look")
  while cloud.kinds("look") != 2 * ["look"]:
    time.sleep(0.01)
  time.sleep(0.1)
  os.kill(process.pid, signal.SIGTERM)
  assert "COULD NOT BE DELETED" in process.communicate(timeout=60)[0]
  assert process.returncode == 1


def test_what_it_prints_to_may_be_gone(cloud: Cloud) -> None:
  cloud.script(follow=[{"seconds": 60}])
  process = cloud.start("run", *FLAGS, "experiments/mbn.py")
  cloud.wait_for("follow")
  assert process.stdout
  process.stdout.close()
  os.kill(process.pid, signal.SIGINT)
  process.wait(timeout=30)
  assert cloud.kinds("stop", "delete") == ["stop", "delete"] and not cloud.left()


@pytest.mark.parametrize(("kind", "times"), [("install", 1), ("look", 3)])
def test_its_temporary_files_may_be_gone(cloud: Cloud, kind: str, times: int) -> None:
  slow = {"out": "ACTIVE", "seconds": 1}
  cloud.script(
    look=["ACTIVE", slow, "SUSPENDED"],
    follow=[{"seconds": 60}],
    install=[{"seconds": 1}],
  )
  process = cloud.start("run", *FLAGS, "experiments/mbn.py")
  cloud.wait_for(kind, times)  # what it calls takes a second from then on
  shutil.rmtree(cloud.home / "tmp")
  printed, _ = process.communicate(timeout=60)
  assert process.returncode == 0 and not cloud.left(), printed
  assert cloud.kinds("create") == 2 * ["create"]


def test_a_signal_while_it_installs(cloud: Cloud) -> None:
  cloud.script(install=[{"seconds": 60}])
  stop(cloud, signal.SIGTERM, "install")
  assert cloud.kinds(*CHANGES) == ["create", "install", "delete"]


@pytest.mark.parametrize("number", STOPS)
def test_a_slice_that_is_being_asked_for_is_deleted_too(
  cloud: Cloud, number: int
) -> None:
  cloud.script(create=[{"seconds": 1}])
  stop(cloud, number, "create")
  assert cloud.kinds(*CHANGES) == ["create", "delete"]
  assert not cloud.left()


def test_a_second_signal_does_not_wait_for_the_save(cloud: Cloud) -> None:
  cloud.script(follow=[{"seconds": 60}], stop=[{"seconds": 60}])
  process = cloud.start("run", *FLAGS, "experiments/mbn.py")
  for kind in ("follow", "stop"):
    cloud.wait_for(kind)
    time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
  process.communicate(timeout=30)
  assert process.returncode == 143 and not cloud.left()


def test_no_signal_ends_the_deletion(cloud: Cloud) -> None:
  cloud.script(delete=[{"seconds": 0.5}])
  process = cloud.start("run", *FLAGS, "experiments/mbn.py")
  cloud.wait_for("delete")
  for _ in range(5):
    os.killpg(process.pid, signal.SIGINT)
    os.kill(process.pid, signal.SIGTERM)
    time.sleep(0.05)
  process.communicate(timeout=30)
  assert process.returncode == 0 and not cloud.left()


def test_a_deletion_that_fails_is_shouted(cloud: Cloud) -> None:
  cloud.script(delete=30 * [{"rc": 1, "err": "ERROR: PERMISSION_DENIED"}])
  printed = cloud.run("run", *FLAGS, "--name=mine", "experiments/mbn.py", status=1)
  assert "mine COULD NOT BE DELETED, AND MAY BE COSTING MONEY" in printed
  assert "gcloud says: ERROR: PERMISSION_DENIED" in printed
  command = next(c for c in cloud.calls() if c[0] == "delete")
  assert f"\n  gcloud {shlex.join(command[1:])}\n" in printed
  assert cloud.left() == ["mine"]


def test_a_deletion_that_fails_at_first(cloud: Cloud) -> None:
  cloud.script(delete=3 * [{"rc": 1, "err": "ERROR: it is in state PROVISIONING"}])
  cloud.run("run", *FLAGS, "experiments/mbn.py")
  assert not cloud.left()


def test_somebody_elses_slice_is_not_touched(cloud: Cloud) -> None:
  (cloud.home / "slices" / "robustjax-mbn-paper").touch()
  printed = cloud.run("run", *FLAGS, "experiments/mbn.py", status=2)
  assert "there is a slice called robustjax-mbn-paper already (ACTIVE)" in printed
  assert not cloud.kinds(*CHANGES)


def test_a_name_that_cannot_be_looked_up(cloud: Cloud) -> None:
  (cloud.home / "slices" / "robustjax-mbn-paper").touch()
  cloud.script(look=[{"rc": 1, "err": "PERMISSION_DENIED"}])
  printed = cloud.run("run", *FLAGS, "experiments/mbn.py", status=2)
  assert "cannot look for robustjax-mbn-paper: PERMISSION_DENIED" in printed
  assert not cloud.kinds(*CHANGES)


def test_a_name_that_another_command_takes_meanwhile(cloud: Cloud) -> None:
  taken = {"rc": 1, "err": "ALREADY_EXISTS", "is_made": True, "label": "another"}
  cloud.script(create=[taken])
  printed = cloud.run("run", *FLAGS, "experiments/mbn.py", status=1)
  assert "which another command made: give this one a --name" in printed
  assert not cloud.kinds("delete") and cloud.left() == ["robustjax-mbn-paper"]


def test_another_ones_slice_is_not_deleted_by_a_signal_either(cloud: Cloud) -> None:
  taken = {"rc": 1, "is_made": True, "label": "another", "seconds": 1}
  cloud.script(create=[taken])
  assert "is another command's by now, and stays" in stop(
    cloud, signal.SIGTERM, "create"
  )
  assert not cloud.kinds("delete") and cloud.left() == ["robustjax-mbn-paper"]


@pytest.mark.parametrize("label", ["", "its own"])
def test_a_slice_that_was_made_although_gcloud_failed(cloud: Cloud, label: str) -> None:
  lost = {"rc": 1, "err": "ERROR: connection reset", "is_made": True}
  cloud.script(create=[lost if label else {**lost, "label": ""}])
  cloud.run("run", *FLAGS, "experiments/mbn.py", status=0 if label else 1)
  assert cloud.kinds("create", "delete") == ["create", "delete"]
  assert not cloud.left()


OTHER = ("other", "--zone=z", "--project=p", "1-2-3")


def hold(cloud: Cloud, run: str) -> Path:
  """Another slice has the folder of a run; the file that says so."""
  file = cloud.home / "claims" / run
  file.parent.mkdir(exist_ok=True)
  file.write_text(json.dumps({"generation": 7, "text": "\n".join(OTHER)}))
  return file


def test_a_run_that_another_slice_has(cloud: Cloud) -> None:
  hold(cloud, "mbn-paper")
  (cloud.home / "slices/other").write_text(OTHER[3])
  printed = cloud.run("run", *FLAGS, "experiments/mbn.py", status=2)
  assert "/mbn-paper is the folder of the slice other --zone=z --project=p" in printed
  assert not cloud.kinds(*CHANGES) and cloud.left() == ["other"]


def test_a_run_whose_slice_is_no_more(cloud: Cloud) -> None:
  file = hold(cloud, "mbn-paper")
  cloud.run("run", *FLAGS, "experiments/mbn.py")
  assert cloud.kinds(*CHANGES) == AGAIN
  assert not file.exists()  # it has done with it


def test_a_run_whose_slices_name_another_one_has_by_now(cloud: Cloud) -> None:
  hold(cloud, "mbn-paper")
  (cloud.home / "slices/other").write_text("4-5-6")
  cloud.run("run", *FLAGS, "experiments/mbn.py")
  assert cloud.kinds(*CHANGES) == AGAIN and cloud.left() == ["other"]


def test_a_name_that_is_refused_claims_no_run(cloud: Cloud) -> None:
  (cloud.home / "slices" / "robustjax-mbn-paper").touch()
  cloud.run("run", *FLAGS, "experiments/mbn.py", status=2)
  cloud.run("run", *FLAGS, "--name=mine", "experiments/mbn.py")


@pytest.mark.parametrize("change", [{0: "--impersonate-service-account=x"},
                                    {1: "--zone=z; rm -rf ~"}, {2: ""}])  # fmt: skip
def test_a_claim_by_nobody_is_no_part_of_a_command(
  cloud: Cloud, change: dict[int, str]
) -> None:
  lines = [change.get(i, line) for i, line in enumerate(OTHER)]
  cloud.script(holder=["\n".join(lines)])
  hold(cloud, "mbn-paper")
  printed = cloud.run("run", *FLAGS, "experiments/mbn.py", status=2)
  assert "mbn-paper/.slice does not name a slice: remove it if" in printed
  assert cloud.kinds("look") == ["look"] and not cloud.kinds("create")


@pytest.mark.parametrize("at", ["follow", "install"])
def test_a_slice_that_another_command_has_made_anew_is_left_alone(
  cloud: Cloud, at: str
) -> None:
  cloud.script(**{at: [{"seconds": 60 if at == "follow" else 2}]})
  process = cloud.start("run", *FLAGS, "experiments/mbn.py")
  cloud.wait_for(at)
  (cloud.home / "slices/robustjax-mbn-paper").write_text("another")
  if at == "install":
    os.kill(process.pid, signal.SIGTERM)
  process.communicate(timeout=60)
  assert process.returncode == (143 if at == "install" else 1)
  assert not cloud.kinds("stop", "delete")
  assert cloud.left() == ["robustjax-mbn-paper"]


def test_a_tpu_that_a_person_deletes_is_not_rented_again(cloud: Cloud) -> None:
  dead = {"rc": 255}
  gone = {"rc": 1, "err": "ERROR: NOT_FOUND"}
  cloud.script(follow=[dead], status=[dead], machine=[gone])
  printed = cloud.run("run", *FLAGS, "experiments/mbn.py", status=1)
  assert "was deleted, by somebody" in printed and cloud.kinds("create") == ["create"]


def test_a_run_that_is_taken_while_its_slice_is_made(cloud: Cloud) -> None:
  (cloud.home / "slices/other").write_text(OTHER[3])
  cloud.script(holder=["\n".join(OTHER)])
  printed = cloud.run("run", *FLAGS, "experiments/mbn.py", status=2)
  assert "is the folder of the slice other" in printed
  assert cloud.kinds(*CHANGES) == ["create", "install", "delete"]
  assert cloud.left() == ["other"]


def test_a_folder_of_which_nothing_can_be_known(cloud: Cloud) -> None:
  cloud.script(take=20 * [{"rc": 1, "err": "HTTPError 403"}])
  printed = cloud.run("run", *FLAGS, "experiments/mbn.py", status=1)
  assert "mbn-paper is free cannot be known: HTTPError 403" in printed
  assert not cloud.kinds(*CHANGES)


def test_of_two_commands_for_one_run_one_starts_it(cloud: Cloud) -> None:
  cloud.script(follow=9 * [{"seconds": 5}])
  both = [
    cloud.start("run", *FLAGS, f"--name={name}", "experiments/mbn.py")
    for name in ("one", "two")
  ]
  printed = [process.communicate(timeout=60)[0] for process in both]
  assert sorted(process.returncode for process in both) == [0, 2], printed
  assert cloud.kinds("start") == ["start"] and not cloud.left()


def test_hostile_values_arrive_as_they_are(cloud: Cloud) -> None:
  cloud.run("run", *FLAGS, "experiments/mbn.py", HOSTILE)
  (start,) = (c for c in cloud.calls() if c[0] == "start")
  command = next(w for w in start if w.startswith("--command="))
  # gcloud splits at spaces, and ssh puts one between two words again.
  line = " ".join(command.removeprefix("--command=").split(" "))
  worker = cloud.home / "robustjax/launch/tpu/worker.sh"
  worker.parent.mkdir(parents=True)
  worker.write_text('printf "%s\\0" "$@"')
  arrived = subprocess.run(
    ["bash", "-c", line], cwd=cloud.home, capture_output=True, check=True
  ).stdout
  words = arrived.decode().split("\0")
  assert words[0] == "start" and words[4:] == [HOSTILE, ""]
  assert not list(cloud.home.rglob("pwned")) and not list(cloud.repo.rglob("pwned"))


def test_hostile_project_and_zone(cloud: Cloud) -> None:
  zone = "z$(touch pwned) 'a"
  cloud.run("run", *FLAGS, f"--zone={zone}", "experiments/mbn.py")
  create = next(c for c in cloud.calls() if c[0] == "create")
  assert f"--zone={zone}" in create
  head = (cloud.home / "watchdog").read_text().split("# shellcheck")[0]
  read = subprocess.run(
    ["bash", "-c", head + 'printf %s "$zone"'], capture_output=True, check=True
  )
  assert read.stdout.decode() == zone


def test_a_line_break_is_refused(cloud: Cloud) -> None:
  bad = "--config.name=a\n$(touch pwned)"
  printed = cloud.run("run", *FLAGS, "experiments/mbn.py", bad, status=2)
  assert "line break" in printed and not cloud.calls()


def test_a_dry_run_needs_no_gcloud(cloud: Cloud) -> None:
  cloud.remove("gcloud")
  assert "queued-resources delete" in cloud.run(
    "run", *FLAGS, "--dry_run", "experiments/mbn.py"
  )


def names(cloud: Cloud, kind: str) -> list[str]:
  """The runs that calls of a kind are about."""
  return [words_of(call)[3] for call in cloud.calls() if call[0] == kind]


SIZES = [f"batch_size_{n}-mini" for n in (512, 1024, 2048, 4096, 8192)]


def test_a_sweep_on_one_slice(cloud: Cloud) -> None:
  cloud.script(status=["0", "2", "0"], evaluation=["gs://mine/runs/it/evaluation.json"])
  printed = cloud.run("run", *FLAGS, "launch/batch_size.sh", "mini", status=1)
  assert names(cloud, "start") == SIZES[1:]
  assert "batch_size_512-mini is complete" in printed
  assert "batch_size_2048-mini failed (exit status 2)" in printed
  assert cloud.kinds("create", "delete") == ["create", "delete"]


def test_a_sweep_on_several_slices(cloud: Cloud) -> None:
  flags = ("--name=sizes", "--slices=2")
  cloud.run("run", *FLAGS, *flags, "launch/batch_size.sh", "mini")
  by_slice: dict[str, list[str]] = {}
  for call in cloud.calls():
    if call[0] == "start":
      by_slice.setdefault(call[5], []).append(words_of(call)[3])
  assert by_slice == {"sizes-1": SIZES[::2], "sizes-2": SIZES[1::2]}
  assert sorted(cloud.kinds("create", "delete")) == 2 * ["create"] + 2 * ["delete"]
  assert (cloud.repo / "runs/logs/sizes-2.log").read_text().count("is complete") == 2
  assert not cloud.left()


@pytest.mark.parametrize(
  ("number", "seconds"), [(signal.SIGINT, "300"), (signal.SIGTERM, "60")]
)
def test_a_signal_deletes_all_slices(cloud: Cloud, number: int, seconds: str) -> None:
  cloud.script(follow=9 * [{"seconds": 60}])
  process = cloud.start("run", *FLAGS, "--slices=3", "launch/batch_size.sh", "mini")
  while cloud.kinds("follow") != 3 * ["follow"]:
    time.sleep(0.02)
  assert len(cloud.left()) == 3
  os.killpg(process.pid, number)  # all of them hear it, and then from the first again
  process.communicate(timeout=60)
  assert process.returncode == 143 and not cloud.left()
  saving = [words_of(call)[3] for call in cloud.calls() if call[0] == "stop"]
  assert saving == 3 * [seconds]


def test_what_cannot_be_known_costs_no_slice(cloud: Cloud) -> None:
  away = {"rc": 1, "err": "HTTPError 503"}
  cloud.script(evaluation=[away, away, "gs://mine/runs/it/evaluation.json"])
  cloud.run("run", *FLAGS, "experiments/mbn.py")
  cloud.script(evaluation=20 * [away])
  printed = cloud.run("run", *FLAGS, "experiments/mbn.py", status=1)
  assert "is complete cannot be known: HTTPError 503" in printed
  assert not cloud.kinds(*CHANGES)


def test_no_slice_for_what_is_complete(cloud: Cloud) -> None:
  cloud.script(evaluation=["gs://mine/runs/it/evaluation.json"])
  cloud.run("run", *FLAGS, "experiments/mbn.py")
  assert not cloud.kinds(*CHANGES)


def test_a_list_with_its_own_folders_and_names(cloud: Cloud) -> None:
  lines = "experiments/adv.py:mini --name=one --config.train.seed=1  # first\n"
  (cloud.repo / "list.txt").write_text(lines)
  cloud.run("run", *FLAGS, "--list=list.txt")
  assert names(cloud, "start") == ["one"]
  (cloud.repo / "list.txt").write_text("experiments/adv.py:mini --workdir=here\n")
  printed = cloud.run("run", *FLAGS, "--list=list.txt", status=2)
  assert "--workdir=here would be lost with the slice" in printed


MISTAKES: dict[str, tuple[tuple[str, ...], dict[str, Any], str]] = {
  "no type": (("--type=",), {}, "--type=... is missing"),
  "the preflight's name": (("--type=v5e-8",), {}, "calls it v5litepod-8"),
  "no time": (("--hours=0.0",), {}, "--hours=0.0 leaves a slice no time"),
  "no hours": (("--hours=",), {}, "--hours=... is missing"),
  "hours": (("--hours=soon",), {}, "--hours=soon is not a number of hours"),
  "no login": ((), {"account": [""]}, "say gcloud auth login"),
  "no project": ((), {"config": ["(unset)"]}, "give --project=ID"),
  "no zone": (("--zone=", "--project=p"), {"config": [""]}, "give --zone=ZONE"),
  "type": ((), {"type": [{"rc": 1, "err": "NOT_FOUND"}]}, "accelerator-types list"),
  "software": (("--type=tpu7x-8",), {}, "name the --runtime=VERSION"),
  "bucket": ((), {"bucket": [{"rc": 1, "err": "404"}]}, "gs://mine cannot be read"),
  "flat": ((), {"bucket": ["False US-WEST4"]}, "--enable-hierarchical-namespace"),
  "copy": ((), {"copy": [{"rc": 1, "err": "403"}]}, "roles/storage.objectUser"),
  "name": (("--name=Über uns",), {}, "cannot be a slice's"),
  "kind": (("--type=v4-x[$(touch pwned)]",), {}, "is no accelerator type"),
  "octal": (("--crashes=08",), {}, "--crashes=08 is not a whole number"),
  "tiers": (("--spot", "--reserved"), {}, "exclude each other"),
  "runs": (("--runs=here",), {}, "--runs is not for slices"),
  "word": (("--nonsense",), {}, "--nonsense"),
  "setting": (("experiments/none.py",), {}, "experiments/none.py is not in the last"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_cost_nothing(cloud: Cloud, mistake: str) -> None:
  flags, answers, said = MISTAKES[mistake]
  cloud.script(**answers)
  printed = cloud.run("run", *FLAGS, "experiments/mbn.py", *flags, status=2)
  assert said in printed
  assert len([x for x in printed.splitlines() if x.startswith("error: ")]) == 1
  assert not cloud.kinds(*CHANGES)


def test_without_gcloud(cloud: Cloud) -> None:
  cloud.remove("gcloud")
  printed = cloud.run("run", *FLAGS, "experiments/mbn.py", status=2)
  assert printed.startswith("error: gcloud is not installed: https://")


def test_the_slice_gets_what_is_committed(cloud: Cloud) -> None:
  (cloud.repo / "experiments/new.py").write_text("x = 1\n")
  printed = cloud.run("run", *FLAGS, "experiments/new.py", status=2)
  assert "experiments/new.py : commit or stash them" in printed
  assert not cloud.kinds(*CHANGES)
  commit(cloud.repo)
  cloud.run("run", *FLAGS, "experiments/new.py")
  assert names(cloud, "start") == ["new-paper"]


def check_settings_by(cloud: Cloud, command: str) -> None:
  """Makes an environment whose preflight is a command of bash."""
  python = cloud.repo / ".venv/bin/python"
  python.parent.mkdir(parents=True)
  real = f'[[ $2 == robustjax.preflight ]] || exec {sys.executable} "$@"'
  python.write_text(f"#!/bin/bash\n{real}\n{command}\n")
  python.chmod(0o755)


def test_a_setting_is_checked_where_it_can_be(cloud: Cloud) -> None:
  check_settings_by(cloud, 'echo "error: no such word: $*" >&2; exit 2')
  printed = cloud.run("run", *FLAGS, "experiments/mbn.py:nope", HOSTILE, status=2)
  given = f"--devices=16 --config=experiments/mbn.py:nope {HOSTILE}"
  said = " ".join(f"no such word: -m robustjax.preflight {given}".split(" "))
  assert said in printed and not cloud.kinds(*CHANGES)


@pytest.mark.parametrize(
  ("kind", "devices"),
  [("v3-32", 32), ("v4-128", 64), ("v5p-64", 32), ("v5litepod-8", 8), ("v6e-1", 1)],
)
def test_a_slices_devices_are_cores_chips_or_both(
  cloud: Cloud, kind: str, devices: int
) -> None:
  check_settings_by(cloud, 'echo "$3" >>asked')
  flags = [x for x in FLAGS if not x.startswith("--type=")]
  cloud.run("run", *flags, f"--type={kind}", "experiments/mbn.py")
  assert (cloud.repo / "asked").read_text() == f"--devices={devices}\n"


def test_another_region_is_said(cloud: Cloud) -> None:
  cloud.script(bucket=["True EUROPE-WEST4"])
  printed = cloud.run("run", *FLAGS, "experiments/mbn.py")
  assert "gs://mine is in europe-west4 and the slice in us-west4" in printed


def test_list_shows_all_zones(cloud: Cloud) -> None:
  cloud.script(list=["forgotten ACTIVE"], machines=["forgotten READY"])
  printed = cloud.run("list", "--project=p")
  assert "forgotten ACTIVE" in printed and "forgotten READY" in printed
  asked = [call for call in cloud.calls() if call[0] in ("list", "machines")]
  assert len(asked) == 2 and all("--zone=-" in call for call in asked)


def test_delete_deletes_what_was_left(cloud: Cloud) -> None:
  for name in ("one", "two", "three"):
    (cloud.home / "slices" / name).touch()
  cloud.run("delete", "one", "two", "--zone=us-west4-a")
  assert cloud.left() == ["three"]
  printed = cloud.run("delete", "one", "three", "--zone=us-west4-a", status=2)
  assert "there is no request for one in us-west4-a" in printed and not cloud.left()


def test_a_flag_that_delete_does_not_know_deletes_nothing(cloud: Cloud) -> None:
  (cloud.home / "slices" / "one").touch()
  printed = cloud.run("delete", "one", "--dry-run", "--zone=us-west4-a", status=2)
  assert "--dry-run is no flag of delete" in printed and cloud.left() == ["one"]


@pytest.mark.parametrize("words", [("--help",), ("run", "--help")])
def test_help(cloud: Cloud, words: Sequence[str]) -> None:
  assert "--hours=N" in cloud.run(*words)
  assert "'go' is not known" in cloud.run("go", status=2)


def test_the_slices_limits_come_with_it(cloud: Cloud) -> None:
  cloud.run("run", *FLAGS, "experiments/mbn.py")
  text = (cloud.home / "watchdog").read_text()
  assert text.startswith("#!/bin/bash\nname=robustjax-mbn-paper\n")
  assert re.search(rf"^limit={5 * 3600 + 1800}$", text, re.MULTILINE)
  assert text.endswith((REPO / "launch/tpu/watchdog.sh").read_text())


def test_the_skypilot_file_is_yaml_with_the_same_worker() -> None:
  task = yaml.safe_load((REPO / "launch/skypilot.yaml").read_text())
  assert {"resources", "envs", "setup", "run"} < set(task)
  assert "launch/tpu/worker.sh install" in task["setup"]
  assert "launch/tpu/worker.sh main" in task["run"]
