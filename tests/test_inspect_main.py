"""Looking into a run: what is written, what stays as it was, mistakes in one line."""

import fcntl
import hashlib
import json

import jax
import numpy as np
import pytest
from conftest import lively

from robustjax import config
from robustjax.errors import UserError
from robustjax.inspect import __main__ as inspect
from robustjax.inspect import inspection, norms
from robustjax.inspect.choice import Choice
from robustjax.models.norm import branch_of
from robustjax.report.files import STATISTICS, read_examples, read_statistics
from robustjax.run import saved, steps, workdir
from robustjax.run.data import open_data
from robustjax.runtime import checkpoint, parallel
from robustjax.training import loop

LAYERS = ["bn0", "stage1_block1/bn1", "stage1_block1/bn2"] + [
  f"stage2_block1/{name}" for name in ("bn1", "bn2", "shortcut_bn")
]
FEW = Choice(channels=4, images=3, steps=2)


def small(norm="mbn", **loss):
  c = config.base("test", "mini")
  c.model.norm, c.model.width, c.model.stages, c.model.group = norm, 4, (1, 1), 8
  c.model.gn_groups, c.attack.steps, c.eval.images = 2, 2, 5
  c.loss.update({"clean_ratio": 1.0, **loss})
  return c


def state_of(c):
  made = jax.jit(lambda key: steps.initial_state(c, key))(jax.random.key(0))
  return made.replace(
    params=lively(made.params), batch_stats=lively(made.batch_stats), step=made.step + 3
  )


@pytest.fixture(scope="module")
def data():
  return open_data(small())


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  """The folder of a run of MBN with checkpoints of steps 3 and 5."""
  folder, c = tmp_path_factory.mktemp("run"), small()
  workdir.claim(folder, c).close()
  checkpoints = checkpoint.Checkpoints(folder / workdir.CHECKPOINTS, loop.BEST)
  state = parallel.replicate(state_of(c), parallel.mesh())
  checkpoints.save(3, state)
  moved = jax.tree.map(lambda x: x + 1, state.batch_stats)
  checkpoints.save(5, state.replace(step=state.step + 2, batch_stats=moved))
  checkpoints.close()
  return folder


def files(folder):
  return {
    path.relative_to(folder): hashlib.sha256(path.read_bytes()).hexdigest()
    for path in folder.rglob("*")
    if path.is_file()
  }


def looked(folder, *flags):
  return inspect.main([str(folder), "--images=3", "--pgd=2", "--channels=4", *flags])


def mistake(capsys, *words):
  """The line that a mistake is told in."""
  assert inspect.main([str(word) for word in words]) == 2
  out, err = capsys.readouterr()
  (line,) = err.splitlines()
  assert line.startswith("error: ") and not out
  return line


@pytest.mark.slow
def test_the_command_writes_four_files_and_changes_none(run, capsys):
  before = files(run)
  assert looked(run) == 0
  written = [run / name for name in capsys.readouterr().out.splitlines()]
  names = ["statistics.json", "statistics.png", "examples.npz", "examples.png"]
  assert written == [run / name for name in names]
  after = files(run)
  for name in names:
    assert after.pop(next(p for p in after if p.name == name))
  assert after == before
  found = read_statistics(written[0])
  state = saved.restore(saved.read_config(run), run, parallel.mesh(jax.devices()[:1]))
  assert found["step"] == int(state.step) == 5
  assert found["layer"] == "stage2_block1/bn2" and len(found["channels"]) == 4
  running = norms.at(state.batch_stats, found["layer"], found["channels"])
  assert found["running"] == running
  assert list(found["batches"]) == ["clean", "adv"]
  assert found["domains"] == {"clean": {"clean": 8}, "adv": {"adv": 8}}
  shown = read_examples(written[2])
  assert shown["clean"].shape == (3, 28, 28, 1) and shown["steps"] == 2
  difference = np.abs(shown["adv"] - shown["clean"])
  assert 0 < difference.max() <= shown["eps"] == 32
  assert shown["branch"] == "adv" and shown["step"] == 5
  assert set(shown["index"]) < set(range(5))  # of those that the evaluation counts


