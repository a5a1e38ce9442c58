"""The step on 1, 2 and 8 devices, its branches, its mixtures, its counts."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import CLASSES, lively, tiny

from robustjax.attacks import pgd
from robustjax.models import norm as norms
from robustjax.runtime import parallel
from robustjax.training import losses, state, step

ATTACK = pgd.PGD(eps=16.0, step_size=4.0, steps=3, clean_start=0.2)
GROUP = 8
KEY = jax.random.key(3)
MBN = step.Strategy(separate=True, alp_weight=0.5, group=GROUP)
NORMS = {
  "mbn": norms.batch(("clean", "adv")),
  "bn": norms.batch(),
  "gn": norms.group(2),
}


def make(norm, strategy, attack=ATTACK, axis=None, trained=None):
  """A state and its train step."""
  net, optimizer = tiny(NORMS[norm]), optax.sgd(0.1, momentum=0.9)
  made = state.create(net.init, optimizer, jax.random.key(0), (8, 8, 3))
  made = made.replace(params=lively(made.params))
  attack_step = step.make_attack_step(net.apply, attack, CLASSES)
  made_step = step.make_train_step(
    net.apply, attack_step, strategy, optimizer, axis, trained
  )
  return made, made_step if axis else jax.jit(made_step)


def attack_step_of(net):
  """The compiled attack step of a net."""
  return jax.jit(step.make_attack_step(net.apply, ATTACK, CLASSES))


def assert_same(one, other, tolerance):
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance),
    one,
    other,
  )


@pytest.mark.slow
@pytest.mark.parametrize(
  "norm, strategy",
  [
    ("mbn", MBN),
    ("bn", step.Strategy(group=GROUP, clean_ratio=0.4)),
    pytest.param(
      "bn", step.Strategy(group=GROUP, clean_ratio=0.0), marks=pytest.mark.thorough
    ),
    pytest.param("gn", step.Strategy(group=GROUP), marks=pytest.mark.thorough),
  ],
)
def test_same_on_1_2_and_8_devices(batch, norm, strategy):
  now, train_step = make(norm, strategy, axis=parallel.AXIS)
  results = []
  for devices in (1, 2, 8) if norm == "mbn" else (1, 8):
    mesh = parallel.mesh(jax.devices()[:devices])
    mapped = parallel.pmap(train_step, mesh)
    results.append(jax.device_get(mapped(now, parallel.shard(batch, mesh), KEY)))
  for other in results[1:]:
    assert_same(results[0], other, 2e-4)


def test_what_was_skipped_is_summed_over_devices_and_changes_nothing_else(batch):
  strategy = step.Strategy(adv=False, group=GROUP)
  now, train_step = make("gn", strategy, axis=parallel.AXIS)
  mesh = parallel.mesh(jax.devices()[:8])
  mapped = parallel.pmap(train_step, mesh)
  counts = np.zeros(64, np.int32)
  counts[[0, 9, 10, 63]] = (1, 2, 1, 5)
  plain, metrics = mapped(now, parallel.shard(batch, mesh), KEY)
  found = mapped(now, parallel.shard(batch | {"skipped": counts}, mesh), KEY)
  assert int(found[1].pop("skipped")) == 9
  assert "skipped" not in metrics
  assert_same(found, (plain, metrics), 1e-6)


def test_one_device_without_a_mesh_is_the_same(batch):
  now, pure = make("mbn", MBN)
  _, train_step = make("mbn", MBN, axis=parallel.AXIS)
  mesh = parallel.mesh(jax.devices()[:1])
  mapped = parallel.pmap(train_step, mesh)(now, parallel.shard(batch, mesh), KEY)
  assert_same(mapped, pure(now, batch, KEY), 2e-4)


def test_results_leave_every_device_with_the_same(batch):
  now, train_step = make("mbn", MBN, axis=parallel.AXIS)
  mesh = parallel.mesh()
  new, _ = parallel.pmap(train_step, mesh)(now, parallel.shard(batch, mesh), KEY)
  for leaf in jax.tree.leaves(new):
    for shard in leaf.addressable_shards[1:]:
      np.testing.assert_array_equal(leaf.addressable_shards[0].data, shard.data)


def test_attack_changes_no_statistics_and_goes_through_the_adv_branch(batch):
  now, _ = make("mbn", MBN)
  seen = []

  def apply(variables, x, **how):
    seen.append(how)
    assert "mutable" not in how
    return tiny().apply(variables, x, **how)

  jax.eval_shape(step.make_attack_step(apply, ATTACK, CLASSES), now, batch, KEY)
  assert seen and all(h == {"domain": "adv", "statistics": "running"} for h in seen)


def test_each_branch_sees_its_own_domain_alone(batch):
  """Statistics after a step are those of its clean and of its adversarial images."""
  now, train_step = make("mbn", MBN)
  new, _ = train_step(now, batch, KEY)
  net = tiny()
  adv, _ = attack_step_of(net)(now, batch, KEY)
  for domain, images in (("clean", batch["image"]), ("adv", adv)):
    how = {"domain": domain, "statistics": "batch", "groups": 64 // GROUP}
    forward = jax.jit(lambda v, x, h=how: net.apply(v, x, **h, mutable=["batch_stats"]))
    _, alone = forward(now.variables, images)
    assert_same(
      norms.branch_of(new.batch_stats, domain),
      norms.branch_of(alone["batch_stats"], domain),
      1e-4,
    )


def test_plain_bn_normalises_each_group_over_its_mixture(batch):
  """Equal to mixing each group's images by hand and normalising them together."""
  strategy = step.Strategy(group=GROUP, clean_ratio=0.4, label_smoothing=0.0)
  assert strategy.clean_kept == 3
  now, train_step = make("bn", strategy)
  _, metrics = train_step(now, batch, KEY)
  net = tiny(NORMS["bn"])
  adv, _ = attack_step_of(net)(now, batch, KEY)
  forward = jax.jit(
    lambda x: net.apply(now.variables, x, statistics="batch", mutable=["batch_stats"])
  )
  total = []
  for start in range(0, 64, GROUP):
    cut, kept = slice(start, start + GROUP), slice(start, start + 3)
    images = jnp.concatenate([batch["image"][kept].astype(jnp.float32), adv[cut]])
    labels = jnp.concatenate([batch["label"][kept], batch["label"][cut]])
    total.append(losses.cross_entropy(forward(images)[0], labels, 0.0))
  np.testing.assert_allclose(metrics["loss"], jnp.concatenate(total).mean(), rtol=1e-4)


