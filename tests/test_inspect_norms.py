"""Batch statistics are those of the activations; channels and layers are named."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import lively, tiny

from robustjax.inspect import norms as statistics
from robustjax.models import norm as norms


@pytest.fixture(scope="module")
def images(batch):
  return batch["image"][:16]


def shapes(norm):
  return jax.eval_shape(tiny(norm).init, jax.random.key(0), jnp.zeros((1, 8, 8, 3)))


def made(norm):
  """A net and its variables, statistics included, at random."""
  return tiny(norm), lively(jax.tree.map(lambda x: jnp.zeros(x.shape), shapes(norm)))


def test_layers_come_with_their_channels_block_by_block():
  variables = shapes(norms.batch(("clean", "adv")))
  assert statistics.layers(variables["batch_stats"]) == {
    "bn0": 4,
    "stage1_block1/bn1": 4,
    "stage1_block1/bn2": 4,
    "stage2_block1/bn1": 8,
    "stage2_block1/bn2": 8,
    "stage2_block1/shortcut_bn": 8,
  }
  layer = {"bn1": {"all": {"mean": np.zeros(1), "var": np.ones(1)}}}
  many = {f"stage2_block{i}": layer for i in (10, 2, 1)}
  found = [name.split("/")[0] for name in statistics.layers(many)]
  assert found == ["stage2_block1", "stage2_block2", "stage2_block10"]


def test_group_norm_has_no_layers():
  assert statistics.layers(shapes(norms.group(2)).get("batch_stats", {})) == {}


@pytest.mark.parametrize(
  "stages, last, wanted",
  [
    ((3, 8, 36, 3), 3, "stage2_block4/bn3"),  # ResNet-152
    ((3, 24, 36, 3), 3, "stage2_block12/bn3"),
    ((1, 1, 1), 2, "stage2_block1/bn2"),
    ((5,), 2, "stage1_block3/bn2"),
  ],
)
def test_the_default_layer_is_in_the_middle_of_the_second_stage(stages, last, wanted):
  names = ["bn0"]
  for stage, blocks in enumerate(stages, 1):
    for block in range(1, blocks + 1):
      prefix = f"stage{stage}_block{block}"
      names += [f"{prefix}/bn{i + 1}" for i in range(last)] + [f"{prefix}/shortcut_bn"]
  assert statistics.default_layer(names) == wanted


def test_channels_are_a_sorted_sample_that_the_seed_decides():
  one, again, other = (statistics.sample_channels(20, 512, s) for s in (0, 0, 1))
  assert one == again != other
  assert one == sorted(set(one)) and len(one) == 20
  assert set(one) <= set(range(512))
  assert statistics.sample_channels(20, 8, 0) == list(range(8))
  seen = {c for s in range(40) for c in statistics.sample_channels(4, 8, s)}
  assert seen == set(range(8))


def test_batch_statistics_are_those_of_the_activations(images):
  net, variables = made(norms.batch())
  found = jax.jit(lambda v, x: statistics.batch_statistics(net.apply, v, x))(
    variables, images
  )
  _, seen = net.apply(
    variables, images, statistics="batch", capture_intermediates=True,
    mutable=["batch_stats", "intermediates"],
  )  # fmt: skip
  names = statistics.layers(found)
  assert len(names) == 6
  for name, channels in names.items():
    tree = seen["intermediates"]
    for part in name.replace("bn", "conv").split("/"):  # each norm follows its conv
      tree = tree[part]
    activations = np.asarray(tree["__call__"][0], np.float64)
    got = statistics.at(found, name, range(channels))["all"]
    over = (0, 1, 2)
    np.testing.assert_allclose(
      got["mean"], activations.mean(over), rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(
      got["var"], activations.var(over, ddof=1), rtol=1e-4, atol=1e-5
    )


def test_running_statistics_play_no_part_and_stay(images):
  net, variables = made(norms.batch())
  before = jax.tree.map(np.array, variables)
  one = statistics.batch_statistics(net.apply, variables, images)
  shifted = jax.tree.map(lambda x: x + 3.0, variables["batch_stats"])
  other = statistics.batch_statistics(
    net.apply, {**variables, "batch_stats": shifted}, images
  )
  jax.tree.map(np.testing.assert_array_equal, one, other)
  jax.tree.map(np.testing.assert_array_equal, before, variables)


def test_statistics_of_some_channels_of_every_branch():
  _, variables = made(norms.batch(("clean", "adv")))
  stats = variables["batch_stats"]
  found = statistics.at(stats, "stage2_block1/bn2", [6, 1])
  assert set(found) == {"clean", "adv"}
  for branch, values in found.items():
    for moment in ("mean", "var"):
      whole = np.asarray(stats["stage2_block1"]["bn2"][branch][moment])
      assert values[moment] == [whole[6], whole[1]]
