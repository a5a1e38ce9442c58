"""Every fault is caught by the check made for it, and honest networks are clean."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from audit_networks import (
  BACK,
  FRONT,
  audited,
  blobs,
  failed,
  faulty,
  mlp,
  network,
  trained,
)
from conftest import lively, tiny

from robustjax.audit import check
from robustjax.errors import UserError
from robustjax.evaluation.network import Network
from robustjax.models import norm as norms

HONEST = {"", "centred", "log softmax"}
# Fault -> the verdict, and the check made for it.
CAUGHT = {
  "quantised": ("masked", "zero gradients, margin"),
  "gradient of half": ("suspicious", "differences"),
  "gradient zero": ("masked", "zero gradients, dlr"),
  "gradient negated": ("masked", "black box"),
  "gradient noise": ("masked", "largest eps"),
  "scaled": ("masked", "scaled logits"),
  "saturated": ("masked", "zero gradients, ce"),
  "softmax": ("suspicious", "probabilities"),
  "not a number": ("masked", "finite logits"),
  "thresholded": ("masked", "zero gradients, ce"),
  "steep": ("masked", "largest eps"),
  "waves": ("masked", "differences"),
  "gradient not a number": ("masked", "within the ball"),
  "temperature": ("masked", "scaled logits"),
  "shifted": ("suspicious", "low precision"),
  "clipped": ("masked", "zero gradients, margin"),
  "rounded": ("masked", "zero gradients, margin"),
  "one hot": ("masked", "probabilities"),
  "divided by its largest": ("suspicious", "margin loss"),
}


def test_every_fault_is_in_a_test():
  assert {*CAUGHT, *HONEST - {""}} == {*FRONT, *BACK}


@pytest.mark.parametrize("fault", CAUGHT)
def test_a_fault_is_caught_by_its_check(fault):
  result = audited(faulty(fault)).result
  verdict, name = CAUGHT[fault]
  assert name in failed(result)
  assert result["verdict"] == verdict
  json.dumps(result, allow_nan=False)


@pytest.mark.parametrize(("fault", "steps"), [("", 0), ("", 5), ("log softmax", 5)])
def test_an_honest_network_is_clean(fault, steps):
  found = audited(faulty(fault, steps))
  assert failed(found.result) == {}
  assert found.result["verdict"] == "clean"
  robust = found.evidence.right & ~found.evidence.white_box
  assert 0.3 < robust.mean() < 0.95  # or it would say little


@pytest.mark.thorough
@pytest.mark.slow
def test_a_mixture_network_is_clean_beside_its_other_branch():
  net = tiny(norms.batch())
  both = lively(tiny().init(jax.random.key(0), jnp.zeros((1, 8, 8, 3))))
  images = np.random.default_rng(0).integers(0, 256, (64, 8, 8, 3)).astype(np.uint8)
  of = {name: norms.branch_of(dict(both), name) for name in ("clean", "adv")}
  # An untrained one says the same of all images, but for this.
  usual = {name: net.apply(v, images).mean(0) for name, v in of.items()}

  def logits(variables, x):
    return net.apply(variables["net"], x) - variables["usual"]

  branches = {
    name: Network("mbn", name, {"net": of[name], "usual": usual[name]}, logits, logits)
    for name in of
  }
  labels = np.asarray(logits(branches["adv"].variables, images).argmax(-1))
  found = audited(branches["adv"], [branches["clean"]], eps=1.0, data=(images, labels))
  assert found.result["verdict"] == "clean", failed(found.result)
  assert "transfer" not in {
    c["name"] for c in found.result["checks"] if c["verdict"] == "not made"
  }


def test_a_network_that_asks_the_host_has_a_verdict_too():
  """JAX cannot compute the gradient of what the host does with images."""
  rng = np.random.default_rng(0)

  def noisy(images):
    return images + rng.normal(0, 8, images.shape).astype(np.float32)

  def logits(variables, images):
    shape = jax.ShapeDtypeStruct(images.shape, jnp.float32)
    return mlp(variables, jax.pure_callback(noisy, shape, images))

  said = []
  result = audited(network(logits, trained()), say=said.append).result
  assert result["verdict"] == "masked"
  assert {"repeated pass", "zero gradients, ce"} <= failed(result).keys()
  assert any("no gradient" in line for line in said)


def test_what_cannot_be_made_says_why():
  result = audited(faulty("", 5), norm="l2", eps=120.0, targeted=True).result
  missing = {c["name"]: c for c in result["checks"] if c["verdict"] == "not made"}
  assert missing.keys() == {"transfer"}
  assert all(c["number"] is None and c["what"] for c in missing.values())
  (noted,) = (c for c in result["checks"] if c["name"] == "targeted readings")
  assert noted["limit"] is None and "no robustness" in noted["what"]
  assert result["verdict"] == "clean"


def test_the_checks_are_the_table():
  result = audited(faulty("", 5), norm="l2", eps=120.0).result
  names = [c["name"] for c in result["checks"]]
  assert names == list(check.RULES)
  assert result["identity"]["eps"] == 120.0 and result["identity"]["norm"] == "l2"


def test_an_audit_of_nothing_is_refused():
  net, (images, labels) = faulty(""), blobs(96)
  seen = np.asarray(mlp(trained(), images).argmax(-1))
  with pytest.raises(UserError, match="none of 96 images is classified rightly"):
    audited(net, data=(images, (seen + 1) % 5))
  with pytest.raises(UserError, match="5 outputs, .* go up to 7"):
    audited(net, data=(images, labels + 3))
  with pytest.raises(UserError, match="eps is 0"):
    audited(net, eps=0.0)
