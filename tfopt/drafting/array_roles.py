"""What the arrays of a file are to a model: which are inputs, which are targets, and of which split."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from tfopt.drafting.model_facts import InputFacts, ModelFacts
from tfopt.errors import DataError

P = TypeVar("P")
# The split of arrays that are not split.
WHOLE = "whole"
_SPLITS = {
    "train": "train",
    "training": "train",
    "test": "test",
    "testing": "test",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
}
_SPLIT = re.compile(rf"(?:^|_)({'|'.join(_SPLITS)})(?:_|$)", re.IGNORECASE)
_INPUT_WORDS = ("x", "input", "inputs", "feature", "features", "image", "images", "data", "sample", "samples", "text")
_TARGET_WORDS = ("y", "label", "labels", "target", "targets", "output", "outputs", "class", "classes", "y_true")
# The four arrays that a recipe takes without a script.
_PLAIN = ("x_train", "y_train", "x_test", "y_test")


@dataclass(frozen=True)
class Roles:
    """The arrays of a file by their part in a model.

    Args:
        inputs: By split, the array of each input by the input's name; `""` is the one input of a model without names.
        targets: By split, the array of each output by the output's name; empty where there are no targets.
        unused: Arrays that are neither.
        samples: By split, the number of samples.
    """

    inputs: Mapping[str, Mapping[str, str]]
    targets: Mapping[str, Mapping[str, str]]
    unused: tuple[str, ...]
    samples: Mapping[str, int]

    @property
    def labelled(self) -> bool:
        """Whether there are targets."""
        return any(self.targets.values())

    @property
    def plain(self) -> bool:
        """Whether a recipe takes the file as it is."""
        given = [
            *self.unused,
            *(key for part in (self.inputs, self.targets) for s in part.values() for key in s.values()),
        ]
        allowed = {*_PLAIN, "x_validation", "y_validation"}
        return set(_PLAIN) <= set(given) and set(given) <= allowed


def roles_of(arrays: Mapping[str, np.ndarray], facts: ModelFacts, file: Path) -> Roles:
    """Finds what each array of a file is.

    An array is of the input or output whose name it has, with the name of a split before or behind it; `x` and `y` and
    words like these stand for the only input and output; what is left is told by its shape.

    Args:
        arrays: The arrays by name.
        facts: The model.
        file: Their file, for the error.

    Raises:
        DataError: An input has no array, or arrays of a split have different lengths.
    """
    sorter = _Sorter(arrays, facts)
    for key in arrays:
        sorter.by_name(key)
    for key in list(sorter.left):
        sorter.by_shape(key)
    splits = {split for split, _ in sorter.inputs}
    inputs = {split: _of(sorter.inputs, split) for split in splits}
    targets = {split: _of(sorter.targets, split) for split in splits}
    wanted = [one.name for one in facts.inputs] or [""]
    for split, found in inputs.items():
        if missing := [name for name in wanted if name not in found]:
            raise _no_input(missing[0], split, arrays, facts, file)
    if not inputs:
        raise _no_input(wanted[0], WHOLE, arrays, facts, file)
    if len(inputs) > 1 and not {"train", WHOLE} & set(inputs):
        raise DataError(f"{file} has arrays of {' and '.join(inputs)}, and none to train or calibrate on.", ("data",))
    samples = {split: _length(split, inputs[split], targets[split], arrays, file) for split in splits}
    if any(targets.values()) and not all(targets.values()):
        lacking = next(split for split, found in targets.items() if not found)
        raise DataError(f"{file} has targets of one split and none of {lacking}: add them.", ("data",))
    return Roles(_tested(inputs), _tested(targets), tuple(sorter.left), _tested(samples))


def _of(found: Mapping[tuple[str, str], str], split: str) -> dict[str, str]:
    return {name: key for (of, name), key in found.items() if of == split}


def _tested(parts: Mapping[str, P]) -> dict[str, P]:
    """The parts by split: one split alone is all there is, and what is validated on stands for a test split."""
    found = dict(parts)
    if len(found) == 1:
        return {WHOLE: next(iter(found.values()))}
    if WHOLE in found:
        found.setdefault("train", found.pop(WHOLE))
    if "test" not in found:
        found["test"] = found.pop("validation")
    return {split: found[split] for split in ("train", "validation", "test") if split in found}


class _Sorter:
    """Sorts arrays by their names and shapes.

    Args:
        arrays: The arrays by name.
        facts: The model.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray], facts: ModelFacts):
        self.arrays, self.facts = arrays, facts
        self.inputs: dict[tuple[str, str], str] = {}
        self.targets: dict[tuple[str, str], str] = {}
        self.left: list[str] = []

    def by_name(self, key: str) -> None:
        """Puts an array where its name says, or among those that are left."""
        sides = (
            (self.inputs, "x", _INPUT_WORDS, [one.name for one in self.facts.inputs]),
            (self.targets, "y", _TARGET_WORDS, [one.name for one in self.facts.outputs]),
        )
        for split, base in _readings(key):
            for into, letter, words, names in sides:
                meant = _meant(base, letter, words, names)
                if meant is not None and (split, meant) not in into:
                    into[split, meant] = key
                    return
        self.left.append(key)

    def by_shape(self, key: str) -> None:
        """Takes an array that is left for the only free input whose samples it has; else for the only free output."""
        *_, (split, _) = _readings(key)
        free = [one for one in self.facts.inputs if (split, one.name) not in self.inputs]
        fitting = [one for one in free if fits(self.arrays[key], one)]
        outputs = [one for one in self.facts.outputs if (split, one.name) not in self.targets]
        if len(fitting) == 1:
            self.inputs[split, fitting[0].name] = key
            self.left.remove(key)
        elif not free and len(outputs) == len(self.left) == 1:
            self.targets[split, outputs[0].name] = key
            self.left.remove(key)


