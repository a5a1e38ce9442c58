"""The images of a run: opened, checked, and in batches on the devices."""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy.typing as npt

from robustjax import config as configs
from robustjax.config import Config
from robustjax.data import arrays, classes, crop, pipeline, sources, transforms
from robustjax.errors import UserError
from robustjax.run import pieces
from robustjax.run.schedule import schedule
from robustjax.runtime import parallel

Batch = dict[str, jax.Array]


class Data(NamedTuple):
  """The images of a run."""

  train: sources.Source
  test: sources.Source

  def digest(self) -> str:
    """What tells them from others that a path may have; "" of a named data set."""
    return "".join(filter(None, map(sources.digest, self)))


def open_data(config: Config) -> Data:
  """Opens the data set and checks that it is what the configuration expects.

  Raises:
    UserError: it is missing or another one; one line with what to do.
  """
  data = config.data
  if arrays.is_name(data.name):
    raise UserError(
      f"data set {data.name!r} has no splits to train and to test on: evaluate on it"
      " with python -m robustjax.evaluate RUN --data, and train on an image folder"
    )
  train, test = (
    open_named(
      data.name,
      split=split,
      data_dir=data.data_dir or None,
      version=data.version,
      channels=data.channels,
      oriented=shown(config).oriented,
    )
    for split in ("train", data.test_split)
  )
  side = None if data.transform == "imagenet" else data.image_size
  shape = side, side, data.channels
  for size, expected in zip(train.image_shape, shape, strict=True):
    if None not in (size, expected) and size != expected:
      raise UserError(
        f"data set {data.name!r} has images of {train.image_shape}, not of"
        f" {data.image_size} x {data.image_size} x {data.channels}: mend"
        " config.data.image_size and config.data.channels"
      )
  classes.check_same(train, test)
  _check_expected(config, train, test)
  return Data(train, test)


def open_named(name: str, **how: Any) -> sources.Source:
  """A split of a data set that has a name, a path, or is a function's.

  Args:
    name: for `sources.open_source`; or "package.module:function", called with what it
      asks for of that one's other arguments, which returns a `sources.Source`.
    **how: those arguments.

  Raises:
    UserError: it cannot be opened.
  """
  if not configs.is_own(name):
    return sources.open_source(name, **how)
  if how.get("version"):
    raise UserError(
      f"data set {name!r} is a function and has no version {how['version']}: add"
      " --config.data.version= with nothing behind it"
    )
  values = {key: how.get(key) for key in ("split", "data_dir", "channels", "oriented")}
  try:
    made = pieces.made("data.name", name, values)()
    if not isinstance(made, sources.Source):
      kind = type(made).__name__
      raise UserError(f"it returns a {kind}, not a robustjax.data.sources.Source")
    if not len(made):
      raise UserError(f"its split {made.split!r} is empty")
    made[0]
  except UserError as error:
    raise UserError(f"data set {name!r}: {error}") from error
  except Exception as error:  # whatever somebody's code raises
    raise UserError(f"data set {name!r}: {pieces.told(error)}") from error
  return made


def _check_expected(
  config: Config, train: sources.Source, test: sources.Source
) -> None:
  """Refuses data of other sizes or classes, with the flags that would take them."""
  expected = configs.flatten(config)
  actual = {
    "data.train_examples": len(train),
    "data.test_examples": len(test),
    "data.classes": train.num_classes,
    "data.class_digest": classes.digest(train.class_names),
  }
  wrong = [name for name, value in actual.items() if expected[name] not in (value, "")]
  if not wrong:
    return
  what = [f"{name} is {actual[name]}, not {expected[name]}" for name in wrong]
  if "data.class_digest" in wrong:
    where = classes.first_difference(train.class_names, config.data.class_digest)
    what += [where] if where else []
  flags = [f"--config.{name}={actual[name]}" for name in wrong]
  for name in ("eval.images", "train.validation_images"):
    if expected[name] > len(test):
      flags.append(f"--config.{name}={len(test)}")
  counted, seen = expected["eval.images"], expected["train.validation_images"]
  if counted < len(test) < counted + seen:  # as `config.check` would refuse it
    flags.append(f"--config.eval.images={len(test)}")
  raise UserError(
    f"data set {config.data.name!r} is not the one of this configuration:"
    f" {'; '.join(what)}. Prepare the complete one again, or, if it is the one to"
    f" use, add {' '.join(flags)}"
  )


