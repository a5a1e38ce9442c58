"""What evaluations by attacks, and audits, left in a run's folder: each checked."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from robustjax.report.checked import Damaged, each, get, read_json, short
from robustjax.report.document import clean
from robustjax.report.files import counts, names_of
from robustjax.report.paired import Ledger, read_ledger

SUMMARY = "evaluations/*/summary.json"  # the last file that an evaluation writes
LEDGER = "images.jsonl"
AUDIT = "audits/*/audit.json"
VERDICTS = ("clean", "suspicious", "masked")  # from good to bad
NOT_MADE = "not made"
_OF_A_NETWORK = {
  "network", "step", "weights", "branch", "attack_branch", "seed", "precision",
}  # fmt: skip

T = TypeVar("T")
Problem = Callable[[str, Damaged], None]


class Identity(NamedTuple):
  """What was evaluated or audited.

  Attributes:
    branch: that predicts.
    attack_branch: that the attack sees.
    data: the data set.
    split: of it.
    norm: of the attack, such as "linf".
    eps: of 255 for "linf".
    step: of the checkpoint; None if it is not said.
  """

  branch: str
  attack_branch: str
  data: str
  split: str
  norm: str
  eps: float
  step: int | None


@dataclass(frozen=True)
class Suite:
  """An evaluation by attacks: `robust` images of the `clean` ones survived them all.

  Attributes:
    name: of its folder, below the run's.
    identity: what was evaluated.
    protocol: all of its identity that is not of the network: where two have the same,
      they may be compared.
    attack: for a person, such as "standard" or "apgd-ce, pgd".
    images: that were tried.
    clean: that are right without an attack.
    robust: that no attack broke.
    ledger: the same image by image.
  """

  name: str
  identity: Identity
  protocol: str
  attack: str
  images: int
  clean: int
  robust: int
  ledger: Ledger


@dataclass(frozen=True)
class Audit:
  """Whether attacks on a network can be trusted.

  Attributes:
    identity: what was audited.
    verdict: of `VERDICTS`.
    checks: (name, verdict or "not made", what it says in words).
  """

  identity: Identity
  verdict: str
  checks: tuple[tuple[str, str, str], ...]


def read_suites(run: Path, problem: Problem) -> tuple[Suite, ...]:
  """The finished evaluations of a run; `problem` is told the file and the damage."""
  return _read(run, SUMMARY, _suite, problem)


def read_audits(run: Path, problem: Problem) -> tuple[Audit, ...]:
  """The audits of a run; `problem` is told the file and the damage."""
  return _read(run, AUDIT, _audit, problem)


def _read(
  run: Path, files: str, read: Callable[[Path], T], problem: Problem
) -> tuple[T, ...]:
  found = []
  for path in sorted(run.glob(files)):
    try:
      found.append(read(path))
    except Damaged as error:
      problem(path.relative_to(run).as_posix(), error)
  return tuple(found)


def _suite(path: Path) -> Suite:
  value = read_json(path, finite=True)
  images, right, robust = counts(value)
  attack = names_of(get(value, "identity.attack", str))
  try:
    ledger = read_ledger(path.with_name(LEDGER))
  except Damaged as error:
    raise Damaged(f"{LEDGER}: {error}") from error
  lines = list(ledger.values())
  _agree("images", images, len(lines))
  _agree("clean", right, sum(image.clean for image in lines))
  _agree("robust", robust, sum(image.robust for image in lines))
  broken = [image.broken_by for image in lines if image.broken_by is not None]
  names = each(
    get(value, "attacks", list), lambda a: _attack(a, right, broken), "attack"
  )
  if len(set(names)) < len(names) or not set(broken) <= set(names):
    raise Damaged("its attacks are not those of the ledger")
  name, said = clean(path.parent.name), value["identity"]
  rest = {key: said[key] for key in sorted(said.keys() - _OF_A_NETWORK)}
  protocol = json.dumps(rest)
  return Suite(name, _identity(value), protocol, attack, images, right, robust, ledger)


def _agree(what: str, said: int, counted: int) -> None:
  if said != counted:
    raise Damaged(f"{said} {what}, and {counted} in {LEDGER}")


def _attack(value: Any, right: int, broken: list[str]) -> str:
  name = clean(get(value, "name", str))
  attacked = get(value, "attacked", int)
  _agree(f"broken by {short(name)}", get(value, "broken", int), broken.count(name))
  if not broken.count(name) <= attacked <= right:
    raise Damaged(f"{attacked} attacked and {broken.count(name)} broken of {right}")
  return name


def _audit(path: Path) -> Audit:
  value = read_json(path, finite=True)
  checks = each(get(value, "checks", list), _check, "check")
  return Audit(_identity(value), _verdict(value, VERDICTS), tuple(checks))


def _check(value: Any) -> tuple[str, str, str]:
  verdict = _verdict(value, (*VERDICTS, NOT_MADE))
  return clean(get(value, "name", str)), verdict, clean(get(value, "what", str))


def _verdict(value: Any, words: tuple[str, ...]) -> str:
  verdict: str = get(value, "verdict", str)
  if verdict not in words:
    raise Damaged(f"its verdict is {short(verdict)}")
  return verdict


def _identity(value: Any) -> Identity:
  found = get(value, "identity", dict)
  texts = [clean(get(found, n, str)) for n in ("branch", "data", "split", "norm")]
  branch, data, split, norm = texts
  attacked = clean(get({"attack_branch": branch, **found}, "attack_branch", str))
  step = None if found.get("step") is None else get(found, "step", int)
  eps = float(get(found, "eps", float))
  return Identity(branch, attacked, data, split, norm, eps, step)
