"""Prepares ImageNet 2012 from its two official archives, without TensorFlow.

    robustjax prepare imagenet2012 --archives=DIR --data_dir=DIR

Reads ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar, and writes what TFDS
calls imagenet2012:5.1.0, in the array_record format. Stopped or killed, it
starts again.
"""

import argparse
import contextlib
import fcntl
import pathlib
import re
import resource
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Sequence

from absl import logging

from robustjax.data import archives, imagenet2012, sources
from robustjax.errors import STOPPED, Parser, UserError, ended
from robustjax.runtime import log

# Beside the versions of the data set; TFDS takes neither name for a version.
UNFINISHED, LOCK = "incomplete.prepare", ".prepare.lock"
_SPLITS = ("train", "validation")
# Bytes that shards and the file system take beyond the archives' own: a shard is filled
# up to 128 KiB, and there are at most 1024 + 128 of them.
_SLACK = 256 << 20
_OTHER_FILES = 100  # open beside those for sorting, generously
# How array_record names an error of the system, in a RuntimeError.
_ARRAY_RECORD_ERROR = re.compile(r"\w+\(\) failed: ([^;]+);")


def prepare(folder: pathlib.Path, data_dir: pathlib.Path) -> None:
  """Prepares imagenet2012 and says what it does.

  Args:
    folder: holds the two archives.
    data_dir: the TFDS data directory to write into; made if it is missing.

  Raises:
    UserError: an archive is missing or wrong, the disk too small, another process at
      the same work, or another kind of data set in the way. Nothing was written.
  """
  family = data_dir / imagenet2012.NAME
  target = family / imagenet2012.VERSION
  if summary := _prepared_already(data_dir, target):
    print(f"This data set is prepared already: {target}\n{summary}")
    return
  started = time.monotonic()
  print(f"Checking the archives in {folder}", flush=True)
  with log.waiting("checking"):
    found = archives.check(folder)
  _print_archives(found)
  with _claim(family) as unfinished:
    if target.exists():
      raise UserError(f"{target} was prepared meanwhile by another process: use that")
    _check_room(found, data_dir)
    _check_files(found)
    try:
      prepared = imagenet2012.write(*found, unfinished, _progress)
      prepared.rename(target)
    except (OSError, RuntimeError) as error:
      raise _disk_error(error, data_dir) from error
  seconds = time.monotonic() - started
  print(f"Prepared in {seconds:.0f} s: {target}\n{_summary(data_dir)}")


def _prepared_already(data_dir: pathlib.Path, target: pathlib.Path) -> str:
  """The summary of the data set that is there; empty if nothing is."""
  try:
    if not target.exists():
      return ""
    if not (target / "dataset_info.json").exists():
      raise UserError(
        f"{target} is in the way, and is no data set (no dataset_info.json): move"
        " it away, or name another --data_dir"
      )
    return _summary(data_dir)
  except OSError as error:
    raise UserError(
      f"{error.filename or target} cannot be read ({error.strerror}): mend its"
      " permissions, or name another --data_dir"
    ) from error


def _print_archives(found: Sequence[archives.Archive]) -> None:
  for archive in found:
    official = archives.OFFICIAL[archive.path.name]
    note = "" if archive.official else f" (not the official {official.size:,})"
    if not archive.counted:
      note = " (the official size; its images are counted as they are read)"
    print(
      f"  {archive.path.name}: {archive.images:,} images of {archive.classes:,} classes"
      f" in {archive.size:,} bytes{note}",
      flush=True,
    )


@contextlib.contextmanager
def _claim(family: pathlib.Path) -> Iterator[pathlib.Path]:
  """Locks the data set's folder, and removes what is unfinished in it.

  Yields:
    A folder to work in, which does not outlive this: on the disk of the folder, so
    that what is finished in it can be moved.
  """
  unfinished = family / UNFINISHED
  try:
    family.mkdir(parents=True, exist_ok=True)
    lock = (family / LOCK).open("w")
  except OSError as error:
    raise UserError(
      f"{family} cannot be written to ({error.strerror}): name another --data_dir"
    ) from error
  with lock:
    try:
      fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
      raise UserError(
        f"another process is preparing {family}: wait for it, or name another"
        " --data_dir"
      ) from error
    except OSError as error:
      raise UserError(
        f"{family} cannot be locked ({error.strerror}): name a --data_dir on a file"
        " system that locks"
      ) from error
    try:
      # Of a process that was killed: no other holds the lock.
      shutil.rmtree(unfinished, ignore_errors=True)
      yield unfinished
    finally:
      shutil.rmtree(unfinished, ignore_errors=True)


