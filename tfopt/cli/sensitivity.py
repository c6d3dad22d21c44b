"""The command `sensitivity`: the cost of quantizing or pruning each layer alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tfopt.cli.answer import Answer, JsonOption
from tfopt.cli.models import ModelFile, Trust, check_files, check_folder
from tfopt.cli.screen import (
    open_console,
    print_json,
    print_lines,
    print_table,
    print_warnings,
    progress_bar,
    write_page,
)

if TYPE_CHECKING:
    from tfopt.data.splits import Data, Split
    from tfopt.metrics import Metric
    from tfopt.sparsity import PruningSensitivity

QUANTIZED_SAMPLES, PRUNED_SAMPLES = 200, 1000
TARGET = 0.9


@dataclass(frozen=True)
class _Pruning:
    """The options of the command with `--prune`."""

    data: str
    samples: int
    target: float
    metric: str | None
    only: tuple[str, ...]
    skip: tuple[str, ...]


@dataclass(frozen=True)
class _Pruned:
    """The result of the command with `--prune`."""

    layers: PruningSensitivity
    metric: str
    samples: int


def sensitivity(
    model: ModelFile,
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            help="Representative inputs: x.npy, inputs.npz (by input name), or a recipe's data: npz:file.npz, "
            "keras:mnist, file.py:function. With --prune labelled samples: a recipe's data, or its .npz file.",
        ),
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option(
            "--samples",
            min=1,
            help=f"How many of them to take: {QUANTIZED_SAMPLES} if not given, {PRUNED_SAMPLES} of the validation "
            "split with --prune.",
        ),
    ] = None,
    prune: Annotated[
        bool, typer.Option("--prune", help="Prune each layer alone, not quantize it, and score labelled samples.")
    ] = False,
    target: Annotated[
        float | None,
        typer.Option("--target", help=f"With --prune: the overall sparsity to allocate, {TARGET} if not given."),
    ] = None,
    metric: Annotated[
        str | None, typer.Option("--metric", help="With --prune: accuracy, mae or mse; the loss says if not given.")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option("--only", help="With --prune: a pattern of layers to prune.")
    ] = None,
    skip: Annotated[
        list[str] | None, typer.Option("--skip", help="With --prune: a pattern of layers to leave dense.")
    ] = None,
    as_json: JsonOption = False,
    plot: Annotated[Path | None, typer.Option("--plot", help="Write a page with a chart to this .html file.")] = None,
    trust: Trust = False,
) -> None:
    """Rank every layer by what quantizing it alone costs for each byte saved; or show what pruning it alone costs."""
    from tfopt.errors import InputError

    with Answer(as_json).errors():
        if plot is not None:
            check_folder(plot)
        if not prune:
            given = {"--target": target, "--metric": metric, "--only": only or None, "--skip": skip or None}
            for option, value in given.items():
                if value is not None:
                    raise InputError(f"{option} goes with --prune. Add --prune, or leave {option} out.")
            _quantized(model, data, samples or QUANTIZED_SAMPLES, as_json, plot, trust)
            return
        if data is None:
            raise InputError(
                "--prune scores labelled samples: give --data, such as --data npz:file.npz or keras:mnist."
            )
        wanted = TARGET if target is None else target
        if not 0 < wanted < 1:
            raise InputError(f"--target is a fraction of zeros between 0 and 1. Received: {wanted:g}.")
        asked = _Pruning(data, samples or PRUNED_SAMPLES, wanted, metric, tuple(only or ()), tuple(skip or ()))
        _prune(model, asked, as_json, plot, trust)


def _quantized(model: Path, data: str | None, samples: int, as_json: bool, plot: Path | None, trust: bool) -> None:
    from tfopt.report import quantization as words

    source = check_files(model, data, trust)
    console = open_console()
    with progress_bar(console, "sensitivity") as part:
        from tfopt.models import loading, signature
        from tfopt.models.keras2.migration import OutputCheck
        from tfopt.quantization import rank_layers

        def inputs_of(model: Any) -> Any:
            return None if source is None else source.take(signature.inputs_of(model), samples)

        loaded = loading.as_keras3(model, trust=trust, comparison=OutputCheck(samples=inputs_of))
        inputs = inputs_of(loaded)
        found = rank_layers(loaded, inputs, part=part)
    write_page(plot, lambda: words.sensitivity_page(found.layers, model.name, found.notes))
    if as_json:
        print_json(words.sensitivity_record(found.layers))
        print_warnings(found.notes if data is None else ())
        return
    print_table(console, words.SENSITIVITY, [words.sensitivity_cells(line) for line in found.layers], left=3)
    lines = [f"note  {note}" for note in (*words.sensitivity_remarks(found.layers), *found.notes)]
    print_lines(console, lines, plot)


def _prune(model: Path, asked: _Pruning, as_json: bool, plot: Path | None, trust: bool) -> None:
    from tfopt.models import stored_model
    from tfopt.report import pruning as words

    stored_model.check(model, trust=trust)  # before TensorFlow is imported, which takes seconds
    wanted = _metrics(asked.metric)
    source = _source(asked.data)
    console = open_console()
    with progress_bar(console, "sensitivity") as part:
        found = _pruned(model, asked, _labelled_data(source, stored_model.input_shapes(model)), wanted, trust, part)
    curves, suggestion, skipped = found.layers.curves, found.layers.suggestion, found.layers.skipped
    write_page(plot, lambda: words.curves_page(curves, suggestion, model.name, found.metric, asked.target))
    if as_json:
        print_json(words.curves_record(curves, suggestion, found.metric, asked.target, skipped))
        return
    rows = [words.curve_cells(curve, suggestion[curve.layer]) for curve in curves]
    print_table(console, words.curve_headers(curves), rows, left=1)
    lines = [f"{found.metric} on {found.samples:,} validation samples, each layer pruned alone and not trained again"]
    slow = [curve.layer for curve in curves if not curve.cached]
    lines += [f"note  the whole model was run for each score of {', '.join(slow)}"] if slow else []
    lines += [f"left  {path}: {reason}" for path, reason in skipped]
    lines += [f"{asked.target:g} of these weights pruned where it costs least, if losses add up; train on from it:", ""]
    print_lines(console, lines + words.stage_lines(suggestion, asked.target, asked.only, asked.skip), plot)


def _pruned(
    model: Path, asked: _Pruning, data: Data, metrics: tuple[Metric, ...], trust: bool, part: Callable[[float], None]
) -> _Pruned:
    from tfopt.models import loading, signature
    from tfopt.models.keras2.migration import OutputCheck
    from tfopt.sparsity import rank_layers

    def one_of(model: Any) -> Any:
        return data.fitted(signature.inputs_of(model)).train.few(1).inputs()

    loaded = loading.as_keras3(model, trust=trust, comparison=OutputCheck(samples=one_of))
    split, metric = _labelled(loaded, data, metrics, asked.samples)
    found = rank_layers(loaded, split, metric, target=asked.target, only=asked.only, skip=asked.skip, part=part)
    return _Pruned(found, metric.name, len(split))


def _metrics(name: str | None) -> tuple[Metric, ...]:
    from tfopt import metrics

    return (metrics.find(name),) if name else ()


def _source(source: str) -> Any:
    """What `--data` names, resolved."""
    from tfopt.data import sources
    from tfopt.errors import InputError

    if source.endswith(".npy"):
        raise InputError(
            f"--prune scores labelled samples, and a .npy file has none: np.savez makes a file of x_train, y_train, "
            f"x_test and y_test. Received: {source!r}."
        )
    return sources.resolve(source, Path.cwd())


def _labelled_data(source: Any, shapes: Mapping[str, tuple[int | None, ...]]) -> Data:
    """The labelled samples of a resolved source, checked, and fitted to the model's shapes as far as they are known."""
    from tfopt.data import sources

    data = sources.load(source).fitted(shapes)
    data.check()
    return data


def _labelled(model: Any, data: Data, wanted: tuple[Metric, ...], samples: int) -> tuple[Split, Metric]:
    """A seeded choice of validation samples, and the requested metric, else that of the model's loss."""
    from tfopt.errors import InputError
    from tfopt.models import signature
    from tfopt.stages.class_labels import check_class_labels
    from tfopt.stages.scoring import metrics_on

    data = data.fitted(signature.inputs_of(model))
    data.check()
    [metric, *_] = metrics_on(model, data.test, wanted)
    few = signature.outputs_on_samples(model, data.test.few(1))
    try:
        check_class_labels(metric, data.test.y, few, model, None)
    except InputError as error:
        told = str(error).partition(" Use mae or r2")[0]
        raise InputError(f"{told} Name another with --metric, such as --metric mae.") from None
    return data.validation.choose(samples, 0), metric
