"""The pipeline's promises: order, sharding, resuming, workers, exact counts."""

import dataclasses
import io

import numpy as np
import pytest
from absl import flags
from data_files import image_folder
from PIL import Image

from robustjax.data import decode, pipeline, sources, transforms
from robustjax.errors import UserError

SMALL = transforms.by_name("small", True, 6)
PLAIN = transforms.by_name("none", False, 6)


@pytest.fixture(autouse=True)
def parsed_flags():
  """Grain's workers read absl's flags, which pytest does not parse."""
  flags.FLAGS.mark_as_parsed()
  yield
  flags.FLAGS.unparse_flags()


def png(pixels):
  out = io.BytesIO()
  Image.fromarray(pixels).save(out, "PNG")
  return out.getvalue()


def toy(n):
  """A source in memory of n random images, the label being index % 3."""
  rng = np.random.default_rng(0)
  images = rng.integers(0, 256, (n, 6, 6), dtype=np.uint8)
  records = [{"image": png(x), "label": i % 3} for i, x in enumerate(images)]
  return sources.Source("toy", "train", ("a", "b", "c"), (6, 6, 1), records)


def train(source, transform=SMALL, **changes):
  options = {"seed": 7, "batch_size": 8, "first_step": 0, "last_step": 6}
  return list(pipeline.train_batches(source, transform, **(options | changes)))


def evaluate(source, transform=PLAIN, **options):
  return list(pipeline.evaluation_batches(source, transform, **options))


def assert_same(first, second):
  assert len(first) == len(second)
  for a, b in zip(first, second, strict=True):
    assert a.keys() == b.keys()
    for key in a:
      assert a[key].dtype == b[key].dtype
      np.testing.assert_array_equal(a[key], b[key], err_msg=key)


