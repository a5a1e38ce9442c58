"""Pieces by name: those of the project, and anybody's `package.module:function`.

A piece is a function that is called with what its arguments ask for by name, of what
there is: values of the configuration, once, and arrays at each call. docs/extend.md
lists both for each kind of piece.
"""

import dataclasses
import functools
import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from robustjax import config as configs
from robustjax.config import Config, relations
from robustjax.config.pieces import PIECES
from robustjax.errors import UserError

# The pieces that come with the project and are called as anybody's.
_OURS = {
  "kl": "robustjax.attacks.kl:attack",
  "trades": "robustjax.training.trades:loss",
  "steps": "robustjax.training.optimizer:step_schedule",
  "cosine": "robustjax.training.optimizer:cosine_schedule",
  "wandb": "robustjax.runtime.wandb_tracker:start",
}


@dataclasses.dataclass(frozen=True)
class Piece:
  """A function with the values that it asked for.

  Attributes:
    name: of the value that names it, such as "loss.name".
    what: that value.
    function: called with keywords, those in `sees`.
    sees: what it asks for at each call.
  """

  name: str
  what: str
  function: functools.partial[Any]
  sees: frozenset[str]

  @property
  def asked(self) -> Collection[str]:
    """The values of the configuration that it asked for."""
    return self.function.keywords.keys()

  def __str__(self) -> str:
    """For messages."""
    return f"config.{self.name}: {self.what}"

  def __call__(self, **given: Any) -> Any:
    """Calls it with what it asks for of what there is."""
    return self.function(**{name: given[name] for name in self.sees})

  def make(self) -> Any:
    """What it makes of the values of the configuration alone.

    Raises:
      UserError: it raises something, in its own words.
    """
    try:
      return self.function()
    except UserError:
      raise
    except Exception as error:  # whatever somebody's code raises
      raise UserError(f"{self} makes nothing: {told(error)}") from error


def imported(what: str) -> Any:
  """What package.module:function names.

  Raises:
    UserError: there is no such thing, or its module cannot be imported.
  """
  name, _, function = what.partition(":")
  if "" not in sys.path and name.split(".")[0] != "robustjax":
    sys.path.insert(0, "")
  try:
    module = importlib.import_module(name)
  except ModuleNotFoundError as error:
    raise UserError(
      f"{what}: there is no module {error.name}; start where it can be imported from,"
      " or put its folder in PYTHONPATH"
    ) from error
  except Exception as error:  # whatever somebody's code raises
    raise UserError(f"{what} cannot be imported: {told(error)}") from error
  if not hasattr(module, function):
    raise UserError(f"{what}: the module {name} has no {function}")
  return getattr(module, function)


def told(error: Exception) -> str:
  """The first line of what somebody's code raised, and its kind."""
  return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


def piece(
  config: Config,
  name: str,
  values: Mapping[str, Any],
  given: Collection[str] = (),
) -> Piece:
  """The piece that a value names.

  Args:
    config: checked.
    name: of the value, such as "loss.name".
    values: what it may ask for, once: name -> value.
    given: what it may ask for at each call.

  Returns:
    The piece, not yet called.

  Raises:
    UserError: it is not there, is no function, or asks for what there is not.
  """
  try:
    return made(name, str(configs.flatten(config)[name]), values, given)
  except UserError as error:
    raise UserError(f"config.{name}: {error}") from error


def made(
  name: str, what: str, values: Mapping[str, Any], given: Collection[str] = ()
) -> Piece:
  """As `piece`, of a value that need not be a configuration's."""
  function = imported(_OURS.get(what, what))
  if not callable(function):
    raise UserError(f"{what} is a {type(function).__name__}, not a function")
  asked = _asked(what, function, {*values, *given})
  bound = functools.partial(function, **{n: values[n] for n in asked if n in values})
  return Piece(name, what, bound, frozenset(asked & {*given}))


def _asked(what: str, function: Callable[..., Any], there: Collection[str]) -> set[str]:
  """What a function asks for by the names of its arguments.

  Raises:
    UserError: what there is not.
  """
  try:
    arguments = inspect.signature(function).parameters.values()
  except (TypeError, ValueError) as error:
    raise UserError(f"{what} has no signature") from error
  by_name = [a for a in arguments if a.kind not in (a.VAR_KEYWORD, a.VAR_POSITIONAL)]
  for one in by_name:
    is_known = one.name in there and one.kind != one.POSITIONAL_ONLY
    if not is_known and one.default is one.empty:
      raise UserError(
        f"{what} asks for {one.name!r}; it may ask by name for"
        f" {', '.join(sorted(there))}"
      )
  return {one.name for one in by_name} & {*there}


def unused(config: Config, section: str, asked: Collection[str]) -> None:
  """Refuses values that a person set and a piece of the section does not ask for.

  Args:
    config: checked.
    section: such as "loss".
    asked: what of its values counts all the same.

  Raises:
    UserError: one is set.
  """
  flat = configs.flatten(config)
  for name in flat:
    of, _, key = name.rpartition(".")
    if of != section or name in PIECES or key in asked:
      continue
    if not relations.as_the_scale(flat, name):
      whose = flat[_CHOOSES[section]]
      raise UserError(
        f"config.{name} is {flat[name]!r}, which {whose} does not ask for: leave it out"
      )


_CHOOSES = {"model": "model.network", "attack": "attack.name", "loss": "loss.name"}


def own(config: Config) -> dict[str, str]:
  """Dotted name -> "package.module:function" of each that is not the project's."""
  return configs.own(configs.flatten(config))


def tracker(config: Config, workdir: Path) -> tuple[str, Callable[..., Any]] | None:
  """The name of the tracker and what starts it, if there is one.

  Raises:
    UserError: there is no such tracker.
  """
  what = config.train.tracker
  if not what:
    return None
  if what == "wandb" and importlib.util.find_spec("wandb") is None:
    raise UserError(
      "config.train.tracker is 'wandb', which is not installed: pip install"
      " 'robustjax[wandb]'"
    )
  values = {"config": configs.plain(config), "workdir": workdir}
  return what, piece(config, "train.tracker", values, ("id",))


def digests(config: Config) -> dict[str, tuple[str, str]]:
  """Which code the pieces are that are not the project's, as far as it is their file.

  Returns:
    Dotted name -> what names the piece, and the beginning of its file's SHA-256 or what
    is the matter with it.
  """
  found = {}
  for name, what in own(config).items():
    if name == "train.tracker":
      continue  # the affair of one host, and of no result
    path = source(what)
    found[name] = (what, digest(path) if path else "not there")
  return found


def digest(path: Path) -> str:
  """The beginning of a file's SHA-256."""
  return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def source(what: str) -> Path | None:
  """The file of a piece's module; None if there is none, as of what is built in."""
  if "" not in sys.path:
    sys.path.insert(0, "")
  try:
    spec = importlib.util.find_spec(what.partition(":")[0])
  except Exception:  # whatever a package raises that it is in
    return None
  return Path(spec.origin) if spec and spec.has_location and spec.origin else None
