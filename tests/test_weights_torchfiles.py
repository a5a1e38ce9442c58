"""PyTorch's two forms, without PyTorch; what torch.save itself writes is in parity."""

import struct
import zipfile

import jax.numpy as jnp
import numpy as np
import pytest
from weight_files import ARRAYS, call, members, text, torch_legacy, torch_zip, zip_of

from robustjax.errors import UserError
from robustjax.weights import files, torchfiles

FORMS = {"torch": torch_zip, "torch, legacy": torch_legacy}
KINDS = ["f4", "f8", "f2", "i8", "i4", "i2", "i1", "u1", "?", "c8", "c16", jnp.bfloat16]
HEAD = b"ctorch._utils\n_rebuild_tensor_v2\n("


def same(found, arrays):
  assert list(found) == list(arrays)
  for name, array in arrays.items():
    assert found[name].dtype == array.dtype
    np.testing.assert_array_equal(found[name], array)


def storage(count, key="0", kind="Float", view=b""):
  """The opcodes of a storage, which those of a tensor begin with."""
  parts = [b"(", text("storage"), f"ctorch\n{kind}Storage\n".encode(), text(key)]
  return b"".join([*parts, text("cpu"), b"J", struct.pack("<i", count), view, b"tQ"])


def integers(*values):
  return b"(" + b"".join(b"J" + struct.pack("<i", value) for value in values) + b"t"


def tensor(offset, shape, strides, count=72, key="0", kind="Float"):
  place = b"J" + struct.pack("<i", offset) + integers(*shape) + integers(*strides)
  return HEAD + storage(count, key, kind) + place + b"\x89NtR"


@pytest.mark.parametrize("form", FORMS)
def test_arrays_come_back(tmp_path, form):
  arrays = {str(kind): np.arange(6).reshape(2, 3).astype(kind) for kind in KINDS}
  arrays |= ARRAYS | {"none": np.zeros((0, 3), np.float32)}
  found = files.read(FORMS[form](tmp_path / "w", arrays))
  assert found.form == form
  same(found.arrays, arrays)


@pytest.mark.parametrize("form", FORMS)
def test_views_and_calls(tmp_path, form):
  """A tensor is a part of its storage; what else the pickle says is told, not done."""
  marker = tmp_path / "marker"
  more = text("view") + tensor(2, [3, 2], [2, 9]) + text("cut") + tensor(70, [2], [1])
  # Elements 60 to 69 of the storage, and of these the third and the fourth.
  ten = storage(72, view=b"(" + text("1of0") + b"K<K\nt")
  more += text("ten") + HEAD + ten + b"K\x02" + integers(2) + integers(1) + b"\x89NtR"
  more += text("evil") + call("posix", "system", f"touch {marker}")
  found = files.read(FORMS[form](tmp_path / "w", more=more))
  flat = ARRAYS["conv1.weight"].ravel()
  view = flat[[[2, 11], [4, 13], [6, 15]]]
  same(found.arrays, ARRAYS | {"view": view, "cut": flat[70:], "ten": flat[62:64]})
  assert found.extras == {"evil": f"<posix.system('touch {marker}',)>"}
  assert not marker.exists()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
  ("opcodes", "why"),
  [
    (tensor(71, [2], [1]), "x: it reaches to element 72 of 72"),
    (tensor(0, [3, 36], [36, 1]), "x: it reaches to element 107 of 72"),
    (tensor(-1, [2], [1]), "damaged"),
    (tensor(0, [2, 2], [1]), "damaged"),
    (tensor(0, [-2], [1]), "damaged"),
    (tensor(0, [2], [-1]), "damaged"),
    (tensor(0, [1] * 40, [0] * 40), "damaged"),
    # 2^60 numbers that are one.
    (tensor(0, [2**30, 2**30], [0, 0]), "GiB"),
    (tensor(0, [2**31 - 1] * 3, [0] * 3), "damaged"),
    (tensor(0, [2], [1], key="9"), "missing|another than it uses"),
    (tensor(0, [2], [1], count=71), "bytes|instead of"),
    (tensor(0, [2], [1], kind="QInt8"), "quantised"),
    (HEAD + text("none") + integers(), "damaged"),
    (HEAD + b"N" + b"K\x00" + integers(1) + integers(1) + b"\x89NtR", "elsewhere"),
  ],
)
def test_a_tensor_that_cannot_be(tmp_path, form, opcodes, why):
  path = FORMS[form](tmp_path / "w", more=text("x") + opcodes)
  with pytest.raises(UserError, match=why) as caught:
    files.read(path)
  assert "\n" not in str(caught.value)


@pytest.mark.parametrize("root", ["../../x", "/tmp/x", "a/../../..", "C:", "\x1b[2J"])
def test_a_zip_is_read_in_memory_whatever_its_names(tmp_path, monkeypatch, root):
  (tmp_path / "here").mkdir()
  monkeypatch.chdir(tmp_path / "here")
  path = torch_zip(tmp_path / "w")
  contents = [(k.replace("archive", root), v) for k, v in members(path).items()]
  path.write_bytes(zip_of(contents))
  same(files.read(path).arrays, ARRAYS)
  assert [p.name for p in tmp_path.rglob("*")] == ["here", "w"]


@pytest.mark.parametrize(
  ("change", "why"),
  [
    ({"archive/data/1": None}, "bn1.running_var: its numbers, .* are missing"),
    ({"archive/data/1": b"short"}, "bn1.running_var: it is of 16 bytes, but"),
    ({"archive/byteorder": b"big"}, "big-endian"),
    ({"other/data.pkl": b"N."}, "several"),
  ],
)
def test_a_zip_with_one_thing_wrong(tmp_path, change, why):
  path = torch_zip(tmp_path / "w")
  contents = {k: v for k, v in (members(path) | change).items() if v is not None}
  path.write_bytes(zip_of(contents.items(), zipfile.ZIP_DEFLATED))
  with pytest.raises(UserError, match=why):
    files.read(path)


@pytest.mark.parametrize(
  ("old", "new", "why"),
  [
    (b"M\xe9\x03.", b"M\xe8\x03.", "unknown version"),
    (b"little_endianq\x02\x88", b"little_endianq\x02\x89", "big-endian"),
    (b"X\x01\x00\x00\x002q\x01", b"X\x01\x00\x00\x001q\x01", "another than it uses"),
    (struct.pack("<q", 4) + b"", struct.pack("<q", 5), "of 5 numbers instead of 4"),
  ],
)
def test_a_legacy_file_with_one_thing_wrong(tmp_path, old, new, why):
  path = torch_legacy(tmp_path / "w")
  content = path.read_bytes()
  assert old in content
  before, found, after = (
    content.rpartition(old) if old[0] == 4 else content.partition(old)
  )
  path.write_bytes(before + new + after)
  with pytest.raises(UserError, match=why):
    files.read(path)
  path.write_bytes(content + b"\0")
  with pytest.raises(UserError, match="3 of its 3 storages and 1 more"):
    files.read(path)


def test_writing_is_the_same_bytes_and_refuses_what_torch_has_not(tmp_path):
  one, other = tmp_path / "one.pth", tmp_path / "other.pth"
  torchfiles.write(one, ARRAYS)
  torchfiles.write(other, {name: array.copy("F") for name, array in ARRAYS.items()})
  assert one.read_bytes() == other.read_bytes()
  with pytest.raises(UserError, match="w is of <U1"):
    torchfiles.write(one, {"w": np.array("a")})
  assert one.read_bytes() == other.read_bytes()
