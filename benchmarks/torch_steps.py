"""An attack and a training step as PyTorch's users write them, compiled or not."""

import dataclasses
from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812

from benchmarks.torch_resnet import ResNet

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def targeted(net: ResNet, branch: str = "", compiled: bool = False) -> Loss:
  """(images in 0..1, targets) to the summed cross-entropy that an attack lowers."""

  def loss(images: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    # Not by a call of the module, whose hooks do not let operations be counted here.
    logits = net.forward(images, branch)
    return F.cross_entropy(logits, targets, reduction="sum")

  return torch.compile(loss, dynamic=False) if compiled else loss


def pgd(
  loss: Loss,
  images: torch.Tensor,
  adv: torch.Tensor,
  targets: torch.Tensor,
  *,
  eps: float,
  step_size: float,
  steps: int,
) -> torch.Tensor:
  """`robustjax.attacks.pgd.PGD.advance`, of pixels in 0..1."""
  low, high = (images - eps).clamp_(min=0), (images + eps).clamp_(max=1)
  for _ in range(steps):
    adv = adv.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(adv, targets), adv)
    with torch.no_grad():
      adv = (adv - step_size * gradient.sign()).clamp_(low, high)
  return adv.detach()


@dataclasses.dataclass(frozen=True)
class Recipe:
  """How a step trains.

  Attributes:
    eps: of the attack; of 1, as `step_size` is.
    step_size: see `pgd`.
    steps: see `pgd`.
    mixture: whether clean images are learned from too, through a branch of their own.
    alp_weight: of logit pairing.
    smoothing: of labels.
    batches: see `ResNet.forward`.
    rate: the learning rate.
    momentum: Nesterov's.
    weight_decay: of kernels.
  """

  eps: float
  step_size: float
  steps: int
  mixture: bool
  alp_weight: float
  smoothing: float
  batches: int
  rate: float
  momentum: float
  weight_decay: float


class Training:
  """A network on its way; each call is a step.

  Args:
    net: from `ResNet.moved`.
    recipe: how it is trained.
    compiled: whether torch.compile makes the losses of attack and training.
  """

  def __init__(self, net: ResNet, recipe: Recipe, compiled: bool = False):
    self._net, self._recipe = net, recipe
    # The attack sees the same arrays, and asks for no gradient of theirs.
    branch = "adv" if recipe.mixture else ""
    self._attacked = targeted(net.fixed(), branch, compiled)
    self._learned = torch.compile(self._loss, dynamic=False) if compiled else self._loss
    weights = net.weights().items()
    kernels = [array for name, array in weights if name.endswith("kernel")]
    others = [array for name, array in weights if not name.endswith("kernel")]
    self._optimizer = torch.optim.SGD(
      [
        {"params": kernels, "weight_decay": recipe.weight_decay},
        {"params": others, "weight_decay": 0.0},
      ],
      lr=recipe.rate,
      momentum=recipe.momentum,
      nesterov=True,
      fused=kernels[0].device.type != "meta",  # which has no such kernel
    )

  def __call__(
    self,
    images: torch.Tensor,
    labels: torch.Tensor,
    start: torch.Tensor,
    targets: torch.Tensor,
  ) -> torch.Tensor:
    """Attacks, and learns from it; the loss."""
    return self.learn(images, labels, self.attack(images, start, targets))

  def attack(
    self, images: torch.Tensor, start: torch.Tensor, targets: torch.Tensor
  ) -> torch.Tensor:
    """The adversarial images."""
    recipe = self._recipe
    return pgd(
      self._attacked,
      images,
      start,
      targets,
      eps=recipe.eps,
      step_size=recipe.step_size,
      steps=recipe.steps,
    )

  def learn(
    self, images: torch.Tensor, labels: torch.Tensor, adv: torch.Tensor
  ) -> torch.Tensor:
    """Moves the weights; the loss before."""
    self._optimizer.zero_grad(set_to_none=True)
    loss = self._learned(images, labels, adv)
    loss.backward()
    self._optimizer.step()
    return loss.detach()

  def _loss(
    self, images: torch.Tensor, labels: torch.Tensor, adv: torch.Tensor
  ) -> torch.Tensor:
    recipe = self._recipe

    def entropy(logits: torch.Tensor) -> torch.Tensor:
      return F.cross_entropy(logits, labels, label_smoothing=recipe.smoothing)

    if not recipe.mixture:
      return entropy(self._net(adv, batches=recipe.batches))
    clean = self._net(images, "clean", recipe.batches)
    attacked = self._net(adv, "adv", recipe.batches)
    pairs = (attacked - clean).square().sum(-1).mean()
    return (entropy(clean) + entropy(attacked)) / 2 + recipe.alp_weight * pairs
