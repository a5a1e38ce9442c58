"""How long a train step compiles and how much memory it takes, by depth and form.

python -m benchmarks.compile_depth --config=experiments/adv.py

Prints a row for each depth and each way of computing it: seconds to compile the
configuration's train step for 8 TPU v5e chips, 32 images a chip, and GiB a chip. No
TPU is needed; libtpu is (`pip install "robustjax[tpu]"`). It takes an hour on two
cores. `python -m benchmarks.compile_depth --config=experiments/adv.py 638:scan:block
50:unrolled:none` prints these rows alone.
"""

import os
import sys

from robustjax import config as configs
from robustjax.config import Config, flags
from robustjax.preflight import compiling, programs, topology
from robustjax.runtime import parallel

SLICE, IMAGES = "v5e:2x4", 32
ROWS = (
  "50:unrolled:none",
  "50:scan:block",
  "152:unrolled:none",
  "152:scan:none",
  "152:scan:convolutions",
  "152:scan:block",
  "638:scan:none",
  "638:scan:convolutions",
  "638:scan:block",
)
GIB = 2**30


def measure(base: Config, row: str, target: topology.Target) -> str:
  """One row: compiles the train step of `base` at a depth and in a form."""
  depth, form, remat = row.split(":")
  config = configs.copy(base)
  config.model.depth, config.model.scan = int(depth), form == "scan"
  config.model.remat = remat
  config.train.batch_size = IMAGES * len(target.devices)
  program = programs.training(config, parallel.mesh(target.devices))[0]
  found = compiling.compile_program(program, target)
  load = f"load {os.getloadavg()[0]:.1f}"
  if found.memory is None:
    needed = f"{found.needed / GIB:.2f}" if found.needed else "?"
    return f"{row}: does not fit, needs {needed} GiB, {load}"
  memory = found.memory
  return (
    f"{row}: {found.seconds:.0f} s, temporaries {memory.temporaries / GIB:.2f} GiB,"
    f" arguments {memory.arguments / GIB:.2f} GiB, code {memory.code / GIB:.2f} GiB,"
    f" {load}"
  )


def main() -> None:
  """Measures the rows that the command line names, or all."""
  rows = [word for word in sys.argv[1:] if not word.startswith("-")] or ROWS
  sys.argv = [word for word in sys.argv if word not in rows]
  config = flags.parse()
  target = topology.tpu(SLICE)
  for row in rows:
    print(measure(config, row, target), flush=True)


if __name__ == "__main__":
  main()
