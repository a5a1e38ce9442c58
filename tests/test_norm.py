"""Branches stay apart, groups have statistics of their own, halves are plain nets."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import lively, tiny

from robustjax.models import norm as norms

IMAGES = jax.random.uniform(jax.random.key(1), (12, 8, 8, 3), maxval=255.0)


def init(net):
  return lively(net.init(jax.random.key(0), IMAGES))


def layer(x, **attributes):
  """One BatchNorm layer applied to x: its output and its new statistics."""
  made = norms.BatchNorm(**attributes)
  variables = made.init(jax.random.key(0), x)
  y, new = made.apply(variables, x, mutable=["batch_stats"])
  return y, new["batch_stats"]


def test_variable_tree_names_the_branches_at_the_leaf():
  variables = init(tiny())
  for kind, leaves in (
    ("params", {"scale", "bias"}),
    ("batch_stats", {"mean", "var"}),
  ):
    bn1 = variables[kind]["stage1_block1"]["bn1"]
    assert set(bn1) == {"clean", "adv"}
    assert set(bn1["clean"]) == set(bn1["adv"]) == leaves


@pytest.mark.parametrize("domain, other", [("clean", "adv"), ("adv", "clean")])
def test_a_pass_changes_only_its_own_branch(domain, other):
  net = tiny()
  variables = init(net)
  _, new = net.apply(
    variables, IMAGES, domain=domain, statistics="batch", mutable=["batch_stats"]
  )
  before = norms.branch_of(variables["batch_stats"], other)
  after = norms.branch_of(new["batch_stats"], other)
  jax.tree.map(np.testing.assert_array_equal, before, after)
  moved = jax.tree.map(
    lambda a, b: bool(jnp.any(a != b)),
    norms.branch_of(variables["batch_stats"], domain),
    norms.branch_of(new["batch_stats"], domain),
  )
  assert all(jax.tree.leaves(moved))


@pytest.mark.parametrize("domain", ["clean", "adv"])
def test_a_half_is_a_plain_resnet(domain):
  net, plain = tiny(), tiny(norms.batch(("all",)))
  variables = init(net)
  expected = net.apply(variables, IMAGES, domain=domain)
  half = plain.apply(norms.branch_of(variables, domain), IMAGES)
  np.testing.assert_array_equal(expected, half)
  shapes = jax.eval_shape(plain.init, jax.random.key(0), IMAGES)
  made = norms.branch_of(variables, domain)
  assert jax.tree.map(jnp.shape, made) == jax.tree.map(jnp.shape, shapes)


def test_branches_differ():
  net = tiny()
  variables = init(net)
  clean, adv = (net.apply(variables, IMAGES, domain=d) for d in ("clean", "adv"))
  assert jnp.max(jnp.abs(clean - adv)) > 1e-3


def test_batch_statistics_match_flax():
  ours, new = layer(IMAGES, statistics="batch")
  theirs = nn.BatchNorm(use_running_average=False, momentum=0.9, epsilon=1e-5)
  variables = theirs.init(jax.random.key(0), IMAGES)
  expected, stats = theirs.apply(variables, IMAGES, mutable=["batch_stats"])
  np.testing.assert_allclose(ours, expected, atol=1e-5)
  mean, var = (stats["batch_stats"][name] for name in ("mean", "var"))
  np.testing.assert_allclose(new["all"]["mean"], mean, rtol=1e-5)
  n = IMAGES[..., 0].size  # flax's running variance is biased
  unbiased = 0.9 + (var - 0.9) * n / (n - 1)
  np.testing.assert_allclose(new["all"]["var"], unbiased, rtol=1e-5)


def test_running_variances_are_right_on_average_for_groups_of_any_size():
  x = jax.random.normal(jax.random.key(0), (4096, 1, 1, 3)) * 2 + 1
  for images in (2, 4, 64):
    groups = len(x) // images
    _, new = layer(x, statistics="batch", groups=groups)
    found = (new["all"]["var"] - norms.MOMENTUM) / (1 - norms.MOMENTUM)
    np.testing.assert_allclose(found, 4.0, rtol=0.1)


def test_a_group_of_one_value_has_no_variance_but_is_finite():
  y, new = layer(jnp.full((1, 1, 1, 3), 7.0), statistics="batch")
  np.testing.assert_array_equal(y, 0.0)
  np.testing.assert_allclose(new["all"]["var"], norms.MOMENTUM)


def test_groups_are_normalised_apart_and_averaged_in_the_running_statistics():
  together, new = layer(IMAGES, statistics="batch", groups=3)
  parts = [layer(x, statistics="batch") for x in jnp.split(IMAGES, 3)]
  np.testing.assert_allclose(
    together, jnp.concatenate([y for y, _ in parts]), atol=1e-5
  )
  for name in ("mean", "var"):
    average = np.mean([stats["all"][name] for _, stats in parts], 0)
    np.testing.assert_allclose(new["all"][name], average, rtol=1e-6)


def test_groups_that_do_not_divide_are_refused():
  with pytest.raises(ValueError, match="12 images do not split into 5 groups"):
    layer(IMAGES, statistics="batch", groups=5)


def test_running_statistics_stay_as_they_are_and_see_each_image_alone():
  net = tiny()
  variables = init(net)
  together, new = net.apply(variables, IMAGES, mutable=["batch_stats"])
  jax.tree.map(
    np.testing.assert_array_equal, variables["batch_stats"], new["batch_stats"]
  )
  alone = net.apply(variables, IMAGES[3:4])
  np.testing.assert_allclose(together[3:4], alone, atol=1e-5)


def test_group_norm_sees_each_image_alone_and_knows_no_domain():
  net = tiny(norms.group(2))
  variables = init(net)
  assert set(variables) == {"params"}
  together = net.apply(variables, IMAGES, domain="clean", statistics="batch", groups=4)
  alone = net.apply(variables, IMAGES[3:4], domain="adv")
  np.testing.assert_allclose(together[3:4], alone, atol=1e-5)


def test_statistics_are_float32_under_bfloat16():
  y, new = layer(IMAGES.astype(jnp.bfloat16), statistics="batch", dtype=jnp.bfloat16)
  assert y.dtype == jnp.bfloat16
  assert {x.dtype for x in jax.tree.leaves(new)} == {jnp.dtype("float32")}


def test_group_norm_normalises_each_group_of_channels():
  x = jax.random.normal(jax.random.key(0), (2, 4, 4, 6)) * 3 + 1
  made = norms.group(2)()
  found = made.apply(made.init(jax.random.key(0), x), x)
  halves = np.asarray(x).reshape(2, 16, 2, 3)
  mean, var = halves.mean((1, 3), keepdims=True), halves.var((1, 3), keepdims=True)
  expected = ((halves - mean) / np.sqrt(var + 1e-5)).reshape(x.shape)
  np.testing.assert_allclose(found, expected, atol=1e-4)
