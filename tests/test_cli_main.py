"""The command robustjax: its verbs are the modules, its mistakes are a line."""

import importlib
import re
import subprocess
import sys

import pytest

from robustjax import __version__
from robustjax.cli import __main__ as cli
from robustjax.cli.verbs import VERBS

# Other tests have imported the modules that run here as main programs.
pytestmark = pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")

NAMES = [verb.name for verb in VERBS]


def ask(folder, *words, python=()):
  return subprocess.run(
    [sys.executable, *python, "-m", "robustjax.cli", *words],
    cwd=folder, text=True, capture_output=True, timeout=120,
  )  # fmt: skip


@pytest.fixture
def said(monkeypatch, capfd):
  """Runs the command in this process: its status, and all that it printed."""

  def asked(*words):
    monkeypatch.setattr(sys, "argv", ["robustjax", *words])
    try:
      status = cli.main()
    except SystemExit as ended:
      status = ended.code
    out, err = capfd.readouterr()
    return status, out + err

  return asked


def test_help_names_every_verb_and_imports_little(tmp_path):
  """Or it would take seconds: what is imported is told to standard error."""
  done = ask(tmp_path, "--help", python=["-X", "importtime"])
  assert done.returncode == 0
  assert all(f"\n  {name} " in done.stdout for name in [*NAMES, "completion"])
  imported = {line.split("|")[-1].strip() for line in done.stderr.splitlines()}
  assert "robustjax.cli.verbs" in imported
  heavy = {"jax", "numpy", "absl", "ml_collections", "matplotlib", "robustjax.config"}
  assert not heavy & imported


@pytest.mark.parametrize("name", [*NAMES, "completion"])
def test_every_verb_has_help_that_calls_it_so_and_fits_a_terminal(
  said, monkeypatch, name
):
  monkeypatch.setenv("COLUMNS", "80")
  status, text = said(name, "--help")
  assert status == 0 and text.startswith(f"usage: robustjax {name} ")
  assert max(map(len, text.splitlines())) <= 80


def test_the_version_is_that_of_the_package(said):
  assert said("--version") == (0, f"robustjax {__version__}\n")


def test_no_word_is_help_and_a_mistake(said):
  status, text = said()
  assert status == 2 and text.startswith("usage: robustjax VERB")


@pytest.mark.parametrize(
  ("words", "message"),
  [
    (["trian"], "'trian' is no verb of robustjax; did you mean train.$"),
    (["xyz"], "'xyz' is no verb of robustjax; there are train, sweep, "),
    (["train", "mbn_apl:mini"], "no file 'mbn_apl', .*; did you mean mbn_alp"),
    (["train", "--workdir=x"], "no configuration is given: --config=SETTING, one of"),
    (["train", "adv:mini", "clean"], "'clean' is not a flag"),
    (["evaluate"], "WHAT; robustjax evaluate --help says more"),
    (["evaluate", "x", "--imag=3"], "--imag=3; robustjax evaluate --help"),
    (["report", "x"], "--out; robustjax report --help says more"),
    (["weights", "import", "x"], "--out; robustjax weights import --help says more"),
    (["sweep", "adv:mini", "--lst=x"], "--lst=x; robustjax sweep --help says more"),
    (["prepare"], "name; robustjax prepare --help says more"),
    (["completion"], "say for which shell: bash or zsh or fish"),
    (["completion", "sh"], "say for which shell"),
  ],
)
def test_a_mistake_is_one_line(said, words, message):
  status, text = said(*words)
  assert status == 2 and re.search(message, text), text
  assert text.startswith("error: ") and text.count("\n") == 1


def test_a_setting_behind_the_verb_and_its_flags_reach_the_module(tmp_path):
  done = ask(tmp_path, "config", "adv.py:mini", "--config.seed=7")
  assert done.returncode == 0 and "command line" in done.stdout


def test_the_modules_are_there():
  for verb in VERBS:
    assert importlib.util.find_spec(verb.module)
