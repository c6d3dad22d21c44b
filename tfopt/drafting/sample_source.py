"""Where a first recipe's samples come from: a file, with or without a script, or any other data of a recipe."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfopt.drafting.array_roles import WHOLE, Roles, roles_of
from tfopt.drafting.data_script import DataScript, Targets
from tfopt.drafting.model_facts import ModelFacts
from tfopt.errors import DataError


@dataclass(frozen=True)
class SampleFile:
    """A `.npz` or `.npy` file of samples.

    Args:
        path: Its absolute path.
        arrays: Its arrays by name; that of a `.npy` file is `x`.
    """

    path: Path
    arrays: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class SampleSource:
    """What a recipe says of its data.

    Args:
        file: The file of the samples, which may not be there yet; None for data of another kind.
        written: The `data` of the recipe, where it is of another kind.
        script: The script beside the recipe; None where the recipe takes the data as they are.
        roles: What the arrays of the file are; None for data of another kind.
        given: Whether there are samples.
    """

    file: Path | None = None
    written: Any = None
    script: DataScript | None = None
    roles: Roles | None = None
    given: bool = True

    @property
    def targets(self) -> Targets:
        """Where the targets come from: `arrays`, `inputs` or the model's `answers`."""
        return self.script.targets if self.script else "arrays"

    def data(self, folder: Path, script: str) -> Any:
        """The `data` of a recipe in that folder, whose script has that name."""
        if self.script:
            return f"{script}:load"
        return os.path.relpath(self.file, folder) if self.file else placed(self.written, folder)


def placed(source: Any, folder: Path) -> Any:
    """A resolved model or data as a recipe in that folder writes it."""
    target = getattr(source, "target", source)
    if not isinstance(target, Path):
        return str(source)
    path = os.path.relpath(target, folder)
    return path if target is source else f"{path}:{source.name}"


def read_samples(given: str) -> SampleFile | Any:
    """The arrays of a NumPy file; anything else that a recipe takes as `data` is resolved, and not loaded.

    Raises:
        DataError: There is no such data, or the file cannot be read.
    """
    from tfopt.data.array_files import read_arrays
    from tfopt.data.sources import resolve
    from tfopt.user_code import find_file

    path = Path(os.path.expandvars(given.removeprefix("npz:")))
    if path.suffix not in (".npz", ".npy"):
        return resolve(given, Path.cwd())
    path = find_file(str(path), Path.cwd()).resolve()
    arrays = read_arrays(path)
    return SampleFile(path, {"x": arrays} if isinstance(arrays, np.ndarray) else arrays)


def source_of(samples: Any, facts: ModelFacts, recipe: Path, model: Any, trust: bool) -> SampleSource:
    """What the recipe of a model says of its data.

    Args:
        samples: What `read_samples` found; None where no samples were given.
        facts: The model.
        recipe: The recipe's file.
        model: The resolved model.
        trust: Whether the model's file may carry Python code.

    Raises:
        DataError: The arrays do not fit the model, or a model without a file has no labels.
    """
    if samples is not None and not isinstance(samples, SampleFile):
        return SampleSource(written=samples)
    if samples is None:
        file = recipe.with_name(f"{recipe.stem}.npz")
        roles, alone = _expected(facts), len(facts.inputs) < 2 and len(facts.outputs) < 2
        if alone and not facts.from_text and not facts.copies_input:
            return SampleSource(file, given=False)
    else:
        file, roles = samples.path, roles_of(samples.arrays, facts, samples.path)
        if roles.plain and len(facts.inputs) < 2 and len(facts.outputs) < 2 and not facts.from_text:
            return SampleSource(file, roles=roles)
    targets: Targets = "arrays" if roles.labelled else "inputs" if facts.copies_input else "answers"
    if targets == "answers" and not isinstance(model, Path):
        raise DataError(
            f"{file} has no labels, and a function makes a model that has learned nothing. Add an array y, or give the "
            "file of a trained model.",
            ("data",),
        )
    script = DataScript(recipe.name, file, roles, facts, targets, model, trust=trust)
    return SampleSource(file, script=script, roles=roles, given=samples is not None)


def _expected(facts: ModelFacts) -> Roles:
    """The arrays that a file has to have which is not there yet: each named as the input or output that it is of."""
    inputs = {one.name: one.name for one in facts.inputs}
    targets = {one.name: f"y_{one.name}" if one.name in inputs else one.name for one in facts.outputs}
    if len(inputs) == 1:
        inputs = dict.fromkeys(inputs, "x")
    if len(targets) == 1:
        targets = dict.fromkeys(targets, "y")
    return Roles({WHOLE: inputs}, {WHOLE: {} if facts.copies_input else targets}, (), {})
