"""The official archives: complete ones are counted, all else is one clear line."""

import dataclasses
import errno
import gzip
import io
import pathlib
import tarfile

import imagenet_tars as tars
import pytest

from robustjax.data import archives, classes
from robustjax.errors import UserError


def inner(members):
  """The training archive's bytes, from class -> image -> bytes."""
  return tars.tar({name: tars.tar(images) for name, images in members.items()})


def refused(folder, says, name=tars.TRAIN):
  with pytest.raises(UserError, match=says) as caught:
    archives.check(folder)
  assert "\n" not in str(caught.value)
  assert name in str(caught.value)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
  return tars.make(tmp_path_factory.mktemp("tars"), per_class=2, classes=3)


@pytest.fixture
def folder(tmp_path, small):
  for path in small.iterdir():
    (tmp_path / path.name).write_bytes(path.read_bytes())
  return tmp_path


def test_counts_what_is_there(tmp_path):
  tars.make(tmp_path, per_class=3, classes=4, validation=5, images=tars.odd())
  train, validation = archives.check(tmp_path)
  assert (train.path, train.classes, train.images) == (tmp_path / tars.TRAIN, 6, 22)
  assert (validation.classes, validation.images) == (5, 5)
  assert train.size == (tmp_path / tars.TRAIN).stat().st_size
  assert not train.official and not validation.official
  assert train.counted and validation.counted


def test_validation_classes_are_those_of_the_labels(folder):
  members = tars.validation_members(validation=300, size=(8, 8))
  (folder / tars.VALIDATION).write_bytes(tars.tar(members))
  expected = len(set(tars.validation_labels()[:300]))
  assert archives.check(folder)[1].classes == expected < 300


@pytest.mark.parametrize("missing", [tars.TRAIN, tars.VALIDATION])
def test_missing_archive_is_named_with_the_place(folder, missing):
  (folder / missing).unlink()
  refused(folder, f"{folder} lacks {missing}: download .*image-net.org", missing)


def test_missing_folder(tmp_path):
  refused(tmp_path / "no", f"lacks {tars.TRAIN} and {tars.VALIDATION}")


def test_folder_that_cannot_be_read(folder, monkeypatch):
  def denied(path, **_):
    raise PermissionError(errno.EACCES, "Permission denied", str(path))

  monkeypatch.setattr(pathlib.Path, "is_file", denied)
  refused(folder, f"{folder / tars.TRAIN} cannot be read .Permission denied.")


@pytest.mark.parametrize("name", [tars.TRAIN, tars.VALIDATION])
@pytest.mark.parametrize(
  ("content", "says"),
  [
    (gzip.compress(tars.tar({"a": b"b"})), "is compressed with gzip"),
    (b"<html>" * 1000, "cut short or no tar"),
    (b"", "cut short or no tar"),
    (bytes(10240), "holds nothing"),
  ],
  ids=["compressed", "a page", "empty", "zeros"],
)
def test_no_tar(folder, name, content, says):
  (folder / name).write_bytes(content)
  refused(folder, says, name)


def test_swapped_archives(folder):
  train, validation = (folder / n for n in (tars.TRAIN, tars.VALIDATION))
  right = train.read_bytes(), validation.read_bytes()
  train.write_bytes(right[1])
  refused(folder, "holds ILSVRC2012_val_.* where <synset>.tar is expected")
  train.write_bytes(right[0])
  validation.write_bytes(right[0])
  refused(folder, "holds n01440764.tar where ILSVRC2012_val_", tars.VALIDATION)


def test_tar_of_a_folder(folder, tmp_path_factory):
  unpacked = tmp_path_factory.mktemp("unpacked")
  for name in (tars.TRAIN, tars.VALIDATION):
    with tarfile.open(folder / name) as archive:
      archive.extractall(unpacked / name, filter="data")
    right = (folder / name).read_bytes()
    with tarfile.open(folder / name, "w") as archive:
      archive.add(unpacked / name, "x")
    refused(folder, "holds x, a folder", name)
    (folder / name).write_bytes(right)


