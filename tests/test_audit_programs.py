"""What a program finds of an image depends on no other image."""

import jax
import numpy as np
import pytest
from audit_networks import EFFORT, EPS, blobs, mlp, network, trained

from robustjax.audit.programs import Programs
from robustjax.runtime import parallel


def programs(rows, devices=2):
  mesh = parallel.mesh(jax.devices()[:devices])
  return Programs(network(mlp, trained()), rows, "linf", 3, mesh, EFFORT)


@pytest.fixture(scope="module")
def rows():
  images, labels = blobs(61)
  index = np.arange(300, 361, dtype=np.int32)
  return {"image": images, "label": labels, "index": index, "target": labels}


def found(made):
  return {
    "apgd": made.apgd("ce", EPS),
    "square": made.square(EPS),
    "walk": made.walk("margin", EPS, 7)["last"],
    "logits": made.logits(made.rows["image"]),
  }


def test_an_image_knows_no_batch(rows):
  """61 images in batches of 48, and 50 of them the other way round."""
  whole = found(programs(rows))
  some = np.arange(50)[::-1]
  part = found(programs({name: array[some] for name, array in rows.items()}))
  for name, values in whole.items():
    assert len(values) == 61
    np.testing.assert_allclose(part[name], values[some], atol=1e-3)


def test_attacks_stay_in_the_ball_and_are_judged(rows):
  made = programs(rows)
  for name, adv in found(made).items():
    if name == "logits":
      continue
    assert np.abs(adv - rows["image"].astype(np.float32)).max() <= EPS + 1e-3
    judged = made.judged(adv)
    np.testing.assert_array_equal(judged.broken, judged.predicted != rows["label"])
    assert 0 < judged.broken.sum() < 61


def test_another_branch_compiles_nothing(rows, caplog):
  one = programs(rows)
  one.apgd("ce", EPS)
  other = Programs(network(mlp, trained(5)), rows, "linf", 3, one.mesh, EFFORT)
  with jax.log_compiles(), caplog.at_level("WARNING"):
    other.apgd("margin", EPS / 2, rounded=True)
  assert "per_device" not in caplog.text
