"""Bytes that pass a device's main memory, in what the compilers print."""

import jax
import jax.numpy as jnp
import pytest

from robustjax.preflight import cost

ROW = 4 * 128  # bytes of f32[128]


def module(lines, computations=""):
  body = "\n".join(f"  {line}" for line in lines)
  head = "ENTRY %main (p: f32[8,128]) -> f32[8,128] {\n"
  return f"HloModule m\n\n{computations}\n{head}{body}\n}}\n"


def moved(*lines, computations=""):
  """Of lines that take %p, in main memory, and %near, which is not."""
  given = [
    "%p = f32[8,128]{1,0:T(8,128)} parameter(0)",
    "%near = f32[8,128]{1,0:T(8,128)S(1)} parameter(1)",
    "%i = s32[]{:T(128)S(6)} parameter(2)",
  ]
  return cost.analysis(module([*given, *lines], computations)).total_bytes


def test_operands_are_read_and_the_result_is_written():
  assert moved("%y = f32[8,128]{1,0:T(8,128)} add(%p, %p)") == 3 * 8 * ROW
  assert moved("%y = f32[8,128]{1,0:T(8,128)} add(%p, %near)") == 2 * 8 * ROW
  assert moved("%y = f32[8,128]{1,0:T(8,128)S(1)} negate(%near)") == 0


def test_padding_moves_too():
  assert moved("%y = f32[8,3]{1,0:T(8,128)} slice(%near)") == 8 * ROW


@pytest.mark.parametrize(
  "line",
  [
    "%y = (f32[8,128]{1,0}) tuple(%p)",
    "%y = f32[1024]{0} bitcast(%p)",
    "%y = f32[8,128]{1,0:T(8,128)} copy-done(%p)",
    '%y = f32[8,128]{1,0} custom-call(), custom_call_target="AllocateBuffer"',
    '%y = f32[8,128]{1,0} custom-call(%p), custom_call_target="ConcatBitcast"',
  ],
)
def test_names_move_nothing(line):
  assert moved(line) == 0


def test_a_copy_to_or_from_the_nearer_memory_passes_the_main_one_once():
  context = "u32[]{:S(2)}"
  here, there = "f32[8,128]{1,0:T(8,128)}", "f32[8,128]{1,0:T(8,128)S(1)}"
  once = 8 * ROW
  assert moved(f"%y = ({there}, {here}, {context}) copy-start(%p)") == once
  assert moved(f"%y = ({here}, {there}, {context}) copy-start(%near)") == once
  begun = f"%y = (({here}), f32[2,128]{{1,0:T(2,128)S(1)}}, s32[]{{:S(2)}})"
  assert moved(f"{begun} slice-start(%p), slice={{[0:2], [0:128]}}") == 2 * ROW
  inside = """%part (a: f32[8,128]) -> f32[2,128] {
  %a = f32[8,128]{1,0:T(8,128)} parameter(0)
  ROOT %s = f32[2,128]{1,0:T(2,128)S(1)} slice(%a), slice={[0:2], [0:128]}
}
"""
  line = f"{begun} async-start(%p), calls=%part"
  assert moved(line, computations=inside) == 2 * ROW


FUSED = """%fused (a: f32[8,128], b: f32[8,128], i: s32[]) -> f32[8,128] {
  %a = f32[8,128]{1,0:T(8,128)} parameter(0)
  %b = f32[8,128]{1,0:T(8,128)} parameter(1)
  %i = s32[]{:T(128)} parameter(2)
LINES
}
"""
CALL = "%y = f32[8,128]{1,0:T(8,128)} fusion(%p, %p, %i), kind=kLoop, calls=%fused"


def fused(*lines):
  text = FUSED.replace("LINES", "\n".join(f"  {line}" for line in lines))
  return moved(CALL, computations=text)


def test_inside_a_fusion_nothing_moves():
  lines = (
    "%x = f32[8,128]{1,0:T(8,128)} add(%a, %b)",
    "%z = f32[8,128]{1,0:T(8,128)} multiply(%x, %a)",
    "ROOT %r = f32[8,128]{1,0:T(8,128)} negate(%z)",
  )
  assert fused(*lines) == 3 * 8 * ROW


def test_of_what_a_fusion_slices_or_updates_the_part_counts():
  slice_ = "%s = f32[1,128]{1,0:T(1,128)} dynamic-slice(%a, %i, %i)"
  whole = "ROOT %r = f32[8,128]{1,0:T(8,128)} add(%b, %b)"
  assert fused(slice_, whole) == ROW + 2 * 8 * ROW
  update = "ROOT %r = f32[8,128]{1,0:T(8,128)} dynamic-update-slice(%b, %s, %i, %i)"
  assert fused(slice_, update) == 2 * ROW  # %b stays where it is
  assert fused(slice_, "%c = f32[1024]{0} bitcast(%a)", update) == 2 * ROW
  both = "%d = f32[8,128]{1,0:T(8,128)} negate(%a)"
  assert fused(slice_, both, update) == ROW + 8 * ROW


COPY = """%copied (c: f32[8,128]) -> f32[8,128] {
  %c = f32[8,128]{1,0:T(8,128)} parameter(0)
  ROOT %d = f32[8,128]{1,0:T(4,128)} copy(%c)
}

"""


def test_a_fusion_is_followed_through_other_forms_of_what_it_slices():
  """As TPUs have it where the masks of a loop's blocks are one array."""
  same = "%c = f32[8,128]{1,0:T(4,128)} fusion(%a), kind=kLoop, calls=%copied"
  slice_ = "%s = f32[1,128]{1,0:T(1,128)} dynamic-slice(%c, %i, %i)"
  update = "ROOT %r = f32[8,128]{1,0} dynamic-update-slice(%b, %s, %i, %i)"
  lines = "\n".join(f"  {line}" for line in (same, slice_, update))
  text = FUSED.replace("LINES", lines)
  assert moved(CALL, computations=COPY + text) == 2 * ROW
  whole = text.replace(slice_, "%s = f32[8,128]{1,0} negate(%c)")
  assert moved(CALL, computations=COPY + whole) == 2 * 8 * ROW


def test_what_a_fusion_converts_or_hands_on_is_read_as_it_lies():
  narrow = "%h = bf16[8,128]{1,0:T(8,128)(2,1)} convert(%a)"
  used = "ROOT %r = f32[8,128]{1,0:T(8,128)} add(%h, %h)"
  assert fused(narrow, used) == 2 * 8 * ROW
  assert fused("ROOT %r = f32[8,128]{1,0:T(8,128)} copy(%a)") == 2 * 8 * ROW


def test_a_compiled_programs_loop_moves_its_body_each_time():
  def powers(x, w):
    return jax.lax.fori_loop(0, 7, lambda _, y: y @ w, x)

  x = jax.ShapeDtypeStruct((64, 64), jnp.float32)
  text = jax.jit(powers).lower(x, x).compile().as_text()
  (loop,) = cost.analysis(text).loops
  assert loop.trips == 7 and loop.body.bytes >= 3 * 64 * 64 * 4
  assert cost.analysis(text).total_bytes >= 7 * loop.body.bytes
