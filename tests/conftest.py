"""Eight virtual devices for every test; compiled programs and small nets are shared."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

# Many tests compile the same programs: they are compiled once, for both workers and for
# the processes that tests start, and with few optimisations, which cost more here than
# they gain. Set before JAX reads it; whoever is started by a test run inherits it.
if not {"PYTEST_XDIST_WORKER", "PYTEST_CURRENT_TEST"} & set(os.environ):
  _compiled = tempfile.TemporaryDirectory()
  os.environ["JAX_COMPILATION_CACHE_DIR"] = _compiled.name
  os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.1"
  os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
  # The emitters that XLA had before take half the time to compile.
  flags = os.environ.get("XLA_FLAGS", "")
  os.environ["XLA_FLAGS"] = f"{flags} --xla_cpu_use_fusion_emitters=false".strip()
  # Two workers of PyTorch's threads on two cores wait for each other most of the time.
  os.environ.setdefault("OMP_NUM_THREADS", "1")

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402
from jax._src import compiler  # noqa: E402

jax.config.update("jax_num_cpu_devices", 8)

from cloud import REPO, Cloud, commit  # noqa: E402

from robustjax.models import norm as norms  # noqa: E402
from robustjax.models import resnet  # noqa: E402

CLASSES = 5


@pytest.fixture(autouse=True, scope="module")
def usual_signals():
  """Undoes what a process inherits, and what the tests before have left.

  A shell starts what is in its background with Ctrl-C ignored, nohup with a closed
  terminal ignored, and libtpu ignores that when it loads; so would be all processes
  that tests send them to.
  """
  signal.signal(signal.SIGINT, signal.default_int_handler)
  signal.signal(signal.SIGHUP, signal.SIG_DFL)
  signal.signal(signal.SIGTERM, signal.SIG_DFL)


@pytest.fixture(scope="module")
def optimised():
  """Programs as users get them, where equal means equal to the last bit."""

  def options(*words, env_options_overrides=None, **named):
    given = {"xla_cpu_use_fusion_emitters": True, **(env_options_overrides or {})}
    return usual(*words, env_options_overrides=given, **named)

  usual = compiler.get_compile_options
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(compiler, "get_compile_options", options)
    jax.clear_caches()
    jax.config.update("jax_disable_most_optimizations", False)
    yield
  jax.config.update("jax_disable_most_optimizations", True)
  jax.clear_caches()


@pytest.fixture
def argv(monkeypatch):
  """Makes words those of a new process in the repository's root."""
  monkeypatch.chdir(REPO)
  return lambda *words: monkeypatch.setattr(sys, "argv", ["robustjax", *words])


def tiny(norm=None, **attributes):
  """A ResNet of two narrow basic blocks for 8x8 images: compiles in a second."""
  attributes = {"block": "basic", "width": 4, "stem": "small", **attributes}
  norm = norm or norms.batch(("clean", "adv"))
  return resnet.make((1, 1), norm=norm, num_classes=CLASSES, **attributes)


def lively(variables, seed=0):
  """Variables with nothing left at its initial 0 or 1, so that everything matters."""
  noise = np.random.default_rng(seed)
  return jax.tree.map(
    lambda x: jnp.asarray(x + 0.3 * noise.random(x.shape), jnp.float32), variables
  )


@pytest.fixture(scope="session")
def batch():
  """64 random 8x8 images with labels."""
  key = jax.random.key(7)
  images = jax.random.randint(key, (64, 8, 8, 3), 0, 256).astype(jnp.uint8)
  labels = jnp.arange(64, dtype=jnp.int32) % CLASSES
  index = jnp.arange(100, 164, dtype=jnp.int32)
  return {"image": images, "label": labels, "index": index}


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
  """A repository with what the launcher needs."""
  repo = tmp_path_factory.mktemp("launch") / "repo"
  for folder in ("launch", "experiments", "robustjax/sweep"):
    without = shutil.ignore_patterns("__pycache__")
    shutil.copytree(REPO / folder, repo / folder, ignore=without)
  for file in ("robustjax/__init__.py", "robustjax/errors.py"):
    shutil.copy(REPO / file, repo / file)
  (repo / ".gitignore").write_text("__pycache__\nruns\n.venv\n")
  subprocess.run(["git", "init", "--quiet"], cwd=repo, check=True)
  commit(repo)
  return repo


@pytest.fixture
def cloud(tmp_path: Path, repository: Path) -> Cloud:
  return Cloud(tmp_path, repository)
