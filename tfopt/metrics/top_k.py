"""Top-k accuracy: the fraction of samples whose class is among those of the k largest scores."""

from __future__ import annotations

import numpy as np

from tfopt.metrics.labels import labelled
from tfopt.metrics.metric import Metric, MetricFamily


def top_k(k: int) -> Metric:
    """The metric `top_<k>`.

    Args:
        k: Number of largest scores to look at: 1 or above, and fewer than the model has classes.
    """

    def score(y: np.ndarray, outputs: np.ndarray) -> float:
        from sklearn.metrics import top_k_accuracy_score

        count = outputs.shape[-1] if outputs.ndim > 1 else 1
        if not 1 <= k < count:
            raise ValueError(f"top_{k} needs more than {k} classes, and the model has {count} scores")
        ids, _ = labelled(y, outputs)
        return float(top_k_accuracy_score(ids, outputs.reshape(-1, count), k=k, labels=np.arange(count)))

    def found(y: np.ndarray, outputs: np.ndarray) -> np.ndarray:
        ids, _ = labelled(y, outputs)
        scores = outputs.reshape(len(ids), -1)
        largest = np.argsort(scores, axis=1, kind="stable")[:, -k:]  # of equal scores the last, as scikit-learn
        return (largest == ids[:, None]).any(axis=1)

    return Metric(f"top_{k}", score, of_classes=True, each=found)


TOP_K = MetricFamily("top_", top_k, example="top_5")
