"""Starting from a finished run: its weights, and one line for what cannot be."""

import re

import jax
import numpy as np
import pytest

from robustjax import config
from robustjax.errors import UserError
from robustjax.models import norm as norms
from robustjax.run import pretrained, steps, workdir
from robustjax.run import schedule as schedules
from robustjax.runtime import checkpoint, parallel


def tiny(**changes):
  c = config.base("test", "mini")
  for name, value in {
    "model.width": 4,
    "model.stages": (1,),
    "train.epochs": 0.02,  # 3 steps
    **{name.replace("__", "."): value for name, value in changes.items()},
  }.items():
    config.change(c, name, value, "this test")
  return c


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
  """The folder of a run that has saved its last step, and the state there."""
  folder = tmp_path_factory.mktemp("finished")
  c = tiny()
  workdir.claim(folder, c).close()
  state = steps.initial_state(c, jax.random.key(3))
  state = jax.tree.map(lambda x: x + 1, state)
  saved = checkpoint.Checkpoints(folder / "checkpoints", "accuracy_adv")
  saved.save(schedules.schedule(c).steps, state)
  saved.close()
  return folder, state


def test_it_starts_from_those_weights_and_nothing_else(finished):
  folder, state = finished
  c = tiny(init__run=str(folder), train__parameters="norm")
  pretrained.check(c)
  mesh = parallel.mesh()
  new = parallel.replicate(steps.initial_state(c, jax.random.key(0)), mesh)
  started = pretrained.weights(c, new, mesh)
  jax.tree.map(np.testing.assert_array_equal, started.variables, state.variables)
  assert int(started.step) == 0
  jax.tree.map(np.testing.assert_array_equal, started.opt_state, new.opt_state)


def test_from_scratch_needs_nothing():
  pretrained.check(tiny())


def test_a_folder_that_holds_no_run(tmp_path):
  with pytest.raises(UserError, match="holds no run: with --config.init.run=DIR name"):
    pretrained.check(tiny(init__run=str(tmp_path)))


def test_a_run_that_is_not_finished(tmp_path):
  workdir.claim(tmp_path, tiny()).close()
  (tmp_path / "checkpoints/1").mkdir(parents=True)
  with pytest.raises(UserError, match="no checkpoint of its last step, 3: finish"):
    pretrained.check(tiny(init__run=str(tmp_path)))


@pytest.mark.parametrize(
  "name, value", [("model__width", 8), ("model__norm", "gn"), ("data__classes", 9)]
)
def test_a_run_of_another_model(finished, name, value):
  with pytest.raises(UserError, match=name.replace("__", ".")) as caught:
    pretrained.check(tiny(init__run=str(finished[0]), **{name: value}))
  assert "\n" not in str(caught.value)


def test_another_precision_is_the_same_model(finished):
  pretrained.check(tiny(init__run=str(finished[0]), model__dtype="bfloat16"))


def test_norms_alone_need_a_run():
  with pytest.raises(UserError, match="train.parameters='norm' .* --config.init.run"):
    config.check(tiny(train__parameters="norm"))


def test_the_line_has_the_flags_that_would_make_them_the_same(finished):
  c = tiny(init__run=str(finished[0]), model__padding="symmetric",
           model__input_mean=(1.0, 2.0, 3.0))  # fmt: skip
  flags = "--config.model.input_mean=(127.5,)' --config.model.padding=SAME, or"
  with pytest.raises(UserError, match=re.escape(flags)):
    pretrained.check(c)


def test_a_depth_and_its_stages_are_the_same_network(tmp_path):
  (tmp_path / "checkpoints/3").mkdir(parents=True)
  stages = {"model__stages": (2, 2, 2, 2), "model__block": "basic"}
  workdir.claim(tmp_path, tiny(**stages)).close()
  depth = {"model__stages": (), "model__block": "", "model__depth": 18}
  pretrained.check(tiny(init__run=str(tmp_path), **depth))
  depth["model__depth"] = 34
  with pytest.raises(UserError, match="--config.model.stages='?.2, 2, 2, 2"):
    pretrained.check(tiny(init__run=str(tmp_path), **depth))


def test_both_branches_begin_with_plain_bn_and_are_trained_apart(finished):
  """Copies, as training gives both to a step that reuses their memory."""
  folder, state = finished
  c = tiny(init__run=str(folder), model__norm="mbn", loss__clean_ratio=1.0)
  pretrained.check(c)
  mesh = parallel.mesh()
  new = parallel.replicate(steps.initial_state(c, jax.random.key(0)), mesh)
  started = pretrained.weights(c, new, mesh)
  assert jax.tree.structure(started) == jax.tree.structure(new)
  for domain in ("clean", "adv"):
    alone = norms.branch_of(started.variables, domain)
    jax.tree.map(np.testing.assert_array_equal, alone, state.variables)
  one, other = started.params["bn0"].values()
  places = {
    x.unsafe_buffer_pointer()
    for x in jax.tree.leaves(
      [y.addressable_data(0) for tree in (one, other) for y in jax.tree.leaves(tree)]
    )
  }
  assert len(places) == 4


def test_a_run_of_no_epochs_is_finished(tmp_path):
  """Imported weights, which nothing was trained from yet."""
  values = {"train__epochs": 0.0, "init__weights": "R9.pth sha256:12"}
  workdir.claim(tmp_path, tiny(**values)).close()
  with pytest.raises(UserError, match="no checkpoint of its last step, 0"):
    pretrained.check(tiny(init__run=str(tmp_path)))
  (tmp_path / "checkpoints/0").mkdir(parents=True)
  pretrained.check(tiny(init__run=str(tmp_path)))


def test_a_file_is_no_run(tmp_path):
  (tmp_path / "R9.pth").write_text("")
  with pytest.raises(UserError, match="is a file: make a run of it with python -m"):
    pretrained.check(tiny(init__run=str(tmp_path / "R9.pth")))
