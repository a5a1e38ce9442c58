"""Both sides of a comparison compute the same, and it is refused if they do not."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import lively

from benchmarks import cases, ours
from benchmarks.cases import Case
from robustjax.models import norm as norms
from robustjax.models import resnet

torch = pytest.importorskip(
  "torch", reason="`make parity` installs what the parity tests compare with"
)

from benchmarks import theirs  # noqa: E402
from benchmarks.torch_resnet import ResNet  # noqa: E402

pytestmark = pytest.mark.parity

# PyTorch 2.13 on AVX2 spoils its memory at 4 channels, kernel 1x1, channels last.
SMALL = {"model.stages": (1, 1), "model.width": 8, "model.group": 8, "attack.steps": 2}
DEMO = Case("the demo's step", "train", "mbn_alp", "mini", SMALL, 64)


@pytest.fixture(scope="module")
def handed_over(tmp_path_factory):
  """The folder of a small training step."""
  folder = tmp_path_factory.mktemp("handed over")
  ours.train_step(DEMO, ours.configured(DEMO), folder)
  return folder


@pytest.mark.parametrize(
  ("block", "stem", "side", "padding"),
  [
    ("bottleneck", "imagenet", 30, "SAME"),  # more on one side, but for strides of 1
    ("bottleneck", "imagenet", 33, "SAME"),
    ("bottleneck", "imagenet", 30, "symmetric"),
    ("basic", "small_stride2", 30, "SAME"),
  ],
)
def test_the_networks_are_the_same(block, stem, side, padding):
  net = resnet.make(
    (1, 2), norm=norms.batch(), num_classes=5, block=block, width=4, stem=stem,
    padding=padding,
  )  # fmt: skip
  images = np.random.default_rng(0).uniform(0, 255, (3, side, side, 3))
  images = images.astype(np.float32)
  variables = lively(jax.jit(net.init)(jax.random.key(0), images))
  expected = net.apply(variables, jnp.asarray(images))
  for layout in theirs.LAYOUTS.values():
    twin = ResNet(variables, (1, 2), 2, padding=padding, layout=layout)
    found = twin(torch.tensor(images.transpose(0, 3, 1, 2) / np.float32(255)))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("layout", theirs.LAYOUTS.values())
def test_a_training_step_ends_in_the_same_weights(handed_over, layout):
  theirs.training(theirs.Side(DEMO, handed_over), layout, False)


@pytest.mark.parametrize(
  "changed",
  [{"rate": 2.0}, {"weight_decay": 10.0}, {"batches": 2}, {"alp_weight": 0.0}],
)
def test_another_training_step_is_refused(handed_over, changed):
  side = theirs.Side(DEMO, handed_over)
  side.facts |= changed
  with pytest.raises(SystemExit, match="not the same"):
    theirs.training(side, torch.channels_last, False)


def test_the_attack_ends_in_the_same_images(handed_over):
  side = theirs.Side(DEMO, handed_over)
  adv = theirs.pgd_steps(side, torch.channels_last, False)()
  differ = (adv - side._pixels(side.found["adv"])).abs() > 1e-4
  assert differ.float().mean() < 0.02  # signs of gradients that are nearly 0


def test_operations_are_of_forward_and_backward_passes(handed_over):
  side = theirs.Side(DEMO, handed_over)
  counted = {}
  for steps in (1, 2, 3):
    side.facts["steps"] = steps
    run = theirs.pgd_steps(side, torch.channels_last, False)
    counted[steps] = theirs.operations(run)
  assert counted[2] == 2 * counted[1] and counted[3] == 3 * counted[1]


def test_an_evaluation_reads_after_the_same_steps(tmp_path):
  case = dataclasses.replace(DEMO, kind="evaluation", images=16)
  config = ours.configured(case)
  ours.evaluation(case, config, tmp_path)
  side = theirs.Side(case, tmp_path)
  side.check_logits(side.net(torch.channels_last))
  readings = [n for part in side.facts["plan"] for n in part["readings"]]
  assert readings == list(config.eval.readings)
  assert cases.CASES["demo_evaluation"].unit == "images x steps/s"
  assert ours.work(case, config) == 110


def test_a_machine_without_a_compiler_is_told(monkeypatch):
  monkeypatch.delenv("CXX", raising=False)
  monkeypatch.setattr(theirs.shutil, "which", lambda name: None)
  assert "g++" in theirs.without_compiler()
  monkeypatch.setattr(theirs.shutil, "which", lambda name: f"/usr/bin/{name}")
  assert theirs.without_compiler() == ""
