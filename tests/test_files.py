"""Files are whole or not there, and what was not written is not believed."""

import os

import matplotlib.figure
import numpy as np
import pytest

from robustjax.runtime import files


@pytest.mark.parametrize("error", [OSError(28, "No space left"), KeyboardInterrupt()])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(
  tmp_path, monkeypatch, error
):
  path = tmp_path / "x.json"
  files.write_json(path, {"a": 1})

  def fails(_):
    raise error

  monkeypatch.setattr(files.os, "fsync", fails)
  with pytest.raises(type(error)):
    files.write_json(path, {"a": 2})
  assert files.read_json(path) == {"a": 1}
  assert list(tmp_path.iterdir()) == [path]


def test_every_changed_byte_of_a_value_is_found(tmp_path):
  path = tmp_path / "x.json"
  files.write_json(path, {"counts": {"a": 12}, "rows": [0.5, "text"], "t": (1, 2)})
  value = files.read_json(path)
  assert value == {"counts": {"a": 12}, "rows": [0.5, "text"], "t": [1, 2]}
  whole, told = path.read_bytes(), 0
  for at in range(len(whole)):
    for bit in (0, 3, 7):
      content = bytearray(whole)
      content[at] ^= 1 << bit
      path.write_bytes(content)
      try:
        found = files.read_json(path)  # white space, or the digest's own name
        assert found | value == found
      except files.Damaged as error:
        told += str(path) in str(error)
  assert told > 2 * len(whole)


@pytest.mark.parametrize("content", [b"", b"null", b"[]", b"{", b"[" * 9000, b"\xff"])
def test_what_is_no_object_is_damage(tmp_path, content):
  path = tmp_path / "x.json"
  path.write_bytes(content)
  with pytest.raises(files.Damaged, match=str(path)):
    files.read_json(path)


def test_an_older_file_has_no_digest(tmp_path):
  path = tmp_path / "x.json"
  path.write_text('{"a": 1}')
  assert files.read_json(path) == {"a": 1}
  with pytest.raises(files.Damaged):
    files.read_json(path, old=False)


def test_what_is_set_aside_is_kept_under_another_name(tmp_path):
  names = []
  for content in ("one", "two"):
    (tmp_path / "x").write_text(content)
    names.append(files.set_aside(tmp_path / "x").name)
  assert names == ["x.damaged", "x.damaged-2"]
  assert [(tmp_path / name).read_text() for name in names] == ["one", "two"]


def test_arrays_come_back(tmp_path):
  files.write_arrays(tmp_path / "x.npz", {"a": np.arange(3)})
  files.write_array(tmp_path / "x.npy", np.arange(3))
  with np.load(tmp_path / "x.npz") as found:
    np.testing.assert_array_equal(found["a"], np.load(tmp_path / "x.npy"))


def changes(whole, every=1):
  """A file with each byte changed, cut short at each place, and with a tail."""
  for at in range(0, len(whole), every):
    changed = bytearray(whole)
    changed[at] ^= 1 << at % 8
    yield bytes(changed)
    yield whole[:at]
  yield whole + b"\0"


def test_every_change_of_a_picture_is_found(tmp_path):
  path = tmp_path / "x.png"
  assert not files.is_picture(path)
  files.write_picture(path, matplotlib.figure.Figure(figsize=(0.2, 0.2)))
  assert files.is_picture(path)
  for content in changes(path.read_bytes()):
    path.write_bytes(content)
    assert not files.is_picture(path)


def test_every_change_of_arrays_is_damage(tmp_path):
  path = tmp_path / "x.npz"
  arrays = {"a": np.arange(300), "names": np.array(["one", "two"])}
  files.write_arrays(path, arrays)
  whole = path.read_bytes()
  for content in changes(whole, every=3):
    path.write_bytes(content)
    try:
      found = files.read_arrays(path)  # the digest may be gone, as in older ones
    except files.Damaged as error:
      assert str(path) in str(error)
      continue
    for name, array in arrays.items():
      np.testing.assert_array_equal(found[name], array)


def test_arrays_that_would_run_code_or_fill_the_memory_are_damage(
  tmp_path, monkeypatch
):
  path = tmp_path / "x.npz"
  np.savez(path, a=np.array([{"an": "object"}], dtype=object))
  with pytest.raises(files.Damaged, match="allow_pickle"):
    files.read_arrays(path)
  files.write_arrays(path, {"a": np.zeros(1000)})
  monkeypatch.setattr(files, "MOST", 4000)
  with pytest.raises(files.Damaged, match="8,128 bytes"):
    files.read_arrays(path)


@pytest.mark.parametrize("kind", ["pipe", "folder", "sparse", "device"])
def test_what_is_no_file_or_too_large_is_not_read(tmp_path, kind):
  path = tmp_path / "x"
  if kind == "pipe":
    os.mkfifo(path)
  elif kind == "folder":
    path.mkdir()
  elif kind == "sparse":
    with path.open("wb") as file:
      file.truncate(2**31)
  else:
    path.symlink_to("/dev/zero")
  for read in (files.content, files.read_json, files.read_arrays):
    with pytest.raises(files.Damaged, match=str(path)):
      read(path)
