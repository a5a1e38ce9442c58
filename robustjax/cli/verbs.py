"""The verbs of the command line, and the module that each of them runs."""

from typing import NamedTuple


class Verb(NamedTuple):
  """A word behind `robustjax`.

  Attributes:
    name: the word.
    module: what `python -m` runs for it.
    what: it does, for --help.
    setting: whether a setting stands behind it, which the module takes as --config.
  """

  name: str
  module: str
  what: str
  setting: bool = False


VERBS = (
  Verb("train", "robustjax.main", "train and evaluate a setting, or go on", True),
  Verb("sweep", "robustjax.sweep", "run many settings, one after another"),
  Verb("config", "robustjax.config", "print every value with its unit and source"),
  Verb("evaluate", "robustjax.evaluate", "attack any network, image by image"),
  Verb("audit", "robustjax.audit", "say whether a robustness can be believed"),
  Verb("inspect", "robustjax.inspect", "look into a run: norms, images, attacks"),
  Verb("report", "robustjax.report", "write a report of runs beside the paper"),
  Verb("weights", "robustjax.weights", "take weights in, and give them out"),
  Verb("prepare", "robustjax.data.prepare", "prepare ImageNet of its archives"),
  Verb("preflight", "robustjax.preflight", "say what fits on a TPU, and costs", True),
)
