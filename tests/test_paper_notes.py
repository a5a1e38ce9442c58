"""Every note names a number, and every number that needs one has it."""

from test_paper_tables import ROWS, TABLES, all_cells, settings

from robustjax.paper import notes
from robustjax.paper import tables as paper


def test_every_note_is_used_and_every_used_note_is_there():
  used = {note for _, row in ROWS for note in row.notes}
  used |= {note for *_, cell in all_cells() for note in cell.notes}
  for setting in settings():
    used |= {n for c in paper.find(setting, "all").values() for n in c.notes}
  assert used == set(notes.NOTES)
  # A mark that names no cell would be lost.
  marked = {note for keys in notes.NOTED.values() for note in keys}
  assert marked == used
  for (number, setting, reading), keys in notes.NOTED.items():
    rows = (
      [row for row in TABLES[number].rows if row.setting == setting]
      if (number in TABLES)
      else [paper.SECTION_5]
    )
    if reading is None:
      assert any(set(keys) <= set(row.notes) for row in rows)
    else:
      cells = [row.cells[reading] for row in rows if reading in row.cells]
      assert any(set(keys) <= set(cell.notes) for cell in cells)


def test_notes_are_a_line_or_two():
  for text in notes.NOTES.values():
    assert text.endswith(".") and "\n" not in text and len(text) < 350
