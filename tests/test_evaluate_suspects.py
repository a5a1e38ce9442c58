"""A network with one thing wrong has that thing named, and an honest one has none."""

import dataclasses
import functools
import pathlib

import jax
import networks
import numpy as np
import pytest
from test_evaluate_cards import CARD

from robustjax.data import sources, transforms
from robustjax.evaluate import suspects
from robustjax.evaluate.cards import Number
from robustjax.evaluate.clean import Reader
from robustjax.evaluate.subject import Subject
from robustjax.run.data import Images
from robustjax.runtime import parallel
from robustjax.runtime.preemption import Stop

MESH = parallel.mesh(jax.devices()[:2])
COUNT, SIDE, FD = 120, 12, suspects.NORMALISERS["(x - 127.5) / 127.5"]
MEAN, STD = suspects.NORMALISERS["ImageNet's mean and std"]
CARD = dataclasses.replace(CARD, clean=Number("none", 100.0))


def source(path, labels=None):
  rng = np.random.default_rng(0)
  pixels = rng.integers(0, 256, (COUNT, SIDE, SIDE, 3)).astype(np.uint8)
  labels = np.zeros(COUNT, int) if labels is None else labels
  np.savez(path, images=pixels, labels=labels, names=[f"{i}" for i in range(6)])
  return sources.open_source(str(path), split="all")


def crop(word):
  return functools.partial(
    transforms.imagenet_eval, size=4, resize=5, interpolation=word
  )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  return tmp_path_factory.mktemp("images")


@pytest.fixture(scope="module")
def images(folder):
  """Images whose labels are what the network says of them, cropped by Pillow."""
  unlabelled = Images(source(folder / "unlabelled.npz"), crop("pillow"))
  pixels = unlabelled.read(range(COUNT))["image"]
  labels = networks.logits(networks.WEIGHTS, pixels).argmax(-1)
  return Images(source(folder / "images.npz", labels), crop("pillow"))


def asked(images, fault=lambda x: x, normaliser=FD):
  """What the suspects are for a network that sees its images through a fault."""
  network = networks.network(fn=lambda w, x: networks.logits(w, fault(x)))
  subject = Subject(
    "n", {"all": network}, images, (4, 4, 3), {}, None, None, None, pathlib.Path(),
    normaliser=normaliser,
  )  # fmt: skip
  reader = Reader(network, 3, 32, MESH, Stop(), shows=False)
  correct, counted = reader(images, range(COUNT)).counts
  off = 100 * correct / counted - CARD.clean.accuracy
  return suspects.interrogate(reader, subject, range(COUNT), CARD, off)


def wrong(mean, std):
  """Through (x - mean) / std, where the weights want (x - 127.5) / 127.5."""
  return lambda x: (x - np.float32(mean)) / np.float32(std) * 127.5 + 127.5


@pytest.mark.parametrize(
  ("fault", "normaliser", "name"),
  [
    (lambda x: x[..., ::-1], FD, "channels reversed"),
    (wrong(MEAN, STD), (MEAN, STD), "normaliser (x - 127.5) / 127.5"),
    (wrong(0, 1), ((0.0,), (1.0,)), "normaliser (x - 127.5) / 127.5"),
    (
      lambda x: wrong(MEAN, STD)(x[..., ::-1]), (MEAN, STD),
      "channels reversed, normaliser (x - 127.5) / 127.5",
    ),
    (wrong(0, 1), None, "normaliser (x - 127.5) / 127.5 left out"),
    (
      lambda x: (x - 127.5) / 127.5, None,
      "normaliser (x - 127.5) / 127.5 applied twice",
    ),
  ],
)  # fmt: skip
def test_one_fault_is_named_and_its_remedy_makes_all_right(
  images, fault, normaliser, name
):
  (base, first, *others), _ = asked(images, fault, normaliser)
  assert (first.name, first.correct, first.fits) == (name, COUNT, True)
  assert first.remedy and base.correct < 0.8 * COUNT and not base.fits
  assert not any(other.fits for other in others)


def test_another_crop_is_named(images):
  other = dataclasses.replace(images, transform=crop("bilinear"))
  (base, first, *others), notes = asked(other)
  assert first.name == "crop 4 of 5, pillow" and first.fits
  assert first.correct == COUNT > base.correct
  assert "--interpolation=pillow" in first.remedy
  assert len([one for one in others if one.name.startswith("crop")]) == 1
  assert notes[0].startswith("crop 288 alone was not tried: ")


def test_nothing_is_blamed_where_nothing_fits(images):
  honest, _ = asked(images)
  assert honest[0].correct == COUNT
  rng = np.random.default_rng(1)
  garbage = rng.normal(size=(3, 3)).astype(np.float32)
  lost, notes = asked(images, lambda x: 255 - x @ garbage)
  for tried in (honest, lost):
    assert not any(one.fits for one in tried)
  assert not any("another order" in note for note in notes)


def test_classes_in_another_order_are_seen(folder, images):
  labels = images.source.records.labels
  turned = source(folder / "turned.npz", (labels + 2) % 6)
  tried, notes = asked(dataclasses.replace(images, source=turned))
  assert not any(one.fits for one in tried)
  assert notes[-1].startswith("the classes are in another order: ")
  low = source(folder / "low.npz", labels + 1)
  (_, first, *_), _ = asked(dataclasses.replace(images, source=low))
  assert (first.name, first.correct) == ("classes one too low", COUNT)
