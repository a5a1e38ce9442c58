"""Scanned or unrolled, kept or computed again: the same network, the same arrays."""

import functools

import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import CLASSES, lively

from robustjax import config
from robustjax.models import blocks, resnet
from robustjax.models import norm as norms
from robustjax.run import network, steps
from robustjax.training import optimizer

IMAGES = jax.random.uniform(jax.random.key(1), (8, 8, 8, 3), maxval=255.0)
# With each policy, and with and without a loop; (False, "none") is what they equal.
OTHERS = [(False, "convolutions"), (True, "none"), (True, "block")]
NORMS = {
  "bn": norms.batch(),
  "mbn": norms.batch(("clean", "adv")),
  "gn": norms.group(2),
}


def net(norm="mbn", scan=False, remat="none", **attributes):
  attributes = {"block": "bottleneck", "width": 4, "stem": "small", **attributes}
  made = attributes.pop("stages", (1, 3))
  return resnet.make(
    made, norm=NORMS[norm], num_classes=CLASSES, scan=scan, remat=remat, **attributes
  )


def unrolled(norm="mbn", **attributes):
  """Variables of the unrolled network, statistics included, at random."""
  made = net(norm, **attributes).init
  return lively(jax.jit(made)(jax.random.key(0), IMAGES))


def equal(one, other, **tolerance):
  assert jax.tree.structure(one) == jax.tree.structure(other)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, **{"rtol": 0, **tolerance}),
    one,
    other,
  )


def results(made, variables, statistics):
  """Logits, new statistics, gradients by parameter and by pixel; all as unrolled."""

  def loss(params, images):
    logits, new = made.apply(
      {**variables, "params": params},
      images,
      domain="clean",
      statistics=statistics,
      groups=2,
      mutable=["batch_stats"],
    )
    return jnp.mean(logits**2), (logits, new.get("batch_stats", {}))

  gradients, (logits, new) = jax.jit(jax.grad(loss, (0, 1), has_aux=True))(
    variables["params"], IMAGES
  )
  by_parameter, by_pixel = gradients
  return logits, blocks.unstack(new), blocks.unstack(by_parameter), by_pixel


def check_forms(norm, statistics, forms, **attributes):
  variables = unrolled(norm, **attributes)
  wanted = results(net(norm, **attributes), variables, statistics)
  for scan, remat in forms:
    own = blocks.stack(variables) if scan else variables
    found = results(net(norm, scan, remat, **attributes), own, statistics)
    for one, other in zip(found, wanted, strict=True):
      size = max(float(jnp.abs(x).max()) for x in jax.tree.leaves(other) or [IMAGES])
      equal(one, other, rtol=1e-4, atol=1e-5 * size)


@pytest.mark.slow
@pytest.mark.parametrize(
  "form",
  [
    pytest.param(form, marks=() if form == (True, "block") else pytest.mark.thorough)
    for form in OTHERS
  ],
)
def test_all_forms_give_the_same_logits_statistics_and_gradients(form):
  check_forms("mbn", "batch", [form])


@pytest.mark.slow
@pytest.mark.parametrize(
  "norm, statistics",
  [
    ("bn", "batch"),
    pytest.param("gn", "running", marks=pytest.mark.thorough),
  ],
)
def test_scanned_and_computed_again_is_the_same_under_any_norm(norm, statistics):
  forms = [(True, "none"), (True, "block")]
  check_forms(norm, statistics, forms, block="basic", stages=(3,))


@pytest.mark.slow
@pytest.mark.parametrize("non_local", ["blocks", "stages"])
def test_so_it_is_with_non_local_blocks_and_groups(non_local):
  attributes = {"non_local": non_local, "cardinality": 2, "activation": "gelu"}
  check_forms("bn", "batch", [(True, "block")], stages=(3,), **attributes)


