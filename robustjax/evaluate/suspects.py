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

from robustjax.data import crop, transforms
from robustjax.evaluate.cards import Card, judge
from robustjax.evaluate.clean import AS_THEY_ARE, Pixels, Predictions, Reader
from robustjax.evaluate.subject import Normaliser, Subject
from robustjax.report.intervals import newcombe_paired
from robustjax.run.data import Images

# ImageNet's, as torchvision's models have it.
_MEAN = (123.675, 116.28, 103.53)
_STD = (58.395, 57.12, 57.375)
_NONE = (0.0,), (1.0,)
NORMALISERS: dict[str, Normaliser] = {
  "(x - 127.5) / 127.5": ((127.5,), (127.5,)),
  "ImageNet's mean and std": (_MEAN, _STD),
  "x / 255": ((0.0,), (255.0,)),
  "none": _NONE,
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
  """

  name: str
  remedy: str
  pixels: Pixels = AS_THEY_ARE


_REVERSED = Way(
  "channels reversed", "the other --channel_order at the import", Pixels(reversed=True)
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
  single, double = _single(subject), _double(subject)
  changes = [AS_THEY_ARE, *(way.pixels for way in (*single, *double))]
  base, *changed = reader(subject.images, indices, changes)
  pairs = list(zip(single, changed, strict=False))
  pairs += [(way, reader(images, indices)[0]) for way, images in _crops(subject)]
  for shift, name in ((1, "one too low"), (-1, "one too high")):
    moved = base._replace(predicted=base.predicted + np.int32(shift))
    pairs.append((Way(f"classes {name}", "cut off the background class"), moved))
  tried = [_tried(*pair, base, card, off) for pair in pairs]
  if not any(one.fits for one in tried):
    others = zip(double, changed[len(single) :], strict=True)
    tried += [_tried(*pair, base, card, off) for pair in others]
  tried.sort(key=lambda one: (not one.fits, -one.correct))
  return [Tried("as it is", "", *base.counts, False), *tried], list(_alike(base))


def _tried(
  way: Way, found: Predictions, base: Predictions, card: Card, off: float
) -> Tried:
  low, high = _gain(base, found)
  agrees = judge(card, card.clean.accuracy, *found.counts, same=False).agrees
  fits = agrees and low > 0 and high + card.tolerance >= -off
  return Tried(way.name, way.remedy, *found.counts, fits)


def _single(subject: Subject) -> list[Way]:
  """One thing that may be wrong with the pixels."""
  if subject.shape[2] != 3:
    return list(_normalisers(subject))
  own = subject.normaliser
  # The import turns the first kernel round, behind the normaliser.
  pixels = _instead(own, own, reverse=True) if own else _REVERSED.pixels
  return [_REVERSED._replace(pixels=pixels), *_normalisers(subject)]


def _double(subject: Subject) -> list[Way]:
  """Two of them."""
  return [
    way._replace(
      name=f"{_REVERSED.name}, {way.name}",
      remedy=f"{_REVERSED.remedy}, {way.remedy}",
      pixels=way.pixels._replace(reversed=True),
    )
    for way in (_normalisers(subject, True) if subject.shape[2] == 3 else ())
  ]


def _normalisers(subject: Subject, reverse: bool = False) -> Iterator[Way]:
  """Other normalisers; of a function, which has its own inside, one before it."""
  own = subject.normaliser
  for name, other in NORMALISERS.items():
    if len(other[0]) not in (1, subject.shape[2]):
      continue
    if own is not None:
      pixels = _instead(own, other)
      if not all(map(np.allclose, pixels[1:], AS_THEY_ARE[1:])):
        pixels = _instead(own, other, reverse)
        mean, std = (",".join(f"{v / 255:.6g}" for v in values) for values in other)
        flags = f"--mean={mean} --std={std} at the import"
        yield Way(f"normaliser {name}", flags, pixels)
    elif other != _NONE:
      left_out = f"normaliser {name} left out", "apply it in the function"
      yield Way(*left_out, _instead(_NONE, other))
      twice = f"normaliser {name} applied twice", "apply it once"
      yield Way(*twice, _instead(other, _NONE))


def _instead(own: Normaliser, other: Normaliser, reverse: bool = False) -> Pixels:
  """The pixels on which a network with its own normaliser is one with another.

  With `reverse`, channels are reversed behind it.
  """
  (mean, std), (m, s) = (map(np.asarray, pair) for pair in (own, other))
  if reverse:
    m, s = m[::-1], s[::-1]
  return Pixels(reverse, std / s, mean - m * std / s)


def _crops(subject: Subject) -> Iterator[tuple[Way, Images]]:
  """Other evaluation crops, if images are cropped at all."""
  made = subject.images.transform
  if not isinstance(made, functools.partial):
    return
  if made.func is not transforms.imagenet_eval:
    return
  size, own = made.keywords["size"], made.keywords["interpolation"]
  ways = [(size, crop.resize_of(size), word) for word in crop.INTERPOLATIONS]
  if subject.normaliser is not None:  # a function may take images of one size alone
    ways += [(288, crop.STORED, own), (224, 256, own)]
  for side, resize, word in dict.fromkeys(ways):
    keywords = {"size": side, "resize": resize, "interpolation": word}
    if keywords != made.keywords:
      of = f"of {resize}, {word}" if resize != crop.STORED else "as stored"
      flags = f"--size={side} --resize={resize} --interpolation={word}"
      transform = functools.partial(transforms.imagenet_eval, **keywords)
      images = dataclasses.replace(subject.images, transform=transform)
      yield Way(f"crop {side} {of}", flags), images


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
