"""What a run can have and a person may not have meant: said once, as it starts."""

from collections.abc import Iterator, Mapping
from typing import Any

from robustjax.config import relations

_SHIPPED = "fashion_mnist_mini"


def odd(flat: Mapping[str, Any]) -> list[str]:
  """A few words for each oddity.

  Args:
    flat: dotted name -> value, checked.
  """
  found = (*_schedule(flat), *_attack(flat), *_others(flat))
  return [text for is_odd, text in found if is_odd]


def _schedule(flat: Mapping[str, Any]) -> Iterator[tuple[Any, str]]:
  epochs, warmup = flat["train.epochs"], flat["optimizer.warmup_epochs"]
  decays, every = flat["optimizer.decay_epochs"], flat["optimizer.decay_every"]
  means = {
    "optimizer.decay_epochs": "not all of these decays come",
    "optimizer.warmup_epochs": "the warm-up is never over",
    "train.save_every_epochs": "it is saved at its end alone",
  }
  of_steps = flat["optimizer.schedule"] == "steps"  # others have no decays
  for name, last in relations.ends(flat).items():
    if name == "optimizer.decay_epochs" and not of_steps:
      continue
    yield last > epochs, f"{name}={flat[name]} for {epochs} epochs: {means[name]}"
  yield every >= epochs, f"optimizer.decay_every={every} for {epochs} epochs: no decay"
  yield (
    of_steps and decays and min(decays) < warmup <= epochs,
    f"optimizer.decay_epochs={decays}: before the warm-up of {warmup} epochs is over",
  )
  yield (
    of_steps and (decays or every) and flat["optimizer.decay_factor"] == 1,
    "optimizer.decay_factor=1.0: the learning rate never falls",
  )
  momentum, rate = flat["optimizer.momentum"], flat["optimizer.lr_per_256"]
  yield momentum > 0.99, f"optimizer.momentum={momentum}: it diverges easily"
  yield rate > 10, f"optimizer.lr_per_256={rate}: it diverges easily"
  images, batch = flat["data.train_examples"], flat["train.batch_size"]
  yield batch > images, f"train.batch_size={batch} of {images} images: some come twice"


def _attack(flat: Mapping[str, Any]) -> Iterator[tuple[Any, str]]:
  size, steps = flat["attack.step_size"], flat["attack.steps"]
  eps = flat["attack.eps"]
  yield (
    size * steps < eps,
    f"attack.step_size={size}: {steps} steps of it stay within attack.eps={eps}",
  )
  yield size > 2 * eps, f"attack.step_size={size}: more than twice attack.eps={eps}"
  for name in ("attack.eps", "eval.eps"):
    eps = flat[name]
    yield eps < 1, f"{name}={eps}: less than the smallest change of a stored pixel"
    yield eps > 127, f"{name}={eps}: it makes any image grey"


def _others(flat: Mapping[str, Any]) -> Iterator[tuple[Any, str]]:
  smoothing, name = flat["loss.label_smoothing"], flat["data.name"]
  yield smoothing > 0.5, f"loss.label_smoothing={smoothing}: labels that hardly say one"
  yield (
    flat["data.data_dir"] and (name == _SHIPPED or name[:1] in ("/", ".", "~")),
    f"data.data_dir={flat['data.data_dir']}: data.name={name} does not use it",
  )
