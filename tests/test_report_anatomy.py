"""The pictures show what the files say; damaged files are one line."""

import copy
import json

import numpy as np
import pytest

from robustjax.errors import UserError
from robustjax.report import anatomy

MOMENTS = ("mean", "var")


def statistics(branches=("clean", "adv"), channels=(3, 5, 11)):
  rng = np.random.default_rng(0)

  def values():
    return {m: rng.random(len(channels)).tolist() for m in MOMENTS}

  return {
    "run": "mbn-mini", "step": 7, "layer": "stage2_block1/bn2", "images": 4, "seed": 0,
    "domains": {b: {"adv": 4} if b == "all" else {b: 4} for b in branches},
    "channels": list(channels),
    "running": {branch: values() for branch in branches},
    "batches": {branch: [values(), values()] for branch in branches},
  }  # fmt: skip


def examples(count=3, channels=1, eps=16.0):
  rng = np.random.default_rng(0)
  clean = rng.integers(20, 230, (count, 6, 6, channels)).astype(np.uint8)
  adv = (clean + rng.uniform(-eps, eps, clean.shape)).astype(np.float32)
  adv[:, 0, 0], adv[:, 0, 1] = clean[:, 0, 0] + eps, clean[:, 0, 1]
  label = np.arange(count) % 4
  return {
    "clean": clean, "adv": adv, "index": np.arange(count), "label": label,
    "target": (label + 1) % 4, "predicted_clean": label,
    "predicted_adv": (label + 1) % 4, "run": np.asarray("mbn-mini"),
    "names": np.asarray(["cat", "dog", "a very long name of a class", "emu"]),
    "step": np.asarray(7), "branch": np.asarray("adv"), "eps": np.asarray(eps),
    "steps": np.asarray(20),
  }  # fmt: skip


def curves(axes):
  return {line.get_label(): line.get_ydata().tolist() for line in axes.get_lines()}


@pytest.mark.parametrize("branches", [("clean", "adv"), ("all",)])
def test_running_statistics_are_a_curve_a_branch(branches):
  found = statistics(branches)
  figure = anatomy.running_figure(found)
  assert len(figure.axes) == 2
  for axes, moment in zip(figure.axes, MOMENTS, strict=True):
    wanted = {f"{b} branch": found["running"][b][moment] for b in branches}
    assert curves(axes) == wanted
    assert [t.get_text() for t in axes.get_xticklabels()] == ["3", "5", "11"]


@pytest.mark.parametrize("branches", [("clean", "adv"), ("all",)])
def test_batches_stand_beside_the_running_statistics_of_their_branch(branches):
  found = statistics(branches)
  figure = anatomy.batch_figure(found)
  panels = [(b, m) for b in branches for m in MOMENTS]
  for axes, (branch, moment) in zip(figure.axes, panels, strict=True):
    domain = "adv" if branch == "all" else branch
    wanted = {"running": found["running"][branch][moment]} | {
      f"batch {i + 1}: 4 {domain} images": found["batches"][branch][i][moment]
      for i in range(2)
    }
    assert curves(axes) == wanted


