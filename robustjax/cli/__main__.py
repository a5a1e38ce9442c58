"""The command `robustjax`: each of its verbs is a module that `python -m` runs too.

robustjax train mbn_alp:mini --workdir=runs/mine
"""

import difflib
import runpy
import sys

from robustjax import __version__
from robustjax.cli.verbs import VERBS
from robustjax.errors import MISTAKE, UserError, ended


def main() -> int:
  """The command line; returns the exit status, if the verb's module does not end it."""
  if len(sys.argv) == 1:
    print(usage())
    return MISTAKE
  word, *rest = sys.argv[1:]
  if word in ("--help", "-h", "help"):
    print(usage())
  elif word == "--version":
    print(f"robustjax {__version__}")
  elif word == "completion":
    return ended(lambda: _completion(rest))
  elif verb := next((verb for verb in VERBS if verb.name == word), None):
    if verb.setting and rest and not rest[0].startswith("-"):
      rest[0] = f"--config={rest[0]}"
    sys.argv = [f"robustjax {word}", *rest]
    # As a main program, since some of them listen to signals only as such.
    runpy.run_module(verb.module, run_name="__main__")
  else:
    return ended(lambda: _unknown(word))
  return 0


def usage() -> str:
  """What --help prints."""
  verbs = "\n".join(f"  {verb.name:11} {verb.what}" for verb in VERBS)
  return (
    "usage: robustjax VERB [SETTING | RUN | ...] [--flag=value ...]\n\n"
    f"{(__doc__ or '').splitlines()[2]}\n\n{verbs}\n"
    "  completion  print the completion for bash, zsh or fish\n\n"
    "robustjax VERB --help says more. A SETTING is a file of yours or one that comes\n"
    "along, and behind a colon its variants: mbn_alp:mini. Exit status: 0 complete,\n"
    "2 a mistake, 143 stopped by a signal, 1 a bug, or what the verb's --help says."
  )


def _completion(words: list[str]) -> None:
  from robustjax.cli import completion  # what it asks for flags takes seconds to import

  if {"--help", "-h"} & set(words):
    print(f"usage: robustjax completion {{{','.join(completion.SHELLS)}}}\n")
    print("Prints the completion for a shell. Its first lines say where to keep it.")
    return
  if len(words) != 1 or words[0] not in completion.SHELLS:
    raise UserError(f"say for which shell: {' or '.join(completion.SHELLS)}")
  print(completion.script(words[0]))


def _unknown(word: str) -> None:
  names = [verb.name for verb in VERBS] + ["completion"]
  near = difflib.get_close_matches(word, names, 1, 0.5)
  hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(names)}"
  raise UserError(f"{word!r} is no verb of robustjax; {hint}")


if __name__ == "__main__":
  sys.exit(main())
