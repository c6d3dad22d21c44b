"""Whether labels are of classes, as the metrics of classes take them, and what small data says of an accuracy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tfopt.errors import InputError

if TYPE_CHECKING:
    from tfopt.data.splits import Samples
    from tfopt.metrics import Metric, Outputs

# Test samples below which one of them is more than a point of accuracy.
ENOUGH = 100


def check_class_labels(metric: Metric, y: Any, outputs: Outputs, model: Any, loss: Any) -> None:
    """Refuses a metric of classes for an output that is a quantity.

    One score tells two classes apart. Where the labels have more values than two, and no loss of classes says that they
    are probabilities, they are measured values.

    Args:
        metric: The metric.
        y: All labels of the test split.
        outputs: Some outputs of the model by name, for their shapes.
        model: The model.
        loss: The recipe's loss; None means the model's own.

    Raises:
        InputError: The labels are no classes.
    """
    name = metric.output or next(iter(outputs))
    if not metric.of_classes or name not in outputs:
        return
    labels = y.get(name) if isinstance(y, dict) else y
    scores = outputs[name]
    if labels is None or (scores.ndim > 1 and scores.shape[-1] > 1):
        return
    values = np.unique(np.asarray(labels))
    lowest, highest = values[0].item(), values[-1].item()
    if len(values) <= 2 or not _of_quantities(model, loss, name, soft=lowest >= 0 and highest <= 1):
        return
    where = f"y_test[{name!r}]" if isinstance(y, dict) else "y_test"
    asked = f"metrics: {{{name}: [mae]}}" if metric.output else "metrics: [mae]"
    raise InputError(
        f"{metric.name} needs class labels, of which one output tells two; {where} has {len(values):,} different "
        f"numbers, from {lowest:,.6g} to {highest:,.6g}, that are no class ids. Use mae or r2, as in {asked}.",
        ("metrics",),
    )


def _of_quantities(model: Any, loss: Any, output: str, soft: bool) -> bool:
    """Whether a loss is one of measured values; where there is none, whether labels cannot be probabilities."""
    from tfopt.losses import build_loss
    from tfopt.metrics import default_metric
    from tfopt.models import signature
    from tfopt.training.label_checks import loss_name, losses_by_output

    own = build_loss(loss) or getattr(model, "loss", None)
    own = losses_by_output(model, own).get(output, own) if signature.output_names(model) else own
    name = None if own is None or isinstance(own, Mapping | list | tuple) else loss_name(own)
    return not soft if name is None else not default_metric(name).of_classes


def small_split_warning(test: Samples, metrics: Sequence[Metric]) -> str:
    """What has to be known of scores on few samples; empty where there are enough, or no score is of classes."""
    count = len(test)
    if count >= ENOUGH or not any(metric.of_classes for metric in metrics):
        return ""
    samples = "1 test sample: it" if count == 1 else f"{count} test samples: one sample"
    return f"{samples} is {100 / count:.3g} points of accuracy, and smaller differences cannot be seen"


def one_class_warning(train: Samples) -> str:
    """What has to be known of a training on labels of one class; empty where there are several."""
    for name, labels in (train.y if isinstance(train.y, dict) else {"": train.y}).items():
        array = np.asarray(labels)
        one_hot = array.ndim > 1 and array.shape[-1] > 1
        first = array[:1] if one_hot else array.ravel()[:1]
        if len(array) > 1 and array.dtype.kind in "biu" and bool((array == first).all()):
            what = f"y_train[{name!r}]" if name else "y_train"
            of = f"class {int(array[0].argmax())}" if one_hot else str(first[0].item())
            return f"all {len(array):,} labels in {what} are {of}: there is nothing to tell apart, and nothing to learn"
    return ""
