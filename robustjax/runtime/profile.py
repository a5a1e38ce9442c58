"""A trace of some steps, for TensorBoard's profile plugin and for Perfetto."""

from pathlib import Path
from typing import Any

import jax

from robustjax.runtime import log


class Profile:
  """Traces steps of a loop, from the second on: the first one compiles.

  Args:
    folder: TensorBoard's; the trace goes to plugins/profile in it.
    steps: how many; 0 for none.
    shows: whether this process says where it is.
  """

  def __init__(self, folder: Path, steps: int, shows: bool = True):
    self._folder, self._left, self._shows = folder, steps, shows
    self._traces = False

  def step(self, number: int) -> jax.profiler.StepTraceAnnotation:
    """Around a step, which has this number in the trace."""
    return jax.profiler.StepTraceAnnotation("train", step_num=number)

  def after(self, result: Any) -> None:
    """After each step: begins and ends the trace, when what the step made is there."""
    if not self._left:
      return
    jax.block_until_ready(result)
    if self._traces:
      self._left -= 1
      if not self._left:
        self.close()
    else:
      options = jax.profiler.ProfileOptions()
      options.python_tracer_level = 0  # Python's calls would fill it
      self._traces = True
      with log.aside("the profile", self._shows):
        jax.profiler.start_trace(
          self._folder,
          create_perfetto_trace=jax.process_count() == 1,  # JAX takes one file for all
          profiler_options=options,
        )

  def close(self) -> None:
    """Ends a trace that has begun, and says where it is, or that there is none."""
    if self._traces:
      with log.aside("the profile", self._shows):
        jax.profiler.stop_trace()
        made = sorted((self._folder / "plugins" / "profile").glob("*"))[-1]
        log.say(f"Profile: {made}", self._shows)
    elif self._left:
      log.say("No profile: it would begin with a run's second step", self._shows)
    self._traces, self._left = False, 0
