"""Every command that the documents print is one: verb, flags, settings, targets."""

import pathlib
import re
import shlex

import pytest

from docs import pages
from robustjax.cli import completion
from robustjax.cli.verbs import VERBS
from robustjax.config import flags as config_flags
from robustjax.run import commandline

ROOT = pathlib.Path(__file__).parents[1]
DOCUMENTS = sorted(
  {*pages.ELSEWHERE, *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))}
)
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(
  r"(?:[A-Z_]+=\S* )*((?:make|(?:[\w./]+/)?(?:robustjax|python)) .*)"
)
VERB = {verb.module: verb for verb in VERBS} | {verb.name: verb for verb in VERBS}


def commands(text):
  """The commands of a document's blocks of shell, as words, without what is set."""
  for language, block in BLOCK.findall(text):
    for line in block.replace("\\\n", " ").splitlines() if not language else ():
      if found := COMMAND.fullmatch(line):
        yield shlex.split(found[1], comments=True)


def said():
  for name in DOCUMENTS:
    for words in commands((ROOT / name).read_text()):
      program = words[0].rsplit("/", 1)[-1]
      if program != "python" or words[1] == "-m":
        yield pytest.param(words, id=f"{name}: {' '.join(words)[:60]}")


def verb_and_rest(words):
  """The verb that a command runs, if it is ours, and what stands behind it."""
  _, *rest = words
  if rest[0] == "-m":
    module, rest = rest[1].replace("launch.sweep", "robustjax.sweep"), rest[2:]
    return VERB[module] if module.startswith("robustjax") else None, rest
  verb = VERB[rest[0]] if rest[0] != "completion" else None
  if verb and verb.setting and not rest[1].startswith("-"):
    return verb, [f"--config={rest[1]}", *rest[2:]]
  return verb, rest[1:]


@pytest.mark.parametrize("words", list(said()))
def test_a_command_is_one(words, monkeypatch):
  monkeypatch.chdir(ROOT)
  if words[0] == "make":
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {word for word in words[1:] if "=" not in word} <= set(targets)
    return
  verb, rest = verb_and_rest(words)
  if verb is None:
    return
  known = {word.partition("=")[0] for word in completion.words(verb)} | {"--compare"}
  flags = [word.partition("=")[0] for word in rest if word.startswith("--")]
  own = [flag for flag in flags if not flag.startswith("--config.")]
  assert set(own) <= known | {"--config"}
  setting = next((word for word in rest if word.startswith("--config=")), "")
  # What a document prints as a file of one's own is run by its own test.
  if setting and not setting.startswith("--config=convnext_trades.py"):
    values = [word for word in rest if word.startswith("--config")]
    monkeypatch.setattr("sys.argv", ["it", *values])
    config_flags.parse(commandline.defined())


def test_commands_are_found_in_blocks_alone():
  text = "`make no`\n\n```\nA=1 .venv/bin/robustjax train \\\n  adv:mini  # so\n```\n"
  assert list(commands(text)) == [[".venv/bin/robustjax", "train", "adv:mini"]]
  assert len(list(said())) > 40
