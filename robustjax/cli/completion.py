"""Scripts that complete the command in a shell: verbs, settings, variants, flags."""

import argparse
import importlib
import shlex

from robustjax.cli.verbs import VERBS, Verb

_BASH = """\
# Completion of robustjax. Into a file that bash reads for it, such as
# ~/.local/share/bash-completion/completions/robustjax
_robustjax() {{
  local line="${{COMP_LINE:0:COMP_POINT}}" word words base one
  local variants={variants}
  local -a said
  read -ra said <<<"$line"
  word="${{line##*[[:space:]]}}"
  if [[ $word == [!-]*:* ]]; then
    base="${{word%"${{word##*[:,]}}"}}"
    words=" $variants"
    words="${{words// / $base}}"
  elif (( ${{#said[@]}} < 2 + (${{#word}} > 0) )); then
    words={verbs}
  else
    case "${{said[1]}}" in
{cases}
    esac
  fi
  COMPREPLY=()
  for one in $(compgen -W "$words" -- "$word"); do
    [[ $word == -* || $one != -* ]] || continue  # no flags before a - is typed
    [[ $one == *= || $one == *:* ]] || one+=" "
    # For bash a word begins behind a colon or an equals sign.
    COMPREPLY+=("${{one#"${{word%"${{word##*[:=]}}"}}"}}")
  done
}}
complete -o bashdefault -o default -o nospace -F _robustjax robustjax"""

_ZSH = """\
#compdef robustjax
# Completion of robustjax. Into a file _robustjax in a folder of $fpath.
_robustjax() {{
  local word="${{words[CURRENT]}}"
  local -a found variants=({variants})
  if [[ $word == [^-]*:* ]]; then
    local base="${{word%"${{word##*[:,]}}"}}"
    found=("$base"$^variants)
  elif (( CURRENT == 2 )); then
    found=({verbs})
  else
    case "${{words[2]}}" in
{cases}
    esac
  fi
  [[ $word == -* ]] || found=(${{found:#-*}})
  compadd -S '' -- ${{(M)found:#*(=|:*)}}
  compadd -- ${{found:#*(=|:*)}}
  compset -P '--*='
  _files
}}
compdef _robustjax robustjax"""

_FISH = """\
# Completion of robustjax. Into ~/.config/fish/completions/robustjax.fish
complete -c robustjax -f -n __fish_use_subcommand -a {verbs}
{cases}"""

# Shell -> its script, and a verb's line of it.
SHELLS = {
  "bash": (_BASH, "      {verb}) words={words} ;;"),
  "zsh": (_ZSH, "      {verb}) found=({words}) ;;"),
  "fish": (
    _FISH,
    "complete -c robustjax -n '__fish_seen_subcommand_from {verb}' -a {words}",
  ),
}


def script(shell: str) -> str:
  """What the shell is to read.

  Args:
    shell: one of `SHELLS`.
  """
  from robustjax import config
  from robustjax.config import shipped

  whole, line = SHELLS[shell]
  variants, settings = ["mini", *config.COMMON], shipped.names()

  def listed(words: list[str]) -> str:
    several = " ".join(words)
    return several if shell == "zsh" else shlex.quote(several)

  found = {verb.name: words(verb) for verb in VERBS} | {"completion": [*SHELLS]}
  if shell == "fish":  # its script puts no words together
    for known in found.values():
      taken = [name for name in settings if name in known]
      known += [f"{name}:{variant}" for name in taken for variant in variants]
  lines = [line.format(verb=verb, words=listed(one)) for verb, one in found.items()]
  return whole.format(
    verbs=listed([*found, "--help", "--version"]),
    variants=listed(variants),
    cases="\n".join(lines),
  )


def words(verb: Verb) -> list[str]:
  """What may stand behind a verb: settings, further verbs, flags with their choices."""
  from robustjax import config
  from robustjax.config import shipped
  from robustjax.run import commandline

  settings = [*shipped.names(), *(f"--config.{name}=" for name in config.DEFAULTS)]
  if verb.name == "config":
    return [*settings, "--help"]
  if verb.name == "train":
    own = [f"--{name}=" for name in commandline.defined()]
    return [*settings, *own, "--help"]
  module = importlib.import_module(verb.module)
  if not hasattr(module, "parser"):  # a folder's is in its __main__.py
    module = importlib.import_module(f"{verb.module}.__main__")
  parser = module.parser()
  below = [
    (name, one)
    for action in parser._actions
    if isinstance(action, argparse._SubParsersAction)
    for name, one in action.choices.items()
  ]
  flags = [flag for _, one in [("", parser), *below] for flag in _flags(one)]
  takes_settings = verb.name in ("sweep", "preflight")
  names = [name for name, _ in below]
  return [*names, *(settings if takes_settings else []), *dict.fromkeys(flags)]


def _flags(parser: argparse.ArgumentParser) -> list[str]:
  found = []
  for action in parser._actions:
    for name in action.option_strings:
      if name.startswith("--"):
        end = "" if action.nargs == 0 else "="
        found += [f"{name}={one}" for one in action.choices or ()] or [name + end]
  return found
