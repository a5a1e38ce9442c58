"""Which network of a file is meant, and that every other array is accounted for."""

import numpy as np
import pytest

from robustjax.errors import UserError
from robustjax.weights import recognise
from tests import weights_made as made

ONE, OTHER = made.state_dict(), made.state_dict(seed=1)
WEIGHTS = sum(not name.endswith("tracked") for name in ONE)


@pytest.mark.parametrize(
  "prefix",
  ["", "module.", "model.", "state_dict.module.model.", "1.", "layers.layer1."],
)
def test_a_prefix_of_whole_parts_is_taken_off(prefix):
  found = recognise.recognise(made.file(made.under(prefix, ONE)))
  made.assert_same(found.variables, made.variables())
  assert set(found.unused.values()) == {"count of batches"}
  assert len(found.unused) == len(ONE) - WEIGHTS


def test_a_prefix_is_not_looked_for_inside_a_part():
  """`mymodel.` is a module of its own, and not `model.` behind something."""
  arrays = made.under("module.mymodel.", ONE) | {"module.my": np.ones(3)}
  with pytest.raises(UserError, match=r"module\.my \[3\] is no array of a"):
    recognise.recognise(made.file(arrays))


def test_equal_copies_are_one_network():
  copy = {name: array.copy() for name, array in ONE.items()}
  arrays = made.under("module.attacker.model.", copy) | made.under("module.model.", ONE)
  found = recognise.recognise(made.file(arrays))
  made.assert_same(found.variables, made.variables())
  name = "module.attacker.model.fc.bias"
  assert found.unused[name] == "equal to module.model.fc.bias"
  assert len(found.unused) + WEIGHTS == len(arrays)


@pytest.mark.parametrize("name", ["fc.bias", "layer1.0.bn1.running_var"])
def test_a_copy_that_differs_in_one_array_is_another_network(name):
  copy = ONE | {name: ONE[name] + 1}
  arrays = made.under("attacker.model.", copy) | made.under("model.", ONE)
  with pytest.raises(UserError, match=f"2 networks, model and attacker.model.*{name}"):
    recognise.recognise(made.file(arrays))


@pytest.mark.parametrize("missing", ["fc.bias", "layer2.0.conv1.weight"])
def test_a_copy_that_lacks_an_array_is_another_network(missing):
  copy = {name: array for name, array in ONE.items() if name != missing}
  arrays = made.under("attacker.model.", copy) | made.under("model.", ONE)
  with pytest.raises(UserError, match=f"2 networks.*{missing}"):
    recognise.recognise(made.file(arrays))


def test_what_a_copy_has_beside_the_network_is_not_passed_over():
  arrays = made.under("attacker.model.", ONE) | made.under("model.", ONE)
  arrays["attacker.model.other"] = np.ones(2)
  with pytest.raises(UserError, match=r"attacker\.model\.other \[2\] is no array"):
    recognise.recognise(made.file(arrays))


@pytest.mark.parametrize(
  ("roots", "part", "seed"),
  [
    (("state_dict", "state_dict_ema"), "state_dict", 0),
    (("state_dict", "state_dict_ema"), "state_dict_ema", 1),
    (("state_dict.module", "state_dict_ema.module"), "state_dict_ema", 1),
    (("", "ema"), ".", 0),
    (("", "ema"), "ema", 1),
  ],
)
def test_one_of_two_networks_is_chosen_by_its_part(roots, part, seed):
  prefixes = [f"{root}." if root else "" for root in roots]
  arrays = made.under(prefixes[0], ONE) | made.under(prefixes[1], OTHER)
  with pytest.raises(UserError, match=r"2 networks.*choose one with --part=") as error:
    recognise.recognise(made.file(arrays))
  assert all(f"--part={root or '.'}" in str(error.value) for root in roots)
  found = recognise.recognise(made.file(arrays), part=part)
  made.assert_same(found.variables, made.variables(seed=seed))
  whys = {why for why in found.unused.values() if why != "count of batches"}
  other = roots[1 - seed] or "."
  assert whys == {f"of the network under {other}, which was not chosen"}


@pytest.mark.parametrize("part", ["state", "model", "state_dict.layer1"])
def test_a_part_that_is_not_there(part):
  arrays = made.under("state_dict.", ONE)
  with pytest.raises(UserError, match="no network under .*: there is state_dict"):
    recognise.recognise(made.file(arrays), part=part)


def test_what_training_left_is_known():
  left = {
    "optimizer.state.0.momentum_buffer": np.ones((4, 3)),
    "optimizer.state.0.step": np.array(3.0),
    "optimizer_states.0.state.1.exp_avg": np.ones(3),
    "lr_scheduler.base_lrs": np.ones(2),
    "amp_scaler.scale": np.array(2.0),
    "epoch": np.array(90),
    "best_acc1": np.array(55.0),
  }
  arrays = made.under("state_dict.", ONE) | left
  found = recognise.recognise(made.file(arrays))
  assert found.unused["optimizer.state.0.momentum_buffer"].endswith("momentum")
  assert left.keys() <= found.unused.keys()


@pytest.mark.parametrize(
  ("name", "shape"),
  [
    ("conv1.bias", (4,)),  # a convolution with a bias
    ("layer1.0.se.fc1.weight", (4, 4, 1, 1)),
    ("layer1.0.bn1.bias_mask", (4,)),
    ("layer1.0.downsample.2.weight", (16,)),
    ("layer01.0.conv1.weight", (4, 4, 1, 1)),
    ("aux.weight", (5, 16)),
    ("epoch", (2,)),
    ("stoptimizer.state", (3,)),
    ("layer9.num_batches_tracked", ()),
  ],
)
def test_an_array_without_a_place_is_named(name, shape):
  arrays = ONE | {name: np.ones(shape, np.float32)}
  with pytest.raises(UserError) as error:
    recognise.recognise(made.file(arrays))
  assert name in str(error.value) or "layer3" in str(error.value)
  assert "\n" not in str(error.value)


@pytest.mark.parametrize("count", [np.ones(2), np.nan, -1, np.zeros((0, 3))])
def test_a_count_of_batches_is_a_number_of_them(count):
  name = "layer1.0.bn1.num_batches_tracked"
  with pytest.raises(UserError, match=rf"{name} \[.* is no array of a"):
    recognise.recognise(made.file(ONE | {name: np.asarray(count)}))


FD = made.layouts.to_fd(made.variables())


def test_a_training_checkpoint_of_fd():
  extras = {
    "global_step": np.array(5),
    "learning_rate": np.array(0.1),
    "conv0/W/Momentum": np.ones((7, 7, 3, 4)),
    "EMA/cross_entropy_loss": np.array(1.0),
  }
  arrays = {f"{name}:0": array for name, array in (FD | extras).items()}
  found = recognise.recognise(made.file(arrays))
  made.assert_same(found.variables, made.variables())
  assert found.unused.keys() == {f"{name}:0" for name in extras}
  assert found.unused["conv0/W/Momentum:0"] == "momentum of conv0/W"


@pytest.mark.parametrize(
  "name", ["conv0/b", "conv9/W/Momentum", "Momentum", "group0/block0/EMA", "conv0/W:0"]
)
def test_an_array_of_fd_without_a_place_is_named(name):
  with pytest.raises(UserError, match=name):
    recognise.recognise(made.file(FD | {name: np.ones(3)}))
