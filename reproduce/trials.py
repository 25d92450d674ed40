"""The trials that chose the setting, all of them, those that failed too.

Each is one run with seed 0, which has no part in the report. What chooses is accuracy
on training images whose labels the probes have not seen; the test split has no part.

  python -m reproduce --trials --data_dir=DIR --jobs=2
"""

from reproduce import arms
from reproduce.arms import BN, GN_WS_AT_ONCE, WAITS, Arm, Changes

_PROBE: Changes = {
  "probe.train": "train[:20000]",
  "probe.test": "train[45000:]",
  "eval.baselines": ("untrained",),
  "eval.every_steps": 1000,
}
_STEPS: Changes = {"train.steps": 3000}


def _trial(arm: Arm, *changes: Changes) -> Arm:
  return arm.changed(_PROBE, _STEPS, *changes)._replace(
    preset="cifar10-cpu", seeds=(0,)
  )


def _tau(tau: float) -> Changes:
  return {"target.tau": tau}


def _rate(rate: float) -> Changes:
  return {"optimiser.learning_rate": rate}


_98 = _tau(0.98)


def _predictor(multiplier: float) -> Changes:
  return {"optimiser.predictor_multiplier": multiplier}


_30 = _predictor(30.0)
_NONE = Arm("norm_ablation:none-none-none")
_BN_WS = BN.changed(arms.WS)

TRIALS = {
  "trial-bn-tau-98": _trial(BN, _98),
  "trial-bn-tau-1": _trial(BN, _tau(1.0)),
  "trial-gn-ws-tau-98": _trial(GN_WS_AT_ONCE, _98),
  "trial-gn-ws-tau-1": _trial(GN_WS_AT_ONCE, _tau(1.0)),
  # A slower start.
  "trial-gn-ws-rate-05": _trial(GN_WS_AT_ONCE, _98, _rate(0.5)),
  "trial-gn-ws-warmup-50": _trial(GN_WS_AT_ONCE, _98, {"optimiser.warmup": 0.5}),
  # A faster predictor; and a target that begins to move when the fall is over.
  "trial-gn-ws-predictor-30": _trial(GN_WS_AT_ONCE, _98, _30),
  "trial-gn-ws-predictor-100": _trial(GN_WS_AT_ONCE, _98, _predictor(100.0)),
  "trial-gn-ws-tau-1-predictor-30": _trial(GN_WS_AT_ONCE, _tau(1.0), _30),
  "trial-gn-ws-frozen-predictor-30": _trial(GN_WS_AT_ONCE, _98, _30, WAITS),
  "trial-bn-predictor-30": _trial(BN, _98, _30),
  # A predictor at its optimum.
  "trial-gn-ws-direct-pred": _trial(GN_WS_AT_ONCE, _98, arms.DIRECT_PRED),
  "trial-gn-ws-direct-pred-frozen": _trial(GN_WS_AT_ONCE, _98, arms.DIRECT_PRED, WAITS),
  "trial-gn-ws-iso": _trial(GN_WS_AT_ONCE, _98, arms.DIRECT_PRED, arms.ISO),
  # Each norm at half and twice the rate, with the predictor of thirty times that.
  "trial-gn-ws-frozen-rate-075": _trial(GN_WS_AT_ONCE, _98, _30, WAITS, _rate(0.75)),
  "trial-gn-ws-frozen-rate-3": _trial(GN_WS_AT_ONCE, _98, _30, WAITS, _rate(3.0)),
  "trial-bn-rate-075": _trial(BN, _98, _30, _rate(0.75)),
  "trial-bn-rate-3": _trial(BN, _98, _30, _rate(3.0)),
  "trial-none": _trial(_NONE, _98, _30),
  "trial-none-frozen": _trial(_NONE, _98, _30, WAITS),
  "trial-none-rate-075": _trial(_NONE, _98, _30, _rate(0.75)),
  "trial-none-rate-0375": _trial(_NONE, _98, _30, _rate(0.375)),
  "trial-none-frozen-rate-075": _trial(_NONE, _98, _30, WAITS, _rate(0.75)),
  "trial-bn-ws": _trial(_BN_WS, _98, _30),
  "trial-bn-ws-rate-075": _trial(_BN_WS, _98, _30, _rate(0.75)),
  # At a batch of 512 GN + WS ends in one point, and batch norm does not. Is that the
  # rate, which follows the batch? As high as at 128 images, and twice as high.
  **{
    f"trial-gn-ws-batch-512-rate-{digits}": _trial(
      GN_WS_AT_ONCE, _30, WAITS, arms.of_batch(512), _rate(rate)
    )
    for digits, rate in (("0375", 0.375), ("075", 0.75))
  },
  # Neither. They fall when the wait is over. Is it the batch, or what a quarter of the
  # steps leaves of the rest: of the warm-up, of the wait, of the target's pace, and of
  # the steps themselves?
  "trial-gn-ws-batch-512-at-once": _trial(GN_WS_AT_ONCE, _30, arms.of_batch(512)),
  **{
    f"trial-gn-ws-batch-512-{what}": _trial(
      GN_WS_AT_ONCE, _30, WAITS, arms.of_batch(512), _rate(0.375), change
    )
    for what, change in {
      "at-once-rate-0375": {"target.frozen": 0.0},
      "warmup-80": {"optimiser.warmup": 0.8},
      "wait-67": {"target.frozen": 0.6666667},
      "tau-98": _98,
    }.items()
  },
  # The same quarter with 128 images.
  "trial-gn-ws-steps-750": _trial(
    GN_WS_AT_ONCE, _30, WAITS, arms.of_batch(512), {"train.batch_size": 128}
  ),
  "trial-gn-ws-steps-750-tau-98": _trial(
    GN_WS_AT_ONCE, _30, WAITS, arms.of_steps(750), _98
  ),
  # Where can depth decide on collapse? The arms of other depths have a predictor no
  # faster than the rest, the papers', unless 10 layers collapse with it already. They
  # did not.
  **{
    f"trial-none-depth-{depth}-predictor-{speed}": _trial(
      _NONE, _98, _rate(0.75), arms.of_depth(depth), _predictor(float(speed))
    )
    for depth in (10, 50)
    for speed in (1, 30)
  },
}
