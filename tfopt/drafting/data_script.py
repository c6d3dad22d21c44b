"""The Python file beside a recipe, which makes splits of the arrays of a file, and the ids of a model's text."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import Literal

from tfopt.drafting.array_roles import WHOLE, Roles
from tfopt.drafting.model_facts import ModelFacts
from tfopt.drafting.task import Task
from tfopt.plain_text import one_line

Targets = Literal["arrays", "inputs", "answers"]

TEST_SHARE = 0.2
# What a run says of scores on labels that the model itself gave.
ANSWERED = "the labels are the answers of the model itself: scores tell how far a file says the same as that model"

_SPLIT_AT_RANDOM = '''
def load():
    """The training and the test split, each the inputs and the targets of its samples."""
    arrays = read()
    order = np.random.default_rng(0).permutation(len(arrays[$first]))
    tested = max(round(len(order) * TEST_SHARE), 1)
    return {"train": split(arrays, order[tested:]), "test": split(arrays, order[:tested])$note}


def split(arrays, rows):
    """The inputs and the targets of some samples."""
    x = $x
    return x, $y
'''
_SPLIT_ALREADY = '''
def load():
    """The splits, each the inputs and the targets of its samples."""
    arrays = read()
$lines
    return {$returned$note}
'''
_READ = '''
def read():
    """The arrays of the file by name."""
    with np.load(FILE) as file:
        return {name: file[name] for name in file.files}
'''
_READ_ONE = '''
def read():
    """The array of the file."""
    return {"x": np.load(FILE)}
'''
_ANSWERS = '''
def answers(x):
    """What the model itself says, in the place of labels: scores tell how far a file says the same."""
    model = as_keras3(MODEL$trust)
    given = keras_outputs(model, shape_inputs(x, inputs_of(model)))
    return $given
'''
_IDS = '''
def ids(text):
    """The ids that the model's own layer makes of text. A device has to do the same."""
    return np.asarray(as_keras3(MODEL$trust).get_layer($layer)(text))


def model():
    """The model behind that layer: no .tflite looks words up."""
    whole = as_keras3(MODEL$trust)
    rest = keras.Model(whole.get_layer($layer).output, whole.outputs)
