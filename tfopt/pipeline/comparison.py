"""Comparison of any number of models on the same samples: accuracy, agreement, bytes and latency."""

from __future__ import annotations

import gzip
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfopt.data import sources
from tfopt.errors import DataError, InputError
from tfopt.metrics import METRICS, Metric, compare_outputs, default_metric, find_all, score_split
from tfopt.metrics.decision import Decision
from tfopt.metrics.labels import labelled as class_ids
from tfopt.metrics.paired import PairedDifference, accuracy_difference, bootstrap_difference
from tfopt.output_capture import captured
from tfopt.pipeline.contenders import Contender, check_classes, contenders, data_of_runs, same_outputs
from tfopt.pipeline.plan import seeded
from tfopt.recipe.artifact import TRAINED
from tfopt.recipe.recipe import Recipe
from tfopt.report.comparison import ComparedModel, Comparison

if TYPE_CHECKING:
    from tfopt.data.splits import Samples

Outputs = dict[str, np.ndarray]


@dataclass(frozen=True)
class _Ground:
    """What models are compared on.

    Args:
        samples: The labelled samples.
        name: What they are.
        metrics: The metrics that were asked for, by name; empty for the usual ones.
        trust: Whether Python code stored in a model file may be loaded.
    """

    samples: Samples
    name: str
    metrics: tuple[Metric, ...]
    trust: bool


def compare(
    *models: Any,
    data: Any = None,
    metrics: str | Sequence[str] = (),
    seconds: float = 1.0,
    threads: int = 1,
    out: str | Path = "saved_models",
    trust: bool = False,
    part: Callable[[float], Any] = lambda done: None,
) -> Comparison:
    """Compares models on the same labelled samples.

    Latencies are measured in turns on this machine, and differences of the metric on the same samples: of accuracies by
    McNemar's exact test with Newcombe's interval, of other metrics by a bootstrap.

    Example:
        ```python
        found = tfopt.compare("saved_models/digits", "other.tflite")
        found.best("bytes"), found.models[1].difference
        ```

    Args:
        *models: Two or more: results of runs, their folders or recipes, `.tflite`, `.keras` or `.h5` files, Keras
            models, or bytes of a `.tflite`. The first is the one that the others are compared with. A run stands for
            its last file.
        data: Labelled samples: an `.npz` file of `x` and `y`, `(x, y)`, a `Split`, or a recipe or what its `data` may
            be, of which the test split is taken; that of the runs if not given.
        metrics: Names of metrics, the one of the differences first; those of the first run or Keras model if not given.
        seconds: Seconds to time each file.
        threads: CPU threads of the timing.
        out: The folder that the runs of recipes are in.
        trust: Load Python code that a Keras file carries (a Lambda layer).
        part: Called with the finished fraction, 0-1.

    Raises:
        InputError: Fewer than two models, a missing file, models of different outputs, data that are not the same or do
            not fit, or a metric that cannot be taken of the outputs.
        ConversionError: LiteRT cannot run a file.
    """
    with tempfile.TemporaryDirectory(prefix="tfopt-") as scratch:
        found = contenders(models, Path(out), Path(scratch))
        check_classes(found)
        asked = find_all((metrics,) if isinstance(metrics, str) else tuple(metrics), Path.cwd())
        with captured():
            return _compared(found, _ground(found, data, asked, trust), seconds, threads, part)


def _ground(found: Sequence[Contender], data: Any, asked: tuple[Metric, ...], trust: bool) -> _Ground:
    """The test split of the runs, or of the recipe that `data` names, or the samples that it is."""
    from tfopt.data.labelled import check_labelled, labelled

    if data is None:
        run = data_of_runs(found)
        return _Ground(run.load_data().test, run.name, asked, trust)
    if isinstance(data, str | Path) and Path(data).suffix in (".yaml", ".yml"):
        recipe = Recipe.load(data)
        source = sources.resolve(recipe.data, recipe.folder)
        with seeded(recipe.seed):
            return _Ground(sources.load(source).test, recipe.name, asked, trust)
    check_labelled(data, Path.cwd())
    name = str(data) if isinstance(data, str | Path) else "the samples given"
    return _Ground(labelled(data, Path.cwd()), name, asked, trust)


