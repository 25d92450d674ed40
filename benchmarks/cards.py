"""What cards make of the presets, images/s and MFU: for the tables of docs/scale.md.

  python -m benchmarks.cards

Nothing is run. The first table is what others have published, with the MFU that
follows; on the page it has what was measured with this library above, from records.
The second is arithmetic: the images/s of a share of the card's peak that is assumed.
"""

import functools
import sys
from collections.abc import Iterator
from typing import NamedTuple

from benchmarks import scale, tables
from byol_jax import commands
from byol_jax.run import mfu

# Of BYOL's own run, below; an assumption for any other card and preset.
ASSUMED = 0.09
_EPOCH = 1_281_167  # images of ImageNet
_H100, _A100 = "NVIDIA H100 80GB HBM3", "NVIDIA A100-SXM4-80GB"
_RTX4090 = "NVIDIA GeForce RTX 4090"
CARDS = (_H100, _A100, _RTX4090, "NVIDIA L4", "TPU v4", "TPU v6 lite")
PRESETS = {
  "imagenet-1000": "ResNet-50, 224 px",
  "imagenette": "ResNet-18, 128 px",
  "cifar10": "ResNet-18, 32 px",
}


class Published(NamedTuple):
  """BYOL by others, with batch norm.

  Attributes:
    card: a device_kind of JAX; of a TPU v3, a core.
    preset: the one with that network, size of images and data set.
    images_per_second: source images, of one card.
    source: where it is from, and what was computed from what.
  """

  card: str
  preset: str
  images_per_second: float
  source: str


PUBLISHED = (
  Published(
    "TPU v3",
    "imagenet-1000",
    1000 * _EPOCH / (8 * 3600 * 512),
    "BYOL: 1000 epochs in about 8 hours on 512 cores",
  ),
  Published(
    _A100,
    "imagenet-1000",
    _EPOCH / (13 * 60 + 9) / 4,
    "De Plaen et al. (2602.05845): an epoch in 13 min 9 s on four",
  ),
  Published(
    _RTX4090,
    "imagenet-1000",
    _EPOCH / (35 * 60) / 2,
    "Lightly's benchmarks: an epoch in 35 minutes on two",
  ),
)


@functools.cache
def flops_per_image(preset: str) -> float:
  """FLOPs that a step of BYOL with batch norm takes for each image of its batch."""
  experiment = scale.make_experiment("byol", preset)
  return experiment.flops() / experiment.config.train.batch_size


def published() -> Iterator[tuple[str, ...]]:
  """The first table, a line a row."""
  for found in PUBLISHED:
    share = found.images_per_second * flops_per_image(found.preset) / _peak(found.card)
    yield (
      found.card,
      PRESETS[found.preset],
      "BN",
      f"{found.images_per_second:.0f}",
      f"{100 * share:.1f} %",
      "not said",
      f"published; {found.source}",
    )


def assumed() -> Iterator[tuple[str, ...]]:
  """The second table: images/s of each card with each preset."""
  for card in CARDS:
    speeds = (ASSUMED * _peak(card) / flops_per_image(preset) for preset in PRESETS)
    # No more digits than the assumption has.
    yield card, *(f"{float(f'{speed:.2g}'):.0f}" for speed in speeds)


def _peak(card: str) -> float:
  peak = mfu.peak(card, "bfloat16")
  assert peak, card
  return peak


HEADINGS = ("card", "step", "norm", "images/s", "MFU", "memory, GiB", "how")
GRID = ("card", *(f"`{preset}`: {step}" for preset, step in PRESETS.items()))


def main() -> None:
  """Prints the tables."""
  tables.head(HEADINGS)
  for row in published():
    tables.row(row)
  print(f"\nAt {ASSUMED:.0%} of the peak, which is assumed:\n")
  tables.head(GRID)
  for row in assumed():
    tables.row(row)


if __name__ == "__main__":
  commands.run(main, sys.argv)
