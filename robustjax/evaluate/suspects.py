"""What may be wrong with a network that does not score what was published.

Each suspect is tried by itself on some images: the one that makes them right is named
with what sets it.
"""

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from robustjax.data import transforms
from robustjax.errors import UserError
from robustjax.evaluate.cards import Card, judge
from robustjax.evaluate.clean import Pixels, Predictions, Reader
from robustjax.evaluate.subject import Normaliser, Subject
from robustjax.report.intervals import newcombe_paired
from robustjax.run.data import Images

# ImageNet's, as torchvision's models have it.
_MEAN = (123.675, 116.28, 103.53)
_STD = (58.395, 57.12, 57.375)
NORMALISERS: dict[str, Normaliser] = {
  "(x - 127.5) / 127.5": ((127.5,), (127.5,)),
  "ImageNet's mean and std": (_MEAN, _STD),
  "x / 255": ((0.0,), (255.0,)),
  "none, x": ((0.0,), (1.0,)),
}
# Images of one class are taken for one class by so much more than others are, though
# hardly for their own: then the classes are in another order.
_ALIKE = 0.2  # guess
_PAIRS = 30  # of images of one class, without which nothing is said of it


class Way(NamedTuple):
  """A way to be wrong, as what would be right.

  Attributes:
    name: for a person.
    remedy: what sets it.
    pixels: the change that makes it right.
    images: with the crop that makes it right; None is as it is.
  """

  name: str
  remedy: str
  pixels: Pixels = Pixels()
  images: Images | None = None


_REVERSED = Way(
  "channels reversed", "the other --channels_order at the import", Pixels(reversed=True)
)


class Tried(NamedTuple):
  """A suspect and what came of it.

  Attributes:
    name: for a person.
    remedy: what sets it.
    correct: images that are right with it.
    images: that were tried.
    fits: whether it makes more images right than chance does, and as many as the
      published number says.
  """

  name: str
  remedy: str
  correct: int
  images: int
  fits: bool


def interrogate(
  reader: Reader, subject: Subject, indices: Sequence[int], card: Card, off: float
) -> tuple[list[Tried], list[str]]:
  """Tries the likely mistakes, one by one; channels with normalisers if none fits.

  Args:
    reader: of the network.
    subject: the network and its images.
    indices: of the images to try them on.
    card: what it should score.
    off: the accuracy on all images minus the published one, in points.

  Returns:
    As it is, then every suspect, those that fit first, the best before the others;
    and what else there is to say, in lines.
  """
  base, notes = reader(subject.images, indices), []
  tried = []

  def note(way: Way, found: Predictions) -> None:
    low, high = _gain(base, found)
    agrees = judge(card, card.clean.accuracy, *found.counts, same=False).agrees
    fits = agrees and low > 0 and high + card.tolerance >= -off
    tried.append(Tried(way.name, way.remedy, *found.counts, fits))

  for ways in (_single(subject), _double(subject)):
    for way in ways:
      try:
        note(way, reader(way.images or subject.images, indices, way.pixels))
      except UserError as error:  # an image that is smaller than the crop
        notes.append(f"{way.name} was not tried: {error}")
    if any(one.fits for one in tried):
      break
  for shift, name in ((1, "one too low"), (-1, "one too high")):
    moved = base._replace(predicted=base.predicted + np.int32(shift))
    note(Way(f"classes {name}", "cut the background class off"), moved)
  tried.sort(key=lambda one: (not one.fits, -one.correct))
  return [Tried("as it is", "", *base.counts, False), *tried], [*notes, *_alike(base)]


def _single(subject: Subject) -> Iterator[Way]:
  if subject.shape[2] == 3:
    yield _REVERSED
  yield from _normalisers(subject)
  yield from _crops(subject)


def _double(subject: Subject) -> Iterator[Way]:
  for way in _normalisers(subject) if subject.shape[2] == 3 else ():
    pixels = way.pixels._replace(reversed=True)
    name, remedy = f"{_REVERSED.name}, {way.name}", f"{_REVERSED.remedy}, {way.remedy}"
    yield Way(name, remedy, pixels)


