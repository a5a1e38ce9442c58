"""What was written is read; damaged files are one line."""

import copy
import json

import numpy as np
import pytest
from test_report_anatomy import examples, statistics

from robustjax.errors import UserError
from robustjax.report import files


def write_statistics(path, found):
  path.write_text(json.dumps(found))


def write_examples(path, found):
  np.savez(path, **found)


def test_what_was_written_is_read(tmp_path):
  path = tmp_path / files.STATISTICS
  write_statistics(path, statistics())
  assert files.read_statistics(path) == statistics()
  path = tmp_path / files.EXAMPLES
  write_examples(path, examples())
  found = files.read_examples(path)
  assert found.keys() == examples().keys()
  for name, values in examples().items():
    np.testing.assert_array_equal(found[name], values)


def damaged(found, change):
  found = copy.deepcopy(found)
  change(found)
  return found


@pytest.mark.parametrize(
  "change",
  [
    lambda s: s.pop("layer"),
    lambda s: s.pop("domains"),
    lambda s: s["channels"].pop(),
    lambda s: s["running"].pop("adv"),
    lambda s: s["running"]["adv"]["var"].pop(),
    lambda s: s["batches"]["adv"].append(s["batches"]["adv"][0]),
    lambda s: s["batches"]["adv"][1].update(mean=[1, 2, "3"]),
    lambda s: s["running"]["adv"].update(var=[1, 2, float("nan")]),
    lambda s: s["running"]["adv"].update(var=[1, 2, float("-inf")]),
    lambda s: s["running"]["adv"].update(var=[1, 2, 10**400]),
    lambda s: s["running"]["adv"].update(var=[1, 2, True]),
    lambda s: s["channels"].__setitem__(0, -1),
    lambda s: s["domains"].update(adv={"other": 4}),
    lambda s: [s[k].update(_x=s[k]["adv"]) for k in ("running", "batches", "domains")],
    lambda s: s.update(step=10**400),
    lambda s: s.update(running=[]),
    lambda s: s.update(step="7"),
  ],
)
def test_damaged_statistics_are_one_line(tmp_path, change):
  path = tmp_path / files.STATISTICS
  write_statistics(path, damaged(statistics(), change))
  with pytest.raises(UserError, match=f"{path} is damaged: .*inspect") as caught:
    files.read_statistics(path)
  assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
  "change",
  [
    lambda e: e.pop("names"),
    lambda e: e.update(adv=e["adv"][:2]),
    lambda e: e.update(clean=e["clean"].astype(float)),
    lambda e: e.update(label=e["label"] + 9),
    lambda e: e.update(target=e["target"] / 2),
    lambda e: e.update(eps=np.ones(2)),
    lambda e: e.update(eps=np.asarray("16")),
    lambda e: e.update(eps=np.asarray(np.nan)),
    lambda e: e.update(eps=np.asarray(np.inf)),
    lambda e: e.update(eps=np.asarray(1e-30)),
    lambda e: e.update(eps=np.asarray(-1.0)),
    lambda e: e.update(step=np.asarray(-1)),
    lambda e: e.update(steps=np.asarray(2.5)),
    lambda e: e.update(run=np.asarray(5)),
    lambda e: e.update(names=np.arange(4)),
    lambda e: e.update(names=e["names"][None]),
    lambda e: e.update(adv=e["adv"].astype(str)),
    lambda e: e.update(adv=e["adv"].astype(np.float64)),
    lambda e: e["adv"].__setitem__((0, 1, 1, 0), np.nan),
    lambda e: e["adv"].__setitem__((0, 1, 1, 0), np.inf),
    lambda e: e["adv"].__setitem__((0, 1, 1, 0), -20),
    lambda e: e["label"].__setitem__(0, -1),
    lambda e: e.update(clean=e["clean"][:, :0], adv=e["adv"][:, :0]),
    lambda e: e.update({k: v[:0] for k, v in e.items() if v.ndim and k != "names"}),
  ],
)
def test_damaged_examples_are_one_line(tmp_path, change):
  path = tmp_path / files.EXAMPLES
  write_examples(path, damaged(examples(), change))
  with pytest.raises(UserError, match=f"{path} is damaged: .*inspect") as caught:
    files.read_examples(path)
  assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
  "read, name",
  [
    (files.read_statistics, files.STATISTICS),
    (files.read_examples, files.EXAMPLES),
  ],
)
def test_files_that_are_missing_or_cut_short_are_one_line(tmp_path, read, name):
  path = tmp_path / name
  with pytest.raises(UserError, match=f"there is no {path}"):
    read(path)
  write = write_statistics if name == files.STATISTICS else write_examples
  write(path, statistics() if name == files.STATISTICS else examples())
  whole = path.read_bytes()
  flipped = bytearray(whole)
  flipped[len(whole) // 2] ^= 255
  for content in (b"", whole[: len(whole) // 2], b"\x80\x04N.", b"\xff\xfe", b"[1, 2]"):
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"{path} is damaged"):
      read(path)


def test_a_flipped_bit_in_a_compressed_file_is_one_line(tmp_path):
  path = tmp_path / files.EXAMPLES
  np.savez_compressed(path, **examples())
  whole = path.read_bytes()
  for place in range(0, len(whole), len(whole) // 40):
    flipped = bytearray(whole)
    flipped[place] ^= 255
    path.write_bytes(flipped)
    try:
      files.read_examples(path)  # what no check covers may be sound all the same
    except UserError as error:
      assert "is damaged" in str(error)
