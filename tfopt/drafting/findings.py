"""What is found out about a model and its samples: each thing once, when it is first asked for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from tfopt.drafting import sample_source
from tfopt.drafting.array_roles import WHOLE
from tfopt.drafting.baseline import Baseline, baseline_of, metrics_for
from tfopt.drafting.goals import Situation
from tfopt.drafting.model_facts import ModelFacts, OutputFacts, facts_of
from tfopt.drafting.sample_source import SampleFile, SampleSource
from tfopt.drafting.stand_in import stand_in
from tfopt.drafting.task import LOOKED_AT, Task, task_of
from tfopt.errors import InputError, ModelError


@dataclass(frozen=True)
class Request:
    """What a recipe is asked for.

    Args:
        model: A model as a recipe has it.
        out: The recipe's file.
        data: Samples: a `.npz` or `.npy` file, or what a recipe's `data` may be; None for none.
        goal: A name of `goals.GOALS`.
        target: A target as a recipe has it.
        use: Python files with code that the model needs.
        trust: Whether the model's file may carry Python code.
    """

    model: str
    out: Path
    data: str | None = None
    goal: str = "safe"
    target: Any = "litert"
    use: tuple[Path, ...] = ()
    trust: bool = False


class Findings:
    """What is found out about a model and its samples.

    Args:
        request: What is asked for.
        folder: A folder to work in, absolute.
    """

    def __init__(self, request: Request, folder: Path):
        self.request, self.folder = request, folder

    @property
    def script(self) -> Path:
        """The script of the data, in the folder to work in; its name is that of the one beside the recipe."""
        stem = re.sub(r"\W+", "_", self.request.out.stem)
        return self.folder / f"{stem}_data.py"

    @cached_property
    def model_source(self) -> Any:
        """The resolved model, whose file was found to be whole."""
        from tfopt.models import loading
        from tfopt.user_code import import_file

        for file in self.request.use:  # whose classes the model's file may be made of
            import_file(file.resolve())
        source = loading.resolve(self.request.model, Path.cwd())
        source = source.resolve() if isinstance(source, Path) else source
        try:
            loading.check_source(source, self.request.trust)
        except ModelError as error:
            raise _with_way(error) from error
        return source

    @cached_property
    def samples(self) -> Any:
        """The samples that were given, as `sample_source.read_samples` has them."""
        return None if self.request.data is None else sample_source.read_samples(self.request.data)

    @cached_property
    def whole_model(self) -> Any:
        """The model as it was given, text and all."""
        from tfopt.models.keras2.migration import OutputCheck
        from tfopt.models.loading import load_source

        source, samples = self.model_source, self.samples
        arrays = samples.arrays.values() if isinstance(samples, SampleFile) else ()
        known = next((array[:1] for array in arrays if array.ndim), None)
        comparison = OutputCheck(samples=lambda model: known) if known is not None else None
        try:
            return load_source(source, self.request.trust or not isinstance(source, Path), comparison).model
        except ModelError as error:
            raise _with_way(error) from error

    @cached_property
    def facts(self) -> ModelFacts:
        """What the model tells of itself."""
        return facts_of(self.whole_model)

    @cached_property
    def source(self) -> SampleSource:
        """What the recipe says of its data; the labels that a model gives itself are known once it was run."""
        request = self.request
        found = sample_source.source_of(self.samples, self.facts, request.out, self.model_source, request.trust)
        if found.script and found.targets == "answers":
            scores = self._scores_on(found)
            tasks = tuple(task_of(output, None, scores.get(output.name)) for output in self.facts.outputs)
            found = replace(found, script=replace(found.script, tasks=tasks))
        if found.script:
            self.script.write_text(found.script.text(self.folder), encoding="utf-8")
        return found

    def _scores_on(self, source: SampleSource) -> dict[str, np.ndarray]:
        """What the model gives for some samples of a file, by output."""
        from tfopt.data.arrays import check_values, shape_inputs
        from tfopt.models import signature

        if self.facts.from_text or source.roles is None:
            return {}
        keys = next(iter(source.roles.inputs.values()))
        few = {name: self.samples.arrays[key][:LOOKED_AT] for name, key in keys.items()}
        for name, array in few.items():
            check_values(f"{self.request.data}[{keys[name]!r}]", array)
        x = few if len(few) > 1 else next(iter(few.values()))
        shapes = signature.inputs_of(self.whole_model)
        return signature.outputs_on_samples(self.whole_model, shape_inputs(x, shapes) if shapes else x)

    @cached_property
    def model(self) -> Any:
        """The model that the recipe works on: without what turns text into ids."""
        from tfopt.models.loading import load_source
        from tfopt.user_code import Ref

        if not self.facts.from_text:
            return self.whole_model
        return load_source(Ref.parse(f"{self.script}:model", self.folder), True).model

    @cached_property
    def data(self) -> Any:
        """The splits; random samples that stand in where none were given."""
        from tfopt.data import sources
        from tfopt.models import signature

        if not self.source.given:
            return stand_in(self.model, self.facts)
        written = self.source.data(self.folder, self.script.name)
        loaded = sources.load(sources.resolve(written, self.folder))
        loaded.check()
        return loaded.fitted(signature.inputs_of(self.model))

    @cached_property
    def tasks(self) -> tuple[Task, ...]:
        """What each output is for."""
        from tfopt.models import signature

        few = self.data.test.few(LOOKED_AT)
        scores = signature.outputs_on_samples(self.model, few)
        known = {output.name: output for output in self.facts.outputs}
        named = [known.get(name, OutputFacts(name, values.shape[1:], "")) for name, values in scores.items()]
        y = self.data.test.y
        targets = y if isinstance(y, Mapping) else {named[0].name: y}
        real = self.source.given
        found = [
            task_of(one, np.asarray(targets[one.name]) if real and one.name in targets else None, scores[one.name])
            for one in named
            if one.name in targets or not real
        ]
        if not found:
            raise InputError(
                f"the model's outputs are {', '.join(scores)}, and the targets are {', '.join(targets)}.", ("data",)
            )
        return tuple(found)

    @cached_property
    def loss(self) -> Any:
        """The loss of the recipe; None where it is the model's own."""
        if all(task.loss is None for task in self.tasks):
            return None
        if len(self.tasks) == 1 and len(self.facts.outputs) < 2:
            return self.tasks[0].loss
        losses = {output.name: output.loss for output in self.facts.outputs}
        return {task.output: task.loss or losses[task.output] for task in self.tasks}

    @cached_property
    def usual_metrics(self) -> dict[str, list[str]]:
        """The usual metrics by output."""
        return metrics_for(self.tasks, self.model, self.data.test, self.loss)

    @cached_property
    def baseline(self) -> Baseline | None:
        """How good the model is by the first of its usual metrics; None where no samples were given."""
        if not self.source.given:
            return None
        return baseline_of(self.tasks, self.usual_metrics, self.model, self.data, self.loss)

    @property
    def metrics(self) -> dict[str, list[str]]:
        """The metrics of the recipe by output; R squared first where it is not known how large an error may be."""
        first, untrained = self.tasks[0], self.baseline is None or self.situation().untrained
        if not (first.of_values and untrained):
            return self.usual_metrics
        usual = self.usual_metrics[first.output]
        return {**self.usual_metrics, first.output: list(dict.fromkeys(["r2", *usual]))}

    @property
    def tests_on_seen(self) -> bool:
        """Whether scores may be on samples that the model was trained on: tfopt itself holds them out of one array."""
        whole = self.source.script is not None and WHOLE in self.source.script.roles.inputs
        trained = isinstance(self.model_source, Path) and self.source.targets != "answers"
        return self.source.given and whole and trained and not self.situation().untrained

    def situation(self, cut: bool = True) -> Situation:
        """What the stages are chosen by; `cut` is whether channels may be removed."""
        fresh = not isinstance(self.model_source, Path)
        labelled = self.source.targets != "answers"
        guess = self.baseline.is_a_guess if self.baseline else fresh
        return Situation(
            self.request.target,
            self.baseline,
            untrained=labelled and guess,
            trainable=labelled and self.source.given,
            cut=cut,
        )


def _with_way(error: ModelError) -> ModelError:
    """An error that a class is missing, with the way that `init` has for it."""
    found = re.search(r"it needs the class '([^']+)' of '([^']+)'", str(error))
    if not found:
        return error
    way = (
        f" Or decorate it with @keras.saving.register_keras_serializable(), save the model again and name the class's "
        f"file: --use {found[2].rpartition('.')[2]}.py."
    )
    return ModelError(f"{error}{way}", error.field)
