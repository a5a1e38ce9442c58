"""Injects faults into tiny runs, and prints one table of what came of them.

python -m tests.faults [--short] [--seed=0] [--only=kills,damage,disks,...]

In full it takes hours on two cores. What is found is kept in --work at once: killed,
the same command goes on. Subjects can be worked at side by side, each by a command of
its own; with "--only=damage:a file" a command takes the cases that begin so. Whoever
ends last writes docs/reliability.md.
"""

import argparse
import contextlib
import dataclasses
import datetime
import hashlib
import importlib
import importlib.metadata
import io
import os
import platform
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from . import kills, runs
from .journal import Journal
from .table import Result, table

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reliability.md"
SUBJECTS = ("kills", "damage", "disks", "values", "hostile", "sockets")


def main() -> int:
  parser = argparse.ArgumentParser(prog="python -m tests.faults")
  parser.add_argument("--short", action="store_true", help="a few of each")
  parser.add_argument("--seed", type=int, default=0, help="of the moments and places")
  parser.add_argument("--only", default=",".join(SUBJECTS), help="%(default)s")
  parser.add_argument("--work", type=Path, default=ROOT / "runs/faults", help="folder")
  kept = "count what was right with other code, and try the rest again"
  parser.add_argument("--keep", action="store_true", help=kept)
  part = "inject nothing, and write the page of what is found so far"
  parser.add_argument("--page", action="store_true", help=part)
  args = parser.parse_args()
  with contextlib.ExitStack() as closing:
    if args.short:
      name = tempfile.TemporaryDirectory(prefix="faults-")
      args.work = Path(closing.enter_context(name))
    _environment(args.work)
    books = _Books(args.work, args.short, args.seed, args.keep)
    found = [] if args.page else list(inject(args.only.split(","), books))
    print(table(found))
    if not args.short and (args.page or not books.left()):
      PAGE.write_text(page(books.all(), books.left(), args.seed))
      print(f"{PAGE}; {args.work} has what it is made of", file=sys.stderr)
  return int(any(result.wrong for result in found))


@dataclasses.dataclass(frozen=True)
class _Books:
  """The cases of every subject, and what came of them so far."""

  work: Path
  short: bool
  seed: int
  keep: bool

  def cases(self, subject: str) -> dict[str, kills.Case]:
    # Those that are worked at side by side have undisturbed runs of their own.
    folder = self.work if self.short else self.work / subject
    (self.work / subject).mkdir(parents=True, exist_ok=True)
    found = importlib.import_module(f".{subject}", __package__)
    cases: dict[str, kills.Case] = found.cases(folder, self.short)
    return cases

  def journal(self, subject: str) -> Journal:
    path = self.work / subject / "journal.jsonl"
    return Journal(path, self.seed, _code(), self.keep)

  def left(self) -> list[str]:
    """The subjects of which not all cases are there, and how many are."""
    found = []
    for subject in SUBJECTS:
      cases, book = self.cases(subject), self.journal(subject)
      there = sum(map(book.has, cases))
      if there < len(cases):
        found.append(f"{subject}: {there} of {len(cases)} cases")
    return found

  def all(self) -> list[tuple[str, Result]]:
    """All results with the digests of their code."""
    return [found for name in SUBJECTS for found in self.journal(name).all()]


def inject(only: Iterable[str], books: _Books) -> Iterator[Result]:
  """All faults of some subjects, or some of each, one after the other; says each."""
  # What is imported and drawn here, no start imports, and has its fonts.
  import matplotlib.figure
  import tensorboardX.record_writer  # noqa: F401

  import robustjax.main  # noqa: F401

  matplotlib.figure.Figure().savefig(io.BytesIO(), format="png")
  for words in only:
    subject, _, begin = words.partition(":")
    journal = books.journal(subject)
    for case, make in books.cases(subject).items():
      if not case.startswith(begin):
        continue
      for result in journal.results(case, make):
        how = f"WRONG: {result.wrong}" if result.wrong else result.outcome
        print(f"{result.fault}: {result.what} {how}", file=sys.stderr, flush=True)
        yield result


def _environment(work: Path) -> None:
  """What JAX reads when it is imported. Programs are compiled once, for all starts."""
  os.environ |= {
    "JAX_PLATFORMS": "cpu",
    "JAX_NUM_CPU_DEVICES": "1",
    "JAX_COMPILATION_CACHE_DIR": str(work.absolute() / "compiled"),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
  }
  sys.path.insert(0, str(ROOT))


def _code() -> str:
  """The digest of what is tried, and of what tries it."""
  found = hashlib.sha256()
  for room in ("robustjax", "tests/faults"):
    for path in sorted((ROOT / room).rglob("*.py")):
      found.update(path.read_bytes())
  return found.hexdigest()[:12]


def page(found: Sequence[tuple[str, Result]], left: Sequence[str], seed: int) -> str:
  """docs/reliability.md, of results and the digests of their code, and what is left."""
  results = [result for _, result in found]
  other = sum(code != _code() for code, _ in found)
  machine = f"{os.cpu_count()} cores of {_processor()}, Python {sys.version.split()[0]}"
  versions = f"jax {importlib.metadata.version('jax')}"
  text = _PAGE.format(
    date=datetime.date.today(), machine=machine, versions=versions, seed=seed,
    steps=runs.STEPS, table=table(results),
  )  # fmt: skip
  if left:
    text += f"\nIt is not complete: {'; '.join(left)}. `make faults` goes on with it.\n"
  if other:
    text += (
      f"\n{other} of the {len(found)} results are of an earlier state of the code.\n"
    )
  if wrong := [r for r in results if r.wrong]:
    text += "\n## What was wrong\n\n"
    text += "".join(f"- {r.fault}: {r.what} `{r.wrong[:300]!r}`\n" for r in wrong)
  return text


def _processor() -> str:
  with contextlib.suppress(OSError, IndexError):
    text = Path("/proc/cpuinfo").read_text()
    return text.split("model name\t: ")[1].split("\n")[0]
  return platform.machine()


_PAGE = """# What faults do to a run

{date}, {machine}, {versions}, seed {seed}.
`make faults` injects them and writes this page.

Every fault meets a tiny run of {steps} steps: Mixture BN, training, validation, an
evaluation through both branches, an adaptive attack, and the look inside.

- Survived: the run ended, perhaps when it was started again, in the same bytes as one
  that nothing disturbed (configuration, records, counts, ledgers, statistics, examples,
  pictures).
- Refused: exit status 2 and one line that names the thing and the remedy.
- Said: the run went on, and a line names what is lost.
- Lost steps: of training, that were made again; of an evaluation the batch that was
  under way is.
- Seconds: the median until the process had ended, of a machine that may do other work.

Kills and stops come at random moments of a phase. What is damaged is one file, of
those that the next start opens, of a run that had ended or was killed in some phase. A
disk is full after a share of what the run needs, and has room when the run is started
again.

{table}
"""


if __name__ == "__main__":
  sys.exit(main())
