"""A preflight as lines for a person, and as values for a program."""

import dataclasses
from typing import Any

from robustjax import config as configs
from robustjax.preflight import published
from robustjax.preflight.chips import GIB
from robustjax.preflight.examination import CODE, Checked, Examined, advice
from robustjax.preflight.forecast import DAY
from robustjax.report import table


def lines(found: Examined) -> str:
  """What a preflight found, for a terminal."""
  return "\n\n".join(
    part
    for part in (
      _head(found),
      _programs(found),
      _refusals(found),
      _memory(found),
      _traffic(found),
      _largest(found),
      _forecast(found),
      _verdict(found),
    )
    if part
  )


def values(found: Examined) -> dict[str, Any]:
  """The same as a tree that JSON can hold; sizes are bytes, operations are counted."""
  target, config = found.target, found.config
  forecast = found.forecast
  return {
    "setting": config.setting,
    "scale": config.scale,
    "overrides": dict(configs.overrides(config)),
    "target": {
      "name": target.name,
      "devices": len(target.devices),
      "chips": target.chips,
      "hosts": target.hosts,
      "hbm": target.hbm,
      "peak": target.peak,
      "exact_peak": target.exact_peak,
      "bandwidth": target.bandwidth,
      "compiler": target.compiler,
    },
    "batch_size": config.train.batch_size,
    "images_per_device": found.images,
    "fits": found.fits,
    "has_code": found.has_code,
    "is_close": found.is_close,
    "programs": [_program(one, found) for one in found.checked],
    "largest": dataclasses.asdict(found.largest) if found.largest else None,
    "uncounted": found.uncounted,
    "forecast": forecast and dataclasses.asdict(forecast) | {"days": forecast.days},
  }


def gib(bytes_: int | None) -> str:
  """Such as "1.25 GiB"; small sizes in MiB."""
  if bytes_ is None:
    return "unknown"
  small = abs(bytes_) < GIB / 10
  return f"{bytes_ / 2**20:.2f} MiB" if small else f"{bytes_ / GIB:.2f} GiB"


def duration(days: float) -> str:
  """Such as "4.2 days", "3.1 h" or "0.31 s"."""
  for size, unit in ((1.0, "days"), (1 / 24, "h"), (1 / 1440, "min")):
    if days >= size:
      return f"{days / size:.1f} {unit}"
  return f"{days * DAY:.3g} s"


def operations(flops: float) -> str:
  """Such as "1.45 TFLOP"."""
  for size, unit in ((1e15, "PFLOP"), (1e12, "TFLOP"), (1e9, "GFLOP")):
    if flops >= size:
      return f"{flops / size:.3g} {unit}"
  return f"{flops / 1e6:.3g} MFLOP"


def _program(one: Checked, found: Examined) -> dict[str, Any]:
  compiled = one.compiled
  memory, work = compiled.memory, compiled.work
  roof = found.roof(one)
  return {
    "name": one.program.name,
    "fits": one.fits,
    "needed": one.needed,
    "exceeds": one.exceeds,
    "refusal": compiled.refusal,
    "crashed": compiled.crashed,
    "arguments": dict(one.program.parts),
    "memory": dataclasses.asdict(memory) if memory else None,
    "beside": one.program.beside,
    "flops": work.total_flops if work and not work.all_uncounted else None,
    "bytes": work.total_bytes if work else None,
    "roof": dataclasses.asdict(roof) | {"limit": roof.limit} if roof else None,
    "loops": work
    and [
      {
        "trips": one.trips,
        "flops": one.body.total_flops,
        "bytes": one.body.total_bytes,
      }
      for one in work.loops
    ],
    "collectives": work
    and {k: dataclasses.asdict(t) for k, t in work.total_collectives.items()},
    "compile_seconds": compiled.seconds,
    "kept": compiled.kept,
    "advice": "" if one.fits else advice(one, found.config, found.images),
  }


def _head(found: Examined) -> str:
  config, target = found.config, found.target
  chips = f"{target.chips} chips, " if target.chips else ""
  changed = ", ".join(f"{k}={v}" for k, v in configs.overrides(config).items())
  return (
    f"{config.setting} at {config.scale} scale{f' with {changed}' if changed else ''}\n"
    f"{target.name}: {chips}{len(target.devices)} devices, {target.hosts} hosts,"
    f" {gib(target.hbm)} a device; {target.compiler}\n"
    f"batches of {config.train.batch_size} images, {found.images} a device"
  )


def _programs(found: Examined) -> str:
  header = (
    "program", "fits", "needs", "operations", "moves", "at the roof", "compiled in",
  )  # fmt: skip
  rows = [
    (
      one.program.name,
      "yes" if one.fits else "NO",
      gib(one.needed),
      *_work(one, found),
      f"{one.compiled.seconds:.0f} s" + (" (kept)" if one.compiled.kept else ""),
    )
    for one in found.checked
  ]
  body = table.align([header, *rows], right=range(2, len(header)))
  note = "A device; of the evaluation's attacks one step."
  return f"{body}\n{note}" if any(one.compiled.work for one in found.checked) else body


