"""Operations and collectives, counted in what the compiler prints."""

import conftest
import jax
import jax.numpy as jnp
import pytest

from robustjax.models import norm as norms
from robustjax.models import resnet
from robustjax.preflight import cost
from robustjax.preflight.work import Traffic
from robustjax.runtime import parallel

F32 = jnp.float32


def shape(*dims):
  return jax.ShapeDtypeStruct(dims, F32)


def compiled(function, *arguments):
  return jax.jit(function).lower(*arguments).compile()


def flops(function, *arguments):
  return cost.analysis(compiled(function, *arguments).as_text()).total_flops


def conv(x, w, stride=1, padding="SAME", **dilation):
  numbers = ("NHWC", "HWIO", "NHWC")
  return jax.lax.conv_general_dilated(
    x, w, (stride, stride), padding, dimension_numbers=numbers, **dilation
  )


@pytest.mark.parametrize(
  "attributes",
  [
    {},
    {"stride": 2},
    {"padding": "VALID"},
    {"rhs_dilation": (2, 2)},
    {"lhs_dilation": (2, 2), "padding": [(1, 2), (2, 1)]},
    {"feature_group_count": 2},
    {"stride": 2, "padding": [(3, 2), (0, 4)]},
  ],
)
def test_a_convolution_counts_as_the_compilers_own_analysis_has_it(attributes):
  inputs = 4 // attributes.get("feature_group_count", 1)
  made = compiled(
    lambda x, w: conv(x, w, **attributes), shape(2, 9, 9, 4), shape(3, 3, inputs, 6)
  )
  assert cost.analysis(made.as_text()).total_flops == made.cost_analysis()["flops"] > 0


def test_gradients_of_a_convolution_cost_as_much_as_itself():
  x, w = shape(2, 8, 8, 4), shape(3, 3, 4, 6)
  forward = flops(lambda x, w: conv(x, w), x, w)
  for number in (0, 1):
    gradient = jax.grad(lambda x, w: (conv(x, w) ** 2).sum(), argnums=number)
    assert flops(gradient, x, w) == 2 * forward


def test_matrix_products():
  assert flops(jnp.dot, shape(3, 5), shape(5, 7)) == 2 * 3 * 5 * 7
  batched = "bij,bjk->bik"
  product = lambda a, b: jnp.einsum(batched, a, b)  # noqa: E731
  assert flops(product, shape(4, 3, 5), shape(4, 5, 7)) == 4 * 2 * 3 * 5 * 7


def powers(steps):
  return lambda x, w: jax.lax.fori_loop(0, steps, lambda _, y: y @ w, x)


def test_a_loops_trips_are_counted():
  once = 2 * 3 * 5 * 5
  work = cost.analysis(compiled(powers(7), shape(3, 5), shape(5, 5)).as_text())
  assert [loop.trips for loop in work.loops] == [7]
  assert work.total_flops == 7 * once and work.flops == 0
  assert work.with_trips(30).total_flops == 30 * once


def test_a_loop_whose_trips_are_not_said():
  def twice(x, w):
    y = jax.lax.fori_loop(0, 7, lambda _, y: conv(y, w), x)
    return y + y.sum()

  text = compiled(twice, shape(8, 32, 32, 4), shape(3, 3, 4, 4)).as_text()
  work = cost.analysis(text.replace('"known_trip_count"', '"unsaid"'))
  assert "unsaid" not in text and [loop.trips for loop in work.loops] == [7]


def test_loops_within_loops():
  def nested(x, w):
    return jax.lax.fori_loop(0, 3, lambda _, y: powers(5)(y, w) + y @ w, x)

  work = cost.analysis(compiled(nested, shape(3, 5), shape(5, 5)).as_text())
  assert work.total_flops == 3 * (5 + 1) * 2 * 3 * 5 * 5
  assert work.longest_loop.trips == 3 and work.unknown_loops == 0


def test_trips_that_only_the_run_knows_count_once():
  def some(x, w, n):
    return jax.lax.fori_loop(0, n, lambda _, y: y @ w, x)

  work = cost.analysis(compiled(some, shape(3, 5), shape(5, 5), 9).as_text())
  assert [loop.trips for loop in work.loops] == [None]
  assert work.unknown_loops == 1
  assert work.total_flops == 2 * 3 * 5 * 5


