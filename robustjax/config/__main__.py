"""Prints every value of an experiment with its unit and where it comes from.

python -m robustjax.config experiments/mbn_alp.py:mini [--config.section.name=value]
"""

import os
import sys

from robustjax import config as configs
from robustjax.config import flags
from robustjax.errors import UserError
from robustjax.report import table

USAGE = "python -m robustjax.config FILE[:VARIANTS] [--config.section.name=value ...]"


def main() -> int:
  """The command line; returns the exit status, 2 for a mistake."""
  if len(sys.argv) == 1 or {"--help", "-h"} & set(sys.argv):
    print(f"{USAGE}\n\n{__doc__.splitlines()[0]}")
    return 0 if len(sys.argv) > 1 else 2
  # The parser reads sys.argv, where it expects the file behind a flag.
  sys.argv[1:] = [
    word if word.startswith("-") else f"--config={word}" for word in sys.argv[1:]
  ]
  try:
    config = flags.parse()
  except UserError as error:
    print(f"error: {error}", file=sys.stderr)
    return 2
  rows = [tuple(str(cell) for cell in row.values()) for row in configs.table(config)]
  try:
    print(table.align([("name", "value", "unit", "source"), *rows]), flush=True)
  except BrokenPipeError:  # as with `| head`
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
  return 0


if __name__ == "__main__":
  sys.exit(main())
