"""Draws the rooms of robustjax and who imports whom, from the code: docs/rooms.png.

python docs/rooms.py

A room is a folder of the package, or main.py. An arrow that follows from two others is
not drawn.
"""

import ast
import functools
import hashlib
import itertools
import json
import textwrap
from collections.abc import Iterator
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path as Line

DOCS = Path(__file__).parent
PACKAGE = DOCS.parent / "robustjax"
PICTURE = DOCS / "rooms.png"
ABOUT = "Description"  # the entry of the PNG that says what it was drawn from

Arrows = dict[str, set[str]]

_WIDTH, _HEIGHT = 2.5, 0.72  # inches, of a box
_SPACE, _GAP = 0.25, 0.6  # between two boxes of a floor, and between two floors
_SWEEPS = 3  # down and up again, until rooms stand near what they are tied to


def imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
  """Yields the line and the dotted name of every import, wherever it stands."""
  for node in ast.walk(tree):
    if isinstance(node, ast.Import):
      yield from ((node.lineno, alias.name) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      module = "." * node.level + (node.module or "")
      yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)


def files() -> dict[str, list[Path]]:
  """Room -> its modules. errors.py, which all import, is none."""
  folders = sorted(path.parent for path in PACKAGE.glob("*/__init__.py"))
  return {"main": [PACKAGE / "main.py"]} | {
    folder.name: sorted(folder.rglob("*.py")) for folder in folders
  }


def arrows() -> Arrows:
  """Room -> the other rooms that it imports."""
  rooms, found = files(), {}
  for room, paths in rooms.items():
    trees = (ast.parse(path.read_text(encoding="utf-8")) for path in paths)
    names = [name.split(".") for tree in trees for _, name in imports(tree)]
    others = {words[1] for words in names if words[0] == "robustjax" and words[1:]}
    found[room] = others & rooms.keys() - {room}
  return found


def floors(of: Arrows) -> dict[str, int]:
  """Room -> 0 on the ground, else one more than the highest room that it imports."""

  @functools.cache
  def floor(room: str) -> int:
    return max((1 + floor(other) for other in of[room]), default=0)

  return {room: floor(room) for room in of}


def reduced(of: Arrows) -> Arrows:
  """The arrows that do not follow from two others."""

  @functools.cache
  def below(room: str) -> frozenset[str]:
    return frozenset(of[room]).union(*map(below, of[room]))

  return {
    room: {one for one in others if not any(one in below(two) for two in others)}
    for room, others in of.items()
  }


def purpose(room: str) -> str:
  """The first line of the room's docstring."""
  path = PACKAGE / ("main.py" if room == "main" else f"{room}/__init__.py")
  text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
  return text.partition("\n")[0]


def about() -> str:
  """What the picture shows, for telling whether it is of today's code."""
  shown = {room: [purpose(room), *sorted(others)] for room, others in arrows().items()}
  pen = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]
  return json.dumps({"rooms": shown, "drawn by": pen}, sort_keys=True)


def routes(of: Arrows) -> dict[tuple[str, str], list[str]]:
  """Arrow -> the stations that it passes, one a floor, so that no box is in its way."""
  floor = floors(of)
  return {
    (room, other): [
      room,
      *(f"{room}-{other}-{n}" for n in range(floor[room] - 1, floor[other], -1)),
      other,
    ]
    for room, others in reduced(of).items()
    for other in sorted(others)
  }


def places(of: Arrows) -> dict[str, tuple[float, float]]:
  """Room or station -> its middle; each stands near what it is tied to."""
  floor, ways = floors(of), routes(of).values()
  rows: dict[int, list[str]] = {n: [] for n in sorted(set(floor.values()))}
  for room in sorted(of):
    rows[floor[room]].append(room)
  ties: dict[str, list[str]] = {}
  for stations in ways:
    for down, station in enumerate(stations[1:-1], 1):
      rows[floor[stations[0]] - down].append(station)
    for one, other in itertools.pairwise(stations):
      ties.setdefault(one, []).append(other)
      ties.setdefault(other, []).append(one)

  def size(name: str) -> float:
    return _WIDTH if name in of else 0.2

  whole = max(sum(map(size, row)) + _SPACE * len(row) for row in rows.values())
  middle: dict[str, float] = {name: whole / 2 for row in rows.values() for name in row}
  for number in [*rows, *reversed(rows)] * _SWEEPS:
    row = rows[number]
    near = {r: [middle[o] for o in ties.get(r, [r])] for r in row}
    row.sort(key=lambda r: (sum(near[r]) / len(near[r]), r))  # noqa: B023 - at once
    left = space = (whole - sum(map(size, row))) / (len(row) + 1)
    for r in row:
      middle[r] = left + size(r) / 2
      left += size(r) + space
  step = _HEIGHT + _GAP
  return {r: (middle[r], number * step) for number, row in rows.items() for r in row}


def draw(path: Path = PICTURE) -> None:
  """Draws the picture."""
  of = arrows()
  place = places(of)
  width = max(x for x, _ in place.values()) + _WIDTH / 2 + 0.1
  height = max(y for _, y in place.values()) + _HEIGHT + 0.2
  figure = Figure(figsize=(width, height))
  axes = figure.add_axes((0, 0, 1, 1))
  axes.set(xlim=(0, width), ylim=(-_HEIGHT / 2 - 0.1, height - _HEIGHT / 2 - 0.1))
  axes.axis("off")
  for stations in routes(of).values():
    (x, y), *between, (to_x, to_y) = (place[station] for station in stations)
    toward = (between or [(to_x, to_y)])[0][0]
    points = [(x + 0.3 * ((toward > x) - (toward < x)), y - _HEIGHT / 2)]
    for x, y in between:  # straight down between the boxes of a floor
      points += [(x, y + _HEIGHT / 2), (x, y - _HEIGHT / 2)]
    points.append((to_x, to_y + _HEIGHT / 2))
    arrow = FancyArrowPatch(
      path=Line(points), arrowstyle="-|>", mutation_scale=10, color="tab:gray",
      zorder=1,
    )  # fmt: skip
    axes.add_patch(arrow)
  for room in of:
    x, y = place[room]
    corner = (x - _WIDTH / 2, y - _HEIGHT / 2)
    axes.add_patch(
      FancyBboxPatch(
        corner,
        _WIDTH,
        _HEIGHT,
        "round,pad=0,rounding_size=0.08",
        facecolor="#eef3fa",
        edgecolor="tab:blue",
        zorder=2,
      )  # fmt: skip
    )
    name = "main.py" if room == "main" else f"{room}/"
    text = {"ha": "center", "va": "center", "zorder": 3}
    axes.text(x, y + 0.2, name, weight="bold", fontsize=9, **text)
    lines = textwrap.wrap(purpose(room), 40)
    axes.text(x, y - 0.1, "\n".join(lines), fontsize=7, **text)
  figure.savefig(path, dpi=110, metadata={ABOUT: about()})


if __name__ == "__main__":
  draw()
