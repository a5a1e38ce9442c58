"""Defaults with sources, the mini scale, and mistakes in one line."""

import json

import pytest

from robustjax import config
from robustjax.errors import UserError


def with_value(name, value, variant="mini"):
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
    ("loss.clean_ratio", 1.5, "clean_ratio is 1.5; it may be 0 to 1"),
    ("attack.eps", -1.0, "attack.eps is -1.0; it may be"),
    ("train.batch_size", 0, "train.batch_size is 0; it may be 1 to 1,048,576"),
    ("eval.images", 3000, "eval.images is 3000; it may be 1 to 2000"),
    ("eval.readings", (), "eval.readings must hold"),
    ("eval.readings", (0, 5), "eval.readings is \\(0, 5\\); it may be whole numbers"),
    ("eval.readings", (10.5,), "eval.readings is"),
    ("model.stages", ("a",), "model.stages is"),
    ("optimizer.decay_epochs", ("a",), "decay_epochs is"),
    ("model.depth", 50, "depth and config.model.stages are both set"),
    ("seed", -1, "config.seed is -1; it may be 0 to"),
    ("data.workers", -1, "data.workers is -1; it may be 0 to 1024"),
    ("data.broken_images", "ignore", "broken_images is 'ignore'; it may be 'stop', 's"),
    ("data.channels", 2, "data.channels is 2; it may be 1, 3"),
    ("data.transform", "imagenet", "needs config.data.channels=3"),
    ("data.interpolation", "cubic", "may be 'opencv', 'pillow', 'bilinear'"),
    ("data.test_split", "train[:10%]", "'train\\[:10%\\]', which has images that the"),
    ("data.test_split", "test+train", "which has images that the run trains on"),
    ("data.test_split", "all", "which has images that the run trains on"),
    ("train.epochs", float("nan"), "train.epochs is nan; it may be a finite number"),
    ("optimizer.lr_per_256", -1.0, "lr_per_256 is -1.0; it may be above 0 to 100"),
    ("loss.clean_ratio", 0.01, "keeps none of its clean ones"),
    ("setting", "a/b", "config.setting is 'a/b'"),
    ("optimizer.name", "adam", "optimizer.name is 'adam'; it may be 'sgd', 'rmsprop'"),
    ("optimizer.decay_every", 2.0, "decay_every and .* are both set"),
    ("train.parameters", "norm", "--config.init.run=DIR"),
    ("scale", "large", "config.scale is 'large'; it may be 'paper', 'mini'"),
    ("loss.adv", False, "neither adversarial nor clean"),
    ("loss.alp_weight", 0.5, "alp_weight pairs .* needs"),
    (
      "train.running_statistics_epochs",
      99.0,
      "it may be 0 to config.train.epochs, 8.0",
    ),
    ("model.input_mean", (1.0, 2.0), "has 2 values; it needs one, or one for each of"),
    ("model.input_std", (), "has 0 values; it needs one"),
    (
      "model.input_std",
      (0.0,),
      "input_std is \\(0.0,\\); it may be numbers, each above 0",
    ),
    (
      "model.input_mean",
      (float("nan"),),
      "input_mean is \\(nan,\\); it may be numbers",
    ),
    ("model.input_std", (float("inf"),), "input_std is \\(inf,\\); it may be numbers"),
    ("model.cardinality", 3, "cardinality is 3; it must divide the channels inside"),
    ("model.bottleneck", 0, "model.bottleneck is 0; it may be 1 to 64"),
    ("model.gn_groups", 5, "gn_groups is 5; it must divide config.model.width, 16"),
  ],
)
def test_impossible_values_are_one_line(name, value, words):
  made = with_value(name, value)
  if name == "model.gn_groups":
    made.model.norm = "gn"
  with pytest.raises(UserError, match=words) as caught:
    config.check(made)
  assert "\n" not in str(caught.value)


def test_a_crop_fits_the_image_size():
  made = config.base("test")
  for resize in (-1, 224, 256, 448):
    made.data.resize = resize
    config.check(made)
  for resize, words in (
    (223, "resize is 223, and config.data.image_size, the centre of that, 224: .* 256"),
    (0, "set data.resize to 224 or more"),
    (-2, "resize is -2; it may be -1 to 8192"),
    (449, "less than a quarter: set data.resize to 256"),
  ):
    made.data.resize = resize
    with pytest.raises(UserError, match=words):
      config.check(made)
  made.data.transform = "small"
  config.check(made)


