"""A resolved recipe: its model and data, loaded when first needed, and the content key of every result."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfopt.durable_files import storage_errors
from tfopt.errors import InputError, TfoptError
from tfopt.metrics import METRICS, Metric, find_all
from tfopt.models.backend import keras_on_tensorflow
from tfopt.models.read_models import ReadModels
from tfopt.pipeline.early_checks import check_settings, is_own
from tfopt.recipe.artifact import SOURCE, WORKERS, Artifact, content_key
from tfopt.recipe.details.detail import Details
from tfopt.recipe.details.verification import CarriedOver
from tfopt.recipe.progress import Progress
from tfopt.recipe.recipe import Recipe, Step
from tfopt.recipe.stage import Context
from tfopt.recipe.workspace import Workspace
from tfopt.user_code import Ref, digest_callable

if TYPE_CHECKING:
    from tfopt.data.splits import Data
    from tfopt.models.loading import LoadedModel
    from tfopt.training.devices import Devices

# The settings of the runtime that results depend on.
DECIDES = {"strategy", "devices", "precision", "jit"}


class Plan:
    """A recipe resolved for a run.

    Args:
        recipe: The recipe.
        out: Folder for results; the recipe has one of its name in it.
        progress: Receives the progress of the stages.
    """

    def __init__(self, recipe: Recipe, out: Path, progress: Progress):
        from tfopt.data import sources
        from tfopt.models import loading

        self.recipe, self.progress = recipe, progress
        self.workspace = Workspace(out / recipe.name)
        self.devices: Devices | None = None
        self.reads = ReadModels()
        self.steps = recipe.chain()
        try:
            self.model_source = loading.resolve(recipe.model, recipe.folder)
            self.model_digest = loading.digest(self.model_source)
        except InputError as error:
            raise recipe.located(error, field=("model",)) from error
        try:
            self.data_source = sources.resolve(recipe.data, recipe.folder)
        except InputError as error:
            raise recipe.located(error, field=("data",)) from error
        try:
            self.metrics = find_all(recipe.metrics, recipe.folder)
        except InputError as error:
            raise recipe.located(error, field=("metrics",)) from error
        check_settings(recipe, self.model_source, self.metrics, self.trust)

    def check_plain_data(self) -> None:
        """Checks data that is read without TensorFlow, and that it fits a model whose shapes are known without it.

        Raises:
            InputError: The data is missing, damaged, or does not fit the model.
        """
        from tfopt.data import sources
        from tfopt.models import loading

        if not sources.is_plain(self.data_source):
            return
        try:
            data = self.raw_data
            if shapes := loading.input_shapes(self.model_source):
                data.fitted(shapes)
        except InputError as error:
            raise self.recipe.located(error) from error

    def start(self) -> None:
        """Makes the distribution strategy; workers of a cluster do it before anything else of TensorFlow.

        Raises:
            InputError: The devices of the runtime do not exist.
            TrainingError: Other workers did not start in time.
        """
        if self.devices is None:
            try:
                keras_on_tensorflow()  # before another room imports it
                from tfopt.training.devices import start

                devices = start(self.recipe.runtime)
            except InputError as error:
                raise self.recipe.located(error) from error
            self.devices = replace(devices, folders=(self._own_root(devices.rank), self.workspace.root))

    def _own_root(self, rank: int) -> Path:
        return self.workspace.root / WORKERS / str(rank) if rank else self.workspace.root

    @property
    def own_workspace(self) -> Workspace:
        """The workspace that this process writes to: a worker that does not lead has one of its own."""
        return Workspace(self._own_root(self.devices.rank)) if self.devices else self.workspace

    @cached_property
    def raw_data(self) -> Data:
        """The data as it is loaded, checked for empty splits, unequal lengths and values that are not finite."""
        from tfopt.data import sources

        with seeded(self.recipe.seed):  # a random split is the same at every run
            loaded = sources.load(self.data_source)
        loaded.check()
        return loaded

    @cached_property
    def data(self) -> Data:
        """The data, fitted to the model's input shapes."""
        from tfopt.models import signature

        return self.raw_data.fitted(signature.inputs_of(self.model))

    @cached_property
    def data_digest(self) -> str:
        """sha256 that changes with the data."""
        from tfopt.data import sources

        return sources.fingerprint(self.data_source, lambda: self.raw_data)

    @property
    def judged_by(self) -> tuple[Any, list[Any]]:
        """What identifies the loss and the metrics in a content key."""
        return _known_by(self.recipe.loss), [_metric_known_by(metric) for metric in self.metrics]

    @property
    def model(self) -> Any:
        """The Keras model the recipe starts from."""
        return self._loaded_model.model

    @cached_property
    def _loaded_model(self) -> LoadedModel:
        from tfopt.models import loading, signature
        from tfopt.models.keras2.migration import OutputCheck

        def one_sample(model: Any) -> Any:
            return self.raw_data.fitted(signature.inputs_of(model)).train.few(1).inputs()

        try:
            keras_on_tensorflow()  # before another room imports it
            from tfopt.keras_private import names_from_start
            from tfopt.models.seeding import deterministic

            with deterministic(self.recipe.seed), names_from_start():  # the same bytes in a process of many models
                loaded = loading.load_source(self.model_source, self.trust, OutputCheck(samples=one_sample))
            self.reads.admit(loaded.model)
            return loaded
        except InputError as error:
            error.field = error.field or ("model",)
            raise

    @property
    def trust(self) -> bool:
        """Whether Python code stored in the model may be loaded: a model function is the user's own code already."""
        return self.recipe.trust or not isinstance(self.model_source, Path)

    def keys(self) -> dict[str, str]:
        """The content key of every result by its stage's name, known before any of them is made."""
        from tfopt.training.cluster import cluster

        recipe = self.recipe
        keys = {SOURCE: content_key(SOURCE, self.model_digest, recipe.seed, *self.judged_by)}
        content = self.data_digest
        for step in self.steps:
            stage = step.stage
            before = [(name, keys[name]) for name in (*step.parents, *stage.needs())]
            decides = DECIDES if stage.trains or stage.shared else set()
            runtime = recipe.runtime.model_dump(mode="json", include=decides)
            if stage.trains and recipe.runtime.strategy == "multi_worker":
                runtime["workers"] = len(cluster()[0])
            code = [Ref.parse(one, recipe.folder).digest() for one in stage.code() if isinstance(one, str | Mapping)]
            inner = [[(part.kind, _version(part)) for part in stage.parts()], code] if stage.shared else []
            if stage.gives == "tflite":  # what a noisy file comes to depends on who judges it
                inner.append(self._judged(step.name))
            own = (stage.kind, _version(type(stage)), stage.settings(), stage.surroundings(), runtime, *inner)
            keys[step.name] = content_key(before, *own, recipe.seed, content)
        return keys

    def told(self) -> dict[str, Any]:
        """What a record of the run has of the recipe: model, data, seed, and the settings of each stage by its name."""
        given = self.recipe.model_dump(mode="json", include={"model", "data", "seed", "loss", "metrics"})
        return given | {step.name: {"stage": step.stage.kind, **step.stage.settings()} for step in self.steps}

    def resolved(self) -> Recipe:
        """The recipe with absolute paths of its files; a model or data given as a Python object is only named."""
        from tfopt.user_code import find_file

        data = f"npz:{self.data_source}" if isinstance(self.data_source, Path) else self.data_source
        changes: dict[str, Any] = {"data": _written(data) if isinstance(data, Ref) else data}
        if isinstance(self.model_source, Path | Ref):
            changes["model"] = _written(self.model_source)
        # The storage that processes share does not affect the results, and may have a password in it.
        changes["runtime"] = self.recipe.runtime.model_copy(update={"storage": None})
        changes["metrics"] = _placed(self.recipe.metrics, self.recipe.folder)
        changes["use"] = tuple(str(find_file(file, self.recipe.folder)) for file in self.recipe.use)
        return self.recipe.model_copy(update=changes)

    def context(self, name: str, key: str, folder: Path, artifacts: Mapping[str, Artifact]) -> Context:
        """The context of the stage of that name, whose result has that key and goes to that folder."""
        from tfopt.models import loading
        from tfopt.training.devices import Devices

        recipe = self.recipe
        return Context(
            name=name,
            key=key,
            folder=folder,
            data=self.data,
            seed=recipe.seed,
            loss=recipe.loss,
            metrics=self.metrics,
            artifacts=artifacts,
            progress=self.progress,
            custom_objects=loading.custom_objects(self.model_source, self.model),
            trust=self.trust,
            devices=self.devices or Devices(recipe.runtime),
            build=self._build_of(name),
            recipe_folder=recipe.folder,
            judged=self._judged(name),
            reads=self.reads,
        )

    def _judged(self, name: str) -> bool:
        """Whether a later stage holds the result of the stage of that name to a metric."""
        return any(name in step.parents and step.stage.judges() for step in self.steps)

    def _build_of(self, name: str) -> Callable[[Any], Any] | None:
        """The recipe's function from hyperparameters to the model, for a stage on the source model; None for others."""
        from tfopt.models import loading

        first = any(step.name == name and step.parents == (SOURCE,) for step in self.steps)
        return loading.hypermodel(self.model_source, self.recipe.seed) if first else None

    def check(self) -> None:
        """Everything that can be known to fail before any compute: the data, the model, each stage on them.

        Raises:
            InputError: One line, with file:line where the recipe came from a file.
        """
        located = self.recipe.located
        try:
            _ = self.raw_data
            self.progress.checked("the data")
            _ = self.model
            self.progress.checked("the model")
            context = self.context("check", "", Path(), {})
            self._check_labels(context.data)
        except InputError as error:
            raise located(error) from error
        models = {SOURCE: self.model}
        for step in self.steps:
            try:
                model, placed = models[step.parents[0]], replace(context, build=self._build_of(step.name))
                step.stage.check(model, placed)
                models[step.name] = step.stage.preview(model, placed)
                self.progress.checked(step.name)
            except InputError as error:
                raise located(error, step if is_own(error, step) else None) from error

    def _check_labels(self, data: Data) -> None:
        """Refuses class ids that the model has no output for: scores of them are wrong whatever the stages do."""
        from tfopt.training.label_checks import check_class_ids

        check_class_ids(self.model, data, self.recipe.loss)

    def source(self, key: str) -> Artifact:
        """Commits the model the recipe starts from, so that every stage finds it in the same form."""
        from tfopt.models import files as model_files

        folder = self.workspace.begin(SOURCE, key)
        with storage_errors(folder):
            model_files.save(self.model, folder / "model.keras")
        carried = self._loaded_model.carried
        details = [CarriedOver(carried.origin, carried.max_error, carried.scale)] if carried else []
        artifact = Artifact(SOURCE, SOURCE, folder, "model.keras", "keras", key, details=Details.gather(details))
        committed = self.workspace.commit(artifact)
        self.reads.admit(self.model, committed.path)
        return committed

    def train_along(self, step: Step, key: str, artifacts: Mapping[str, Artifact]) -> None:
        """Runs a training stage as a worker that does not lead; its result is thrown away."""
        context = self.context(
            step.name, key, self.own_workspace.begin(step.name, key, step.stage.goes_on_from), artifacts
        )
        self.reads.forget()
        silent = replace(context, progress=Progress())
        step.stage.run([artifacts[name] for name in step.parents], silent)

    def share(self, step: Step, key: str, artifacts: Mapping[str, Artifact]) -> None:
        """Takes part in a stage that another process runs, in the partial folder of that one, if it is still there."""
        self.start()
        if not self.workspace.begun(step.name, key):
            return
        context = self.context(step.name, key, self.workspace.partial(step.name), artifacts)
        step.stage.share([artifacts[name] for name in step.parents], context)

    def stage(self, step: Step, key: str, artifacts: Mapping[str, Artifact]) -> Artifact:
        """Runs one stage in its partial folder and commits what it returns."""
        start = time.monotonic()
        folder = self.workspace.begin(step.name, key, step.stage.goes_on_from)
        context = self.context(step.name, key, folder, artifacts)
        if step.stage.trains or step.stage.shared:  # which takes all the memory there is
            self.reads.forget()
        result = step.stage.run([artifacts[name] for name in step.parents], context)
        if not isinstance(result, Artifact):
            raise TfoptError(f"{step.stage.kind}.run must return context.artifact(...). Received: {result!r:.80}.")
        return self.workspace.commit(replace(result, seconds=time.monotonic() - start), step.stage.goes_on_from)


