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


def ledger(robust, clean, images, attack="apgd-t"):
  """The first `robust` images survive, the next are broken, those after `clean` wrong.

  Returns:
    Lines of images.jsonl, as an evaluation decides the images: not in their order.
  """
  lines = [
    {
      "index": i,
      "label": i % 10,
      "clean": i < clean,
      "prediction": (i if i < clean else i + 1) % 10,
      "margin": 1.5 if i < clean else -0.5,
      "broken_by": attack if robust <= i < clean else None,
      "target": 5 if robust <= i < clean else None,
      "steps": 237 if robust <= i < clean else None,
      "adv_prediction": 5 if i < clean else None,
      "adv_margin": -0.41 if i < clean else None,
    }
    for i in range(images)
  ]
  return lines[::-1]


def identity(branch="adv", **changed):
  """Of a suite or an audit of the shared images at mini scale."""
  found = {"network": "runs/x", "branch": branch, "attack_branch": branch}
  found |= {"data": "fashion_mnist_mini:1.0.0", "split": "test", "norm": "linf"}
  return {**found, "eps": 32.0, "step": 1248, "attack": "standard", **changed}


def suite(run, name="standard", lines=None, **changed):
  """Writes an evaluation by attacks into a run's folder, from the lines of its ledger.

  Args:
    run: its folder.
    name: of the evaluation.
    lines: those of `ledger(660, 811, 1000)` if None.
    changed: of its identity.

  Returns:
    The evaluation's folder.
  """
  lines = ledger(660, 811, 1000) if lines is None else lines
  broken = [line["broken_by"] for line in lines if line["broken_by"]]
  right = sum(line["clean"] for line in lines)
  attacks, left = [], right
  for attack in ("apgd-ce", "apgd-t", "fab-t", "square"):
    count = broken.count(attack)
    attacks.append({"name": attack, "attacked": left, "broken": count})
    left -= count
  counts = {"images": len(lines), "clean": right, "robust": left}
  found = {"identity": identity(**changed), **counts, "attacks": attacks, "skipped": 0}
  folder = run / "evaluations" / name
  folder.mkdir(parents=True)
  text = "".join(json.dumps(line) + "\n" for line in lines)
  (folder / "images.jsonl").write_text(text)
  (folder / "summary.json").write_text(json.dumps(found))
  return folder


def audit(run, verdict="clean", branch="adv", name=None, **changed):
  """Writes an audit with one check; returns its folder."""
  check = {"name": "steps", "verdict": verdict, "number": -0.02, "limit": 0.05}
  check |= {"what": "more steps break more", "images": [17]}
  found = {"verdict": verdict, "checks": [check, {**check, "verdict": "not made"}]}
  found["identity"] = identity(branch, **changed)
  folder = run / "audits" / (name or branch)
  folder.mkdir(parents=True)
  (folder / "audit.json").write_text(json.dumps(found))
  return folder


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
