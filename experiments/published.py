"""Acceptance cards: public robust networks, and what each is published to score.

python -m robustjax.evaluate RUN --card=experiments/published.py:WORD
"""

from robustjax.errors import UserError
from robustjax.evaluate.cards import Card, Number

_FD = "github.com/facebookresearch/ImageNet-Adversarial-Training"


def _fd(
  word: str,
  title: str,
  release: str,
  clean: float,
  attacked: dict[int, tuple[float, float]],
  setting: str = "",
) -> Card:
  """A network of Feature Denoising: error rates and targets reached, in %."""
  file = release.partition("/")[2]
  return Card(
    word=word,
    title=title,
    file=file,
    where=f"{_FD}/releases, {release}",
    source=f"error rates and attack success rates in {_FD}, INSTRUCTIONS.md",
    images=50_000,
    which="ImageNet's validation set",
    eps=16.0,
    clean=Number("none", round(100 - clean, 1)),
    attacked=tuple(
      Number("pgd-random", round(100 - error, 1), steps, hits)
      for steps, (error, hits) in attacked.items()
    ),
    tolerance=0.3,
    reason="the same: 'may have a +-0.3 fluctuation' by random targets and starts",
    licence="CC-BY-NC 4.0",
    setting=setting,
  )


def _robustbench(
  word: str, title: str, file: str, clean: float, robust: float, flags: str = ""
) -> Card:
  """A network of RobustBench's ImageNet leaderboard for L-infinity, eps 4."""
  return Card(
    word=word,
    title=title,
    file=f"{file}.pt",
    where=f"RobustBench's model zoo, ImageNet, Linf: {file}",
    source="RobustBench, ImageNet leaderboard, Linf, eps 4/255",
    images=5_000,
    which="RobustBench's 5,000 of ImageNet's validation set",
    eps=4.0,
    clean=Number("none", clean),
    attacked=(Number("standard", robust),),
    tolerance=0.3,
    reason="guess: 15 images of 5,000, for decoders, rounding and random starts differ",
    ids="imagenet_test_image_ids.txt",
    flags=flags,
  )


_CARDS = (
  _fd(
    "fd_resnet152",
    "ResNet-152, 100% adv + 0% clean (Xie et al. 2019; Table 7)",
    "v0/R152.npz",
    37.7,
    {10: (47.5, 5.5), 100: (58.3, 31.0), 1000: (61.0, 36.1)},
    "adv",
  ),
  _fd(
    "fd_resnet152_denoise",
    "ResNet-152 Denoise (Xie et al. 2019)",
    "v0.1/R152-Denoise.npz",
    34.7,
    {10: (44.3, 4.9), 100: (54.5, 26.6), 1000: (57.2, 32.7)},
  ),
  _fd(
    "fd_resnext101_denoise_all",
    "ResNeXt-101 32x8d DenoiseAll (Xie et al. 2019)",
    "v0.2/X101-DenoiseAll.npz",
    31.6,
    {10: (44.0, 4.9), 100: (55.6, 31.5), 1000: (59.6, 38.1)},
  ),
  _robustbench(
    "salman2020_r50", "ResNet-50 (Salman et al. 2020)", "Salman2020Do_R50",
    64.02, 34.96,
  ),
  _robustbench(
    "salman2020_r18", "ResNet-18 (Salman et al. 2020)", "Salman2020Do_R18",
    52.92, 25.32,
  ),
  _robustbench(
    "salman2020_wrn50_2", "WRN-50-2 (Salman et al. 2020)", "Salman2020Do_50_2",
    68.46, 38.14,
  ),
  _robustbench(
    "engstrom2019", "ResNet-50 (Engstrom et al. 2019)", "Engstrom2019Robustness",
    62.56, 29.22,
  ),
  _robustbench(
    "wong2020", "ResNet-50 (Wong et al. 2020)", "Wong2020Fast", 55.62, 26.24,
    " --size=288 --resize=-1",
  ),
)  # fmt: skip
CARDS = {card.word: card for card in _CARDS}


def get_card(word: str) -> Card:
  """The card of a word.

  Raises:
    UserError: there is none.
  """
  if word not in CARDS:
    raise UserError(f"there is no card {word!r}: name one of {', '.join(CARDS)}")
  return CARDS[word]
