"""BYOL with a norm of its own in each component (Richemond et al., section 3.1).

  python -m byol_jax.main --config=configs/norm_ablation.py:ENCODER-PROJECTOR-PREDICTOR
  python -m byol_jax.main --config=configs/norm_ablation.py:bn-none-none:cifar10

Each of the three is bn, ln, gn (16 groups), in or none; a preset may follow.
ImageNet linear evaluation of ResNet-50 in the paper, after 300 epochs:
none-none-none 0.1 %, a collapse; bn-none-none 72.1 %. bn-bn-bn, as
`configs/byol.py`, has 72.5 % in BYOL's paper (section 5). The other rows could not be
verified.

Instance norm needs more than one pixel, so it is refused in projector and
predictor, and in the encoder it makes the small presets see 64 pixels a side.
"""

from collections.abc import Sequence

from ml_collections import ConfigDict

from byol_jax.errors import UserError
from configs import byol

# What may come before the preset; any other will do too.
EXAMPLES = ("none-none-none", "bn-none-none", "in-ln-gn")

_NORMS = {
  "bn": "batch",
  "ln": "layer",
  "gn": "group",
  "in": "instance",
  "none": "none",
}


def get_config(norms: str | None = None) -> ConfigDict:
  """The config of `ENCODER-PROJECTOR-PREDICTOR` or `...:PRESET`."""
  kinds, preset = parse(norms, ("encoder", "projector", "predictor"))
  config = byol.get_config(preset)
  set_norms(config, kinds)
  return config


def parse(argument: str | None, components: Sequence[str]) -> tuple[dict, str | None]:
  """`bn-none:cifar10` -> ({"encoder": "batch", "projector": "none"}, "cifar10").

  Raises:
    UserError: it does not name a norm for each component.
  """
  norms, _, preset = (argument or "").partition(":")
  names = norms.split("-")
  if len(names) != len(components) or not set(names) <= _NORMS.keys():
    example = "-".join(["bn"] + ["none"] * (len(components) - 1))
    raise UserError(
      f"{norms!r} does not name the norms of {', '.join(components)}: give one of"
      f" {', '.join(_NORMS)} for each, and after them a preset if you like, as in"
      f" {example}:cifar10"
    )
  kinds = {c: _NORMS[name] for c, name in zip(components, names, strict=True)}
  return kinds, preset or None


def set_norms(config: ConfigDict, kinds: dict[str, str]) -> None:
  """Gives each component its kind of norm."""
  for component, kind in kinds.items():
    config[component].norm = kind
  if kinds["encoder"] == "instance" and config.encoder.stem == "imagenet":
    # Of 32 pixels a side the last stage has one left: nothing, once normalised.
    config.data.size = max(config.data.size, 64)
