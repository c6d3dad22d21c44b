"""What a kit is made of: a file, or the result of a stage with what is recorded of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tfopt.deployment.kit.contents import PLAIN
from tfopt.deployment.kit.model import ALIGNMENT
from tfopt.errors import InputError, did_you_mean
from tfopt.recipe.artifact import RECORD, SOURCE, Artifact, Workspace
from tfopt.recipe.details.device_files import DeviceFiles
from tfopt.recipe.details.usage import Usage

# The target of the `.tflite` itself.
ITSELF = "tflite"


@dataclass(frozen=True)
class DeviceForm:
    """A file that was made for a device of a `.tflite`.

    Args:
        target: The target.
        file: The file.
        figures: What was measured of it.
        notes: What has to be known of it, each a line.
    """

    target: str
    file: Path
    figures: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class KitSource:
    """A `.tflite` with what is recorded of it.

    Args:
        content: Its bytes.
        usage: How it is fed and read.
        name: Name of the model where none is given.
        file: The file, for messages.
        artifact: The result that it is of; None for a file alone.
        forms: The files that were made for devices of it, by target.
        figures: What was measured of it, by metric name.
        scores: Names of the metrics among them that tell the accuracy.
        lineage: The stages that made it, the first first.
    """

    content: bytes = field(repr=False)
    usage: Usage
    name: str
    file: str
    artifact: Artifact | None = None
    forms: Mapping[str, DeviceForm] = field(default_factory=dict)
    figures: Mapping[str, float] = field(default_factory=dict)
    scores: tuple[str, ...] = ()
    lineage: tuple[str, ...] = ()

    @property
    def batch(self) -> int:
        """Samples that the file takes at once; 1 where it takes any number."""
        return max([1, *(end.shape[0] for end in self.usage.inputs if end.shape)])

    @property
    def input_shapes(self) -> dict[str, tuple[int | None, ...]]:
        """The shapes of one sample by input name."""
        return {end.name: tuple(end.shape[1:]) for end in self.usage.inputs}

    def form(self, target: str | None) -> DeviceForm | None:
        """The file to flash; None for the `.tflite` itself.

        Args:
            target: The target to take it for; that of the only file made for a device, if not given.

        Raises:
            InputError: There is no file for it, or there are several and none is chosen.
        """
        if target is None:
            if len(self.forms) > 1:
                raise InputError(
                    f"{self.file} has files for several targets. Choose one with target: "
                    f"{', '.join([*self.forms, ITSELF])}. Received: none."
                )
            return next(iter(self.forms.values()), None)
        if target == ITSELF:
            return None
        if target not in self.forms:
            way = did_you_mean(target, [*self.forms, ITSELF])
            raise InputError(f"there is no file for {target} beside {self.file}. {way} Received: {target!r}.")
        return self.forms[target]


def source_of(given: str | Path | bytes) -> KitSource:
    """What a kit is made of, from bytes, a file, the folder of a stage's result, or that of a run.

    Raises:
        InputError: There is no `.tflite` there.
    """
    from tfopt.deployment.file_usage import recorded_usage, usage
    from tfopt.deployment.kit.refusals import check_file

    if isinstance(given, bytes):
        return KitSource(given, usage(given), "model", PLAIN)
    path = Path(given)
    check_file(path)
    if path.is_dir():
        return of_artifact(*_result(path))
    artifact = Artifact.read(path.resolve().parent)
    if artifact is not None and artifact.path == path.resolve() and artifact.unchanged:
        return of_artifact(artifact, _beside(artifact))
    found = recorded_usage(path)
    return KitSource(path.read_bytes(), found, path.stem, path.name)


def of_artifact(artifact: Artifact, others: Mapping[str, Artifact]) -> KitSource:
    """What a kit is made of, from a result and the other results of its run by name."""
    from tfopt.deployment.file_usage import usage, with_arena

    content = artifact.path.read_bytes()
    found = artifact.details.of(Usage)
    found = usage(content) if found is None else with_arena(found, artifact.metrics)
    figures = dict(artifact.metrics)
    scores: list[str] = list(artifact.scores)
    for other in others.values():
        if artifact.name in other.files:
            figures.update(other.files[artifact.name])
            scores += other.scores
    run = artifact.folder.resolve().parent.name
    return KitSource(
        content,
        found,
        f"{run}-{artifact.name}",
        f"{artifact.name}/{artifact.path.name}",
        artifact,
        _forms(artifact),
        figures,
        tuple(dict.fromkeys(scores)),
        _lineage(artifact, others),
    )


def all_activations(content: bytes) -> tuple[int, int]:
    """Bytes of arena that are enough for all activations of a file at once, and the number of its tensors."""
    from tfopt.tflite.file import parse, read

    _, schema = parse(content)
    tensors = [tensor for graph in schema.subgraphs for tensor in graph.tensors]
    bytes_ = 0
    for tensor in tensors:
        if schema.buffers[tensor.buffer].data is None or not len(schema.buffers[tensor.buffer].data):
            shape = tensor.shape if tensor.shape is not None else ()
            size = 8 * math.prod(max(int(length), 1) for length in shape)
            bytes_ += -(-size // ALIGNMENT) * ALIGNMENT
    # What TFLM keeps of each tensor and op, and while it plans.
    return bytes_ + 96 * len(tensors) + 512 * len(read(content).ops) + 8192, len(tensors)


def _result(folder: Path) -> tuple[Artifact, Mapping[str, Artifact]]:
    """The last `.tflite` of a run's folder, or that of a stage's, and the other results of the run."""
    artifact = Artifact.read(folder)
    if artifact is not None and not artifact.files:
        if artifact.format != "tflite":
            raise InputError(f"a kit is made of a .tflite, and this result is a Keras model. Received: {folder}.")
        return artifact, _beside(artifact)
    run = Workspace(folder.parent if (folder / RECORD).exists() else folder)
    if not run.is_run:
        raise InputError(
            f"a kit is made of a .tflite, the folder of a run or that of a stage's result. Received: {folder}."
        )
    results = {one.name: one for one in run.artifacts()}
    files = [one for one in results.values() if one.format == "tflite" and not one.files]
    if not files:
        raise InputError(
            f"a kit is made of a .tflite, and this run has none yet. Add a stage quantize. Received: {folder}."
        )
    return files[-1], results


def _beside(artifact: Artifact) -> Mapping[str, Artifact]:
    return {one.name: one for one in Workspace(artifact.folder.resolve().parent).artifacts()}


def _forms(artifact: Artifact) -> Mapping[str, DeviceForm]:
    """The files made for devices beside a result, as it records them.

    Raises:
        InputError: One of them was changed, or is gone.
    """
    recorded = artifact.details.of(DeviceFiles)
    found, paths, changed = {}, artifact.device_files, artifact.changed
    for one in recorded.files if recorded else ():
        if not one.file:
            continue  # the target takes the file itself
        path = paths[one.target]
        if one.file in changed:
            raise InputError(
                f"a kit takes the file for {one.target} as it was made, and {artifact.name}/{one.file} was changed or "
                f"is gone. Run the recipe again. Received: {path}."
            )
        found[one.target] = DeviceForm(
            one.target, path, one.figures, tuple(f"{note[:1].upper()}{note[1:]}." for note in one.notes)
        )
    return found


def _lineage(artifact: Artifact, others: Mapping[str, Artifact]) -> tuple[str, ...]:
    line = [artifact]
    while line[0].parents and line[0].parents[0] in others:
        line.insert(0, others[line[0].parents[0]])
    stages = (one for one in line if one.kind != SOURCE)
    return tuple(one.name if one.name == one.kind else f"{one.name} ({one.kind})" for one in stages)
