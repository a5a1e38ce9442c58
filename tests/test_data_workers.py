"""Worker processes: they change nothing in the batches."""

from absl import flags
from data_batches import (
  assert_same,
  broken,
  evaluate,
  one_line,
  parsed_flags,  # noqa: F401
  toy,
  train,
)

from robustjax.data import sources, transforms


def test_workers_change_nothing():
  source = sources.open_source("fashion_mnist_mini", split="train")
  transform = transforms.by_name("small", True, 28)
  # Seven batches: not a multiple of the number of workers.
  options = {"batch_size": 30, "first_step": 330, "last_step": 337}
  assert_same(
    train(source, transform, **options, workers=2), train(source, transform, **options)
  )


def test_workers_change_nothing_in_evaluation():
  source, options = broken(21, 5, 6), {"indices": range(2, 19), "batch_size": 4}
  options["skip_broken"] = True
  assert_same(evaluate(source, **options, workers=2), evaluate(source, **options))


def test_workers_without_flags_are_refused():
  flags.FLAGS.unparse_flags()
  with one_line("absl.app.run"):
    train(toy(2), workers=1)
