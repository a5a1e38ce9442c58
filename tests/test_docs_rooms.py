"""The picture of the rooms is of today's code, and shows what it says."""

import PIL.Image

from docs import rooms


def test_the_picture_is_of_todays_code():
  with PIL.Image.open(rooms.PICTURE) as picture:
    assert picture.text[rooms.ABOUT] == rooms.about(), "python docs/rooms.py"


def test_every_room_says_what_it_is_for():
  assert all(rooms.purpose(room).endswith(".") for room in rooms.files())


def test_a_room_stands_above_all_that_it_imports():
  floor = rooms.floors(rooms.arrows())
  for room, others in rooms.arrows().items():
    assert all(floor[room] > floor[other] for other in others)


def test_only_arrows_that_follow_from_two_others_are_left_out():
  arrows = {"a": {"b", "c"}, "b": {"c"}, "c": set(), "d": {"c"}}
  assert rooms.reduced(arrows) == {"a": {"b"}, "b": {"c"}, "c": set(), "d": {"c"}}


def test_an_arrow_passes_every_floor_between():
  arrows = {"a": {"b", "d"}, "b": {"c"}, "c": set(), "d": set()}
  assert rooms.routes(arrows)["a", "d"] == ["a", "a-d-1", "d"]
  place = rooms.places(arrows)
  assert [y for _, y in map(place.get, ("a", "a-d-1", "d"))] == sorted(
    {y for _, y in place.values()}, reverse=True
  )
  same = [x for name, (x, y) in place.items() if y == place["b"][1]]
  assert len(same) == len(set(same)) == 2
