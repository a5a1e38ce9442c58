"""The command: files in, one page and its Markdown out; mistakes in one line."""

import re

import pytest
import report_runs as make

from robustjax.report import __main__ as report


def test_an_empty_folder_gives_a_report_all_the_same(tmp_path, capsys):
  (tmp_path / "runs").mkdir()
  assert report.main([str(tmp_path / "runs"), f"--out={tmp_path / 'out'}"]) == 0
  paths = capsys.readouterr().out.splitlines()
  assert paths == [str(tmp_path / "out" / name) for name in ("index.html", "report.md")]
  for path in ("index.html", "report.md"):
    text = (tmp_path / "out" / path).read_text()
    assert "nothing measured" in text and "39.2" in text and "not run" in text


def test_every_picture_of_the_markdown_is_there(tmp_path):
  make.make(tmp_path / "runs" / "x", "adv", {"all": make.MINI})
  out = tmp_path / "deep" / "out"
  assert report.main([str(tmp_path / "runs"), "--out", str(out)]) == 0
  named = re.findall(r"\]\((figures/[^)]*)\)", (out / "report.md").read_text())
  assert len(named) > 4
  for name in named:
    assert (out / name).read_bytes().startswith(b"\x89PNG")


def test_the_same_files_give_the_same_bytes(tmp_path):
  make.make(tmp_path / "runs" / "x", "mbn", {"adv": make.MINI, "clean": make.MINI})
  outs = [tmp_path / "one", tmp_path / "two"]
  for out in outs:
    assert report.main([str(tmp_path / "runs"), f"--out={out}"]) == 0
  one, two = ({p.relative_to(o): p.read_bytes() for p in _files(o)} for o in outs)
  assert one == two


def _files(folder):
  return [path for path in folder.rglob("*") if path.is_file()]


def test_an_earlier_report_is_overwritten_and_nothing_else(tmp_path, capsys):
  (tmp_path / "runs").mkdir()
  arguments = [str(tmp_path / "runs"), f"--out={tmp_path}"]
  assert report.main(arguments) == 0 and report.main(arguments) == 0
  (tmp_path / "index.html").write_text("<p>mine</p>")
  assert report.main(arguments) == 2
  assert "is not a report of this tool" in capsys.readouterr().err
  assert (tmp_path / "index.html").read_text() == "<p>mine</p>"


@pytest.mark.parametrize(
  ("arguments", "says"),
  [
    (["nowhere", "--out=out"], "nowhere is not a folder"),
    (["runs", "--out=file"], "file cannot be written to"),
    (["runs", "--out=file/below"], "file/below cannot be written to"),
    (["runs", "--out=odd"], "odd/index.html cannot be read"),
    (["runs"], "required: --out"),
    (["--out=out"], "required: runs"),
    (["runs", "--out=out", "--what"], "unrecognized arguments: --what"),
  ],
)
def test_a_mistake_is_one_line(tmp_path, monkeypatch, capsys, arguments, says):
  monkeypatch.chdir(tmp_path)
  (tmp_path / "runs").mkdir()
  (tmp_path / "file").touch()
  (tmp_path / "odd" / "index.html").mkdir(parents=True)
  assert report.main(arguments) == 2
  written = capsys.readouterr()
  assert not written.out
  (line,) = written.err.splitlines()
  assert line.startswith("error: ") and says in line
