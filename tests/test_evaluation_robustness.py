"""An evaluation image by image: exact, resumable anywhere, the same on any devices."""

import collections
import json

import jax
import networks
import numpy as np
import pytest
from networks import COUNT, LABELS, SIDE

from robustjax.attacks.balls import Ball
from robustjax.errors import UserError
from robustjax.evaluation import compiled, suite
from robustjax.evaluation import ledger as ledgers
from robustjax.evaluation.ledger import Ledger
from robustjax.evaluation.robustness import Evaluation
from robustjax.runtime import parallel
from robustjax.runtime.preemption import Stopped

pytestmark = pytest.mark.usefixtures("optimised")  # equal is to the last bit

OPTIONS = suite.Options(steps=5, queries=1100, targets=2)
NAMES = "apgd-ce,apgd-t,fab-t,square"
BALL = Ball("linf", 6.0)
BATCH = 8  # images a device


class Stop:
  """Asks to stop at one of its polls."""

  def __init__(self, at=None):
    self.polls, self.at = 0, at

  def requested(self):
    self.polls += 1
    return self.polls == self.at


_programs = {}


def programs(devices, names=NAMES, transfer=False):
  mesh = parallel.mesh(jax.devices()[:devices])
  key = devices, names, transfer
  if key not in _programs:
    attacks = suite.named(names, BALL, OPTIONS, transfer)
    shape = SIDE, SIDE, 3
    _programs[key] = compiled.programs(networks.network(), attacks, shape, mesh)
  return mesh, _programs[key]


def evaluate(folder, devices=1, names=NAMES, stop=None, save=False, **changed):
  """One evaluation of the small network, or what is left of one."""
  mesh, made = programs(devices, names, "attacked" in changed)
  network = networks.network()
  of_batches = changed.pop("of_batches", {})
  values = {
    "network": network,
    "attacked": network,
    "programs": made,
    "indices": range(COUNT),
    "batches": lambda some: networks.batches(some, BATCH * devices, mesh, **of_batches),
    "batch_size": BATCH * devices,
    "seed": 0,
    "stop": stop or Stop(),
    "save": folder if save else None,
    "shows": False,
  } | changed
  identity = {"images": len(values["indices"]), "attack": names}
  return Evaluation(ledger=Ledger(folder, identity), **values).run()


def records(folder):
  lines = (folder / ledgers.IMAGES).read_text().splitlines()
  return [json.loads(line) for line in lines]


def files(folder):
  """All that an evaluation leaves."""
  return {p.relative_to(folder).as_posix(): p.read_bytes()
          for p in sorted(folder.rglob("*")) if p.is_file()}  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
  folder = tmp_path_factory.mktemp("whole")
  return folder, evaluate(folder)


def test_every_image_has_one_line_and_the_counts_are_of_them(whole):
  folder, summary = whole
  lines = records(folder)
  assert sorted(line["index"] for line in lines) == list(range(COUNT))
  right = [line for line in lines if line["clean"]]
  assert len(right) == summary["clean"] == sum(i % 7 > 0 for i in range(COUNT))
  by = collections.Counter(line["broken_by"] for line in right)
  assert summary["robust"] == by.pop(None) and summary["images"] == COUNT
  left = summary["clean"]
  for attack in summary["attacks"]:
    assert attack["attacked"] == left and attack["broken"] == by[attack["name"]]
    left -= attack["broken"]
  assert left == summary["robust"]
  assert [a["name"] for a in summary["attacks"]] == NAMES.split(",")
  assert len(by) > 1  # more than one attack had something to do


def test_a_line_says_what_the_network_says(whole):
  for line in records(whole[0]):
    assert line["label"] == LABELS[line["index"]]
    assert line["clean"] == (line["prediction"] == line["label"])
    assert line["clean"] == (line["margin"] > 0)
    if not line["clean"]:
      rest = ("broken_by", "target", "steps", "adv_prediction", "adv_margin")
      assert all(line[name] is None for name in rest)
      continue
    assert line["adv_margin"] <= line["margin"]
    broken = line["broken_by"] is not None
    assert broken == (line["adv_prediction"] != line["label"])
    assert broken == (line["adv_margin"] < 0)
    assert (line["steps"] is not None) == broken
    assert (line["target"] is not None) == (line["broken_by"] in ("apgd-t", "fab-t"))


def test_eight_devices_leave_the_same_bytes(whole, tmp_path):
  evaluate(tmp_path, devices=8)
  assert files(tmp_path) == files(whole[0])


