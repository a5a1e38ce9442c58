"""Which files of a folder are opened, as Linux tells it: inotify, of the C library."""

import ctypes
import os
import struct
from pathlib import Path

from . import runs

_OPENED = 0x20  # IN_OPEN
_HEAD = struct.Struct("iIII")  # watch, mask, cookie, length of the name


class Watch:
  """Watches the files that a folder has now."""

  def __init__(self, folder: Path):
    self._folder, libc = folder, ctypes.CDLL(None, use_errno=True)
    self._events = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    self._paths = {}
    for path in runs.each_file(folder):
      number = libc.inotify_add_watch(self._events, os.fsencode(path), _OPENED)
      if number < 0:
        raise OSError(ctypes.get_errno(), "inotify watches nothing", str(path))
      self._paths[number] = path

  def opened(self) -> list[str]:
    """Which of them were opened, by their names in the folder; ends the watch."""
    found, data = set(), b""
    try:
      while more := os.read(self._events, 2**16):
        data += more
    except BlockingIOError:
      os.close(self._events)
    at = 0
    while at < len(data):
      number, mask, _, length = _HEAD.unpack_from(data, at)
      if mask & _OPENED:
        found.add(self._paths[number])
      at += _HEAD.size + length
    return sorted(str(path.relative_to(self._folder)) for path in found)