$compiled    return rest
'''


@dataclass(frozen=True)
class DataScript:
    """The script of a recipe's data.

    Args:
        recipe: The name of the recipe's file, for its docstring.
        file: The `.npz` or `.npy` file of the samples, absolute.
        roles: What its arrays are.
        facts: The model.
        targets: `arrays` of the file; the `inputs` themselves, of an autoencoder; or the model's own `answers`.
        tasks: What the outputs are for.
        model: The model's file, absolute.
        trust: Whether the model's file may carry Python code.
    """

    recipe: str
    file: Path
    roles: Roles
    facts: ModelFacts
    targets: Targets
    model: Path
    tasks: Sequence[Task] = field(default_factory=tuple)
    trust: bool = False

    def text(self, folder: Path) -> str:
        """The Python source, for a script in that folder."""
        needs_model = self.targets == "answers" or bool(self.facts.from_text)
        origin = f"The data of {_told(self.recipe)}, from {_told(self.file.name)}"
        parts = [
            f'"""{origin}: written by `tfopt init`, to be changed by you."""\n',
            "\n".join(self._imports(needs_model)),
            "\n".join(self._constants(folder, needs_model)),
            self._splits(),
            _READ_ONE if self.file.suffix == ".npy" else _READ,
        ]
        if self.targets == "answers":
            given = self._answers()
            parts.append(Template(_ANSWERS).substitute(trust=self._trust, given=given))
        if self.facts.from_text:
            parts.append(self._text_part())
        return "\n".join(parts)

    @property
    def _trust(self) -> str:
        return ", trust=True" if self.trust else ""

    def _imports(self, needs_model: bool) -> Iterator[str]:
        yield "from pathlib import Path\n"
        if self.facts.from_text:
            yield "import keras"
        yield "import numpy as np"
        if self.targets == "answers":
            yield "\nfrom tfopt.data.arrays import shape_inputs"
            yield "from tfopt.models.loading import as_keras3"
            yield "from tfopt.models.signature import inputs_of, keras_outputs"
        elif needs_model:
            yield "\nfrom tfopt.models.loading import as_keras3"
        yield ""

    def _constants(self, folder: Path, needs_model: bool) -> Iterator[str]:
        yield f"FILE = Path(__file__).parent / {_quoted(self.file, folder)}"
        if self.targets == "answers":
            yield f"ANSWERED = {_literal(ANSWERED)}"
        if needs_model:
            yield f"MODEL = Path(__file__).parent / {_quoted(self.model, folder)}"
        if WHOLE in self.roles.inputs:
            yield f"# The share of the samples that is held out: every reported score is measured on it.\n{_SHARE}"
        yield ""

    def _splits(self) -> str:
        note = ', "note": ANSWERED' if self.targets == "answers" else ""
        if WHOLE in self.roles.inputs:
            x, y = self._x(WHOLE, "[rows]"), self._y(WHOLE, "x", "[rows]")
            first = _literal(next(iter(self.roles.inputs[WHOLE].values())))
            return Template(_SPLIT_AT_RANDOM).substitute(first=first, x=x, y=y, note=note)
        lines = [f"    x_{name} = {self._x(name)}" for name in self.roles.inputs]
        lines += [f"    y_{name} = {self._y(name, f'x_{name}')}" for name in self.roles.inputs]
        returned = ", ".join(f'"{name}": (x_{name}, y_{name})' for name in self.roles.inputs)
        return Template(_SPLIT_ALREADY).substitute(lines="\n".join(lines), returned=returned, note=note)

    def _x(self, split: str, rows: str = "") -> str:
        """The expression of the inputs of a split."""
        expression = _arrays(self.roles.inputs[split], rows)
        return f"ids({expression})" if self.facts.from_text else expression

    def _y(self, split: str, x: str, rows: str = "") -> str:
        """The expression of the targets of a split."""
        if self.targets == "inputs":
            return x
        if self.targets == "answers":
            return f"answers({x})"
        return _arrays(self.roles.targets[split], rows, always=len(self.facts.outputs) > 1)

    def _answers(self) -> str:
        """The expression of the labels that the model itself gives."""
        made = {task.output: _decided(task, f"given[{_literal(task.output)}]") for task in self.tasks}
        if len(made) == 1:
            return next(iter(made.values()))
        return "{" + ", ".join(f"{_literal(name)}: {expression}" for name, expression in made.items()) + "}"

    def _text_part(self) -> str:
        compiled = "    rest.compile(loss=whole.loss)\n" if self.facts.loss else ""
        words = {"layer": _literal(self.facts.from_text), "compiled": compiled, "trust": self._trust}
        return Template(_IDS).substitute(words)


_SHARE = f"TEST_SHARE = {TEST_SHARE}"


def _literal(name: str) -> str:
    """A name out of a file as Python writes a string: it is text, whatever stands in it."""
    return f'"{name}"' if name.isprintable() and not set(name) & {'"', "\\"} else repr(name)


def _told(name: str) -> str:
    """A name in a docstring, which it cannot end."""
    return one_line(name).replace("\\", "_").replace('"', "'")


def _quoted(path: Path, folder: Path) -> str:
    """A path from a folder as Python writes it."""
    return json.dumps(os.path.relpath(path, folder), ensure_ascii=False)


def _arrays(keys: Mapping[str, str], rows: str, always: bool = False) -> str:
    """The expression of one array, or of a dict of them by the names of inputs or outputs."""
    if len(keys) == 1 and not always:
        return f"arrays[{_literal(next(iter(keys.values())))}]{rows}"
    return "{" + ", ".join(f"{_literal(name)}: arrays[{_literal(key)}]{rows}" for name, key in keys.items()) + "}"


def _decided(task: Task, scores: str) -> str:
    """The expression of the labels that scores decide on."""
    if task.targets == "ids":
        return f"{scores}.argmax(axis=-1)"
    if task.targets == "one-hot":
        return f'np.eye({task.classes}, dtype="float32")[{scores}.argmax(axis=-1)]'
    return scores if task.of_values else f'({scores} > {task.threshold}).astype("float32")'
