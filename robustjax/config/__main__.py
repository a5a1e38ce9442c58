"""Prints every value of an experiment with its unit and where it comes from.

robustjax config mbn_alp:mini [--config.section.name=value]
"""

import os
import sys

from robustjax import config as configs
from robustjax.config import flags
from robustjax.errors import ended

USAGE = "robustjax config SETTING[:VARIANTS] [--config.section.name=value ...]"


def main() -> int:
  """The command line; returns the exit status, 2 for a mistake."""
  if len(sys.argv) == 1 or {"--help", "-h"} & set(sys.argv):
    print(f"usage: {USAGE}\n\n{__doc__.splitlines()[0]}\n\n{flags.usage()}")
    return 0 if len(sys.argv) > 1 else 2
  # The parser reads sys.argv, where it expects the file behind a flag.
  sys.argv[1:] = [
    word if word.startswith("-") else f"--config={word}" for word in sys.argv[1:]
  ]
  return ended(lambda: _show(flags.parse()))


def _show(config: configs.Config) -> None:
  rows = [[str(cell) for cell in row.values()] for row in configs.table(config)]
  rows.insert(0, ["name", "value", "unit", "source"])
  widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
  rows.insert(1, ["-" * width for width in widths])
  try:
    for row in rows:
      print("  ".join(map(str.ljust, row, widths)).rstrip())
    sys.stdout.flush()
  except BrokenPipeError:  # as with `| head`
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
  sys.exit(main())
