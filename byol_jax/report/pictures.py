"""What the encoder makes of images: a map of a sample, and rows of neighbours."""

import io
import time
from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np
from matplotlib.figure import Figure

from byol_jax import atlas, nearest
from byol_jax.data import batches
from byol_jax.data.parts import Part
from byol_jax.data.sources import Dataset
from byol_jax.errors import UserError
from byol_jax.pretrained import Encoder, load_encoder
from byol_jax.report.runs import Run

MOST = 2000  # images of the sample
SECONDS = 30.0  # after which no more are looked at
SEED = 0
MAP, NEIGHBOURS = "A map of the embeddings", "Nearest neighbours"
UNTRAINED = "Nearest neighbours before training"

_BATCH = 100
_SIZE, _CELLS = 48, 20  # pixels of a thumbnail, thumbnails in a row of the map
_ROWS, _NEAREST = 6, 9


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
    split: of the data set.
    names: [n] of the images.
    labels: int [n], -1 for none.
    class_names: by label; () where they have none.
    thumbnails: uint8 [n, size, size, C] of what the encoder sees.
    embedding: float32 [n, D].
    untrained: the same of a network of the same form, as training finds it.
    step: that the encoder was trained to.
  """

  split: str
  names: list[str]
  labels: np.ndarray
  class_names: Sequence[str]
  thumbnails: np.ndarray
  embedding: np.ndarray
  untrained: np.ndarray
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
    UserError: there is none, or by now another one in its place.
  """
  if run.is_pretraining:
    return load_encoder(run.path)
  which = run.evaluated.get("step", run.setting("which") or "newest")
  encoder = load_encoder(run.located("encoder") or "", which)
  if run.setting("encoder_checksum") not in (None, encoder.checksum):
    raise UserError(f"{run.setting('encoder')} is another encoder than was evaluated")
  return encoder


def sample(encoder: Encoder, dataset: Dataset, split: str) -> Sample:
  """Embeds images of a split in a seeded order, until `MOST` or `SECONDS` are over.

  Raises:
    UserError: there is no such split, none of its images can be read, or they have
      other channels than the encoder sees.
  """
  form, source = encoder.description.image, dataset.split(split)
  if source.channels != form.channels:
    raise UserError(
      f"the images have {source.channels} channels, and the encoder was trained on"
      f" {form.channels}"
    )
  order = np.random.default_rng(SEED).permutation(len(source))[:MOST]
  chosen = Part(source, order)
  embed = jax.jit(encoder.embed)
  networks = [(encoder.params, encoder.stats)]
  end = time.monotonic() + SECONDS
  names: list[str] = []
  labels, thumbnails, embeddings = [], [], []
  for batch in batches.eval_batches(
    chosen, size=form.size, crop=form.crop, batch_size=_BATCH
  ):
    real = batch["mask"]
    if not names:
      networks.append(encoder.untrained(batch["image"][real]))
    features = [embed(*network, batch["image"]) for network in networks]
    embeddings.append([np.asarray(each, np.float32)[real] for each in features])
    labels.append(batch["label"][real])
    names += [chosen.name(index) for index in batch["index"][real].tolist()]
    thumbnails += [atlas.thumbnail(image, _SIZE) for image in batch["image"][real]]
    if time.monotonic() > end:
      break
  if not names:
    raise UserError(f"no image of the split {split} can be read")
  embedding, untrained = map(np.concatenate, zip(*embeddings, strict=True))
  if not np.isfinite(embedding).all():
    raise UserError("the encoder's embeddings are not finite")
  return Sample(
    split,
    names,
    np.concatenate(labels),
    getattr(source, "class_names", ()),
    np.stack(thumbnails),
    embedding,
    untrained,
    encoder.step,
  )


def embedding_map(found: Sample) -> Picture:
  """A map: images that the encoder makes similar lie close together."""
  cells = atlas.layout(atlas.project(found.embedding), _CELLS)
  shown = cells[cells >= 0]
  labels = found.labels[shown]
  few = len(np.unique(labels)) <= atlas.MOST_CLASSES
  bordered = few and bool((labels >= 0).any())
  figure = atlas.draw_map(
    cells, found.thumbnails[shown], labels if bordered else None, found.class_names
  )
  caption = (
    f"{len(shown)} of a seeded sample of {len(found.names)} images of {found.split},"
    " each where the first two principal components of its embedding at step"
    f" {found.step} put it. Where images lie on each other, one is shown."
    f"{' A border says the class.' if bordered else ''}"
  )
  alt = f"A map of small images. {caption}"
  return Picture(MAP, caption, alt, _jpeg(figure), "jpeg")


def neighbour_rows(found: Sample) -> Picture:
  """Images, and beside each those that the encoder finds most similar to it."""
  return _rows(found, found.embedding, NEIGHBOURS, "embeddings")


def untrained_rows(found: Sample) -> Picture:
  """The same of the network before training: what is alike in both is not learned."""
  whose = "embeddings by a network of the same form that nothing has trained"
  return _rows(found, found.untrained, UNTRAINED, whose)


def _rows(found: Sample, embedding: np.ndarray, title: str, whose: str) -> Picture:
  count = len(found.names)
  rows, k = min(_ROWS, count), min(_NEAREST, count - 1)
  if k < 1:
    return Picture(title, "One image alone has no neighbours.")
  near, similarities = nearest.neighbours(
    embedding, embedding[:rows], k, leave_out=np.arange(rows)
  )
  images = found.thumbnails
  figure = atlas.draw_neighbours(
    images[:rows], images[near], similarities, found.names[:rows]
  )
  caption = (
    f"{rows} images of {found.split} that chance chose, and beside each the {k} of"
    f" {count - 1} others whose {whose} are nearest to its own, with their cosines."
    f"{_agreement(found.labels, near)}"
  )
  alt = f"Rows of small images. {caption}"
  return Picture(title, caption, alt, _jpeg(figure), "jpeg")


def _agreement(labels: np.ndarray, near: np.ndarray) -> str:
  """How many of the neighbours have their image's label."""
  own = labels[: len(near), None]
  if (own < 0).any():
    return ""
  return f" {(labels[near] == own).sum()} of these {near.size} have its class."


def _jpeg(figure: Figure) -> bytes:
  file = io.BytesIO()
  figure.savefig(file, format="jpeg", dpi=100, pil_kwargs={"quality": 85})
  return file.getvalue()