@pytest.mark.parametrize("ratio, kept", [(1.0, 32), (0.8, 26), (0.2, 6), (0.0, 0)])
def test_clean_images_kept_of_a_group_of_32(ratio, kept):
  assert step.Strategy(clean_ratio=ratio).clean_kept == kept


def test_strategies_report_what_they_train_on(batch):
  def metrics(norm, **strategy):
    now, train_step = make(norm, step.Strategy(group=GROUP, **strategy))
    return train_step(now, batch, KEY)[1]

  adv_only = metrics("bn", clean_ratio=0.0)
  assert "loss_clean" not in adv_only and adv_only["loss"] == adv_only["loss_adv"]
  clean_only = metrics("bn", adv=False)
  assert "loss_adv" not in clean_only and clean_only["loss"] == clean_only["loss_clean"]
  both = metrics("mbn", separate=True, alp_weight=0.5)
  mean = (both["loss_clean"] + both["loss_adv"]) / 2
  np.testing.assert_allclose(both["loss"], mean + 0.5 * both["alp"], rtol=1e-5)
  assert both["alp"] > 0


def test_clean_only_makes_no_attack(batch):
  def never(*_):
    raise AssertionError("attacked")

  net, optimizer = tiny(NORMS["bn"]), optax.sgd(0.1)
  shapes = jax.eval_shape(
    lambda key: state.create(net.init, optimizer, key, (8, 8, 3)), jax.random.key(0)
  )
  strategy = step.Strategy(adv=False, group=GROUP)
  train_step = step.make_train_step(net.apply, never, strategy, optimizer)
  new, _ = jax.eval_shape(train_step, shapes, batch, KEY)
  assert jax.tree.structure(new) == jax.tree.structure(shapes)


def test_running_statistics_phase_freezes_them_and_trains_the_rest(batch):
  strategy = dataclasses.replace(MBN, statistics="running")
  now, train_step = make("mbn", strategy)
  new, _ = train_step(now, batch, KEY)
  jax.tree.map(np.testing.assert_array_equal, now.batch_stats, new.batch_stats)
  before, after = (s.params["stage1_block1"]["bn1"] for s in (now, new))
  for domain in ("clean", "adv"):
    for name in ("scale", "bias"):
      assert jnp.any(before[domain][name] != after[domain][name])