def test_archive_of_task_3(folder):
  dogs = [s for s in tars.synsets() if "n02085620" <= s <= "n02116738"][:120]
  members = tars.train_members(per_class=1, classes=dogs, size=(4, 4))
  (folder / tars.TRAIN).write_bytes(inner(members))
  refused(folder, "120 kinds of dogs.*task 3")
  del members[f"{dogs[0]}.tar"]  # some dogs are a choice like any other
  (folder / tars.TRAIN).write_bytes(inner(members))
  assert archives.check(folder)[0].classes == 119


@pytest.mark.parametrize(
  ("classes", "says"),
  [
    ({"n99999999.tar": {"n99999999_1.JPEG": b"x"}}, "holds n99999999.tar where"),
    ({"n01440764": {"n01440764_1.JPEG": b"x"}}, "holds n01440764 where"),
    ({"n01440764.tar": {"n01443537_1.JPEG": b"x"}}, "n01443537_1.JPEG in n01440764"),
    ({"n01440764.tar": {"n01440764_1.png": b"x"}}, "holds n01440764_1.png in"),
    ({"n01440764.tar": {"n01440764_1.JPEG~": b"x"}}, "holds n01440764_1.JPEG~ in"),
    ({"n01440764.tar": {"d/n01440764_1.JPEG": b"x"}}, "a folder or what is in one"),
    ({"n01440764.tar": {}}, "n01440764.tar in it holds nothing"),
  ],
)
def test_wrong_content_of_the_training_archive(folder, classes, says):
  (folder / tars.TRAIN).write_bytes(inner(classes))
  refused(folder, says)


LEAVE = ["../n01440764.tar", "/etc/n01440764.tar", "n01440764.tar/../../x", "..", "."]


@pytest.mark.parametrize("name", LEAVE)
def test_a_member_cannot_leave_its_folder(folder, name):
  (folder / tars.TRAIN).write_bytes(tars.tar({name: tars.tar({"x": b"x"})}))
  refused(folder, "holds .*(a folder or what is in one|where <synset>.tar)")
  image = name.replace(".tar", "_1.JPEG")
  (folder / tars.TRAIN).write_bytes(inner({"n01440764.tar": {image: b"x"}}))
  refused(folder, "holds .*(a folder or what is in one|in n01440764.tar)")
  (folder / tars.TRAIN).write_bytes(inner({"n01440764.tar": {"n01440764_1.JPEG": b""}}))
  (folder / tars.VALIDATION).write_bytes(tars.tar({name: b"x"}))
  refused(folder, "holds .*(a folder or what is in one|where ILSVRC)", tars.VALIDATION)


@pytest.mark.parametrize(
  "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE]
)
def test_a_member_is_nothing_but_a_file(folder, kind):
  stream, member = io.BytesIO(), tarfile.TarInfo("n01440764.tar")
  member.type, member.linkname = kind, "/etc/passwd"
  with tarfile.open(fileobj=stream, mode="w") as archive:
    archive.addfile(member)
  (folder / tars.TRAIN).write_bytes(stream.getvalue())
  refused(folder, "holds n01440764.tar, a folder or what is in one")


def test_class_that_is_no_tar(folder):
  (folder / tars.TRAIN).write_bytes(tars.tar({"n01440764.tar": b"x" * 2000}))
  refused(folder, "n01440764.tar in it holds nothing, or is no tar")


