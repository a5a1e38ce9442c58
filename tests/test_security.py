"""Nothing that is read can run code."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "robustjax"
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