@pytest.mark.thorough
def test_flags_choose_what_is_looked_at(run, tmp_path):
  before = files(run)
  flags = ("--step=3", "--layer=bn0", "--seed=4")
  for name in ("one", "other"):
    assert looked(run, *flags, f"--out={tmp_path / name}") == 0
  assert files(tmp_path / "one") == files(tmp_path / "other")  # the seed decides all
  assert files(run) == before
  found = read_statistics(tmp_path / "one" / STATISTICS)
  assert (found["step"], found["layer"], found["seed"]) == (3, "bn0", 4)


@pytest.mark.thorough
def test_plain_bn_sees_what_its_strategy_mixes(data):
  """At the first layer the mean of a mixture is that of its parts' means."""
  choice = Choice(layer="bn0", channels=4)
  state, found = state_of(small("bn")), {}
  for name, loss in {
    "both": {},
    "some": {"clean_ratio": 0.5},
    "clean": {"adv": False},
    "adv": {"clean_ratio": 0.0},
  }.items():
    found[name] = norms.norm_statistics(small("bn", **loss), data.train, state, choice)
  parts = {name: each["domains"] for name, each in found.items()}
  assert parts == {
    "both": {"all": {"clean": 8, "adv": 8}},
    "some": {"all": {"clean": 4, "adv": 8}},
    "clean": {"all": {"clean": 8}},
    "adv": {"all": {"adv": 8}},
  }
  one, two = (
    {name: np.array(each["batches"]["all"][i]["mean"]) for name, each in found.items()}
    for i in range(2)
  )
  for means in (one, two):
    np.testing.assert_allclose(
      means["both"], (means["clean"] + means["adv"]) / 2, rtol=1e-4, atol=1e-6
    )
    assert np.abs(means["both"] - means["some"]).max() > 1e-4  # fewer are kept
  assert np.abs(one["clean"] - two["clean"]).max() > 1e-3  # two batches
  assert np.abs(one["clean"] - one["adv"]).max() > 1e-3


@pytest.mark.slow
def test_each_branch_gets_its_own_domain(data):
  """What MBN shows of a branch is what plain BN with that branch alone would show."""
  choice, state = Choice(channels=4), state_of(small())
  found = norms.norm_statistics(small(), data.train, state, choice)["batches"]
  for domain, loss in {"clean": {"adv": False}, "adv": {"clean_ratio": 0.0}}.items():
    half = state.replace(
      params=branch_of(state.params, domain),
      batch_stats=branch_of(state.batch_stats, domain),
    )
    plain = norms.norm_statistics(small("bn", **loss), data.train, half, choice)
    for one, other in zip(found[domain], plain["batches"]["all"], strict=True):
      for moment in ("mean", "var"):
        np.testing.assert_allclose(one[moment], other[moment], rtol=1e-3)
  assert found["adv"] != found["clean"]


@pytest.mark.thorough
def test_a_state_on_eight_devices_is_looked_at_like_one(data, tmp_path):
  c, state = small(), state_of(small())
  for name, devices in (("one", 1), ("eight", 8)):
    (tmp_path / name).mkdir()
    replicas = parallel.replicate(state, parallel.mesh(jax.devices()[:devices]))
    inspection.inspect(c, tmp_path / name, data, replicas, FEW)
    assert int(replicas.step) == 3  # nothing was donated
  assert files(tmp_path / "one") == files(tmp_path / "eight")


@pytest.mark.slow
@pytest.mark.thorough
def test_group_norm_has_no_statistics(data, tmp_path, capsys):
  c = small("gn")
  written = inspection.inspect(c, tmp_path, data, state_of(c), FEW)
  assert [path.name for path in written] == ["examples.npz", "examples.png"]
  with pytest.raises(UserError, match="no norm layer 'bn0': group norm keeps no"):
    inspection.inspect(c, tmp_path, data, state_of(c), Choice(layer="bn0"))
  (tmp_path / workdir.CONFIG).write_text(json.dumps(config.plain(c)))
  assert inspect.main([str(tmp_path), "--layers"]) == 0
  assert "keeps no statistics" in capsys.readouterr().out


