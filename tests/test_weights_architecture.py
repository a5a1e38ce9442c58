import math

import flax
import jax
import jax.numpy as jnp
import pytest

from robustjax.models import norm as norms
from robustjax.models import resnet
from robustjax.weights import architecture
from tests import weights_made as made

NETS = {
  "basic": made.BASIC,
  "bottleneck": made.BOTTLENECK,
  "wide": made.WIDE,
  "grouped": made.GROUPED,
  "stages": made.STAGES,
  "blocks": made.BLOCKS,
  "small stem": made.BASIC._replace(stem=3, channels=1),
}


@pytest.mark.parametrize("name", NETS)
def test_its_arrays_are_those_of_the_network(name):
  net = NETS[name]
  module = resnet.make(
    net.stages,
    norm=norms.batch(),
    num_classes=net.classes,
    block=net.block,
    width=net.width,
    stem="imagenet" if net.stem == 7 else "small",
    bottleneck=net.bottleneck,
    cardinality=net.cardinality,
    non_local=net.non_local,
  )
  images = jnp.zeros((1, 32, 32, net.channels))
  made_shapes = jax.eval_shape(module.init, jax.random.key(0), images)
  flat = flax.traverse_util.flatten_dict(made_shapes)
  assert {k: v.shape for k, v in flat.items()} == dict(architecture.arrays(net))


def test_a_depth_is_known_by_its_stages_and_block():
  net = made.BOTTLENECK._replace(stages=(3, 4, 6, 3))
  assert architecture.depth(net) == 50
  assert architecture.depth(net._replace(block="basic")) == 34
  assert architecture.depth(made.BOTTLENECK) is None


# FD's files: 777, 805 and 687 arrays, of which the statistics are not trained.
@pytest.mark.parametrize(
  ("stages", "more", "count", "trainable"),
  [
    ((3, 8, 36, 3), {}, 777, 60_192_808),
    ((3, 8, 36, 3), {"non_local": "stages"}, 805, 71_341_608),
    (
      (3, 4, 23, 3),
      {"non_local": "blocks", "bottleneck": 4, "cardinality": 32},
      687,
      126_801_704,
    ),
  ],
)
def test_sizes_are_those_of_the_published_files(stages, more, count, trainable):
  net = architecture.Architecture(
    stages, "bottleneck", 64, 1, 1, "none", 7, 3, 1000
  )._replace(**more)
  sizes = dict(architecture.arrays(net))
  assert len(sizes) == count
  assert trainable == sum(
    math.prod(shape) for path, shape in sizes.items() if path[0] == "params"
  )