def test_of_two_branches_the_longer_counts():
  def either(x, w, long):
    return jax.lax.cond(long, lambda: powers(4)(x, w), lambda: x @ w)

  assert flops(either, shape(3, 5), shape(5, 5), True) == 4 * 2 * 3 * 5 * 5


# As the TPU compiler prints a loop: it says no trip count.
TPU = """HloModule jit_f, is_scheduled=true

%cond (param.1: (s32[], f32[3,5])) -> pred[] {
  %limit = s32[]{:T(128)} constant(30), metadata={op_name="jit(f)/while"}
  %param.1 = (s32[]{:T(128)}, f32[3,5]{1,0:T(8,128)(2,1)S(1)}) parameter(0)
  %gte = s32[]{:T(128)} get-tuple-element(%param.1), index=0
  ROOT %lt = pred[]{:T(512)} compare(%gte, %limit), direction=LT
}

%body (param.2: (s32[], f32[3,5])) -> (s32[], f32[3,5]) {
  %param.2 = (s32[]{:T(128)}, f32[3,5]{1,0:T(8,128)}) parameter(0)
  %one = s32[]{:T(128)} constant(STEP)
  %i = s32[]{:T(128)} get-tuple-element(%param.2), index=0
  %next = s32[]{:T(128)} add(%i, %one)
  %x = f32[3,5]{1,0:T(8,128)} get-tuple-element(%param.2), index=1
  %y = f32[3,5]{1,0:T(8,128)} convolution(%x, %x), dim_labels=bf_oi->bf
  ROOT %both = (s32[]{:T(128)}, f32[3,5]{1,0:T(8,128)}) tuple(%next, %y)
}

ENTRY %main (p: f32[3,5]) -> f32[3,5] {
  %p = f32[3,5]{1,0:T(8,128)} parameter(0)
  %zero = s32[]{:T(128)} constant(0)
  %start = s32[]{:T(128)} copy(%zero)
  %init = (s32[]{:T(128)}, f32[3,5]{1,0:T(8,128)}) tuple(%start, /*index=1*/%p)
  %loop = (s32[]{:T(128)}, f32[3,5]{1,0:T(8,128)}) while(%init), condition=%cond, body=%body
  %ars = f32[3,5]{1,0} all-reduce-start(%p), replica_groups={{0,1}}, to_apply=%add
  %ard = f32[3,5]{1,0} all-reduce-done(%ars)
  ROOT %out = f32[3,5]{1,0:T(8,128)} get-tuple-element(%loop), index=1
}
"""  # noqa: E501


@pytest.mark.parametrize(("step", "trips"), [(1, 30), (2, 15), (7, 5)])
def test_trips_follow_from_where_a_loop_counts_from_and_to(step, trips):
  work = cost.analysis(TPU.replace("STEP", str(step)))
  assert [loop.trips for loop in work.loops] == [trips]
  assert work.total_flops == trips * 2 * 3 * 5 * 5


def test_a_collective_in_two_halves_counts_once():
  work = cost.analysis(TPU.replace("STEP", "1"))
  assert work.total_collectives == {"all-reduce": Traffic(1, 3 * 5 * 4)}


def test_collectives_and_their_bytes_a_device():
  mesh = parallel.mesh()

  def step(x):
    def body(_, y):
      return jax.lax.psum(y, parallel.AXIS) / 8

    y = jax.lax.fori_loop(0, 3, body, x)
    return y, jax.lax.all_gather(x.astype(jnp.bfloat16), parallel.AXIS)

  mapped = parallel.pmap(step, mesh, (0,), (0, None))
  work = cost.analysis(mapped.lower(shape(16, 5)).compile().as_text())
  found = work.total_collectives
  assert found["all-reduce"] == Traffic(3, 3 * 2 * 5 * 4)
  assert found["all-gather"].count == 1
  # The CPU gathers bfloat16 as it is, or widened.
  assert found["all-gather"].bytes in (2 * 5 * 2, 2 * 5 * 4)


