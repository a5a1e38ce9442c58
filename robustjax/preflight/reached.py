"""What part of its devices' peak a run reaches, while it runs."""

from collections.abc import Callable

from robustjax.preflight import chips, cost

# JAX's device_kind -> the kind of TPU.
_TPUS = {
  "TPU v3": "v3", "TPU v4": "v4", "TPU v5 lite": "v5e", "TPU v5": "v5p",
  "TPU v6 lite": "v6e",
}  # fmt: skip


def at_peak(kind: str, exact: bool) -> Callable[[str], float | None] | None:
  """Counts the seconds that a compiled program would take at a device's peak.

  Args:
    kind: the device's, as JAX calls it.
    exact: whether the program computes in float32.

  Returns:
    The text of a program -> seconds, or None where its operations are not known; no
    such function where no peak is published.
  """
  if kind in _TPUS:
    chip = chips.CHIPS[_TPUS[kind]]
    peak = (chip.exact_peak if exact else chip.peak) / chip.devices
  elif kind in chips.GPUS:
    peak = chips.GPUS[kind][exact]
  else:
    return None

  def seconds(text: str) -> float | None:
    work = cost.analysis(text)
    unknown = work.all_uncounted or work.unknown_loops
    return None if unknown else work.total_flops / peak

  return seconds
