"""What a kit is made of: a file, or the result of a stage with what is recorded of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from tfopt.deployment.kit.beside import DeviceForm, device_op, forms_beside, plain_of
from tfopt.deployment.kit.contents import PLAIN
from tfopt.errors import InputError, did_you_mean
from tfopt.recipe.artifact import RECORD, SOURCE, Artifact
from tfopt.recipe.details.device_files import DeviceFile, DeviceFiles
from tfopt.recipe.details.usage import Usage
from tfopt.recipe.target import ITSELF, TARGETS
from tfopt.recipe.workspace import Workspace


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
        itself: The targets that take the `.tflite` itself.
        chosen: The target to take where none is asked for: that of the file that was given.
        others: Other files of the run by name, with the targets that each was made for.
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
    itself: tuple[str, ...] = ()
    chosen: str | None = None
    others: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

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
        target = target or self.chosen
        if target is None:
            if len(self.forms) > 1:
                raise InputError(
                    f"{self.file} has files for several targets. Choose one with target: "
                    f"{', '.join([*self.forms, ITSELF])}. Received: none."
                )
            return next(iter(self.forms.values()), None)
        if target in (ITSELF, *self.itself) or (target in TARGETS and not TARGETS[target].suffix):
            return None
        if target not in self.forms:
            having = [name for name, targets in self.others.items() if target in targets]
            way = did_you_mean(target, [*self.forms, *self.itself, ITSELF])
            way = f"{', '.join(having)} of the same run has one: take its folder." if having else way
            raise InputError(f"there is no file for {target} beside {self.file}. {way} Received: {target!r}.")
        return self.forms[target]


def source_of(given: str | Path | bytes, target: str | None = None) -> KitSource:
    """What a kit is made of, from bytes, a file, the folder of a stage's result, or that of a run.

    Args:
        given: The source. A file for a device leads to the `.tflite` beside it.
        target: The target that is asked for, which tells which file of a run is taken: the last one that has it.

    Raises:
        InputError: There is no `.tflite` there, or it was changed since a run made it.
    """
    from tfopt.deployment.file_usage import usage
    from tfopt.deployment.kit.refusals import check_file

    if isinstance(given, bytes):
        found = usage(given)
        if own := device_op(found):
            raise InputError(
                f"a file with {own} is for a device alone, and a kit has outputs of the .tflite that it was made "
                f"of. Give the path of that, with this one beside it. Received: {len(given):,} bytes."
            )
        return KitSource(given, found, "model", PLAIN)
    path = Path(given)
    check_file(path)
    return of_artifact(*_result(path, target)) if path.is_dir() else _of_file(path)


def _of_file(given: Path) -> KitSource:
    """A file of a run with what is recorded of it, or a file alone."""
    from tfopt.deployment.file_usage import usage

    path = plain_of(given)
    artifact = Artifact.read(path.resolve().parent)
    if artifact is not None and artifact.path == path.resolve():
        source = of_artifact(artifact, _beside(artifact))
    else:
        found = usage(path)
        source = KitSource(path.read_bytes(), found, path.stem, path.name, forms=forms_beside(path, found))
    if path == given:
        return source
    for form in source.forms.values():
        if form.file.resolve() == given.resolve():
            return replace(source, chosen=form.target)
    raise InputError(
        f"{given.name} is not what was made of {path.name} for a target that tfopt knows. Convert again. "
        f"Received: {given}."
    )


def of_artifact(artifact: Artifact, others: Mapping[str, Artifact]) -> KitSource:
    """What a kit is made of, from a result and the other results of its run by name.

    Raises:
        InputError: A file of the result was changed since, or is gone.
    """
    from tfopt.deployment.file_usage import usage, with_arena

    if not artifact.unchanged:
        raise InputError(
            f"a kit takes a file of a run as it was made, and {artifact.name}/{artifact.path.name} was changed. Run "
            f"the recipe again, or copy the file to another folder. Received: {artifact.path}."
        )
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
        tuple(one.target for one in _recorded(artifact) if not one.file),
        others={name: targets_of(one) for name, one in others.items() if _is_file(one) and name != artifact.name},
    )


def targets_of(artifact: Artifact) -> tuple[str, ...]:
    """The targets that a result was made for and that have their own figures of it."""
    return tuple(one.target for one in _recorded(artifact))


def _result(folder: Path, target: str | None) -> tuple[Artifact, Mapping[str, Artifact]]:
    """The last `.tflite` of a run's folder that has a target, or that of a stage's, and the run's other results."""
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
    outdated = run.outdated()
    results = {one.name: one for one in run.artifacts() if one.name not in outdated}
    files = [one for one in results.values() if _is_file(one)]
    if not files:
        raise InputError(
            f"a kit is made of a .tflite, and this run has none yet. Add a stage quantize. Received: {folder}."
        )
    if target in (None, ITSELF) or (target in TARGETS and not TARGETS[target].suffix):
        return files[-1], results
    having = [one for one in files if target in targets_of(one)]
    if not having:
        way = did_you_mean(target, dict.fromkeys([ITSELF, *(name for one in files for name in targets_of(one))]))
        raise InputError(f"no file of the run was made for {target}. {way} Received: {folder}, target {target!r}.")
    return having[-1], results


def _is_file(artifact: Artifact) -> bool:
    """Whether a result is a `.tflite` of its own, and not what was measured of others."""
    return artifact.format == "tflite" and not artifact.files


def _recorded(artifact: Artifact) -> tuple[DeviceFile, ...]:
    recorded = artifact.details.of(DeviceFiles)
    return recorded.files if recorded else ()


def _beside(artifact: Artifact) -> Mapping[str, Artifact]:
    return {one.name: one for one in Workspace(artifact.folder.resolve().parent).artifacts()}


def _forms(artifact: Artifact) -> Mapping[str, DeviceForm]:
    """The files made for devices beside a result, as it records them.

    Raises:
        InputError: One of them was changed, or is gone.
    """
    found, paths, changed = {}, artifact.device_files, artifact.changed
    for one in _recorded(artifact):
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
