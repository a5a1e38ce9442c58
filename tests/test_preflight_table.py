"""The page's table: the paper's settings, each program compiled once."""

import dataclasses
from pathlib import Path

import pytest
from test_experiments import SETTINGS, setting

from robustjax import config
from robustjax.paper import settings
from robustjax.preflight import (
  answers,
  chips,
  compiling,
  programs,
  table,
  topology,
)
from robustjax.preflight.work import Loop, Work


def test_all_settings_are_those_of_the_experiments():
  keys = ["_".join([name, *filter(None, own.split(","))]) for name, own in SETTINGS]
  assert settings.names("paper") == keys


@pytest.mark.parametrize(("name", "own"), SETTINGS)
def test_a_setting_is_what_its_experiment_says(name, own):
  key = "_".join([name, *filter(None, own.split(","))])
  made = config.flatten(table.paper(key))
  assert made == config.flatten(setting(name, own)) | {"setting": key}
  config.check(table.paper(key))


def changed(one, other):
  one, other = config.flatten(one), config.flatten(other)
  return {name for name in one if one[name] != other[name]}


def test_settings_of_one_program_are_told_by_constants_alone():
  def same(name):
    return table.one_program(table.paper(name))

  assert changed(same("adv"), same("adv_pgd5")) == {"setting"}
  assert changed(same("mbn_alp"), same("mbn_alp_star_pgd20")) == {
    "setting", "train.running_statistics_epochs",
  }  # fmt: skip
  assert "loss.clean_ratio" in changed(same("adv"), same("adv_clean"))
  assert "loss.alp_weight" in changed(same("adv_clean"), same("alp"))
  assert "train.batch_size" in changed(same("adv_star"), same("batch_size_512"))


@pytest.mark.parametrize(
  ("name", "devices", "batch_size"),
  [
    ("mbn", 32, 4096), ("mbn", 128, 4096), ("mbn", 256, 8192), ("mbn", 1024, 2**15),
    ("batch_size_512", 256, 512), ("batch_size_8192", 256, 8192),
  ],
)  # fmt: skip
def test_a_slice_with_more_devices_than_groups_has_a_larger_batch(
  name, devices, batch_size
):
  config = table.paper(name)
  found = table.enough(config, devices)
  assert found.train.batch_size == batch_size
  assert changed(config, found) <= {"train.batch_size"}


def fake(program, target, cache):
  """A train step of 30 attack steps with 10 operations each, and 5 beside them."""
  loop = Loop(30 if program.name != programs.ADVANCE else None, Work(10.0))
  looped = program.name != programs.READ
  trains = program.name == programs.TRAIN
  return answers.Compiled(
    memory=answers.Memory(chips.GIB if trains else chips.GIB // 10, 0, 0, 0),
    needed=None,
    refusal="",
    work=Work(5.0, loops=(loop,) if looped else ()),
    seconds=1.0,
  )


@pytest.fixture(scope="module")
def written(tmp_path_factory):
  """The table of five settings for two targets, and which programs were compiled."""
  out = tmp_path_factory.mktemp("table") / "t.md"
  here = topology.cpu()

  def tpu(name):
    hbm = {"small": chips.GIB // 2, "large": 2 * chips.GIB}[name]
    return dataclasses.replace(
      here, name=name, hbm=hbm, peak=1e3, exact_peak=2e2, bandwidth=1e3, chips=8
    )

  compiled = []

  def compile_program(program, target, cache, quick):
    assert quick
    compiled.append((target.name, program.name))
    return fake(program, target, cache)

  names = ["adv", "adv_pgd10", "adv_star", "batch_size_512", "clean"]
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(table, "tpu", tpu)
    patch.setattr(compiling, "compile_program", compile_program)
    patch.setattr(settings, "names", lambda scale: names)
    table.write(["large", "small"], out, utilisation=0.4, cache=None)
  return out.read_text(), compiled


def test_the_table_has_a_row_a_setting_and_what_does_not_fit_is_bold(written):
  text, _ = written
  rows = {line.split("`")[1]: line for line in text.splitlines() if "`" in line}
  assert list(rows) == ["adv", "adv_pgd10", "adv_star", "batch_size_512", "clean"]
  cells = [cell.strip() for cell in rows["adv"].split("|")[2:-1]]
  assert cells[0] == "512 images, 1.00 GiB"
  assert cells[3:] == ["**512 images, 1.00 GiB of 0.50 GiB**", "", ""]
  assert "- large: 8 chips, 8 devices of 2.00 GiB; the paper's batches of 4096" in text
  assert "not compiled yet" not in text
  assert "forecasts" in text and "nothing was measured" in text


def test_a_programs_settings_share_its_compile(written):
  _, compiled = written
  steps = [name for target, name in compiled if target == "large"]
  # adv, adv_pgd10 and adv_star are one; then two others.
  assert steps.count(programs.TRAIN) == 3 and programs.RUNNING not in steps


def test_fewer_attack_steps_are_fewer_operations(written):
  text, _ = written

  def hours(name):
    (line,) = [line for line in text.splitlines() if f"`{name}`" in line]
    return float(line.split("|")[4].replace(",", ""))

  assert hours("adv_pgd10") < hours("adv")


def test_a_batch_that_does_not_split_has_no_numbers():
  refused = table._cells(table.Row(refusal="why"), topology.cpu())
  assert refused == ["does not split", "", ""]


def test_a_crash_of_the_compiler_is_said():
  row = table.Row(images=32, crashed=True)
  assert table._cells(row, topology.cpu())[0] == "32 images, **the compiler crashes**"


def test_what_is_not_compiled_yet_is_empty_and_counted():
  here = dataclasses.replace(topology.cpu(), chips=8)
  large = dataclasses.replace(here, name="large", devices=here.devices * 32)
  page = table.page(["adv", "mbn"], [here, large], {}, 0.4)
  assert (
    "| `adv` |  |  |  |  |  |  |" in page and "4 cells are not compiled yet" in page
  )
  assert "batches of 8192, since those of 4096 are only 128 groups of 32" in page


def test_the_table_of_the_page_has_every_setting_and_no_empty_cell():
  text = (Path(__file__).parents[1] / "docs" / "tpu_table.md").read_text()
  rows = [line.split("|")[1:-1] for line in text.splitlines() if line.startswith("| `")]
  assert [row[0].strip(" `") for row in rows] == settings.names("paper")
  slices = text.splitlines()[0].count(": a device")
  sizes = [row[1::3] for row in rows]
  assert slices == 4 and all(len(row) == slices for row in sizes)
  assert all(size.strip() for row in sizes for size in row)
