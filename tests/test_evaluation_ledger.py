"""A begun evaluation goes on where its network has moved to, and nobody else's."""

import pytest

from robustjax.errors import UserError
from robustjax.evaluation import ledger


def identity(network, **changed):
  return {"network": network, "weights": "abc", "eps": 8.0, **changed}


@pytest.fixture
def begun(tmp_path):
  """The folder of an evaluation of a run, begun or complete."""

  def made(network, complete):
    book = ledger.Ledger(tmp_path, identity(network))
    book.commit([{"index": 3}])
    if complete:
      book.finish({"images": 1})
    return tmp_path

  return made


@pytest.mark.parametrize("complete", [False, True])
def test_a_network_may_move(begun, complete):
  folder = begun("runs/mine", complete)
  for network in ("runs/mine", "/elsewhere/mine", "mine"):
    assert bool(ledger.Ledger(folder, identity(network)).summary()) == complete


@pytest.mark.parametrize("complete", [False, True])
@pytest.mark.parametrize(("before", "after"), [
  (identity("runs/mine"), identity("runs/other")),
  (identity("runs/mine"), identity("there/mine", weights="abd")),
  (identity("mine:network"), identity("other:network")),
  (identity("a/mine:network"), identity("b/mine:network")),
])  # fmt: skip
def test_another_one_is_refused(tmp_path, begun, complete, before, after):
  folder = begun(before["network"], complete)
  with pytest.raises(UserError, match="is of an evaluation with (network|weights)="):
    ledger.Ledger(folder, after)
