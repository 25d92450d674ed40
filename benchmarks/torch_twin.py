"""The step of `experiments/pretrain.py` as one would write it in PyTorch.

Networks, objectives, optimiser and target are the same; images are channels_last,
and optimiser and target walk over their parameters with `torch._foreach_*`.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks import turns

EPSILON = 1e-5


def _standardised(w: Tensor) -> Tensor:
  std, mean = torch.std_mean(w, tuple(range(1, w.ndim)), correction=0, keepdim=True)
  return (w - mean) / (std + EPSILON)


class _StandardisedConv(nn.Conv2d):
  def forward(self, x: Tensor) -> Tensor:
    return self._conv_forward(x, _standardised(self.weight), None)


class _StandardisedLinear(nn.Linear):
  def forward(self, x: Tensor) -> Tensor:
    return F.linear(x, _standardised(self.weight), self.bias)


def _conv(
  norm: str, inputs: int, outputs: int, kernel: int, *, stride: int = 1
) -> nn.Module:
  kind = _StandardisedConv if norm == "gn_ws" else nn.Conv2d
  return kind(inputs, outputs, kernel, stride, kernel // 2, bias=False)


def _linear(norm: str, inputs: int, outputs: int, bias: bool) -> nn.Module:
  kind = _StandardisedLinear if norm == "gn_ws" else nn.Linear
  return kind(inputs, outputs, bias)


def _norm(norm: str, channels: int, dimensions: int = 2) -> nn.Module:
  if norm == "bn":
    kind = nn.BatchNorm2d if dimensions == 2 else nn.BatchNorm1d
    return kind(channels, eps=EPSILON)
  return nn.GroupNorm(16, channels) if norm == "gn_ws" else nn.Identity()


class _Block(nn.Module):
  def __init__(
    self, norm: str, inputs: int, channels: int, *, stride: int, bottleneck: bool
  ):
    super().__init__()
    if bottleneck:
      inner = channels // 4
      shapes = [
        (inputs, inner, 1, 1),
        (inner, inner, 3, stride),
        (inner, channels, 1, 1),
      ]
    else:
      shapes = [(inputs, channels, 3, stride), (channels, channels, 3, 1)]
    layers: list[nn.Module] = []
    for before, after, kernel, step in shapes:
      conv = _conv(norm, before, after, kernel, stride=step)
      layers += [conv, _norm(norm, after), nn.ReLU(inplace=True)]
    self.body = nn.Sequential(*layers[:-1])
    self.shortcut: nn.Module = nn.Identity()
    if stride > 1 or inputs != channels:
      self.shortcut = nn.Sequential(
        _conv(norm, inputs, channels, 1, stride=stride), _norm(norm, channels)
      )

  def forward(self, x: Tensor) -> Tensor:
    return F.relu(self.body(x) + self.shortcut(x), inplace=True)


class _ResNet(nn.Module):
  def __init__(self, depth: int, norm: str, stem: str):
    super().__init__()
    blocks = {10: (1, 1, 1, 1), 18: (2, 2, 2, 2), 50: (3, 4, 6, 3)}[depth]
    bottleneck = depth == 50
    kernel, stride = (7, 2) if stem == "imagenet" else (3, 1)
    first = _conv(norm, 3, 64, kernel, stride=stride)
    layers = [first, _norm(norm, 64), nn.ReLU(True)]
    if stem == "imagenet":
      layers.append(nn.MaxPool2d(3, 2, 1))
    inputs = 64
    for stage, count in enumerate(blocks):
      for number in range(count):
        channels = 64 * 2**stage * (4 if bottleneck else 1)
        stride = 2 if stage and not number else 1
        block = _Block(norm, inputs, channels, stride=stride, bottleneck=bottleneck)
        layers.append(block)
        inputs = channels
    self.body = nn.Sequential(*layers)
    self.features = inputs

  def forward(self, x: Tensor) -> Tensor:
    return self.body(x).mean((2, 3))


def _head(norm: str, inputs: int, hidden: int, outputs: int) -> nn.Module:
  return nn.Sequential(
    _linear(norm, inputs, hidden, True),
    _norm(norm, hidden, 1),
    nn.ReLU(inplace=True),
    _linear(norm, hidden, outputs, False),
  )


def _distance(a: Tensor, b: Tensor) -> Tensor:
  return 2 - 2 * F.cosine_similarity(a, b, dim=1)


def _byol(q1: Tensor, q2: Tensor, z1: Tensor, z2: Tensor) -> Tensor:
  return (_distance(q1, z2) + _distance(q2, z1)).mean()


def _raft(q1: Tensor, q2: Tensor, z1: Tensor, z2: Tensor) -> Tensor:
  cross = (_distance(q1, z1) + _distance(q2, z2)) / 2
  return (_distance(q1, q2) - cross).mean()


def _simclr(q1: Tensor, q2: Tensor) -> Tensor:
  z = F.normalize(torch.cat([q1, q2]), dim=1)
  logits = (z @ z.T / 0.1).fill_diagonal_(-torch.inf)
  count = len(q1)
  labels = (torch.arange(2 * count, device=z.device) + count) % (2 * count)
  return F.cross_entropy(logits, labels)


OBJECTIVES: dict[str, Callable] = {"byol": _byol, "raft": _raft, "simclr": _simclr}


class _Lars:
  """Of `byol_jax.optim.lars`."""

  rate, decay, momentum, trust = 0.2, 1.5e-6, 0.9, 1e-3

  def __init__(self, parameters: Sequence[Any]):
    self.weights = [p for p in parameters if p.ndim > 1]
    self.others = [p for p in parameters if p.ndim == 1]
    self.traces = [torch.zeros_like(p) for p in self.weights + self.others]

  @torch.no_grad()
  def step(self) -> None:
    gradients = [p.grad for p in self.weights]
    updates = [*torch._foreach_add(gradients, self.weights, alpha=self.decay)]
    norms = zip(
      torch._foreach_norm(self.weights), torch._foreach_norm(updates), strict=True
    )
    ratios = [
      torch.where((p > 0) & (u > 0), self.trust * p / u, torch.ones_like(p))
      for p, u in norms
    ]
    torch._foreach_mul_(updates, ratios)
    updates = [*updates, *(p.grad for p in self.others)]
    torch._foreach_mul_(self.traces, self.momentum)
    torch._foreach_add_(self.traces, updates)
    torch._foreach_add_(self.weights + self.others, self.traces, alpha=-self.rate)


def prepare(
  *,
  depth: int,
  stem: str,
  size: int,
  batch: int,
  norm: str,
  objective: str,
  precision: str,
  compiled: bool,
  device: str = "cpu",
  steps: int = 1,
) -> turns.Prepared:
  """Steps on random images, ready to be timed; see `turns.Contestant`.

  PyTorch compiles, from nothing, while it makes its first step, and both are timed. On
  GPUs float32 is TF32, as in JAX, and cuDNN looks for the fastest convolutions: in that
  step, as XLA does while it compiles.
  """
  torch.manual_seed(0)
  if device == "cuda":
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.benchmark = True
  has_target = objective != "simclr"

  # Any, as the types of `nn.Module.to` lack memory_format.
  def encoder_and_projector() -> Any:
    encoder = _ResNet(depth, norm, stem)
    return nn.Sequential(encoder, _head(norm, encoder.features, 4096, 256))

  layout = torch.channels_last
  online = encoder_and_projector().to(device, memory_format=layout)
  predictor = _head(norm, 256, 4096, 256) if has_target else nn.Identity()
  predictor = predictor.to(device)
  target = encoder_and_projector().to(device, memory_format=layout)
  target.requires_grad_(False)
  optimiser = _Lars([*online.parameters(), *predictor.parameters()])
  images = torch.randn(2, batch, 3, size, size)
  views = [view.to(device, memory_format=layout) for view in images]
  run: dict[str, Callable] = {"online": online, "target": target}

  def loss() -> Tensor:
    with torch.autocast(device, torch.bfloat16, enabled=precision == "bfloat16"):
      outputs = [predictor(run["online"](view)) for view in views]
      if has_target:
        with torch.no_grad():
          outputs += [run["target"](view) for view in views]
    return OBJECTIVES[objective](*(output.float() for output in outputs))

  def step() -> None:
    loss().backward()
    optimiser.step()
    for parameter in optimiser.weights + optimiser.others:
      parameter.grad = None
    if has_target:
      torch._foreach_lerp_(
        list(target.parameters()), [p.detach() for p in online.parameters()], 4e-3
      )

  def make_steps(number: int = steps) -> None:
    for _ in range(number):
      step()
    if device == "cuda":
      torch.cuda.synchronize()

  taken = 0.0
  if compiled:
    from torch._inductor import utils as inductor  # sets variables of the environment

    with inductor.fresh_inductor_cache():
      start = time.perf_counter()
      run.update({name: torch.compile(module) for name, module in run.items()})
      make_steps(1)
      taken = time.perf_counter() - start
  count = sum(p.numel() for p in [*online.parameters(), *predictor.parameters()])
  return {"compile": taken, "parameters": count}, make_steps


def device_mib() -> float:
  """Most memory that PyTorch has held on the GPU, in MiB."""
  return torch.cuda.max_memory_allocated() / 2**20
