"""One run on a slice, from launch/tpu.sh to the deletion, against a stand-in gcloud."""

import re
import shlex
from collections.abc import Sequence

from cloud import FLAGS, HOSTILE, Cloud, words_of


def test_a_run_from_create_to_delete(cloud: Cloud) -> None:
  cloud.script(look=["WAITING_FOR_RESOURCES", "PROVISIONING", "ACTIVE"])
  printed = cloud.run("run", *FLAGS, "--spot", "experiments/mbn.py")
  assert cloud.kinds() == [
    "account", "config", "type", "bucket", "copy", "evaluation", "look", "claim",
    "take", "create", "look", "look", "look", "install", "claim", "holder", "start",
    *cloud.kinds()[17:-7], "status", "evaluation", "claim", "holder", "release",
    "label", "delete",
  ]  # fmt: skip
  assert re.search(r"mbn-paper: WAITING_FOR_RESOURCES after \d+ s", printed)
  assert "mbn-paper is complete: gs://mine/runs/mbn-paper" in printed
  assert not cloud.left()
  create = next(c for c in cloud.calls() if c[0] == "create")
  assert {"--spot", "--project=from-config", "--valid-until-duration=86400s"} < {
    *create
  }
  start = next(c for c in cloud.calls() if c[0] == "start")
  assert "--worker=all" in start
  assert words_of(start)[2:] == [
    "start", "mbn-paper", "--config=experiments/mbn.py",
    "--workdir=/mnt/robustjax/runs/mbn-paper",
  ]  # fmt: skip


def test_a_dry_run_prints_what_a_run_does_and_calls_nothing(cloud: Cloud) -> None:
  flags = ("run", *FLAGS, "--project=p", "experiments/mbn.py", HOSTILE)
  printed = cloud.run(*flags, "--dry_run")
  assert not cloud.calls()
  would = [shlex.split(x) for x in printed.splitlines() if not x.startswith("#")]
  cloud.run(*flags)

  def tidy(calls: Sequence[Sequence[str]]) -> list[list[str]]:
    own = r"/\S*/tmp\.\w+|(?<==robustjax=)[\d-]+$"  # of each command
    return [[re.sub(own, "OWN", word) for word in c] for c in calls]

  # It cannot know what is in the file of a folder that it does not look for.
  unknown = ("account", "holder", "release")
  own = [call for call in cloud.calls() if call[0] not in unknown]
  did = [["gcloud", *call[1:]] for call in own]
  once = [c for i, c in enumerate(did) if c not in did[:i]]  # it looks more than once
  assert {*map(tuple, tidy(would))} - {*map(tuple, tidy(once))} == {
    ("git", "archive", "--output=OWN/code.tar.gz", "HEAD")
  }
  assert {*map(tuple, tidy(once))} <= {*map(tuple, tidy(would))}