@pytest.mark.parametrize("split", ["test[:50%]", "val", "not_train", "trained"])
def test_other_splits_may_be_tested_on(split):
  config.check(with_value("data.test_split", split))


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
  made.model.norm = "gn"
  config.change(made, "loss.alp_weight", 0.5, "guess: Kannan et al. 2018")
  assert config.guesses(made) == ["model.gn_groups=8", "loss.alp_weight=0.5"]
  assert config.guesses(config.base("test")) == ["model.dtype=bfloat16"]
  starred = config.guesses(config.base("test", "mini,star"))
  assert starred == ["train.running_statistics_epochs=1.0"]


def test_what_the_command_line_says_is_no_guess_but_an_override():
  made = config.base("test")
  assert config.overrides(made) == {}
  config.change(made, "model.dtype", "bfloat16", config.COMMAND_LINE)
  assert config.guesses(made) == []
  assert config.overrides(made) == {"model.dtype": "bfloat16"}


def test_every_value_has_its_source():
  made = config.base("test", "mini,star")
  made.seed = 3
  config.change(made, "loss.alp_weight", 0.7, "guess: so")
  found = config.sources(made)
  assert set(found) == set(config.DEFAULTS)
  assert found["attack.clean_start"] == config.DEFAULTS["attack.clean_start"].source
  assert found["attack.eps"] == "ours: mini scale"
  assert found["loss.alp_weight"] == "guess: so"
  assert found["seed"] == "this experiment"
  assert found["train.running_statistics_epochs"].startswith("ours: mini scale, for")


def test_a_later_change_takes_the_place_of_an_earlier_one():
  made = config.base("test")
  config.change(made, "seed", 1, "one")
  config.change(made, "seed", 2, "two")
  assert made.seed == 2 and config.sources(made)["seed"] == "two"


def test_the_table_holds_every_value():
  made = config.base("test", "mini")
  rows = {row["name"]: row for row in config.table(made)}
  assert {name: row["value"] for name, row in rows.items()} == config.flatten(made)
  assert rows["attack.eps"]["unit"] == "of 255"


def test_a_configuration_survives_its_file():
  made = config.base("test", "mini,pgd10")
  record = {**config.plain(made), "overrides": {"seed": 1}, "table": []}
  loaded = config.load(json.loads(json.dumps(record)))
  config.check(loaded)
  lists = {
    name: list(value) if isinstance(value, tuple) else value
    for name, value in config.flatten(made).items()
  }
  assert config.flatten(loaded) == lists


def test_a_file_from_before_a_value_existed_has_what_was_in_effect():
  known = {"data.class_digest": "", "data.broken_images": "stop"}
  assert config.BEFORE.items() >= known.items()
  made = config.base("test", "mini")
  record = json.loads(json.dumps(config.plain(made)))
  for name in config.BEFORE:
    section, _, key = name.partition(".")
    del record[section][key]
  loaded = config.load(record)
  config.check(loaded)
  assert config.flatten(loaded).keys() == config.DEFAULTS.keys()
  for name, value in config.BEFORE.items():
    assert config.flatten(loaded)[name] == value
    assert name.partition(".")[2] not in record[name.partition(".")[0]]
  made.data.broken_images = "skip"
  assert config.load(config.plain(made)).data.broken_images == "skip"


def test_words_that_contradict_each_other():
  with pytest.raises(UserError, match="'pgd10' and 'pgd5' both set config.attack.step"):
    config.base("test", "pgd5,pgd10")


def test_names_follow_one_order_whatever_was_typed():
  assert config.base("test", "eps8,mini,star").setting == "test_star_eps8"
  assert config.base("test", "star, eps8").setting == "test_star_eps8"


def test_mini_steps_are_in_the_papers_proportion():
  """7 steps for 30; the product of steps and size is 1.25 eps below 30, as there."""
  for n in (20, 10, 5):
    paper, mini = (config.base("test", f"{w}pgd{n}").attack for w in ("", "mini,"))
    assert mini.steps == round(n * 7 / 30)
    for attack in (paper, mini):
      assert attack.steps * attack.step_size == 1.25 * attack.eps


def test_training_in_float32_is_a_word_with_a_source_at_both_scales():
  usual, changed = config.base("test"), config.base("test", "float32")
  assert (usual.model.dtype, changed.model.dtype) == ("bfloat16", "float32")
  assert "3 points of robustness" in config.sources(usual)["model.dtype"]
  assert config.guesses(changed) == [] and changed.setting == "test_float32"
  mini = config.flatten(config.base("test", "mini,float32"))
  assert mini == {
    **config.flatten(config.base("test", "mini")),
    "setting": mini["setting"],
  }
  config.check(config.base("test", "mini,float32"))
