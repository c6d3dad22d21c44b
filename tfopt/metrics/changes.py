"""The classes that two models give the same samples: how many changed, from which to which, for better or worse."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from tfopt.metrics.decision import Decision
from tfopt.metrics.labels import classes, labelled

# Pairs of classes, and samples, that are listed.
MOST_MOVES, MOST_SAMPLES = 50, 24
# How far from 0-1 a score is no probability.
_BEYOND = 1e-3


def class_changes(
    y: np.ndarray, before: np.ndarray, after: np.ndarray, decision: Decision | None = None, most_classes: int = 100
) -> dict[str, Any]:
    """Compares the classes that two models give the same samples.

    Args:
        y: Labels, as `labelled` takes them.
        before: Scores of the one model, as `labelled` takes them.
        after: Scores of the other, of the same shape.
        decision: How the scores decide, where it is not the usual way.
        most_classes: Number of classes above which there are no confusion matrices.

    Returns:
        `values`: number of decisions, one a sample unless outputs have more axes; `same`, `broken` (right before, and
        wrong after), `mended`; `classes`, `confusion_before` and `confusion_after` by true and given class, none where
        a sample has any number of classes; `moves`: `before`, `after` and `count`, the most frequent first; `samples`:
        at most 24 that changed, those that were right before first and the surest first, none where a sample has
        several decisions. A sample has its `row`, its `label`, its classes `before` and `after` (lists, as a sample may
        have any number), and the probabilities `sure_before` and `sure_after` of these, None for a list.
    """
    if decision and decision.multilabel:
        return _multilabel(y, *(decision.probabilities(scores) > 0.5 for scores in (before, after)))
    pair = [decision.probabilities(scores) if decision else scores for scores in (before, after)]
    (ids, old), (_, new) = labelled(y, pair[0]), labelled(y, pair[1])
    moved = np.flatnonzero(old != new)
    moves = Counter(zip(old[moved].tolist(), new[moved].tolist(), strict=True)).most_common(MOST_MOVES)
    result = _counts(len(ids), len(moved), old == ids, new == ids)
    there = np.unique(np.concatenate([ids, old, new]))
    few = len(there) <= most_classes
    result |= {
        "classes": there.tolist() if few else [],
        "confusion_before": _confusion(ids, old, there) if few else [],
        "confusion_after": _confusion(ids, new, there) if few else [],
        "moves": [{"before": a, "after": b, "count": count} for (a, b), count in moves],
    }
    if before.ndim > 2:
        return result | {"samples": []}
    sure = [_probability(scores, taken, pair[0]) for scores, taken in zip(pair, (old, new), strict=True)]
    order = sorted(moved, key=lambda i: (_verdict(old[i] == ids[i], new[i] == ids[i]), -(sure[0][i] + sure[1][i]), i))
    samples = [
        {
            "row": int(i),
            "label": [int(ids[i])],
            "before": [int(old[i])],
            "after": [int(new[i])],
            "sure_before": float(sure[0][i]),
            "sure_after": float(sure[1][i]),
        }
        for i in order[:MOST_SAMPLES]
    ]
    return result | {"samples": samples}


def keeps_class(before: np.ndarray, after: np.ndarray, decision: Decision | None = None) -> np.ndarray:
    """Whether two models give a sample the same class, `(samples, ...)`, for each value of an output.

    Args:
        before: Scores of the one model, as `labelled` takes them.
        after: Scores of the other, of the same shape.
        decision: How the scores decide, where it is not the usual way.
    """
    old, new = (decision.probabilities(scores) if decision else scores for scores in (before, after))
    if decision and decision.multilabel:
        return np.asarray(((old > 0.5) == (new > 0.5)).all(axis=-1))
    return np.asarray(classes(old) == classes(new))


def _counts(values: int, changed: int, right_before: np.ndarray, right_after: np.ndarray) -> dict[str, Any]:
    return {
        "values": values,
        "same": values - changed,
        "broken": int((right_before & ~right_after).sum()),
        "mended": int((~right_before & right_after).sum()),
    }


def _verdict(right_before: bool, right_after: bool) -> int:
    """The place of a change in the list: what broke first, then what is as wrong as it was, then what mended."""
    return 0 if right_before else 2 if right_after else 1


def _confusion(ids: np.ndarray, taken: np.ndarray, there: np.ndarray) -> list[list[int]]:
    counts = np.zeros((len(there), len(there)), np.int64)
    np.add.at(counts, (np.searchsorted(there, ids), np.searchsorted(there, taken)), 1)
    return counts.tolist()


def _probability(scores: np.ndarray, taken: np.ndarray, by: np.ndarray) -> np.ndarray:
    """The probability of the class that was taken for each sample, `(samples,)`; of logits, by a softmax.

    Args:
        scores: Scores `(samples, classes)`, or one a sample.
        taken: Classes `(samples,)`.
        by: The scores that tell whether all are logits: those of the model compared with.
    """
    if scores.ndim < 2 or scores.shape[-1] == 1:
        one = scores.reshape(-1).astype(np.float64)
        return np.where(taken == 1, one, 1 - one)
    values = scores.astype(np.float64)
    if by.min() < -_BEYOND or by.max() > 1 + _BEYOND:
        powers = np.exp(values - values.max(axis=-1, keepdims=True))
        values = powers / powers.sum(axis=-1, keepdims=True)
    return values[np.arange(len(values)), taken]


def _multilabel(y: np.ndarray, before: np.ndarray, after: np.ndarray) -> dict[str, Any]:
    """`class_changes` of samples with any number of classes: flags of the same shape `(samples, ..., classes)`."""
    truth, old, new = (array.reshape(-1, before.shape[-1]) > 0.5 for array in (y, before, after))
    moved = (old != new).any(axis=-1)
    right = [(flags == truth).all(axis=-1) for flags in (old, new)]
    result = _counts(len(truth), int(moved.sum()), *right)
    result |= {"classes": [], "confusion_before": [], "confusion_after": [], "moves": []}
    order = sorted(np.flatnonzero(moved), key=lambda i: (_verdict(right[0][i], right[1][i]), i))
    samples = [
        {
            "row": int(i),
            **{k: np.flatnonzero(f[i]).tolist() for k, f in (("label", truth), ("before", old), ("after", new))},
            "sure_before": None,
            "sure_after": None,
        }
        for i in order[: MOST_SAMPLES if before.ndim == 2 else 0]
    ]
    return result | {"samples": samples}
