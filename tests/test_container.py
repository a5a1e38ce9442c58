"""The Dockerfile: what it installs is pinned; where docker is, it builds and runs."""

import configparser
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from robustjax import __version__

ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
NAME = "robustjax:test"


def docker(*words, timeout=1800):
  done = subprocess.run(
    ["docker", *words], cwd=ROOT, text=True, capture_output=True, timeout=timeout
  )
  assert done.returncode == 0, done.stdout + done.stderr
  return done.stdout


def normal(name):
  return re.sub(r"[-_.]+", "-", name).lower()


def pinned(lock):
  names = re.findall(r"^([\w.-]+)==", (ROOT / lock).read_text(), re.MULTILINE)
  return set(map(normal, names))


@pytest.mark.parametrize("host", ["cpu", "gpu", "tpu"])
def test_what_each_host_asks_for_is_in_the_locks(host):
  setup = configparser.ConfigParser()
  setup.read(ROOT / "setup.cfg")
  extra = setup["options.extras_require"].get(host, "")
  assert bool(extra) == (host != "cpu")
  wanted = re.findall(r"^[\w.-]+", setup["options"]["install_requires"] + extra, re.M)
  locks = re.findall(r"-c (\S+\.lock)", DOCKERFILE)
  assert len(locks) == 2 and len(wanted) > 10
  assert set(map(normal, wanted)) <= set.union(*map(pinned, locks))


def test_the_locks_agree():
  both = pinned("requirements.lock") & pinned("requirements-image.lock")
  assert {"jax", "jaxlib"} <= both
  texts = [(ROOT / f"requirements{n}.lock").read_text() for n in ("", "-image")]
  for name in both:
    (one,), (other,) = (re.findall(rf"^{name}==([^ ;]+)", t, re.M) for t in texts)
    assert one == other, name


def test_it_does_not_run_as_root():
  last = DOCKERFILE.split("FROM ")[-1]
  assert re.search(r"^USER [1-9]\d*$", last, re.MULTILINE)


def test_what_it_writes_is_the_persons_own():
  """Who has no line in its passwd, and so no home but the one that it names."""
  printed = [DOCKERFILE, (ROOT / "docs/install.md").read_text()]
  runs = re.findall(r"docker run .*--volume.*", "\n".join(printed))
  assert len(runs) > 3
  assert all('--user "$(id -u):$(id -g)"' in line for line in runs)
  last = DOCKERFILE.split("FROM ")[-1]
  (home,) = re.findall(r"^ENV .*\bHOME=(\S+)", last, re.MULTILINE)
  (open_to_all,) = re.findall(r"install -d -m 1777 (.*)", last)
  assert {home, "/work"} == set(open_to_all.split())


@pytest.mark.toolchain
@pytest.mark.slow
def test_it_builds_and_runs():
  if not shutil.which("docker"):
    pytest.skip("docker is not here")
  asked = ["docker", "info", "--format", "{{.ServerVersion}}"]
  answer = subprocess.run(asked, text=True, capture_output=True)
  if answer.returncode:
    pytest.skip(f"docker has no server: {answer.stderr.splitlines()[-1]}")
  (default,) = re.findall(r"^ARG PYTHON=(.*)", DOCKERFILE, re.MULTILINE)
  base = f"python:{default}-slim"
  got = subprocess.run(["docker", "pull", base], text=True, capture_output=True)
  if got.returncode:
    pytest.skip(f"{base} cannot be pulled: {got.stderr.splitlines()[-1]}")
  docker("build", "--tag", NAME, ".")
  run = ("run", "--rm", NAME)
  assert docker(*run, "--version") == f"robustjax {__version__}\n"
  assert "experiment" in docker(*run, "config", "mbn_alp:mini")
  assert docker("run", "--rm", "--entrypoint=id", NAME, "-u").strip() == "1000"
  someone = ("run", "--rm", "--user=4321:4321", "--entrypoint=sh", NAME, "-c")
  assert not docker(*someone, 'touch /work/file && mkdir -p "$HOME/.cache/robustjax"')