@pytest.mark.parametrize("scan", [False, True])
def test_a_pass_moves_one_branch_alone(scan):
  variables = unrolled()
  own = blocks.stack(variables) if scan else variables
  _, new, _, _ = results(net(scan=scan, remat="block"), own, "batch")
  stats = variables["batch_stats"]
  equal(norms.branch_of(new, "adv"), norms.branch_of(stats, "adv"))
  moved = jax.tree.map(
    lambda a, b: bool(jnp.any(a != b)),
    norms.branch_of(new, "clean"),
    norms.branch_of(stats, "clean"),
  )
  assert all(jax.tree.leaves(moved))


@pytest.mark.parametrize("domain", ["clean", "adv"])
def test_half_of_a_scanned_mixture_is_a_scanned_plain_resnet(domain):
  variables = blocks.stack(unrolled())
  whole = net(scan=True).apply(variables, IMAGES, domain=domain)
  half = net("bn", scan=True).apply(norms.branch_of(variables, domain), IMAGES)
  np.testing.assert_array_equal(whole, half)


@pytest.mark.parametrize(
  "remat, non_local", [("none", "none"), ("convolutions", "none"), ("block", "blocks")]
)
def test_both_forms_begin_with_the_same_variables(remat, non_local):
  key = jax.random.key(5)
  made = {
    scan: net(scan=scan, remat=remat, non_local=non_local) for scan in (False, True)
  }
  one, other = (
    jax.jit(functools.partial(resnet.initial, made[scan], images=IMAGES))(key)
    for scan in (False, True)
  )
  equal(blocks.unstack(other), one)
  equal(one, jax.jit(net(non_local=non_local).init)(key, IMAGES))
  stacked = other["params"]["stage2_blocks"]
  layer = stacked.get("non_local", stacked)["conv1" if non_local == "none" else "conv"]
  assert jnp.any(layer["kernel"][0] != layer["kernel"][1])


def test_stacked_arrays_are_those_of_the_blocks_in_order():
  tree = {
    "bn0": 7,
    "stage1_non_local": {"conv": {"x": np.array(0)}},
    "stage1_block1": {"x": np.array(1)},
    **{f"stage1_block{i}": {"x": np.array(i)} for i in (10, 9, 2, 3, 4, 5, 6, 7, 8)},
  }
  stacked = blocks.stack(tree)
  assert set(tree) - set(stacked) == {f"stage1_block{i}" for i in range(2, 11)}
  assert set(stacked) - set(tree) == {"stage1_blocks"}
  assert stacked["stage1_blocks"]["x"].tolist() == list(range(2, 11))
  assert blocks.stack(stacked) == stacked
  assert blocks.unstack(stacked) == tree == blocks.unstack(tree)


@pytest.mark.parametrize(
  "made",
  [
    optimizer.sgd(0.1, momentum=0.9, nesterov=True, weight_decay=1e-4),
    optimizer.rmsprop(
      lambda step: 0.1,
      decay=0.9,
      eps=1.0,
      momentum=0.9,
      nesterov=True,
      weight_decay=1.0,
    ),
    optimizer.norms_alone(
      optimizer.sgd(0.1, momentum=0.9, nesterov=True, weight_decay=1e-4)
    ),
  ],
)
def test_an_optimisers_state_has_both_forms(made):
  params = unrolled()["params"]
  state = lively(made.init(params))
  tree = flax.serialization.to_state_dict(state)
  stacked = blocks.stack(tree)
  equal(blocks.unstack(stacked), tree)
  own = made.init(blocks.stack(params))
  back = flax.serialization.from_state_dict(own, stacked)
  assert jax.tree.structure(back) == jax.tree.structure(own)
  assert jax.tree.map(jnp.shape, back) == jax.tree.map(jnp.shape, own)
  # One step from either state is the same step.
  gradients = jax.tree.map(lambda x: jnp.sin(10 * x), params)
  alone, _ = made.update(gradients, state, params)
  together, _ = made.update(blocks.stack(gradients), back, blocks.stack(params))
  equal(blocks.unstack(together), alone, rtol=1e-6)
  optax.apply_updates(params, alone)


