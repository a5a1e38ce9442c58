"""A moving average beside the optimiser's state: what is evaluated."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from robustjax.training import average, state


def first():
  init = lambda key, images: {"params": {"w": jnp.ones(2)}, "batch_stats": {"m": 1.0}}  # noqa: E731
  return state.create(init, optax.sgd(0.1), jax.random.key(0), (2, 2, 1))


def step(now, batch, key):
  assert not isinstance(now.opt_state, average.Averaged)
  params = jax.tree.map(lambda x: x + batch, now.params)
  stats = jax.tree.map(lambda x: x * 2, now.batch_stats)
  return now.replace(step=now.step + 1, params=params, batch_stats=stats), {"a": 1}


def test_it_moves_as_its_definition_says_and_the_weights_as_without():
  now, plain, mean = average.begun(first()), first(), 1.0
  moves = average.keeping(step, 0.5)
  for taken in range(20):
    now, metrics = moves(now, 3.0, None)
    plain, _ = step(plain, 3.0, None)
    decay = min(0.5, (1 + taken) / (10 + taken))
    mean = decay * mean + (1 - decay) * plain.params["w"][0]
    assert metrics == {"a": 1}
    np.testing.assert_array_equal(now.params["w"], plain.params["w"])
    np.testing.assert_allclose(now.opt_state.params["w"], mean, rtol=1e-6)
  assert now.opt_state.batch_stats["m"] < now.batch_stats["m"] == 2.0**20


def test_what_is_evaluated_is_the_average_where_there_is_one():
  now = first()
  assert average.evaluated(now) is now
  now, _ = average.keeping(step, 0.9)(average.begun(now), 3.0, None)
  found = average.evaluated(now)
  assert found.params is now.opt_state.params and found.step == now.step
  assert found.batch_stats is now.opt_state.batch_stats
  assert jax.tree.structure(found) == jax.tree.structure(now)


def test_beginning_from_other_weights_forgets_the_average():
  now, _ = average.keeping(step, 0.9)(average.begun(first()), 3.0, None)
  again = average.begun(now)
  assert isinstance(again.opt_state, average.Averaged)
  assert not isinstance(again.opt_state.optimizer, average.Averaged)
  np.testing.assert_array_equal(again.opt_state.params["w"], now.params["w"])
