"""A shell offers the verbs, then the settings, variants and flags of the verb."""

import shutil
import subprocess

import pytest

from robustjax import config
from robustjax.cli import completion
from robustjax.cli.verbs import VERBS
from robustjax.config import shipped

NAMES = {verb.name for verb in VERBS}


@pytest.fixture(scope="module")
def bash(tmp_path_factory):
  """What bash offers behind a line."""
  script = completion.script("bash")

  def offered(line):
    asked = f'{script}\nCOMP_LINE="$1" COMP_POINT=${{#1}}\n_robustjax\n'
    asked += r"""(( ${#COMPREPLY[@]} )) && printf '%s\n' "${COMPREPLY[@]}" """
    done = subprocess.run(
      ["bash", "-c", asked, "bash", line], text=True, capture_output=True
    )
    assert not done.stderr
    return done.stdout.splitlines()

  return offered


def test_bash_offers_verbs_then_settings(bash):
  assert {word.strip() for word in bash("robustjax ")} == NAMES | {"completion"}
  assert bash("robustjax tr") == ["train "]
  assert {word.strip() for word in bash("robustjax train ")} == set(shipped.names())
  assert bash("robustjax train mbn") == ["mbn ", "mbn_alp "]


def test_bash_offers_variants_behind_the_colon(bash):
  assert bash("robustjax train mbn_alp:mi") == ["mini"]
  assert bash("robustjax train mbn_alp:mini,st") == ["mini,star"]
  assert len(bash("robustjax train mbn_alp:")) == 1 + len(config.COMMON)


def test_bash_offers_flags_and_their_choices(bash):
  assert bash("robustjax train adv --wor") == ["--workdir="]
  assert bash("robustjax train adv --config.eval.im") == ["--config.eval.images="]
  assert bash("robustjax evaluate runs/x --norm=l") == ["linf ", "l2 "]
  assert bash("robustjax weights ex") == ["export "]
  assert bash("robustjax completion f") == ["fish "]
  assert bash("robustjax evaluate ru") == []  # files, which are bash's own


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_every_shell_reads_its_script(shell, tmp_path):
  script = completion.script(shell)
  assert all(name in script for name in NAMES)
  if not shutil.which(shell):
    pytest.skip(f"{shell} is not here")
  path = tmp_path / "script"
  path.write_text(script)
  done = subprocess.run([shell, "-n", path], text=True, capture_output=True)
  assert done.returncode == 0 and not done.stderr


def test_every_flag_of_every_verb_is_offered():
  for verb in VERBS:
    assert "--help" in completion.words(verb)
  (preflight,) = (verb for verb in VERBS if verb.name == "preflight")
  assert {"--topology=", "--no-largest", "adv"} <= set(completion.words(preflight))
