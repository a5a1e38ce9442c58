"""Names of slices, and the figures of the chips."""

import importlib.metadata
import importlib.util
import math
import types

import pytest

from robustjax.errors import UserError
from robustjax.preflight import chips, topology


@pytest.mark.parametrize(
  ("name", "kind", "shape"),
  [
    ("v5e:16x16", "v5e", "16x16"),
    ("v5e-256", "v5e", "16x16"),
    ("v5litepod-256", "v5e", "16x16"),
    ("v6e-8", "v6e", "2x4"),
    ("v3-32", "v3", "4x4"),
    ("v4-128", "v4", "4x4x4"),
    ("v5p-8", "v5p", "2x2x1"),
  ],
)
def test_names_of_slices(name, kind, shape):
  assert topology._parse(name) == (kind, shape)


@pytest.mark.parametrize("name", ["v9-8", "v5e", "tpu", "", "v5e:", "v5e/8"])
def test_a_kind_that_does_not_exist_is_told_with_those_that_do(name):
  with pytest.raises(UserError, match=r"v3, v4, v5e, v5p, v6e") as error:
    topology.tpu(name)
  assert "\n" not in str(error.value)


def test_a_size_that_does_not_exist_is_told_with_those_that_do():
  with pytest.raises(UserError, match=r"did you mean v5e-256\?.*v5e-8 \(2x4\)"):
    topology.tpu("v5e-250")
  with pytest.raises(UserError, match=r"v4-128 \(4x4x4\).*counts TensorCores"):
    topology.tpu("v4:5x5x5")


def test_without_the_compiler_one_line_says_how_to_install_it(monkeypatch):
  find = importlib.util.find_spec
  monkeypatch.setattr(
    importlib.util, "find_spec", lambda name: None if name == "libtpu" else find(name)
  )
  with pytest.raises(UserError, match=r"pip install 'libtpu==0\.") as error:
    topology.tpu("v5e-8")
  assert "\n" not in str(error.value)


def test_a_gpu_that_is_not_here():
  with pytest.raises(UserError, match="--device=h100 compiles on a machine that has"):
    topology.gpu("h100")


def test_the_cpus_of_this_machine_share_its_memory():
  here = topology.cpu()
  assert len(here.devices) == 8 and here.chips is None and here.peak is None
  assert 2**20 < here.hbm * 8 < 2**50


@pytest.mark.parametrize("kind", chips.CHIPS)
def test_figures_of_a_chip(kind):
  chip = chips.CHIPS[kind]
  assert 50 < chip.peak / chips.TFLOPS < 2000
  assert 7 < chip.hbm / chips.GIB < 200
  for count, shape in chip.slices.items():
    assert math.prod(map(int, shape.split("x"))) == count
  per = 2 if chip.counts_cores else 1
  for name, shape in chips.names(kind).items():
    assert int(name.rpartition("-")[2]) == per * math.prod(map(int, shape.split("x")))


def test_a_device_of_a_v3_has_half_a_chips_peak(monkeypatch):
  devices = [types.SimpleNamespace(id=i, process_index=i // 8) for i in range(32)]
  found = types.SimpleNamespace(devices=devices)
  monkeypatch.setattr(topology.topologies, "get_topology_desc", lambda **_: found)
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: True)
  monkeypatch.setattr(importlib.metadata, "version", lambda name: "1")
  monkeypatch.setattr(topology.jax.config, "update", lambda *_: None)
  monkeypatch.setattr(topology.os, "environ", {})
  made = topology.tpu("v3-32")
  assert (made.chips, made.hosts, made.peak) == (16, 4, 61.5e12)
  assert made.exact_peak == 61.5e12 / 6 and made.bandwidth == 450e9
