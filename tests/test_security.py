"""What is read runs no code, no secret is written, what is installed is known."""

import ast
import configparser
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "robustjax"
# Their loaders build whatever a file names.
MODULES = {
  "pickle",
  "dill",
  "cloudpickle",
  "shelve",
  "marshal",
  "joblib",
  "torch",
  "yaml",
}
CALLS = {"eval", "exec", "compile"}
# A setting is Python, as is a card: both are named by the person who runs them.
MAY_EXECUTE = {"evaluate/cards.py": {"exec_module"}}


def mistakes(source: str) -> list[str]:
  found = []
  for node in ast.walk(ast.parse(source)):
    if isinstance(node, ast.Import | ast.ImportFrom):
      module = getattr(node, "module", None) or ""
      names = [module, *(alias.name for alias in node.names)]
      found += [name for name in names if name.split(".")[0] in MODULES]
    elif isinstance(node, ast.Call):
      name = ast.unparse(node.func)
      for keyword in node.keywords:
        unsafe = keyword.arg in ("allow_pickle", "shell")
        if unsafe and getattr(keyword.value, "value", True) is not False:
          found.append(f"{name}({keyword.arg})")
      of_arrays = name in ("np.load", "numpy.load")
      if of_arrays and not any(k.arg == "allow_pickle" for k in node.keywords):
        found.append(name)
      if name in CALLS or name in ("os.system", "os.popen") or "exec_module" in name:
        found.append(name)
  return found


@pytest.mark.parametrize(
  "file", sorted(p.relative_to(PACKAGE).as_posix() for p in PACKAGE.rglob("*.py"))
)
def test_a_module_loads_nothing_that_can_run_code(file):
  found = mistakes((PACKAGE / file).read_text())
  allowed = MAY_EXECUTE.get(file, set())
  assert not [name for name in found if name.split(".")[-1] not in allowed]


@pytest.mark.parametrize(
  "source",
  [
    "import pickle", "from torch import load", "import yaml as y", "eval('1')",
    "np.load(path)", "np.load(path, allow_pickle=True)", "run(x, shell=True)",
    "os.system(x)", "spec.loader.exec_module(m)",
  ],
)  # fmt: skip
def test_what_can_is_found(source):
  assert len(mistakes(source)) == 1


# The whole of it goes to a child alone.
OF_ONE = {"get", "pop", "setdefault", "update"}
TO_A_CHILD = {"preflight/__main__.py": 1}


def dumps(source: str) -> int:
  """How often a module takes the environment as a whole, with all that is in it."""
  tree, of_one = ast.parse(source), 0
  found = [
    n for n in ast.walk(tree) if getattr(n, "attr", "") in ("environ", "environb")
  ]
  for node in ast.walk(tree):
    if isinstance(node, ast.Subscript):
      of_one += node.value in found
    elif isinstance(node, ast.Attribute):
      of_one += node.value in found and node.attr in OF_ONE
    elif isinstance(node, ast.Compare):
      of_one += sum(node in found for node in node.comparators)
  return len(found) - of_one


@pytest.mark.parametrize(
  ("source", "count"),
  [
    ("os.environ['A']", 0), ("os.environ.get('A')", 0), ("'A' in os.environ", 0),
    ("dict(os.environ)", 1), ("{**os.environ}", 1), ("str(os.environ.items())", 1),
  ],
)  # fmt: skip
def test_a_dump_of_the_environment_is_found(source, count):
  assert dumps(source) == count


def test_no_file_holds_the_environment():
  """Whose tokens and passwords would be in every run's folder."""
  found = {
    p.relative_to(PACKAGE).as_posix(): p.read_text() for p in PACKAGE.rglob("*.py")
  }
  counts = {name: dumps(source) for name, source in found.items()}
  assert {name: count for name, count in counts.items() if count} == TO_A_CHILD


def pinned(name: str) -> dict[str, str]:
  """Package -> what a file of pinned requirements has behind its version."""
  text = (ROOT / name).read_text().replace("\\\n", " ")
  lines = [line for line in text.splitlines() if not line.startswith("#")]
  return dict(re.split(r"(?<=\w)(?===)", line, maxsplit=1) for line in lines if line)


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-build.lock"])
def test_every_package_is_pinned_with_its_hashes(name):
  for package, rest in pinned(name).items():
    assert re.match(r"==[\w.+!-]+ ", rest), package
    assert len(re.findall(r"--hash=sha256:[0-9a-f]{64}(?= |$)", rest)) >= 1, package


def test_every_requirement_is_pinned_and_installed_with_its_hash():
  setup = configparser.ConfigParser()
  setup.read(ROOT / "setup.cfg")
  extras = setup["options.extras_require"]
  texts = setup["options"]["install_requires"], extras["test"], extras["dev"]
  lines = [line for text in texts for line in text.splitlines()]
  wanted = [re.match(r"[\w-]+", line) for line in lines if not line.startswith("#")]
  names = {found[0].lower().replace("_", "-") for found in wanted if found}
  assert len(names) > 15
  assert not names - pinned("requirements.lock").keys()
  installs = re.findall(r"PIP\) install.*", (ROOT / "Makefile").read_text())
  of_locks = [line for line in installs if ".lock" in line]
  assert of_locks and all("--require-hashes" in line for line in of_locks)
