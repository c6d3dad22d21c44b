"""The recipe, read from YAML, with file:line on every mistake and the chain of formats checked."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PrivateAttr, field_serializer, field_validator

from tfopt.errors import InputError, Location, RecipeError, did_you_mean
from tfopt.output_capture import captured
from tfopt.recipe.artifact import JOURNAL, OLD, PARTIAL, RESERVED, SOURCE
from tfopt.recipe.runtime import Runtime
from tfopt.recipe.settings import Settings, one_is_a_list
from tfopt.recipe.stage import LONGEST_NAME, Stage, UnreadStage, known_stages, read_stages, register, unread_allowed
from tfopt.recipe.yaml_source import locate, read_yaml
from tfopt.user_code import find_file, import_file


@dataclass(frozen=True)
class Step:
    """One stage of the chain, with its unique name and the names of its input steps."""

    name: str
    stage: Stage
    parents: tuple[str, ...]


class Recipe(Settings):
    """A model, data, and the stages to fold over it."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=LONGEST_NAME)
    """Names the folder of the results under saved_models/."""
    model: Any
    """`file.py:function`, `package.module:function`, either with arguments `{keras.applications:MobileNetV2: {weights:
    imagenet}}`, a `.keras` or `.h5` file, or a SavedModel folder of Keras 2; in Python also a function or a model, of
    Keras 3 or tf_keras. A function whose first parameter is `hp` is given keras-tuner's hyperparameters."""
    data: Any
    """`digits`, `file.npz`, `keras:mnist` and its siblings, `tfds:mnist` and all of TensorFlow Datasets, or a
    function's reference, with or without arguments; in Python also a function, a `tfopt.Data` or a pair of splits."""
    stages: list[Any] = Field(min_length=1)
    """The stages in their order, each written `kind: {settings}`."""
    loss: Any = None
    """A Keras loss by name, or `{name: {argument: value}}`, or such by the name of the model's outputs, `{digit: ...,
    speaker: ...}`; the model's own compile if not given. tfopt's own `sparse_categorical_focal_crossentropy` too."""
    metrics: Any = ()
    """Metrics, the one that max_drop is about first: accuracy, balanced_accuracy, precision, recall, f1, roc_auc,
    top_5, mae, mse, r2, `f1_weighted` and its like, or a function `file.py:name` of your own; by output of the model in
    a mapping, `{digit: [accuracy], age: [mae]}`. The model's own compile if not given."""
    seed: int = Field(0, ge=0, strict=True)
    """Seed of all random choices: initial weights, data order, dropout, choice of calibration samples."""
    trust: bool = False
    """Load a model file that carries Python code (a Lambda layer). Such a file can run anything: only for your own."""
    runtime: Runtime = Field(default_factory=lambda: Runtime(**{}), examples=[{"strategy": "mirrored"}])
    """Devices, precision and logs of the stages that train."""
    use: Annotated[tuple[str, ...], BeforeValidator(one_is_a_list)] = ()
    """Python files with stages of your own."""

    _file: Path | None = PrivateAttr(None)
    _folder: Path | None = PrivateAttr(None)
    _lines: Any = PrivateAttr(None)
    _changed: tuple[str, ...] = PrivateAttr(())
    _printed: str = PrivateAttr("")

    @field_validator("stages", mode="before")
    @classmethod
    def _read_stages(cls, stages: Any) -> list[Any]:
        return read_stages(stages)

    @field_validator("model", "data")
    @classmethod
    def _says_something(cls, value: Any) -> Any:
        if value is None or value == "" or isinstance(value, bool | int | float):
            raise ValueError(f"is a file, a function's reference or, in Python, an object. Received: {value!r}")
        return value

    @field_validator("metrics", mode="before")
    @classmethod
    def _read_metrics(cls, value: Any) -> Any:
        from tfopt.metrics import find

        def listed(names: Any) -> tuple[Any, ...]:
            return tuple(names) if isinstance(names, list | tuple) else (names,)

        if value is None:
            return ()
        read = {str(k): listed(v) for k, v in value.items()} if isinstance(value, Mapping) else listed(value)
        for name in itertools.chain.from_iterable(read.values()) if isinstance(read, dict) else read:
            if not isinstance(name, str) or ":" not in name:  # a file is looked for once its folder is known
                try:
                    find(name)
                except InputError as error:
                    raise ValueError(str(error)) from error
        return read

    @field_validator("loss", mode="before")
    @classmethod
    def _read_loss(cls, value: Any) -> Any:
        named = value is None or isinstance(value, str | Mapping) or callable(value)
        if not named or value == "" or value == {}:
            raise ValueError(
                "is a name such as mse, a name with its arguments such as {huber: {delta: 0.5}}, or such by the "
                f"model's outputs. Received: {value!r}"
            )
        return value

    @field_serializer("model", "data")
    def _write_source(self, value: Any) -> Any:
        return _written(value)

    @field_serializer("loss", "metrics")
    def _write_names(self, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: self._write_names(inner) for name, inner in value.items()}
        if isinstance(value, list | tuple):
            return [_written(name) for name in value]
        return value if value is None or isinstance(value, int | float) else _written(value)

    @field_serializer("stages")
    def _write_stages(self, stages: list[Stage]) -> list[dict[str, Any]]:
        return [stage.written() for stage in stages]

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """The fields that were given; of objects such as arrays and models their names alone."""
        for name, value in super().__repr_args__():
            if name in self.model_fields_set:
                yield name, _written(value) if name in ("model", "data") else value

    @property
    def folder(self) -> Path:
        """The recipe file's folder, where relative paths are looked for first."""
        return self._folder or Path.cwd()

    @property
    def printed(self) -> str:
        """What the code of `use` printed when it was loaded, for the log of a run."""
        return self._printed

    @classmethod
    def load(cls, path: str | os.PathLike[str], run_code: bool = True, **changes: Any) -> Recipe:
        """Reads a YAML recipe.

        Args:
            path: The file.
            run_code: Whether the Python files of `use` are run; if not, what only they can check is left unchecked.
            **changes: Top-level fields that override the file's; for `runtime` single settings.

        Raises:
            RecipeError: One line for each mistake: `file:line: what is wrong. What to do.`
        """
        file = Path(path)
        document = read_yaml(file)
        known_stages()  # before a user's file, whose stages must not take their names
        used = document.get("use") or ()
        files = [used] if not isinstance(used, Sequence) or isinstance(used, str) else list(used)
        try:
            printed = _run_files(files, file.parent) if run_code else ""
        except InputError as error:
            raise locate(RecipeError([(("use",), str(error))]), file, document) from error
        if isinstance(written := document.get("runtime"), Mapping) and "runtime" in changes:
            changes["runtime"] = {**written, **changes["runtime"]}
        try:
            with contextlib.nullcontext() if run_code or not files else unread_allowed():
                recipe = cls(**{**{str(k): v for k, v in document.items()}, **changes})
            recipe._file, recipe._folder = file, file.resolve().parent
            recipe._lines, recipe._changed, recipe._printed = document, tuple(changes), printed
            recipe.chain()
        except RecipeError as error:
            raise locate(error, file, document, tuple(changes)) from None
        return recipe

    @property
    def unread(self) -> tuple[str, ...]:
        """The kinds of its stages whose code was not run when it was loaded, so that they were not checked."""
        return tuple(dict.fromkeys(stage.kind for stage in self.stages if isinstance(stage, UnreadStage)))

    def to_yaml(self) -> str:
        """The recipe as YAML that `load` reads back, with only what differs from the defaults."""
        from tfopt.recipe.yaml_text import yaml_text

        written = self.model_dump(
            mode="json", exclude_defaults=True, exclude={n for n in ("loss", "metrics") if not vars(self)[n]}
        )
        return yaml_text(written)

    def chain(self) -> list[Step]:
        """The stages with their names and parents; checks that the formats along the chain fit.

        Raises:
            RecipeError: A name is taken twice, `after` names no earlier stage, or a stage cannot take what it is given.
        """
        steps: dict[str, Step] = {}
        gives: dict[str, str] = {SOURCE: "keras"}
        before = SOURCE
        for index, stage in enumerate(self.stages):
            at: Location = ("stages", index, stage.kind)
            name = stage.name or free_name(stage.kind, steps)
            if name.lower() in RESERVED or name.endswith((PARTIAL, OLD, JOURNAL)):
                raise RecipeError(
                    [((*at, "name"), f"the results folder uses the name {name!r} itself. Choose another.")]
                )
            if name in gives:
                raise RecipeError([((*at, "name"), f"two stages are called {name!r}. Give one another `name`.")])
            parents = _parents(stage, before, gives, steps, at)
            _check_needs(stage, gives, at)
            steps[name] = Step(name, stage, parents)
            gives[name] = stage.gives
            before = before if stage.gathers else name
        return list(steps.values())

    def located(self, error: InputError, step: Step | None = None, field: Location = ()) -> InputError:
        """The error with the recipe's file:line in front, if the recipe came from a file.

        Args:
            error: The error to locate.
            step: The step whose settings are at fault.
            field: The top-level field at fault, where the error itself has none.
        """
        if self._file is None:
            return error
        prefix: Location = ()
        if step:
            index = next(number for number, stage in enumerate(self.stages) if stage is step.stage)
            prefix = ("stages", index, step.stage.kind)
        problems = error.problems if isinstance(error, RecipeError) else [(error.field or field, str(error))]
        placed = RecipeError([((*prefix, *place), sentence) for place, sentence in problems])
        located = locate(placed, self._file, self._lines, self._changed)
        return located if isinstance(error, RecipeError) else error.reworded(str(located))


