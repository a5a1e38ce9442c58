"""AutoAttack's standard suite here and by its official code, one after the other.

python benchmarks/autoattack.py RUN [--branch=adv] [--images=1000] [--threads=2]

RUN is a finished run at mini scale. Both attack the same images of the same network,
PyTorch with its weights in channels-last layout. `make parity` installs the other side.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from pyautoattack import AutoAttack
from torch_resnet import ResNet

from robustjax.evaluate.subject import Wanted, open_subject
from robustjax.run import saved
from robustjax.runtime import parallel


def ours(run: Path, branch: str, images: int) -> tuple[float, dict[str, int]]:
  """Seconds of the command, imports and compiling included, and what is left."""
  with tempfile.TemporaryDirectory() as out:
    words = [str(run), f"--branch={branch}", f"--images={images}", f"--out={out}"]
    begun = time.monotonic()
    command = [sys.executable, "-m", "robustjax.evaluate", *words]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    seconds = time.monotonic() - begun
    summary = json.loads((Path(out) / "summary.json").read_text())
    return seconds, {"clean": summary["clean"], "robust": summary["robust"]}


def official(
  run: Path, branch: str, images: int, batch_size: int
) -> tuple[float, dict[str, int]]:
  """Seconds of the official code, and what is left."""
  config = saved.read_config(run)
  subject = open_subject(str(run), Wanted(), parallel.mesh())
  variables = subject.networks[branch].variables
  groups = config.model.gn_groups if config.model.norm == "gn" else 0
  net = ResNet(variables, config.model.stages, 2, groups).eval()
  batch = subject.images.read(range(images))
  x = torch.tensor(batch["image"].transpose(0, 3, 1, 2) / np.float32(255))
  y = torch.tensor(batch["label"].astype(np.int64))
  eps = config.eval.eps / 255
  begun = time.monotonic()
  attack = AutoAttack(
    net, norm="Linf", eps=eps, version="standard", device="cpu", seed=0
  )
  adv, *_ = attack.run_standard_evaluation(x, y, batch_size=batch_size)
  seconds = time.monotonic() - begun
  with torch.no_grad():
    clean, robust = ((net(z).argmax(1) == y).sum().item() for z in (x, adv))
  return seconds, {"clean": clean, "robust": robust}


def main() -> None:
  """Runs both and prints what each took and left."""
  parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
  parser.add_argument("run", type=Path)
  parser.add_argument("--branch", default="adv")
  parser.add_argument("--images", type=int, default=1000)
  parser.add_argument(
    "--batch_size", type=int, default=250, help="of the official code"
  )
  parser.add_argument("--threads", type=int, default=2, help="of PyTorch")
  args = parser.parse_args()
  torch.set_num_threads(args.threads)
  seconds, left = ours(args.run, args.branch, args.images)
  print(f"robustjax: {seconds:.0f} s, {left}", flush=True)
  slower, theirs = official(args.run, args.branch, args.images, args.batch_size)
  print(f"official: {slower:.0f} s, {theirs}; {slower / seconds:.2f} times as long")


if __name__ == "__main__":
  main()
