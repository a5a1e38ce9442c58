"""Broken images: named, skipped alike everywhere, replaced by the next readable one."""

import dataclasses

import numpy as np
import pytest
from data_batches import (
  PLAIN,
  assert_same,
  broken,
  evaluate,
  joined,
  one_line,
  parsed_flags,  # noqa: F401
  toy,
  train,
)
from data_files import image_folder

from robustjax.data import pipeline, sources, transforms


@pytest.mark.parametrize("workers", [0, 1])
def test_an_undecodable_image_is_named(workers):
  source = toy(4)
  source.records[2]["image"] = b"\x89PNG broken"
  with one_line(r"toy, split train, index 2 \(record 2\): .*not a readable.*=skip"):
    train(source, workers=workers)


def test_an_undecodable_image_is_named_in_evaluation():
  source = toy(4)
  source.records[2]["image"] = b""
  first, *_ = evaluate(source, indices=range(2), batch_size=2)
  assert first["mask"].all()
  with one_line(r"toy, split train, index 2 \(record 2\): .*not a readable.*=skip"):
    evaluate(source, indices=range(1, 4), batch_size=2)


def test_skipping_changes_nothing_where_nothing_is_broken():
  source = toy(21)
  for batch, plain in zip(train(source, skip_broken=True), train(source), strict=True):
    assert not batch.pop("skipped").any()
    assert_same([batch], [plain])
  options = {"indices": range(2, 19), "batch_size": 4}
  found = evaluate(source, **options, skip_broken=True)
  assert not any(batch.pop("skipped").any() for batch in found)
  assert_same(found, evaluate(source, **options))


def test_the_next_readable_image_takes_a_broken_ones_place():
  plain, source = train(toy(21)), broken(21, 3, 4, 20)
  found = train(source, skip_broken=True)
  taken = {3: (5, 2), 4: (5, 1), 20: (0, 1)}
  for batch, before in zip(found, plain, strict=True):
    expected = [taken.get(i, (i, 0)) for i in before["index"].tolist()]
    assert list(zip(batch["index"], batch["skipped"], strict=True)) == expected
    assert (batch["label"] == batch["index"] % 3).all()
    whole = batch["skipped"] == 0
    np.testing.assert_array_equal(batch["image"][whole], before["image"][whole])
  assert sum(batch["skipped"].sum() for batch in found) > 3


def test_a_replacement_has_its_own_augmentation():
  """What the same image would look like at its own place in the same epoch."""
  batches = train(broken(21, 3), skip_broken=True, last_step=21)
  seen = {}
  for step, batch in enumerate(batches):
    for row, index in enumerate(batch["index"].tolist()):
      epoch = (step * 8 + row) // 21
      image = batch["image"][row].tobytes()
      assert seen.setdefault((epoch, index), image) == image
  assert sum(b["skipped"].sum() for b in batches) == 8  # once in each epoch


BROKEN = (0, 5, 6, 17)
WAYS = pytest.mark.parametrize(
  ("processes", "workers"),
  [
    (2, 0),
    pytest.param(2, 2, marks=[pytest.mark.slow, pytest.mark.thorough]),
  ],
)


@WAYS
def test_broken_images_are_skipped_alike_everywhere(processes, workers):
  source = broken(21, *BROKEN)
  options = {"skip_broken": True, "last_step": 5}
  shards = [
    train(source, workers=workers, process_index=p, process_count=processes, **options)
    for p in range(processes)
  ]
  assert_same(joined(shards), train(source, **options))
  assert_same(train(source, first_step=3, **options), train(source, **options)[3:])
  counted = {"indices": range(20), "batch_size": 8, "skip_broken": True}
  shards = [
    evaluate(
      source, workers=workers, process_index=p, process_count=processes, **counted
    )
    for p in range(processes)
  ]
  assert_same(joined(shards), evaluate(source, **counted))