def test_the_layers_are_listed(run, capsys):
  assert inspect.main([str(run), "--layers"]) == 0
  lines = capsys.readouterr().out.splitlines()
  assert [line.split()[0] for line in lines] == LAYERS
  assert [line for line in lines if "default" in line] == [
    "stage2_block1/bn2  8 channels  (default)"
  ]


def test_steps_and_layers_that_do_not_exist_are_one_line(run, capsys):
  assert "has [3, 5]" in mistake(capsys, run, "--step=4")
  line = mistake(capsys, run, "--layer=bn9")
  assert "no norm layer 'bn9'" in line and ", ".join(LAYERS) in line


def test_of_many_layers_the_nearest_are_named(run, capsys, monkeypatch):
  many = {f"stage{i}_block1/bn1": 4 for i in range(40)}
  monkeypatch.setattr(norms, "layers", lambda stats: many)
  line = mistake(capsys, run, "--layer=stage7_block/bn1")
  assert "stage7_block1/bn1" in line and "--layers" in line and len(line) < 200


@pytest.mark.parametrize(
  "flags, word",
  [
    ([], "RUN"),
    (["RUN", "--channels=0"], "--channels"),
    (["RUN", "--images=x"], "--images"),
    (["RUN", "--seed=-1"], "--seed"),
    (["RUN", "--laier=bn0"], "--laier"),
  ],
)
def test_wrong_flags_are_one_line(capsys, flags, word):
  assert word in mistake(capsys, *flags)


def test_folders_that_hold_no_sound_run_are_one_line(run, tmp_path, capsys):
  assert "not the folder of a run" in mistake(capsys, tmp_path)
  path = tmp_path / workdir.CONFIG
  path.write_text((run / workdir.CONFIG).read_text())
  assert "no checkpoint yet" in mistake(capsys, tmp_path)
  assert sorted(p.name for p in tmp_path.iterdir()) == [workdir.CONFIG]
  whole = json.loads(path.read_text())
  for values in (
    "{",
    [],
    {},
    {**whole, "model": 3},
    {**whole, "data": {}},
    {**whole, "model": {**whole["model"], "stages": 7}},
  ):
    path.write_text(values if isinstance(values, str) else json.dumps(values))
    assert str(path) in mistake(capsys, tmp_path)


def test_a_damaged_checkpoint_is_one_line(run, tmp_path, capsys):
  for source in run.rglob("*"):
    if source.is_file() and source.parent != run:
      copy = tmp_path / source.relative_to(run)
      copy.parent.mkdir(parents=True, exist_ok=True)
      copy.write_bytes(source.read_bytes())
  (tmp_path / workdir.CONFIG).write_bytes((run / workdir.CONFIG).read_bytes())
  for path in (tmp_path / "checkpoints" / "5").rglob("*"):
    if path.is_file() and path.stat().st_size > 2000:
      path.write_bytes(path.read_bytes()[:-500])
  assert "is damaged" in mistake(capsys, tmp_path, "--step=5")


def test_a_run_at_work_and_a_folder_that_is_a_file_are_one_line(run, capsys):
  with (run / ".lock").open("w") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    assert "another process is at work" in mistake(capsys, run)
  out = run / workdir.CONFIG
  assert "cannot be written to" in mistake(capsys, run, f"--out={out}")


def test_weights_that_say_no_eps_are_one_line(tmp_path, capsys):
  c = small(norm="bn")
  c.init.weights, c.train.epochs, c.eval.eps = "R9.pth sha256:12", 0.0, 0.0
  workdir.claim(tmp_path, c).close()
  assert inspect.main([str(tmp_path)]) == 2
  assert (
    "does not say how far attacks go: import it with --eps" in capsys.readouterr().err
  )
