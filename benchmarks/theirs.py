"""PyTorch's side of a comparison, in a process of its own: see `turns.serve`.

python -m benchmarks.theirs CASE FOLDER [--eager]

Takes from FOLDER what `benchmarks.ours` has written there, and computes the same before
anything is timed. `--eager` leaves torch.compile out.
"""

import functools
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import cases, machine, turns
from benchmarks.cases import CASES, Case
from benchmarks.torch_resnet import ResNet
from benchmarks.torch_steps import Recipe, Training, pgd, targeted

Run = Callable[[], Any]
LAYOUTS = {
  "channels-last": torch.channels_last,
  "default layout": torch.contiguous_format,
}
# How far logits may be from each other, of the largest, and weights, of how far a step
# moves them. A first step leaves weights few digits, and the attack within it may take
# some pixels, whose gradients are nearly 0, elsewhere than the one that is handed over.
TOLERANCE, OF_A_STEP = 1e-3, 5e-2


class Side:
  """What was handed over, as tensors.

  Args:
    case: see `cases`.
    folder: see the module's docstring.
  """

  def __init__(self, case: Case, folder: Path):
    self.case, self.folder = case, folder
    self.facts = json.loads((folder / "facts.json").read_text())
    given = cases.load(folder, "given")
    self.images, self.start = (self._pixels(given[n]) for n in ("images", "start"))
    self.labels, self.targets = (
      torch.tensor(given[n].astype(np.int64)) for n in ("labels", "targets")
    )
    self.found = cases.load(folder, "found")

  @staticmethod
  def _pixels(images: Any) -> torch.Tensor:
    pixels = np.asarray(images, np.float32).transpose(0, 3, 1, 2) / np.float32(255)
    return torch.tensor(np.ascontiguousarray(pixels))

  def net(self, layout: torch.memory_format) -> ResNet:
    """The network, with ours' weights; see `ResNet.moved`."""
    facts, variables = self.facts, cases.load(self.folder, "variables")
    return ResNet(
      variables,
      facts["stages"],
      facts["stride"],
      padding=facts["padding"],
      layout=layout,
    ).moved("cpu")

  def check_logits(self, net: ResNet) -> float:
    """How far its logits are from ours."""
    with torch.no_grad():
      logits = net(self.images, "adv")
    return apart("logits", logits, self.found["logits"])


def apart(
  what: str, theirs: Any, ours: Any, scale: float = 0.0, most: float = TOLERANCE
) -> float:
  """How far two results are apart, of the largest of ours or of `scale`.

  Raises:
    SystemExit: further than `most`.
  """
  difference = float(np.abs(np.asarray(theirs) - ours).max())
  found = difference / (scale or float(np.abs(ours).max()))
  if not found <= most:
    raise SystemExit(f"{what}: the two sides are {found:.2g} apart, not the same")
  return found


def pgd_steps(side: Side, layout: torch.memory_format, compiled: bool) -> Run:
  """An attack."""
  loss, facts = targeted(side.net(layout).fixed(), "adv", compiled), side.facts
  return functools.partial(
    pgd,
    loss,
    side.images,
    side.start,
    side.targets,
    eps=facts["eps"] / 255,
    step_size=facts["step_size"] / 255,
    steps=facts["steps"],
  )


