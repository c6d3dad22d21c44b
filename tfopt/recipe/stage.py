"""The base class of stages: settings with the methods `check`, before any compute, and `run`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import ConfigDict, Field
from pydantic_core import PydanticCustomError

from tfopt.errors import Location, RecipeError, did_you_mean
from tfopt.models.read_models import ReadModels
from tfopt.recipe.artifact import BACKUP, Artifact, Format
from tfopt.recipe.progress import Progress
from tfopt.recipe.runtime import Runtime
from tfopt.recipe.settings import PROBLEMS, Settings, on_its_own
from tfopt.registry import Registry

if TYPE_CHECKING:
    from tfopt.data.splits import Data
    from tfopt.metrics import Metric


# Characters of a name, which is that of a folder: file systems take 255 bytes, with what is appended.
LONGEST_NAME = 100
# Settings by pattern, of which the first or the last one that matches counts.
ORDERED = ("rates", "prunable", "axes")


@dataclass(frozen=True)
class Context:
    """The context that a stage runs in, besides its input artifacts.

    Args:
        name: The stage's name.
        key: Content key of the stage's result.
        folder: The stage's partial folder, committed as a whole once it returns.
        data: The splits, fitted to the model's input shapes.
        seed: Seed of all random choices: weight initialisation, data order, dropout.
        loss: The recipe's loss; None for the loss that the model is compiled with.
        metrics: The recipe's metrics, the gated one first; empty for those that the model is compiled with.
        artifacts: Every earlier result, by name.
        progress: Receives the progress of the stage.
        custom_objects: Classes and functions of the user's file that a saved model may need.
        devices: The `training.devices.Devices` to train on; None for this process's own.
        build: The recipe's model function, where it maps keras-tuner's hyperparameters to a model.
        recipe_folder: The recipe's folder, where relative paths are looked for first.
        trust: Whether saved Python code (a Lambda layer) may be loaded.
        told: Warnings for the user, each a line, which `artifact` puts into the result; empty ones are nothing.
        judged: Whether a later stage, or the one that this stage runs in, holds the result to a metric.
        tried: Whether the result is one of many that are made to be compared, so that only its figures count.
        reads: The models that stages of the run read and never change.
    """

    name: str
    key: str
    folder: Path
    data: Data
    seed: int
    loss: Any = None
    metrics: tuple[Metric, ...] = ()
    artifacts: Mapping[str, Artifact] = field(default_factory=dict)
    progress: Progress = field(default_factory=Progress)
    custom_objects: Mapping[str, Any] = field(default_factory=dict)
    trust: bool = False
    devices: Any = None
    build: Callable[[Any], Any] | None = None
    recipe_folder: Path = Path()
    told: list[str] = field(default_factory=list)
    judged: bool = False
    tried: bool = False
    reads: ReadModels = field(default_factory=ReadModels)

    def find(self, written: Any) -> tuple[Any, dict[str, Any]]:
        """The object that a reference in the recipe names, `file.py:name`, and the arguments written with it."""
        from tfopt.user_code import Ref

        if not isinstance(written, str | Mapping):
            return written, {}
        found = Ref.parse(written, self.recipe_folder)
        return found.load(), found.arguments

    def load(self, artifact: Artifact) -> Any:
        """The Keras model of an artifact, to train or change."""
        from tfopt.models import files

        return files.load(artifact.path, custom_objects=self.custom_objects, trust=self.trust)

    def read(self, artifact: Artifact) -> Any:
        """The Keras model of an artifact, to run or convert and not to change: others of the run have the same."""
        return self.reads.of(artifact.path, lambda: self.load(artifact))

    def save(self, model: Any) -> str:
        """Saves a Keras model into the folder and returns the file's name."""
        from tfopt.durable_files import storage_errors
        from tfopt.models import files

        with storage_errors(self.folder):
            files.save(model, self.folder / "model.keras")
        return "model.keras"

    def artifact(self, stage: Stage, parents: Sequence[Artifact], file: str, **rest: Any) -> Artifact:
        """The stage's result: `file` lies in the folder, or is given relative to it."""
        from tfopt.recipe.details.quantization import ConversionWarnings

        names = tuple(parent.name for parent in parents)
        if any(self.told):
            details = tuple(rest.get("details", ()))
            before = [text for detail in details if isinstance(detail, ConversionWarnings) for text in detail.warnings]
            others = [detail for detail in details if not isinstance(detail, ConversionWarnings)]
            warnings = ConversionWarnings(tuple(dict.fromkeys(filter(None, [*before, *self.told]))))
            rest["details"] = [*others, warnings]
        needed = [self.artifacts[name] for name in stage.needs() if name in self.artifacts]
        keys = {artifact.name: artifact.key for artifact in (*parents, *needed)}
        return Artifact(self.name, stage.kind, self.folder, file, stage.gives, self.key, names, made_from=keys, **rest)


