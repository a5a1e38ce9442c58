"""The network of a configuration, and the halves that its evaluation takes."""

import jax
import jax.numpy as jnp
import pytest

from experiments import mbn_alp
from robustjax import config
from robustjax.errors import UserError
from robustjax.run import network, stages, steps


def test_cpus_compute_the_attack_in_their_own_way():
  c = mbn_alp.get_config("mini")
  assert network.network(c, "cpu", attacked=True).method == "looped"
  assert network.network(c, "cpu").method == "lax"
  assert network.network(c, "tpu", attacked=True).method == "lax"


def test_tpus_keep_signs_alone_in_an_attack():
  c = mbn_alp.get_config("mini")
  for platform in ("tpu", "tpu v6e"):
    assert network.network(c, platform, attacked=True).keep_signs
    assert not network.network(c, platform).keep_signs
  for platform in ("cpu", "gpu"):
    assert not network.network(c, platform, attacked=True).keep_signs


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


VALUES = {
  "padding": "symmetric",
  "input_mean": (3.0,),
  "input_std": (4.0,),
  "bottleneck": 2,
  "cardinality": 4,
  "activation": "gelu",
  "non_local": "stages",
}


def test_the_network_has_the_values_of_its_configuration():
  c = config.base("test", "mini")
  for name, value in {**VALUES, "block": "bottleneck"}.items():
    c.model[name] = value
  config.check(c)
  made = network.network(c, "cpu")
  assert {name: getattr(made, name) for name in VALUES} == VALUES
  # An older run's configuration lacks them.
  before = {name: config.BEFORE[f"model.{name}"] for name in VALUES}
  usual = network.network(config.base("test"), "cpu")
  assert {name: getattr(usual, name) for name in VALUES} == before


def test_what_basic_blocks_do_not_have_is_one_line():
  c = config.base("test", "mini")
  c.model.bottleneck = 2
  with pytest.raises(
    UserError, match="config.model: bottleneck and .* blocks are basic"
  ):
    steps.check(c, 1)


@pytest.mark.parametrize("attacked", [False, True])
def test_exact_is_float32_at_full_precision_whatever_training_is(attacked):
  c = config.base("test")
  assert network.network(c, "tpu", attacked=attacked).dtype == jnp.bfloat16
  exact = network.network(c, "tpu", attacked=attacked, exact=True)
  assert (exact.dtype, exact.precision) == (jnp.float32, "highest")
  c.model.dtype = "float32"  # training in float32 is exact too
  assert network.network(c, "tpu", attacked=attacked).clone(norm=exact.norm) == exact


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_evaluations_are_exact_and_say_so_where_training_is_not(dtype):
  c = config.base("test", "mini")
  c.model.dtype = dtype
  state = jax.eval_shape(lambda k: steps.initial_state(c, k), jax.random.key(0))
  (one,) = network.of_run(c, state.variables, "cpu").values()
  images = jax.ShapeDtypeStruct((4, 28, 28, 1), jnp.float32)
  for function in (one.logits, one.attack_logits):
    text = jax.jit(function).lower(one.variables, images).as_text()
    assert "HIGHEST" in text and "bf16" not in text
  said = {} if dtype == "float32" else {"precision": "float32"}
  assert one.precision == said
  without = {n: v for n, v in stages.evaluation_identity(c).items() if n not in said}
  assert stages.evaluation_identity(c) == without | said