def joined(shards):
  """The global batches that the processes' local ones make up, in order."""
  return [
    {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    for parts in zip(*shards, strict=True)
  ]


@pytest.mark.parametrize("n", [1, 2, 3, 5, 64, 65, 1000])
def test_every_epoch_is_a_permutation(n):
  for epoch in range(3):
    records = [pipeline.record(epoch * n + i, n, seed=11) for i in range(n)]
    assert {e for e, _ in records} == {epoch}
    assert sorted(i for _, i in records) == list(range(n))


def test_epochs_and_seeds_differ():
  def order(epoch, seed):
    return tuple(pipeline.record(epoch * 200 + i, 200, seed)[1] for i in range(200))

  orders = {order(epoch, seed) for epoch in range(4) for seed in (0, 1, 2**32 - 1)}
  assert len(orders) == 12
  assert tuple(range(200)) not in orders


def test_the_order_mixes():
  # A shuffle that kept neighbours together would put one class into one batch,
  # were the images sorted by class.
  n = 1000
  places = np.array([pipeline.record(i, n, seed=3)[1] for i in range(n)])
  means = places.reshape(10, 100).mean(axis=1)
  assert np.abs(means - n / 2).max() < 120
  assert np.mean(np.abs(np.diff(places)) < 10) < 0.05


def test_batches_hold_what_record_says():
  source = toy(21)
  batches = train(source, transform=transforms.by_name("none", True, 6))
  indices = np.concatenate([b["index"] for b in batches])
  expected = [pipeline.record(p, 21, seed=7)[1] for p in range(48)]
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
  where = [p for p in range(60) if pipeline.record(p, 5, seed=7)[1] == 2]
  assert len({by_position[1][p].tobytes() for p in where}) > 6
  other = np.concatenate([b["image"] for b in train(source, seed=8)])
  assert (other != by_position[1][:48]).any()


def test_augmentation_differs_between_images():
  one = np.random.default_rng(0).integers(0, 256, (6, 6), dtype=np.uint8)
  records = [{"image": png(one), "label": 0}] * 40
  source = sources.Source("toy", "train", ("a",), (6, 6, 1), records)
  (batch,) = train(source, batch_size=40, last_step=1)
  assert len({image.tobytes() for image in batch["image"]}) > 20


def test_workers_change_nothing():
  source = sources.open_source("fashion_mnist_mini", split="train")
  transform = transforms.by_name("small", True, 28)
  # Seven batches: not a multiple of the number of workers.
  options = {"batch_size": 30, "first_step": 330, "last_step": 337}
  assert_same(
    train(source, transform, **options, workers=2), train(source, transform, **options)
  )


def test_workers_change_nothing_in_evaluation():
  source, options = broken(21, 5, 6), {"first": 2, "count": 17, "batch_size": 4}
  options["skip_broken"] = True
  assert_same(evaluate(source, **options, workers=2), evaluate(source, **options))


@pytest.mark.parametrize("batch", [1, 4, 12, 60])
@pytest.mark.parametrize("n", [1, 7, 24])
def test_evaluation_counts_every_image_once(n, batch):
  source = toy(n)
  for processes in (p for p in (1, 2, 4) if batch % p == 0):
    shards = [
      evaluate(
        source,
        first=0,
        count=n,
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
  (first, second) = evaluate(toy(21), first=15, count=5, batch_size=3)
  assert first["index"].tolist() == [15, 16, 17]
  assert second["index"].tolist() == [18, 19, -1]
  assert second["mask"].tolist() == [True, True, False]
  # What fills the batch up is an image of that part.
  np.testing.assert_array_equal(second["image"][2], first["image"][0])
  assert second["label"][2] == first["label"][0] == 15 % 3


def test_chosen_images_are_those_of_an_evaluation():
  source = toy(9)
  (whole,) = evaluate(source, first=0, count=9, batch_size=9)
  found = pipeline.batch_of(source, PLAIN, np.array([7, 2, 2]))
  for key, values in found.items():
    np.testing.assert_array_equal(values, whole[key][[7, 2, 2]], err_msg=key)


def test_steps_per_epoch():
  assert pipeline.steps_per_epoch(1281167, 4096) == 313
  assert pipeline.steps_per_epoch(1281167, 256) == 5005
  assert pipeline.steps_per_epoch(10, 4096) == 1


def test_seeds_reach_the_rng():
  def draw(*key):
    return pipeline.augmentation_rng(*key).integers(2**62)

  keys = [(s, e, i) for s in (0, 1, 2**32 - 1) for e in (0, 1) for i in (0, 1, 2)]
  assert len({draw(*key) for key in keys}) == len(keys)
  assert draw(1, 2, 3) == draw(1, 2, 3)


def one_line(pattern):
  return pytest.raises(UserError, match=rf"\A[^\n]*{pattern}[^\n]*\Z")


@pytest.mark.parametrize("workers", [0, 1])
def test_an_undecodable_image_is_named(workers):
  source = toy(4)
  source.records[2]["image"] = b"\x89PNG broken"
  with one_line(r"toy, split train, index 2 \(record 2\): .*not a readable.*=skip"):
    train(source, workers=workers)


def test_an_undecodable_image_is_named_in_evaluation():
  source = toy(4)
  source.records[2]["image"] = b""
  first, *_ = evaluate(source, first=0, count=2, batch_size=2)
  assert first["mask"].all()
  with one_line(r"toy, split train, index 2 \(record 2\): .*not a readable.*=skip"):
    evaluate(source, first=1, count=3, batch_size=2)


def broken(n, *indices):
  """A toy source of n images, some of which are broken."""
  source = toy(n)
  for i in indices:
    source.records[i]["image"] = b"\x89PNG broken"
  return source


def test_skipping_changes_nothing_where_nothing_is_broken():
  source = toy(21)
  for batch, plain in zip(train(source, skip_broken=True), train(source), strict=True):
    assert not batch.pop("skipped").any()
    assert_same([batch], [plain])
  options = {"first": 2, "count": 17, "batch_size": 4}
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
    pytest.param(1, 4, marks=pytest.mark.thorough),
    pytest.param(2, 4, marks=pytest.mark.slow),
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
  counted = {"first": 0, "count": 20, "batch_size": 8, "skip_broken": True}
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
  batches = evaluate(source, first=0, count=21, batch_size=batch_size, skip_broken=True)
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
    evaluate(source, first=0, count=21, batch_size=4, skip_broken=True)
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
    evaluate(source, first=0, count=n, batch_size=4, skip_broken=True)
  source = broken(300, *range(100, 200))
  with one_line("100 broken images in a row, .* index 199"):
    evaluate(source, first=0, count=300, batch_size=30, skip_broken=True)
  source = broken(300, *range(100, 199))
  assert (
    len(evaluate(source, first=0, count=300, batch_size=30, skip_broken=True)) == 10
  )


def test_many_broken_images_apart_do_not_stop():
  source = broken(300, *range(0, 300, 2))
  batches = evaluate(source, first=0, count=300, batch_size=30, skip_broken=True)
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
      jpegs, transforms.by_name("imagenet", False, 24), first=8, count=8, batch_size=8,
      workers=1,
    )  # fmt: skip


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
    pipeline.evaluation_batches(toy(21), PLAIN, first=first, count=count, batch_size=4)


def test_an_empty_source_is_refused():
  with one_line("toy, split train, is empty"):
    train(toy(0))


def test_workers_without_flags_are_refused():
  flags.FLAGS.unparse_flags()
  with one_line("absl.app.run"):
    train(toy(2), workers=1)
