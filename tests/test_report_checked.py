"""Values of a file are of the kind that was asked for, or it is said what is not."""

import json

import pytest

from robustjax.report import checked
from robustjax.report.checked import Damaged, get


@pytest.mark.parametrize(
  ("name", "kind"), [("a.b", int), ("a.b", float), ("a.c", str), ("a", dict)]
)
def test_a_value_of_the_kind_is_given(name, kind):
  found = {"a": {"b": 3, "c": "text"}}
  inner = found["a"][name[2:]] if name[1:] else found["a"]
  assert get(found, name, kind) is inner


@pytest.mark.parametrize("value", [True, -1, 10**13, float("nan"), "3", None])
@pytest.mark.parametrize("kind", [int, float])
def test_no_other_value_is_a_number(value, kind):
  with pytest.raises(Damaged, match="its a is "):
    get({"a": value}, "a", kind)


def test_a_file_that_is_not_there_is_none(tmp_path):
  assert checked.read_json(tmp_path / "x") is None
  assert checked.read_lines(tmp_path / "x") == []


@pytest.mark.parametrize("text", ["NaN", "[-Infinity]", '{"a": [1e999]}'])
def test_numbers_that_are_none_are_refused_where_it_is_asked(tmp_path, text):
  path = tmp_path / "x"
  path.write_text(f"1\n{text}\n")
  assert len(checked.read_lines(path)) == 2
  with pytest.raises(Damaged, match="line 2: it holds "):
    checked.read_lines(path, finite=True)
  path.write_text(text)
  checked.read_json(path)
  with pytest.raises(Damaged, match="it holds "):
    checked.read_json(path, finite=True)


def test_a_line_cut_short_is_left_out_if_it_is_the_last(tmp_path):
  path = tmp_path / "x"
  path.write_text('{"a": 1}\n{"a"')
  assert checked.read_lines(path) == [{"a": 1}]
  path.write_text('{"a"\n{"a": 1}\n')
  with pytest.raises(Damaged, match="line 1 is not JSON"):
    checked.read_lines(path)


def test_a_complaint_names_the_value():
  def check(value):
    return get(value, "a", int)

  assert checked.each([{"a": 1}, {"a": 2}], check, "row") == [1, 2]
  with pytest.raises(Damaged, match="^row 2: it has no a$"):
    checked.each([{"a": 1}, {}], check, "row")


def test_what_is_nested_too_deep_is_not_json(tmp_path):
  path = tmp_path / "x"
  path.write_text("[" * 50 + "]" * 50)
  with pytest.raises(Damaged, match="not JSON"):
    checked.read_json(path)


def test_what_was_found_is_short_and_one_line():
  assert checked.short("a\nb") == "'a\\nb'"
  assert len(checked.short(json.dumps(list(range(99))))) == 43