def _compared(
    found: Sequence[Contender], ground: _Ground, seconds: float, threads: int, part: Callable[[float], Any]
) -> Comparison:
    models: dict[str, Any] = {}
    outputs: dict[str, Outputs] = {}
    for number, one in enumerate(found):
        outputs[one.name] = _outputs(one, ground, models)
        part((number + 1) / (len(found) + 2))
    _align(outputs)
    metrics = _metrics(found, ground, models, outputs)
    scores = {name: _scores(metrics, ground, own) for name, own in outputs.items()}
    latencies = _latencies(found, ground.samples, seconds, threads)
    part((len(found) + 1) / (len(found) + 2))
    first = found[0].name
    made = []
    for one in found:
        content = one.path.read_bytes()
        model = ComparedModel(
            one.name,
            one.format,
            len(content),
            len(gzip.compress(content, 9, mtime=0)),
            scores[one.name],
            latencies.get(one.name, {}).get("latency_median_seconds"),
            latencies.get(one.name, {}).get("latency_p90_seconds"),
        )
        if one.name != first:
            alike = compare_outputs(outputs[first], outputs[one.name])
            difference = _difference(metrics[0], ground.samples, outputs[first], outputs[one.name])
            model = replace(
                model, agreement=alike.get("agreement"), max_error=alike["max_error"], difference=difference
            )
        made.append(model)
    part(1.0)
    better = {metric.name: metric.higher_is_better for metric in metrics}
    return Comparison(tuple(made), better, len(ground.samples), ground.name)


def _outputs(one: Contender, ground: _Ground, models: dict[str, Any]) -> Outputs:
    """The outputs of a model on the samples; a Keras model is kept in `models`."""
    from tfopt.models import signature
    from tfopt.tflite import batch_interpreter

    try:
        if one.format == "tflite":
            return batch_interpreter.file_outputs(one.path, ground.samples)
        model = models[one.name] = _load(one, one.path, ground.trust)
        return signature.keras_outputs(model, ground.samples.fitted(signature.inputs_of(model)))
    except DataError as error:
        raise error.reworded(f"{one.name} does not take the samples of {ground.name}: {error}") from error


def _load(one: Contender, path: Path, trust: bool) -> Any:
    """A Keras model, with the code of its run."""
    from tfopt.models import files, loading

    recipe = one.recipe
    if one.model is not None:
        return one.model
    if recipe is None:
        return loading.as_keras3(path, trust=trust)
    source = loading.resolve(recipe.model, recipe.folder)
    own = trust or recipe.trust or not isinstance(source, Path)
    return files.load(path, custom_objects=loading.custom_objects(source), trust=own)


def _align(outputs: dict[str, Outputs]) -> None:
    """Gives the outputs of all models the names of the first's, and checks that they are of the same shapes."""
    same_outputs({name: [value.shape[1:] for value in own.values()] for name, own in outputs.items()})
    names = list(next(iter(outputs.values())))
    for model, own in outputs.items():
        if set(own) != set(names):  # files of other makers have other names
            outputs[model] = dict(zip(names, own.values(), strict=True))


def _metrics(
    found: Sequence[Contender], ground: _Ground, models: Mapping[str, Any], outputs: Mapping[str, Outputs]
) -> list[Metric]:
    """The metrics, as the first model of Keras says how its outputs decide; as the labels do where there is none."""
    from tfopt.data.splits import Data
    from tfopt.recipe.stage import Context
    from tfopt.stages.scoring import metrics_of

    samples = ground.samples
    for one in found:
        model = models[one.name] if one.name in models else _keras_model_of(one, ground)
        if model is None:
            continue
        recipe = one.recipe
        asked = ground.metrics or (find_all(recipe.metrics, recipe.folder) if recipe else ())
        data = Data(samples, samples, samples)
        return metrics_of(model, Context("", "", Path(), data, 0, loss=recipe and recipe.loss, metrics=asked))
    return _by_labels(ground, next(iter(outputs.values())))


