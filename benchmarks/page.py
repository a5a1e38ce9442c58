"""What was measured, as tables in Markdown, and their place in docs/performance.md.

What `benchmarks.__main__` measured is a dictionary, as docs/performance.json has it:

- "machine", "versions", "commit", "date", "rounds", "load" (before and after), "taken"
  by others of all cores, "warning";
- "cases": name -> "title", "unit", "work" of a call in that unit, "flops" of a call,
  "apart" (how far the two sides' logits are from each other), "note", and "seconds":
  form -> of a call, one a round;
- "start": "cold" and "warm", in seconds; "loop": "loop", "step", "waits" and "images",
  in seconds of a step. These two are there if they were measured.
"""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks import machine

Measured = Mapping[str, Any]

BEGIN, END = "<!-- written by make bench -->", "<!-- until here -->"
OURS, MATRICES = "robustjax", "matrices"


def spread(numbers: Sequence[float]) -> str:
  """The median, and the lowest and the highest."""
  middle, low, high = statistics.median(numbers), min(numbers), max(numbers)
  return f"{_number(middle)} ({_number(low)} to {_number(high)})"


def _number(value: float) -> str:
  """With three digits or all of its whole ones."""
  size = abs(float(f"{value:.3g}"))
  digits = 0 if size >= 100 else 1 if size >= 10 else 2
  return f"{value:,.{digits}f}"


def rate(case: Measured) -> float:
  """Of matrix products in this case's rounds, by the faster library, in FLOP/s."""
  return max(
    machine.PRODUCT / statistics.median(seconds)
    for form, seconds in case["seconds"].items()
    if form.startswith(MATRICES)
  )


def share(case: Measured, form: str) -> float:
  """The part of that rate that a form reaches."""
  return case["flops"] / statistics.median(case["seconds"][form]) / rate(case)


def best(case: Measured) -> str:
  """PyTorch's fastest form."""
  theirs = [form for form in case["seconds"] if form.startswith("PyTorch")]
  return min(theirs, key=lambda form: statistics.median(case["seconds"][form]))


def ratios(case: Measured) -> list[float]:
  """How many times PyTorch's best ours is, round by round."""
  ours, theirs = case["seconds"][OURS], case["seconds"][best(case)]
  return [b / a for a, b in zip(ours, theirs, strict=True)]


def speeds(case: Measured, form: str) -> list[float]:
  """In the case's unit, round by round."""
  return [case["work"] / seconds for seconds in case["seconds"][form]]


def _comparison(cases: Sequence[Measured]) -> Iterator[str]:
  yield "| | robustjax | PyTorch, its best | Times PyTorch | Of the matrix rate |"
  yield "|---|---|---|---|---|"
  for case in cases:
    form = best(case)
    name = form.removeprefix("PyTorch, ")
    shares = f"{share(case, OURS):.0%}, PyTorch {share(case, form):.0%}"
    yield (
      f"| {case['title']}; {case['unit']} | {spread(speeds(case, OURS))} |"
      f" {spread(speeds(case, form))}, {name} | {spread(ratios(case))} | {shares} |"
    )


def _forms(cases: Sequence[Measured]) -> Iterator[str]:
  yield "| Every form of PyTorch | Speed | Of the matrix rate |"
  yield "|---|---|---|"
  for case in cases:
    for form in case["seconds"]:
      if form.startswith("PyTorch"):
        yield (
          f"| {case['title']}: {form.removeprefix('PyTorch, ')} |"
          f" {spread(speeds(case, form))} | {share(case, form):.0%} |"
        )


def _rest(measured: Measured) -> Iterator[str]:
  yield "| The demo | |"
  yield "|---|---|"
  if start := measured.get("start"):
    anew, before = (spread(start[name]) for name in ("cold", "warm"))
    yield f"| From the command to its first step, nothing compiled | {anew} s |"
    yield f"| The same, compiled before | {before} s |"
  if loop := measured.get("loop"):
    pairs = list(zip(loop["loop"], loop["step"], strict=True))
    adds = [100 * (whole / bare - 1) for whole, bare in pairs]
    waits = [
      100 * w / whole for w, whole in zip(loop["waits"], loop["loop"], strict=True)
    ]
    images = [100 * i / b for i, b in zip(loop["images"], loop["step"], strict=True)]
    steps = [1000 * seconds for seconds in loop["step"]]
    yield f"| A compiled training step alone | {spread(steps)} ms |"
    yield f"| What the loop adds to it | {spread(adds)} % |"
    yield f"| Of a step in the loop, waiting for images | {spread(waits)} % |"
    yield f"| Making a batch of images alone, of a step | {spread(images)} % |"


def _products(cases: Sequence[Measured]) -> Iterator[str]:
  forms = [form for form in cases[0]["seconds"] if form.startswith(MATRICES)]
  rates = [
    f"{form.removeprefix(f'{MATRICES}, ')}"
    f" {spread([machine.PRODUCT / s / 1e9 for c in cases for s in c['seconds'][form]])}"
    for form in forms
  ]
  size = f"{machine.SIDE} x {machine.SIDE}"
  yield f"Products of float32 matrices of {size}, GFLOP/s: {'; '.join(rates)}."


def tables(measured: Measured) -> str:
  """All that was measured, in Markdown."""
  cases = list(measured["cases"].values())
  versions = ", ".join(f"{n} {v}" for n, v in measured["versions"].items())
  before, after = measured["load"]
  parts = [
    f"{measured['machine']}; {versions}; commit {measured['commit']},"
    f" {measured['date']}. Medians of {measured['rounds']} rounds in turn (lowest to"
    f" highest). The load was {before:.1f} before and {after:.1f} after, and other"
    f" processes took {measured['taken']:.0%} of the cores."
  ]
  if measured["warning"]:
    parts.append(f"**Warning: {measured['warning']}. These figures are no measure.**")
  if cases:
    parts += ["\n".join(part) for part in (_products(cases), _comparison(cases))]
    parts.append("\n".join(_forms(cases)))
    parts += sorted({f"{case['note']}." for case in cases if case["note"]})
  if "start" in measured or "loop" in measured:
    parts.append("\n".join(_rest(measured)))
  return "\n\n".join(parts)


def written(text: str, measured: Measured) -> str:
  """A page with its generated part replaced by the tables of what was measured.

  Raises:
    ValueError: it has no such part.
  """
  before, begin, rest = text.partition(BEGIN)
  _, end, after = rest.partition(END)
  if not (begin and end):
    raise ValueError(f"the page needs a part from {BEGIN} to {END}")
  generated = f"{tables(measured)}\n\n[Every round](performance.json), as JSON."
  return f"{before}{begin}\n\n{generated}\n\n{end}{after}"
