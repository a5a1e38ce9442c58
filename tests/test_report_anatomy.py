"""The pictures show what the files say."""

import numpy as np
import pytest

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


@pytest.mark.parametrize("count, columns, channels", [(1, 1, 3), (3, 3, 1), (11, 8, 3)])
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


@pytest.mark.parametrize("count", [1, 8])
@pytest.mark.parametrize("run", [HOSTILE, "W" * 200])
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
