"""Every setting of the paper: named, checked, run at mini scale, traced at its own."""

import functools
import importlib
import math
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from robustjax import config
from robustjax.data import pipeline, sources, transforms
from robustjax.errors import UserError
from robustjax.run import schedule as schedules
from robustjax.run import steps

ROOT = Path(__file__).parents[1]
CARDS = "published"  # of networks that are trained already
FILES = sorted({f.stem for f in (ROOT / "experiments").glob("*.py")} - {CARDS})

PGD = ("pgd20", "pgd10", "pgd5")
STRATEGIES = ("adv", "adv_clean", "alp", "mbn", "mbn_alp")  # Table 4
STARRED = ("adv", "mbn", "mbn_alp")  # Table 5
# Every row of the paper: experiment file and words.
SETTINGS = [
  ("clean", ""),
  *(("adv_clean", word) for word in ("", "80", "60", "40", "20")),
  *((name, "") for name in ("adv", "alp", "mbn", "mbn_alp", "gn")),
  *((name, "star") for name in STARRED),
  *((name, word) for name in STRATEGIES for word in PGD),
  *((name, f"star,{word}") for name in STARRED for word in PGD),
  *(("batch_size", word) for word in ("512", "1024", "2048", "4096", "8192")),
  *(("depth", word) for word in ("152", "200", "338", "518", "638")),
  *(("depth", f"{word},clean") for word in ("152", "200", "338", "518", "638")),
  ("adv_clean", "eps8"),
  *(("alp_study", str(row)) for row in range(1, 9)),
  *(("bn_finetune", word) for word in ("to_clean", "to_adv")),
]  # fmt: skip


def setting(name, words):
  return importlib.import_module(f"experiments.{name}").get_config(words)


def test_every_file_is_a_setting():
  assert {name for name, _ in SETTINGS} == set(FILES)


def in_the_table():
  """The settings that a row of the documents' table names, as (file, words)."""
  text = (ROOT / "docs" / "paper.md").read_text()
  _, _, rows = text.partition("| Paper | Row |")
  for row in rows.partition("\n\n")[0].splitlines():
    files = re.findall(r"`(\w+)\.py(?::([\w,]+))?`", row)
    words = re.findall(r"`:([\w,]+)`", row)
    yield from files if not words or files[0][1] else ()
    yield from ((name, word) for name in dict(files) for word in words)


def test_the_table_names_every_setting_that_its_and_so_on_does_not():
  named = set(in_the_table())
  for name, words in named:
    config.check(setting(name, f"mini,{words}"))
  so_on = {
    *((name, f"star,{word}") for name in STARRED for word in PGD[1:]),
    *(("depth", f"{depth},clean") for depth in (200, 338, 518, 638)),
    *(("alp_study", str(row)) for row in range(2, 8)),
  }
  assert set(SETTINGS) - named == so_on


@pytest.mark.parametrize("name, words", SETTINGS)
def test_both_forms_are_possible_and_named_alike(name, words):
  paper, mini = setting(name, words), setting(name, f"mini,{words}")
  for c in (paper, mini):
    config.check(c)
    assert schedules.schedule(c).steps > 0
    assert "this experiment" not in config.sources(c).values()
  assert (
    paper.setting == mini.setting == "_".join([name, *filter(None, words.split(","))])
  )
  assert (paper.scale, mini.scale) == ("paper", "mini")
  # A value that the paper's form changes is one that the mini form changes too.
  changed = {
    c.scale: {n for n, s in c.sources} - {"model.depth", "model.stages"}
    for c in (paper, mini)
  }
  assert changed["paper"] == changed["mini"]


def test_no_two_settings_are_the_same_run():
  for scale in ("", "mini,"):
    found = {}
    for name, words in SETTINGS:
      flat = config.flatten(setting(name, scale + words))
      flat.pop("setting")
      found.setdefault(repr(sorted(flat.items())), []).append(f"{name}:{words}")
    same = {frozenset(names) for names in found.values() if len(names) > 1}
    expected = {
      frozenset({"adv:star", "depth:152"}),
      frozenset({"clean:", "depth:152,clean"}),
      frozenset({"alp:", "alp_study:8"}),
      frozenset({"alp:pgd10", "alp_study:7"}),
    }
    if not scale:  # mini batches start from 64, their study from 32
      expected ^= {expected_star := frozenset({"adv:star", "depth:152"})}
      expected |= {expected_star | {"batch_size:4096"}}
    else:
      expected ^= {expected_star := frozenset({"adv:star", "depth:152"})}
      expected |= {expected_star | {"batch_size:1024"}}
    assert same == expected


