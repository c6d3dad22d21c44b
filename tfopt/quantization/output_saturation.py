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
from dataclasses import dataclass

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
# Of fewer classes a network that was not trained can seem to know them by chance.
FEWEST_CLASSES = 5


@dataclass(frozen=True)
class ClassOutputs:
    """Outputs of a classifier on samples.

    Args:
        margin: Median distance of the two largest logits.
        information: Mutual information of inputs and classes, as a share of the most possible, 0-1.
        classes: Number of classes.
    """

    margin: float
    information: float
    classes: int


def class_outputs(model: keras.Model, samples: Mapping[str, np.ndarray]) -> tuple[ClassOutputs, ...]:
    """The outputs that are classes: those of a softmax or sigmoid, and one whose loss takes logits.

    Args:
        model: A built model.
        samples: Inputs `(samples, ...)` by name.
    """
    parts = [_logits(model, signature.call(model, batch)) for batch in batches(model, samples)]
    found = []
    for name in parts[0] if parts else ():
        logits = np.concatenate([part[name][0] for part in parts]).astype(np.float64)
        logits = logits.reshape(-1, logits.shape[-1])
        if not parts[0][name][1]:  # each a decision between two classes
            logits = np.stack([logits.ravel(), np.zeros(logits.size)], axis=-1)
        found.append(_measured(logits))
    return tuple(found)


def suspicious(few: Sequence[ClassOutputs]) -> bool:
    """Whether outputs on a few samples may be saturated or starved, which more samples have to show."""
    return bool(few) and (
        min(one.margin for one in few) > SATURATED / 2 or max(one.information for one in few) < 2 * STARVED
    )


def saturated(here: Sequence[ClassOutputs], there: Sequence[ClassOutputs], unit: bool) -> bool:
    """Whether samples saturate every classifying output of a model, and the same in another scaling do not.

    Args:
        here: The outputs on the samples.
        there: The outputs on the same in the other scaling.
        unit: Whether the other scaling is 0 to 1.
    """
    least = INFORMED_UNIT if unit else INFORMED
    return min(one.margin for one in here) >= SATURATED and all(
        one.margin < SATURATED and one.information >= least for one in there
    )


def starved(here: Sequence[ClassOutputs], there: Sequence[ClassOutputs]) -> bool:
    """Whether the outputs of a model are the same for all samples, and are not in another scaling.

    Args:
        here: The outputs on the samples.
        there: The outputs on the same in the other scaling.
    """
    if any(one.classes < FEWEST_CLASSES or one.information > STARVED for one in here):
        return False
    return all(one.information >= FULL and one.margin < SATURATED for one in there)


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


def _measured(logits: np.ndarray) -> ClassOutputs:
    ordered = np.sort(logits, axis=-1)
    exps = np.exp(logits - ordered[:, -1:])
    probabilities = exps / exps.sum(-1, keepdims=True)
    classes = logits.shape[-1]
    information = (_entropy(probabilities.mean(0)) - _entropy(probabilities).mean()) / np.log(classes)
    return ClassOutputs(float(np.median(ordered[:, -1] - ordered[:, -2])), float(information), classes)


def _entropy(probabilities: np.ndarray) -> np.ndarray:
    return -(probabilities * np.log(np.maximum(probabilities, 1e-30))).sum(-1)
