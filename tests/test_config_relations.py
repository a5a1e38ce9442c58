"""Values that belong together: what contradicts itself is refused, what is odd said."""

import pytest

from robustjax import config
from robustjax.errors import UserError


def with_values(variant, changes):
  made = config.base("test", variant)
  for name, value in changes.items():
    config.change(made, name, value, "here")
  return made


def refused(words, variant="mini", **changes):
  made = with_values(variant, {k.replace("__", "."): v for k, v in changes.items()})
  with pytest.raises(UserError, match=words) as caught:
    config.check(made)
  assert "\n" not in str(caught.value)


def test_a_schedule_lies_within_the_training():
  refused("decay_epochs is \\(5.0, 200.0\\), beyond .*epochs, 8.0: it may be up to",
          optimizer__decay_epochs=(5.0, 200.0))  # fmt: skip
  refused("ascending numbers, each once: \\(5.0,7.0,\\)",
          optimizer__decay_epochs=(7.0, 5.0))  # fmt: skip
  refused("each once", optimizer__decay_epochs=(5.0, 5.0))
  refused("warmup_epochs is 9.0, beyond the end", optimizer__warmup_epochs=9.0)
  refused("save_every_epochs is 9.0, beyond the end", train__save_every_epochs=9.0)
  refused("config.train.epochs is -5.0; it may be above 0", train__epochs=-5.0)


def test_a_training_that_is_only_shorter_is_odd():
  made = with_values("mini", {"train.epochs": 0.4})
  config.check(made)
  decays, warmup, saves = config.odd(made)
  assert decays.startswith("optimizer.decay_epochs=(5.0, 7.0) for 0.4 epochs")
  assert warmup.startswith("optimizer.warmup_epochs=0.5 for")
  assert saves.startswith("train.save_every_epochs=1.0 for")


def test_a_step_stays_within_the_cube():
  refused("step_size is 65.0, more than twice config.attack.eps, 32.0: .* up to 64",
          attack__step_size=65.0)  # fmt: skip
  refused("eval.step_size is 80.0, more than twice", eval__step_size=80.0)
  made = with_values("mini", {"attack.step_size": 65.0, "attack.steps": 1})
  config.check(made)
  assert "more than twice" in config.odd(made)[0]
  (line,) = config.odd(with_values("mini", {"attack.step_size": 4.0}))
  assert line == "attack.step_size=4.0: 7 steps of it stay within attack.eps=32.0"


def test_readings_ascend():
  for readings in ((10, 10), (20, 10)):
    refused("readings is .*; it may be ascending numbers, each once: \\(10,",
            eval__readings=readings)  # fmt: skip


def test_no_image_serves_validation_and_evaluation():
  refused("more than the 2000 of .* up to 1800, or the whole split", eval__images=1801)
  for images in (1800, 2000):  # 2000: the paper evaluates the whole split
    config.check(with_values("mini", {"eval.images": images}))
  refused("up to 47952, or the whole", "", eval__images=49_000)


@pytest.mark.parametrize("split", [
  "test[50:10]", "test[", "test]", "", "test[5:5]", "test[:0]", "test[:200%]",
  "test[90%:10%]", "test[100%:]", "test[-5:-9]", "test[a:b]", "+", "../x",
])  # fmt: skip
def test_a_part_without_images_is_no_split(split):
  refused("it may be the name of a split, such as test, or a part of one",
          data__test_split=split)  # fmt: skip


@pytest.mark.parametrize("split", [
  "test[50%:]", "test[10:50]", "test[-100:]", "val + more", "test[:-5]", "v2.1", "a b",
])  # fmt: skip
def test_other_parts_are(split):
  config.check(with_values("mini", {"data.test_split": split}))


def test_sizes_that_no_machine_holds():
  refused("width is 4096: a network of about .* parameters fits on no device", "",
          model__width=4096)  # fmt: skip
  refused("fits on no device", model__stages=(1,) * 8, model__width=4096)
  refused("batch_size is 1048576: so many images of config.data.image_size=224", "",
          train__batch_size=2**20)  # fmt: skip
  refused("epochs is 9000.0, 9e\\+10 steps; it may be up to 215",
          train__epochs=9000.0, train__batch_size=1, data__train_examples=10**7,
          model__group=1)  # fmt: skip


def test_what_is_only_odd_is_said_and_what_is_usual_is_not():
  for variant in ("", "mini", "star", "mini,star", "mini,pgd10", "eps8"):
    assert config.odd(config.base("test", variant)) == []
  for name, value in (
    ("eval.eps", 0.5), ("attack.eps", 200.0), ("optimizer.momentum", 0.999),
    ("optimizer.decay_factor", 1.0), ("optimizer.decay_epochs", (0.2,)),
    ("optimizer.lr_per_256", 50.0), ("loss.label_smoothing", 0.9),
    ("train.batch_size", 20_000), ("data.data_dir", "/nonexistent"),
  ):  # fmt: skip
    lines = config.odd(with_values("mini", {name: value}))
    assert any(line.startswith(f"{name}={value}") for line in lines)
