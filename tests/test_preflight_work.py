"""What a program does, added up over its loops."""

import dataclasses
import json

from robustjax.preflight.work import Loop, Traffic, Work, from_dict


def test_a_result_goes_through_json():
  body = Work(3.0, {"all-reduce": Traffic(1, 60)}, (), ("gemm",))
  work = Work(5.0, {}, (Loop(30, body), Loop(None, Work())), ())
  assert from_dict(json.loads(json.dumps(dataclasses.asdict(work)))) == work


def test_the_longest_loop_is_so_with_its_trips():
  short, long = Loop(2, Work(10.0)), Loop(30, Work(1.0))
  assert Work(loops=(short, long)).longest_loop is long
