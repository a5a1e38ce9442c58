"""Auto-PGD, FAB and Square do what AutoAttack's own code does, on the same network."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from robustjax.attacks import apgd, fab, losses, square, square_l2
from robustjax.attacks.balls import Ball
from robustjax.evaluation import compiled, suite
from robustjax.evaluation.network import Network
from robustjax.runtime import parallel

pytestmark = pytest.mark.parity

WHY = "`make parity` installs what the parity tests compare with"
torch = pytest.importorskip("torch", reason=WHY)
autopgd = pytest.importorskip("pyautoattack.autopgd_base", reason=WHY)
fab_pt = pytest.importorskip("pyautoattack.fab_pt", reason=WHY)
projections = pytest.importorskip("pyautoattack.fab_projections", reason=WHY)
square_pt = pytest.importorskip("pyautoattack.square", reason=WHY)

CLASSES, COUNT, EPS = 6, 24, {"linf": 2.0, "l2": 12.0}
_rng = np.random.default_rng(0)
FIRST = (_rng.normal(size=(48, 32)) / 7).astype(np.float32)
SECOND = _rng.normal(size=(32, CLASSES)).astype(np.float32)
IMAGES = _rng.uniform(0, 255, (COUNT, 4, 4, 3)).astype(np.float32)


def ours(images):
  """Logits of pixels of 0..255, [n, h, w, c]."""
  return jnp.tanh((images.reshape(len(images), -1) / 127.5 - 1) @ FIRST) @ SECOND


def theirs(images):
  """The same network of pixels of 0..1, [n, c, h, w]."""
  flat = images.permute(0, 2, 3, 1).reshape(len(images), -1)
  return torch.tanh((2 * flat - 1) @ torch.tensor(FIRST)) @ torch.tensor(SECOND)


def there(images):
  return torch.tensor(np.asarray(images) / 255.0).permute(0, 3, 1, 2).contiguous()


def back(images):
  return images.detach().permute(0, 2, 3, 1).numpy() * 255.0


LABELS = np.asarray(ours(jnp.asarray(IMAGES)).argmax(-1), np.int64)
RANKS = np.argsort(np.asarray(ours(jnp.asarray(IMAGES))), -1)


def test_the_network_is_one():
  np.testing.assert_allclose(theirs(there(IMAGES)), ours(IMAGES), rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore:.*zero gradient")  # its flag for a masked network
@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("name", ["ce", "dlr", "dlr-targeted"])
def test_auto_pgd_from_one_start_is_the_official_one(norm, name):
  """100 steps: the best images, their losses, and which were broken."""
  targets = RANKS[:, -3]
  ball = Ball(norm, EPS[norm])
  start = ball.on_face(jnp.asarray(IMAGES), jax.random.split(jax.random.key(1), COUNT))
  loss = {
    "ce": lambda logits: losses.cross_entropy(logits, LABELS),
    "dlr": lambda logits: losses.dlr(logits, LABELS),
    "dlr-targeted": lambda logits: losses.targeted_dlr(logits, LABELS, targets),
  }[name]
  attack = jax.jit(lambda x, s: apgd.APGD(ball)(ours, loss, x, LABELS, s))
  found = attack(IMAGES, start)
  kind = autopgd.APGDAttack_targeted if "targeted" in name else autopgd.APGDAttack
  official = kind(
    theirs, norm={"linf": "Linf", "l2": "L2"}[norm], eps=EPS[norm] / 255, device="cpu"
  )
  official.loss, official.y_target = name, torch.tensor(targets)
  official.init_hyperparam(there(IMAGES))
  best, right, highest, _ = official.attack_single_run(
    there(IMAGES), torch.tensor(LABELS), x_init=there(start)
  )
  np.testing.assert_array_equal(right.numpy(), ~np.asarray(found.broken))
  assert 0 < found.broken.sum() < COUNT
  # Beyond the boundary a ratio has poles, where rounding decides.
  same = np.ones(COUNT, bool) if name == "ce" else ~np.asarray(found.broken)
  assert same.sum() >= 5
  losses_found = np.asarray(found.loss)[same]
  np.testing.assert_allclose(highest[same], losses_found, rtol=1e-3, atol=1e-4)
  # Where two points are as good to rounding, each has its own.
  apart = np.abs(back(best) - found.best).max((1, 2, 3))[same]
  assert np.mean(apart < 0.05) >= 0.75


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_auto_pgd_goes_the_official_way_step_by_step(norm):
  """Each iterate of the two, over checkpoints where steps are halved."""
  ball, steps, seen = Ball(norm, EPS[norm]), 60, []
  start = ball.on_face(jnp.asarray(IMAGES), jax.random.split(jax.random.key(1), COUNT))

  def watched(images):
    jax.debug.callback(lambda x: seen.append(np.array(x)), images, ordered=True)
    return ours(images)

  loss = lambda logits: losses.cross_entropy(logits, LABELS)  # noqa: E731
  jax.jit(lambda: apgd.APGD(ball, steps)(watched, loss, IMAGES, LABELS, start))()
  jax.effects_barrier()
  official_seen = []

  def watched_there(images):
    official_seen.append(back(images))
    return theirs(images)

  kind = {"linf": "Linf", "l2": "L2"}[norm]
  official = autopgd.APGDAttack(
    watched_there, n_iter=steps, norm=kind, eps=EPS[norm] / 255, device="cpu"
  )
  official.loss = "ce"
  official.init_hyperparam(there(IMAGES))
  official.attack_single_run(there(IMAGES), torch.tensor(LABELS), x_init=there(start))
  assert len(seen) == len(official_seen) == steps + 1
  # Where a gradient is 0 to rounding its sign is not the same, and from there on all.
  for step, (mine, other) in enumerate(zip(seen, official_seen, strict=True)):
    same = np.abs(mine - other).max((1, 2, 3)) < 0.02
    assert same.mean() >= (1 if step < 20 else 0.8), step


def test_targets_are_in_the_official_order():
  """The classes of the largest other clean logits, from the second on."""
  shape = IMAGES.shape[1:]
  network = Network("it", "all", (), lambda _, x: ours(x), lambda _, x: ours(x))
  options = suite.Options(steps=1)
  (attack,) = suite.named("apgd-t", Ball("linf", 1.0), options)
  mesh = parallel.mesh(jax.devices()[:1])
  made = compiled.programs(network, (attack,), shape, mesh)
  batch = parallel.shard(
    {"image": IMAGES, "label": LABELS.astype(np.int32), "index": np.arange(COUNT),
     "mask": np.ones(COUNT, bool)}, mesh,
  )  # fmt: skip
  ranked = theirs(there(IMAGES)).sort(dim=1)[1].numpy()
  for run in range(CLASSES - 1):
    numbers = np.uint32(0), np.int32(run), np.int32(0)
    found = made.attack["apgd-t"]((), batch, *numbers, made.begin(batch))
    np.testing.assert_array_equal(found.target, ranked[:, -(run + 2)])


def test_a_way_to_a_plane_is_the_official_one():
  x = IMAGES.reshape(COUNT, -1)
  normal = _rng.normal(size=x.shape).astype(np.float32)
  shift = _rng.normal(size=COUNT).astype(np.float32) * 900
  level = (normal * x).sum(-1) + shift
  way = fab._to_plane(jnp.asarray(x), jnp.asarray(normal), jnp.asarray(level))
  official = projections.projection_linf(
    torch.tensor(x / 255.0), torch.tensor(normal), torch.tensor(level / 255.0)
  )
  np.testing.assert_allclose(official.numpy() * 255.0, way, atol=0.02)


@pytest.mark.parametrize("rank", [2, 3, 4])
def test_fab_finds_the_official_distances(rank):
  targets = RANKS[:, -rank]
  found = jax.jit(lambda x: fab.FAB()(ours, x, LABELS, targets))(IMAGES)
  official = fab_pt.FABAttack_PT(
    theirs, n_iter=100, eps=8 / 255, targeted=True, device="cpu"
  )
  official.target_class = rank
  adv = official.attack_single_run(
    there(IMAGES), torch.tensor(LABELS), is_targeted=True
  )
  distance = np.abs(back(adv) - IMAGES).max((1, 2, 3))
  near = np.isfinite(np.asarray(found.distance))
  np.testing.assert_array_equal(distance > 0, near)
  np.testing.assert_allclose(distance[near], found.distance[near], rtol=0.01, atol=1e-3)


def test_squares_have_the_official_sides_and_margins():
  official = square_pt.SquareAttack(
    theirs, eps=8 / 255, p_init=0.8, resc_schedule=False
  )
  ours_square = square.Square(Ball("linf", 8.0))
  for query in (0, 10, 11, 50, 51, 200, 201, 500, 501, 1000, 1001, 2001, 4000, 4001):
    side = max(int(round((official.p_selection(query) * 32 * 32) ** 0.5)), 1)
    assert int(ours_square.side(jnp.array(query), 32, 32)) == side, query
  margin, loss = official.margin_and_loss(there(IMAGES), torch.tensor(LABELS))
  own = -losses.margin(ours(jnp.asarray(IMAGES)), LABELS)
  np.testing.assert_allclose(margin, own, rtol=1e-3, atol=1e-5)
  np.testing.assert_allclose(loss, own, rtol=1e-3, atol=1e-5)


def test_square_breaks_as_many_as_officially():
  """Each has its own randomness: counts of the images alone are compared."""
  keys = jax.random.split(jax.random.key(5), COUNT)
  found = jax.jit(
    lambda x: square.Square(Ball("linf", 8.0), 300)(ours, x, LABELS, keys)
  )(IMAGES)
  official = square_pt.SquareAttack(
    theirs,
    norm="Linf",
    eps=8 / 255,
    n_queries=300,
    seed=0,
    resc_schedule=False,
    device="cpu",
  )
  adv = official.perturb(there(IMAGES), torch.tensor(LABELS))
  broken = theirs(adv).argmax(-1).numpy() != LABELS
  assert abs(int(found.broken.sum()) - int(broken.sum())) <= 2


@pytest.mark.parametrize("side", [1, 2, 3, 5, 6, 9, 44, 45])
def test_bumps_are_the_official_ones(side):
  official = square_pt.SquareAttack(theirs, norm="L2", eps=1.0, device="cpu")
  places = np.arange(50)
  found = square_l2.bump(places[:, None], places[None], jnp.array(side), 50)
  assert not found[side:].any() and not found[:, side:].any()
  found, bump = np.asarray(found)[:side, :side], official.eta(side).numpy()
  if (np.abs(found - bump) > 1e-3).any():  # it may stand
    bump = bump.T
  np.testing.assert_allclose(found, bump, atol=1e-5)


# The official code has no grid for images of less than 5 rows.
LARGE = _rng.uniform(0, 255, (COUNT, 10, 10, 3)).astype(np.float32)
WIDE = (_rng.normal(size=(300, 32)) / 17).astype(np.float32)


def test_square_in_l2_breaks_as_many_as_officially():
  """Counts after 300 queries, at a radius that breaks some of the images."""

  def net(x):
    return jnp.tanh((x.reshape(len(x), -1) / 127.5 - 1) @ WIDE) @ SECOND

  def official_net(x):
    flat = x.permute(0, 2, 3, 1).reshape(len(x), -1)
    return torch.tanh((2 * flat - 1) @ torch.tensor(WIDE)) @ torch.tensor(SECOND)

  labels = np.asarray(net(LARGE).argmax(-1), np.int64)
  keys = jax.random.split(jax.random.key(5), COUNT)
  attack = square.Square(Ball("l2", 150.0), 300)
  found = jax.jit(lambda x: attack(net, x, labels, keys))(LARGE)
  official = square_pt.SquareAttack(
    official_net,
    norm="L2",
    eps=150 / 255,
    n_queries=300,
    seed=0,
    resc_schedule=False,
    device="cpu",
  )
  adv = official.perturb(there(LARGE), torch.tensor(labels))
  broken = official_net(adv).argmax(-1).numpy() != labels
  assert 3 <= int(broken.sum()) <= COUNT - 3
  assert abs(int(found.broken.sum()) - int(broken.sum())) <= 2
