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
from tfopt.data.splits import Split
from tfopt.errors import DataError, InputError
from tfopt.metrics import Metric, compare_outputs, find_all, metrics_by_labels, scores_of
from tfopt.metrics.paired import paired_difference
from tfopt.output_capture import captured
from tfopt.pipeline.contenders import Contender, check_classes, contenders, data_of_runs, same_outputs
from tfopt.pipeline.plan import seeded
from tfopt.recipe.artifact import TRAINED
from tfopt.recipe.recipe import Recipe
from tfopt.recipe.yaml_source import is_recipe
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
    from tfopt.data.labelled import check_labelled, labelled_samples

    if data is None:
        run = data_of_runs(found)
        return _Ground(run.load_data().test, run.name, asked, trust)
    if isinstance(data, str | Path) and is_recipe(Path(data)):
        recipe = Recipe.load(data)
        source = sources.resolve(recipe.data, recipe.folder)
        with seeded(recipe.seed):
            return _Ground(sources.load(source).test, recipe.name, asked, trust)
    check_labelled(data, Path.cwd())
    name = str(data) if isinstance(data, str | Path) else "the samples given"
    return _Ground(labelled_samples(data, Path.cwd()), name, asked, trust)


def _compared(
    found: Sequence[Contender], ground: _Ground, seconds: float, threads: int, part: Callable[[float], Any]
) -> Comparison:
    models: dict[str, Any] = {}
    outputs: dict[str, Outputs] = {}
    for number, one in enumerate(found):
        outputs[one.name] = _outputs(one, ground, models)
        part((number + 1) / (len(found) + 2))
    _align(outputs, ground.samples.y)
    metrics = _metrics(found, ground, models, outputs)
    scores = {name: scores_of(metrics, ground.samples, own) for name, own in outputs.items()}
    latencies = _latencies(found, ground.samples, seconds, threads)
    first = found[0].name
    made = []
    for number, one in enumerate(found):
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

            def judged(done: float, before: int = number - 1) -> None:
                part((len(found) + 1 + (before + done) / (len(found) - 1)) / (len(found) + 2))

            pair = outputs[first], outputs[one.name]
            alike = compare_outputs(*pair)
            model = replace(
                model,
                agreement=alike.get("agreement"),
                max_error=alike["max_error"],
                difference=paired_difference(metrics[0], ground.samples, *pair, judged),
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


def _align(outputs: dict[str, Outputs], y: Any) -> None:
    """Gives the outputs of all models the same names, and checks that they are of the same shapes.

    Files of other makers have other names: all take those that the labels have, else those of the first model.
    """
    same_outputs({name: [value.shape[1:] for value in own.values()] for name, own in outputs.items()})
    first, *others = outputs.values()
    labels = set(y) if isinstance(y, dict) else set()
    names = list(next((own for own in (first, *others) if labels & set(own)), first))
    for model, own in outputs.items():
        if set(own) != set(names):
            outputs[model] = dict(zip(names, own.values(), strict=True))


def _metrics(
    found: Sequence[Contender], ground: _Ground, models: Mapping[str, Any], outputs: Mapping[str, Outputs]
) -> list[Metric]:
    """The metrics, as the first model of Keras says how its outputs decide; as the labels do where there is none."""
    own = next(iter(outputs.values()))
    for one in found:
        model = models[one.name] if one.name in models else _keras_model_of(one, ground)
        if model is not None:
            return _metrics_of(model, one.recipe, ground, list(own))
    return metrics_by_labels(ground.metrics, ground.samples, own)


def _metrics_of(model: Any, recipe: Recipe | None, ground: _Ground, names: Sequence[str]) -> list[Metric]:
    """The metrics as a model of Keras says, whose outputs are known under these names here."""
    from tfopt.models import signature
    from tfopt.stages.scoring import metrics_on

    samples = ground.samples
    theirs = signature.output_names(model) or list(signature.keras_outputs(model, samples.few(1)))
    if set(theirs) == set(names):
        theirs = list(names)
    here, there = dict(zip(theirs, names, strict=True)), dict(zip(names, theirs, strict=True))
    y: Any = samples.y
    if isinstance(y, dict):
        y = {there.get(name, name): labels for name, labels in y.items()}
    asked = [metric.renamed(there) for metric in ground.metrics]
    if not asked and recipe:
        asked = list(find_all(recipe.metrics, recipe.folder))
    found = metrics_on(model, Split(samples.few(1).x, y), asked, recipe and recipe.loss)
    return [metric.renamed(here) for metric in found]


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


def _latencies(
    found: Sequence[Contender], samples: Samples, seconds: float, threads: int
) -> dict[str, dict[str, float]]:
    """The latency of each `.tflite` by name, measured in turns."""
    from tfopt.tflite.interleaved import measure_in_turns
    from tfopt.tflite.timing_process import sample_shapes

    files = [one for one in found if one.format == "tflite"]
    if not files:
        return {}
    paths = [one.path for one in files]
    measured = measure_in_turns(paths, seconds, threads, sample_shapes(samples.few(1).x, *paths))
    return {one.name: own for one, own in zip(files, measured, strict=True)}
