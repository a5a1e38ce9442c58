"""The paper's claims as data, and a plain verdict on each from measured counts."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from robustjax.report import paper
from robustjax.report.figures import wilson

# A setting, the branch that it is read through, and the steps of the attack: 0 is
# clean accuracy, None the strongest attack that the run was read against.
Side = tuple[str, str, int | None]

APPEARS, NOT_SEEN = "appears", "not seen"
REVERSED, NOT_MEASURED = "reversed", "not measured"
DIFFERS = "differs"  # two accuracies that are claimed to be nearly the same


class Count(NamedTuple):
  """Images that were classified correctly.

  Attributes:
    correct: over all runs.
    images: over all runs: each run counts each image.
    runs: that differ in their seeds alone, on the same images.
  """

  correct: int
  images: int
  runs: int


Measure = Callable[[str, str, int | None], Count | None]


@dataclass(frozen=True)
class Claim:
  """A difference between two accuracies that the paper claims.

  Attributes:
    key: a short name.
    text: the claim in a sentence.
    source: where the paper makes it.
    better: the side that is claimed to be more accurate.
    worse: the other. It may be another reading of the same run.
    near: None, or the points of accuracy within which the two are claimed to be the
      same.
  """

  key: str
  text: str
  source: str
  better: Side
  worse: Side
  near: float | None = None

  @property
  def published(self) -> float | None:
    """Better minus worse in points, or None unless the paper has both."""
    better, worse = _published(self.better), _published(self.worse)
    return None if better is None or worse is None else round(better - worse, 1)


@dataclass(frozen=True)
class Verdict:
  """What was measured about a claim.

  Attributes:
    claim: that was judged.
    difference: better minus worse, in points of accuracy; None if not measured.
    low: of the difference's 95 % interval, in points; None if not measured.
    high: of the same.
    verdict: "appears", "not seen", "reversed", "differs" or "not measured".
    better: counts behind it, None if not measured.
    worse: the same.
  """

  claim: Claim
  difference: float | None
  low: float | None
  high: float | None
  verdict: str
  better: Count | None
  worse: Count | None


def _published(side: Side) -> float | None:
  setting, branch, reading = side
  cells = paper.find(setting, branch)
  if reading is None:
    reading = max(cells, default=paper.CLEAN)
    if reading == paper.CLEAN:
      return None
  return cells[reading].value if reading in cells else None


def _nearly() -> float:
  """The largest difference in Table 1, all of which are "nearly the same", in points.

  Section 4.2 says so of each branch of MBN and the network of its own that it is
  compared with, with ALP and without.
  """
  found = 0.0
  for reading, branch, own in (
    (paper.CLEAN, "clean", "clean"),
    (paper.STRONGEST, "adv", "adv"),
  ):
    alone = _published((own, "all", reading))
    for setting in ("mbn", "mbn_alp"):
      mixed = _published((setting, branch, reading))
      assert alone is not None and mixed is not None
      found = max(found, abs(round(mixed - alone, 1)))
  return found


NEARLY = _nearly()
# Within how many points a curve is level; ours. Those that the paper calls asymptotic
# fall by 0.4 to 0.6 points from PGD-500 to PGD-2000, all others by 2.5 and more. Also
# for ResNet-338's gain on clean images, "only 0.5 %" where 2.4 are "significant".
LEVEL = 2.0
_CLEAN = paper.CLEAN


# What training with clean images does to plain BN, and what ALP adds.
_CLEAN_IMAGES = (
  Claim(
    "no_clean_images",
    "With plain BN, removing all clean images from training raises robustness.",
    "4.1",
    ("adv", "all", None),
    ("adv_clean", "all", None),
  ),
  Claim(
    "few_clean_images",
    "With plain BN, removing 80 % of the clean images already raises robustness.",
    "4.1",
    ("adv_clean_20", "all", None),
    ("adv_clean", "all", None),
  ),
  Claim(
    "alp",
    "Logit pairing slightly raises the robustness of the mixture with plain BN.",
    "4.1",
    ("alp", "all", None),
    ("adv_clean", "all", None),
  ),
  Claim(
    "no_clean_images_or_alp",
    "Removing all clean images raises robustness more than logit pairing does.",
    "4.1",
    ("adv", "all", None),
    ("alp", "all", None),
  ),
  Claim(
    "mixture_falls_late",
    "With plain BN, the mixture still loses accuracy between PGD-500 and PGD-2000.",
    "4.1",
    ("adv_clean", "all", 500),
    ("adv_clean", "all", 2000),
  ),
  Claim(
    "alp_falls_late",
    "With plain BN and logit pairing, the mixture still loses accuracy between PGD-500"
    " and PGD-2000.",
    "4.1",
    ("alp", "all", 500),
    ("alp", "all", 2000),
  ),
  Claim(
    "adv_levels",
    "Trained on adversarial images alone, accuracy is nearly the same against PGD-500"
    " and PGD-2000.",
    "4.1",
    ("adv", "all", 500),
    ("adv", "all", 2000),
    near=LEVEL,
  ),
  Claim(
    "adv_training",
    "A network that was never trained on adversarial images is less robust than one"
    " that was trained on nothing else.",
    "1",
    ("adv", "all", None),
    ("clean", "all", None),
  ),
)

# What keeping the domains apart in the norm layers does.
_NORMALISATION = (
  Claim(
    "mbn",
    "Trained on the same mixture, MBN's adv branch is more robust than plain BN.",
    "4.2",
    ("mbn", "adv", None),
    ("adv_clean", "all", None),
  ),
  Claim(
    "mbn_alp",
    "Trained on the same mixture with logit pairing, MBN's adv branch is more robust"
    " than plain BN.",
    "4.2",
    ("mbn_alp", "adv", None),
    ("alp", "all", None),
  ),
  Claim(
    "mbn_adv_alone",
    "MBN's adv branch is nearly as robust as a network trained on adversarial images"
    " alone.",
    "4.2",
    ("mbn", "adv", None),
    ("adv", "all", None),
    near=NEARLY,
  ),
  # Not with logit pairing: 3.9 points apart, that pair is what NEARLY is measured by.
  Claim(
    "mbn_clean_alone",
    "On clean images, MBN's clean branch is nearly as accurate as a network trained on"
    " clean images alone.",
    "4.2",
    ("mbn", "clean", _CLEAN),
    ("clean", "all", _CLEAN),
    near=NEARLY,
  ),
  Claim(
    "mbn_alp_clean_alone",
    "On clean images, with logit pairing too, MBN's clean branch is nearly as accurate"
    " as a network trained on clean images alone.",
    "4.2",
    ("mbn_alp", "clean", _CLEAN),
    ("clean", "all", _CLEAN),
    near=NEARLY,
  ),
  Claim(
    "mbn_branches_clean",
    "On clean images, MBN's clean branch is more accurate than its adv branch.",
    "4.2",
    ("mbn", "clean", _CLEAN),
    ("mbn", "adv", _CLEAN),
  ),
  Claim(
    "mbn_branches_robust",
    "MBN's adv branch is more robust than its clean branch.",
    "4.2",
    ("mbn", "adv", None),
    ("mbn", "clean", None),
  ),
  Claim(
    "mbn_clean",
    "On clean images, MBN's clean branch is more accurate than a network trained on"
    " adversarial images alone.",
    "4.2",
    ("mbn", "clean", _CLEAN),
    ("adv", "all", _CLEAN),
  ),
  Claim(
    "mbn_levels",
    "Through MBN's adv branch, accuracy is nearly the same against PGD-500 and"
    " PGD-2000.",
    "4.2",
    ("mbn", "adv", 500),
    ("mbn", "adv", 2000),
    near=LEVEL,
  ),
  Claim(
    "mbn_alp_levels",
    "Through MBN's adv branch with logit pairing, accuracy is nearly the same against"
    " PGD-500 and PGD-2000.",
    "4.2",
    ("mbn_alp", "adv", 500),
    ("mbn_alp", "adv", 2000),
    near=LEVEL,
  ),
  Claim(
    "gn",
    "Trained on the same mixture, a network with GN is more robust than one with plain"
    " BN.",
    "4.2",
    ("gn", "all", None),
    ("adv_clean", "all", None),
  ),
  Claim(
    "gn_levels",
    "With GN, accuracy is nearly the same against PGD-500 and PGD-2000.",
    "4.2",
    ("gn", "all", 500),
    ("gn", "all", 2000),
    near=LEVEL,
  ),
  Claim(
    "eps8_levels",
    "At half the eps, the mixture with plain BN too has nearly the same accuracy"
    " against PGD-500 and PGD-2000.",
    "4.2",
    ("adv_clean_eps8", "all", 500),
    ("adv_clean_eps8", "all", 2000),
    near=LEVEL,
  ),
)

_STATISTICS = tuple(
  Claim(
    f"star_{setting}",
    f"Running statistics in the last epochs raise the robustness of {what}.",
    "4.3",
    (f"{setting}_star", branch, None),
    (setting, branch, None),
  )
  for setting, branch, what in (
    ("adv", "all", "training on adversarial images alone"),
    ("mbn", "adv", "MBN's adv branch"),
    ("mbn_alp", "adv", "MBN's adv branch with logit pairing"),
  )
)

# What robustness costs, what more of everything brings.
_BEYOND = (
  Claim(
    "finetune_to_clean",
    "Fine-tuning BN alone on clean images raises the clean accuracy of a network that"
    " was trained on adversarial images alone.",
    "4.4",
    ("bn_finetune_to_clean", "all", _CLEAN),
    ("adv", "all", _CLEAN),
  ),
  Claim(
    "finetune_to_adv",
    "A network trained on clean images, with BN alone fine-tuned on adversarial images,"
    " is less robust than one trained on adversarial images alone.",
    "4.4",
    ("adv", "all", None),
    ("bn_finetune_to_adv", "all", None),
  ),
  Claim(
    "cost",
    "Training on adversarial images alone costs clean accuracy.",
    "4.4",
    ("clean", "all", _CLEAN),
    ("adv", "all", _CLEAN),
  ),
  Claim(
    "gn_cost",
    "GN on the mixture keeps more clean accuracy than training on adversarial images"
    " alone.",
    "4.4",
    ("gn", "all", _CLEAN),
    ("adv", "all", _CLEAN),
  ),
  Claim(
    "depth_338",
    "Trained on adversarial images, ResNet-338 is more robust than ResNet-152.",
    "5",
    ("depth_338", "all", None),
    ("depth_152", "all", None),
  ),
  Claim(
    "depth_638",
    "Trained on adversarial images, ResNet-638 is more robust than ResNet-338.",
    "5",
    ("depth_638", "all", None),
    ("depth_338", "all", None),
  ),
  Claim(
    "depth_638_clean_accuracy",
    "Trained on adversarial images, ResNet-638 is more accurate on clean images than"
    " ResNet-152: by 5.1 points in Table 7, by 6.1 in the text.",
    "5",
    ("depth_638", "all", _CLEAN),
    ("depth_152", "all", _CLEAN),
  ),
  Claim(
    "depth_clean_training",
    "Trained on clean images, ResNet-338 is nearly as accurate as ResNet-152.",
    "5",
    ("depth_338_clean", "all", _CLEAN),
    ("depth_152_clean", "all", _CLEAN),
    near=LEVEL,
  ),
  Claim(
    "alp_steps",
    "With logit pairing and plain BN, training with PGD-30 instead of PGD-10 raises"
    " robustness.",
    "A",
    ("alp", "all", None),
    ("alp_pgd10", "all", None),
  ),
  Claim(
    "mixture_steps",
    "With plain BN on the mixture, training with PGD-30 instead of PGD-5 raises"
    " robustness.",
    "B.1",
    ("adv_clean", "all", None),
    ("adv_clean_pgd5", "all", None),
  ),
  Claim(
    "adv_steps",
    "On adversarial images alone, training with PGD-30 instead of PGD-5 raises"
    " robustness.",
    "B.1",
    ("adv", "all", None),
    ("adv_pgd5", "all", None),
  ),
)

CLAIMS: tuple[Claim, ...] = _CLEAN_IMAGES + _NORMALISATION + _STATISTICS + _BEYOND


def judge(measure: Measure) -> list[Verdict]:
  """A verdict on every claim.

  A difference "appears" if its whole 95 % interval lies above 0, is "reversed" if it
  lies below, and is "not seen" if the interval holds 0. Where two accuracies are
  claimed to be nearly the same, that "appears" if the whole interval lies within the
  claim's `near` points on either side of 0, "differs" if it lies outside, and is "not
  seen" otherwise: too few images, or a difference that is close to `near`.

  The interval covers the choice of test images. It does not cover the choice of the
  seed: another training may differ by more.

  Args:
    measure: (setting, branch, reading) -> counts, or None if nobody measured it.

  Returns:
    The verdicts in the order of `CLAIMS`.
  """
  return [_judge(claim, measure) for claim in CLAIMS]


def _judge(claim: Claim, measure: Measure) -> Verdict:
  better, worse = measure(*claim.better), measure(*claim.worse)
  if better is None or worse is None:
    return Verdict(claim, None, None, None, NOT_MEASURED, better, worse)
  difference = better.correct / better.images - worse.correct / worse.images
  low, high = interval(better, worse)
  points = 100 * difference, 100 * low, 100 * high
  return Verdict(
    claim, *points, _word(100 * low, 100 * high, claim.near), better, worse
  )


def _word(low: float, high: float, near: float | None) -> str:
  if near is None:
    return APPEARS if low > 0 else REVERSED if high < 0 else NOT_SEEN
  if -near <= low and high <= near:
    return APPEARS
  return DIFFERS if high < -near or near < low else NOT_SEEN


def interval(better: Count, worse: Count) -> tuple[float, float]:
  """Newcombe's hybrid score interval of a difference of two proportions, at 95 %.

  Method 10 of Newcombe, "Interval estimation for the difference between independent
  proportions", Statistics in Medicine 17 (1998), from the Wilson interval of each. It
  takes the two as independent, which is cautious: the same images serve both, and what
  is hard for one network is mostly hard for the other. More runs on the same images
  make the proportions steadier but the images no more: the interval is as wide as that
  of one run.

  Args:
    better: counts, with at least 1 image.
    worse: the same.

  Returns:
    (low, high) of better minus worse, within -1..1.
  """
  p, q = better.correct / better.images, worse.correct / worse.images
  p_low, p_high = _score_interval(better)
  q_low, q_high = _score_interval(worse)
  low = p - q - math.hypot(p - p_low, q_high - q)
  high = p - q + math.hypot(p_high - p, q - q_low)
  return low, high


def _score_interval(count: Count) -> tuple[float, float]:
  # In Wilson's formula z squared is over the images: z is larger by the root of the
  # number of runs, which is the same as the images of one run.
  return wilson(count.correct, count.images, 1.96 * math.sqrt(count.runs))