def _run_files(files: Sequence[Any], folder: Path) -> str:
    """Runs the files of `use`, whose stages are known from then on; returns what they print."""
    printed = ""
    for file in files:
        with captured() as kept:
            register(import_file(find_file(str(file), folder)))
        printed += kept.text()
    return printed


def _written(value: Any) -> Any:
    """A source as written in a recipe; for an object only its name."""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping) and len(value) == 1 and ":" in str(next(iter(value))):
        return dict(value)
    name = getattr(value, "__qualname__", None) or getattr(value, "name", None) or type(value).__name__
    return f"{getattr(value, '__module__', 'python')}:{name}"


def free_name(wanted: str, taken: Container[str]) -> str:
    """A unique stage name: the wanted one, numbered from its second use on."""
    number, name = 1, wanted
    while name in taken:
        number += 1
        name = f"{wanted}-{number}"
    return name


def _parents(
    stage: Stage, before: str, gives: Mapping[str, str], steps: Mapping[str, Step], at: Location
) -> tuple[str, ...]:
    if stage.after is not None and stage.after not in gives:
        raise RecipeError(
            [((*at, "after"), f"no earlier stage is called {stage.after!r}. {did_you_mean(stage.after, gives)}")]
        )
    if stage.gathers and stage.after is None:
        found = tuple(
            name for name, step in steps.items() if step.stage.gives in (stage.takes, None) and not step.stage.gathers
        )
        if found:
            return found
        raise RecipeError(
            [
                (
                    at,
                    f"{stage.kind} needs a {stage.takes} file, and no stage before makes one. Put quantize before it.",
                )
            ]
        )
    parent = stage.after or before
    if not _fits(gives[parent], stage.takes):
        fitting = [name for name in gives if gives[name] == stage.takes]
        way = f"Move it up, or write `after: {fitting[-1]}`." if fitting else "Put quantize before it."
        raise RecipeError(
            [(at, f"{stage.kind} takes a {stage.takes} model, and {parent!r} gives a {gives[parent]} file. {way}")]
        )
    if stage.gathers and parent in steps and steps[parent].stage.gathers:
        raise RecipeError([((*at, "after"), f"{parent!r} makes no file of its own. Name the stage that made it.")])
    return (parent,)


def _fits(given: str | None, taken: str | None) -> bool:
    """Whether a format is the one that is taken, as far as both are known."""
    return given is None or taken is None or given == taken


def _check_needs(stage: Stage, gives: Mapping[str, str], at: Location) -> None:
    for name, need in stage.needs().items():
        if name not in gives:
            sentence = f"no earlier stage is called {name!r}. {did_you_mean(name, gives)}"
            raise RecipeError([((*at, *need.field), sentence)])
        if not _fits(gives[name], need.format):
            fitting = [other for other in gives if gives[other] == need.format]
            way = f"Name one of {', '.join(fitting)}." if fitting else f"No stage before makes a {need.format} one."
            sentence = f"{need.field[-1]} takes a {need.format} model, and {name!r} gives a {gives[name]} file. {way}"
            raise RecipeError([((*at, *need.field), sentence)])
