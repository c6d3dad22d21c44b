"""What is said of a model and its samples: remarks in the recipe, and lines on the screen."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tfopt.drafting import sample_source
from tfopt.drafting.data_script import TEST_SHARE
from tfopt.drafting.findings import Findings
from tfopt.drafting.goals import GOALS
from tfopt.drafting.model_facts import InputFacts, OutputFacts
from tfopt.drafting.recipe_text import Field, flow


def head(found: Findings) -> Iterator[str]:
    """The lines at the head of the recipe."""
    goal = found.request.goal
    yield f"Written by `tfopt init`, goal {goal}: {GOALS[goal].about}. Change what you like."
    yield f"Run it with: tfopt run {found.request.out.name}"
    yield from (f"  {line}" for line in _ends(found))


def fields(found: Findings, folder: Path) -> Iterator[Field]:
    """The fields of the recipe that lies in that folder, without its stages."""
    request, source = found.request, found.model_source
    yield Field("name", re.sub(r"[^A-Za-z0-9_.-]+", "-", request.out.stem).lstrip("._-") or "model")
    if found.facts.from_text:
        above = [f"{source.name} without its TextVectorization: no .tflite looks words up."]
        yield Field("model", f"{found.script.name}:model", above=above)
    else:
        yield Field("model", sample_source.placed(source, folder))
    if request.use:
        yield Field("use", [sample_source.placed(file.resolve(), folder) for file in request.use])
    if request.trust:
        yield Field("trust", True, "the model's file carries Python code, which is run: for your own files alone")
    data = found.source.data(folder, found.script.name)
    yield Field("data", data, _data_remark(found), list(_above_data(found)))
    if found.loss is not None:
        yield Field("loss", found.loss, _loss_remark(found))
    alone = len(found.metrics) == 1 and len(found.facts.outputs) < 2
    metrics: Any = next(iter(found.metrics.values())) if alone else found.metrics
    yield Field("metrics", metrics, _metric_remark(found), list(_above_metrics(found)))


def seen(found: Findings) -> Iterator[str]:
    """What was found, for the screen."""
    yield from _ends(found)
    if found.loss is None:
        yield f"loss {found.facts.loss}, of its compile()"
    else:
        yield f"{flow('loss', found.loss).replace(':', '', 1)}, {_loss_remark(found)}"
    if not found.source.given:
        yield "data none: give a file or a function with --data, or make what the recipe says"
        return
    labels = {
        "answers": "; no labels: the model's own answers stand for them",
        "inputs": "; the inputs are the targets",
    }
    whole = found.source.script and len(found.source.script.roles.inputs) == 1
    held = f"; {TEST_SHARE:.0%} of the samples are held out" if whole else ""
    held += ", and the model may have been trained on them" if found.tests_on_seen else ""
    yield f"data {_data_remark(found)}{held}{labels.get(found.source.targets, '')}"
    if (before := found.baseline) is not None:
        seen_before = " that it may have been trained on: give a test split of others" if found.tests_on_seen else ""
        yield f"now  {before.metric} {before.score:.4f} on {before.samples:,} samples{seen_before}"
        if found.situation().untrained:
            yield f"     a guess has {before.guess:.4f}: the model is not trained, or was on samples prepared otherwise"
            yield "     so the recipe trains it first"


def _ends(found: Findings) -> Iterator[str]:
    """The inputs and outputs of the model, a line each."""
    for one in found.facts.inputs:
        name = "input" if one.name.startswith("keras_tensor") else one.name  # which Keras numbers anew in each process
        yield f"in   {name} {_shape(one)}{''.join(f'; {step}' for step in one.prepared)}"
    known = {one.name: one for one in found.facts.outputs}
    for task in found.tasks:
        output = known.get(task.output)
        activation = f", {output.activation}" if output and output.activation else ""
        told = f" {_shape(output)}{activation}" if output else ""
        yield f"out  {task.output}{told}: {task.described}{' (a guess)' if task.guessed else ''}"


def _shape(part: InputFacts | OutputFacts) -> str:
    sizes = ", ".join("any" if size is None else str(size) for size in part.shape)
    return f"({sizes}{',' if len(part.shape) == 1 else ''}){f' {part.dtype}' if isinstance(part, InputFacts) else ''}"


def _data_remark(found: Findings) -> str:
    if not found.source.given:
        return "to be made"
    data = found.data
    return f"{len(data.train) + len(data.validation):,} samples to train on, {len(data.test):,} to test on"


def _above_data(found: Findings) -> Iterator[str]:
    source = found.source
    if not source.given:
        yield from _wanted_arrays(found)
    elif source.targets == "answers":
        yield "There are no labels: what the model says stands for them. Scores tell how far a file says the same."
    elif source.targets == "inputs":
        yield "There are no labels: the targets are the inputs themselves, as of an autoencoder."
    if found.tests_on_seen:
        yield f"There is no test split: {TEST_SHARE:.0%} of the samples are held out, and the model may have been"
        yield "trained on them. Scores on others may be lower: give a test split, x_test and y_test, of samples that it"
        yield "has not seen."
    if source.roles and source.roles.unused and source.file:
        yield f"Not used of {source.file.name}: {', '.join(source.roles.unused)}."


def _wanted_arrays(found: Findings) -> Iterator[str]:
    """How the file is made that is not there yet."""
    roles, file = found.source.roles, found.source.file
    names = ["x_train", "y_train", "x_test", "y_test"]
    if roles is not None:
        names = [key for part in (roles.inputs, roles.targets) for keys in part.values() for key in keys.values()]
    yield "No samples were given. Make the file, or name a function of your own, as in my_data.py:load:"
    yield f"    np.savez({json.dumps(file.name if file else '')}, {', '.join(f'{key}=...' for key in names)})"
    yield "each (samples, ...) in the shape of the model's input, or targets as said above."


def _loss_remark(found: Findings) -> str:
    if any(task.guessed for task in found.tasks):
        return "a guess by the number of outputs: say what yours is"
    instead = f", and not what it was compiled with ({found.facts.loss})" if found.facts.loss else ""
    return f"by the model's last layer and the targets{instead}"


def _above_metrics(found: Findings) -> Iterator[str]:
    if found.loss is None:
        yield f"The loss is the model's own: {found.facts.loss}."
    if found.metrics != found.usual_metrics:
        yield "R squared is first, as its drop has no units: 1 is best, and always giving the mean is 0."


def _metric_remark(found: Findings) -> str:
    before = found.baseline
    if before is None:
        return "max_drop is about the first"
    guess = "" if found.source.targets == "answers" else f"; a guess has {before.guess:.4g}"
    name = "it is" if found.metrics == found.usual_metrics else f"{before.metric} is"
    return f"max_drop is about the first; {name} {before.score:.4g} now{guess}"
