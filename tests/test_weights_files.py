"""A file of weights is read whole, or one line says why not."""

import json
import os
import struct
import zipfile

import numpy as np
import pytest
from weight_files import ARRAYS, torch_legacy, torch_zip, zip_of

from robustjax.errors import UserError
from robustjax.weights import files


def npz(path, arrays=ARRAYS, save=np.savez):
  with path.open("wb") as file:
    save(file, **arrays)
  return path


def compressed(path):
  return npz(path, save=np.savez_compressed)


def safetensors(path):
  header, numbers = {}, b""
  for name, array in ARRAYS.items():
    place = [len(numbers), len(numbers) + array.nbytes]
    kind = {"float32": "F32", "int64": "I64"}[str(array.dtype)]
    header[name] = {"dtype": kind, "shape": array.shape, "data_offsets": place}
    numbers += array.tobytes()
  text = json.dumps(header).encode()
  path.write_bytes(struct.pack("<Q", len(text)) + text + numbers)
  return path


FORMS = {
  npz: "npz",
  compressed: "npz",
  torch_zip: "torch",
  torch_legacy: "torch, legacy",
  safetensors: "safetensors",
}


def are_same(found):
  return found.keys() == ARRAYS.keys() and all(
    found[name].dtype == array.dtype and np.array_equal(found[name], array)
    for name, array in ARRAYS.items()
  )


@pytest.mark.parametrize("write", FORMS)
def test_the_form_is_told_from_the_content(tmp_path, write):
  found = files.read(write(tmp_path / "weights.of_any_name"))
  assert found.form == FORMS[write]
  assert are_same(found.arrays)
  assert not any(array.flags.writeable for array in found.arrays.values())
  assert found.extras == {}


@pytest.mark.parametrize("write", FORMS)
def test_damage_is_one_line(tmp_path, write):
  """Bytes that are changed, lost or too many; a checksum tells, where there is one."""
  path = write(tmp_path / "w")
  whole, rng = path.read_bytes(), np.random.default_rng(0)
  for trial in range(80):
    content = bytearray(whole)
    if trial % 4 == 0:
      del content[rng.integers(len(content)) :]
    elif trial % 4 == 1:
      start = rng.integers(len(content))
      del content[start : start + rng.integers(1, 9)]
    else:
      for place in rng.integers(len(content), size=1 + trial % 3):
        content[place] = rng.integers(256)
    path.write_bytes(content)
    try:
      found = files.read(path)
    except UserError as error:
      assert "\n" not in str(error) and str(error).startswith(f"{path}")
    else:
      assert are_same(found.arrays) or write in (torch_legacy, safetensors)


def archive(**contents):
  return zip_of(contents.items())


def npy(header):
  text = str(header).encode()
  return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def array(shape, descr="<f4"):
  return npy({"descr": descr, "fortran_order": False, "shape": shape}) + bytes(8)


@pytest.mark.parametrize(
  ("content", "why"),
  [
    (b"", "empty"),
    (b"\n <!DOCTYPE html><html>Too many downloads", "web page"),
    (b"\xef\xbb\xbf<HTML>", "web page"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git lfs pull"),
    (b'{"error": "not found"}', "JSON"),
    (b"\x1f\x8b\x08\x00\x00\x00\x00\x00", "gunzip"),
    (b"x" * 257 + b"ustar", "tar archive"),
    (b"\x89HDF\r\n\x1a\n", "HDF5"),
    (b"\x80\x04N.", "a pickle.* may run code"),
    (bytes(100), "no .npz"),
    (b"PK\x03\x04 and no more", "does not end as one"),
    (zip_of([]), "no array|of nothing"),
    (archive(readme=b"x"), "zip archive of 'readme'"),
    (archive(**{"w.npy": array((2,)), "readme": b""}), "'readme', which is no array"),
    (archive(**{"w.npy": array((3,))}), r"w \[3\] is of 12 bytes and has 8"),
    (archive(**{"w.npy": array((2**40, 2**40))}), "w .* is of .* bytes"),
    (archive(**{"w.npy": array((-1, -2))}), "w .* is of 8 bytes"),
    (archive(**{"w.npy": array((1,), "|V8")}), "instead of numbers"),
    (archive(**{"w.npy": npy("{'a'")}), "damaged"),
    (archive(**{"w.npy": npy("(" * 5000)}), "damaged"),
    (archive(**{"w.npy": npy("{[]: 1}")}), "damaged"),
    (archive(**{"w.npy": npy("a\n    b\n  c\n")}), "damaged"),
    (archive(**{"w.npy": b"no"}), "damaged"),
    (zip_of([("w.npy", array((2,)))], zipfile.ZIP_LZMA), "rare way"),
  ],
)
def test_what_is_no_file_of_weights(tmp_path, content, why):
  path = tmp_path / "w.npz"
  path.write_bytes(content)
  with pytest.raises(UserError, match=why) as caught:
    files.read(path)
  assert "\n" not in str(caught.value)


def test_an_array_of_objects_is_named(tmp_path):
  path = npz(tmp_path / "w", {"bad": np.array([{}])})
  with pytest.raises(UserError, match="bad holds object instead of numbers"):
    files.read(path)


def test_words_beside_the_arrays(tmp_path):
  columns = np.arange(6).reshape(3, 2).T
  found = files.read(npz(tmp_path / "w", {"w:0": columns, "names": ["a", "b"]}))
  assert list(found.arrays) == ["w:0"]
  np.testing.assert_array_equal(found.arrays["w:0"], columns)
  assert found.extras == {"names": "['a', 'b']"}


def test_the_same_name_twice(tmp_path):
  path = tmp_path / "w"
  with pytest.warns(UserWarning, match="Duplicate"):
    path.write_bytes(zip_of([("w.npy", array((2,)))] * 2))
  with pytest.raises(UserError, match="'w.npy' 2 times"):
    files.read(path)


def test_a_zip_bomb_is_not_unpacked(tmp_path, monkeypatch):
  """Neither where it tells its size, nor where it tells a smaller one."""
  monkeypatch.setattr(files, "_ROOM", 2**19)
  honest = zip_of([("w.npy", bytes(2**20))], zipfile.ZIP_DEFLATED)
  size = struct.pack("<L", 2**20)
  path = tmp_path / "w"
  for content, why in (
    (honest, "unpacks to"),
    (honest.replace(size, struct.pack("<L", 2**10)), "damaged"),
  ):
    path.write_bytes(content)
    with pytest.raises(UserError, match=why):
      files.read(path)


def test_what_cannot_be_opened(tmp_path):
  with pytest.raises(UserError, match="does not exist"):
    files.read(tmp_path / "none")
  with pytest.raises(UserError, match="is no file"):
    files.read(tmp_path)
  with pytest.raises(UserError, match="cannot be read"):
    files.read(tmp_path / ("long" * 100))
  if os.geteuid():
    path = npz(tmp_path / "w")
    path.chmod(0)
    with pytest.raises(UserError, match="cannot be read"):
      files.read(path)


def test_the_hash_is_of_the_bytes(tmp_path):
  one, other = npz(tmp_path / "one"), npz(tmp_path / "other")
  assert files.read(one).sha256 == files.read(other).sha256
  npz(other, {"w": np.ones(2)})
  assert files.read(one).sha256 != files.read(other).sha256