def _keras_model_of(one: Contender, ground: _Ground) -> Any:
    """The Keras model that the file of a run was made from; None for a file, or where it cannot be loaded again."""
    from tfopt.report import summary

    if one.run is None:
        return None
    artifacts = summary.collect(one.run)
    at = next(artifact for artifact in artifacts.values() if artifact.path == one.path)
    path = at.folder / TRAINED
    while at.format != "keras" and not path.exists():
        at = artifacts[at.parents[0]]
        path = at.path
    try:
        return _load(one, path, ground.trust)
    except InputError:  # the model was a Python object
        return None


def _by_labels(ground: _Ground, outputs: Outputs) -> list[Metric]:
    """The metrics of outputs of which only the labels tell what they are: accuracy of ids, else the squared error."""
    y = ground.samples.y
    found: list[Metric] = []
    for name, values in outputs.items():
        labels = y.get(name) if isinstance(y, dict) else y
        if labels is None:
            continue
        ids = labels.dtype.kind in "iub" or bool(np.isin(labels, (0, 1)).all())
        own = ground.metrics or (METRICS["accuracy"] if ids else default_metric(None),)
        if values.ndim == 2 and values.shape[1] == 1 and (values.min() < 0 or values.max() > 1):
            own = tuple(replace(metric, decisions=((name, Decision(logits=True)),)) for metric in own)
        found += [metric.of(name) if len(outputs) > 1 and metric.output is None else metric for metric in own]
    return list(dict.fromkeys(found))


def _scores(metrics: Sequence[Metric], ground: _Ground, outputs: Outputs) -> dict[str, float]:
    try:
        return {metric.name: score_split(metric, ground.samples, outputs) for metric in metrics}
    except (ValueError, TypeError, IndexError) as error:
        raise InputError(
            f"{', '.join(metric.name for metric in metrics)} cannot be taken of the outputs and the labels of "
            f"{ground.name}: {str(error).splitlines()[0]}. Name the metric that you want."
        ) from error


def _latencies(
    found: Sequence[Contender], samples: Samples, seconds: float, threads: int
) -> dict[str, dict[str, float]]:
    """The latency of each `.tflite` by name, measured in turns."""
    from tfopt.tflite.benchmark import input_names
    from tfopt.tflite.interleaved import measure_in_turns

    files = [one for one in found if one.format == "tflite"]
    if not files:
        return {}
    x = samples.few(1).x
    names = dict.fromkeys(name for one in files for name in input_names(one.path))
    arrays = x if isinstance(x, dict) else dict.fromkeys(names, x)
    shapes = {name: array.shape[1:] for name, array in arrays.items()}
    measured = measure_in_turns([one.path for one in files], seconds, threads, shapes)
    return {one.name: own for one, own in zip(files, measured, strict=True)}


def _difference(metric: Metric, samples: Samples, first: Outputs, second: Outputs) -> PairedDifference:
    """The difference of a metric on the same samples: tested on right and wrong where it is accuracy."""
    output = metric.output or next(iter(first))
    labels = np.asarray(samples.y[output] if isinstance(samples.y, dict) else samples.y)
    before, after = first[output], second[output]
    decision = dict(metric.decisions).get(output) or Decision()
    if metric.keras == "accuracy" and not decision.multilabel:
        right = []
        for values in (before, after):
            ids, given = class_ids(labels, decision.probabilities(values))
            right.append(ids == given)
        if len(right[0]) == len(samples):  # of sequences a sample has several answers, which are not independent
            return accuracy_difference(right[0], right[1])

    def score(index: np.ndarray) -> float:
        pair = [metric.value(labels[index], values[index], output) for values in (before, after)]
        return pair[1] - pair[0]

    return bootstrap_difference(score, len(samples))
