"""The models of a comparison: found, told apart and checked before TensorFlow is imported."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfopt.errors import DataError, InputError, ModelError, did_you_mean_file
from tfopt.pipeline.plan import seeded
from tfopt.pipeline.result import Result
from tfopt.recipe.artifact import RECIPE
from tfopt.recipe.recipe import Recipe
from tfopt.recipe.workspace import Workspace
from tfopt.recipe.yaml_source import is_recipe

if TYPE_CHECKING:
    from tfopt.data.splits import Samples

# Longer names of files are shortened to the end of their path.
LONGEST_NAME = 36


@dataclass(frozen=True)
class Contender:
    """One model of a comparison.

    Args:
        name: Its name in the tables.
        path: The model file.
        format: `keras` or `tflite`.
        run: The folder of the run that it is the result of; None for a file.
        model: The Keras model itself, where it is one in memory, whose file is a copy.
    """

    name: str
    path: Path
    format: str
    run: Path | None = None
    model: Any = None

    @cached_property
    def recipe(self) -> Recipe | None:
        """The recipe of the run; None for a file."""
        return Recipe.load(self.run / RECIPE) if self.run else None

    @cached_property
    def data_source(self) -> Any:
        """The resolved data of the run; None for a file, and where they were Python objects."""
        from tfopt.data import sources

        if self.recipe is None:
            return None
        try:
            return sources.resolve(self.recipe.data, self.recipe.folder)
        except InputError:
            return None

    def load_data(self) -> Any:
        """The data of the run, as the run has loaded it."""
        from tfopt.data import sources

        with seeded(self.recipe.seed if self.recipe else 0):
            return sources.load(self.data_source)


def contenders(given: Sequence[Any], out: Path, scratch: Path) -> list[Contender]:
    """The models that were named.

    Args:
        given: Folders of runs, recipes, model files, or in Python results of runs, Keras models, bytes of `.tflite`.
        out: The folder that the runs of recipes are in.
        scratch: A folder for the files of models in memory.

    Raises:
        InputError: Fewer than two, one twice, or a run without results.
        ModelError: A file is missing or is no model.
    """
    if len(given) < 2:
        raise InputError(
            f"a comparison takes two models or more: runs, .tflite or .keras files. Received: {len(given)}."
        )
    found = [_contender(one, out, scratch / str(number)) for number, one in enumerate(given, 1)]
    for number, one in enumerate(found):
        if any(one.path == other.path for other in found[:number]):
            raise InputError(f"{one.name} is named twice, and a model does not differ from itself. Name it once.")
    names = [one.name for one in found]
    long = any(one.run is None and len(one.name) > LONGEST_NAME for one in found)  # then all files have short names
    return [
        replace(one, name=_told_apart(one, found)) if names.count(one.name) > 1 or (long and not one.run) else one
        for one in found
    ]


def _told_apart(one: Contender, found: Sequence[Contender]) -> str:
    """The end of a model's path, as much of it as tells it from the others; of stages' files with the stage."""
    parts = one.path.parts
    for count in range(2 if one.path.stem == "model" else 1, len(parts)):
        others = [other.path.parts[-count:] for other in found if other is not one]
        if parts[-count:] not in others:
            return "/".join(parts[-count:])
    return str(one.path)


def _contender(given: Any, out: Path, scratch: Path) -> Contender:
    if isinstance(given, Result):
        return _of_run(given.folder, given)
    if not isinstance(given, str | os.PathLike):
        return _in_memory(given, scratch)
    path = Path(given)
    if not path.exists():
        raise ModelError(f"there is no file or folder {path}.{did_you_mean_file(path)}")
    if is_recipe(path):
        return _of_run(out / Recipe.load(path, run_code=False).name)
    if path.is_dir():
        return _of_run(path)
    from tfopt.models.foreign_files import refuse_foreign
    from tfopt.models.stored_model import FILES
    from tfopt.tflite.flatbuffer import is_tflite

    if is_tflite(path):
        return Contender(str(path), path.resolve(), "tflite")
    if path.suffix in FILES:
        return Contender(str(path), path.resolve(), "keras")
    refuse_foreign(path)
    raise ModelError(f"{path} is not a model file. A comparison takes runs, recipes, .tflite, .keras and .h5 files.")


def _in_memory(given: Any, scratch: Path) -> Contender:
    """A Keras model, or the bytes of a `.tflite`, with a file of its own."""
    if isinstance(given, bytes):
        scratch.mkdir(parents=True)
        path = scratch / "model.tflite"
        path.write_bytes(given)
        return Contender(f"model {scratch.name}", path, "tflite")
    if not hasattr(given, "trainable_variables"):
        raise ModelError(f"a comparison takes runs, recipes, models and their files. Received: {given!r:.80}.")
    from tfopt.models import files, loading

    model = loading.as_keras3(given)
    scratch.mkdir(parents=True)
    files.save(model, scratch / "model.keras")
    return Contender(model.name, scratch / "model.keras", "keras", model=model)


def _of_run(folder: Path, result: Result | None = None) -> Contender:
    from tfopt.report import summary
    from tfopt.report.standing import outdated_steps

    if result is None:
        if not Workspace(folder).artifacts():
            raise InputError(f"{folder} holds no results. Run its recipe first, or name a model file.")
        for name, before in outdated_steps(folder).items():
            raise InputError(f"{name} of {folder} was made from an earlier {before}. Run its recipe to the end first.")
        result = Result(summary.collect(folder.resolve()), (), folder.resolve())
    final = result.final
    return Contender(folder.name, final.path, final.format, folder.resolve())


def check_classes(found: Sequence[Contender]) -> None:
    """Refuses `.tflite` files whose outputs are not of the same shapes; others are checked once they ran.

    Raises:
        ModelError: Two files answer different questions, or a file is cut short.
    """
    from tfopt.tflite.file import read

    shapes = {
        one.name: [shape[1:] for _, shape in read(one.path).outputs.values()] for one in found if one.format == "tflite"
    }
    same_outputs(shapes)


def same_outputs(shapes: dict[str, list[tuple[int, ...]]]) -> None:
    """Refuses models whose outputs are not of the same shapes.

    Args:
        shapes: The shapes of the outputs of one sample, by model.

    Raises:
        ModelError: They differ.
    """
    first, *others = shapes.items() or [("", [])]
    for name, own in others:
        if own != first[1]:
            raise ModelError(
                f"{first[0]} gives {_said(first[1])} and {name} gives {_said(own)}: models that are compared answer "
                "the same question."
            )


def _said(shapes: Sequence[tuple[int, ...]]) -> str:
    words = [f"{shape[0]} scores" if len(shape) == 1 else f"values of shape {shape}" for shape in shapes]
    return " and ".join(words)


def data_of_runs(found: Sequence[Contender]) -> Contender:
    """The run whose data all models are compared on: the first, where all runs are of the same data.

    Raises:
        DataError: No run, data that cannot be loaded again, or different data.
    """
    from tfopt.data import sources

    runs = [one for one in found if one.run]
    if not runs:
        raise DataError("model files alone do not say on what to compare them: give labelled samples with --data.")
    for one in runs:
        if one.data_source is None:
            raise DataError(f"the data of {one.name} were Python objects: give them again with --data.")
    first, *others = runs
    for other in others:
        named_alike = str(other.data_source) == str(first.data_source) and _arguments(other) == _arguments(first)
        if named_alike and (_seed(other) == _seed(first) or isinstance(first.data_source, str | Path)):
            continue
        if named_alike:
            if not _same_samples(*(one.load_data().test for one in (first, other))):
                raise DataError(
                    f"{first.data_source} gives {first.name} and {other.name}, of the seeds {_seed(first)} and "
                    f"{_seed(other)}, different test splits. Name the samples to compare them on with --data."
                )
            continue
        prints = [sources.fingerprint(one.data_source, one.load_data) for one in (first, other)]
        if prints[0] != prints[1]:
            raise DataError(
                f"{first.name} and {other.name} are of different data, {first.data_source} and {other.data_source}. "
                "Name the samples to compare them on with --data."
            )
    return first


def _arguments(one: Contender) -> Any:
    return getattr(one.data_source, "arguments", None)


def _same_samples(one: Samples, other: Samples) -> bool:
    """Whether two splits are the same, of streams as far as their first samples tell."""
    from tfopt.data.arrays import by_name
    from tfopt.data.splits import CHUNK, Split

    first, second = (each if isinstance(each, Split) else each.few(CHUNK) for each in (one, other))
    pairs = [(by_name(a), by_name(b)) for a, b in ((first.x, second.x), (first.y, second.y))]
    return all(a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a) for a, b in pairs)


def _seed(one: Contender) -> int | None:
    """The seed of a run, which a data function may split its samples by."""
    return one.recipe.seed if one.recipe else None
