"""What others published that they measured, put through the roof of the forecasts.

Their programs are not here: operations and bytes are those of this package's own
training step of the same network, batch and precision, compiled with libtpu 0.0.42.1
for the same chip, or for a v3 where it was a GPU. For ResNet-50 nothing is scanned or
computed again. Of a v5e nothing like it was found.
"""

import dataclasses
from collections.abc import Mapping

from robustjax.preflight.chips import CHIPS, GBPS, TFLOPS

# The default of the utilisation: about what is below. A guess all the same, since
# nobody published the rate of adversarial training on a TPU.
USUAL = 0.6
_IMAGES = 1_281_167  # of ImageNet's training split


@dataclasses.dataclass(frozen=True)
class Measured:
  """A rate that somebody measured.

  Attributes:
    rate: images a second of a device.
    operations: of an image.
    bytes: that an image moves.
    peak: operations a second of the device.
    bandwidth: bytes a second of its memory.
  """

  rate: float
  operations: float
  bytes: float
  peak: float
  bandwidth: float

  @property
  def share(self) -> float:
    """Of the roof, that was reached."""
    return self.rate * max(self.operations / self.peak, self.bytes / self.bandwidth)


_V3, _V4 = CHIPS["v3"], CHIPS["v4"]

MEASURED: Mapping[str, Measured] = {
  # mlcommons/training_results_v0.7, Google/results/tpu-v3-32-TF2.0/resnet/result_0.txt:
  # 32 cores, batches of 4096; the 4 epochs between two evaluations take 157.3 s.
  "ResNet-50 of MLPerf 0.7 on v3": Measured(
    4 * _IMAGES / 157.3 / 32, 3.0025e12 / 128, 34.542e9 / 128,
    _V3.peak / _V3.devices, _V3.bandwidth / _V3.devices,
  ),
  # mlcommons/training_results_v1.0, Google/results/tpu-v4-128-TF/resnet/result_0.txt:
  # 64 chips, batches of 8192; 4 epochs with their evaluation take 23.19 s.
  "ResNet-50 of MLPerf 1.0 on v4": Measured(
    4 * _IMAGES / 23.19 / 64, 3.0025e12 / 128, 28.973e9 / 128, _V4.peak, _V4.bandwidth
  ),
  # facebookresearch/ImageNet-Adversarial-Training: 110 epochs of ResNet-152 with PGD-30
  # in float32 in 52 h on 128 V100, of which NVIDIA's data sheet (SXM2) says the rest.
  "Feature Denoising's PGD-30 on V100": Measured(
    110 * _IMAGES / (52 * 3600) / 128, 45.158e12 / 32, 742.76e9 / 32,
    15.7 * TFLOPS, 900 * GBPS,
  ),
}  # fmt: skip


def line() -> str:
  """What was reached of the roof."""
  shares = ", ".join(f"{what} {one.share:.0%}" for what, one in MEASURED.items())
  return f"Others' measurements come to these parts of such roofs: {shares}."