def test_what_is_there_twice(folder):
  def twice(name, content):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
      for _ in range(2):
        member = tarfile.TarInfo(name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()

  images = twice("n01440764_1.JPEG", b"x")
  (folder / tars.TRAIN).write_bytes(tars.tar({"n01440764.tar": images}))
  refused(folder, "n01440764_1.JPEG twice")
  images = tars.tar({"n01440764_1.JPEG": b"x"})
  (folder / tars.TRAIN).write_bytes(twice("n01440764.tar", images))
  refused(folder, "n01440764.tar twice")


@pytest.mark.parametrize(
  "change",
  [
    lambda m: m.pop("ILSVRC2012_val_00000001.JPEG"),
    lambda m: m.pop("ILSVRC2012_val_00000003.JPEG"),
    lambda m: m.update({"A_README": b"x"}),
    lambda m: m.update({"ILSVRC2012_val_00000002 (1).JPEG": b"x"}),
    lambda m: m.update({"ILSVRC2012_val_99999999.JPEG": b"x"}),
  ],
)
def test_names_that_would_shift_the_labels(folder, change):
  members = tars.validation_members()
  change(members)
  (folder / tars.VALIDATION).write_bytes(tars.tar(members))
  refused(folder, "where ILSVRC2012_val_0000000. is expected|", tars.VALIDATION)


def test_more_validation_images_than_labels(folder, monkeypatch):
  lists = classes.imagenet_synsets

  def shorter(name):
    return lists(name)[:5] if name == "validation_labels.txt" else lists(name)

  monkeypatch.setattr(classes, "imagenet_synsets", shorter)
  refused(folder, "holds 6 images where 5 have labels", tars.VALIDATION)
  members = tars.validation_members(validation=5)  # as many as labels are enough
  (folder / tars.VALIDATION).write_bytes(tars.tar(members))
  assert archives.check(folder)[1].images == 5


@pytest.mark.parametrize("name", [tars.TRAIN, tars.VALIDATION])
def test_no_cut_goes_unnoticed(folder, name):
  whole = (folder / name).read_bytes()
  expected = archives.check(folder)
  padding = len(whole) - len(whole.rstrip(b"\0"))
  accepted = 0
  for length in [*range(0, len(whole), 512), *range(100, len(whole), 1300)]:
    (folder / name).write_bytes(whole[:length])
    try:
      found = archives.check(folder)
    except UserError as error:
      assert name in str(error) and "\n" not in str(error)
      continue
    accepted += 1
    assert len(whole) - length < padding
    for one, other in zip(found, expected, strict=True):
      assert (one.images, one.classes) == (other.images, other.classes)
  assert accepted  # without some of the zeros that fill it up it is complete


@pytest.mark.parametrize("name", [tars.TRAIN, tars.VALIDATION])
@pytest.mark.parametrize("damage", [b"\xaa" * 512, bytes(512)], ids=["noise", "zeros"])
def test_no_damaged_header_goes_unnoticed(folder, name, damage):
  whole = (folder / name).read_bytes()
  # Every header of a tar, or of a tar in it, starts with a name.
  headers = [
    i for i in range(0, len(whole), 512) if whole[i : i + 9].startswith((b"n0", b"ILS"))
  ]
  assert len(headers) >= 6
  for at in headers:
    (folder / name).write_bytes(whole[:at] + damage + whole[at + 512 :])
    refused(folder, "damaged|cut short|nothing|expected", name)


def test_inner_tar_without_its_end(folder):
  members = tars.train_members(per_class=2, classes=3)
  for cut in members:
    content = {n: tars.tar(images, end=n != cut) for n, images in members.items()}
    (folder / tars.TRAIN).write_bytes(tars.tar(content))
    refused(folder, f"{cut} in it is cut short at {cut[:-4]}_2.JPEG")


def pretend(monkeypatch, folder, **changes):
  """Makes the archives in the folder the official ones."""
  official = {
    archive.path.name: archives.Official(
      archive.size, archive.classes, archive.images, "0"
    )
    for archive in archives.check(folder)
  }
  for name, values in changes.items():
    official[name] = dataclasses.replace(official[name], **values)
  monkeypatch.setattr(archives, "OFFICIAL", official)


def test_official_size_needs_no_look_at_the_images(folder, monkeypatch):
  pretend(monkeypatch, folder)
  monkeypatch.delattr(archives, "_images")
  train, validation = archives.check(folder)
  assert train.official and validation.official
  assert (train.classes, train.images) == (3, 6)
  # The number is the official one; that of the validation images is their own.
  assert (train.counted, validation.counted) == (False, True)


def test_official_size_with_a_class_cut_short(folder, monkeypatch):
  pretend(monkeypatch, folder)
  path = folder / tars.TRAIN
  whole = bytearray(path.read_bytes())
  with tarfile.open(path) as archive:
    member = archive.getmembers()[1]
  end = member.offset_data + member.size
  whole[end - 512 : end] = b"x" * 512
  path.write_bytes(whole)
  refused(folder, f"{member.name} in it is cut short")


@pytest.mark.parametrize(
  ("name", "official", "says"),
  [
    (tars.TRAIN, {"classes": 4}, "3 of 4 classes"),
    (tars.VALIDATION, {"images": 7}, "6 of 7 images"),
  ],
)
def test_official_size_with_too_little_in_it(folder, monkeypatch, name, official, says):
  pretend(monkeypatch, folder, **{name: official})
  refused(folder, says, name)
