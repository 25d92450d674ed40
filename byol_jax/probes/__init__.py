"""Probes on frozen features: how well can simple classifiers read them?

Features and labels come in as numpy arrays, accuracies in [0, 1] go out. The
results depend on the data alone: nothing is drawn at random.
"""

from byol_jax.probes.knn import knn_accuracy, knn_hits
from byol_jax.probes.logistic import Problem, linear_accuracy
from byol_jax.probes.metrics import METRICS

__all__ = ["METRICS", "Problem", "knn_accuracy", "knn_hits", "linear_accuracy"]