def train_batches(
  config: Config, source: sources.Source, mesh: Any, first_step: int
) -> Iterator[Batch]:
  """The batches of training from a step on, on the devices."""
  data = config.data
  local = pipeline.train_batches(
    source,
    transforms.by_name(data.transform, train=True, size=data.image_size),
    seed=config.seed,
    batch_size=config.train.batch_size,
    first_step=first_step,
    last_step=schedule(config).steps,
    process_index=jax.process_index(),
    process_count=jax.process_count(),
    workers=data.workers,
    skip_broken=data.broken_images == "skip",
  )
  return (parallel.shard(batch, mesh) for batch in local)


@dataclasses.dataclass(frozen=True)
class Images:
  """The images of a split as an evaluation sees them.

  Attributes:
    source: where they are.
    transform: to pixels of one shape.
    workers: processes that make batches; 0 makes them in threads of this one.
    skip_broken: whether to go on without a broken image.
  """

  source: sources.Source
  transform: transforms.Transform
  workers: int = 0
  skip_broken: bool = False

  def batches(
    self, indices: Sequence[int], batch_size: int, mesh: Any
  ) -> Iterator[Batch]:
    """Some of them, in padded and masked batches, on the devices."""
    local = pipeline.evaluation_batches(
      self.source,
      self.transform,
      indices=indices,
      batch_size=batch_size,
      process_index=jax.process_index(),
      process_count=jax.process_count(),
      workers=self.workers,
      skip_broken=self.skip_broken,
    )
    return (parallel.shard(batch, mesh) for batch in local)

  def read(self, indices: Iterable[int]) -> dict[str, npt.NDArray[Any]]:
    """Some of them, on this host; the next readable one for each broken one."""
    return pipeline.batch_of(self.source, self.transform, indices, self.skip_broken)


class Shown(NamedTuple):
  """What an evaluation shows of each image; the words of a configuration's `data`.

  Attributes:
    transform: "imagenet", "small" or "none".
    size: the side of an image, in pixels.
    resize: of "imagenet": what the shorter side becomes, or -1.
    interpolation: of the same.
    orientation: "exif" or "stored".
  """

  transform: str
  size: int
  resize: int
  interpolation: str
  orientation: str

  @property
  def oriented(self) -> bool:
    """Whether EXIF data turns an image."""
    return self.orientation == "exif"

  def pixels(self) -> transforms.Transform:
    """The transform."""
    return transforms.by_name(
      self.transform, False, self.size, self.resize, self.interpolation
    )

  def name(self) -> dict[str, str]:
    """The part of an evaluation's identity: {"crop": "opencv 256/224 exif"}.

    Empty where images are taken as they are stored.
    """
    words = [self.orientation] if self.oriented else []
    if self.transform == "imagenet":
      resized = f"{self.interpolation} {self.resize}/{self.size}"
      kept = self.resize == crop.STORED
      words = [str(self.size) if kept else resized, self.orientation]
    return {"crop": " ".join(words)} if words else {}


def shown(config: Config) -> Shown:
  """What the configuration wants to be evaluated on."""
  data = config.data
  return Shown(
    data.transform, data.image_size, data.resize, data.interpolation, data.orientation
  )


def data_names(config: Config) -> dict[str, str]:
  """The data set and the split that an evaluation is of, and the crop if it crops."""
  data = config.data
  version = f":{data.version}" if data.version else ""
  names = {"data": f"{data.name}{version}", "split": data.test_split}
  return names | shown(config).name()


def images_of(config: Config, source: sources.Source) -> Images:
  """A split's images as the configuration wants them evaluated."""
  data = config.data
  transform = shown(config).pixels()
  return Images(source, transform, data.workers, data.broken_images == "skip")
