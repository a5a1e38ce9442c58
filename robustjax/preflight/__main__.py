"""Says whether a run fits on a slice of TPUs, and what it costs, before it is rented.

robustjax preflight mbn_alp --topology=v5e:16x16
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Sequence
from pathlib import Path

from absl import logging

from robustjax.config import Config, flags
from robustjax.errors import Parser, UserError
from robustjax.preflight import (
  answers,
  chips,
  compiling,
  examination,
  published,
  quick,
  table,
  text,
  topology,
)
from robustjax.runtime import compile_cache, settings

FITS, DOES_NOT_FIT, MISTAKE, BUG = 0, 1, 2, 3  # exit statuses
_CHILD = "from robustjax.preflight import __main__ as m; import sys; sys.exit(m.main())"


@settings.ours(keeps=False)
def main() -> int:
  """The command line; returns the exit status."""
  signal.signal(signal.SIGINT, signal.SIG_DFL)  # a compile does not listen to Python
  if compiling.RUN in os.environ:
    threading.Thread(target=quick.end_with_parent, daemon=True).start()
  logging.set_verbosity(logging.FATAL)
  try:
    return run(_parse(sys.argv[1:]))
  except UserError as error:
    print(f"error: {error}", file=sys.stderr)
    return MISTAKE
  except Exception:  # Python's own status for it says "does not fit"
    traceback.print_exc()
    return BUG


def guarded() -> int:
  """`main` in a process of its own, since a compiler that crashes takes it along."""
  for number in (signal.SIGTERM, signal.SIGHUP):  # the latter is what libtpu ignores
    if signal.getsignal(number) == signal.SIG_DFL:
      signal.signal(number, lambda number, _: sys.exit(128 + number))
  with tempfile.TemporaryDirectory(
    prefix="robustjax-preflight-", ignore_cleanup_errors=True
  ) as folder:
    try:
      while (status := _status_of_child(Path(folder))) is None:
        print(
          "the compiler crashed on this program: going on without it", file=sys.stderr
        )
      return status
    except KeyboardInterrupt:
      return 128 + signal.SIGINT


def _status_of_child(folder: Path) -> int | None:
  """Its exit status; None if the compiler crashed and the next child will know it.

  Args:
    folder: what it writes here goes when all ends, however that is.
  """
  words = [sys.executable, "-c", _CHILD, *sys.argv[1:]]
  environment = {"TMPDIR": str(folder), compiling.RUN: str(folder)}
  child = subprocess.Popen(words, env={**os.environ, **environment})
  try:
    status = child.wait()
  finally:
    child.kill()
    child.wait()
  if status >= 0:
    return status
  if -status in answers.CRASHES:
    if compiling.crashed(folder, -status):
      return None
    print(f"error: the compiler crashed (signal {-status})", file=sys.stderr)
    return BUG
  if -status == signal.SIGKILL:
    print(f"error: {answers.KILLED}", file=sys.stderr)
  return 128 - status


def run(options: argparse.Namespace) -> int:
  """Does what the flags say; returns the exit status."""
  cache = Path(options.cache) if options.cache else None
  if options.all:
    if options.rest:
      raise UserError(
        f"--all takes no {options.rest[0]!r}: it knows the paper's settings"
      )
    table.write(
      [name for names in options.topology for name in names.split(",")],
      Path(options.out),
      utilisation=options.utilisation,
      cache=cache,
    )
    return FITS
  config = _config(options.rest)
  if options.devices:
    examination.check(config, options.devices)
    _print_split(config, options.devices, options.json)
    return FITS
  examined = examination.examine(
    config,
    _target(options),
    utilisation=options.utilisation,
    cache=cache,
    look_for_largest=options.largest,
    quick=options.quick,
  )
  if options.json:
    print(json.dumps(text.values(examined), indent=2))
  else:
    print(text.lines(examined))
  return FITS if examined.fits else DOES_NOT_FIT


def _print_split(config: Config, devices: int, as_json: bool) -> None:
  images = config.train.batch_size // devices
  values = {"setting": config.setting, "devices": devices, "images_per_device": images}
  line = f"main takes {config.setting} on {devices} devices, {images} images each"
  print(json.dumps(values, indent=2) if as_json else line)


def parser() -> Parser:
  """The flags, but for those of a configuration."""
  made = Parser(
    "robustjax preflight",
    description=(__doc__ or "").splitlines()[0],
    epilog="Exit status: 0 it fits (or the table is written), 1 it does not, 2 a"
    " mistake, 3 a bug, with its traceback. The TPU compiler is"
    " pip install 'robustjax[tpu]'; no TPU is needed.",
    usage="%(prog)s SETTING[:VARIANTS] --topology=SLICE\n"
    "                           [--config.section.name=value ...]",
  )
  targets = made.add_mutually_exclusive_group(required=True)
  targets.add_argument(
    "--topology",
    action="append",
    metavar="SLICE",
    help="such as v5e:16x16, or Google Cloud's name, v5e-256; kinds are"
    f" {', '.join(chips.CHIPS)}",
  )
  targets.add_argument(
    "--device", metavar="cpu|GPU", help="this machine's CPU, or its GPU by name (h100)"
  )
  targets.add_argument(
    "--devices",
    type=_count,
    metavar="N",
    help="compiles nothing: only whether main takes the configuration on so many",
  )
  made.add_argument(
    "--utilisation",
    type=_share,
    default=published.USUAL,
    help="the part of each program's roof that the forecast assumes: a guess (default"
    " %(default)s), about what others' measurements came to, which it prints",
  )
  made.add_argument(
    "--json", action="store_true", help="prints JSON, with sizes in bytes"
  )
  made.add_argument(
    "--largest",
    action=argparse.BooleanOptionalAction,
    default=True,
    help="looks for the largest batch that fits: up to four compiles more, on TPUs"
    " quick ones",
  )
  made.add_argument(
    "--quick",
    action="store_true",
    help="stops each compile when memory is assigned: seconds instead of minutes, but"
    " no code is generated, so its size and errors are not seen; --all does so too",
  )
  made.add_argument(
    "--cache",
    default=_default_cache(),
    metavar="DIR",
    help="where the compiler's answers are kept (default %(default)s); '' for nowhere",
  )
  made.add_argument(
    "--all",
    action="store_true",
    help="every setting of the paper on each --topology, as a table in --out",
  )
  made.add_argument("--out", metavar="FILE.md", help="where --all writes")
  return made


def _parse(words: Sequence[str]) -> argparse.Namespace:
  options, rest = parser().parse_known_args(words)
  options.rest = rest
  if options.all and not (options.out and options.topology):
    raise UserError("--all needs --topology=SLICE[,SLICE...] and --out=FILE.md")
  if not options.all and (options.out or len(options.topology or [""]) > 1):
    raise UserError("--out and several --topology are for --all")
  if options.quick and not options.topology:
    raise UserError("--quick is for --topology: no other compiler says so early")
  return options


def _share(word: str) -> float:
  value = float(word)
  if not 0 < value <= 1:
    raise argparse.ArgumentTypeError(f"{word} is not above 0 and at most 1")
  return value


def _count(word: str) -> int:
  if (value := int(word)) < 1:
    raise argparse.ArgumentTypeError(f"{word} is less than 1")
  return value


def _default_cache() -> str:
  programs = compile_cache.folder()
  return str(programs.with_name("preflight")) if programs else ""


def _config(words: Sequence[str]) -> Config:
  """Reads main's flags, which its parser takes from sys.argv."""
  for word in words:
    name = word.lstrip("-").partition("=")[0]
    if not word.startswith("-") or not (name + ".").startswith(
      ("config.", "noconfig.")
    ):
      raise UserError(
        f"{word!r} is not a flag of the preflight: robustjax preflight --help"
      )
  sys.argv[1:] = words
  return flags.parse()


def _target(options: argparse.Namespace) -> topology.Target:
  if options.topology:
    return topology.tpu(options.topology[0])
  return topology.cpu() if options.device == "cpu" else topology.gpu(options.device)


if __name__ == "__main__":
  sys.exit(guarded())
