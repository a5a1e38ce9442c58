"""Files that somebody made to do harm: weights, images, folders for a report."""

import functools
import io
import json
import os
import pickle
import random
import resource
import struct
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from . import kills, runs
from .table import Result

_MEMORY = 4 * 2**30  # bytes that reading a file may take, beside what is loaded
_SECONDS = 180.0  # far more than is taken, also on a busy machine
BOMB = 2**31


class _Runs:
  def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
    return os.system, ("touch RAN",)


def weights(folder: Path, rng: random.Random) -> Iterator[Path]:
  """Files that call themselves weights."""
  code = pickle.dumps({"state_dict": _Runs()})
  bomb = io.BytesIO()
  with (
    zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive,
    archive.open("x.npy", "w", force_zip64=True) as member,
  ):
    for _ in range(BOMB // 2**24):
      member.write(bytes(2**24))
  torch = io.BytesIO()
  with zipfile.ZipFile(torch, "w") as archive:
    archive.writestr("archive/data.pkl", code)
    archive.writestr("archive/version", "3\n")
  header = json.dumps({"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 4]}})
  contents = {
    "code.pth": torch.getvalue(),
    "pickle.pth": code,
    "deep.pth": b"\x80\x02" + b"(" * 2**20 + b".",
    "bomb.npz": bomb.getvalue(),
    "huge.safetensors": struct.pack("<Q", len(header)) + header.encode() + bytes(4),
    "head.safetensors": struct.pack("<Q", 2**62) + b"{}",
    "noise.pth": rng.randbytes(5000),
    "empty.npz": b"",
  }
  for name, content in contents.items():
    (folder / name).write_bytes(content)
    yield folder / name
  yield from _no_files(folder, ".pth")


def images(folder: Path, rng: random.Random) -> Iterator[Path]:
  """Files that call themselves images."""

  def chunk(kind: bytes, content: bytes) -> bytes:
    body = kind + content
    return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

  head = chunk(b"IHDR", struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0))
  black = chunk(b"IDAT", zlib.compress(bytes(10**7), 9))
  png = b"\x89PNG\r\n\x1a\n" + head + black + chunk(b"IEND", b"")
  contents = {"bomb.png": png, "noise.jpg": b"\xff\xd8" + rng.randbytes(3000)}
  for name, content in contents.items():
    (folder / name).write_bytes(content)
    yield folder / name


def reports(folder: Path, rng: random.Random, whole: Path) -> Iterator[Path]:
  """Folders of a run of which one file is something else."""
  evil = "<script>alert(1)</script>"
  names = ("config.json", "metrics.jsonl", "evaluation.json", "statistics.json",
           "examples.npz", "evaluations/x/summary.json")  # fmt: skip
  for number, name in enumerate(names):
    for bad in _no_files(folder, str(number)):
      run = runs.copied(whole, folder / f"report-{number}-{bad.stem}" / evil[:8])
      (run / name).parent.mkdir(parents=True, exist_ok=True)
      (run / name).unlink(missing_ok=True)
      bad.rename(run / name)
      (run / "loop").symlink_to(run, target_is_directory=True)
      yield run.parent


def _no_files(folder: Path, suffix: str) -> Iterator[Path]:
  fifo, sparse, loop = (folder / f"{x}{suffix}" for x in ("pipe", "sparse", "loop"))
  os.mkfifo(fifo)
  yield fifo
  with sparse.open("wb") as file:
    file.truncate(BOMB)
  yield sparse
  loop.symlink_to(loop.name)
  yield loop


def cases(folder: Path, short: bool) -> dict[str, kills.Case]:
  """Every hostile file or folder, or some, read as its command reads it."""
  of_kind = {
    "a hostile file of weights": (weights, _read_weights),
    "a hostile image": (images, _read_image),
    "a hostile folder for a report": (
      lambda box, rng: reports(box, rng, kills.whole(folder)[0]),
      _report,
    ),
  }
  return {
    fault: functools.partial(hostile, folder, fault, made, read, 0.3 if short else 1.0)
    for fault, (made, read) in of_kind.items()
  }


def hostile(
  folder: Path,
  fault: str,
  made: Callable[[Path, random.Random], Iterator[Path]],
  read: Callable[[Path], None],
  share: float,
  rng: random.Random,
) -> Iterator[Result]:
  """A share of the files or folders of one kind."""
  box = runs.gone(folder / "box")
  box.mkdir()
  for path in made(box, rng):
    if rng.random() < share:
      yield _read(fault, path, read, box)


def _read(fault: str, path: Path, read: Callable[[Path], None], box: Path) -> Result:
  from robustjax import errors

  def limited() -> int:
    os.chdir(box)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * 4096
    resource.setrlimit(resource.RLIMIT_AS, (used + _MEMORY, used + _MEMORY))
    return errors.ended(lambda: read(path))

  log = box / "log"
  begun = time.monotonic()
  started = runs.Start([runs.forked(limited, log)], [log], begun)
  status = started.end(_SECONDS)
  said, wrong = started.said(), ""
  outcome = "refused" if status == 2 else "survived"
  if status not in (0, 2) or "HUNG" in said or "Traceback" in said:
    wrong = f"status {status}: {said[-300:]}"
  elif status == 2 and len(started.told()) != 1:
    wrong = f"{len(started.told())} lines: {said[-300:]}"
  elif (box / "RAN").exists():
    wrong = "it ran code"
  return Result(fault, outcome, time.monotonic() - begun, wrong=wrong, what=path.name)


def _read_weights(path: Path) -> None:
  from robustjax.weights import files

  files.read(path)


def _read_image(path: Path) -> None:
  from robustjax.data import decode
  from robustjax.errors import UserError

  try:
    decode.decode(path.read_bytes(), 3)
  except ValueError as error:  # whoever decodes it has more to say
    raise UserError(f"{path.name}: {error}") from error


def _report(folder: Path) -> None:
  from robustjax.report import __main__ as report

  out = folder.parent / f"page-of-{folder.name}"
  status = report.main([str(folder), f"--out={out}"])
  for page in out.rglob("*.html"):
    if "<script>alert" in page.read_text():
      raise AssertionError("the page has their script")
  if status:
    raise SystemExit(status)
