"""The command audits a function of somebody else's, and its mistakes are one line."""

import json
import textwrap

import PIL.Image
import pytest
from audit_networks import EFFORT, blobs

from robustjax.audit import __main__ as command
from robustjax.audit import audit

IMAGES = ["--data=./blobs", "--transform=none", "--size=6"]
MODULE = """
from audit_networks import mlp, trained
import jax.numpy as jnp

def honest():
  net = trained(5)
  return lambda images: mlp(net, images)

def quantised():
  net = trained()
  return lambda images: mlp(net, jnp.round(images / 32) * 32)
"""


@pytest.fixture
def made(tmp_path, monkeypatch):
  """A folder with a module, its images, and little effort."""
  (tmp_path / "strange_networks.py").write_text(textwrap.dedent(MODULE))
  images, labels = blobs(64)
  for number, (image, label) in enumerate(zip(images, labels, strict=True)):
    path = tmp_path / f"blobs/test/{label}/{number}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(image).save(path)
  monkeypatch.chdir(tmp_path)
  monkeypatch.syspath_prepend(tmp_path)
  little = {"effort": EFFORT}
  monkeypatch.setattr(command, "audit", lambda *a, **k: audit.audit(*a, **k, **little))
  return tmp_path


def test_a_network_without_gradients_is_masked(made, capsys):
  other = "strange_networks:honest"
  status = command.main(
    ["strange_networks:quantised", *IMAGES, "--eps=24", f"--other={other}"]
  )
  assert status == 0
  out = made / "runs/strange_networks.quantised/audits/all"
  result = json.loads((out / "audit.json").read_text())
  assert result["verdict"] == "masked"
  assert result["identity"] == {
    "network": "strange_networks:quantised", "branch": "all", "norm": "linf",
    "eps": 24.0, "images": 64, "seed": 0, "data": "./blobs", "split": "test",
  }  # fmt: skip
  made_on_other = next(c for c in result["checks"] if c["name"] == "transfer")
  assert other in made_on_other["what"] and made_on_other["verdict"] != "not made"
  said = capsys.readouterr().out
  assert said.lstrip().startswith("masked: ") and str(out / "audit.png")[-9:] in said


@pytest.mark.parametrize(
  ("words", "line"),
  [
    (["strange_networks:honest", "--eps=8"], "brings no images"),
    (["strange_networks:honest", *IMAGES], "Say --eps="),
    (["strange_networks:none", *IMAGES, "--eps=8"], "has no none"),
    (["nowhere", "--eps=8"], "nowhere"),
    (["strange_networks:honest", *IMAGES, "--eps=0"], "not a number above"),
    (
      ["strange_networks:honest", *IMAGES, "--eps=8", "--branch=adv"],
      "no branch 'adv'",
    ),
  ],
)
def test_a_mistake_is_one_line(made, capsys, words, line):
  assert command.main(words) == 2
  said = capsys.readouterr().err.strip().splitlines()[-1]
  assert said.startswith("error: ") and line in said


def test_readings_of_random_targets_alone_are_known(tmp_path):
  assert not command.targeted_alone(tmp_path)
  (tmp_path / "evaluation.json").write_text("{}")
  assert command.targeted_alone(tmp_path)
  (tmp_path / "evaluation.json").write_text('{"adaptive": [{"branch": "all"}]}')
  assert not command.targeted_alone(tmp_path)
  (tmp_path / "evaluation.json").write_text("{}")
  (tmp_path / "evaluations/one").mkdir(parents=True)
  (tmp_path / "evaluations/one/summary.json").write_text("{}")
  assert not command.targeted_alone(tmp_path)