def test_steps_draw_new_randomness_and_the_same_again(batch):
  now, _ = make("mbn", MBN)
  attack_step = attack_step_of(tiny())
  first, again = (attack_step(now, batch, KEY)[0] for _ in range(2))
  np.testing.assert_array_equal(first, again)
  later, _ = attack_step(now.replace(step=jnp.array(1)), batch, KEY)
  assert jnp.mean(first != later) > 0.5


def test_groups_that_do_not_divide_are_refused(batch):
  now, train_step = make("mbn", dataclasses.replace(MBN, group=48))
  with pytest.raises(ValueError, match="64 images a device .* groups of 48"):
    train_step(now, batch, KEY)


@pytest.mark.parametrize("devices", [1, 8])
def test_validation_counts_leave_padding_out(batch, devices):
  now, _ = make("mbn", MBN)
  net = tiny()
  attack_step = attack_step_of(net)
  mesh = parallel.mesh(jax.devices()[:devices])
  eval_step = parallel.pmap(
    step.make_eval_step(net.apply, attack_step, parallel.AXIS), mesh
  )
  masked = batch | {"mask": jnp.arange(64) < 37}
  counts = eval_step(now, parallel.shard(masked, mesh), KEY)
  assert counts["images"] == 37
  seen = net.apply(now.variables, batch["image"][:37], domain="clean").argmax(-1)
  assert counts["correct_clean"] == jnp.sum(seen == batch["label"][:37])
  adv, targets = attack_step(now, batch, KEY)
  hit = net.apply(now.variables, adv[:37], domain="adv").argmax(-1)
  assert counts["target_hits"] == jnp.sum(hit == targets[:37])


def test_each_domain_is_counted_through_its_own_branch(batch):
  """On a state whose branches say different things of the same images."""
  now, _ = make("mbn", MBN)
  now.params["stage2_block1"]["bn2"]["clean"]["bias"] += jnp.linspace(-9.0, 9.0, 8)
  net = tiny()
  # With their mean the logits name one class for every image.
  logits = net.apply(now.variables, batch["image"], domain="clean")
  now.params["fc"]["bias"] -= logits.mean(0)
  clean, adv = (
    net.apply(now.variables, batch["image"], domain=d).argmax(-1)
    for d in ("clean", "adv")
  )
  assert jnp.any(clean != adv)
  none = dataclasses.replace(ATTACK, steps=0, clean_start=1.0)
  attack_step = step.make_attack_step(net.apply, none, CLASSES)
  labelled = batch | {"label": clean, "mask": jnp.ones(64, bool)}
  counts = jax.jit(step.make_eval_step(net.apply, attack_step))(now, labelled, KEY)
  assert counts["correct_clean"] == 64
  assert counts["correct_adv"] == jnp.sum(clean == adv) < 64


def test_logit_pairing_pairs_an_image_with_its_own_clean_one(batch):
  """With kept clean images only: distances of a group's first three, by hand."""
  strategy = step.Strategy(group=GROUP, clean_ratio=0.4, alp_weight=0.5)
  now, train_step = make("gn", strategy)
  _, metrics = train_step(now, batch, KEY)
  net = tiny(NORMS["gn"])
  adv, _ = attack_step_of(net)(now, batch, KEY)
  apart = net.apply(now.variables, adv) - net.apply(now.variables, batch["image"])
  kept = jnp.arange(64) % GROUP < 3
  expected = jnp.mean(jnp.sum(jnp.square(apart), -1)[kept])
  np.testing.assert_allclose(metrics["alp"], expected, rtol=1e-3)


@pytest.mark.thorough
def test_what_is_not_trained_has_no_gradient(batch):
  """Neither in the update nor in the norm that is logged."""

  def is_bias(params):
    return jax.tree_util.tree_map_with_path(lambda p, _: p[-1].key == "bias", params)

  now, whole = make("bn", step.Strategy(group=GROUP, clean_ratio=0.0))
  _, part = make("bn", step.Strategy(group=GROUP, clean_ratio=0.0), trained=is_bias)
  (one, all_metrics), (two, metrics) = whole(now, batch, KEY), part(now, batch, KEY)
  expected = jax.tree.map(
    lambda moves, a, b: a if moves else b, is_bias(now.params), one.params, now.params
  )
  assert_same(two.params, expected, 1e-6)
  change = jax.tree.map(lambda a, b: (a - b) / 0.1, now.params, expected)
  np.testing.assert_allclose(metrics["grad_norm"], optax.tree.norm(change), rtol=1e-3)
  assert metrics["grad_norm"] < all_metrics["grad_norm"]
