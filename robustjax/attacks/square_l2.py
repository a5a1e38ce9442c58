"""What the Square attack proposes in an L2 ball (Andriushchenko et al. 2020, 3.4).

It starts from a grid of bumps, each a positive and a negative pyramid side by side. A
query takes all the change out of one window of the image, and gives it to another,
bent by a bump. Changes are [h, w, c] here, of one image; whoever calls scales them to
the sphere. The side of a window is traced: windows are masks, not slices.
"""

import jax
import jax.numpy as jnp
import numpy as np

_TINY = 1e-12 * 255  # of the official code, in pixels


def bump(
  rows: jax.Array, columns: jax.Array, side: int | jax.Array, longest: int
) -> jax.Array:
  """Two pyramids in a square, + above and - below, of norm 1 together.

  A point that is d from a pyramid's middle, by the larger of its two coordinates, is as
  high as the sum of 1 / (k + 1)^2 over k from d to half the side.

  Args:
    rows: counted from the square's corner on; outside 0..side - 1 the bump is 0.
    columns: the same; both broadcast.
    side: of the square, at least 1.
    longest: what the side never exceeds.
  """
  sums = np.concatenate([[0.0], np.cumsum(1.0 / np.arange(1, longest + 2) ** 2)])
  table = jnp.asarray(sums, jnp.float32)
  half = jnp.asarray(side) // 2
  inside = (rows >= 0) & (rows < side) & (columns >= 0) & (columns < side)
  above = rows < half
  middle = jnp.where(above, half // 2, half + (side - half) // 2)
  far = jnp.maximum(jnp.abs(rows - middle), jnp.abs(columns - half))
  height = table[half + 1] - table[jnp.clip(far, 0, half + 1)]

  def part(where: jax.Array) -> jax.Array:
    of_it = jnp.where(where, height, 0.0)
    return of_it / (jnp.sqrt(jnp.square(of_it).sum()) + _TINY)

  both = part(inside & above) - part(inside & ~above)
  return both / (jnp.sqrt(jnp.square(both).sum()) + _TINY)


def grid(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
  """The first change: bumps side by side, each a fifth of the image high.

  Each lies or stands, and has a sign for each colour. As many as fit are centred; that
  is five by five where the official code runs and the image has at least 10 rows.
  """
  height, width, channels = shape
  size = max(height // 5, 1)
  down, along = height // size, width // size
  lying = bump(jnp.arange(size)[:, None], jnp.arange(size), size, size)
  turns, signs = jax.random.split(key)
  turned = jax.random.bernoulli(turns, 0.5, (down, along, 1, 1))
  bumps = jnp.where(turned, lying.T, lying)[..., None]
  bumps *= jax.random.rademacher(signs, (down, along, 1, 1, channels), jnp.float32)
  tiled = bumps.swapaxes(1, 2).reshape(down * size, along * size, channels)
  top, left = height % size, width % size
  room = ((top // 2, top - top // 2), (left // 2, left - left // 2), (0, 0))
  return jnp.pad(tiled, room)


def exchange(
  key: jax.Array, change: jax.Array, side: jax.Array, eps: float
) -> jax.Array:
  """A query's change: one window gets another's, and what is left of the ball.

  Args:
    key: of the image and the query.
    change: [h, w, c], of the best image so far.
    side: of both windows, at most h and w.
    eps: of the ball.
  """
  height, width, channels = change.shape
  here, there, turn, sign = jax.random.split(key, 4)
  rows, columns = _places(here, side, height, width)
  turned = jax.random.bernoulli(turn)
  shape = bump(
    jnp.where(turned, columns, rows),
    jnp.where(turned, rows, columns),
    side,
    max(height, width),
  )
  window = _inside(rows, columns, side)
  emptied = _inside(*_places(there, side, height, width), side)
  signs = jax.random.rademacher(sign, (channels,), jnp.float32)
  old = change * window
  new = shape[..., None] * signs + old / (_TINY + _norm(old))
  left = jnp.maximum(eps**2 - jnp.square(change).sum(), 0.0) / channels
  length = jnp.sqrt(left + jnp.square(_norm(change * (window | emptied))))
  new = new / (_TINY + _norm(new)) * length
  return jnp.where(window, new, jnp.where(emptied, 0.0, change))


def _places(
  key: jax.Array, side: jax.Array, height: int, width: int
) -> tuple[jax.Array, jax.Array]:
  """[h, 1] and [1, w]: rows and columns from the corner of a random window on."""
  room = jnp.array([height, width]) - side
  corner = jnp.floor(jax.random.uniform(key, (2,)) * room).astype(jnp.int32)
  return jnp.arange(height)[:, None] - corner[0], jnp.arange(width)[None] - corner[1]


def _inside(rows: jax.Array, columns: jax.Array, side: jax.Array) -> jax.Array:
  """[h, w, 1] bool: the window itself."""
  return ((rows >= 0) & (rows < side) & (columns >= 0) & (columns < side))[..., None]


def _norm(change: jax.Array) -> jax.Array:
  """[1, 1, c]: of each colour by itself."""
  return jnp.sqrt(jnp.square(change).sum((0, 1), keepdims=True))
