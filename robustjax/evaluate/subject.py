"""What is evaluated: a run, a file of weights, or a function of somebody else's."""

import argparse
import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from robustjax.config import Config
from robustjax.data import crop
from robustjax.errors import UserError
from robustjax.evaluate import functions
from robustjax.evaluation.network import Network
from robustjax.run import network as networks
from robustjax.run.commandline import at_least
from robustjax.run.data import (
  Images,
  Shown,
  data_names,
  images_of,
  open_data,
  open_named,
  shown,
)
from robustjax.runtime import parallel
from robustjax.runtime.paths import typed
from robustjax.weights.opened import opened

# Mean and std of x -> (x - mean) / std: a value for all channels, or one a channel.
Normaliser = tuple[tuple[float, ...], tuple[float, ...]]


@dataclasses.dataclass(frozen=True)
class Subject:
  """A network with all its branches, and the images that go with it.

  Attributes:
    name: as it was asked for.
    networks: branch -> network: "clean" and "adv" of Mixture BN, else "all".
    images: of the split.
    shape: of an image, [h, w, c].
    data: the name of the data set and its version or split.
    eps: of 255, if a configuration says it.
    count: how many images, if a configuration says it.
    step: of the checkpoint; None if it is no run.
    folder: where results go if nobody says.
    step_size: the least of its own readings, of 255, if a configuration says it.
    normaliser: of a run's network; a function has its own inside.
  """

  name: str
  networks: Mapping[str, Network]
  images: Images
  shape: tuple[int, int, int]
  data: Mapping[str, str]
  eps: float | None
  count: int | None
  step: int | None
  folder: Path
  step_size: float | None = None
  normaliser: Normaliser | None = None

  def branch(self, name: str | None) -> Network:
    """One branch: by default the adv one where there are two.

    Raises:
      UserError: there is none of that name.
    """
    known = self.networks
    wanted = name or networks.usual(known)
    if wanted not in known:
      raise UserError(
        f"{self.name} has no branch {wanted!r}: name {' or '.join(known)} with --branch"
      )
    return known[wanted]


@dataclasses.dataclass(frozen=True)
class Wanted:
  """What a command line says of images; None is as the run, or else the data, has it.

  Attributes:
    data: a TFDS name, a folder or a .npz file.
    data_dir: where TFDS prepared it.
    split: such as "test".
    transform: "imagenet", "small" or "none".
    size: the side of an image, in pixels.
    channels: 1 or 3, of an image folder.
    resize: of the transform "imagenet": what the shorter side becomes, or -1.
    interpolation: of the same: "opencv", "pillow" or "bilinear".
    orientation: "exif" or "stored": whether EXIF data turns an image.
  """

  data: str | None = None
  data_dir: str | None = None
  split: str | None = None
  transform: str | None = None
  size: int | None = None
  channels: int | None = None
  resize: int | None = None
  interpolation: str | None = None
  orientation: str | None = None


def add_images(parser: argparse.ArgumentParser) -> None:
  """The flags that `wanted` reads."""
  add = parser.add_argument_group("images: a run brings its own").add_argument
  add("--data", metavar="NAME", help="a TFDS name, a folder or a .npz file")
  add("--data_dir", metavar="DIR", help="where TFDS prepared it")
  add("--split", help="test by default")
  add("--transform", choices=("imagenet", "small", "none"))
  add("--size", type=at_least(1), help="side of an image, in pixels")
  add("--channels", type=int, choices=(1, 3), help="of an image folder")
  add("--resize", type=at_least(-1), metavar="PIXELS", help="of the transform imagenet:"
    " what the shorter side becomes before the centre is cut, -1 to cut it as stored;"
    " of a function 256 for 224 of --size, and in proportion")  # fmt: skip
  add("--interpolation", choices=crop.INTERPOLATIONS, help="of the same: OpenCV's"
    " bicubic, Pillow's bicubic, or Pillow's bilinear as torchvision has it, which a"
    " function gets by default")  # fmt: skip
  add("--orientation", choices=("exif", "stored"), help="whether EXIF data turns an"
    " image, as OpenCV does; of a function, stored by default")  # fmt: skip


def wanted(args: argparse.Namespace) -> Wanted:
  """What a command line says of images."""
  return Wanted(
    args.data, args.data_dir, args.split, args.transform, args.size, args.channels,
    args.resize, args.interpolation, args.orientation,
  )  # fmt: skip


def eps_of(args: argparse.Namespace, subject: Subject) -> float:
  """How far attacks may go, of 255: as the flags --eps and --norm say, or the run.

  Raises:
    UserError: nobody says it, or it is of 1.
  """
  eps = args.eps or (subject.eps if args.norm == "linf" else None)
  if eps is None:
    raise UserError("how far may a pixel change? Say --eps=, of 255")
  if args.norm == "linf" and eps < 0.1:
    raise UserError(f"eps is {eps:g} of 255, which is nothing: 8/255 is --eps=8")
  if args.norm == "l2" and eps < 1:
    whole = f"{eps:g} of 0..1 is --eps={255 * eps:g}"
    raise UserError(f"eps is {eps:g} of 255, less than a level of one pixel: {whole}")
  return float(eps)


