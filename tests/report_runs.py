"""Run folders as a run leaves them, for the tests of the report."""

import json


def config(setting="mbn_alp", *, scale="mini", eps=None, seed=0, **changed):
  """What config.json holds; `changed` replaces top-level keys."""
  mini = scale == "mini"
  eps = eps or (32.0 if mini else 16.0)
  return {
    "setting": setting,
    "scale": scale,
    "seed": seed,
    "data": {"name": "fashion_mnist_mini" if mini else "imagenet2012"},
    "attack": {"eps": eps, "step_size": eps / 4, "steps": 7},
    "eval": {"eps": eps, "step_size": eps / 16, "images": 1000},
    "train": {"epochs": 8.0 if mini else 110.0},
    "overrides": {},
    "table": [],
    **changed,
  }


def row(branch, steps, correct, images=1000, eps=32.0):
  return {
    "branch": branch,
    "attack": "pgd" if steps else "none",
    "steps": steps,
    "step_size": 2.0 if steps else 0.0,
    "eps": eps if steps else 0.0,
    "images": images,
    "correct": correct,
    "accuracy": correct / images,
    "target_hits": 0,
  }


def evaluation(counts, *, eps=32.0, images=1000, guesses=()):
  """`counts`: branch -> {steps: correct}."""
  rows = [
    row(branch, steps, correct, images, eps)
    for branch, readings in counts.items()
    for steps, correct in readings.items()
  ]
  return {"step": 1248, "rows": rows, "worst_case": [], "guesses": list(guesses)}


def make(folder, setting="mbn_alp", counts=None, guesses=(), images=1000, **values):
  """Writes a run; a complete one if there are counts.

  Returns:
    Its folder.
  """
  folder.mkdir(parents=True)
  written = config(setting, **values)
  (folder / "config.json").write_text(json.dumps(written))
  if counts:
    eps = written["eval"]["eps"]
    found = evaluation(counts, eps=eps, images=images, guesses=guesses)
    (folder / "evaluation.json").write_text(json.dumps(found))
    metrics(folder, (10, 0.5), (1248, written["train"]["epochs"]))
  return folder


def metrics(folder, *steps):
  """Writes metrics.jsonl: a record for each (step, epoch)."""
  records = [{"step": s, "epoch": e, "split": "train", "loss": 1.0} for s, e in steps]
  text = "".join(json.dumps(record) + "\n" for record in records)
  (folder / "metrics.jsonl").write_text(text)


MINI = {0: 812, 10: 800, 20: 795, 50: 793, 100: 790}
PAPER = {0: 64.4, 10: 51.8, 20: 49.1, 100: 40.9, 500: 38.8, 2000: 38.3}
