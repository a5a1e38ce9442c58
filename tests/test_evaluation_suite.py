"""Each attack of a suite finds what it says, from an image's own randomness alone."""

import jax
import jax.numpy as jnp
import networks
import numpy as np
import pytest
from networks import CLASSES, IMAGES, LABELS, SIDE

from robustjax.attacks.balls import Ball
from robustjax.errors import UserError
from robustjax.evaluation import compiled, suite
from robustjax.runtime import parallel

SHORT = suite.Options(steps=6, queries=40, targets=3, restarts=2)
BALL = Ball("linf", 10.0)
MESH = parallel.mesh(jax.devices()[:1])
RIGHT = [i for i in range(len(LABELS)) if i % 7]


def programs(names, options=SHORT, transfer=False, ball=BALL, network=None):
  attacks = suite.named(names, ball, options, transfer)
  network = network or networks.network()
  return compiled.programs(network, attacks, (SIDE, SIDE, 3), MESH)


def attacked(made, name, rows, run=0, seed=0):
  """The adversarial images and what the network says of them."""
  weights = networks.network().variables
  (batch,) = networks.batches(rows, len(rows), MESH)
  found = made.begin(batch)
  (attack,) = (a for a in made.attacks if a.name == name)
  for part in range(attack.parts):
    numbers = np.uint32(seed), np.int32(run), np.int32(part)
    found = made.attack[name](weights, batch, *numbers, found)
  return found, jax.device_get(made.read(weights, batch, found))


def broken(reading):
  return reading.prediction != reading.label


@pytest.fixture(scope="module")
def every():
  return programs(",".join(suite.NAMES))


@pytest.mark.parametrize("name", suite.NAMES)
def test_what_an_attack_finds_is_allowed_and_what_it_says(every, name):
  found, reading = attacked(every, name, RIGHT)
  assert reading.finite.all() and reading.mask.all()
  if name != "fab-t":  # which does not know eps
    assert reading.allowed.all()
  wrong = broken(reading)
  assert 0 < (wrong & reading.allowed).sum() < len(RIGHT)
  assert ((reading.margin < 0) == wrong).all()
  (attack,) = (a for a in every.attacks if a.name == name)
  assert (reading.steps[wrong & reading.allowed] <= attack.cost + 1).all()


@pytest.mark.parametrize("name", suite.NAMES)
def test_an_image_knows_no_batch(every, name):
  _, whole = attacked(every, name, RIGHT)
  _, turned = attacked(every, name, RIGHT[::-1])
  np.testing.assert_allclose(turned.margin[::-1], whole.margin, atol=1e-3)
  np.testing.assert_array_equal(turned.steps[::-1], whole.steps)


def test_runs_have_other_randomness_and_seeds_too(every):
  first, _ = attacked(every, "pgd", RIGHT)
  for changed in ({"run": 1}, {"seed": 1}):
    other, _ = attacked(every, "pgd", RIGHT, **changed)
    assert np.abs(np.asarray(first.adv) - other.adv).max() > 1


def test_another_default_generator_changes_nothing(every):
  found, _ = attacked(every, "pgd", RIGHT[:8])
  jax.config.update("jax_default_prng_impl", "rbg")
  try:
    again, _ = attacked(programs("pgd"), "pgd", RIGHT[:8])
  finally:
    jax.config.update("jax_default_prng_impl", "threefry2x32")
  np.testing.assert_allclose(found.adv, again.adv, atol=1e-3)


def test_targets_are_the_largest_other_clean_logits(every):
  logits = np.array(networks.logits(networks.WEIGHTS, IMAGES[RIGHT]))
  logits[np.arange(len(RIGHT)), LABELS[RIGHT]] = -np.inf
  ranked = np.argsort(-logits, -1)
  for run in range(4):
    found, _ = attacked(every, "apgd-t", RIGHT, run)
    np.testing.assert_array_equal(found.target, ranked[:, run % 3])
  untargeted, _ = attacked(every, "apgd-ce", RIGHT)
  assert (np.asarray(untargeted.target) == -1).all()


