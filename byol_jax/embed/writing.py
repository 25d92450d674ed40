"""Features of every image of a data set, streamed to a file."""

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

from byol_jax import features, parallel, progress
from byol_jax.data.sources import Dataset, OutOfReach, Source, Unreadable, reason
from byol_jax.embed import files, images
from byol_jax.embed.blocks import Blocks, forget
from byol_jax.errors import UserError
from byol_jax.pretrained import Encoder
from byol_jax.run import hosts, provenance

_LOOKS = 8  # images whose pixels tell one set from another


def write_features(
  encoder: Encoder,
  dataset: Dataset,
  out: str | os.PathLike[str],
  *,
  split: str | None = None,
  batch_size: int = 256,
  notes: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
  """Writes an encoder's features of every image of a data set to one file.

  They are written block by block to the folder OUT.partial as they come, and joined at
  the end. The same call goes on after the last block, if it was killed; where the file
  is there as this call makes it, nothing is left to do. On several hosts, call it on
  each; the first one writes.

  Args:
    encoder: the encoder.
    dataset: the images; those that cannot be read are left out.
    out: the file, .npz or .parquet; see `files`.
    split: of the data set, such as "train[:10%]"; None for all of it.
    batch_size: images at a time, over all devices; rounded up so that these have equal
      shares.
    notes: what else is to be said in the file of where things are from.

  Returns:
    The file's provenance: what `run.provenance.start` says but the time (command, code,
    versions, machine), "encoder" (its step, checksum, network, precision and image),
    "images" (set, split, their number), "left_out" (name -> reason), "settings" (what
    tells it from another file), and the notes.

  Raises:
    UserError: another file is there already, or it cannot be written; the images do not
      fit the encoder, or none can be read; OUT.partial is of something else; the
      features are not finite.
  """
  start = provenance.start()
  del start["started"]  # so that a command makes the same file whenever it is killed
  path = Path(parallel.value_from_first_host(lambda: str(files.check_place(out))))
  split = split or "+".join(dataset.sizes)
  channels = encoder.description.image.channels
  source = images.coloured(dataset.split(split), channels)
  class_names = tuple(getattr(dataset, "class_names", ()))
  batch_size = parallel.device_multiple(min(batch_size, len(source)))
  features.check(encoder, source, batch_size)
  about_encoder = _described(encoder)
  settings = {
    "encoder": json.dumps(about_encoder),
    "set of images": _fingerprint(dataset, split, source, class_names),
    "batch size": str(batch_size),
  }
  hosts.check(settings)
  if made := parallel.value_from_first_host(lambda: _made(path, settings)):
    return made

  def finish() -> dict[str, Any]:
    about = {
      **start,
      "encoder": about_encoder,
      "images": {"set": dataset.name, "split": split, "count": blocks[0].count()},
      "left_out": dict(dataset.unreadable) | _left_out(source, blocks[0]),
      "settings": settings,
      **(notes or {}),
    }
    blocks[0].join(class_names, about)
    return about

  blocks: list[Blocks] = []  # one on the first host, none on the others
  done = parallel.value_from_first_host(lambda: _begin(blocks, path, settings))
  with contextlib.ExitStack() as stack:
    for opened in blocks:
      stack.enter_context(opened)
    _embed(encoder, source, batch_size, done, blocks)
    return parallel.value_from_first_host(finish)


def _made(path: Path, settings: Mapping[str, str]) -> dict[str, Any] | None:
  """The provenance of the file, if it is there and has these settings.

  Raises:
    UserError: something else is there.
  """
  about = files.read_provenance(path)
  if about.get("settings") != settings:
    files.check_new(path)
    return None
  logging.info("%s is complete: it is left as it is", path)
  forget(path, settings)
  return about


def _begin(blocks: list[Blocks], path: Path, settings: Mapping[str, str]) -> int:
  """Opens the blocks, and says how many images are done."""
  blocks.append(Blocks(path, settings))
  return blocks[0].done


def _embed(
  encoder: Encoder, source: Source, batch_size: int, done: int, blocks: list[Blocks]
) -> None:
  """Adds the features of all images from `done` on to the blocks."""
  count = len(source)
  first = -(-done // batch_size)
  with progress.shown("features", count, done=done) as bar:
    for number, batch in enumerate(
      features.stream(encoder, source, batch_size, first), first
    ):
      places = range(number * batch_size, min((number + 1) * batch_size, count))
      columns = _columns(source, places, batch)
      for place in columns["left_out"].tolist():
        _check_within_reach(source, place)
      for opened in blocks:
        opened.add(places.stop, columns)
      bar.add(len(places))
  for opened in blocks:
    opened.flush(count)


def _columns(
  source: Source, places: range, batch: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
  """What a block has of some images."""
  embedding, index = batch["embedding"], batch["index"]
  names = [source.name(i) for i in index.tolist()]
  with np.errstate(over="ignore", invalid="ignore"):  # also what has no length
    finite = np.isfinite(np.square(embedding).sum(axis=1))
  if not finite.all():
    raise UserError(
      f"the features of {names[np.argmin(finite)]} are NaN or infinite: the network has"
      " diverged; take an earlier checkpoint of its run"
    )
  return {
    "embedding": embedding,
    "path": np.array(names, np.str_),
    "label": batch["label"],
    "left_out": np.setdiff1d(places, index),
  }


def _check_within_reach(source: Source, place: int) -> None:
  """Raises UserError if an image that was left out is not damaged, so far as is known.

  Else a share that goes away for a minute would be missing from the file for ever.
  """
  why = "it can be read now, and could not be a moment ago"
  try:
    source[place]
  except OutOfReach as error:
    why = str(error)
  except Unreadable:
    return
  raise UserError(
    f"cannot read {source.name(place)}: {why}; once it can be, the same command goes on"
  )


def _left_out(source: Source, blocks: Blocks) -> dict[str, str]:
  """Name -> reason, of the images that could not be read."""
  found = {source.name(i): reason(source, i) for i in blocks.left_out()}
  if len(found) == len(source):
    blocks.remove()
    name, why = next(iter(found.items()))
    raise UserError(f"none of {len(found)} images can be read; {name}: {why}")
  return found


def _described(encoder: Encoder) -> dict[str, Any]:
  """All that features depend on, and the step, in the form of JSON."""
  description = encoder.description
  return {
    "step": encoder.step,
    "checksum": f"sha256:{encoder.checksum}",
    "network": dict(description.network),
    "precision": description.precision,
    "image": description.image._asdict(),
  }


def _fingerprint(
  dataset: Dataset, split: str, source: Source, class_names: Sequence[str]
) -> str:
  """Tells a set of images from another: names, sizes, and the pixels of a few."""
  total = hashlib.sha256()
  for text in (dataset.name, split, *class_names, *dataset.listing()):
    total.update(os.fsencode(text) + b"\0")
  for index in np.linspace(0, len(source) - 1, _LOOKS).astype(int).tolist():
    with contextlib.suppress(Unreadable):
      image, label = source[index]
      total.update(f"{index} {label} {image.shape}".encode() + image.tobytes())
  return total.hexdigest()