@pytest.mark.parametrize("branches, panels", [(("clean", "adv"), 6), (("all",), 2)])
def test_one_picture_has_both(branches, panels, tmp_path):
  figure = anatomy.statistics_figure(statistics(branches))
  assert len(figure.axes) == panels
  figure.savefig(tmp_path / "x.png")


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("count, columns", [(1, 1), (3, 3), (11, 8)])
def test_the_panel_has_three_rows_of_images(count, columns, channels, tmp_path):
  found = examples(count, channels)
  figure = anatomy.panel_figure(found)
  figure.savefig(tmp_path / "x.png")
  shown = [axes for axes in figure.axes if axes.images]
  assert len(shown) == 3 * count
  pixels = {axes: np.asarray(axes.images[0].get_array()) for axes in shown}
  clean, adv, difference = (pixels[figure.axes[row * columns]] for row in range(3))
  whole = [found[name][0] / 255.0 for name in ("clean", "adv")]
  for got, wanted in zip((clean, adv), whole, strict=True):
    np.testing.assert_allclose(got, wanted.squeeze() if channels == 1 else wanted)
  # What was not changed is grey, what was changed by eps is white.
  np.testing.assert_allclose(difference[0, 1], 0.5)
  np.testing.assert_allclose(difference[0, 0], 1.0, atol=0.01)
  assert difference.min() < 0.2
  rows = [axes.get_ylabel() for axes in figure.axes if axes.get_ylabel()]
  assert "7.94" in rows[2] and len(rows) == 3 * -(-count // 8)


def test_an_attack_of_eps_0_changes_nothing_and_is_drawn():
  found = examples(1)
  found["adv"], found["eps"] = found["clean"].astype(np.float32), np.asarray(0.0)
  difference = anatomy.panel_figure(found).axes[2].images[0].get_array()
  np.testing.assert_allclose(difference, 0.5)


def test_the_panel_says_what_was_seen_and_marks_what_is_wrong():
  found = examples(3)
  found["predicted_adv"][1] = found["label"][1]
  titles = [axes.title for axes in anatomy.panel_figure(found).axes]
  texts = [t.get_text().split("\n") for t in titles[:6]]
  assert texts[0] == ["is: cat", "seen: cat"]
  assert texts[3] == ["target: dog", "seen: dog"]
  assert texts[2][0].startswith("is: a very") and len(texts[2][0]) < 20
  colours = [t.get_color() for t in titles[:6]]
  assert colours == ["black"] * 3 + ["tab:red", "black", "tab:red"]


HOSTILE = "$\\bad{$ \n W" * 20


@pytest.mark.parametrize("count", [1, 3, 8])
@pytest.mark.parametrize("run", ["mbn-mini", HOSTILE, "W" * 200])
def test_a_title_lies_within_its_picture(count, run):
  found = {
    **examples(count),
    "run": np.asarray(run),
    "names": np.asarray([run[:7]] * 4),
  }
  statistic = {**statistics(), "run": run, "layer": run}
  for figure in (
    anatomy.panel_figure(found),
    anatomy.running_figure(statistic),
    anatomy.batch_figure(statistic),
  ):
    figure.draw_without_rendering()
    title = figure.get_suptitle()
    box = next(t for t in figure.texts if t.get_text() == title).get_window_extent()
    width, height = figure.get_size_inches() * figure.dpi
    assert 0 <= box.x0 < box.x1 <= width and 0 <= box.y0 < box.y1 <= height
    assert box.height > 8 and (run != HOSTILE or "$\\bad{$" in title)
    for axes in figure.axes:  # a title of several lines covers no picture
      assert axes.get_tightbbox().y1 <= box.y0 + 1


def test_very_many_images_are_not_all_drawn():
  found = examples(100)
  assert len([a for a in anatomy.panel_figure(found).axes if a.images]) == 3 * 64


def write_statistics(path, found):
  path.write_text(json.dumps(found))


def write_examples(path, found):
  np.savez(path, **found)


def test_what_was_written_is_read(tmp_path):
  path = tmp_path / anatomy.STATISTICS
  write_statistics(path, statistics())
  assert anatomy.read_statistics(path) == statistics()
  path = tmp_path / anatomy.EXAMPLES
  write_examples(path, examples())
  found = anatomy.read_examples(path)
  assert found.keys() == examples().keys()
  for name, values in examples().items():
    np.testing.assert_array_equal(found[name], values)


def damaged(found, change):
  found = copy.deepcopy(found)
  change(found)
  return found


@pytest.mark.parametrize(
  "change",
  [
    lambda s: s.pop("layer"),
    lambda s: s.pop("domains"),
    lambda s: s["channels"].pop(),
    lambda s: s["running"].pop("adv"),
    lambda s: s["running"]["adv"]["var"].pop(),
    lambda s: s["batches"]["adv"].append(s["batches"]["adv"][0]),
    lambda s: s["batches"]["adv"][1].update(mean=[1, 2, "3"]),
    lambda s: s["running"]["adv"].update(var=[1, 2, float("nan")]),
    lambda s: s["running"]["adv"].update(var=[1, 2, float("-inf")]),
    lambda s: s["running"]["adv"].update(var=[1, 2, 10**400]),
    lambda s: s["running"]["adv"].update(var=[1, 2, True]),
    lambda s: s["channels"].__setitem__(0, -1),
    lambda s: s["domains"].update(adv={"other": 4}),
    lambda s: [s[k].update(_x=s[k]["adv"]) for k in ("running", "batches", "domains")],
    lambda s: s.update(step=10**400),
    lambda s: s.update(running=[]),
    lambda s: s.update(step="7"),
  ],
)
def test_damaged_statistics_are_one_line(tmp_path, change):
  path = tmp_path / anatomy.STATISTICS
  write_statistics(path, damaged(statistics(), change))
  with pytest.raises(UserError, match=f"{path} is damaged: .*inspect") as caught:
    anatomy.read_statistics(path)
  assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
  "change",
  [
    lambda e: e.pop("names"),
    lambda e: e.update(adv=e["adv"][:2]),
    lambda e: e.update(clean=e["clean"].astype(float)),
    lambda e: e.update(label=e["label"] + 9),
    lambda e: e.update(target=e["target"] / 2),
    lambda e: e.update(eps=np.ones(2)),
    lambda e: e.update(eps=np.asarray("16")),
    lambda e: e.update(eps=np.asarray(np.nan)),
    lambda e: e.update(eps=np.asarray(np.inf)),
    lambda e: e.update(eps=np.asarray(1e-30)),
    lambda e: e.update(eps=np.asarray(-1.0)),
    lambda e: e.update(step=np.asarray(-1)),
    lambda e: e.update(steps=np.asarray(2.5)),
    lambda e: e.update(run=np.asarray(5)),
    lambda e: e.update(names=np.arange(4)),
    lambda e: e.update(names=e["names"][None]),
    lambda e: e.update(adv=e["adv"].astype(str)),
    lambda e: e.update(adv=e["adv"].astype(np.float64)),
    lambda e: e["adv"].__setitem__((0, 1, 1, 0), np.nan),
    lambda e: e["adv"].__setitem__((0, 1, 1, 0), np.inf),
    lambda e: e["adv"].__setitem__((0, 1, 1, 0), -20),
    lambda e: e["label"].__setitem__(0, -1),
    lambda e: e.update(clean=e["clean"][:, :0], adv=e["adv"][:, :0]),
    lambda e: e.update({k: v[:0] for k, v in e.items() if v.ndim and k != "names"}),
  ],
)
def test_damaged_examples_are_one_line(tmp_path, change):
  path = tmp_path / anatomy.EXAMPLES
  write_examples(path, damaged(examples(), change))
  with pytest.raises(UserError, match=f"{path} is damaged: .*inspect") as caught:
    anatomy.read_examples(path)
  assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
  "read, name",
  [
    (anatomy.read_statistics, anatomy.STATISTICS),
    (anatomy.read_examples, anatomy.EXAMPLES),
  ],
)
def test_files_that_are_missing_or_cut_short_are_one_line(tmp_path, read, name):
  path = tmp_path / name
  with pytest.raises(UserError, match=f"there is no {path}"):
    read(path)
  write = write_statistics if name == anatomy.STATISTICS else write_examples
  write(path, statistics() if name == anatomy.STATISTICS else examples())
  whole = path.read_bytes()
  flipped = bytearray(whole)
  flipped[len(whole) // 2] ^= 255
  for content in (b"", whole[: len(whole) // 2], b"\x80\x04N.", b"\xff\xfe", b"[1, 2]"):
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"{path} is damaged"):
      read(path)


def test_a_flipped_bit_in_a_compressed_file_is_one_line(tmp_path):
  path = tmp_path / anatomy.EXAMPLES
  np.savez_compressed(path, **examples())
  whole = path.read_bytes()
  for place in range(0, len(whole), len(whole) // 40):
    flipped = bytearray(whole)
    flipped[place] ^= 255
    path.write_bytes(flipped)
    try:
      anatomy.read_examples(path)  # what no check covers may be sound all the same
    except UserError as error:
      assert "is damaged" in str(error)
