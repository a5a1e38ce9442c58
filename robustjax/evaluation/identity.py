"""What an evaluation's ledger depends on, beside the code and the kind of device."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from robustjax.evaluation.network import Network
from robustjax.evaluation.suite import Attack
from robustjax.runtime import checkpoint


def identity(
  network: Network,
  attacked: Network,
  attack: str,
  attacks: Sequence[Attack],
  indices: Sequence[int],
  data: Mapping[str, str],
  step: int | None,
  seed: int,
) -> dict[str, Any]:
  """The values by which two evaluations are the same.

  Args:
    network: whose predictions count.
    attacked: what the attacks see.
    attack: as it was asked for, such as "standard".
    attacks: what that means.
    indices: the images.
    data: the names of the data set and its split.
    step: of the checkpoint, if it has one.
    seed: of all randomness.
  """
  options, ball = attacks[0].options, attacks[0].ball
  return {
    **subject(network, attacked, indices, data, step),
    "norm": ball.norm,
    "eps": ball.eps,
    "attack": attack,
    "attacks": [one.name for one in attacks],
    "steps": options.steps,
    "restarts": options.restarts,
    "queries": options.queries,
    "targets": options.targets,
    "step_size": options.step_size,
    "loss": options.loss,
    "iterate": "last" if options.last else "best",
    "seed": seed,
  }


def of_readings(
  network: Network,
  attack: str,
  readings: Sequence[int],
  indices: Sequence[int],
  data: Mapping[str, str],
  *,
  eps: float,
  step_size: float,
  step: int | None,
  seed: int,
) -> dict[str, Any]:
  """The same of readings of trajectories; the arguments are those of `identity`.

  Args:
    network: whose predictions count, and what is attacked.
    attack: its name.
    readings: numbers of steps.
    indices: the images.
    data: the names of the data set and its split.
    eps: of 255.
    step_size: the least, of 255.
    step: of the checkpoint, if it has one.
    seed: of all randomness.
  """
  return {
    **subject(network, network, indices, data, step),
    "norm": "linf",
    "eps": eps,
    "attack": attack,
    "attacks": [f"targeted PGD-{steps}" for steps in readings],
    "step_size": step_size,
    "seed": seed,
  }


def subject(
  network: Network,
  attacked: Network,
  indices: Sequence[int],
  data: Mapping[str, str],
  step: int | None,
) -> dict[str, Any]:
  """What is evaluated, on which images; the arguments are those of `identity`."""
  return {
    "network": network.name,
    "step": step,
    "weights": _digest(checkpoint.digests(network.variables)),
    "branch": network.branch,
    "attack_branch": attacked.branch,
    **data,
    "images": len(indices),
    "indices": _digest(list(indices)),
    **network.precision,
  }


def in_words(identity: Mapping[str, Any]) -> tuple[str, str]:
  """Which network is attacked through what, and in which ball."""
  branch, attacked = identity["branch"], identity["attack_branch"]
  through = f", branch {branch}" if branch != "all" else ""
  by = f", attacked through {attacked}" if attacked != branch else ""
  ball = {"linf": "L-infinity", "l2": "L2"}[identity["norm"]]
  return f"{identity['network']}{through}{by}", f"{ball} eps {identity['eps']:g}"


def folder_name(identity: Mapping[str, Any]) -> str:
  """The folder of an evaluation within a run's: standard-linf32-adv-1000."""
  branch, attacked = identity["branch"], identity["attack_branch"]
  by = "" if attacked == branch else f"-by-{attacked}"
  attack = identity["attack"].replace(",", "+")
  ball = f"{identity['norm']}{identity['eps']:g}"
  return f"{attack}-{ball}-{branch}{by}-{identity['images']}"


def _digest(value: Any) -> str:
  return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]
