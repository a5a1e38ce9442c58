"""The page and the table show every check, and images that the checks name."""

import io

import numpy as np
import PIL.Image
import pytest
from audit_networks import audited, blobs, faulty

from robustjax.audit import written
from robustjax.audit.page import chosen, page
from robustjax.runtime import files


@pytest.fixture(scope="module")
def masked():
  sibling = faulty("")._replace(name="sibling")
  return audited(faulty("gradient zero"), [sibling], eps=24.0)


@pytest.fixture(scope="module")
def broken():
  return audited(faulty("not a number"))


def words(figure):
  return [text.get_text() for text in figure.findobj(lambda a: hasattr(a, "get_text"))]


def test_every_check_is_on_the_page(masked):
  shown = words(page(masked.result, masked.evidence))
  for check in masked.result["checks"]:
    assert check["name"] in shown
  assert shown.count("masked") >= 2  # the verdict's, and a check's


def test_images_that_failing_checks_name_come_first(masked):
  rows = chosen(masked.result["checks"], masked.evidence)
  named = {i for c in masked.result["checks"] for i in c["images"]}
  assert len(rows) == 7
  assert {int(masked.evidence.indices[row]) for row, _ in rows} <= named
  (black_box,) = (c for c in masked.result["checks"] if c["name"] == "black box")
  row = int(np.flatnonzero(masked.evidence.indices == black_box["images"][0])[0])
  attack = dict(rows)[row]
  assert attack == "square" and masked.evidence.attacks[attack].broken[row]


def test_names_of_classes_are_text(masked):
  names = ["$a$", "\\b", "c\n", "d" * 99, "<e>"]
  shown = " ".join(words(page(masked.result, masked.evidence, names)))
  assert "$a$" in shown and "d" * 20 not in shown


@pytest.mark.parametrize("which", ["masked", "broken"])
def test_both_files_are_written(request, which, tmp_path):
  audit = request.getfixturevalue(which)
  paths = written.write(audit, tmp_path)
  assert sorted(tmp_path.iterdir()) == sorted(paths)
  assert files.read_json(paths[0]) == audit.result
  with PIL.Image.open(paths[1]) as picture:
    assert picture.width == 1500


@pytest.mark.thorough
@pytest.mark.slow
def test_a_page_of_few_images():
  found = audited(faulty(""), data=blobs(3))
  page(found.result, found.evidence).savefig(io.BytesIO())
  assert len(chosen(found.result["checks"], found.evidence)) == 3


def test_the_table_begins_with_what_failed(masked):
  lines = written.table(masked.result).splitlines()
  assert lines[0].startswith("masked: ")
  verdicts = [line.split()[0] for line in lines[3:]]
  order = ["masked", "suspicious", "clean", "not"]
  assert verdicts == sorted(verdicts, key=order.index)
  assert len(lines) == 3 + len(masked.result["checks"])
  assert "images 10" in lines[3]
