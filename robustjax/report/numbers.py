"""How the report writes rates and names readings."""

from robustjax.report.document import SPACE

DASH = "\N{EN DASH}"


def percent(rate: float) -> str:
  """A rate of 0..1 as "79.3 %"."""
  return f"{100 * rate:.1f}{SPACE}%"


def span(bounds: tuple[float, float]) -> str:
  """Two rates of 0..1 as "76.8–81.7", in %."""
  return DASH.join(f"{100 * bound:.1f}" for bound in bounds)


def attack(reading: int) -> str:
  """The name of a reading."""
  return f"PGD-{reading}" if reading else "clean"
