"""Files are whole or not there, and what was not written is not believed."""

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
