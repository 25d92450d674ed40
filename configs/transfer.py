r"""Logistic regression on a frozen encoder, on other data sets (BYOL, App. D.2).

  python -m byol_jax.main --config=configs/transfer.py:dtd --config.encoder=RUN

After the colon: one of BYOL's twelve sets, several as in `dtd,pets`, or `all`; they,
their splits and metrics are a table: experiments/downstream/transfer_sets.py. Without
it the set is `data.name`, with `data.train`, `data.test`, and what is held out to
choose by: `data.valid` or `data.held_out`.

As in BYOL: features of images without augmentation; multinomial logistic regression by
L-BFGS; the strength is that of 45 which is best on the images held out, by the set's
metric; then all is fitted anew with these, and tested once.

Our choices, on which the paper is silent:

- A strength is that of strength / 2 |W|^2 beside the mean cross-entropy; the bias is
  free. Of equally good strengths the strongest is taken.
- Images are the central square, all of it: BYOL resizes the shorter side, and says
  nothing of a crop; SimCLR, whose protocol this is (2002.05709, B.8.1), takes a square
  of that side. Other evaluations take the crop that the encoder's run was tested on.
- Images of several classes, those of VOC 2007, have a regression for each class, all of
  one strength. What is marked as difficult in them counts like all else.
"""

from ml_collections import ConfigDict

from configs import evaluations


def get_config(preset: str | None = None) -> ConfigDict:
  """The config of one or more sets; of the embedded one if none is given."""
  config = evaluations.on_sets(evaluations.base, "transfer", preset)
  config.crop = 1.0  # share of the shorter side
  config.strengths = tuple(10 ** (power / 4) for power in range(-24, 21))  # 1e-6 to 1e5
  return config
