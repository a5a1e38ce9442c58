"""Lists of images in a text file, by their places in a data set or by their names.

RobustBench's list of ImageNet images is one: n09468604/ILSVRC2012_val_00015253.JPEG.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from robustjax.data.folder import Files
from robustjax.data.sources import Source
from robustjax.errors import UserError

_INDEX = re.compile(r"[+-]?\d{1,18}")


def indices(file: Path, source: Source) -> list[int]:
  """The images that a file lists.

  Args:
    file: one id a line; blank lines and lines that begin with # are left out. An id is
      an index, or a name: the end of an image's path ("n01440764/1.JPEG", "1.JPEG"),
      with or without the ending of its last part.
    source: an image folder, or a data set of TFDS whose features include "file_name",
      if there are names. Of TFDS's, all records are read for them, as its files have
      no list of names; what stands before the class in an id is not looked at, as it
      knows no folders.

  Returns:
    Their places in the data set, in the order of the lines.

  Raises:
    UserError: the file cannot be read, is empty, or an id is unknown, repeated or
      could mean several images; or a record cannot be read.
  """
  ids = _ids(file)
  names = {line: text for line, text in ids.items() if not _INDEX.fullmatch(text)}
  found = _named(file, names, source)
  for line, text in ids.items():
    if line not in names:
      found[line] = _in_range(file, line, int(text), source)
  lines: dict[int, int] = {}
  for line in ids:
    first = lines.setdefault(found[line], line)
    if first != line:
      raise UserError(
        f"{file}, line {line}: {ids[line]!r} is image {found[line]}, which line {first}"
        " names already: take one of the two out"
      )
  return list(lines)


def _ids(file: Path) -> dict[int, str]:
  """The lines that hold something, by their numbers."""
  try:
    # Names of files need not be UTF-8; some editors begin a file with a mark.
    text = file.expanduser().read_bytes().decode("utf-8-sig", "surrogateescape")
  except OSError as error:
    raise UserError(
      f"{file} cannot be read ({error.strerror}): name a file of image ids with --ids"
    ) from error
  lines = {i: line.strip() for i, line in enumerate(text.split("\n"), 1)}
  ids = {i: line for i, line in lines.items() if line and not line.startswith("#")}
  if not ids:
    raise UserError(f"{file} lists no image: write an index or a file name a line")
  return ids


def _in_range(file: Path, line: int, index: int, source: Source) -> int:
  if not 0 <= index < len(source):
    raise UserError(
      f"{file}, line {line}: {source.name}, split {source.split}, has the images"
      f" 0..{len(source) - 1}, not {index}: take it out"
    )
  return index


def _named(file: Path, names: Mapping[int, str], source: Source) -> dict[int, int]:
  """Line -> index, of the ids that are names."""
  wanted: dict[str, list[int]] = {}  # the last part of a name -> lines
  for line, name in names.items():
    wanted.setdefault(name.rpartition("/")[2], []).append(line)
  found: dict[int, int] = {}
  places = _places(file, names, source) if names else ()
  for index, place in enumerate(places):
    last = place[-1]
    for key in {last, os.path.splitext(last)[0]}:
      for line in wanted.get(key, ()):
        if not _ends_with(place, _parts(names[line])):
          continue
        if line in found:
          raise UserError(
            f"{file}, line {line}: {names[line]!r} is image {found[line]} and image"
            f" {index}: name the image by its index, or by more of its path"
          )
        found[line] = index
  for line, name in names.items():
    if line not in found:
      raise UserError(
        f"{file}, line {line}: {source.name}, split {source.split}, has no image"
        f" {name!r}: name an index or the end of a file's path, or another split with"
        " --split"
      )
  return found


def _places(
  file: Path, names: Mapping[int, str], source: Source
) -> Iterator[Sequence[str]]:
  """The parts of each image's path, as far as they are known."""
  if isinstance(source.records, Files):
    for index in range(len(source)):
      yield _parts(source.location(index))
    return
  for index in range(len(source)):
    record = source.record(index)
    if "file_name" not in record:
      line, name = next(iter(names.items()))
      raise UserError(
        f"{file}, line {line}: the images of {source.name} have no names such as"
        f" {name!r}: write indices"
      )
    parts = _parts(os.fsdecode(record["file_name"]))
    label = int(record["label"])
    of_class = len(parts) == 1 and 0 <= label < source.num_classes
    yield [source.class_names[label], *parts] if of_class else parts


def _parts(path: str) -> list[str]:
  """Of a path; `find .` writes ./n01440764/1.JPEG."""
  return [part for part in path.split("/") if part not in ("", ".")]


def _ends_with(place: Sequence[str], name: Sequence[str]) -> bool:
  """Whether all parts but the last, from its end on, are the same."""
  both = zip(reversed(place[:-1]), reversed(name[:-1]), strict=False)
  return all(one == other for one, other in both)
