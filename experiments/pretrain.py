"""Self-supervised pretraining: BYOL and its relatives."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import chex
import haiku as hk
import jax
import jax.numpy as jnp
import ml_collections
import optax

from byol_jax import description as describe
from byol_jax import diagnostics, objectives, optim, parallel
from byol_jax.data import datasets, views
from byol_jax.errors import UserError
from byol_jax.nets import bn_init, closed_form, model
from byol_jax.run import hosts, loop, mfu
from byol_jax.run.folder import RunDir
from configs import presets
from experiments import (
  choices,
  dial,
  evaluation,
  inputs,
  optimisers,
  origin,
  settings,
  systems,
  takeover,
)
from experiments.augmented import Augmented, Batch
from experiments.extracts import Extractor
from experiments.inputs import Inputs
from experiments.labels import warn_if_shared
from experiments.state import Carried, State

Scalars = dict[str, jax.Array]

_LABELLED = "labelled"  # the share of a batch that has labels


class Pretrain:
  """The pretraining of a system as one config describes it."""

  def __init__(self, config: ml_collections.ConfigDict, run_dir: RunDir | None = None):
    """Opens the data and builds the networks; compiles and writes nothing.

    Args:
      config: of the run; what it leaves open is chosen here.
      run_dir: its folder; if the run is there already, its choices are kept.
    """
    example = presets.get(None)
    example.train.epochs = 1.0
    settings.check(config, example, {"data.train", *choices.CHOICES})
    dataset = datasets.open_dataset(config.data.name, config.data.data_dir)
    saved = inputs.check_folder(run_dir, dataset, config.data.name) if run_dir else None
    self.origin = origin.find(config, run_dir)
    if self.origin and saved is None:
      saved = self.origin.choices()
    self.config = config = dial.fill(config, dataset, saved)
    if self.origin:
      origin.check(self.origin, config, dataset.listing())
    self.inputs = Inputs(config, dataset, list(config.probe.values()))
    if self.inputs.classes:
      probe = config.probe
      warn_if_shared(dataset, probe.test, probe.train)
      watched = probe.valid_test, probe.valid_train
      warn_if_shared(dataset, *watched, "to watch the run by", "its score")
    train = config.train
    microbatches = jax.device_count() * train.accumulate
    if train.batch_size < 2 * microbatches:
      raise UserError(
        f"train.batch_size is {train.batch_size}, one image for each of"
        f" {microbatches} microbatches ({jax.device_count()} devices x train.accumulate"
        f" {train.accumulate}): give {2 * microbatches} or more"
      )
    self.objective = systems.loss_from_config(config)
    self.has_target = config.target.kind == "ema"
    self.tau = systems.tau_from_config(config)
    self.renewed = 0, 0.0  # up to a step, by another run; see `takeover.renewed`
    self.closed_form = systems.closed_form_from_config(config)
    self.networks = self._make_networks(lambda description: description)
    if config.bn_init:
      self.networks_with_bn = self._make_networks(bn_init.with_batch_norm)
    self.views = {
      name: views.reduced(views.from_settings(view), config.augmentations)
      for name, view in config.views.items()
    }
    self.augmented = Augmented(config.seed, self.views)
    self.optimiser, self.learning_rate = optimisers.from_config(config)
    self.extract = Extractor(self.networks, self.inputs, self.augmented)
    self.evaluation = evaluation.Evaluation(
      config,
      labelled=self.inputs.classes is not None,
      baselines={
        "untrained": lambda: self.extract(parallel.replicate(self.init())),
        "pixels": lambda: evaluation.Extract(self.inputs.pixels),
      },
    )
    # What cannot be built is found here, before anything is compiled or written.
    jax.eval_shape(self._init)

  def _make_networks(self, change: Callable[[Any], Any]) -> model.Networks:
    config = self.config
    return model.make_networks(
      change(config.encoder),
      change(config.projector),
      change(config.predictor),
      self.inputs.classes,
      precision=config.train.precision,
      axis=parallel.AXIS,
      remat=config.train.remat,
    )

  def encoder_description(self) -> describe.Description:
    """What someone needs to know who uses the encoder elsewhere."""
    network = self.config.encoder.to_dict()
    precision = self.config.train.precision
    return describe.Description(network, precision, self.inputs.image)

  # What a run starts from, sees and does.

  def init(self) -> State:
    """The state at step 0."""
    state = self._init()
    return self._bn_initialised(state) if self.config.bn_init else state

  def _init(self) -> State:
    """Online and target start from different draws, unless they are to share."""
    images = jnp.zeros((1, *self.inputs.image_shape))
    online_key, target_key = jax.random.split(self.augmented.init_key())
    if self.config.target.same_init:
      target_key = online_key
    online, online_stats = self.networks.init(online_key, images)
    target, target_stats = (
      map(model.target_part, self.networks.init(target_key, images))
      if self.has_target
      else ({}, {})
    )
    moments: closed_form.Moments | tuple[()] = ()
    if self.closed_form:
      outputs = self.config.predictor.outputs
      moments = closed_form.no_moments(outputs)
      online = closed_form.with_predictor(online, jnp.eye(outputs))
    return State(
      jnp.zeros((), jnp.int32),
      online,
      target,
      online_stats,
      target_stats,
      jax.jit(self.optimiser.init)(online),
      moments,
    )

  def _bn_initialised(self, state: State) -> State:
    """Sets affines by the batch statistics of the first batch's first view."""
    run = self.networks_with_bn
    _, stats = jax.eval_shape(
      run.init, jax.random.key(0), jnp.zeros((1, *self.inputs.image_shape))
    )

    def calibrate(state: State, batch: Batch) -> State:
      images = self.extract.first_view(state, batch)
      online = bn_init.calibrate(run.online, stats, state.online, images)
      if not self.has_target:
        return state._replace(online=online)
      target = bn_init.calibrate(
        run.target, model.target_part(stats), state.target, images
      )
      return state._replace(online=online, target=target)

    return parallel.pmap(calibrate)(state, self.extract.first_batch())

  def batches(self, first_step: int) -> Iterator[chex.ArrayTree]:
    """Batches for the steps from `first_step` on, sharded over the devices."""
    return self.inputs.batches(list(self.views.values()), first_step)

  @property
  def precision(self) -> str:
    """In which the networks compute."""
    return self.config.train.precision

  def flops(self) -> float:
    """FLOPs of a step's networks over all devices; see `run.mfu`."""
    state = jax.eval_shape(self._init)
    images = jax.ShapeDtypeStruct((1, *self.inputs.image_shape), jnp.float32)

    def forward(network: Callable, params: hk.Params, stats: hk.State) -> list[float]:
      infer = lambda *args: network(*args, False)[0]  # noqa: E731
      return mfu.products(infer, params, stats, images)

    online = forward(self.networks.online, state.online, state.online_stats)
    image = mfu.training_flops(online)
    if self.has_target:
      image += sum(forward(self.networks.target, state.target, state.target_stats))
    return self.config.train.batch_size * len(self.views) * image

  def step(self, state: State, batch: chex.ArrayTree) -> tuple[State, Scalars]:
    """One update of the online and the target network.

    Args:
      state: the state before it.
      batch: one device's view1, view2 uint8 [microbatches, n, size, size, C], and
        label and position (in the batch of all devices) int32 [microbatches, n]; or
        what `Inputs.cropped` makes this of.

    Returns:
      The state after it, and scalars; both the same on all devices.
    """

    def gradients(
      params: hk.Params, carried: Carried, microbatch: Batch
    ) -> tuple[hk.Params, tuple[Carried, Scalars]]:
      seen = [
        self.inputs.standardise(v)
        for v in self.augmented.of_step(state.step, microbatch)
      ]
      differentiate = jax.grad(self._loss, has_aux=True)
      return differentiate(
        params, state.target, carried, views=seen, labels=microbatch["label"]
      )

    moments = closed_form.decayed(state.moments, self.config.closed_form.rho)
    grads, (carried, scalars) = optim.accumulate(
      gradients,
      state.online,
      Carried(state.online_stats, state.target_stats, moments),
      self.inputs.cropped(batch),
    )
    grads, scalars = jax.lax.pmean((grads, scalars), parallel.AXIS)
    if _LABELLED in scalars:
      grads, scalars = _of_labelled(grads, scalars)
    updates, optimiser = self.optimiser.update(grads, state.optimiser, state.online)
    online = optax.apply_updates(state.online, updates)
    if self.closed_form:
      online = closed_form.with_predictor(online, self.closed_form(carried.moments))
    target = state.target
    if self.has_target:
      scalars["tau"] = tau = self.tau(state.step)
      target = optim.ema_update(target, model.target_part(online), tau)
    scalars |= {
      "learning_rate": self.learning_rate(state.step),
      "gradient_norm": optax.tree.norm(grads),
      "update_norm": optax.tree.norm(updates),
    }
    return State(
      state.step + 1,
      online,
      target,
      carried.online_stats,
      carried.target_stats,
      optimiser,
      carried.moments,
    ), scalars

  def _loss(
    self,
    online: hk.Params,
    target: hk.Params,
    carried: Carried,
    *,
    views: Sequence[jax.Array],
    labels: jax.Array,
  ) -> tuple[jax.Array, tuple[Carried, Scalars]]:
    """(loss, (what is carried on, scalars)) of one microbatch.

    Each view passes through each network by itself, so that batch norm sees one
    view at a time, and the target runs in training mode, with statistics of its
    own (as in BYOL's reference code).
    """
    online_stats, target_stats, moments = carried
    view1, view2 = views
    run = self.networks
    first, online_stats = run.online(online, online_stats, view1, True)
    second, online_stats = run.online(online, online_stats, view2, True)
    projections = targets = first.projection, second.projection
    if self.has_target:
      target1, target_stats = run.target(target, target_stats, view1, True)
      target2, target_stats = run.target(target, target_stats, view2, True)
      targets = target1, target2
    predictions = first.prediction, second.prediction
    outputs = objectives.Outputs(predictions, targets, projections)
    loss, parts = self.objective(outputs)
    if isinstance(moments, closed_form.Moments):
      weight = (1 - self.config.closed_form.rho) / self.config.train.accumulate
      moments = closed_form.added(
        moments, projections, targets, weight=weight, axis=parallel.AXIS
      )
    scalars = {
      "loss": loss,
      **{f"loss_{name}": value for name, value in parts.items()},
      "spread": diagnostics.spread(first.projection),
      "alignment": diagnostics.alignment(first.projection, second.projection),
      "uniformity": diagnostics.uniformity(first.projection),
    }
    if first.logits is not None:
      known = labels >= 0
      losses = optax.softmax_cross_entropy_with_integer_labels(first.logits, labels)
      correct = first.logits.argmax(-1) == labels
      # Means over all images, of which `_of_labelled` makes those over some.
      classifier_loss = jnp.mean(losses * known)
      loss += classifier_loss
      scalars["classifier_loss"] = classifier_loss
      scalars["train_linear_online"] = jnp.mean(correct * known)
      scalars[_LABELLED] = jnp.mean(known)
    carried = Carried(online_stats, target_stats, moments)
    return loss, (carried, jax.lax.stop_gradient(scalars))

  # What comes of it.

  def evaluate(self, state: State) -> dict[str, float]:
    """What the run is watched by; see `Evaluation.watch`."""
    return self.evaluation.watch(int(state.step), self.extract(state))

  def summarise(self, state: State) -> dict[str, Any]:
    """What the run has come to; see `Evaluation.summarise`.

    And "renewals" of a target network, over the whole run; see `optim.renewals`.
    """
    found = self.evaluation.summarise(self.extract(state))
    if self.has_target:
      found["renewals"] = self.renewals()
    return found

  def renewals(self) -> float:
    """How often the target is renewed in all; see `optim.renewals`."""
    made = optim.renewals(self.tau, self.config.train.steps)
    first, before = self.renewed
    return before + float(made[-1] - made[first])

  def show_views(self, folder: Path) -> Path:
    """Draws both views of the first batch's first images; returns the file."""
    return self.augmented.draw(self.extract.first_batch(), folder)


