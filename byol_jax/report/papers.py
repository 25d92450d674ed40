"""The papers' numbers. One stands beside a result of the same work, and no other.

BYOL is Grill et al. (2006.07733), and BYOL without batch statistics Richemond et al.
(2010.10241). What "the same" means is in `report/same_work.py`.
"""

from collections.abc import Iterator
from typing import NamedTuple

from byol_jax.report import same_work
from byol_jax.report.same_work import BYOL, BYOL_300, GN_WS, Encoder
from byol_jax.report.systems import Line


class Number(NamedTuple):
  """An accuracy of a paper.

  Attributes:
    percent: as the paper has it.
    source: where.
  """

  percent: float
  source: str


Key = tuple[Encoder, str, str]  # encoder, evaluation, metric

# (depth, width) -> top-1 and top-5 of linear evaluation.
_TABLE_9 = {
  (50, 1.0): (74.3, 91.6),
  (101, 1.0): (76.4, 93.0),
  (152, 1.0): (77.3, 93.7),
  (200, 1.0): (77.8, 93.9),
  (50, 2.0): (77.4, 93.6),
  (101, 2.0): (78.7, 94.3),
  (50, 3.0): (78.2, 93.9),
  (152, 2.0): (79.0, 94.6),
  (200, 2.0): (79.6, 94.9),  # 94.8 in table 1
  (50, 4.0): (78.6, 94.2),
  (101, 3.0): (78.4, 94.2),
  (152, 3.0): (79.5, 94.6),
}
# (depth, width) -> top-1 with augmentations, regularised logits, both.
_TABLE_7 = {
  (50, 1.0): (74.4, 74.7, 74.8),
  (50, 4.0): (78.6, 78.9, 79.0),
  (200, 2.0): (79.6, 79.8, 80.0),
}
# (depth, width) -> top-1 and top-5 with 1 % of the labels, then with 10 %.
_FEW_LABELS = {
  (50, 1.0): ((53.2, 78.4), (68.8, 89.0)),
  (50, 2.0): ((62.2, 84.1), (73.5, 91.7)),
  (50, 4.0): ((69.1, 87.9), (75.7, 92.5)),
  (200, 2.0): ((71.2, 89.5), (77.7, 93.7)),
}
_ALL_LABELS = (77.7, 93.9)
# Set -> its metric, and accuracy by logistic regression and by fine-tuning.
_TABLE_3 = {
  "food101": ("top_1", 75.3, 88.5),
  "cifar10": ("top_1", 91.3, 97.8),
  "cifar100": ("top_1", 78.4, 86.1),
  "sun397/standard-part1-120k": ("top_1", 62.2, 63.7),
  "cars196": ("top_1", 67.8, 91.6),
  "voc/2007": ("average_precision_11", 82.5, 85.4),
  "dtd": ("top_1", 75.5, 76.2),
  "oxford_iiit_pet": ("mean_per_class", 90.4, 91.7),
  "caltech101": ("mean_per_class", 94.2, 93.8),
  "oxford_flowers102": ("mean_per_class", 96.1, 97.0),
}
_TOP = ("top_1", "top_5")


def _numbers() -> Iterator[tuple[Key, Number]]:
  linear, *variants = same_work.LINEAR
  for shape, both in _TABLE_9.items():
    table = "BYOL, table 1" if shape == (50, 1.0) else "BYOL, table 9"
    yield from _of(Encoder(BYOL, *shape), linear, both, table)
  yield from _of(Encoder(BYOL_300), linear, (72.5, 90.8), "BYOL, section 5")
  yield from _of(
    Encoder(GN_WS), linear, (73.9,), "BYOL without batch statistics, abstract"
  )
  for shape, values in _TABLE_7.items():
    for variant, value in zip(variants, values, strict=True):
      yield from _of(Encoder(BYOL, *shape), variant, (value,), "BYOL, table 7")
  *few, all_labels = same_work.SEMI_SUPERVISED
  for shape, of_shares in _FEW_LABELS.items():
    for share, both in zip(few, of_shares, strict=True):
      yield from _of(Encoder(BYOL, *shape), share, both, "BYOL, App. C.1")
  yield from _of(Encoder(BYOL), all_labels, _ALL_LABELS, "BYOL, App. C.1")
  for name, (metric, linear_value, finetuned) in _TABLE_3.items():
    for how, value in (("linear", linear_value), ("fine-tuned", finetuned)):
      key = Encoder(BYOL), f"transfer, {how}: {name}", metric
      yield key, Number(value, "BYOL, table 3")


def _of(
  encoder: Encoder, evaluation: str, values: tuple[float, ...], source: str
) -> Iterator[tuple[Key, Number]]:
  """Top-1 and, where the paper has it, top-5."""
  for metric, value in zip(_TOP, values, strict=False):
    yield (encoder, evaluation, metric), Number(value, source)


NUMBERS = dict(_numbers())


def number(line: Line) -> Number | None:
  """The paper's number for a result; None where it is not of the same work."""
  encoder, evaluation = same_work.encoder_of(line), same_work.evaluation_of(line)
  if encoder is None or evaluation is None:
    return None
  return NUMBERS.get((encoder, evaluation, line["metric"]))