@dataclass(frozen=True)
class Outlook:
    """What is known of a run before its model is built and TensorFlow is imported.

    Args:
        runtime: The recipe's runtime settings.
        metrics: The metrics that files will be scored by, the gated one first; empty where only the model tells.
        inputs: The stages whose results the stage is given, by name; without the model that the recipe starts from.
    """

    runtime: Runtime
    metrics: tuple[Metric, ...] = ()
    inputs: Mapping[str, Stage] = field(default_factory=dict)


@dataclass(frozen=True)
class Need:
    """An earlier result that a stage needs besides its inputs.

    Args:
        field: The setting that names it.
        format: Required format; None for either.
    """

    field: Location
    format: Format | None = None


class Stage(Settings):
    """One step of a recipe. The fields are the keys a user writes; the docstring is the reference.

    A subclass names its `kind` (the word in the recipe), what it `takes` and `gives` (`keras` or `tflite`), and a
    `version` to raise when its results change. One that sets `gathers` looks at every file of its format made before
    it, unless `after` names one; any other works on what the stage before it made. One that `trains` is run by every
    worker of a cluster. One that is `shared` lets other processes take part in its work; where it `has_chief`, one of
    them hands the work out and does none. What a stage that `prepares` makes of a fresh model is not compressed yet: of
    those at the head of a recipe the last gives the baseline, also of a file where one `replaces_outputs`. Of what an
    interrupted run has left in the folder it is given what `goes_on_from` names, with `*` for any letters, and nothing
    else. Lists of stages are in the order of their `rank`, then of their names.
    """

    kind: ClassVar[str]
    takes: ClassVar[Format] = "keras"
    gives: ClassVar[Format] = "keras"
    gathers: ClassVar[bool] = False
    version: ClassVar[int] = 1
    trains: ClassVar[bool] = False
    shared: ClassVar[bool] = False
    has_chief: ClassVar[bool] = False
    prepares: ClassVar[bool] = False
    replaces_outputs: ClassVar[bool] = False
    goes_on_from: ClassVar[tuple[str, ...]] = (BACKUP,)
    rank: ClassVar[int] = 100

    name: str | None = Field(None, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=LONGEST_NAME)
    """The stage's name and its folder's; the kind if not given."""
    after: str | None = None
    """The name of the earlier stage to go on from; the one before if not given."""

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Registers a user's own stage under its kind; installed stages are found by walking their package."""
        if "kind" in cls.__dict__ and not cls.__module__.startswith("tfopt."):
            _enter(cls)

    def check_settings(self, outlook: Outlook) -> None:
        """Checks what can be told without the model and the data, before TensorFlow is imported.

        Args:
            outlook: What is known of the run.

        Raises:
            InputError: The settings cannot work; `field` is the one at fault.
        """

    def check(self, model: Any, context: Context) -> None:
        """Checks that the stage can work, before any stage computes.

        Args:
            model: The Keras model the recipe starts from.
            context: As for `run`, without earlier results.

        Raises:
            InputError: The stage cannot work; `field` is the setting at fault.
        """

    def preview(self, model: Any, context: Context) -> Any:
        """The model to check later stages on: another one where this stage changes inputs or outputs.

        Raises:
            InputError: The model cannot be changed so.
        """
        return model

    def run(self, inputs: Sequence[Artifact], context: Context) -> Artifact:
        """Does the work on `inputs` (one artifact, several for a stage that gathers) in `context.folder`."""
        raise NotImplementedError

    def share(self, inputs: Sequence[Artifact], context: Context) -> None:
        """Takes part in the work of the process that runs this stage, until there is none left; commits nothing."""
        raise NotImplementedError

    def parts(self) -> Sequence[type[Stage]]:
        """The classes of stages that run inside of this one; its result depends on their code as well."""
        return ()

    def code(self) -> Sequence[Any]:
        """References to a user's own code, `file.py:name`, that the result depends on."""
        return ()

    def needs(self) -> Mapping[str, Need]:
        """The earlier stages that this one needs besides its inputs, by name; the chain is checked for them."""
        return {}

    def surroundings(self) -> tuple[str, ...]:
        """What the result depends on besides settings, data and code, such as the measured machine."""
        return ()

    def judges(self) -> bool:
        """Whether this stage holds its inputs to a metric, so that no other measure has to refuse them before."""
        return False

    def measure(self, file: Path, context: Context) -> dict[str, float]:
        """The figures that this stage takes of a `.tflite` besides its scores, such as sizes; empty where none."""
        return {}

    def settings(self) -> dict[str, Any]:
        """The settings in the content key: every field but the name and the place in the chain."""
        found: dict[str, Any] = _in_order(self.model_dump(mode="json", exclude={"name", "after"}))
        return found

    def written(self) -> dict[str, Any]:
        """The stage as a recipe has it, `{kind: {setting: value}}`, with only what differs from the defaults."""
        return {self.kind: self.model_dump(mode="json", exclude_defaults=True)}