def test_an_order_of_the_images_changes_no_record(whole, tmp_path):
  order = [int(i) for i in np.random.default_rng(1).permutation(COUNT)]
  evaluate(tmp_path, indices=order)
  by_index = lambda lines: sorted(lines, key=lambda line: line["index"])  # noqa: E731
  assert by_index(records(tmp_path)) == by_index(records(whole[0]))
  assert records(tmp_path) != records(whole[0])


def test_stopped_anywhere_it_ends_in_the_same_bytes(whole, tmp_path):
  counting = Stop()
  evaluate(tmp_path / "counting", stop=counting)
  polls = range(1, counting.polls + 1)
  for at in (1, 3, *range(8, len(polls), 9), len(polls)):
    folder, before = tmp_path / str(at), {}
    while True:
      try:
        evaluate(folder, stop=Stop(at))
        break
      except Stopped:
        after = files(folder)
        grown = after[ledgers.IMAGES]
        assert grown.startswith(before.get(ledgers.IMAGES, b""))
        assert after != before  # or it would never end
        before = after
        if at < 8:  # one more start would do no more than its first poll
          at = 8
    assert files(folder) == files(whole[0]), at


def test_what_was_appended_but_is_not_certain_is_made_again(whole, tmp_path):
  with pytest.raises(Stopped):
    evaluate(tmp_path, stop=Stop(20))
  with (tmp_path / ledgers.IMAGES).open("ab") as file:
    file.write(b'{"index": 3, "label"')
  evaluate(tmp_path)
  assert files(tmp_path) == files(whole[0])


def test_a_complete_evaluation_is_not_made_again(whole, tmp_path):
  class Never:
    def requested(self):
      raise AssertionError

  assert evaluate(whole[0], stop=Never()) == whole[1]


def test_programs_do_not_grow_with_images_targets_or_queries(tmp_path):
  """All of a suite: what begins, what reads, and one an attack."""
  events = []
  listener = lambda name, *_, **__: events.append(name)  # noqa: E731
  jax.monitoring.register_event_duration_secs_listener(listener)
  event = "/jax/core/compile/backend_compile_duration"
  counts = {}
  try:
    for images, targets, queries in ((8, 1, 500), (COUNT, 3, 1100)):
      events.clear()
      options = suite.Options(steps=3, queries=queries, targets=targets, restarts=2)
      attacks = suite.named(NAMES, BALL, options)
      mesh = parallel.mesh(jax.devices()[:2])
      made = compiled.programs(networks.network(), attacks, (SIDE, SIDE, 3), mesh)
      evaluate(tmp_path / str(images), devices=2, programs=made, indices=range(images))
      counts[images] = events.count(event)
  finally:
    jax.monitoring.unregister_event_duration_listener(listener)
  # What JAX compiles once for itself comes with the first.
  assert counts[COUNT] == len(attacks) + 2 <= counts[8] <= len(attacks) + 4


def test_saved_images_are_what_was_counted(whole, tmp_path):
  evaluate(tmp_path, names=NAMES, save=True)
  logits = jax.jit(networks.function())
  lines = records(tmp_path)
  for line, plain in zip(lines, records(whole[0]), strict=True):
    name = line.pop("adv", None)
    assert line == plain and (name is not None) == (line["broken_by"] is not None)
    if name:
      adv = np.load(tmp_path / name)
      change = adv - networks.IMAGES[line["index"]]
      assert np.abs(change).max() <= BALL.eps + 1e-3 and adv.dtype == np.float32
      assert int(logits(adv[None]).argmax()) == line["adv_prediction"] != line["label"]


def test_an_attack_on_another_branch_is_read_through_this_one(tmp_path):
  other = networks.network(networks.OTHER)
  here = evaluate(tmp_path / "here", names="apgd-ce")
  away = evaluate(tmp_path / "away", names="apgd-ce", attacked=other)
  assert here["clean"] == away["clean"]
  broken = away["attacks"][0]["broken"]
  assert 0 < broken < here["attacks"][0]["broken"]


def test_broken_files_are_left_out_and_counted(tmp_path):
  summary = evaluate(tmp_path, names="apgd-ce", of_batches={"skipped": {3, 8}})
  assert (summary["skipped"], summary["images"]) == (2, COUNT - 2)
  assert len(records(tmp_path)) == COUNT - 2
  with pytest.raises(UserError, match="all images are broken"):
    everything = {"skipped": set(range(COUNT))}
    evaluate(tmp_path / "all", names="apgd-ce", of_batches=everything)


def test_logits_that_are_no_numbers_end_it_with_a_line(tmp_path):
  weights = networks.WEIGHTS | {"second": networks.WEIGHTS["second"] * np.nan}
  with pytest.raises(UserError, match="logits of image 0 are not finite"):
    evaluate(tmp_path, network=networks.network(weights))