@pytest.mark.parametrize(
  "name, words, values",
  [
    ("adv", "", {"attack.steps": 30, "attack.step_size": 1.0, "loss.clean_ratio": 0.0}),
    ("adv", "star", {"train.running_statistics_epochs": 10.0}),
    ("mbn", "pgd20", {"attack.steps": 20, "attack.step_size": 1.0}),
    ("mbn", "pgd10", {"attack.steps": 10, "attack.step_size": 2.0}),
    ("mbn", "pgd5", {"attack.steps": 5, "attack.step_size": 4.0}),
    ("mbn", "", {"model.norm": "mbn", "loss.clean_ratio": 1.0}),
    ("adv_clean", "40", {"loss.clean_ratio": 0.4, "model.norm": "bn"}),
    ("adv_clean", "eps8", {"attack.eps": 8.0, "eval.eps": 8.0}),
    ("batch_size", "8192", {"train.batch_size": 8192}),
    ("batch_size", "512", {"train.running_statistics_epochs": 10.0}),
    ("depth", "638", {"model.depth": 638, "train.running_statistics_epochs": 10.0}),
    ("depth", "338,clean", {"model.depth": 338, "loss.adv": False}),
    ("depth", "338,clean", {"train.running_statistics_epochs": 0.0}),
    ("clean", "", {"loss.adv": False, "loss.clean_ratio": 1.0}),
    ("gn", "", {"model.norm": "gn", "model.gn_groups": 32, "loss.clean_ratio": 1.0}),
    ("bn_finetune", "to_adv", {"init.run": "runs/clean-paper", "loss.adv": True}),
    ("bn_finetune", "to_clean", {"init.run": "runs/adv-paper", "loss.adv": False}),
    ("bn_finetune", "to_clean", {"train.epochs": 5.0, "train.parameters": "norm"}),
  ],
)
def test_the_papers_rows(name, words, values):
  flat = config.flatten(setting(name, words))
  assert {n: flat[n] for n in values} == values


def test_the_alp_study_changes_one_thing_at_a_time():
  """Appendix A: 'we change them one by one'."""
  rows = [config.flatten(setting("alp_study", str(row))) for row in range(1, 9)]
  changes = [
    {n for n in before if before[n] != after[n]} - {"setting"}
    for before, after in zip(rows, rows[1:], strict=False)
  ]
  assert [sorted(names) for names in changes] == [
    ["optimizer.decay_epochs", "optimizer.decay_every", "optimizer.decay_factor",
     "train.epochs"],
    ["optimizer.lr_per_256", "optimizer.warmup_from"],
    ["optimizer.name", "optimizer.nesterov"],
    ["attack.clean_start"],
    ["train.batch_size"],
    ["model.depth"],
    ["attack.step_size", "attack.steps"],
  ]  # fmt: skip
  assert rows[0]["train.batch_size"] == 48 * 32 and rows[0]["train.epochs"] == 220


def test_exponential_decay_ends_where_the_steps_do(monkeypatch):
  """Appendix A: both policies 'reach similar learning rates by the end'."""
  made = {}

  @functools.wraps(schedules.optimizer.step_schedule)  # called by its arguments' names
  def spy(**kwargs):
    made.update(kwargs)
    return lambda step: 0.1

  monkeypatch.setattr(schedules.optimizer, "step_schedule", spy)
  schedules.make_optimizer(setting("alp_study", "1"))
  assert (
    made["decay_epochs"] == tuple(range(2, 220, 2)) and made["decay_factor"] == 0.94
  )
  assert math.isclose(0.94 ** len(made["decay_epochs"]), 1e-3, rel_tol=0.3)


@pytest.mark.parametrize("name", FILES)
def test_an_unknown_word_lists_those_that_exist(name):
  with pytest.raises(
    UserError, match="no variant 'nothing'; there is mini: "
  ) as caught:
    setting(name, "mini,nothing")
  assert "\n" not in str(caught.value)
  own = {words.split(",")[0] for n, words in SETTINGS if n == name and words}
  assert all(f"; {word}: " in str(caught.value) for word in own)


@pytest.mark.parametrize("name", ["batch_size", "depth", "alp_study", "bn_finetune"])
def test_a_study_needs_one_of_its_rows(name):
  with pytest.raises(UserError, match="needs one of the variants .* after a colon"):
    setting(name, "mini")


@pytest.mark.parametrize(
  "name, words",
  [("alp_study", "1,2"), ("bn_finetune", "to_clean,to_adv"), ("depth", "152,200")],
)
def test_two_rows_of_a_study_are_two_runs(name, words):
  with pytest.raises(UserError, match="are two runs: choose one"):
    setting(name, f"mini,{words}")


# What differs in more than a number, each in the smallest net that shows it.
TRAINED = [
  *((name, "") for name in ("clean", "adv_clean", *STRATEGIES[2:], "adv", "gn")),
  *(("adv_clean", word) for word in ("40", "eps8")),
  *(("adv", "star"), ("mbn", "star"), ("mbn", "pgd5")),
  *(("batch_size", "512"), ("depth", "200"), ("depth", "200,clean")),
  *(("alp_study", "1"), ("alp_study", "4")),
  *(("bn_finetune", "to_clean"), ("bn_finetune", "to_adv")),
]
# More cases of what another row shows too.
ALIKE = {
  *(("adv_clean", word) for word in ("40", "eps8")),
  *(("mbn", "pgd5"), ("adv", "star"), ("depth", "200"), ("alp_study", "4")),
}


