"""What the encoder makes of images: a map of a sample, and rows of neighbours."""

import io
import time
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from matplotlib.figure import Figure

from byol_jax import atlas, nearest
from byol_jax.data import crops
from byol_jax.data.sources import Source, Unreadable
from byol_jax.errors import UserError
from byol_jax.pretrained import Encoder, load_encoder
from byol_jax.report.runs import Run

MOST = 2000  # images of the sample
SECONDS = 30.0  # after which no more are looked at
SEED = 0
ROWS, NEAREST = 6, 8
_BATCH = 100


class Picture(NamedTuple):
  """A picture in the page.

  Attributes:
    title: its heading.
    caption: what it shows and how it was made; why there is none where `data` is None.
    alt: what it shows, for who does not see it.
    data: of the PNG or JPEG file.
    kind: "png" or "jpeg".
  """

  title: str
  caption: str
  alt: str = ""
  data: bytes | None = None
  kind: str = "png"


class Sample(NamedTuple):
  """Some images of a split, and what the encoder makes of them.

  Attributes:
    source: the whole split.
    index: [n] positions in it.
    label: [n], -1 for none.
    embedding: float32 [n, D].
    step: that the encoder was trained to.
  """

  source: Source
  index: np.ndarray
  label: np.ndarray
  embedding: np.ndarray
  step: int


def views(run: Run) -> Picture:
  """The sheet of augmented images that the run itself has drawn."""
  title, path = "What it was shown", run.path / "figures" / "views.png"
  if not path.exists():
    return Picture(title, "The run has no figures/views.png.")
  data = path.read_bytes()
  if not data.startswith(b"\x89PNG"):
    return Picture(title, "The run's figures/views.png is damaged.")
  caption = "Images of the first batch, augmented: a column an image, a row a view."
  return Picture(title, caption, f"A sheet of small images. {caption}", data)


def encoder_of(run: Run) -> Encoder:
  """The newest encoder of a run, or that which it evaluates.

  Raises:
    UserError: there is none.
  """
  if run.is_pretraining:
    return load_encoder(run.path)
  return load_encoder(run.setting("pretrained") or "")


def sample(encoder: Encoder, source: Source) -> Sample:
  """Embeds images of a source in a seeded order, until `MOST` or `SECONDS` are over.

  Raises:
    UserError: no image can be read, or they have other channels.
  """
  form = encoder.description.image
  if source.channels != form.channels:
    raise UserError(
      f"the images have {source.channels} channels, and the encoder was trained on"
      f" {form.channels}"
    )
  order = np.random.default_rng(SEED).permutation(len(source))[:MOST]
  embed = jax.jit(encoder.embed)
  end = time.monotonic() + SECONDS
  index: list[int] = []
  label: list[int] = []
  embedding = []
  for start in range(0, len(order), _BATCH):
    crop = np.zeros((_BATCH, form.size, form.size, form.channels), np.uint8)
    read = 0
    for position in order[start : start + _BATCH].tolist():
      try:
        image, known = source[position]
      except Unreadable:
        continue
      crop[read] = crops.central_crop(image, form.size, form.crop)
      read += 1
      index.append(position)
      label.append(known)
    embedding.append(np.asarray(embed(encoder.params, encoder.stats, crop))[:read])
    if time.monotonic() > end:
      break
  if not index:
    raise UserError("no image of the split can be read")
  return Sample(
    source, np.array(index), np.array(label), np.concatenate(embedding), encoder.step
  )


def embedding_map(found: Sample) -> Picture:
  """A map: images that the encoder makes similar lie close together."""
  cells = atlas.layout(atlas.project(found.embedding))
  shown = cells[cells >= 0]
  label = found.label[shown]
  thumbnails = atlas.thumbnails(found.source, found.index[shown], 48)
  figure = atlas.draw_map(cells, thumbnails, label if (label >= 0).all() else None)
  caption = (
    f"{len(shown)} of a seeded sample of {len(found.index)} images, where the first two"
    f" principal components of their embeddings at step {found.step} put them."
  )
  return Picture("A map of the embeddings", caption, caption, _jpeg(figure), "jpeg")


def neighbour_rows(found: Sample) -> Picture:
  """Images, and beside each those that the encoder finds most similar to it."""
  title, count = "Nearest neighbours", len(found.index)
  rows, k = min(ROWS, count), min(NEAREST, count - 1)
  if k < 1:
    return Picture(title, "One image alone has no neighbours.")
  themselves = np.arange(rows)
  near, similar = nearest.neighbours(
    found.embedding, found.embedding[:rows], k, leave_out=themselves
  )
  names = [found.source.name(int(found.index[i])) for i in themselves]
  figure = atlas.draw_neighbours(
    _shown(found, themselves),
    np.stack([_shown(found, row) for row in near]),
    similar,
    names,
  )
  caption = (
    f"{rows} images of the sample, chosen by the seed alone, and beside each the {k} of"
    f" the {count - 1} others whose embeddings are nearest, with their cosines."
  )
  alt = f"{caption} {_agreement(found, near)}".strip()
  caption = f"{caption} {_agreement(found, near)}".strip()
  return Picture(title, caption, alt, _jpeg(figure), "jpeg")


def _shown(found: Sample, which: np.ndarray) -> np.ndarray:
  return atlas.thumbnails(found.source, found.index[which], 64)


def _agreement(found: Sample, near: np.ndarray) -> str:
  """How many of the neighbours have their image's label."""
  own = found.label[: len(near), None]
  if (own < 0).any():
    return ""
  return f"{(found.label[near] == own).sum()} of the {near.size} have its label."


def _jpeg(figure: Figure) -> bytes:
  file = io.BytesIO()
  figure.savefig(file, format="jpeg", dpi=100, pil_kwargs={"quality": 85})
  return file.getvalue()
