"""What a program does, added up over its loops."""

import dataclasses
import json

from robustjax.preflight.work import Loop, Traffic, Work, from_dict


def test_a_result_goes_through_json():
  body = Work(3.0, 2, {"all-reduce": Traffic(1, 60)}, (), ("gemm",))
  work = Work(5.0, 7, {}, (Loop(30, body), Loop(None, Work())), ())
  assert from_dict(json.loads(json.dumps(dataclasses.asdict(work)))) == work


def test_bytes_count_with_the_trips_of_their_loop():
  inner = Loop(3, Work(bytes=10))
  work = Work(bytes=1, loops=(Loop(30, Work(bytes=2, loops=(inner,))), inner))
  assert work.total_bytes == 1 + 30 * (2 + 3 * 10) + 3 * 10
  assert Work(loops=(Loop(None, Work(bytes=5)),)).total_bytes == 5


def test_the_longest_loop_is_so_with_its_trips():
  short, long = Loop(2, Work(10.0)), Loop(30, Work(1.0))
  assert Work(loops=(short, long)).longest_loop is long
