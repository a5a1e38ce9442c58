"""Sizes known from the literature, and properties of the network's parts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import lively, tiny

from robustjax.models import norm as norms
from robustjax.models import resnet


def parameters(net, side=224):
  shapes = jax.eval_shape(net.init, jax.random.key(0), jnp.zeros((1, side, side, 3)))
  return sum(x.size for x in jax.tree.leaves(shapes["params"]))


# torchvision's counts; ResNet-200's is that of its block list.
@pytest.mark.parametrize(
  "depth, count",
  [(18, 11689512), (34, 21797672), (50, 25557032), (101, 44549160), (152, 60192808)],
)
def test_parameter_counts(depth, count):
  assert parameters(resnet.make(depth, norm=norms.batch())) == count


@pytest.mark.parametrize("depth", [200, 338, 518, 638])
def test_depth_counts_its_layers(depth):
  assert 3 * sum(resnet.make(depth, norm=norms.batch()).stages) + 2 == depth


def test_mbn_adds_one_set_of_scale_and_bias():
  plain, mixture = (
    parameters(resnet.make(50, norm=norms.batch(d)))
    for d in (("all",), ("clean", "adv"))
  )
  assert mixture - plain == 2 * 26560  # ResNet-50 normalises 26,560 channels


def test_unknown_depth_names_the_known():
  with pytest.raises(ValueError, match="no ResNet-151.*152"):
    resnet.make(151, norm=norms.batch())


@pytest.mark.parametrize(
  "stem, side", [("imagenet", 8), ("small", 32), ("small_stride2", 16)]
)
def test_stems(stem, side):
  net = resnet.make((1,), norm=norms.batch(), block="basic", width=4, stem=stem)
  _, found = net.apply(
    net.init(jax.random.key(0), jnp.zeros((1, 32, 32, 3))),
    jnp.zeros((1, 32, 32, 3)),
    capture_intermediates=lambda module, _: module.name == "stage1_block1",
    mutable=["intermediates"],
  )
  block = found["intermediates"]["stage1_block1"]["__call__"][0]
  assert block.shape == (1, side, side, 4)


def test_both_methods_give_the_same_logits():
  images = jax.random.uniform(jax.random.key(1), (4, 8, 8, 3), maxval=255.0)
  net = tiny(block="bottleneck")
  variables = lively(net.init(jax.random.key(0), images))
  looped = net.clone(method="looped").apply(variables, images)
  np.testing.assert_allclose(net.apply(variables, images), looped, rtol=2e-4, atol=1e-4)


def test_blocks_begin_as_the_identity():
  x = jax.random.uniform(jax.random.key(1), (4, 8, 8, 3), maxval=255.0)
  deep = resnet.make((3,), norm=norms.batch(), block="basic", width=4, stem="small")
  shallow = resnet.make((1,), norm=norms.batch(), block="basic", width=4, stem="small")
  variables = deep.init(jax.random.key(0), x)
  np.testing.assert_array_equal(deep.apply(variables, x), shallow.apply(variables, x))


def test_bfloat16_computes_but_parameters_and_logits_are_float32():
  images = jnp.zeros((2, 8, 8, 3), jnp.uint8)
  net = tiny(dtype=jnp.bfloat16)
  variables = net.init(jax.random.key(0), images)
  assert {x.dtype for x in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
  assert net.apply(variables, images).dtype == jnp.float32
  text = jax.jit(net.apply).lower(variables, images).as_text()
  convolutions = [line for line in text.splitlines() if "stablehlo.convolution" in line]
  assert convolutions and all("bf16" in line for line in convolutions)
