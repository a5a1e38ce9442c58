"""The network of a configuration, and the halves that its evaluation takes."""

import jax
import jax.numpy as jnp
import pytest

from experiments import mbn_alp
from robustjax import config
from robustjax.run import network, steps


def test_cpus_compute_the_attack_in_their_own_way():
  c = mbn_alp.get_config("mini")
  assert network.network(c, "cpu", attacked=True).method == "looped"
  assert network.network(c, "cpu").method == "lax"
  assert network.network(c, "tpu", attacked=True).method == "lax"


@pytest.mark.parametrize("norm, names", [("mbn", {"clean", "adv"}), ("bn", {"all"})])
def test_branches_fit_the_network_of_the_evaluation(norm, names):
  c = config.base("test", "mini")
  c.model.norm = norm
  state = jax.eval_shape(lambda k: steps.initial_state(c, k), jax.random.key(0))
  found = network.branches(c, state.variables)
  assert set(found) == names
  plain = network.network(c, "cpu", plain=True)
  for variables in found.values():
    images = jax.ShapeDtypeStruct((4, 28, 28, 1), jnp.uint8)
    logits = jax.eval_shape(plain.apply, variables, images)
    assert logits.shape == (4, 10)


def test_each_branch_gets_its_own_half():
  c = mbn_alp.get_config("mini")
  halves = {"clean": {"scale": 1}, "adv": {"scale": 2}}
  found = network.branches(c, {"params": {"bn": halves}})
  assert found["clean"]["params"]["bn"] == {"all": {"scale": 1}}
  assert found["adv"]["params"]["bn"] == {"all": {"scale": 2}}