def _in_order(value: Any) -> Any:
    """Settings whose mappings of `ORDERED` are lists of pairs, wherever they stand: a key sorts mappings."""
    if isinstance(value, list):
        return [_in_order(one) for one in value]
    if not isinstance(value, dict):
        return value
    several = {name for name in ORDERED if isinstance(value.get(name), dict) and len(value[name]) > 1}
    return {name: list(one.items()) if name in several else _in_order(one) for name, one in value.items()}


class UnreadStage(Stage):
    """A stage of a user's own whose code was not run: its settings are as they are written, and not checked."""

    model_config = ConfigDict(extra="allow")


def _unread(kind: str) -> type[Stage]:
    """The class of a stage of that kind whose code was not run; any format goes into it, and any comes out."""
    return type(kind, (UnreadStage,), {"__module__": __name__, "kind": kind, "takes": None, "gives": None})


_may_be_unread: ContextVar[bool] = ContextVar("_may_be_unread", default=False)


@contextlib.contextmanager
def unread_allowed() -> Iterator[None]:
    """Lets `read_stages` take kinds that are not known, in the block, for stages whose code was not run."""
    token = _may_be_unread.set(True)
    try:
        yield
    finally:
        _may_be_unread.reset(token)


class _StageRegistry(Registry[type[Stage]]):
    """The registry of stages, whose entries are classes named by their `kind`."""

    def name_of(self, entry: Any) -> str:
        return entry.kind

    def is_entry(self, value: object, module: ModuleType) -> bool:
        own = isinstance(value, type) and issubclass(value, Stage) and value.__module__ == module.__name__
        return own and "kind" in vars(value)


INSTALLED = _StageRegistry("tfopt.stages", Stage, "tfopt.stages")  # type: ignore[arg-type]
# Stages of users' files by kind; of two files with the same kind, that of the recipe read last.
_OWN: dict[str, type[Stage]] = {}


def _enter(stage: type[Stage]) -> None:
    if INSTALLED.walked and INSTALLED.get(stage.kind, stage) is not stage:
        raise RecipeError(f"stage {stage.kind!r} of {stage.__module__} has the name of a built-in one. Rename it.")
    _OWN[stage.kind] = stage


def register(module: ModuleType) -> None:
    """Registers the stages of a user's file again, as another recipe's file may have taken their kinds since."""
    for value in vars(module).values():
        if not isinstance(value, type) or not issubclass(value, Stage) or value.__module__ != module.__name__:
            continue
        if not hasattr(value, "kind"):
            raise RecipeError(
                f"the stage {value.__name__} of {module.__file__} has no kind: write kind: ClassVar[str] = ..."
            )
        _enter(value)


def known_stages() -> dict[str, type[Stage]]:
    """Every stage by its kind: the installed ones in the usual order of a recipe, then those of users' files."""
    installed = dict(INSTALLED)
    for stage in _OWN.values():
        _enter(stage)  # one that was defined before the installed ones were walked
    return {**installed, **_OWN}


def read_stages(stages: Any) -> list[Stage]:
    """Parses the stages of a recipe; raises one pydantic error with all problems."""
    if isinstance(stages, str) or not isinstance(stages, Sequence):
        raise ValueError(f"is a list of stages, each written `- kind: {{settings}}`. Received: {stages!r:.80}")
    problems: list[tuple[Location, str]] = []
    built: list[Stage] = []
    for index, entry in enumerate(stages):
        try:
            built.append(entry if isinstance(entry, Stage) else _stage(entry))
        except RecipeError as error:
            problems += [(("stages", index, *place), sentence) for place, sentence in error.problems]
    if problems:
        raise PydanticCustomError(PROBLEMS, "wrong stages", {"problems": problems})
    return built


def _stage(entry: Any) -> Stage:
    kinds = known_stages()
    if isinstance(entry, str):
        entry = {entry: {}}
    if not isinstance(entry, Mapping) or len(entry) != 1:
        raise RecipeError(
            f"a stage is written `kind: {{settings}}`. Known: {', '.join(sorted(kinds))}. Received: {entry!r}."
        )
    [(kind, settings)] = entry.items()
    unread = kind not in kinds and _may_be_unread.get() and isinstance(kind, str)
    if kind not in kinds and not unread:
        raise RecipeError([((kind,), f"there is no stage {kind!r}. {did_you_mean(kind, kinds)}")])
    if settings is None:
        settings = {}
    if not isinstance(settings, Mapping):
        raise RecipeError(
            [((kind,), f"the settings of {kind} are a mapping, as in {kind}: {{name: a}}. Received: {settings!r}.")]
        )
    try:
        with on_its_own():
            return (_unread(kind) if unread else kinds[kind])(**{str(key): value for key, value in settings.items()})
    except RecipeError as error:
        raise RecipeError([((kind, *place), sentence) for place, sentence in error.problems]) from None
