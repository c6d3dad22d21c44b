"""What the outputs of a classifier say of the scaling of its inputs, where no normalization does.

A margin is the distance of the two largest logits. A network that was trained on values of 0 to 1 has margins of
hundreds on 0 to 255, of a few on its own range; one that was trained on 0 to 255 has 2 to 50 there, and on 0 to 1
outputs that are the same for all samples. How much the outputs depend on the inputs is their mutual information, as a
share of the most that is possible: 0 where all samples have the same outputs, 1 where each is sure of its class and all
classes come up.

References:
    Bridle, Heading and MacKay, Unsupervised classifiers, mutual information and 'phantom targets', NeurIPS 1991.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from tfopt.keras_private import compiled_settings, logits_of
from tfopt.models import signature
from tfopt.quantization.training_statistics import batches

# Median margin above which outputs are saturated: trained on 0-255 it is 2 to 52 there, trained on 0-1 from 270 on.
SATURATED = 80.0
# Least information on the range that is thought right. On 0-1 it is 0.01 at most for a network trained on 0-255, and
# above 0.2 for one trained on it; of the other scalings a network trained on 0-255 can make 0.5.
INFORMED_UNIT, INFORMED = 0.15, 0.55
# A network trained on 0-255 has at most 0.011 on 0-1 and up to 0.98 on its own range; an untrained one has as little on
# 0-1, and up to 0.81 on 0-255.
STARVED, FULL = 0.012, 0.9
# Positions to look at in each sample, of those that a segmentation classifies.
POSITIONS = 1000
# The share of samples of one class from which on all seem to be of it: a network errs now and then.
ONE_CLASS = 0.9
# Of fewer classes a network that was not trained can seem to know them by chance.
FEWEST_CLASSES = 5


@dataclass(frozen=True)
class ClassOutputs:
    """Outputs of a classifier on samples.

    Args:
        margin: Median distance of the two largest logits.
        information: Mutual information of inputs and classes, as a share of the most possible, 0-1.
        classes: Number of classes.
        main: The class that most samples are given; None where a sample has several decisions.
        share: The share of the samples that are given it, 0-1.
        sure: Its mean probability, 0-1.
    """

    margin: float
    information: float
    classes: int
    main: int | None = None
    share: float = 0.0
    sure: float = 0.0


def class_outputs(model: keras.Model, samples: Mapping[str, np.ndarray]) -> tuple[ClassOutputs, ...]:
    """The outputs that are classes: those of a softmax or sigmoid, and one whose loss takes logits.

    Args:
        model: A built model.
        samples: Inputs `(samples, ...)` by name.
    """
    sums: dict[str, _Sums] = {}
    for batch in batches(model, samples):
        for name, (logits, exclusive) in _logits(model, signature.call(model, batch)).items():
            sums.setdefault(name, _Sums(exclusive)).add(logits)
    return tuple(one.measured() for one in sums.values())


def saturated(outputs: Sequence[ClassOutputs], least: float = SATURATED) -> bool:
    """Whether every classifying output of a model is saturated: has a median margin of some size."""
    return bool(outputs) and min(one.margin for one in outputs) >= least


def informed(outputs: Sequence[ClassOutputs], unit: bool) -> bool:
    """Whether outputs are not saturated and depend on the inputs, as after a training on inputs so scaled.

    Args:
        outputs: The outputs on the samples in another scaling than that which saturates them.
        unit: Whether that is 0 to 1.
    """
    least = INFORMED_UNIT if unit else INFORMED
    return all(one.margin < SATURATED and one.information >= least for one in outputs)


def starved(outputs: Sequence[ClassOutputs], most: float = STARVED) -> bool:
    """Whether every classifying output of a model is the same for all samples: has no more than some information."""
    return bool(outputs) and all(one.classes >= FEWEST_CLASSES and one.information <= most for one in outputs)


def full(outputs: Sequence[ClassOutputs]) -> bool:
    """Whether outputs are sure of their classes, all of which come up, and are not saturated."""
    return all(one.information >= FULL and one.margin < SATURATED for one in outputs)


def of_one_class(outputs: Sequence[ClassOutputs]) -> ClassOutputs | None:
    """An output that gives nearly all samples one class, where every classifying output does; else None."""
    clear = [one for one in outputs if one.main is not None and one.share >= ONE_CLASS and one.sure > 0.5]
    if not clear or len(clear) < len(outputs) or any(one.classes < FEWEST_CLASSES for one in clear):
        return None
    return clear[0]


def has_trained_bias(model: keras.Model) -> bool:
    """Whether some bias is not zero, as all are before training."""
    biases = (v for v in model.trainable_variables if v.name == "bias")
    return any(np.any(keras.ops.convert_to_numpy(bias)) for bias in biases)


def _logits(model: keras.Model, outputs: Mapping[str, object]) -> dict[str, tuple[np.ndarray, bool]]:
    """The logits of the outputs that have some, and whether their classes exclude each other."""
    found = {}
    loss = compiled_settings(model).get("loss")
    for name, value in outputs.items():
        logits = logits_of(value)
        array = keras.ops.convert_to_numpy(value if logits is None else logits)
        if array.ndim < 2 or (logits is None and not (len(outputs) == 1 and getattr(loss, "from_logits", False))):
            continue
        if logits is None:
            exclusive = not isinstance(loss, keras.losses.BinaryCrossentropy)
        else:
            exclusive = bool(np.allclose(keras.ops.convert_to_numpy(value).sum(-1), 1, atol=1e-3))
        found[name] = (array, exclusive and array.shape[-1] > 1)
    return found


@dataclass
class _Sums:
    """What `ClassOutputs` are made of, added up batch by batch; no logits are kept.

    Args:
        exclusive: Whether classes exclude each other; if not, each is a decision between two.
        margins: The margins `(decisions,)` of each batch.
        probabilities: Sum of the probabilities of each class `(classes,)`.
        entropy: Sum of the entropies of the decisions, in nats.
        given: How many decisions are for each class, `(classes,)`.
        positions: Most decisions of one sample.
    """

    exclusive: bool
    margins: list[np.ndarray] = field(default_factory=list)
    probabilities: Any = 0.0
    entropy: float = 0.0
    given: Any = 0
    positions: int = 0

    def add(self, logits: np.ndarray) -> None:
        """Adds a batch of logits `(samples, ..., classes)`."""
        whole = logits.reshape(len(logits), -1, logits.shape[-1] if self.exclusive else 1)
        seen = whole[:, _positions(whole.shape[1])].astype(np.float32)
        decisions: np.ndarray = seen.reshape(-1, seen.shape[-1])
        if not self.exclusive:  # each a decision between two
            decisions = np.concatenate([decisions, np.zeros_like(decisions)], axis=-1)
        ordered = np.partition(decisions, (-2, -1), axis=-1)
        exps = np.exp(decisions - ordered[:, -1:])
        probabilities = exps / exps.sum(-1, keepdims=True)
        self.margins.append(ordered[:, -1] - ordered[:, -2])
        self.probabilities = self.probabilities + probabilities.sum(0, dtype=np.float64)
        self.entropy += float(_entropy(probabilities).sum(dtype=np.float64))
        self.given = self.given + np.bincount(decisions.argmax(-1), minlength=decisions.shape[-1])
        self.positions = max(self.positions, whole.shape[1])

    def measured(self) -> ClassOutputs:
        """The margin and the information."""
        margins, classes = np.concatenate(self.margins), len(self.probabilities)
        entropy = _entropy(self.probabilities / len(margins)) - self.entropy / len(margins)
        main = int(self.given.argmax())
        return ClassOutputs(
            margin=float(np.median(margins)),
            information=float(entropy / np.log(classes)),
            classes=classes,
            main=main if self.positions == 1 else None,
            share=float(self.given[main] / len(margins)),
            sure=float(self.probabilities[main] / len(margins)),
        )


def _positions(count: int) -> np.ndarray | slice:
    """The decisions to look at of a sample: all, or a part by chance, which does not follow the columns of an image."""
    if count <= POSITIONS:
        return slice(None)
    return np.sort(np.random.default_rng(0).choice(count, POSITIONS, replace=False))


def _entropy(probabilities: np.ndarray) -> np.ndarray:
    return -(probabilities * np.log(np.maximum(probabilities, 1e-30))).sum(-1)
