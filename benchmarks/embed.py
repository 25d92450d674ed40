"""Times features on their way to a file beside the forward pass alone.

  python -m benchmarks.embed --encoder=RUN --images=cifar10 --data_dir=DIR
  python -m benchmarks.embed --encoder=RUN --images=PHOTOS

Every contestant sees the same number of images in a round. `forward`: batches that are
on the device, features that stay there. `.npz` and `.parquet`: `write_features`, from
the data set that is open to the file that is complete, compilation (from the cache)
included.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

from absl import flags

from benchmarks import tables, turns
from byol_jax import commands
from byol_jax.errors import UserError


def prepare_forward(settings: dict[str, Any]) -> turns.Prepared:
  """The forward pass over as many batches as the images are."""
  encoder, dataset, split = _opened(settings)
  import jax
  import jax.numpy as jnp

  form, batch_size = encoder.description.image, settings["batch_size"]
  crop = jnp.zeros((batch_size, form.size, form.size, form.channels), jnp.uint8)
  embed = jax.jit(encoder.embed)
  count = dataset.check(split)

  def run() -> None:
    for _ in range(-(-count // batch_size)):
      embed(encoder.params, encoder.stats, crop).block_until_ready()

  return {"images": count}, run


def prepare_file(settings: dict[str, Any], ending: str) -> turns.Prepared:
  """The whole way to a file."""
  encoder, dataset, split = _opened(settings)
  from byol_jax import write_features

  def run() -> None:
    with tempfile.TemporaryDirectory(dir=settings["scratch"]) as folder:
      out = Path(folder) / f"features{ending}"
      write_features(
        encoder, dataset, out, split=split, batch_size=settings["batch_size"]
      )

  return {"images": dataset.check(split)}, run


def _opened(settings: dict[str, Any]) -> tuple[Any, Any, str]:
  commands.set_up()
  from byol_jax import load_encoder
  from byol_jax.embed import images

  encoder = load_encoder(settings["encoder"])
  found = images.find(settings["images"], settings["data_dir"])
  dataset = images.open_found(*found)
  return encoder, dataset, settings["split"] or "+".join(dataset.sizes)


def main(settings: dict[str, Any], rounds: int) -> None:
  """Prints a Markdown table, a line a contestant.

  Raises:
    UserError: there is no such encoder, images, split or folder for files.
  """
  scratch = settings["scratch"]
  if scratch and not Path(scratch).is_dir():
    raise UserError(f"--scratch={scratch}: name a folder that is there")
  contestants = {"forward": turns.Contestant(prepare_forward, {"settings": settings})}
  for ending in (".npz", ".parquet"):
    given = {"settings": settings, "ending": ending}
    contestants[ending] = turns.Contestant(prepare_file, given)
  timings = turns.take_turns(contestants, rounds, warm_up=1)
  tables.head(("", "images", "seconds", "images/s", "of the forward pass", "peak, MiB"))
  for name, timing in timings.items():
    images = timing.facts["images"]
    share = timings["forward"].ratio(timing)
    tables.row(
      (
        name,
        images,
        tables.with_spread(f"{timing.median:.1f}", timing.spread),
        f"{images / timing.median:.0f}",
        f"{100 * share:.0f}%",
        f"{timing.peak_mib:.0f}",
      )
    )


if __name__ == "__main__":
  ENCODER = flags.DEFINE_string("encoder", None, "Folder of a run.", required=True)
  IMAGES = flags.DEFINE_string("images", None, "Folder, or data set.", required=True)
  DATA_DIR = flags.DEFINE_string("data_dir", None, "Where the data set lies.")
  SPLIT = flags.DEFINE_string("split", None, "Of the data set. Default: all of it.")
  BATCH_SIZE = flags.DEFINE_integer(
    "batch_size", 256, "Images at a time.", lower_bound=1
  )
  SCRATCH = flags.DEFINE_string("scratch", None, "Folder for files. Default: /tmp.")
  ROUNDS = flags.DEFINE_integer("rounds", 5, "Rounds that are timed.", lower_bound=2)

  def _main() -> None:
    held = (ENCODER, IMAGES, DATA_DIR, SPLIT, BATCH_SIZE, SCRATCH)
    main({flag.name: flag.value for flag in held}, ROUNDS.value)

  commands.run(_main, sys.argv)
