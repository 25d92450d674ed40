"""Which measure that needs no labels agrees best with linear accuracy?

Short runs of the arms, each measured untrained and at each of its checkpoints: by every
candidate, on held-out training images, and by the linear probe on test images, which no
candidate sees.

The rule, written before the runs. Each candidate has its direction (`CANDIDATES`; where
lower is better, its sign is changed). Two agreements are measured, both as Spearman's
rank correlation with linear accuracy:

- over runs: of the last networks of all arms;
- within runs: of the networks of one run, the untrained one among them; the mean over
  the runs. A candidate that does not move within a run has 0 there.

The score is the candidate whose mean of the two is the highest, of those for which both
are positive. What it costs to follow it is told too: by how many points of linear
accuracy the network that it ranks first in a run is behind the best of that run, on
average; and in how many runs it ranks the untrained network first.
"""

ARMS = (  # in the order in which they are trained: any first few of them differ much
  "bn",
  "simclr",
  "none",
  "gn-ws",
  "none-sgd",
  "raft",
  "bn-np",
  "byol-prime-np",
  "bn-fast",
  "none-fast",
  "gn",
  "simclr-no-colour",
  "bn-tau-1",
  "simclr-none",
  "bn-init",
  "raft-np",
  "bn-slow",
  "gn-ws-fast",
  "bn-sgd",
  "bn-tau-0",
)
STEPS = 300
EVERY = 100  # steps between checkpoints

# Candidate -> 1 where higher is better, -1 where lower is. Those that do not say of what
# are of the encoder's features; "projected" is of the projections, as in RankMe's paper.
CANDIDATES = {
  "effective_rank": 1,
  "rankme": 1,
  "rankme_projected": 1,
  "lidar": 1,
  "lidar_projected": 1,
  "alignment": -1,
  "alignment_projected": -1,
  "uniformity": -1,
  "uniformity_projected": -1,
  "alignment_and_uniformity": -1,
  "alignment_and_uniformity_projected": -1,
  "spread": 1,
  "rank_differential": 1,  # of targets over predictions
}

# What a run is trained with, beside its arm's own settings.
SETTINGS = {
  "train.steps": STEPS,
  "eval.every_steps": EVERY,
  "log.every_steps": EVERY // 4,
  "checkpoint.keep": STEPS // EVERY,
  "eval.baselines": (),
  # Hardly anything: the study measures for itself.
  "probe.train": "train[:1000]",
  "probe.test": "test[:500]",
  "probe.valid_train": "train[:1000]",
  "probe.valid_test": "train[45000:45500]",
}
