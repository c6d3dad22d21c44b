"""Figures of merit of outputs against targets, by scikit-learn: a model's and a `.tflite`'s alike."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tfopt.data.splits import Samples
from tfopt.errors import DataError, InputError, did_you_mean

Score = Callable[[np.ndarray, np.ndarray], float]


@dataclass(frozen=True)
class Metric:
    """A figure of merit.

    Args:
        name: As written in a recipe and shown in reports.
        score: From targets `(samples, ...)` and a model's outputs `(samples, ...)` to one number.
        higher_is_better: The sense of it.
        output: The output of the model that it looks at, by name; None where there is one.
        keras: What Keras calls it; None where Keras has no such metric.
        of_classes: Whether the outputs are scores of classes.
    """

    name: str
    score: Score
    higher_is_better: bool = True
    output: str | None = None
    keras: str | None = None
    of_classes: bool = False

    def drop(self, before: float, after: float) -> float:
        """How much worse `after` is than `before`; negative if it is better."""
        return before - after if self.higher_is_better else after - before

    def of(self, output: str) -> Metric:
        """The same of one output of several, named as Keras names it."""
        return replace(self, name=f"{output}_{self.name}", output=output)

    def at(self, outputs: Sequence[str]) -> list[Metric]:
        """The same of each of several outputs, where it names none itself."""
        return [self] if self.output is not None or len(outputs) < 2 else [self.of(output) for output in outputs]


def classes(scores: np.ndarray) -> np.ndarray:
    """Class ids `(...)` from scores: the largest of several `(..., classes)`, or one `(..., 1)` above one half."""
    if scores.ndim > 1 and scores.shape[-1] > 1:
        return scores.argmax(axis=-1)
    return (scores > 0.5).astype(int)


def labelled(y: np.ndarray, outputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Class ids `(values,)` of the labels and of the outputs.

    Labels are ids, with or without a last axis of 1, or one-hot as the scores are.
    """
    several = outputs.ndim > 1 and outputs.shape[-1] > 1
    if several and y.shape == outputs.shape and not np.allclose(y.sum(axis=-1), 1, atol=1e-3):
        raise ValueError("some samples have several classes or none, and metrics of classes take one a sample")
    ids = y.reshape(outputs.shape[:-1]) if several and y.shape != outputs.shape else classes(y)
    return ids.ravel().astype(np.int64), classes(outputs).ravel()


def _accuracy(y: np.ndarray, outputs: np.ndarray) -> float:
    from sklearn.metrics import accuracy_score

    return float(accuracy_score(*labelled(y, outputs)))


def _balanced_accuracy(y: np.ndarray, outputs: np.ndarray) -> float:
    from sklearn.metrics import recall_score

    ids, found = labelled(y, outputs)
    return float(recall_score(ids, found, labels=np.unique(ids), average="macro", zero_division=0))


def _averaged(name: str, average: str | None) -> Score:
    """precision, recall or F1: of class 1 where a model has one score, else averaged over the classes."""

    def score(y: np.ndarray, outputs: np.ndarray) -> float:
        from sklearn import metrics

        one = outputs.ndim < 2 or outputs.shape[-1] == 1
        how = average or ("binary" if one else "macro")
        return float(getattr(metrics, f"{name}_score")(*labelled(y, outputs), average=how, zero_division=0))

    return score


def _roc_auc(y: np.ndarray, outputs: np.ndarray) -> float:
    """The area under the ROC curve; of several classes the mean over each one against the rest.

    References:
        Fawcett, An introduction to ROC analysis, Pattern Recognition Letters 27 (2006).
    """
    from sklearn.metrics import roc_auc_score

    ids, _ = labelled(y, outputs)
    scores = outputs.reshape(len(ids), -1)
    there = np.unique(ids)
    if len(there) < 2:
        raise ValueError("roc_auc needs labels of two classes at least")
    if scores.shape[1] == 1:
        return float(roc_auc_score(ids, scores[:, 0]))
    return float(np.mean([roc_auc_score(ids == label, scores[:, label]) for label in there]))


def _top(k: int) -> Score:
    def score(y: np.ndarray, outputs: np.ndarray) -> float:
        from sklearn.metrics import top_k_accuracy_score

        count = outputs.shape[-1] if outputs.ndim > 1 else 1
        if not 1 <= k < count:
            raise ValueError(f"top_{k} needs more than {k} classes, and the model has {count} scores")
        ids, _ = labelled(y, outputs)
        return float(top_k_accuracy_score(ids, outputs.reshape(-1, count), k=k, labels=np.arange(count)))

    return score


def _error(name: str) -> Score:
    def score(y: np.ndarray, outputs: np.ndarray) -> float:
        from sklearn import metrics

        return float(getattr(metrics, name)(y.reshape(len(y), -1), outputs.reshape(len(outputs), -1)))

    return score


METRICS = {
    metric.name: metric
    for metric in (
        Metric("accuracy", _accuracy, keras="accuracy", of_classes=True),
        Metric("balanced_accuracy", _balanced_accuracy, of_classes=True),
        *(
            Metric(f"{name}{f'_{average}' if average else ''}", _averaged(name, average), of_classes=True)
            for name in ("precision", "recall", "f1")
            for average in (None, "macro", "micro", "weighted")
        ),
        Metric("roc_auc", _roc_auc, of_classes=True),
        Metric("mae", _error("mean_absolute_error"), higher_is_better=False, keras="mae"),
        Metric("mse", _error("mean_squared_error"), higher_is_better=False, keras="mse"),
        Metric("r2", _error("r2_score")),
    )
}


