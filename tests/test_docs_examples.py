"""Python that the documents and docstrings show runs, and does what they say."""

import doctest
import importlib
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[1]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
MODULES = sorted(
  ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
  for path in (ROOT / "robustjax").rglob("*.py")
  if ">>> " in path.read_text()
)
OF_OTHER_TESTS = {"extend.md"}  # which train with what it shows


def pages():
  for path in sorted((ROOT / "docs").glob("*.md")):
    if path.name not in OF_OTHER_TESTS and BLOCK.search(path.read_text()):
      yield pytest.param(path, id=path.name)


@pytest.mark.parametrize("path", list(pages()))
def test_a_pages_python_runs(path):
  names = {}
  for block in BLOCK.findall(path.read_text()):
    exec(compile(block, str(path), "exec"), names)
  for name in ("get_config", "network"):  # what a command would call
    if name in names:
      names[name]()


@pytest.mark.parametrize("module", MODULES)
def test_a_docstrings_examples_are_true(module):
  done = doctest.testmod(importlib.import_module(module))
  assert done.attempted and not done.failed
