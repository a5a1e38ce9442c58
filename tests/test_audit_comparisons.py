"""The stronger attack must win: over one step, and over other networks' images."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from audit_networks import (
  EFFORT,
  audited,
  blobs,
  failed,
  faulty,
  least_squares,
  linear,
  mlp,
  network,
  trained,
)

from robustjax.audit import comparisons
from robustjax.audit.programs import Programs
from robustjax.runtime import parallel

HARD = 40.0  # an eps that one step does not teach to withstand


class Attacked:
  """The evidence of Auto-PGD's two losses alone."""

  def __init__(self, net, eps, count):
    images, labels = blobs(count)
    self.indices = np.arange(count, dtype=np.int32)
    rows = {"image": images, "label": labels, "index": self.indices, "target": labels}
    mesh = parallel.mesh(jax.devices()[:1])
    programs = Programs(net, rows, "linf", 0, mesh, EFFORT)
    self.right = programs.logits(images).argmax(-1) == labels
    self.count = int(self.right.sum())
    self.attacks = {
      f"apgd-{loss}": programs.judged(programs.apgd(loss, eps))
      for loss in ("ce", "margin")
    }


def test_a_loss_at_its_own_maximum_is_no_sign():
  """A linear network of small logits hides nothing, though its margin breaks more."""
  unsure = Attacked(network(linear, least_squares()), 32.0, 32)
  by_margin, by_loss = (unsure.attacks[f"apgd-{name}"] for name in ("margin", "ce"))
  more = (by_margin.broken & ~by_loss.broken & unsure.right).sum()
  assert more / unsure.count > 0.1  # or it would say little
  assert comparisons.margin(unsure).number == 0


@pytest.fixture(scope="module")
def single_step():
  """Trained against single steps of `HARD` until it withstands those alone."""
  return audited(network(mlp, trained(1, 600, HARD)), eps=HARD)


def test_a_network_overfitted_to_single_steps_is_suspicious(single_step):
  right, attacks = single_step.evidence.right, single_step.evidence.attacks
  assert (right & ~attacks["fgsm"].broken).mean() > 0.7
  assert (right & ~attacks["apgd-ce"].broken).mean() < 0.3
  assert "one step alone" in failed(single_step.result)
  assert single_step.result["verdict"] != "clean"


@pytest.mark.slow
@pytest.mark.thorough
def test_an_honest_network_withstands_many_steps_too():
  found = audited(network(mlp, trained(5, 600, HARD)), eps=HARD)
  assert failed(found.result) == {}


def test_an_undefended_network_is_no_masked_one():
  found = audited(network(mlp, trained(0)), eps=HARD)
  assert (found.evidence.right & ~found.evidence.white_box).mean() < 0.1
  assert failed(found.result) == {}


def test_images_of_a_sibling_break_a_network_without_gradients():
  sibling = faulty("")._replace(name="sibling")
  found = audited(faulty("gradient zero"), [sibling], eps=24.0)
  made = {c["name"]: c for c in found.result["checks"]}
  assert made["transfer"]["verdict"] == "masked"
  assert "sibling" in made["transfer"]["what"]
  broken = found.evidence.transfers["sibling"].broken & found.evidence.right
  assert made["transfer"]["number"] == pytest.approx(
    broken.sum() / found.evidence.count
  )
  # Against L2 some attacks are weaker than others' images: that is a sign alone.
  of_l2 = dataclasses.replace(found.evidence, norm="l2")
  assert comparisons.transfer(of_l2, "").verdict == "suspicious"
  honest = audited(faulty("", 5), [sibling], eps=24.0)
  assert failed(honest.result) == {}


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.usefixtures("optimised")  # the tanh must be 1 where it is nearly so
def test_one_step_that_beats_many_is_masked():
  """Many steps start beside the pixels' whole numbers; one starts and ends at them."""

  def sure_between_whole_numbers(variables, images):
    x = images.astype(jnp.float32)
    between = jnp.abs(x - jnp.rint(x)).max((1, 2, 3))[:, None] > 1e-3
    sure = 20.0 * jnp.tanh(mlp(variables, 127 + 2 * (x - 127)))
    return jnp.where(between, sure, mlp(variables, x))

  found = audited(network(sure_between_whole_numbers, trained(0)), eps=HARD)
  assert failed(found.result)["one step beats many"] == "masked"
