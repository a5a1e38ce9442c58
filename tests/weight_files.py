"""Files as torch.save writes them, without torch, and with more in their pickles."""

import io
import pickle
import struct
import zipfile

import numpy as np

from robustjax.weights import torchfiles

_rng = np.random.default_rng(0)
ARRAYS = {
  "conv1.weight": _rng.normal(size=(4, 3, 3, 2)).astype(np.float32),
  "bn1.running_var": _rng.uniform(size=4).astype(np.float32),
  "bn1.num_batches_tracked": np.array(7),
}


def text(string):
  """The opcode of a string."""
  return b"X" + struct.pack("<I", len(string)) + string.encode()


def call(module, function, *strings):
  """The opcodes of a call with strings."""
  args = b"".join(text(string) for string in strings)
  return f"c{module}\n{function}\n".encode() + b"(" + args + b"tR"


def members(path):
  """The content of a zip archive by name."""
  with zipfile.ZipFile(path) as archive:
    return {name: archive.read(name) for name in archive.namelist()}


def zip_of(contents, compression=zipfile.ZIP_STORED):
  """A zip archive of (name, content) pairs."""
  out = io.BytesIO()
  with zipfile.ZipFile(out, "w", compression) as archive:
    for name, content in contents:
      archive.writestr(name, content)
  return out.getvalue()


def torch_zip(path, arrays=ARRAYS, more=b""):
  """Writes a state dict; `more` are opcodes of further keys and values."""
  torchfiles.write(path, arrays)
  contents = members(path)
  # Before the end of the dict: "u" sets the items, "." stops.
  contents["archive/data.pkl"] = contents["archive/data.pkl"][:-2] + more + b"u."
  path.write_bytes(zip_of(contents.items()))
  return path


def torch_legacy(path, arrays=ARRAYS, more=b""):
  """The same in the form before PyTorch 1.6, with its storages in another order."""
  torch_zip(path, arrays, more)
  pickled = members(path)["archive/data.pkl"]
  machine = {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}
  keys = [str(index) for index in range(len(arrays))][::-1]
  parts = [
    *(pickle.dumps(what, 2) for what in (0x1950A86A20F9469CFC6C, 1001, machine)),
    pickled,
    pickle.dumps(keys, 2),
  ]
  for array in list(arrays.values())[::-1]:
    parts += [struct.pack("<q", array.size), array.tobytes()]
  path.write_bytes(b"".join(parts))
  return path
