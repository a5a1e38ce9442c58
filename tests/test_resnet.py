"""Sizes known from the literature, and properties of the network's parts."""

import math
import re

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


RESNEXT = {"bottleneck": 4, "cardinality": 32}  # 32x8d


# The counts of torchvision and FD.
@pytest.mark.parametrize(
  "depth, attributes, count",
  [
    (18, {}, 11689512),
    (34, {}, 21797672),
    (50, {}, 25557032),
    (101, {}, 44549160),
    (152, {}, 60192808),
    (50, {"bottleneck": 2}, 68883240),
    (101, RESNEXT, 88791336),
    (152, {"non_local": "stages"}, 71341608),
    (101, {**RESNEXT, "non_local": "blocks"}, 126801704),
  ],
)
def test_parameter_counts(depth, attributes, count):
  net = resnet.make(depth, norm=norms.batch(), scan=True, **attributes)
  assert parameters(net) == count


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


def test_basic_blocks_have_no_inner_width():
  for attributes in ({"bottleneck": 2}, {"cardinality": 2}):
    with pytest.raises(ValueError, match="are 1 where blocks are basic"):
      resnet.make(18, norm=norms.batch(), **attributes)


@pytest.mark.parametrize("cardinality", [1, 2, 4])
def test_both_methods_give_the_same_logits(cardinality):
  images = jax.random.uniform(jax.random.key(1), (4, 8, 8, 3), maxval=255.0)
  net = tiny(block="bottleneck", bottleneck=2, cardinality=cardinality)
  variables = lively(net.init(jax.random.key(0), images))
  inner = variables["params"]["stage2_block1"]["conv2"]["kernel"]
  assert inner.shape == (3, 3, 16 // cardinality, 16)
  shifted = net.clone(method="shifted").apply(variables, images)
  np.testing.assert_allclose(
    net.apply(variables, images), shifted, rtol=2e-4, atol=1e-4
  )


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


def test_any_normaliser_is_the_papers_on_other_pixels():
  """x -> (x - mean) / std, channel by channel, before anything is padded."""
  images = jax.random.uniform(jax.random.key(1), (4, 8, 8, 3), maxval=255.0)
  mean, std = np.array((120.0, 110.0, 100.0)), np.array((60.0, 50.0, 70.0))
  usual = tiny()
  variables = lively(usual.init(jax.random.key(0), images))
  other = tiny(input_mean=tuple(mean), input_std=tuple(std))
  found = other.apply(variables, images)
  same = usual.apply(variables, (images - mean) / std * 127.5 + 127.5)
  np.testing.assert_allclose(found, same, rtol=1e-4, atol=1e-4)


def test_activations_are_exact():
  """Of bn0, for pixels that reach it as they are."""
  images = jnp.linspace(0, 255, 64).reshape(1, 8, 8, 1)
  found = {}
  for name in ("relu", "gelu"):
    net = resnet.make((1,), norm=norms.batch(), block="basic", width=1, stem="small",
                      activation=name)  # fmt: skip
    variables = net.init(jax.random.key(0), images)
    kernel = jnp.zeros((3, 3, 1, 1)).at[1, 1].set(3.0)
    variables["params"]["conv0"]["kernel"] = kernel
    _, seen = net.apply(
      variables,
      images,
      capture_intermediates=lambda module, _: module.name == "stage1_block1",
      mutable=["intermediates"],
    )
    found[name] = seen["intermediates"]["stage1_block1"]["__call__"][0].ravel()
  x = np.linspace(-3, 3, 64)
  erf = np.array([math.erf(v / math.sqrt(2)) for v in x])
  gelu = x * (1 + erf) / 2
  again = np.array([math.erf(v / math.sqrt(2)) for v in gelu])
  np.testing.assert_allclose(found["relu"], np.maximum(x, 0), atol=1e-4)
  np.testing.assert_allclose(found["gelu"], gelu * (1 + again) / 2, atol=1e-4)


@pytest.mark.parametrize("cardinality", [1, 2])
@pytest.mark.parametrize("method", ["lax", "shifted", "fenced"])
def test_highest_precision_is_that_of_every_product(method, cardinality):
  images = jnp.zeros((2, 8, 8, 3))
  for non_local in ("stages", "blocks"):
    net = tiny(block="bottleneck", method=method, non_local=non_local,
               precision="highest", cardinality=cardinality)  # fmt: skip
    variables = jax.eval_shape(net.init, jax.random.key(0), images)
    text = jax.jit(net.apply).lower(variables, images).as_text().splitlines()
    products = [x for x in text if re.search("stablehlo.(convolution|dot_general)", x)]
    assert len(products) >= 12
    assert all(line.count("HIGHEST") == 2 for line in products)
