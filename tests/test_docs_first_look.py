"""The notebook runs from top to bottom in a kernel, which sets a backend of its own."""

import base64
import pathlib

import nbclient
import nbformat
import pytest

NOTEBOOK = pathlib.Path(__file__).parents[1] / "docs" / "first_look.ipynb"


def outputs(notebook):
  """Yields kind and content of all that the cells leave."""
  for cell in notebook.cells:
    for output in cell.get("outputs", ()):
      yield from output.get("data", {output.get("name"): output.get("text")}).items()


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
  printed = "".join(text for kind, text in found if kind == "stdout")
  assert "of 200 images are right" in printed and "targeted readings" in printed