def kept(made, wanted):
  """What loops keep of 2 images for the backward pass: (dtype, channels) of each."""
  images = jax.ShapeDtypeStruct((2, 32, 32, 3), jnp.float32)
  variables = jax.eval_shape(made.init, jax.random.key(0), images)

  def by_pixel(variables, images):
    return jax.vjp(lambda x: made.apply(variables, x), images)[1]

  def by_parameter(variables, images):
    def logits(params):
      own = {**variables, "params": params}
      return made.apply(own, images, statistics="batch", mutable=["batch_stats"])[0]

    return jax.vjp(logits, variables["params"])[1]

  of = by_pixel if wanted == "pixel" else by_parameter
  found = jax.tree.leaves(jax.eval_shape(of, variables, images))
  loops = [x for x in found if x.shape[0:1] == (7,) and 2 in x.shape[1:3]]
  return sorted((x.dtype.name, x.shape[-1]) for x in loops)


def test_each_policy_keeps_what_it_says():
  """Of a loop of 7 blocks of widths 4, 4 and 16, in bfloat16."""
  attributes = {"scan": True, "stages": (8,), "dtype": jnp.bfloat16}
  made = {r: net("bn", remat=r, **attributes) for r in blocks.REMATS}
  signs = [("bool", 4), ("bool", 4), ("bool", 16)]
  assert kept(made["none"], "pixel") == signs
  only = [("bfloat16", 16)]
  assert kept(made["block"], "pixel") == kept(made["block"], "parameter") == only
  outputs = [("bfloat16", 4), ("bfloat16", 4), ("bfloat16", 16), ("bfloat16", 16)]
  assert kept(made["convolutions"], "parameter") == outputs
  assert len(kept(made["none"], "parameter")) > len(outputs)
  # What group norm normalised is more than signs.
  grouped = {r: net("gn", remat=r, **attributes) for r in ("none", "block")}
  assert kept(grouped["block"], "pixel") == only
  assert len(kept(grouped["none"], "pixel")) > len(signs)


def test_the_paper_scale_is_scanned_and_its_attack_computes_nothing_again():
  c = config.base("test")
  assert network.network(c, "tpu").scan
  assert network.network(c, "tpu").remat == "block"
  assert network.network(c, "tpu", attacked=True).remat == "none"
  for name, value in (("norm", "gn"), ("activation", "gelu"), ("non_local", "blocks")):
    other = config.base("test")
    other.model[name] = value
    assert network.network(other, "tpu", attacked=True).remat == "block"
  # Inside a loop a CPU is slow with XLA's convolutions.
  assert network.network(c, "cpu").method == "looped"
  assert network.network(c, "tpu").method == "lax"
  assert network.network(c, "tpu v6e", attacked=True).method == "fenced"
  mini = network.network(config.base("test", "mini"), "cpu")
  assert (mini.scan, mini.remat, mini.method) == (False, "none", "lax")


def program(depth):
  """The lines of a paper-scale train step, as the TPU compiler gets it."""
  c = config.base("test")
  c.model.depth, c.model.norm, c.loss.clean_ratio = depth, "mbn", 1.0
  step = jax.jit(steps.train_step(c, "tpu", axis=None))
  batch = {
    "image": jax.ShapeDtypeStruct((32, 224, 224, 3), jnp.uint8),
    "label": jax.ShapeDtypeStruct((32,), jnp.int32),
    "index": jax.ShapeDtypeStruct((32,), jnp.int32),
  }
  key = jax.eval_shape(lambda: jax.random.key(0))
  traced = step.trace(steps.abstract_state(c), batch, key)
  return traced.lower(lowering_platforms=("tpu",)).as_text().count("\n")


@pytest.mark.slow
@pytest.mark.thorough
def test_a_scanned_train_step_does_not_grow_with_the_depth():
  assert program(50) == program(638)


@pytest.mark.parametrize("scan", [False, True])
def test_only_a_loop_does_without_the_barrier(scan):
  made = net("bn", scan=scan, remat="block", stages=(3,))
  variables = jax.eval_shape(made.init, jax.random.key(0), IMAGES)
  text = str(jax.make_jaxpr(lambda v, x: made.apply(v, x))(variables, IMAGES))
  counts = text.count("prevent_cse=True"), text.count("prevent_cse=False")
  assert counts == ((1, 1) if scan else (3, 0))