def _of_labelled(grads: hk.Params, scalars: Scalars) -> tuple[hk.Params, Scalars]:
  """What the online classifier has of labelled images alone, of all of a batch.

  How many there are is known once all microbatches and devices have been seen. Where
  there are none it learns nothing, and its scalars are NaN.
  """
  scalars = dict(scalars)
  share = scalars.pop(_LABELLED)
  for name in ("classifier_loss", "train_linear_online"):
    scalars[name] /= share
  classifier = jax.tree.map(
    lambda grad: jnp.where(share > 0, grad / share, 0), grads["classifier"]
  )
  return {**grads, "classifier": classifier}, scalars


def run(config: ml_collections.ConfigDict, run_dir: RunDir) -> dict[str, Any]:
  """Pretrains, or goes on with it; the summary."""
  experiment = Pretrain(config, run_dir)
  taken = takeover.read(experiment)
  config = experiment.config
  with run_dir:
    new = hosts.claim(run_dir, config, experiment.inputs.dataset.listing())
    run_dir.write_encoder(describe.to_json(experiment.encoder_description()))
    run_dir.write_skipped(experiment.inputs.unreadable)
    experiment.inputs.on_unreadable = run_dir.write_skipped
    if taken:
      takeover.begin(experiment, taken, run_dir)
    experiment.renewed = takeover.renewed(run_dir)
    if new:
      experiment.show_views(run_dir.figures)
    return loop.run(experiment, config, run_dir)


def show_views(config: ml_collections.ConfigDict, folder: Path) -> Path:
  """Draws both views of some images; returns the file."""
  return Pretrain(config).show_views(folder)
