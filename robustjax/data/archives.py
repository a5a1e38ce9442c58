"""The two official archives of ImageNet 2012: whether they are what they should be."""

import dataclasses
import os
import pathlib
import re
import tarfile
from collections.abc import Sequence
from typing import IO

from robustjax.data import classes
from robustjax.errors import UserError

TRAIN, VALIDATION = "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"


@dataclasses.dataclass(frozen=True)
class Official:
  """What the publisher's archive is known to hold; its size is in bytes."""

  size: int
  classes: int
  images: int
  md5: str


# The MD5 sums are those on the publisher's download page.
OFFICIAL = {
  TRAIN: Official(147_897_477_120, 1000, 1_281_167, "1d675b47d978889d74fa0da5fadfb00e"),
  VALIDATION: Official(6_744_924_160, 1000, 50_000, "29b22e2961454d5413ddabcf34fc5622"),
}

_BLOCK = tarfile.BLOCKSIZE  # of which a tar is made; the last ones are zeros
_LOOK = 1 << 20  # bytes behind the last member that are looked at
_GZIP = b"\x1f\x8b"
# Task 3 of the same year has an archive of the same layout: 120 kinds of dogs, wild
# ones included, that lie between these two synsets.
_DOGS = ("n02085620", "n02116738")
_TASK_3_CLASSES = 120


@dataclasses.dataclass(frozen=True)
class Archive:
  """An archive that was found complete.

  Attributes:
    path: of the file.
    size: of the file, in bytes.
    classes: how many of the 1000 have an image in it.
    images: how many it holds.
    counted: whether that is known from their headers. If not, it is the number of the
      publisher's archive, whose size this one has: `imagenet2012.write` checks it.
  """

  path: pathlib.Path
  size: int
  classes: int
  images: int
  counted: bool = True

  @property
  def official(self) -> bool:
    """Whether it has the size of the publisher's."""
    return self.size == OFFICIAL[self.path.name].size


def check(folder: pathlib.Path) -> tuple[Archive, Archive]:
  """Checks that both archives are there, complete, and not others.

  Args:
    folder: holds both files under their official names.

  Returns:
    The training archive and the validation archive.

  Raises:
    UserError: one is missing, cut short, damaged, or something else.
  """
  try:
    missing = [name for name in (TRAIN, VALIDATION) if not (folder / name).is_file()]
    if missing:
      raise UserError(
        f"{folder} lacks {' and '.join(missing)}: download {TRAIN} and {VALIDATION}"
        " from https://image-net.org/download-images (after registering), put both"
        " there as they are, or name the folder that holds them with --archives=DIR"
      )
    return check_train(folder / TRAIN), check_validation(folder / VALIDATION)
  except OSError as error:
    raise UserError(
      f"{error.filename or folder} cannot be read ({error.strerror}): check the disk"
      " and its permissions"
    ) from error


def check_train(path: pathlib.Path) -> Archive:
  """Checks the training archive: a tar that holds a tar of images for each class.

  Of an archive of the official size it reads a header and the last block of each
  class, and takes the official number of images, which is checked when they are
  written. Of any other it reads the header of every image, and counts them.

  Raises:
    UserError: it is something else, or not complete.
  """
  official, size = OFFICIAL[TRAIN], path.stat().st_size
  with path.open("rb", buffering=0) as file:  # a header is all that is read at a place
    members = _members(path, file)
    synsets = _classes(path, members)
    if size != official.size:
      images = sum(_images(path, file, member) for member in members)
      return Archive(path, size, len(synsets), images)
    if len(synsets) != official.classes:
      raise _damaged(path, f"{len(synsets)} of {official.classes} classes are in it")
    for member in members:
      file.seek(member.offset_data + member.size - _BLOCK)
      if any(file.read(_BLOCK)):
        raise _damaged(path, f"{member.name} in it is cut short")
  return Archive(path, size, official.classes, official.images, counted=False)


def check_validation(path: pathlib.Path) -> Archive:
  """Checks the validation archive: images that are numbered from 1, in any order.

  TFDS pairs the sorted names with the list of labels, so that one name too many or too
  few would give wrong labels to all that follow.

  Raises:
    UserError: it is something else, or not complete.
  """
  official, size = OFFICIAL[VALIDATION], path.stat().st_size
  with path.open("rb", buffering=0) as file:
    names = sorted(member.name for member in _members(path, file))
  for number, name in enumerate(names, 1):
    expected = f"ILSVRC2012_val_{number:08d}.JPEG"
    if name != expected:
      raise _other(path, f"holds {name} where {expected} is expected")
  labels = classes.imagenet_synsets("validation_labels.txt")
  if len(names) > len(labels):
    raise _other(path, f"holds {len(names)} images where {len(labels)} have labels")
  if size == official.size and len(names) != official.images:
    raise _damaged(path, f"{len(names)} of {official.images} images are in it")
  return Archive(path, size, len(set(labels[: len(names)])), len(names))