def test_library_calls_are_named():
  call = 'custom-call(%x), custom_call_target="__cudnn$convForward"'
  text = TPU.replace("STEP", "1").replace(
    "convolution(%x, %x), dim_labels=bf_oi->bf", call
  )
  work = cost.analysis(text)
  assert work.all_uncounted == {"__cudnn$convForward"}


def forward_flops(depth):
  net = resnet.make(depth, norm=norms.batch(), dtype=jnp.bfloat16)
  images = shape(1, 224, 224, 3)
  variables = jax.eval_shape(net.init, jax.random.key(0), images)
  return flops(net.apply, variables, images)


def test_a_network_has_the_operations_that_are_published():
  # He et al. 2016, table 1: 1.8e9 multiply-adds, those on padding among them.
  assert forward_flops(18) == pytest.approx(2 * 1.8e9, rel=0.08)


@pytest.mark.slow
def test_a_deep_network_has_the_operations_that_are_published():
  # The same: 11.3e9 for 152 layers.
  assert forward_flops(152) == pytest.approx(2 * 11.3e9, rel=0.06)


def test_the_tiny_net_of_the_tests_counts_too():
  net = conftest.tiny()
  images = shape(2, 8, 8, 3)
  variables = jax.eval_shape(net.init, jax.random.key(0), images)
  made = compiled(net.apply, variables, images)
  own, theirs = cost.analysis(made.as_text()).total_flops, made.cost_analysis()["flops"]
  assert 0.5 * theirs < own < theirs  # theirs has the additions of norms too


ASYNC = """HloModule jit_f

%begin (a: f32[3,5]) -> (f32[3,5], f32[24,5]) {
  %a = f32[3,5]{1,0} parameter(0)
  %g = f32[24,5]{1,0} all-gather(%a), channel_id=2, dimensions={0}
  ROOT %s = (f32[3,5]{1,0}, f32[24,5]{1,0}) custom-call(%g), custom_call_target="AsyncCollectiveStart"
}

%async_collective_fusion.1 (b: f32[3,5], c: f32[5,5]) -> f32[3,5] {
  %b = f32[3,5]{1,0} parameter(0)
  %c = f32[5,5]{1,0} parameter(1)
  %g.1 = f32[24,5]{1,0} all-gather(%b), channel_id=2, dimensions={0}
  ROOT %y = f32[3,5]{1,0} convolution(%b, %c), dim_labels=bf_io->bf
}

%end (d: f32[3,5]) -> f32[24,5] {
  %d = f32[3,5]{1,0} parameter(0)
  %g.2 = f32[24,5]{1,0} all-gather(%d), channel_id=2, dimensions={0}
  ROOT %e = f32[24,5]{1,0} custom-call(%d, %g.2), custom_call_target="AsyncCollectiveDone"
}

ENTRY %main (p: f32[3,5], q: f32[5,5]) -> f32[24,5] {
  %p = f32[3,5]{1,0} parameter(0)
  %q = f32[5,5]{1,0} parameter(1)
  %start = (f32[3,5]{1,0}, f32[24,5]{1,0}) fusion(%p), kind=kCustom, calls=%begin
  %fusion = f32[3,5]{1,0} fusion(%p, %q), kind=kOutput, calls=%async_collective_fusion.1
  ROOT %done = f32[24,5]{1,0} fusion(%fusion), kind=kCustom, calls=%end
}
"""  # noqa: E501


def test_a_tpus_asynchronous_collective_counts_once():
  found = cost.analysis(ASYNC)
  assert found.total_collectives == {"all-gather": Traffic(1, 3 * 5 * 4)}
  assert found.total_flops == 2 * 3 * 5 * 5


def test_an_asynchronous_computation_counts_once():
  text = TPU.replace("STEP", "1").replace(
    "all-reduce-start(%p), replica_groups={{0,1}}, to_apply=%add",
    "async-start(%p), calls=%body",
  )
  text = text.replace("all-reduce-done(%ars)", "async-done(%ars), calls=%body")
  one = 2 * 3 * 5 * 5
  assert cost.analysis(text).total_flops == 30 * one + one