def _check_room(found: Sequence[archives.Archive], data_dir: pathlib.Path) -> None:
  """Checks for disk space: TFDS sorts a split in files that it removes one by one."""
  needed = sum(archive.size for archive in found) + _SLACK
  free = shutil.disk_usage(data_dir).free
  if free < needed:
    raise UserError(
      f"{data_dir} has {free / 1e9:.1f} GB free where {needed / 1e9:.1f} GB are needed:"
      " free some, or name a --data_dir on another disk"
    )


def _check_files(found: Sequence[archives.Archive]) -> None:
  """Sees to it that as many files can be opened as TFDS sorts with."""
  needed = imagenet2012.SORTING_FILES + _OTHER_FILES
  if max(archive.size for archive in found) <= imagenet2012.SORTED_IN_MEMORY:
    return
  soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
  if hard != resource.RLIM_INFINITY and hard < needed:
    raise UserError(
      f"a process may open {hard} files here where {needed} are needed: raise the limit"
      f" (ulimit -Hn {needed}, as an administrator)"
    )
  if soft != resource.RLIM_INFINITY and soft < needed:
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def _disk_error(error: Exception, data_dir: pathlib.Path) -> Exception:
  """What to raise for an error of the disk; the error itself if it is no such."""
  reason = None
  cause: BaseException | None = error
  while cause and not reason:  # TFDS wraps them
    if isinstance(cause, OSError):
      reason = cause.strerror
    elif match := _ARRAY_RECORD_ERROR.search(str(cause)):
      reason = match[1]
    cause = cause.__cause__
  if not reason:
    return error
  return UserError(
    f"writing under {data_dir} failed ({reason}): mend that, or name another"
    " --data_dir; nothing of this attempt was kept"
  )


def _progress(description: str, images: int) -> log.Bar:
  return log.progress(description, images, 0, "images")


def _summary(data_dir: pathlib.Path) -> str:
  """What is there and how to train on it."""
  lines = []
  for split in _SPLITS:
    source = sources.open_source(
      imagenet2012.NAME, split=split, data_dir=data_dir, version=imagenet2012.VERSION
    )
    lines.append(f"  {split}: {len(source):,} images")
  lines.append(
    "Train on it: python -m robustjax.main --config=experiments/mbn_alp.py"
    f" --config.data.data_dir={shlex.quote(str(data_dir))}"
  )
  return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
  """The command line; returns the exit status.

  Args:
    arguments: `sys.argv` without the program if None.
  """
  logging.set_verbosity(logging.FATAL)  # TFDS's chatter; what matters is raised

  def command() -> None:
    options = _options(arguments)
    prepare(options.archives, options.data_dir)

  try:
    return ended(command)
  except KeyboardInterrupt:
    print("stopped; nothing was kept, the same command starts again", file=sys.stderr)
    return STOPPED


def parser() -> Parser:
  """The flags."""
  made = Parser(
    "robustjax prepare",
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  made.add_argument("name", help="imagenet2012")
  made.add_argument("--archives", metavar="DIR", help="holds the two archives")
  made.add_argument("--data_dir", metavar="DIR", help="where TFDS's data sets are")
  return made


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
  options = parser().parse_args(arguments)
  if options.name != imagenet2012.NAME:
    raise UserError(
      f"{options.name!r} is not prepared by this command: any other TFDS data set works"
      f" by its name after tfds build {options.name} --file_format=array_record"
      f" --data_dir={options.data_dir or 'DIR'} (which may need TensorFlow)"
    )
  for name in ("archives", "data_dir"):
    value = getattr(options, name)
    if value is None:
      raise UserError(f"--{name}=DIR is missing")
    setattr(options, name, _folder(name, value))
  return options


def _folder(name: str, value: str) -> pathlib.Path:
  """The folder that an option names, which is on a disk."""
  if "://" in value:  # or a path would make it a folder of that name here
    remedy = {
      "archives": "copy the archives to a disk and name their folder",
      "data_dir": "prepare on a disk and copy it there",
    }
    raise UserError(f"--{name}={value} is no folder on a disk: {remedy[name]}")
  try:
    return pathlib.Path(value).expanduser()
  except RuntimeError as error:
    raise UserError(
      f"--{name}={value} names a home folder that is not known here: write the whole"
      " path"
    ) from error


if __name__ == "__main__":
  for number in (signal.SIGINT, signal.SIGTERM):  # a shell's background ignores one
    signal.signal(number, signal.default_int_handler)
  sys.exit(main())
