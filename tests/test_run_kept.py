"""A run goes on with the code that it began with, or not at all."""

import sys

import pytest

from robustjax import config
from robustjax.errors import UserError
from robustjax.run import kept, workdir

CODE = "def loss(adv):\n  return adv.mean(), {}\n"


@pytest.fixture
def piece(tmp_path, monkeypatch):
  """The file of a piece, and a configuration that names it."""
  folder = tmp_path / "code"
  folder.mkdir()
  monkeypatch.syspath_prepend(folder)
  path = folder / "kept_piece.py"
  path.write_text(CODE)
  c = config.base("test", "mini")
  c.loss.name, c.train.tracker = "kept_piece:loss", "kept_piece:loss"
  yield path, c
  sys.modules.pop("kept_piece", None)


def begun(folder, c):
  workdir.claim(folder, c).close()
  kept.keep(folder, c)
  (folder / "checkpoints/7").mkdir(parents=True)


def test_the_code_is_kept_as_it_was_when_the_run_began(tmp_path, piece):
  path, c = piece
  run = tmp_path / "run"
  workdir.claim(run, c).close()
  for text in ("raise ValueError", CODE):  # nothing is saved yet: it may change
    path.write_text(text)
    kept.check(run, c)
    kept.keep(run, c)
  begun(run, c)
  copy = run / "pieces/kept_piece.py"
  assert copy.read_text() == CODE
  path.write_text(f"# a remark\n\n{CODE}".replace("  return", "    return"))
  kept.check(run, c)
  kept.keep(run, c)
  assert copy.read_text() == CODE


@pytest.mark.parametrize("text", [CODE.replace("mean", "sum"), "def loss(:", "\0"])
def test_other_code_is_refused_with_where_the_code_is(tmp_path, piece, text):
  path, c = piece
  begun(tmp_path / "run", c)
  path.write_text(text)
  with pytest.raises(UserError, match="kept_piece.py, which config.loss.name=kept_p.*"
                     "which is .*run/pieces/kept_piece.py: put that back"):  # fmt: skip
    kept.check(tmp_path / "run", c)
  assert not list(kept.changes(tmp_path / "run", c, "model."))
  c.loss.name = "mixture"  # a tracker changes nothing
  kept.check(tmp_path / "run", c)


def test_a_copy_that_is_gone_is_made_anew(tmp_path, piece):
  path, c = piece
  begun(tmp_path, c)
  (tmp_path / "pieces/kept_piece.py").unlink()
  kept.check(tmp_path, c)
  kept.keep(tmp_path, c)
  assert (tmp_path / "pieces/kept_piece.py").exists()


def test_config_json_says_which_code(tmp_path, piece):
  path, c = piece
  begun(tmp_path, c)
  text = (tmp_path / "config.json").read_text()
  assert '"loss.name": [' in text and '"kept_piece:loss"' in text
  assert str(path.parent) not in text


def flip(path):
  content = bytearray(path.read_bytes())
  content[content.index(b"mean")] ^= 1
  path.write_bytes(content)


def test_a_damaged_copy_is_made_anew_of_the_same_file(tmp_path, piece, capsys):
  path, c = piece
  begun(tmp_path, c)
  copy = tmp_path / "pieces/kept_piece.py"
  flip(copy)
  kept.check(tmp_path, c)
  kept.keep(tmp_path, c)
  assert copy.read_text() == CODE
  assert f"{copy} is damaged: it is made anew" in capsys.readouterr().err


def test_a_damaged_copy_is_not_taken_for_the_code_of_the_run(tmp_path, piece):
  """The file has changed too: in a comment, and the first start after it said so."""
  path, c = piece
  begun(tmp_path, c)
  path.write_text(f"# a remark\n{CODE}")
  workdir.claim(tmp_path, c).close()
  kept.check(tmp_path, c)
  flip(tmp_path / "pieces/kept_piece.py")
  words = "and .*pieces/kept_piece.py is damaged, .* config.json has: put that back"
  with pytest.raises(UserError, match=words):
    kept.check(tmp_path, c)
  path.write_text(CODE)
  kept.check(tmp_path, c)
