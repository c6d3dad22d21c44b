"""The metrics that a stage reports of a model, and its accuracy gate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tfopt.errors import InputError
from tfopt.keras_private import compiled_settings
from tfopt.recipe.stage import Context

if TYPE_CHECKING:
    from tfopt.metrics import Metric


# Samples to try metrics on before anything is trained.
TRIED = 256


def test_metrics(model: Any, context: Context) -> dict[str, float]:
    """The recipe's metrics, or the loss's usual ones, of a Keras model on the test split, the gated one first."""
    from tfopt.metrics import score_split
    from tfopt.models import signature

    outputs = signature.keras_outputs(model, context.data.test)
    return {m.name: score_split(m, context.data.test, outputs) for m in metrics_of(model, context)}


def check_metrics(model: Any, context: Context) -> None:
    """Checks on a few samples that the metrics can be computed from the model's outputs.

    Raises:
        InputError: A metric cannot be computed.
    """
    from tfopt.metrics import score_split
    from tfopt.models import signature

    split = context.data.test.choose(TRIED, context.seed)
    outputs = signature.keras_outputs(model, split)
    for metric in metrics_of(model, context):
        try:
            score_split(metric, split, outputs)
        except (ValueError, TypeError, IndexError) as error:
            raise InputError(
                f"the metric {metric.name} cannot be taken of the model's outputs: {str(error).splitlines()[0]}. "
                "Write the one you want, such as metrics: [accuracy].",
                ("metrics",),
            ) from error


def metrics_of(model: Any, context: Context) -> list[Metric]:
    """The metrics to report of a model, the gated one first: of each output that has targets where there are several.

    They are the recipe's, else those the model was compiled with that tfopt knows, else the usual ones of the loss.
    """
    from tfopt.models import signature
    from tfopt.training.output_decisions import decided

    outputs = signature.output_names(model) or list(signature.keras_outputs(model, context.data.test.few(1)))
    y = context.data.test.y
    several = isinstance(y, dict) and len(outputs) > 1
    scored = [name for name in outputs if name in y] if several else [None]
    found: list[Metric] = []
    for output in scored:
        asked = [m for m in context.metrics if m.output in (None, output)]
        for metric in asked or _usual_metrics(model, context, output):
            found.append(metric.of(output) if output and metric.output is None else metric)
    strangers = [m for m in context.metrics if m.output is not None and m.output not in outputs]
    if strangers or (context.metrics and not found):
        wrong = strangers[0].output if strangers else context.metrics[0].name
        raise InputError(f"metrics names the output {wrong!r}, and the model's are {', '.join(outputs)}.", ("metrics",))
    return decided(dict.fromkeys(found), model, context.loss, y)


def _usual_metrics(model: Any, context: Context, output: str | None) -> list[Metric]:
    from tfopt import metrics
    from tfopt.training.label_checks import loss_name

    y = context.data.test.y
    labels = y[output] if output else y
    names = _of_output(compiled_settings(model).get("metrics"), output)
    names = [m if isinstance(m, str) else getattr(m, "name", "") for m in names if m is not None]
    if found := [metric for name in names if (metric := metrics.known(name)) is not None]:
        return list(dict.fromkeys(found))
    loss = context.loss or getattr(model, "loss", None)
    loss = loss.get(output) if isinstance(loss, Mapping) and output in loss else loss
    if loss is None and not isinstance(labels, dict) and labels.dtype.kind in "iub":
        return [metrics.METRICS["accuracy"]]  # whole numbers are class ids until a loss says otherwise
    return [metrics.default_metric(None if isinstance(loss, Mapping) else loss_name(loss))]


def _of_output(compiled: Any, output: str | None) -> list[Any]:
    """The compiled metrics of one output, from any of the forms that Keras takes."""
    if isinstance(compiled, Mapping):
        compiled = compiled.get(output)
    flat = compiled if isinstance(compiled, list | tuple) else [compiled]
    return [metric for entry in flat for metric in (entry if isinstance(entry, list | tuple) else [entry])]


def gated(name: str | None, metrics: Sequence[Metric]) -> Metric:
    """The gated metric: that of the name; the first if no name is given.

    Raises:
        InputError: No metric has that name.
    """
    from tfopt.errors import did_you_mean

    if name is None:
        return metrics[0]
    known = {metric.name: metric for metric in metrics}
    if name not in known:
        raise InputError(
            f"the gate looks at {name!r}, which is not measured. {did_you_mean(name, known)} Add it to the recipe's "
            "metrics.",
            ("metric",),
        )
    return known[name]


def check_drop(max_drop: float | None, metric: Metric) -> None:
    """Refuses a `max_drop` of an accuracy that no file could exceed.

    Raises:
        InputError: `max_drop` of an accuracy is 1 or above.
    """
    if metric.keras == "accuracy" and max_drop is not None and max_drop >= 1:
        raise InputError(
            f"max_drop is a fraction: write 0.02 for two points of accuracy. Received: {max_drop:g}.", ("max_drop",)
        )
