"""The commands: what they say, and one line for each mistake."""

import numpy as np
import pytest
import weights_made as made

from robustjax.run import saved
from robustjax.weights import __main__ as command
from robustjax.weights import files, layouts, safetensors

NET = made.BOTTLENECK._replace(stages=(1, 1))
SMALL = ("--size=32", "--resize=36")


@pytest.fixture
def path(tmp_path):
  file = tmp_path / "made.npz"
  momentum = {f"{name}/Momentum": np.ones(3) for name in ("conv0/W", "linear/b")}
  np.savez(file, **layouts.to_fd(made.variables(NET)), **momentum)
  return file


def test_a_file_goes_in_and_comes_out(path, tmp_path, capsys):
  run, out = tmp_path / "run", tmp_path / "out.npz"
  flags = ("--channel_order=rgb", "--interpolation=pillow", "--eps=8")
  words = ["import", str(path), f"--out={run}", *SMALL, *flags]
  assert command.main(words) == 0
  said = capsys.readouterr().out
  assert f"{run} is a run now." in said
  for line in (
    "kind        fd",
    "network     stages (1, 1), model",
    "pixels      (x - 127.5) / 127.5",
    "images      32x32x3, shorter side 36, pillow, orientation exif",
    "no weight   conv0/W/Momentum and 1 more: momentum of conv0/W, and so on",
  ):
    assert line.replace(", model", "") in said
  config = saved.read_config(run)
  assert (config.data.interpolation, config.eval.eps) == ("pillow", 8)
  assert command.main(["export", str(run), "--to=fd", f"--out={out}"]) == 0
  (said,) = (s for s in capsys.readouterr().err.splitlines() if "no place" in s)
  assert "assumes size 224, resize 256, interpolation opencv, eps 16.0, so" in said
  assert said.endswith(f"{' '.join([*SMALL, '--interpolation=pillow', '--eps=8.0'])}")
  kernel = files.read(path).arrays["conv0/W"]
  # The file was said to see RGB, and FD's form sees BGR.
  np.testing.assert_array_equal(files.read(out).arrays["conv0/W"], kernel[:, :, ::-1])


def test_numbers_are_of_0_to_1_as_pytorchs(path, tmp_path):
  words = ["import", str(path), "--out", str(tmp_path / "run"), *SMALL]
  assert command.main([*words, "--mean=0.485,0.456,0.406", "--std=1"]) == 0
  model = saved.read_config(tmp_path / "run").model
  assert tuple(model.input_mean) == (123.675, 116.28, 103.53)
  assert tuple(model.input_std) == (255,)


def test_the_code_is_all_that_an_export_prints(tmp_path, capsys):
  path, out = tmp_path / "made.safetensors", tmp_path / "out.safetensors"
  safetensors.write(path, made.state_dict(NET._replace(width=64)), {})
  words = ["export", str(path), "--to=safetensors", f"--out={out}"]
  assert command.main(words) == 0
  code = capsys.readouterr().out
  compile(code, "code", "exec")
  assert "none of its classes" in code  # for want of two stages


@pytest.mark.parametrize(
  ("words", "message"),
  [
    (
      ["import", "PATH", "--out=run", "--mean=123,116,103"],
      "is not one number of 0..1",
    ),
    (["import", "PATH", "--out=run", "--kind=mine"], "invalid choice: 'mine'"),
    (["import", "nothing.npz", "--out=run"], "nothing.npz does not exist"),
    (["import", "PATH"], "required: --out"),
    (["export", "PATH", "--to=fd", "--out=PATH"], "made.npz is there already"),
    (
      ["export", "PATH", "--to=safetensors", "--out=o"],
      "alike, and this network as Ten",
    ),
    (["export", "nowhere", "--to=fd", "--out=o"], "there is no nowhere: name the fol"),
    (["export", "PATH", "--branch=adv", "--to=fd", "--out=o"], "no branch 'adv': name"),
  ],
)
def test_a_mistake_is_one_line(path, words, message, tmp_path, monkeypatch, capsys):
  monkeypatch.chdir(tmp_path)
  assert command.main([word.replace("PATH", str(path)) for word in words]) == 2
  said = capsys.readouterr().err.splitlines()[-1]
  assert said.startswith("error: ") and message in said
  assert [p.name for p in tmp_path.iterdir()] == ["made.npz"]