def open_subject(what: str, wanted: Wanted, mesh: Any) -> Subject:
  """Opens a network and its images.

  Args:
    what: the folder of a run, a file of weights, or "package.module:function".
    wanted: which images.
    mesh: the devices, from `parallel.mesh`.

  Raises:
    UserError: there is none of them, no such images, or they do not fit.
  """
  path = typed(what)
  if ":" in what and not path.exists():
    return _of_function(what, wanted)
  return _of_weights(path, wanted, mesh)


def _of_weights(path: Path, wanted: Wanted, mesh: Any) -> Subject:
  config, load = opened(path)
  images, data = _run_images(config, wanted)
  variables, step = load(mesh)
  values = config.data
  platform = parallel.platform(mesh.devices.flat[0])
  size = wanted.size or values.image_size
  return Subject(
    name=str(path),
    networks=networks.of_run(config, variables, platform),
    images=images,
    shape=(size, size, values.channels),
    data=data,
    eps=config.eval.eps or None,
    count=None if wanted.data else config.eval.images,
    step=step,
    folder=path if path.is_dir() else Path("runs") / path.stem,
    step_size=config.eval.step_size or None,
    normaliser=_normaliser(config),
  )


def _normaliser(config: Config) -> Normaliser | None:
  if not networks.is_resnet(config):
    return None  # it is inside, and its own affair
  return tuple(config.model.input_mean), tuple(config.model.input_std)


def _run_images(config: Config, wanted: Wanted) -> tuple[Images, dict[str, str]]:
  """The run's own images, or others that its network can take; and their names."""
  values = config.data
  if wanted == Wanted():
    return images_of(config, open_data(config).test), data_names(config)
  seen = _shown(wanted, shown(config))
  name = wanted.data or values.name
  source = open_named(
    name,
    split=wanted.split or values.test_split,
    data_dir=wanted.data_dir or values.data_dir or None,
    version=None if wanted.data else values.version,
    channels=values.channels,
    oriented=seen.oriented,
  )
  if source.num_classes > values.classes:
    raise UserError(
      f"{name} has {source.num_classes} classes, and the network tells"
      f" {values.classes} apart: name its own data with --data"
    )
  if source.image_shape[2] != values.channels:
    raise UserError(
      f"{name} has images of {source.image_shape[2]} channels, and the network takes"
      f" {values.channels}: convert them, or name its own data with --data"
    )
  of_crop = wanted.transform, wanted.resize, wanted.interpolation
  if set(of_crop) == {None} and source.image_shape[:2] == (seen.size, seen.size):
    seen = seen._replace(transform="none")  # they are cropped already
  return Images(source, seen.pixels(), skip_broken=values.broken_images == "skip"), {
    "data": _named(name), "split": source.split, **seen.name()
  }  # fmt: skip


def _shown(wanted: Wanted, default: Shown) -> Shown:
  """What is shown of each image: as it is wanted, or else by default.

  Raises:
    UserError: a crop is wanted where nothing is cropped.
  """
  size, resize = wanted.size or default.size, default.resize
  if default.transform != "imagenet":
    resize = crop.resize_of(size)
  elif resize != crop.STORED:  # in the same proportion
    resize = round(resize * size / default.size)
  seen = Shown(
    wanted.transform or default.transform,
    size,
    resize if wanted.resize is None else wanted.resize,
    wanted.interpolation or default.interpolation,
    wanted.orientation or default.orientation,
  )
  is_wanted = wanted.resize is not None or wanted.interpolation
  if is_wanted and seen.transform != "imagenet":
    raise UserError(
      f"the transform {seen.transform!r} crops nothing: leave --resize and"
      " --interpolation out, or say --transform=imagenet"
    )
  return seen


def _of_function(what: str, wanted: Wanted) -> Subject:
  if not wanted.data:
    raise UserError(
      f"{what} brings no images: name a data set, a folder or a .npz file with --data"
    )
  source = open_named(
    wanted.data,
    split=wanted.split or "test",
    data_dir=wanted.data_dir,
    channels=wanted.channels or 3,
    oriented=wanted.orientation == "exif",
  )
  height, width, channels = source.image_shape
  transform = "none" if height is not None and height == width else "imagenet"
  # What most networks of others are evaluated with.
  size = height or 224
  default = Shown(transform, size, crop.resize_of(size), "bilinear", "stored")
  seen = _shown(wanted, default)
  shape = (seen.size, seen.size, channels)
  return Subject(
    name=what,
    networks={"all": functions.network(what, shape, source)},
    images=Images(source, seen.pixels()),
    shape=shape,
    data={"data": _named(wanted.data), "split": source.split, **seen.name()},
    eps=None,
    count=None,
    step=None,
    folder=Path("runs") / what.replace(":", "."),
  )


def _named(data: str) -> str:
  """What an evaluation is of: of a file its contents, wherever it lies."""
  if not data.endswith(".npz"):
    return data
  path = Path(data).expanduser()
  return f"{path.name}:{hashlib.sha256(path.read_bytes()).hexdigest()[:12]}"