def evaluation(side: Side, layout: torch.memory_format, compiled: bool) -> Run:
  """All readings of a batch."""
  net, facts = side.net(layout).fixed(), side.facts
  loss = targeted(net, "adv", compiled)
  logits = torch.compile(net, dynamic=False) if compiled else net

  def read(images: torch.Tensor, survived: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
      predicted = logits(images, "adv").argmax(1)
    survived = survived & (predicted == side.labels)
    int((predicted == side.labels).sum()), int((predicted == side.targets).sum())
    return survived

  def run() -> None:
    survived = read(side.images, torch.ones_like(side.labels, dtype=torch.bool))
    for trajectory in facts["plan"]:
      adv, done = side.start, 0
      for n in trajectory["readings"]:
        adv = pgd(
          loss,
          side.images,
          adv,
          side.targets,
          eps=facts["eps"] / 255,
          step_size=trajectory["step_size"] / 255,
          steps=n - done,
        )
        survived, done = read(adv, survived), n

  return run


def training(side: Side, layout: torch.memory_format, compiled: bool) -> Run:
  """Whole training steps; the first, from ours' images, ends in ours' weights."""
  net = side.net(layout)
  made = Training(net, _recipe(side), compiled)
  before = {name: array.clone() for name, array in net.arrays.items()}
  adv = side._pixels(side.found["adv"])
  loss = made.learn(side.images, side.labels, adv)
  apart("loss", loss, side.found["loss"])
  check_step(side, before, net)
  return functools.partial(made, side.images, side.labels, side.start, side.targets)


def check_step(side: Side, before: dict[str, torch.Tensor], net: ResNet) -> None:
  """Whether weights and statistics have gone where ours have gone, of the way."""
  facts = side.facts
  after = ResNet(side.found["after"], facts["stages"], facts["stride"]).arrays
  for name, array in net.arrays.items():
    ours = after[name].numpy()
    moved = float((after[name] - before[name]).detach().abs().max())
    apart(name, array.detach(), ours, moved + 1e-6, OF_A_STEP)


def _recipe(side: Side) -> Recipe:
  facts = side.facts
  return Recipe(
    eps=facts["eps"] / 255,
    step_size=facts["step_size"] / 255,
    steps=facts["steps"],
    mixture=True,
    alp_weight=facts["alp_weight"],
    smoothing=facts["smoothing"],
    batches=facts["batches"],
    rate=facts["rate"],
    momentum=facts["momentum"],
    weight_decay=facts["weight_decay"],
  )


MAKERS = {"pgd": pgd_steps, "train": training, "evaluation": evaluation}


def without_compiler() -> str:
  """Why torch.compile is not measured; empty where it is."""
  names = (os.environ.get("CXX", ""), "g++", "clang++", "c++")
  if any(name and shutil.which(name) for name in names):
    return ""
  return "torch.compile was left out: on CPUs it needs a C++ compiler, as g++"


def operations(run: Run) -> int:
  """Of one call, in convolutions and matrix products, as PyTorch counts them."""
  with FlopCounterMode(display=False) as counter:
    run()
  return int(counter.get_total_flops())


def _threads(count: int, run: Run) -> Run:
  def with_threads() -> Any:
    torch.set_num_threads(count)
    return run()

  return with_threads


def prepared(side: Side, eager: bool) -> tuple[turns.Forms, dict[str, Any]]:
  """The forms of a case by name, and what is to be known of them."""
  make, every = MAKERS[side.case.kind], torch.get_num_threads()
  note, layouts = without_compiler(), list(LAYOUTS.items())
  runs = {f"PyTorch, {name}": make(side, layout, False) for name, layout in layouts}
  forms = {name: _threads(every, run) for name, run in runs.items()}
  if every > 1:  # which wait for each other on a machine that is not quiet
    faster = min(runs, key=lambda name: turns.timed(forms[name], 2))
    forms[f"{faster}, one thread"] = _threads(1, runs[faster])
  if not (eager or note):
    name, layout = layouts[0]
    compiled = make(side, layout, True)
    try:
      torch.set_num_threads(every)
      compiled()
      forms[f"PyTorch, {name}, compiled"] = _threads(every, compiled)
    except torch._dynamo.exc.TorchDynamoException as error:
      note = f"torch.compile failed: {str(error).splitlines()[0]}"
  square = torch.randn(machine.SIDE, machine.SIDE)
  forms["matrices, PyTorch"] = _threads(every, lambda: square @ square)
  facts = {
    "torch": torch.__version__,
    "threads": every,
    "flops": operations(make(side, torch.channels_last, False)),
    "apart": side.check_logits(side.net(torch.channels_last)),
    "note": note,
  }
  return forms, facts


def main() -> None:
  """The command line; see the module's docstring."""
  name, folder, *words = sys.argv[1:]
  side = Side(CASES[name], Path(folder))
  turns.serve(lambda: prepared(side, "--eager" in words))


if __name__ == "__main__":
  main()
