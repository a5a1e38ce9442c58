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
COUNT, FD = 96, suspects.NORMALISERS["(x - 127.5) / 127.5"]
MEAN, STD = suspects.NORMALISERS["ImageNet's mean and std"]
CARD = dataclasses.replace(CARD, clean=Number("none", 100.0))


def source(path, pixels, labels):
  np.savez(path, images=pixels, labels=labels, names=[f"{i}" for i in range(7)])
  return sources.open_source(str(path), split="all")


def crop(word):
  return functools.partial(
    transforms.imagenet_eval, size=4, resize=5, interpolation=word
  )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  return tmp_path_factory.mktemp("images")


@pytest.fixture(scope="module")
def uncropped(folder):
  """Images whose labels are what the network says of Pillow's crop of them."""
  pixels = np.random.default_rng(0).integers(0, 256, (COUNT, 12, 12, 3), np.uint8)
  centres = np.stack([crop("pillow")(image) for image in pixels])
  labels = networks.logits(networks.WEIGHTS, centres).argmax(-1)
  return Images(source(folder / "whole.npz", pixels, labels), crop("pillow"))


@pytest.fixture(scope="module")
def images(folder, uncropped):
  """The same, cropped already."""
  read = uncropped.read(range(COUNT))
  found = source(folder / "images.npz", read["image"], read["label"])
  return Images(found, transforms.by_name("none", False, 4))


def asked(images, fault=lambda x: x, normaliser=FD, off=None):
  """What the suspects are for a network that sees its images through a fault."""
  # Of a larger crop it sees a corner: it is made for images of one size.
  seen = lambda w, x: networks.logits(w, fault(x[:, :4, :4]))  # noqa: E731
  network = networks.network(fn=seen)
  subject = Subject(
    "n", {"all": network}, images, (4, 4, 3), {}, None, None, None, pathlib.Path(),
    normaliser=normaliser,
  )  # fmt: skip
  reader = Reader(network, 3, 32, MESH, Stop(), shows=False)
  (found,) = reader(images, range(COUNT))
  correct, counted = found.counts
  off = 100 * correct / counted - CARD.clean.accuracy if off is None else off
  return suspects.interrogate(reader, subject, range(COUNT), CARD, off)


def wrong(mean, std):
  """Through (x - mean) / std, where the weights want (x - 127.5) / 127.5."""
  return lambda x: (x - np.float32(mean)) / np.float32(std) * 127.5 + 127.5


def scaled_reversed(x):
  """A network whose first kernel is turned round, behind a normaliser by channel."""
  mean, std = np.float32(MEAN), np.float32(STD)
  return ((x - mean) / std)[..., ::-1] * std + mean


@pytest.mark.parametrize(
  ("fault", "normaliser", "name"),
  [
    (lambda x: x[..., ::-1], FD, "channels reversed"),
    (scaled_reversed, (MEAN, STD), "channels reversed"),
    (wrong(MEAN, STD), (MEAN, STD), "normaliser (x - 127.5) / 127.5"),
    (wrong(0, 1), ((0.0,), (1.0,)), "normaliser (x - 127.5) / 127.5"),
    (
      lambda x: wrong(MEAN, STD)(x)[..., ::-1], (MEAN, STD),
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


def test_another_crop_is_named(uncropped):
  other = dataclasses.replace(uncropped, transform=crop("bilinear"))
  (base, first, *others), notes = asked(other)
  assert first.name == "crop 4 of 5, pillow" and first.fits
  assert first.correct == COUNT > base.correct
  assert "--interpolation=pillow" in first.remedy
  crops = [one.name for one in others if one.name.startswith("crop")]
  assert sorted(crops) == [
    "crop 224 of 256, bilinear", "crop 288 as stored", "crop 4 of 5, opencv",
  ]  # fmt: skip
  assert not notes


def test_nothing_is_blamed_where_nothing_fits(images):
  honest, _ = asked(images)
  assert honest[0].correct == COUNT
  rng = np.random.default_rng(1)
  garbage = rng.normal(size=(3, 3)).astype(np.float32)
  lost, notes = asked(images, lambda x: 255 - x @ garbage)
  for tried in (honest, lost):
    assert not any(one.fits for one in tried)
  assert not any("another order" in note for note in notes)


def test_what_changes_nothing_or_too_little_does_not_fit(folder, images):
  grey = lambda x: x * 0 + x.mean(-1, keepdims=True)  # noqa: E731
  pixels = images.source.records.images
  labels = networks.logits(networks.WEIGHTS, grey(pixels)).argmax(-1)
  found = source(folder / "grey.npz", pixels, labels)
  tried, _ = asked(dataclasses.replace(images, source=found), grey)
  (same,) = (one for one in tried if one.name == "channels reversed")
  assert same.correct == COUNT and not same.fits
  # Of 500 images a part of them is right again, and on all as many more are missing.
  tried, _ = asked(images, lambda x: x[..., ::-1], off=-95.0)
  assert tried[1].correct == COUNT and not any(one.fits for one in tried)


def test_classes_in_another_order_are_seen(folder, images):
  records = images.source.records
  turned = source(folder / "turned.npz", records.images, (records.labels + 2) % 6)
  tried, notes = asked(dataclasses.replace(images, source=turned))
  assert not any(one.fits for one in tried)
  assert notes[-1].startswith("the classes are in another order: ")
  low = source(folder / "low.npz", records.images, records.labels + 1)
  (_, first, *_), _ = asked(dataclasses.replace(images, source=low))
  assert (first.name, first.correct) == ("classes one too low", COUNT)