@pytest.mark.parametrize("batch_size", [1, 4, 30])
def test_evaluation_counts_every_readable_image_once(batch_size):
  source = broken(21, *BROKEN)
  batches = evaluate(source, indices=range(21), batch_size=batch_size, skip_broken=True)
  mask, index, skipped, label = (
    np.concatenate([batch[key] for batch in batches])
    for key in ("mask", "index", "skipped", "label")
  )
  assert index[mask].tolist() == [i for i in range(21) if i not in BROKEN]
  assert index[skipped == 1].tolist() == list(BROKEN)
  assert not mask[skipped == 1].any() and (index[~mask & (skipped == 0)] == -1).all()
  assert (label[~mask] == 1).all()  # padding repeats image 1, the first readable one


def test_a_skipped_image_is_named_once_on_stderr(capsys):
  source = dataclasses.replace(broken(21, 3, 4), name="once")
  for _ in range(2):
    train(source, skip_broken=True, last_step=9)
    evaluate(source, indices=range(21), batch_size=4, skip_broken=True)
  out, err = capsys.readouterr()
  first, second = sorted(err.splitlines())
  assert out == "" and first.startswith(
    "skipped: once, split train, index 3 (record 3)"
  )
  assert "index 4" in second


@pytest.mark.parametrize("n", [5, 300])
def test_a_long_streak_stops_in_any_case(n):
  source = broken(n, *range(n))
  with one_line("100 broken images in a row, .* toy, split train, index"):
    train(source, skip_broken=True)
  with one_line("100 broken images in a row"):
    evaluate(source, indices=range(n), batch_size=4, skip_broken=True)
  source = broken(300, *range(100, 200))
  with one_line("100 broken images in a row, .* index 199"):
    evaluate(source, indices=range(300), batch_size=30, skip_broken=True)
  source = broken(300, *range(100, 199))
  assert (
    len(evaluate(source, indices=range(300), batch_size=30, skip_broken=True)) == 10
  )


def test_many_broken_images_apart_do_not_stop():
  source = broken(300, *range(0, 300, 2))
  batches = evaluate(source, indices=range(300), batch_size=30, skip_broken=True)
  assert sum(batch["mask"].sum() for batch in batches) == 150


def test_another_mistake_is_never_skipped():
  source = toy(4)
  source.records[2]["label"] = 3
  with one_line(r"index 2 \(record 2\): label 3 is not one of"):
    train(source, skip_broken=True)
  with one_line(r"index \d \(record \d\): an image of 6 x 6 pixels"):
    train(broken(4), transforms.by_name("none", True, 7), batch_size=1, last_step=9)


def test_chosen_images_are_replaced_too():
  source = broken(9, 2)
  found = pipeline.batch_of(source, PLAIN, [1, 2], skip_broken=True)
  assert found["index"].tolist() == [1, 3] and set(found) == {"image", "label", "index"}
  with one_line("index 2"):
    pipeline.batch_of(source, PLAIN, [1, 2])


@pytest.fixture(scope="module")
def jpegs(tmp_path_factory):
  """A folder of JPEGs of many sizes, one of them cut short."""
  folder = image_folder(tmp_path_factory.mktemp("jpegs"), {"train": 8})
  path = folder / "train" / "dog" / "dog_3.jpg"
  path.write_bytes(path.read_bytes()[:-200])
  return sources.open_source(str(folder), split="train")


@WAYS
def test_images_of_many_sizes_come_alike_everywhere(jpegs, processes, workers):
  transform = transforms.by_name("imagenet", True, 24)
  options = {"last_step": 4, "skip_broken": True}
  shards = [
    train(
      jpegs, transform, workers=workers, process_index=p, process_count=processes,
      **options,
    )
    for p in range(processes)
  ]  # fmt: skip
  whole = train(jpegs, transform, **options)
  assert_same(joined(shards), whole)
  assert whole[0]["image"].shape == (8, 24, 24, 3)
  assert sum(batch["skipped"].sum() for batch in whole) == 2  # in two epochs


def test_a_broken_file_is_named_by_its_path(jpegs):
  with one_line("dog/dog_3.jpg.*not a readable image"):
    evaluate(
      jpegs, transforms.by_name("imagenet", False, 24), indices=range(8, 16),
      batch_size=8, workers=1,
    )  # fmt: skip
