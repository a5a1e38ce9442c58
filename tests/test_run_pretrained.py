"""Starting from a finished run: its weights, and one line for what cannot be."""

import jax
import numpy as np
import pytest

from robustjax import config
from robustjax.errors import UserError
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
