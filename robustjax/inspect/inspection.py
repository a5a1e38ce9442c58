"""Writes a look into a run: its norm layers' statistics, and images with their attacks.

Figures 5 and 6 of the paper, and a panel of images, as files for a report.
"""

from pathlib import Path

import jax

from robustjax.config import Config
from robustjax.errors import UserError
from robustjax.inspect import examples, norms
from robustjax.inspect.choice import Choice
from robustjax.report import anatomy
from robustjax.report import files as reports
from robustjax.run.data import Data
from robustjax.runtime import files, log
from robustjax.training.state import TrainState


def is_whole(config: Config, folder: Path) -> bool:
  """Whether an inspection has been made, and its files are what it wrote."""
  read = dict(reports.INSPECTED)
  if not norms.keeps_statistics(config):
    del read[reports.STATISTICS]
  try:
    for name, of_it in read.items():
      of_it(folder / name)
  except UserError:
    return False
  pictures = ((folder / name).with_suffix(".png") for name in read)
  return all(map(files.is_picture, pictures))


def inspect(
  config: Config,
  folder: Path,
  data: Data,
  state: TrainState,
  choice: Choice = Choice(),  # noqa: B008 - it is frozen
) -> list[Path]:
  """Writes statistics.json and examples.npz, and a picture of each.

  It runs on one device of process 0, without collectives: on other processes it does
  nothing. Files of an earlier inspection are replaced. GN keeps no statistics, and so
  has no statistics.json.

  Args:
    config: of the run.
    folder: where the files go; it exists.
    data: of the run, from `open_data`.
    state: of the run, replicated over any devices.
    choice: what to look at.

  Returns:
    The files written.

  Raises:
    UserError: there is no such layer.
  """
  if jax.process_index():
    return []
  # A replicated array is whole on each device: this one needs no other process.
  state = jax.tree.map(lambda x: x.addressable_data(0), state.replace(opt_state=()))
  written = []
  if norms.keeps_statistics(config):
    with log.waiting("statistics"):
      found = norms.norm_statistics(config, data.train, state, choice)
    written.append(folder / reports.STATISTICS)
    files.write_json(written[-1], found)
    written.append(written[-1].with_suffix(".png"))
    drawn = anatomy.statistics_figure(reports.read_statistics(written[0]))
    files.write_picture(written[-1], drawn)
  elif choice.layer:
    raise UserError(f"there is no norm layer {choice.layer!r}: {norms.NO_STATISTICS}")
  with log.waiting("attacked images"):
    shown = examples.attacked_images(config, data.test, state, choice)
  written.append(folder / reports.EXAMPLES)
  files.write_arrays(written[-1], shown)
  written.append(written[-1].with_suffix(".png"))
  panel = anatomy.panel_figure(reports.read_examples(written[-2]))
  files.write_picture(written[-1], panel)
  return written
