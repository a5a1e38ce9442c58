"""The part of the peak that a run reaches."""

import jax
import jax.numpy as jnp
import pytest

from robustjax.preflight import chips, reached


def powers(x, w):
  return jax.lax.fori_loop(0, 5, lambda _, y: y @ w, x)


def compiled(*arguments):
  return jax.jit(powers).lower(*arguments).compile().as_text()


def test_seconds_are_all_operations_over_the_peak_of_a_device():
  x = jax.ShapeDtypeStruct((8, 8), jnp.float32)
  text, flops = compiled(x, x), 5 * 2 * 8**3
  v3, h100 = chips.CHIPS["v3"], "NVIDIA H100 80GB HBM3"
  assert reached.at_peak("TPU v3", False)(text) == pytest.approx(flops * 2 / v3.peak)
  exact = reached.at_peak("TPU v3", True)(text)
  assert exact == pytest.approx(flops * 12 / v3.peak)
  bfloat16, float32, _ = chips.GPUS[h100]
  assert reached.at_peak(h100, False)(text) == pytest.approx(flops / bfloat16)
  assert reached.at_peak(h100, True)(text) == pytest.approx(flops / float32)


def test_what_is_not_known_is_left_out():
  assert reached.at_peak("cpu", False) is None
  seconds = reached.at_peak("TPU v4", False)
  x = jax.ShapeDtypeStruct((8, 8), jnp.float32)
  text = jax.jit(lambda n, x: jax.lax.fori_loop(0, n, lambda _, y: y @ x, x))
  assert seconds(text.lower(jnp.int32(3), x).compile().as_text()) is None


def test_every_kind_has_its_chip():
  assert set(reached._TPUS.values()) == set(chips.CHIPS)
