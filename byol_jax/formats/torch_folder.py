"""A folder for PyTorch, in the layout that model hubs take.

model.safetensors   weights under torchvision's names, weight standardisation folded in
config.json         the description, as in encoder.json, and what model.py needs
model.py            the network; needs torch alone
README.md           the model card
"""

import shutil
from pathlib import Path
from typing import Any

import safetensors.numpy

import byol_jax
from byol_jax import description as describe
from byol_jax.description import Description
from byol_jax.disk import read_json, write_json
from byol_jax.errors import UserError
from byol_jax.formats import output, saved, torchvision
from byol_jax.nets.resnet import PROJECTED_SHORTCUTS, SHAPES, STEMS
from byol_jax.pretrained import Encoder, shapes

MODEL = Path(__file__).parent / "torch_model" / "model.py"
NORMS = ("batch", "group", "layer", "instance", "affine", "none")  # that it has
WEIGHTS, CONFIG = "model.safetensors", "config.json"

_CARD = """---
library_name: pytorch
pipeline_tag: image-feature-extraction
tags:
- resnet
---

# {title}

An image encoder, exported by byol_jax {version}. It maps an image to {features}
features.

```python
import model  # the file beside this one; it needs torch alone

encoder = model.load()
# uint8 [N, {channels}, H, W] -> float32 [N, {features}]
features = encoder(encoder.preprocess(images))
```

| | |
|---|---|
| network | ResNet-{depth}, width {width:g}, stem "{stem}" |
| norm | {norm} |
| weights | float32, torchvision's names; {folded} |
| padding | "SAME": not that of torchvision's ResNets, so use `model.py` |
| trained for | {updates}, computing in {precision} |
| sees | the central {crop:.1%} of the shorter side, at {size} x {size} pixels |
| mean, std | {mean}, {std} of pixels in [0, 1] |

By what method and on what it was trained, how well it does and under which licence it
may be used is not in the weights: say so here before you publish it.
"""


def write(encoder: Encoder, folder: str | Path) -> None:
  """Writes an encoder to a new folder; torch is not needed for that.

  Raises:
    UserError: something is there, or the network has a norm that model.py lacks.
  """
  if encoder.description.network["norm"] not in NORMS:
    raise UserError(
      f"norm {encoder.description.network['norm']!r} is not in the network for torch,"
      f" which has {', '.join(NORMS)}: choose --to=jax"
    )
  with output.new(folder) as unfinished:
    unfinished.mkdir()
    # Hugging Face's loaders ask for this format.
    weights = safetensors.numpy.save(torchvision.weights(encoder), {"format": "pt"})
    (unfinished / WEIGHTS).write_bytes(weights)
    write_json(unfinished / CONFIG, _config(encoder))
    shutil.copyfile(MODEL, unfinished / MODEL.name)
    (unfinished / "README.md").write_text(_card(encoder))


def is_one(path: Path) -> bool:
  """Whether a path is that of such a folder."""
  return (path / WEIGHTS).is_file()


def read(folder: Path) -> Encoder:
  """Reads an encoder back; where weights were standardised, it comes with plain ones.

  Raises:
    UserError: the folder is damaged, or of a newer version.
  """
  config = read_json(folder / CONFIG, "restore it")
  description = describe.from_json(describe.checked(config, folder / CONFIG))
  arrays = saved.read(folder / WEIGHTS)
  params, stats = torchvision.fit(arrays, shapes(description), folder / WEIGHTS)
  step = config.get("step")
  if type(step) is not int:
    raise UserError(f"{folder / CONFIG} is damaged (step is {step!r}): restore it")
  return Encoder(params, stats, description, step)


def _config(encoder: Encoder) -> dict[str, Any]:
  description = encoder.description
  network = {**description.network, "standardised": False}
  settings = description.settings
  blocks, bottleneck = SHAPES[settings["depth"]]
  described = describe.to_json(Description(network, *description[1:]))
  return described | {
    "architecture": {
      "blocks": blocks,
      "bottleneck": bottleneck,
      "channels": round(64 * settings["width"]),
      "stem": STEMS[settings["stem"]]._asdict(),
      "projected": PROJECTED_SHORTCUTS[settings["projected_shortcuts"]],
      "norm": settings["norm"],
      "groups": settings["groups"],
    },
    "features": encoder.features,
    "step": encoder.step,
    "byol_jax": byol_jax.__version__,
  }


def _card(encoder: Encoder) -> str:
  network, image = encoder.description.settings, encoder.description.image
  norm = network["norm"]
  return _CARD.format(
    title=f"ResNet-{network['depth']}",
    version=byol_jax.__version__,
    features=encoder.features,
    channels=image.channels,
    depth=network["depth"],
    width=network["width"],
    stem=network["stem"],
    norm=f"{norm}, {network['groups']} groups" if norm == "group" else norm,
    folded="weight standardisation is folded in"
    if network["standardised"]
    else "as they were trained",
    # Those of others do not say.
    updates=f"{encoder.step} updates" if encoder.step else "updates of unknown number",
    precision=encoder.description.precision,
    crop=image.crop,
    size=image.size,
    mean=_numbers(image.mean),
    std=_numbers(image.std),
  )


def _numbers(values: tuple[float, ...]) -> str:
  return " ".join(f"{value:g}" for value in values)
