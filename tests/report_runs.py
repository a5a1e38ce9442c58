"""Run folders as a run leaves them, for the tests of the report."""

import json

import test_experiments as experiments

from robustjax import config as configs

# The name of each setting of the paper -> its experiment's file and words.
SETTINGS = {
  "_".join([name, *filter(None, words.split(","))]): (name, words)
  for name, words in experiments.SETTINGS
}
ATTACKS = ("attack.eps", "attack.step_size", "eval.eps", "eval.step_size")


def config(setting="mbn_alp", *, scale="mini", eps=None, overrides=None, **changed):
  """What config.json holds.

  Args:
    setting: of the paper; any other name is that of a run with the values of adv.
    scale: "paper" or "mini".
    eps: of both attacks: the sizes of their steps follow in proportion.
    overrides: dotted name -> value, from the command line. A name that there is none
      of is recorded and changes nothing.
    changed: top-level keys that are replaced, whatever the experiment says.
  """
  name, words = SETTINGS.get(setting, ("adv", ""))
  c = experiments.setting(name, f"mini,{words}" if scale == "mini" else words)
  c.setting = setting
  flat = configs.flatten(c)
  factor = eps / flat["eval.eps"] if eps else 1
  given = {} if factor == 1 else {n: factor * flat[n] for n in ATTACKS}
  given |= overrides or {}
  for changed_name in given.keys() & flat.keys():
    configs.change(c, changed_name, given[changed_name], configs.COMMAND_LINE)
  return {
    **configs.plain(c),
    "overrides": given,
    "table": configs.table(c),
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


def adaptive(branch, robust, images=1000, attack="apgd-ce,apgd-t", eps=32.0):
  """What a run ends with: the clean images are those that are robust and 10 more."""
  right = min(images, robust + 10)
  counts = {"images": images, "clean": right, "robust": robust}
  return {"branch": branch, "attack": attack, "eps": eps, **counts}


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