# What Keras also calls them.
KERAS_NAMES = {
    "acc": "accuracy",
    "sparse_categorical_accuracy": "accuracy",
    "categorical_accuracy": "accuracy",
    "binary_accuracy": "accuracy",
    "mean_absolute_error": "mae",
    "mean_squared_error": "mse",
}


def find(asked: Any, folder: Path | None = None) -> Metric:
    """The metric that a recipe asks for.

    Args:
        asked: The name of one, `top_5` with any number, a function's reference `file.py:function`, or, in Python, a
            `Metric` or a function of targets and outputs. A function whose attribute `higher_is_better` is False is one
            of errors.
        folder: Where a file is looked for first.

    Raises:
        InputError: There is none.
    """
    from tfopt.user_code import Ref

    if isinstance(asked, Metric):
        return asked
    if callable(asked):
        return _own(asked)
    if isinstance(asked, str):
        name = KERAS_NAMES.get(asked, asked)
        if name in METRICS:
            return METRICS[name]
        if top := re.fullmatch(r"top_([1-9]\d*)", asked):
            return Metric(asked, _top(int(top[1])), of_classes=True)
        if ":" in asked:
            return _own(Ref.parse(asked, folder or Path.cwd()).load())
    raise InputError(f"there is no metric {asked!r}. {did_you_mean(asked, [*METRICS, 'top_5'])}", ("metrics",))


def _own(function: Any) -> Metric:
    """A metric that a user wrote."""
    if isinstance(function, Metric):
        return function
    if not callable(function):
        raise InputError(f"a metric is a function of targets and outputs. Received: {function!r:.80}.", ("metrics",))
    name = getattr(function, "__name__", type(function).__name__)
    try:
        inspect.signature(function).bind(None, None)
    except (TypeError, ValueError):
        raise InputError(f"the metric {name} is called with targets and outputs, two arrays.", ("metrics",)) from None
    return Metric(name, lambda y, outputs: float(function(y, outputs)), getattr(function, "higher_is_better", True))


def find_all(asked: Sequence[Any] | Mapping[str, Any], folder: Path | None = None) -> tuple[Metric, ...]:
    """The metrics of a recipe, those of a mapping by the output that they look at."""
    if isinstance(asked, Mapping):
        lists = {output: [names] if isinstance(names, str) else names for output, names in asked.items()}
        return tuple(find(name, folder).of(output) for output, names in lists.items() for name in names)
    return tuple(find(name, folder) for name in asked)


def default_metric(loss: str | None) -> Metric:
    """Accuracy where the loss is one of classification, else the mean squared error."""
    classification = loss is not None and any(word in loss for word in ("crossentropy", "hinge", "focal"))
    return METRICS["accuracy" if classification else "mse"]


def by_class(y: np.ndarray, outputs: np.ndarray) -> dict[str, Any]:
    """Precision, recall, F1 and support of every class, and the confusion matrix.

    Returns:
        `classes`: ids; `precision`, `recall`, `f1`, `support`: a value for each; `confusion`: counts by true and
        predicted class.
    """
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    ids, found = labelled(y, outputs)
    there = np.union1d(ids, found)
    values = precision_recall_fscore_support(ids, found, labels=there, zero_division=0)
    named = dict(zip(("precision", "recall", "f1", "support"), (v.tolist() for v in values), strict=True))
    return {"classes": there.tolist(), **named, "confusion": confusion_matrix(ids, found, labels=there).tolist()}


Outputs = Mapping[str, np.ndarray]


def score_split(metric: Metric, targets: Samples, outputs: Outputs) -> float:
    """A metric of outputs on a split: of the output that it names, else the mean over those that have targets.

    Raises:
        DataError: The targets or the outputs have other names than the metric.
    """
    y = targets.y
    if metric.output is not None and metric.output not in outputs:
        raise DataError(
            f"{metric.name} is of the output {metric.output!r}, and the model's outputs are {', '.join(outputs)}.",
            ("metrics",),
        )
    if not isinstance(y, dict):
        return metric.score(y, outputs[metric.output or next(iter(outputs))])
    shared = [name for name in outputs if name in y and metric.output in (None, name)]
    if not shared:
        raise DataError(f"the model's outputs are {', '.join(outputs)}, and the targets are {', '.join(y)}.", ("data",))
    return float(np.mean([metric.score(y[name], outputs[name]) for name in shared]))


def compare_outputs(expected: Outputs, actual: Outputs) -> dict[str, float]:
    """How far outputs stray from those of the model they were made from.

    Returns:
        `agreement`: the fraction of samples with the same class, where outputs are scores of classes (else left out);
        `max_error` and `mean_error`: absolute differences; `snr_db`: the power of the expected outputs over that of
        the difference, in decibels.
    """
    pairs = [(expected[name].astype(np.float64), actual[name].astype(np.float64)) for name in expected]
    error = np.concatenate([(a - b).ravel() for a, b in pairs])
    signal = np.concatenate([a.ravel() for a, _ in pairs])
    noise_power = float((error**2).mean())
    power = float((signal**2).mean())
    ratio = math.inf if not noise_power else 10 * math.log10(power / noise_power) if power else -math.inf
    result = {
        "max_error": float(np.abs(error).max()),
        "mean_error": float(np.abs(error).mean()),
        "snr_db": max(min(ratio, 999.0), -999.0),
    }
    scores = [(a, b) for a, b in pairs if a.ndim > 1 and a.shape[-1] > 1]
    if scores:
        result["agreement"] = float(np.mean([(classes(a) == classes(b)).mean() for a, b in scores]))
    return result