def _written(source: Any) -> Any:
    """A resolved source as a recipe writes it."""
    arguments = getattr(source, "arguments", None)
    return {str(source): arguments} if arguments else str(source)


def _placed(metrics: Any, folder: Path) -> Any:
    """Metrics with absolute paths of the files that some are in."""
    if isinstance(metrics, Mapping):
        return {output: _placed(names, folder) for output, names in metrics.items()}
    files = [isinstance(name, str) and ":" in name for name in metrics]
    return tuple(str(Ref.parse(n, folder)) if file else n for n, file in zip(metrics, files, strict=True))


def _metric_known_by(metric: Metric) -> Any:
    """A built-in metric is known by its name; any other by its code too."""
    if metric in METRICS.values() and metric.score.__module__.startswith("tfopt."):
        return metric.name
    return metric.name, metric.higher_is_better, metric.of_classes, digest_callable(metric.score)


def _known_by(loss: Any) -> Any:
    """What identifies a loss in a content key: its name, its code, or its class and arguments."""
    if isinstance(loss, Mapping):
        return {str(name): _known_by(inner) for name, inner in loss.items()}
    if hasattr(loss, "get_config"):
        return [digest_callable(type(loss)), repr(sorted(loss.get_config().items(), key=str))]
    return digest_callable(loss) if callable(loss) else loss


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Python's and NumPy's global generators seeded for the block, and put back after it."""
    before = random.getstate(), np.random.get_state()
    random.seed(seed)
    np.random.seed(seed % 2**32)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])


def _version(cls: Any) -> Any:
    """A built-in stage's version number; of a user's own stage the digest of its code too."""
    return cls.version if cls.__module__.startswith("tfopt.") else [cls.version, digest_callable(cls)]
