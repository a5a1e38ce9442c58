"""The wheel installs alone, and the sdist builds the same one."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BUILD = "from setuptools import build_meta as b; b.build_{}({!r})"
TINY = [
  "--config.model.width=4", "--config.model.stages=(1,)", "--config.attack.steps=1",
  "--config.train.epochs=0.02", "--config.train.validation_images=20",
  "--config.eval.readings=(2,)", "--config.eval.images=20", "--config.eval.attack=",
  "--config.eval.batch_size=20",
]  # fmt: skip
# Where the settings are, once the network of the package has judged an image.
SHIPPED = """
import numpy
from robustjax import weights
from robustjax.config import shipped
assert weights.logits_fn("shipped")(numpy.zeros((1, 28, 28, 1))).shape == (1, 10)
print(shipped.FOLDER)
"""

pytestmark = [pytest.mark.toolchain, pytest.mark.slow]


def run(*command, cwd, status=0):
  """What a command prints, which sees nothing of this repository."""
  alone = {n: v for n, v in os.environ.items() if n != "PYTHONPATH"}
  done = subprocess.run(
    command, cwd=cwd, env=alone, text=True, capture_output=True, timeout=600
  )
  assert done.returncode == status, done.stdout + done.stderr
  return done.stdout + done.stderr


def build(kind, source, out):
  """Builds an sdist or a wheel with what `make setup` installed; returns its path."""
  out.mkdir(exist_ok=True)
  run(sys.executable, "-c", BUILD.format(kind, str(out)), cwd=source)
  (built,) = out.iterdir()
  return built


def contents(wheel):
  with zipfile.ZipFile(wheel) as archive:
    return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
  """The repository's files, where building leaves nothing behind."""
  folder = tmp_path_factory.mktemp("source") / "robustjax"
  ignored = (
    ".git",
    ".venv",
    "__pycache__",
    ".*_cache",
    "runs",
    "build",
    "dist",
    "*.egg-info",
  )
  shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*ignored))
  return folder


@pytest.fixture(scope="module")
def wheel(source, tmp_path_factory):
  return build("wheel", source, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory):
  """A fresh one with the wheel, and what it depends on taken from the tests' own."""
  folder = tmp_path_factory.mktemp("environment")
  run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder)
  python = folder / "bin/python"
  pip = (sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check")
  run(*pip, "install", "--no-deps", "--no-index", wheel, cwd=folder)
  (packages,) = folder.glob("lib/python*/site-packages")
  # The folder alone: its .pth files, which name this repository, are not read.
  (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
  return folder


def test_the_wheel_has_every_file_and_setting(source, wheel):
  packed = {name for name in contents(wheel) if name.startswith("robustjax/")}
  files = [path for path in (source / "robustjax").rglob("*") if path.is_file()]
  settings = {f"robustjax/{p.relative_to(ROOT)}" for p in ROOT.glob("experiments/*.py")}
  assert packed == settings | {str(path.relative_to(source)) for path in files}
  kinds = {path.suffix for path in files}
  assert {".json", ".jinja", ".css", ".md", ".safetensors"} <= kinds
  tops = {name.split("/")[0] for name in contents(wheel)}
  assert len(tops) == 2 and "robustjax" in tops  # nothing else lands among packages


def test_the_sdist_builds_the_same_wheel(source, wheel, tmp_path):
  with tarfile.open(build("sdist", source, tmp_path / "sdist")) as archive:
    archive.extractall(tmp_path / "unpacked", filter="data")
  (unpacked,) = (tmp_path / "unpacked").iterdir()
  assert contents(build("wheel", unpacked, tmp_path / "wheel")) == contents(wheel)
  assert {"Makefile", "Dockerfile", "CITATION.cff"} <= set(os.listdir(unpacked))


def test_a_container_gets_all_that_the_wheel_is_built_of(source, wheel, tmp_path):
  context = tmp_path / "context"
  context.mkdir()
  lines = (source / ".dockerignore").read_text().splitlines()
  for kept in [line[1:] for line in lines if line.startswith("!")]:
    for path in source.glob(kept):
      (shutil.copytree if path.is_dir() else shutil.copy)(path, context / path.name)
  assert contents(build("wheel", context, tmp_path / "out")) == contents(wheel)


def test_a_few_steps_in_an_empty_folder(environment, tmp_path):
  python, robustjax = environment / "bin/python", environment / "bin/robustjax"
  assert str(environment) in run(python, "-c", SHIPPED, cwd=tmp_path)
  said = run(robustjax, "train", "mbn_alp:mini", *TINY, cwd=tmp_path)
  assert "worst case" in said
  module = (python, "-m", "robustjax.main", "--config=mbn_alp.py:mini", *TINY)
  assert "This run is complete" in run(*module, cwd=tmp_path)
  report = run(robustjax, "report", "runs", "--out=report", cwd=tmp_path)
  assert "report/index.html" in report
  assert "mbn_alp-mini" in run(robustjax, "sweep", "mbn_alp:mini", *TINY, "--dry_run",
    cwd=tmp_path)  # fmt: skip
  wrong = run(robustjax, "train", "mbn_apl:mini", cwd=tmp_path, status=2)
  assert wrong.startswith("error: there is no file") and "did you mean mbn_alp" in wrong