def _normalisers(subject: Subject) -> Iterator[Way]:
  """Other normalisers; of a function, which has its own inside, one before it."""
  own = subject.normaliser
  for name, (mean, std) in NORMALISERS.items():
    if (mean, std) == own or len(mean) not in (1, subject.shape[2]):
      continue
    if own is not None:
      flags = f"--input_mean={_flag(mean)} --input_std={_flag(std)} at the import"
      yield Way(f"normaliser {name}", flags, _instead(own, (mean, std)))
    elif name != "none, x":
      none = NORMALISERS["none, x"]
      before = f"normaliser {name} left out", "apply it in the function"
      twice = f"normaliser {name} applied twice", "apply it once"
      yield Way(*before, _instead(none, (mean, std)))
      yield Way(*twice, _instead((mean, std), none))


def _instead(own: Normaliser, other: Normaliser) -> Pixels:
  """The pixels on which a network with its own normaliser is one with another."""
  (mean, std), (other_mean, other_std) = (np.asarray(n, float) for n in (own, other))
  return Pixels(False, std / other_std, mean - other_mean * std / other_std)


def _crops(subject: Subject) -> Iterator[Way]:
  """Other evaluation crops, if images are cropped at all."""
  made = subject.images.transform
  if not isinstance(made, functools.partial):
    return
  if made.func is not transforms.imagenet_eval:
    return
  size, own = made.keywords["size"], dict(made.keywords)
  resize = round(size * 256 / 224)
  ways = [(size, resize, word) for word in ("opencv", "pillow", "bilinear")]
  if subject.normaliser is not None:  # a function may want its own size
    ways.append((288, -1, own.get("interpolation", "pillow")))
  for side, shorter, word in ways:
    keywords = {"size": side, "resize": shorter, "interpolation": word}
    if keywords == own:
      continue
    name = f"crop {side} of {shorter}, {word}" if shorter > 0 else f"crop {side} alone"
    transform = functools.partial(transforms.imagenet_eval, **keywords)
    images = dataclasses.replace(subject.images, transform=transform)
    flags = f"--resize={shorter} --interpolation={word} --size={side}"
    yield Way(name, flags, images=images)


def _flag(values: Sequence[float]) -> str:
  return ",".join(f"{value:g}" for value in values)


def _gain(base: Predictions, other: Predictions) -> tuple[float, float]:
  """The 95 % interval of what a change gains, in points: of the same images."""
  both = base.counted & other.counted
  one, two = other.right[both], base.right[both]
  counts = (one & two), (one & ~two), (~one & two), (~one & ~two)
  low, high = newcombe_paired(*(int(found.sum()) for found in counts))
  return 100 * low, 100 * high


def _alike(found: Predictions) -> Iterator[str]:
  """A line, if the classes seem to be in another order.

  Then images of one class are still taken for one and the same class, hardly ever the
  one that they should be.
  """
  label, predicted = found.label[found.counted], found.predicted[found.counted]

  def pairs(*keys: npt.NDArray[Any]) -> float:
    _, counts = np.unique(np.stack(keys), axis=1, return_counts=True)
    return float((counts * (counts - 1) / 2).sum())

  every, of_class = len(label) * (len(label) - 1) / 2, pairs(label)
  if of_class < _PAIRS or of_class == every:
    return
  alike, together = pairs(predicted), pairs(label, predicted)
  within, between = together / of_class, (alike - together) / (every - of_class)
  right = found.counts[0] / found.counts[1]
  if within - between > _ALIKE and right < (within - between) / 2:
    yield (
      "the classes are in another order: two images of one class are taken for one and"
      f" the same in {within:.0%}, two of different classes in {between:.0%}, and"
      f" {right:.0%} are right; name data whose classes are in the network's order"
    )