def _meant(base: str, letter: str, words: tuple[str, ...], names: list[str]) -> str | None:
    """The input or output that a name means; of a model that names none, the empty name. None where it means none."""
    for name in names:
        if base in (name, f"{letter}_{name}", f"{name}_{letter}"):
            return name
    return "".join(names) if len(names) < 2 and base.lower() in words else None


def _readings(key: str) -> Iterator[tuple[str, str]]:
    """What a name may say: all of it is the name of a part, or it has that of a split in it."""
    yield WHOLE, key
    if found := _SPLIT.search(key):
        rest = "_".join(part for part in (key[: found.start()], key[found.end() :]) if part)
        yield _SPLITS[found[1].lower()], rest


def fits(array: np.ndarray, wanted: InputFacts) -> bool:
    """Whether an array has samples of an input; a last axis of 1 may be missing."""
    if (array.dtype.kind in "USO") != wanted.is_text:
        return False
    shapes = [tuple(array.shape[1:])]
    shapes += [(*shapes[0], 1)] if wanted.shape[-1:] == (1,) else []
    return any(
        len(shape) == len(wanted.shape) and all(n in (None, m) for n, m in zip(wanted.shape, shape, strict=True))
        for shape in shapes
    )


def _length(
    split: str, inputs: Mapping[str, str], targets: Mapping[str, str], arrays: Mapping[str, np.ndarray], file: Path
) -> int:
    keys = [*inputs.values(), *targets.values()]
    lengths = {key: len(arrays[key]) if arrays[key].ndim else 0 for key in keys}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{key} {length:,}" for key, length in lengths.items())
        raise DataError(f"{file} has different numbers of samples{'' if split == WHOLE else f' to {split}'}: {told}.")
    if not lengths[keys[0]]:
        raise DataError(f"{file} has no samples in {keys[0]!r}.")
    return lengths[keys[0]]


def _no_input(name: str, split: str, arrays: Mapping[str, np.ndarray], facts: ModelFacts, file: Path) -> DataError:
    told = ", ".join(f"{key} {array.shape} {array.dtype}" for key, array in arrays.items())
    shape = next((str(one.shape) for one in facts.inputs if one.name == name), "")
    called = f"its input {name!r}" if name else "its input"
    of = "" if split == WHOLE else f"_{split}"
    return DataError(
        f"{file} has no array for the model: {called} takes samples {shape}. Name the array {name or 'x'}{of}. "
        f"Received: {told or 'nothing'}.",
        ("data",),
    )
