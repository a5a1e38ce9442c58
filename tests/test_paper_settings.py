"""The copy of the settings' values is what the experiments say.

PYTHONPATH=. python tests/test_paper_settings.py renews the copy.
"""

import json

import pytest
from test_experiments import SETTINGS, setting

from robustjax import config
from robustjax.paper import settings


def flat(words, name="adv"):
  values = config.flatten(setting(name, words))
  kept = {n: v for n, v in values.items() if n not in settings.LEFT_OUT}
  return json.loads(json.dumps(kept))  # tuples are lists there


def of_scale(words):
  """The defaults of a scale, and what each setting changes of them.

  Args:
    words: that choose the scale: "mini," or "".
  """
  defaults = flat(words)  # adv changes none
  changed = {}
  for name, own in SETTINGS:
    values = flat(words + own, name)
    key = "_".join([name, *filter(None, own.split(","))])
    changed[key] = {n: v for n, v in values.items() if v != defaults[n]}
  digest = setting("adv", words).data.class_digest
  return {"defaults": defaults, "settings": changed, "class_digest": digest}


BEFORE = json.loads(json.dumps(dict(config.BEFORE)))


def from_experiments():
  return {"paper": of_scale(""), "mini": of_scale("mini,"), "before": BEFORE}


def test_the_copy_is_what_the_experiments_say():
  copy = json.loads(settings.FILE.read_text())
  assert copy == from_experiments(), __doc__


@pytest.mark.parametrize("mini", [False, True])
def test_a_settings_values_are_those_of_its_experiment(mini):
  scale, words = ("mini", "mini,") if mini else ("paper", "")
  for name, own in SETTINGS:
    key = "_".join([name, *filter(None, own.split(","))])
    assert settings.own_values(key, scale) == flat(words + own, name)


def test_what_is_left_out_exists_and_is_no_more_than_said():
  assert config.DEFAULTS.keys() > settings.LEFT_OUT
  for scale in ("paper", "mini"):
    own = settings.own_values("adv", scale)
    assert own and own.keys() == config.DEFAULTS.keys() - settings.LEFT_OUT


@pytest.mark.parametrize(("name", "scale"), [("adv_8", "mini"), ("adv", "huge")])
def test_there_is_no_such_row(name, scale):
  assert settings.own_values(name, scale) is None


def recorded(values):
  """Of values as config.json has them: tuples are lists there."""
  return settings.recorded(json.loads(json.dumps(values)))


def test_what_is_recorded_is_flat_and_without_what_no_row_depends_on():
  config = {"seed": 3, "eval": {"images": 5, "eps": 8}, "overrides": {"a": 1}}
  found = settings.recorded(config)
  assert found.pop("eval.eps") == 8
  assert found == {n: v for n, v in BEFORE.items() if n not in settings.LEFT_OUT}


def test_a_folder_goes_by_the_name_of_what_it_was_checked_to_be():
  paper = setting("adv", "")
  paper.data.name, paper.data.version, paper.data.test_split = "/images", "", "val"
  own = settings.own_values("adv", "paper")
  for digest, name in ((paper.data.class_digest, "imagenet2012"), ("", "/images")):
    paper.data.class_digest = digest
    assert recorded(config.plain(paper))["data.name"] == name
    assert (recorded(config.plain(paper)) == own) == bool(digest)
  paper.data.class_digest, paper.data.name = (
    setting("adv", "").data.class_digest,
    "flow",
  )
  assert recorded(config.plain(paper))["data.name"] == "flow"


def test_what_came_later_has_the_value_of_before():
  """An older run lacks the names, and is still a run of its setting."""
  assert config.BEFORE.keys() <= config.DEFAULTS.keys()
  values = config.plain(setting("adv", "mini"))
  for name in config.BEFORE:
    section, _, key = name.partition(".")
    del values[section][key]
  assert recorded(values) == settings.own_values("adv", "mini")


if __name__ == "__main__":
  settings.FILE.write_text(json.dumps(from_experiments(), indent=1) + "\n")
