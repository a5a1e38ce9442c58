"""A stand-in for gcloud that plays a script: the tests of launch/tpu.sh put it in PATH.

The folder $FAKE_GCLOUD holds `script.json`, the answers to each kind of call, in turn:
{"status": ["running", "0"], ...}; without an answer a call goes well. An answer is what
is printed, or {"out": ..., "err": ..., "rc": ..., "seconds": ...}, of a creation also
"is_made" if it is in spite of its failure, and the "label" if it is another one's. Each
call's words are kept in `calls.jsonl`, a slice that was created in `slices/` with its
label, in `results/` a run that has ended well, whose evaluation is then in the bucket,
and in `claims/` which slice has a run's folder.

It is started thousands of times, and so imports little: pathlib and typing would double
what a start takes.
"""

import fcntl
import json
import os
import signal
import sys
import time

HOME = os.environ["FAKE_GCLOUD"]

# What a call is about -> the words that it begins with.
KINDS = {
  "account": "auth list",
  "config": "config get-value",
  "type": "compute tpus tpu-vm accelerator-types describe",
  "bucket": "storage buckets describe",
  "copy": "storage cp",
  "claim": "storage objects describe",
  "holder": "storage cat",
  "release": "storage rm",
  "evaluation": "storage ls",
  "create": "compute tpus queued-resources create",
  "look": "compute tpus queued-resources describe",
  "delete": "compute tpus queued-resources delete",
  "list": "compute tpus queued-resources list",
  "machine": "compute tpus tpu-vm describe",
  "machines": "compute tpus tpu-vm list",
  "ssh": "compute tpus tpu-vm ssh",
}

WELL: dict[str, object] = {
  "account": "me@example.com",
  "config": "from-config",
  "bucket": "True US-WEST4",
  "evaluation": {"rc": 1, "err": "One or more URLs matched no objects."},
  "look": "ACTIVE",
  "machine": "READY",
  "status": "0",
}


def kind_of(words: list[str]) -> str:
  """One of KINDS, and of an ssh what worker.sh or the shell is to do."""
  line = " ".join(words)
  kind = next(k for k, start in KINDS.items() if line.startswith(start))
  if kind == "copy" and "/runs/" in line:
    return "take"
  if kind == "look" and "state" not in line:
    return "label"
  if kind != "ssh":
    return kind
  command = next(w for w in words if w.startswith("--command="))
  return "install" if "pipefail" in command else command.split()[2]


def run_of(words: list[str]) -> str:
  """The run that a call is about: a look into the bucket, or worker.sh's status."""
  if words[0] == "storage":
    return next(w for w in words if "/runs/" in w).split("/")[-2]
  command = next(w for w in words if w.startswith("--command="))
  return command.split()[3]


def answer_to(kind: str) -> dict:
  """The next answer of the script."""
  path = f"{HOME}/script.json"
  with open(f"{HOME}/lock", "w") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    script = json.loads(read(path))
    answer = script[kind].pop(0) if script.get(kind) else WELL.get(kind, "")
    write(f"{path}.part", json.dumps(script))
    os.replace(f"{path}.part", path)  # whole, also if this process is killed now
  return {"out": answer} if isinstance(answer, str) else answer


def read(path: str) -> str:
  with open(path) as file:
    return file.read()


def write(path: str, text: str) -> None:
  with open(path, "w") as file:
    file.write(text)


def claims(words: list[str]) -> dict:
  """The answer to a call about the file that says which slice has a run's folder."""
  file = f"{HOME}/claims/{run_of(words)}"
  os.makedirs(f"{HOME}/claims", exist_ok=True)
  held = json.loads(read(file)) if os.path.exists(file) else {"generation": 0}
  if words[1] == "cp":
    if words[4] != f"--if-generation-match={held['generation']}":
      return {"rc": 1, "err": "HTTPError 412: a condition did not hold."}
    new = {"generation": held["generation"] + 7, "text": read(words[2])}
    write(file, json.dumps(new))
    return {}
  if words[1] == "rm":
    assert words[3] == f"--if-generation-match={held['generation']}"
    os.unlink(file)
    return {}
  if not held["generation"]:
    return {"rc": 1, "err": "ERROR: gs://... not found: 404."}
  if words[1] == "cat":
    assert words[2].endswith(f"/.slice#{held['generation']}")
    return {"out": held["text"]}
  return {"out": str(held["generation"])}


def main(words: list[str]) -> int:
  kind = kind_of(words)
  with open(f"{HOME}/calls.jsonl", "a") as file:
    file.write(json.dumps([kind, *words]) + "\n")
  name = words[4] if kind in ("create", "look", "label", "delete") else ""
  slice_ = f"{HOME}/slices/{name}"
  if kind in ("look", "label", "delete") and not os.path.exists(slice_):
    print(f"ERROR: NOT_FOUND: {name} was not found", file=sys.stderr)
    return 1
  answer = answer_to(kind)
  if answer == WELL["evaluation"] and os.path.exists(result_of(words)):
    answer = {"out": f"{words[2].partition('*')[0]}.json"}
  if answer == {"out": ""} and kind in ("claim", "holder", "take", "release"):
    answer = claims(words)
  if answer == {"out": ""} and kind == "label":
    answer = {"out": read(slice_)}
  if kind == "look" and "labels" in " ".join(words) and "out" in answer:
    answer["out"] += f"\t{read(slice_)}"
  time.sleep(answer.get("seconds", 0))
  status = answer.get("rc", 0)
  if kind == "create" and (not status or answer.get("is_made")):
    label = next(w for w in words if w.startswith("--labels="))
    write(slice_, answer.get("label", label.rpartition("=")[2]))
    copy_watchdog(words)
  if kind == "delete" and not status:
    os.unlink(slice_)
  out = answer.get("out", "")
  if kind == "status" and out:
    if set(out.split()) == {"0"}:
      os.makedirs(f"{HOME}/results", exist_ok=True)
      write(result_of(words), "")
    out = "\n".join(f"robustjax-status host {word}" for word in out.split())
  print(out, flush=True)
  print(answer.get("err", ""), end="", file=sys.stderr)
  return status


def result_of(words: list[str]) -> str:
  """The file that says that a run has ended well."""
  return f"{HOME}/results/{run_of(words)}"


def copy_watchdog(words: list[str]) -> None:
  """Keeps the startup script, which the caller deletes."""
  flag = next(w for w in words if w.startswith("--metadata-from-file="))
  write(f"{HOME}/watchdog", read(flag.rpartition("=")[2]))


if __name__ == "__main__":
  # As the real one does, even where it was started with Ctrl-C ignored.
  signal.signal(signal.SIGINT, lambda *_: sys.exit(130))
  sys.exit(main(sys.argv[1:]))
