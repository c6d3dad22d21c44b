"""Metrics of Keras models and `.tflite` files alike, computed from targets and outputs by scikit-learn.

Every metric is an entry in a file of its own; `METRICS` finds them by walking this package.
"""

from __future__ import annotations

from tfopt.metrics.changes import class_changes, keeps_class
from tfopt.metrics.decision import Decision
from tfopt.metrics.labels import by_class, classes, labelled, same_share
from tfopt.metrics.metric import Metric, MetricFamily, Score
from tfopt.metrics.outputs import Outputs, compare_outputs, metrics_by_labels, score_split, scores_of
from tfopt.metrics.registry import FAMILIES, METRICS, default_metric, find, find_all, known, output_and_metric

__all__ = [
    "FAMILIES",
    "METRICS",
    "Decision",
    "Metric",
    "MetricFamily",
    "Outputs",
    "Score",
    "by_class",
    "class_changes",
    "classes",
    "compare_outputs",
    "default_metric",
    "find",
    "find_all",
    "keeps_class",
    "known",
    "labelled",
    "metrics_by_labels",
    "output_and_metric",
    "same_share",
    "score_split",
    "scores_of",
]