def test_how_many_runs_there_are():
  by_name = {a.name: a.runs(10) for a in programs(",".join(suite.NAMES)).attacks}
  assert by_name == {
    "apgd-ce": 2, "apgd-dlr": 2, "apgd-t": 6, "fab-t": 3, "square": 1, "pgd": 2,
    "pgd-t": 6,
  }  # fmt: skip
  (few,) = suite.named("apgd-t", BALL)
  assert (few.runs(1000), few.runs(10), few.runs(4)) == (9, 9, 3)


@pytest.mark.parametrize("loss", suite.LOSSES)
@pytest.mark.parametrize("name", ["pgd", "pgd-t"])
def test_losses_of_pgd_differ_and_all_break_images(name, loss):
  made = programs(name, suite.Options(steps=6, loss=loss, restarts=1))
  _, reading = attacked(made, name, RIGHT)
  assert broken(reading).sum() > 3


def test_the_last_iterate_is_not_the_most_dangerous():
  options = {"steps": 6, "step_size": 25.0}
  best = programs("pgd", suite.Options(**options))
  last = programs("pgd", suite.Options(**options, last=True))
  _, of_best = attacked(best, "pgd", RIGHT)
  _, of_last = attacked(last, "pgd", RIGHT)
  assert broken(of_best).sum() >= broken(of_last).sum()
  assert (of_best.margin <= of_last.margin + 1e-4)[~broken(of_best)].all()
  assert (of_best.margin < of_last.margin - 1e-4).any()


def test_what_goes_to_another_network_never_stops_at_a_success():
  here = programs("apgd-ce")
  away = programs("apgd-ce", transfer=True)
  found, stopped = attacked(here, "apgd-ce", RIGHT)
  further, on = attacked(away, "apgd-ce", RIGHT)
  wrong = broken(stopped)
  assert on.margin[wrong].mean() < stopped.margin[wrong].mean()


def test_an_l2_ball():
  made = programs("apgd-ce,pgd,square", ball=Ball("l2", 60.0))
  for name in ("apgd-ce", "pgd", "square"):
    _, reading = attacked(made, name, RIGHT)
    assert reading.allowed.all() and broken(reading).any()


@pytest.mark.parametrize(
  ("names", "options", "norm", "message"),
  [
    ("apgd", {}, "linf", "there is no attack 'apgd': name standard alone, or some of"),
    ("standard,square", {}, "linf", "there is no attack 'standard'"),
    ("square,square", {}, "linf", "named twice"),
    ("standard", {"steps": 20}, "linf", "to change them, name its attacks, apgd-ce"),
    ("standard", {}, "l2", "fab-t is for L-infinity: against L2 use apgd-ce"),
    ("fab-t", {}, "l2", "fab-t is for L-infinity"),
  ],
)
def test_mistakes_are_named(names, options, norm, message):
  with pytest.raises(UserError, match=message):
    suite.named(names, Ball(norm, 1.0), suite.Options(**options))


@pytest.mark.parametrize(
  ("name", "classes"), [("apgd-t", 3), ("apgd-dlr", 2), ("pgd-t", 1)]
)
def test_too_few_classes_are_named(name, classes):
  with pytest.raises(UserError, match=f"{name} wants a network of {classes + 1}"):
    suite.check(suite.named(name, BALL), classes)
  suite.check(suite.named(name, BALL), classes + 1)


def test_what_makes_no_logits_is_named():
  flat = networks.network(fn=lambda weights, images: images)
  with pytest.raises(UserError, match=r"makes \[2, 4, 4, 3\] of images \[2, 4, 4, 3\]"):
    programs("pgd", network=flat)


def test_an_image_that_is_not_allowed_is_seen():
  made = programs("pgd")
  weights = networks.network().variables
  (batch,) = networks.batches(RIGHT[:8], 8, MESH)
  found = made.begin(batch)
  for change, allowed in ((10.0, True), (10.01, False), (-300.0, False)):
    adv = jnp.clip(found.adv, 20, 230) + change
    moved = {**batch, "image": jnp.clip(batch["image"], 20, 230)}
    reading = made.read(weights, moved, found._replace(adv=adv))
    assert (np.asarray(reading.allowed) == allowed).all()


def test_classes_are_the_networks(every):
  assert every.classes == CLASSES