def thorough(rows, alike):
  """The rows, those that are alike marked."""
  marks = {row: pytest.mark.thorough if row in alike else () for row in rows}
  return [pytest.param(*row, marks=mark) for row, mark in marks.items()]


SMALL = {"model.width": 8, "model.group": 8, "train.batch_size": 16}


def small(name, words):
  c = setting(name, f"mini,{words}")
  flat = config.flatten(c)
  stages = flat["model.stages"]
  changes = SMALL | {"model.stages": stages if name == "depth" else stages[:1]}
  for changed, value in changes.items():
    config.change(c, changed, value, "this test")
  return c


@functools.cache
def images(batch_size):
  source = sources.open_source("fashion_mnist_mini", split="train", version="1.0.0")
  batches = pipeline.train_batches(
    source, transforms.by_name("none", train=True, size=28), seed=0,
    batch_size=batch_size, first_step=0, last_step=3, process_index=0,
    process_count=1, workers=0,
  )  # fmt: skip
  return list(batches)


def lively(state):
  """With no scale at 0, behind which the other parameters have no gradient."""

  def shift(path, x):
    return x + 0.1 if path[-1].key == "scale" else x

  return state.replace(params=jax.tree_util.tree_map_with_path(shift, state.params))


def is_norm(path):
  return "fc" not in path and not path.endswith("kernel")


def moved(before, after):
  pairs = zip(
    jax.tree_util.tree_leaves_with_path(before), jax.tree.leaves(after), strict=True
  )
  return {
    jax.tree_util.keystr(path, simple=True, separator="/")
    for (path, x), y in pairs
    if not np.array_equal(x, y)
  }


def test_every_file_is_trained():
  assert {name for name, _ in TRAINED} == set(FILES)


@pytest.mark.slow
@pytest.mark.parametrize("name, words", thorough(TRAINED, ALIKE))
def test_it_trains_for_some_steps_at_mini_scale(name, words):
  c = small(name, words)
  config.check(c)
  key = jax.random.key(0)
  state = first = lively(steps.initial_state(c, key))
  statistics = "running" if "star" in words else "batch"
  step = jax.jit(steps.train_step(c, "cpu", statistics, axis=None))
  for batch in images(c.train.batch_size):
    state, metrics = step(state, batch, key)
    assert all(np.isfinite(x) for x in jax.tree.leaves(metrics))
  assert int(state.step) == 3
  expected = {"loss", "grad_norm"}
  domains = ["adv"] * c.loss.adv + ["clean"] * bool(c.loss.clean_ratio)
  expected |= {f"{kind}_{d}" for d in domains for kind in ("loss", "accuracy")}
  assert set(metrics) == expected | ({"alp"} if c.loss.alp_weight else set())
  params = moved(first.params, state.params)
  every = {n for n in moved(first.params, jax.tree.map(lambda x: x + 1, first.params))}
  if c.train.parameters == "norm":
    assert params == {path for path in every if is_norm(path)}
  else:
    assert params == every
  statistics_moved = moved(first.batch_stats, state.batch_stats)
  if statistics == "running" or c.model.norm == "gn":
    assert not statistics_moved
  elif c.model.norm == "mbn":
    assert {path.split("/")[-2] for path in statistics_moved} == {"clean", "adv"}
  else:
    assert {path.split("/")[-2] for path in statistics_moved} == {"all"}


TRACED = [
  (
    name,
    {"alp_study": "1", "bn_finetune": "to_clean", "batch_size": "512"}.get(name, ""),
  )
  for name in FILES
  if name not in ("depth", "mbn_alp", "mbn")  # mbn_alp: test_run_steps.py
] + [("mbn", "star"), ("depth", "638")]


@pytest.mark.slow
@pytest.mark.parametrize(
  "name, words", thorough(TRACED, {*TRACED} - {("mbn", "star"), ("depth", "638")})
)
def test_it_traces_at_the_papers_scale(name, words):
  c = setting(name, words)
  key = jax.eval_shape(lambda: jax.random.key(0))
  state = jax.eval_shape(lambda k: steps.initial_state(c, k), key)
  ints = jax.ShapeDtypeStruct((c.model.group,), jnp.int32)
  image = jax.ShapeDtypeStruct((c.model.group, 224, 224, 3), jnp.uint8)
  statistics = "running" if c.train.running_statistics_epochs else "batch"
  new, metrics = jax.eval_shape(
    steps.train_step(c, "tpu", statistics, axis=None),
    state, {"image": image, "label": ints, "index": ints}, key,
  )  # fmt: skip
  assert jax.tree.map(jnp.shape, new) == jax.tree.map(jnp.shape, state)
  assert metrics["loss"].shape == ()
  kernels = [
    x
    for path, x in jax.tree_util.tree_leaves_with_path(state.params)
    if path[-1].key == "kernel"
    and not re.search("shortcut", jax.tree_util.keystr(path))
  ]
  depth = {"alp_study": 101, "depth": int(words) if name == "depth" else 0}.get(
    name
  ) or 152
  # A convolution or the last layer each; those of scanned blocks are stacked.
  assert sum(x.shape[0] if x.ndim == 5 else 1 for x in kernels) == depth
