"""What a ResNet is made of, and the arrays that it must have."""

from collections.abc import Iterator
from typing import Literal, NamedTuple

from robustjax.models import resnet
from robustjax.weights.layouts import Path

Shape = tuple[int, ...]


class Architecture(NamedTuple):
  """A ResNet; the attributes of `models.resnet.ResNet` that its arrays show.

  Attributes:
    stages: blocks a stage.
    block, width, bottleneck, cardinality, non_local: as there.
    stem: side of conv0's kernel.
    channels: of an image.
    classes: the number of logits.
  """

  stages: tuple[int, ...]
  block: Literal["basic", "bottleneck"]
  width: int
  bottleneck: int
  cardinality: int
  non_local: Literal["none", "stages", "blocks"]
  stem: int
  channels: int
  classes: int


def arrays(net: Architecture) -> Iterator[tuple[Path, Shape]]:
  """Yields the path and the shape of each array of a network, in its order."""
  yield from _conv("conv0", net.stem, net.channels, net.width)
  yield from _norm("bn0", net.width)
  inside = net.width
  for stage, count in enumerate(net.stages):
    width = net.width * 2**stage
    out = width * (4 if net.block == "bottleneck" else 1)
    for block in range(count):
      name = f"stage{stage + 1}_block{block + 1}"
      yield from _block(net, name, inside, width, out)
      inside = out
    if net.non_local == "stages":
      name = f"stage{stage + 1}_non_local"
      yield from _conv(f"{name} theta", 1, out, out // 2)
      yield from _conv(f"{name} phi", 1, out, out // 2)
      yield from _convolved(f"{name} ", "", 1, out, out)
  yield ("params", "fc", "kernel"), (inside, net.classes)
  yield ("params", "fc", "bias"), (net.classes,)


def _block(
  net: Architecture, name: str, inside: int, width: int, out: int
) -> Iterator[tuple[Path, Shape]]:
  at = f"{name} "
  if net.block == "bottleneck":
    inner = width * net.bottleneck
    yield from _convolved(at, "1", 1, inside, inner)
    yield from _convolved(at, "2", 3, inner // net.cardinality, inner)
    yield from _convolved(at, "3", 1, inner, out)
  else:
    yield from _convolved(at, "1", 3, inside, out)
    yield from _convolved(at, "2", 3, out, out)
  if inside != out:  # as it is wherever there is a stride
    yield from _conv(f"{at}shortcut_conv", 1, inside, out)
    yield from _norm(f"{at}shortcut_bn", out)
  if net.non_local == "blocks":
    yield from _convolved(f"{at}non_local ", "", 1, out, out)


def _convolved(
  at: str, number: str, size: int, inside: int, out: int
) -> Iterator[tuple[Path, Shape]]:
  yield from _conv(f"{at}conv{number}", size, inside, out)
  yield from _norm(f"{at}bn{number}", out)


def _conv(at: str, size: int, inside: int, out: int) -> Iterator[tuple[Path, Shape]]:
  yield ("params", *at.split(), "kernel"), (size, size, inside, out)


def _norm(at: str, features: int) -> Iterator[tuple[Path, Shape]]:
  for kind, leaf in (
    ("params", "scale"),
    ("params", "bias"),
    ("batch_stats", "mean"),
    ("batch_stats", "var"),
  ):
    yield (kind, *at.split(), "all", leaf), (features,)


def depth(net: Architecture) -> int | None:
  """The number that a ResNet of these stages is known by."""
  known = resnet.BASIC_STAGES if net.block == "basic" else resnet.BOTTLENECK_STAGES
  return {tuple(stages): number for number, stages in known.items()}.get(net.stages)


def words(net: Architecture) -> str:
  """The network in a few words, for messages."""
  number = depth(net)
  stages = net.stages if len(net.stages) < 9 else f"{len(net.stages)} stages of"
  name = f"ResNet-{number}" if number else f"{net.block} ResNet of {stages} blocks"
  more = [f"width {net.width}"]
  more += [f"bottleneck {net.bottleneck}"] if net.bottleneck > 1 else []
  more += [f"cardinality {net.cardinality}"] if net.cardinality > 1 else []
  more += [f"non-local {net.non_local}"] if net.non_local != "none" else []
  return f"{name} ({', '.join(more)})"
