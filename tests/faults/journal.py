"""What came of faults so far, kept through any kill of the runner."""

import dataclasses
import json
import random
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from .table import Result


class Journal:
  """The results of one subject: a line a case.

  Args:
    path: of its file.
    seed: of all moments and places; results of another one do not count.
    code: the digest of the code that is tried.
    keep: whether what was right with other code counts, too.
  """

  def __init__(self, path: Path, seed: int, code: str, keep: bool):
    self._path, self._head = path, {"seed": seed, "code": code}
    self._found: dict[str, tuple[str, list[Result]]] = {}
    for text in path.read_text().splitlines() if path.exists() else ():
      try:
        line = json.loads(text)
      except ValueError:  # a kill cut it short
        continue
      results = [Result(**values) for values in line["results"]]
      right = not any(result.wrong for result in results)
      if line["seed"] == seed and (line["code"] == code or (keep and right)):
        self._found[line["case"]] = line["code"], results

  def results(
    self, case: str, make: Callable[[random.Random], Iterable[Result]]
  ) -> Iterator[Result]:
    """Those of a case, as it was found before or is found now."""
    if case not in self._found:
      results = []
      for result in make(random.Random(f"{self._head['seed']} {case}")):
        results.append(result)
        yield result
      self._write(case, results)
    else:
      yield from self._found[case][1]

  def has(self, case: str) -> bool:
    """Whether it is found."""
    return case in self._found

  def all(self) -> Iterator[tuple[str, Result]]:
    """Every result, and the digest of its code."""
    for code, results in self._found.values():
      for result in results:
        yield code, result

  def _write(self, case: str, results: list[Result]) -> None:
    self._found[case] = str(self._head["code"]), results
    values = [dataclasses.asdict(result) for result in results]
    line = json.dumps({"case": case, **self._head, "results": values})
    with self._path.open("a") as file:
      file.write(f"{line}\n")
