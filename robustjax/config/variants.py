"""The words after the colon of --config=experiments/X.py:word,word.

A word changes some values, at the paper's scale and at the small one. The common words
are axes that the paper crosses with its strategies: every experiment that does not say
otherwise takes them.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from robustjax.errors import UserError


class Variant(NamedTuple):
  """What a word changes.

  Attributes:
    what: in a few words, for the list that a mistake prints.
    source: of its values at the paper's scale.
    paper: dotted name -> value.
    mini: the same at the small scale; its values are ours.
  """

  what: str
  source: str
  paper: Mapping[str, Any]
  mini: Mapping[str, Any]


MINI_WORD = "mini"
MINI_MEANS = "the shipped images and a small network: minutes on a laptop"

STAR = Variant(
  "the * rows: running statistics in the last epochs (section 4.3)",
  "paper section 4.3: 'during the last 10 epochs'; that they are frozen: guess",
  {"train.running_statistics_epochs": 10.0},
  {"train.running_statistics_epochs": 1.0},
)


def _pgd(paper: tuple[int, float], mini: tuple[int, float]) -> Variant:
  """PGD-N for training. Mini has 7 steps where the paper has 30, and N in proportion.

  As in the paper, fewer steps than 20 get a larger size: the product is 1.25 eps.
  """
  names = ("attack.steps", "attack.step_size")
  return Variant(
    f"PGD-{paper[0]} for training instead of PGD-30 (appendix B.1)",
    "paper appendix B.1" + (f": step size {paper[1]:g}" if paper[1] > 1 else ""),
    dict(zip(names, paper, strict=True)),
    dict(zip(names, mini, strict=True)),
  )


COMMON: Mapping[str, Variant] = {
  "star": STAR,
  "pgd20": _pgd((20, 1.0), (5, 8.0)),
  "pgd10": _pgd((10, 2.0), (2, 20.0)),
  "pgd5": _pgd((5, 4.0), (1, 40.0)),
  "eps8": Variant(
    "half the eps, the exceptional case of section 4.2",
    "paper section 4.2: 'eps = 8'",
    {"attack.eps": 8.0, "eval.eps": 8.0},
    {"attack.eps": 16.0, "eval.eps": 16.0},
  ),
  "float32": Variant(
    "training in float32 at full precision, as FD's; mini has it without the word",
    "FD: float32",
    {"model.dtype": "float32"},
    {"model.dtype": "float32"},
  ),
}


def chosen(
  variant: str,
  choices: Mapping[str, Variant],
  own: Mapping[str, Variant],
  common: Sequence[str],
) -> tuple[bool, dict[str, Variant]]:
  """Reads the words of a variant.

  Args:
    variant: the text after the colon.
    choices: words of which exactly one must be there; none needed if there are none.
    own: further words of the experiment.
    common: which of `COMMON` it takes.

  Returns:
    Whether "mini" is among them, and the other words in the order that names have.

  Raises:
    UserError: a word that is not one of these, two that contradict each other, or no
      choice; one line with the words that there are.
  """
  have = {**choices, **own, **{name: COMMON[name] for name in common}}
  words = [word.strip() for word in variant.split(",") if word.strip()]
  for word in words:
    if word not in have and word != MINI_WORD:
      raise UserError(f"no variant {word!r}; there is {_listed(have)}")
  if choices and not any(word in choices for word in words):
    names = ", ".join(choices)
    raise UserError(f"this experiment needs one of the variants {names} after a colon")
  if len(rows := [word for word in choices if word in words]) > 1:
    raise UserError(f"variants {rows[0]!r} and {rows[1]!r} are two runs: choose one")
  picked = {name: have[name] for name in have if name in words}
  setters: dict[str, str] = {}
  for word, chosen_variant in picked.items():
    for name in chosen_variant.paper:
      if name in setters:
        raise UserError(
          f"variants {setters[name]!r} and {word!r} both set config.{name}: choose one"
        )
      setters[name] = word
  return MINI_WORD in words, picked


def _listed(have: Mapping[str, Variant]) -> str:
  return "; ".join(
    [f"{MINI_WORD}: {MINI_MEANS}", *(f"{n}: {v.what}" for n, v in have.items())]
  )
