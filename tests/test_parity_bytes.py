"""The bytes of an attack's step, as the TPU compiler arranges it, without a TPU."""

import pytest

from benchmarks import bytes as benchmark

pytestmark = pytest.mark.parity

WHY = "`make parity` installs what the parity tests compare with"
pytest.importorskip("libtpu", reason=WHY)


def test_an_attack_keeps_signs_alone_and_no_stem():
  """At full size: a smaller program keeps all in the vector memory, whatever it is.

  With ReLU's outputs kept instead of signs, and the stem's, it is 1.89 GB.
  """
  config = benchmark.settings(50, 32, "bn")
  config.model.stages = (3,)
  _, main = benchmark.moved(benchmark.compiled_text(config, "attack", "v5e"))
  assert set(main) >= {"stem", "pooling", benchmark.MOVES}
  assert 0.9e9 < main.total() < 1.35e9  # 1.22