def _work(one: Checked, found: Examined) -> tuple[str, str, str]:
  """Operations, bytes that pass the memory, and the time that the larger takes."""
  work = one.compiled.work
  if work is None or work.all_uncounted:
    return ("", "", "") if work is None else ("unknown", "unknown", "")
  roof = found.roof(one)
  at = f"{duration(roof.seconds / DAY)}, {roof.limit}" if roof else ""
  return operations(work.total_flops), f"{work.total_bytes / 1e9:,.3g} GB", at


def _refusals(found: Examined) -> str:
  paragraphs = []
  for one in found.checked:
    if not one.fits:
      by = f" by {gib(one.exceeds)}" if one.exceeds else ""
      what = "cannot be compiled" if one.compiled.crashed else f"does not fit{by}"
      paragraphs.append(
        f"The {one.program.name} {what}."
        f" Change: {advice(one, found.config, found.images)}."
        + (f"\nThe compiler: {one.compiled.refusal}" if one.compiled.refusal else "")
      )
  return "\n".join(paragraphs)


def _memory(found: Examined) -> str:
  one = found.checked[0]
  memory = one.compiled.memory
  arguments = sum(one.program.parts.values())
  rows = [(name, gib(bytes_)) for name, bytes_ in one.program.parts.items()]
  if memory is None:
    rest = None if one.needed is None else one.needed - arguments
    rows.append(("activations, workspace and code", gib(rest)))
  else:
    rows += [
      ("padding of their layout", gib(memory.arguments - arguments)),
      ("results", gib(memory.outputs)),
      ("temporaries: activations, workspace", gib(memory.temporaries)),
      ("code", "not made" if memory.code is None else gib(memory.code)),
    ]
  rows += [("all", gib(one.needed)), ("of", gib(one.hbm))]
  head = (f"{one.program.name}, a device", "")
  return table.align([head, *rows], right=(1,))


def _traffic(found: Examined) -> str:
  work = found.checked[0].compiled.work
  if work is None:
    return ""
  rows = [
    (kind, str(traffic.count), gib(traffic.bytes))
    for kind, traffic in sorted(work.total_collectives.items())
  ]
  header = ("collectives a train step", "count", "bytes a device")
  return table.align([header, *rows], right=(1, 2)) if rows else "no collectives"


def _largest(found: Examined) -> str:
  answer = found.largest
  if answer is None:
    return ""
  sizes = ", ".join(f"{n}: {gib(b)}" for n, b in sorted(answer.tried.items()))
  if not answer.images:
    return f"No batch fits, not even one group a device (compiled: {sizes})."
  devices, group = len(found.target.devices), found.config.model.group
  more = "does not" if answer.next_refused else "was not tried"
  far = ", by the memory that the compiler assigns" if found.target.is_tpu else ""
  return (
    f"The largest batch that fits has {answer.images} images a device,"
    f" {answer.images * devices} in all{far}; {answer.images + group} a device {more}"
    f" ({sizes})."
  )


def _forecast(found: Examined) -> str:
  forecast, target = found.forecast, found.target
  if forecast is None:
    return f"No forecast: {_why_not(found)}."
  epochs = found.config.train.epochs
  rows = [
    ("a train step", duration(forecast.step_seconds / DAY)),
    ("training images", f"{forecast.images_per_second:,.0f} a second"),
    ("each host reads", f"{forecast.host_images_per_second:,.0f} images a second"),
    (f"training, {epochs:g} epochs", duration(forecast.training_days)),
    ("validations among it", duration(forecast.validation_days)),
    ("readings after it", duration(forecast.evaluation_days)),
    ("all of it", duration(forecast.days)),
  ]
  if (hours := forecast.chip_hours) is not None:
    rows.append(("chip-hours", f"{hours:,.3g}" if hours < 100 else f"{hours:,.0f}"))
  peak, exact = ((x or 0.0) / 1e12 for x in (target.peak, target.exact_peak))
  note = (
    f"A forecast, if every device reaches {forecast.utilisation:.0%} (--utilisation, a"
    f" guess) of each program's roof: its operations at {peak:g} TFLOP/s, in float32,"
    f" which the evaluation takes, at {exact:.3g}, or what it moves at"
    f" {(target.bandwidth or 0.0) / 1e9:,.0f} GB/s, whichever takes longer. Nothing"
    " here was measured, and waiting for images or other devices is not in it."
  )
  if attack := found.config.eval.attack:
    most = duration(forecast.adaptive_days)
    note += f"\nNor is {attack} at the end, at most {most} if it breaks no image."
  body = table.align([("forecast", ""), *rows], right=(1,))
  return f"{body}\n{note}\n{published.line()}"


def _why_not(found: Examined) -> str:
  if found.uncounted:
    return f"operations inside {', '.join(found.uncounted)} are not known"
  if not found.target.peak:
    return f"there is no published peak of {found.target.name}"
  return "a program that it needs does not fit"


def _verdict(found: Examined) -> str:
  target = found.target.name
  if not found.fits:
    return f"It does not fit on {target}."
  if found.has_code:
    return f"It fits on {target}."
  if found.is_close:
    return (
      f"The memory that it is assigned fits on {target}, with less than {gib(CODE)} to"
      " spare for its code, which was not generated: ask again without --quick."
    )
  return (
    f"It fits on {target} but for the code, which was not generated (--quick) and takes"
    " memory too."
  )
