"""The search for the largest batch, on memories that are made up."""

import pytest

from robustjax.preflight.largest import largest


def search(memory, hbm, start, group=32):
  asked = []

  def needed(images):
    asked.append(images)
    return memory(images)

  made = largest(needed, group=group, hbm=hbm, known=(start, memory(start)))
  assert len(asked) <= 4 and start not in asked and len(set(asked)) == len(asked)
  return made


@pytest.mark.parametrize("start", [32, 64, 128, 512, 4096])
@pytest.mark.parametrize("hbm", [1000, 1500, 10000])
def test_on_a_line_it_is_found(start, hbm):
  def memory(n):
    return 200 + 7 * n

  made = search(memory, hbm, start)
  exact = (hbm - 200) // 7 // 32 * 32
  assert made.images == exact and made.needed == memory(exact) <= hbm


def test_nothing_fits():
  made = search(lambda n: 900 + n, 500, 64)
  assert made.images == 0 and made.needed == 0
  assert set(made.tried) == {64, 32}


def test_not_even_the_first_group():
  assert search(lambda n: 900 + n, 500, 32).images == 0


@pytest.mark.parametrize("start", [32, 64, 256, 1024])
def test_off_the_line_the_answer_still_fits_and_was_compiled(start):
  # As where the compiler computes again what does not fit: flatter at the end.
  def memory(n):
    return 100 + 10 * n - 0.003 * n * n

  made = search(memory, 5000, start)
  assert made.images % 32 == 0
  assert made.images in made.tried and made.tried[made.images] <= 5000
  assert made.needed == made.tried[made.images]
  assert made.images >= 32 * 12  # 576 would fit: not far


def test_a_refusal_without_a_number_is_no_size():
  def memory(n):
    return 100 + n if n <= 200 else None

  made = search(memory, 10**6, 512)
  assert 0 < made.images <= 192


def test_below_a_refusal_without_a_number_the_next_size_is_tried():
  made = search(lambda n: 7 * n if n <= 100 else None, 7 * 128 + 20, 32)
  assert made.images == 96 and made.next_refused


def test_the_next_size_may_have_been_refused():
  made = search(lambda n: 7 * n, 7 * 40, 32)
  assert made.images == 32 and made.tried[64] == 7 * 64 and made.next_refused
  assert not search(lambda n: 7 * n, 7 * 1000, 32).next_refused


@pytest.mark.parametrize("start", [64, 256])
def test_around_refusals_without_numbers_the_largest_is_found(start):
  made = search(lambda n: 7 * n if n <= 100 else None, 10**6, start)
  assert made.images == 96
