"""Defaults with sources, the mini scale, and mistakes in one line."""

import pytest

from robustjax import config
from robustjax.errors import UserError


def changed(name, value, variant="mini"):
  made = config.base("test", variant)
  section, _, key = name.rpartition(".")
  (made[section] if section else made)[key] = value
  return made


def test_every_default_has_a_source():
  assert all(d.source for d in config.DEFAULTS.values())


def test_the_papers_values():
  c = config.base("test")
  assert (c.attack.eps, c.attack.step_size, c.attack.steps) == (16.0, 1.0, 30)
  assert (c.train.batch_size, c.train.epochs) == (4096, 110)
  assert c.eval.readings == (10, 20, 100, 500, 2000)
  assert c.model.depth == 152 and c.attack.clean_start == 0.2


def test_mini_changes_only_what_exists():
  assert set(config.MINI) <= set(config.DEFAULTS)
  for name, value in config.MINI.items():
    assert type(value) is type(config.DEFAULTS[name].value), name


@pytest.mark.parametrize("variant", ["", "mini", "star", "mini,star"])
def test_variants_pass_the_checks(variant):
  config.check(config.base("test", variant))


def test_star_is_the_last_eleventh_of_the_epochs():
  assert config.base("test").train.running_statistics_epochs == 0
  paper, mini = config.base("test", "star"), config.base("test", "mini,star")
  assert paper.train.running_statistics_epochs == 10
  assert mini.train.running_statistics_epochs == 1
  assert paper.setting == "test_star"


def test_unknown_variant_lists_the_known():
  with pytest.raises(UserError, match="no variant 'minni'; there is mini: .*star: "):
    config.base("test", "minni")


@pytest.mark.parametrize(
  "name, value, words",
  [
    ("model.norm", "bm", "config.model.norm is 'bm'; it may be 'bn', 'mbn', 'gn'"),
    ("loss.clean_ratio", 1.5, "clean_ratio is 1.5; it may be 0.0 to 1.0"),
    ("attack.eps", -1.0, "attack.eps is -1.0; it may be"),
    ("train.batch_size", 0, "train.batch_size is 0; it must be above 0"),
    ("eval.images", 3000, "eval.images is 3000; it may be 1 to 2000"),
    ("eval.readings", (), "eval.readings must hold"),
    ("eval.readings", (0, 5), "eval.readings is \\(0, 5\\); it may be whole numbers"),
    ("eval.readings", (10.5,), "eval.readings is"),
    ("model.stages", ("a",), "model.stages is"),
    ("optimizer.decay_epochs", ("a",), "decay_epochs is"),
    ("model.depth", 50, "depth and config.model.stages are both set"),
    ("seed", -1, "config.seed is -1; it may be 0 to"),
    ("data.workers", -1, "data.workers is -1; it must be 0 or above"),
    ("data.channels", 2, "data.channels is 2; it may be 1, 3"),
    ("data.transform", "imagenet", "needs config.data.channels=3"),
    ("train.epochs", float("nan"), "train.epochs is nan; it must be a finite number"),
    ("optimizer.lr_per_256", -1.0, "lr_per_256 is -1.0; it must be above 0"),
    ("loss.clean_ratio", 0.01, "keeps none of its clean ones"),
    ("setting", "a/b", "config.setting is 'a/b'"),
    ("loss.adv", False, "neither adversarial nor clean"),
    ("loss.alp_weight", 0.5, "alp_weight pairs .* needs"),
    ("train.running_statistics_epochs", 99.0, "it may be 0.0 to 8.0"),
    ("model.gn_groups", 5, "gn_groups is 5; it must divide config.model.width, 16"),
  ],
)
def test_impossible_values_are_one_line(name, value, words):
  made = changed(name, value)
  if name == "model.gn_groups":
    made.model.norm = "gn"
  with pytest.raises(UserError, match=words) as caught:
    config.check(made)
  assert "\n" not in str(caught.value)


def test_names_that_do_not_exist_get_the_nearest():
  made = config.base("test", "mini")
  made.train.batchsize = 3
  with pytest.raises(
    UserError, match="batchsize does not exist; .*config.train.batch_size"
  ):
    config.check(made)


def test_flatten_is_the_whole():
  assert set(config.flatten(config.base("test"))) == set(config.DEFAULTS)


@pytest.mark.parametrize("name, value", [("clean_ratio", 0.0), ("adv", False)])
def test_mbn_trains_both_its_branches_or_is_refused(name, value):
  made = config.base("test", "mini")
  made.model.norm, made.loss.clean_ratio = "mbn", 1.0
  config.check(made)
  made.loss[name] = value
  with pytest.raises(UserError, match="'mbn', whose clean or adv branch would never"):
    config.check(made)


def test_guesses_are_those_that_matter():
  made = config.base("test", "mini")
  assert config.guesses(made) == []
  made.loss.alp_weight, made.model.norm = 0.5, "gn"
  assert config.guesses(made) == ["model.gn_groups=8", "loss.alp_weight=0.5"]
  assert config.guesses(config.base("test")) == ["model.dtype=bfloat16"]
