"""The notebook runs from top to bottom in a kernel, which sets a backend of its own.

What it is kept with is renewed by
`PYTHONPATH=. .venv/bin/python tests/test_docs_first_look.py`.
"""

import base64
import pathlib
import re

import nbclient
import nbformat
import pytest

NOTEBOOK = pathlib.Path(__file__).parents[1] / "docs" / "first_look.ipynb"


def outputs(notebook):
  """Yields kind and content of all that the cells leave."""
  for cell in notebook.cells:
    for output in cell.get("outputs", ()):
      yield from output.get("data", {output.get("name"): output.get("text")}).items()


def printed(notebook):
  """The words that the cells print; numbers are those of a processor, or of a time."""
  text = " ".join(text for kind, text in outputs(notebook) if kind == "stdout")
  return [word for word in text.split() if not re.search(r"\d", word)]


def test_what_it_leaves_is_kept_and_small():
  found = list(outputs(nbformat.read(NOTEBOOK, as_version=4)))
  assert sum(kind == "image/png" for kind, _ in found) == 3
  assert NOTEBOOK.stat().st_size < 500_000


@pytest.mark.toolchain
def test_it_runs_from_top_to_bottom(tmp_path, monkeypatch):
  monkeypatch.setenv("PYTHONPATH", str(NOTEBOOK.parents[1]))
  monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
  notebook = nbformat.read(NOTEBOOK, as_version=4)
  (audit,) = (cell for cell in notebook.cells if "[:64]" in cell.source)
  audit.source = audit.source.replace("[:64]", "[:16]")  # an audit for the test's time
  where = {"metadata": {"path": str(tmp_path)}}
  nbclient.NotebookClient(notebook, timeout=600, resources=where).execute()
  found = list(outputs(notebook))
  pictures = [base64.b64decode(text) for kind, text in found if kind == "image/png"]
  assert [picture[:4] for picture in pictures] == [b"\x89PNG"] * 3
  kept = printed(nbformat.read(NOTEBOOK, as_version=4))
  assert printed(notebook) == kept and {"right", "targeted", "readings"} < set(kept)


if __name__ == "__main__":
  notebook = nbformat.read(NOTEBOOK, as_version=4)
  # Times and the pieces that a stream came in would be another change at each renewal.
  nbclient.NotebookClient(
    notebook, timeout=600, record_timing=False, coalesce_streams=True
  ).execute()
  for cell in notebook.cells:
    cell.metadata.pop("execution", None)
  nbformat.write(notebook, NOTEBOOK)
