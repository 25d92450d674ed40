"""Features of your own images, and what they show.

  python -m byol_jax.embed --encoder=runs/mine --images=PHOTOS --out=features.npz
  python -m byol_jax.embed --features=features.npz --map
  python -m byol_jax.embed --features=features.npz --neighbours=cat.jpg
  python -m byol_jax.embed --features=features.npz --duplicates

The first command is resumable: the same one goes on where it was killed. What is drawn
lies beside the features, as features.map-pca.png for example, and can be asked for with
--out too.
"""

from byol_jax import interrupts

if __name__ == "__main__":
  interrupts.importing()

import sys
from typing import Any

from absl import flags

from byol_jax import commands

# What a flag without a value stands for.
_BARE = {"--map": "--map=pca", "--duplicates": "--duplicates=0.998"}


def _define_flags() -> None:
  commands.define_flags()
  flags.DEFINE_string("encoder", None, "Folder of a run, or file of an encoder.")
  flags.DEFINE_string(
    "which", None, "Checkpoint of the run: newest, best or a step. Default: newest."
  )
  flags.DEFINE_string("images", None, "Folder of images, or name of a data set.")
  flags.DEFINE_string("data_dir", None, "Where a data set that is named lies.")
  flags.DEFINE_string("split", None, "Such as train[:10%]. Default: all splits.")
  flags.DEFINE_string("out", None, "File to be written, .npz or .parquet.")
  flags.DEFINE_string("features", None, "File that --out has written, to draw from.")
  flags.DEFINE_integer("batch_size", 256, "Images at a time, over all devices.")
  flags.DEFINE_string("neighbours", None, "Image or folder: draw what is nearest.")
  flags.DEFINE_integer("k", 10, "Neighbours of each image.")
  flags.DEFINE_float("duplicates", None, "List pairs at least so similar.")
  flags.DEFINE_string("map", None, "Draw a map: pca, tsne or umap.")
  flags.DEFINE_bool("distributed", False, "Join the other hosts of a cluster first.")


def _main() -> None:
  interrupts.importing()
  commands.set_up(flags.FLAGS.quiet)
  from byol_jax import cluster
  from byol_jax.embed import job

  interrupts.imported()

  if flags.FLAGS.distributed:
    cluster.join()
  values: Any = {name: flags.FLAGS[name].value for name in job.Options._fields}
  job.run(job.Options(**values))


if __name__ == "__main__":
  _define_flags()
  commands.run(_main, [_BARE.get(argument, argument) for argument in sys.argv])