def _classes(path: pathlib.Path, members: Sequence[tarfile.TarInfo]) -> set[str]:
  """The classes that the training archive has a tar for."""
  synsets, found = set(classes.imagenet_synsets("labels.txt")), set()
  for member in members:
    synset = member.name.removesuffix(".tar")
    if synset not in synsets or synset == member.name:
      raise _other(path, f"holds {member.name} where <synset>.tar is expected")
    if synset in found:
      raise _other(path, f"holds {member.name} twice")
    found.add(synset)
  first, last = _DOGS
  if len(found) == _TASK_3_CLASSES and all(first <= s <= last for s in found):
    raise _other(path, "holds 120 kinds of dogs only, as the archive of task 3 does")
  return found


def _images(path: pathlib.Path, file: IO[bytes], outer: tarfile.TarInfo) -> int:
  """The number of images in the tar of a class, after a look at every header."""
  name = re.compile(rf"{outer.name.removesuffix('.tar')}_\d+\.JPEG")
  found = set()
  for member in _members(path, file, outer):
    if not name.fullmatch(member.name):
      raise _other(path, f"holds {member.name} in {outer.name}")
    if member.name in found:
      raise _other(path, f"holds {member.name} twice")
    found.add(member.name)
  return len(found)


def _members(
  path: pathlib.Path, file: IO[bytes], outer: tarfile.TarInfo | None = None
) -> list[tarfile.TarInfo]:
  """The members of an archive that is read to its end, header by header.

  `tarfile` alone takes a damaged header for the end of the archive.

  Args:
    path: of the file.
    file: opened.
    outer: if given, the member of it that is to be read, itself a tar.

  Raises:
    UserError: it is no tar, cut short, damaged, or holds something that is no file.
  """
  start = outer.offset_data if outer else 0
  stop = start + outer.size if outer else os.fstat(file.fileno()).st_size
  subject = f"{outer.name} in it" if outer else "it"
  file.seek(start)
  if file.read(2) == _GZIP:
    raise _other(path, f"is compressed with gzip{f' ({outer.name})' if outer else ''}")
  file.seek(start)
  try:
    with tarfile.open(fileobj=file, mode="r:") as archive:
      # What follows a tar without an end is read as a part of it.
      members = [m for m in archive.getmembers() if m.offset < stop]
  except tarfile.TarError as error:
    raise _damaged(path, f"{subject} is cut short or no tar ({error})") from error
  if not members:
    raise _damaged(path, f"{subject} holds nothing, or is no tar")
  for member in members:
    if not member.isreg() or "/" in member.name:
      raise _other(path, f"holds {member.name}, a folder or what is in one")
  _check_end(path, file, members[-1], stop, subject)
  return members


def _check_end(
  path: pathlib.Path, file: IO[bytes], last: tarfile.TarInfo, stop: int, subject: str
) -> None:
  """Checks that the end of an archive follows the last member that was found."""
  blocks = -(-last.size // _BLOCK)  # the last of them is filled up
  end = last.offset_data + blocks * _BLOCK
  file.seek(end)
  after = file.read(min(stop - end, _LOOK)) if end < stop else b""
  if len(after) < _BLOCK or any(after):
    problem = "is damaged behind" if any(after) else "is cut short at"
    raise _damaged(path, f"{subject} {problem} {last.name}")


def _damaged(path: pathlib.Path, problem: str) -> UserError:
  official, size = OFFICIAL[path.name], path.stat().st_size
  return UserError(
    f"{path} is not complete: {problem}; copy or download it again (the official file"
    f" has {official.size:,} bytes, this one {size:,}, and the MD5 {official.md5})"
  )


def _other(path: pathlib.Path, difference: str) -> UserError:
  layout = {
    TRAIN: "a tar for each class, <synset>.tar, that holds <synset>_<number>.JPEG",
    VALIDATION: "the images ILSVRC2012_val_00000001.JPEG, ..._00000002.JPEG and so on",
  }
  return UserError(
    f"{path} is not the archive of that name: it {difference}; the official one holds"
    f" {layout[path.name]}, and no folder"
  )
