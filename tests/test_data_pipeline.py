"""The pipeline's promises: sharding, resuming, exact counts."""

import numpy as np
import pytest
from data_batches import (
  PLAIN,
  SMALL,
  assert_same,
  evaluate,
  joined,
  one_line,
  png,
  toy,
  train,
)

from robustjax.data import decode, order, pipeline, sources, transforms


def test_batches_hold_what_record_says():
  source = toy(21)
  batches = train(source, transform=transforms.by_name("none", True, 6))
  indices = np.concatenate([b["index"] for b in batches])
  expected = [order.record(p, 21, seed=7)[1] for p in range(48)]
  assert indices.tolist() == expected
  for batch in batches:
    assert batch["image"].shape == (8, 6, 6, 1)
    assert (batch["image"].dtype, batch["label"].dtype) == (np.uint8, np.int32)
    assert batch["index"].dtype == np.int32
    for image, label, index in zip(
      batch["image"], batch["label"], batch["index"], strict=True
    ):
      assert label == index % 3
      original = decode.decode(source[int(index)]["image"], 1)
      np.testing.assert_array_equal(image, original)


@pytest.mark.parametrize("processes", [2, 4, 8])
def test_processes_share_the_same_global_batches(processes):
  source = toy(21)
  shards = [
    train(source, process_index=p, process_count=processes) for p in range(processes)
  ]
  assert shards[0][0]["image"].shape[0] == 8 // processes
  assert_same(joined(shards), train(source))


@pytest.mark.parametrize("step", [1, 3, 5, 6])
def test_resuming_gives_the_rest(step):
  source = toy(21)
  assert_same(train(source, first_step=step), train(source)[step:])


def test_a_late_start_reads_nothing_earlier():
  read = []

  class Counting(list):
    def __getitem__(self, index):
      read.append(index)
      return super().__getitem__(index)

  source = toy(21)
  source = sources.Source(
    "toy", "train", source.class_names, (6, 6, 1), Counting(source.records)
  )
  train(source, first_step=10**12, last_step=10**12 + 1)
  assert len(read) == 8


def test_augmentation_depends_on_seed_epoch_and_index_only():
  source = toy(5)
  by_position = {}
  for size in (1, 3, 4):
    batches = train(source, batch_size=size, last_step=60 // size)
    images = np.concatenate([b["image"] for b in batches])
    by_position[size] = images
  np.testing.assert_array_equal(by_position[1], by_position[3])
  np.testing.assert_array_equal(by_position[1], by_position[4])
  # The same image over 12 epochs: 50 views exist, so chance repeats only a few.
  where = [p for p in range(60) if order.record(p, 5, seed=7)[1] == 2]
  assert len({by_position[1][p].tobytes() for p in where}) > 6
  other = np.concatenate([b["image"] for b in train(source, seed=8)])
  assert (other != by_position[1][:48]).any()


def test_augmentation_differs_between_images():
  one = np.random.default_rng(0).integers(0, 256, (6, 6), dtype=np.uint8)
  records = [{"image": png(one), "label": 0}] * 40
  source = sources.Source("toy", "train", ("a",), (6, 6, 1), records)
  (batch,) = train(source, batch_size=40, last_step=1)
  assert len({image.tobytes() for image in batch["image"]}) > 20


@pytest.mark.parametrize("batch", [1, 4, 12, 60])
@pytest.mark.parametrize("n", [1, 7, 24])
def test_evaluation_counts_every_image_once(n, batch):
  source = toy(n)
  for processes in (p for p in (1, 2, 4) if batch % p == 0):
    shards = [
      evaluate(
        source,
        indices=range(n),
        batch_size=batch,
        process_index=p,
        process_count=processes,
      )
      for p in range(processes)
    ]
    assert len({len(shard) for shard in shards}) == 1
    batches = joined(shards)
    assert all(b["image"].shape == (batch, 6, 6, 1) for b in batches)
    mask = np.concatenate([b["mask"] for b in batches])
    index = np.concatenate([b["index"] for b in batches])
    assert mask.dtype == np.bool_
    assert index[mask].tolist() == list(range(n))
    assert (index[~mask] == -1).all()
    images = np.concatenate([b["image"] for b in batches])[mask]
    labels = np.concatenate([b["label"] for b in batches])[mask]
    expected = [decode.decode(source[i]["image"], 1) for i in range(n)]
    np.testing.assert_array_equal(images, expected)
    assert labels.tolist() == [i % 3 for i in range(n)]


def test_evaluation_of_a_part():
  (first, second) = evaluate(toy(21), indices=range(15, 20), batch_size=3)
  assert first["index"].tolist() == [15, 16, 17]
  assert second["index"].tolist() == [18, 19, -1]
  assert second["mask"].tolist() == [True, True, False]
  # What fills the batch up is an image of that part.
  np.testing.assert_array_equal(second["image"][2], first["image"][0])
  assert second["label"][2] == first["label"][0] == 15 % 3


def test_chosen_images_are_those_of_an_evaluation():
  source = toy(9)
  (whole,) = evaluate(source, indices=range(9), batch_size=9)
  found = pipeline.batch_of(source, PLAIN, np.array([7, 2, 2]))
  for key, values in found.items():
    np.testing.assert_array_equal(values, whole[key][[7, 2, 2]], err_msg=key)


@pytest.mark.parametrize(
  ("changes", "pattern"),
  [
    ({"process_count": 3}, "batch of 8 cannot be shared by 3 processes"),
    ({"batch_size": 0}, "batch of 0"),
    ({"process_count": 0}, "batch of 8 cannot be shared by 0"),
    ({"process_count": 2, "process_index": 2}, r"process 2 is not one of 0\.\.1"),
    ({"seed": -1}, "seed is -1"),
    ({"seed": 2**32}, "seed is 4294967296"),
    ({"first_step": 7}, "steps 7 to 6"),
    ({"workers": -1}, "workers is -1"),
  ],
)
def test_impossible_numbers_are_named_at_the_call(changes, pattern):
  options = {"seed": 7, "batch_size": 8, "first_step": 0, "last_step": 6}
  with one_line(pattern):
    pipeline.train_batches(toy(2), SMALL, **(options | changes))


@pytest.mark.parametrize(("first", "count"), [(-1, 2), (0, 0), (0, 22), (21, 1)])
def test_evaluation_outside_the_source_is_refused(first, count):
  with one_line("has 0 to 20"):
    pipeline.evaluation_batches(
      toy(21), PLAIN, indices=range(first, first + count), batch_size=4
    )


def test_an_empty_source_is_refused():
  with one_line("toy, split train, is empty"):
    train(toy(0))
