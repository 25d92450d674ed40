"""What evaluations of a frozen encoder share: the encoder, and the images by preset."""

from collections.abc import Callable

from ml_collections import ConfigDict, config_dict

from byol_jax.errors import no_such

# Preset -> data set, images to fit to, to choose settings by, and to report on. What is
# held out are the last images of train: of ImageNet as many as in BYOL, App. C.1.
_PRESETS: dict[str, tuple[str, str | None, str | None, int | None]] = {
  "embedded": ("photos", "train", "test", None),
  "cifar10": ("cifar10", "train", "test", None),
  "imagenette": ("imagenette/160px-v2", "train", "validation", None),
  "imagenet": ("imagenet2012", "train", "validation", 10_009),
  "folder": ("folder", None, None, None),
}


def base(experiment: str, preset: str | None) -> ConfigDict:
  """The settings that all of them have.

  Args:
    experiment: a file of experiments/.
    preset: of the images; `embedded` if none is given.

  Raises:
    UserError: there is none of that name.
  """
  if (preset := preset or "embedded") not in _PRESETS:
    raise no_such("preset", preset, _PRESETS)
  name, train, test, held_out = _PRESETS[preset]

  def or_open(value: object, kind: type) -> object:
    return config_dict.placeholder(kind) if value is None else value

  return ConfigDict(
    {
      "experiment": experiment,
      "encoder": config_dict.placeholder(str),  # a run, a file, or a pattern of several
      "which": "newest",  # of a run's checkpoints; or "best", or a step
      "seed": 0,
      "results": config_dict.placeholder(str),  # results.jsonl beside the run's folder
      "data": {
        "name": name,
        "data_dir": config_dict.placeholder(str),
        "train": or_open(train, str),
        "test": or_open(test, str),
        # To choose settings by, before all is fitted to both: a split, or else as many
        # of the last images of train; a tenth if both are open. Epochs are of both.
        "valid": config_dict.placeholder(str),
        "held_out": or_open(held_out, int),
        "max_unreadable": 0.01,  # share of the images
      },
      "precision": "float32",
      "eval": {"batch_size": 256},
    }
  )


def on_sets(
  make: Callable[[str, str | None], ConfigDict], experiment: str, sets: str | None
) -> ConfigDict:
  """The settings of an evaluation on other data sets.

  Args:
    make: `base`, or what takes the same and adds to it.
    experiment: a file of experiments/.
    sets: what stands behind the colon; of the embedded set, or of one's own, none.
  """
  own = sets in (None, "", "embedded", "folder")
  config = make(experiment, sets if own else "folder")
  # Keys of `transfer_sets.SETS`, or "all"; they fill in what is open in `data`.
  config.set = config_dict.placeholder(str)
  # A key of `probes.METRICS`; the set's own, if open.
  config.metric = config_dict.placeholder(str)
  if own:
    config.metric = "top_1"
  else:
    config.set = sets
    config.data.name = config_dict.placeholder(str)
  return config
