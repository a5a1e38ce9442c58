"""What a look into a run shows."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Choice:
  """What to look at.

  Attributes:
    layer: a norm layer; `norms.default_layer` if empty.
    channels: how many of its channels, at least 1 (paper Figures 5 and 6: 20); all, if
      it has fewer.
    seed: 0 and up; of the channels, the images and their attacks.
    images: how many examples, at least 1; all that the evaluation counts, if these are
      fewer.
    steps: of the attack on the examples; the most that the evaluation reads if 0.
  """

  layer: str = ""
  channels: int = 20
  seed: int = 0
  images: int = 8
  steps: int = 0
