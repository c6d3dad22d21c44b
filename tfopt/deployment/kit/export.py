"""Making a kit: a file and samples in, a folder out."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tfopt.deployment.kit.arena import arena_of
from tfopt.deployment.kit.array import FORMS, Form
from tfopt.deployment.kit.beside import DeviceForm
from tfopt.deployment.kit.contents import PLAIN, contents
from tfopt.deployment.kit.folder import check_folder, check_same, mend, write_folder
from tfopt.deployment.kit.golden import LITERT, Ran, run_golden, tflm_is_here
from tfopt.deployment.kit.model import KitModel
from tfopt.deployment.kit.refusals import absent_on_tflm, against_tflm, check_exportable
from tfopt.deployment.kit.source import KitSource, source_of
from tfopt.errors import InputError, did_you_mean
from tfopt.targets.microcontrollers import way_without
from tfopt.tflite.ops import NPU


@dataclass(frozen=True)
class Samples:
    """Samples for golden vectors.

    Args:
        x: `(samples, ...)`, or a dict of such by input name, in the float model's units; None to make them up.
        words: Where they are from, in a few words.
        reason: Why there are none, in a line, where that was not the user's choice.
    """

    x: np.ndarray | Mapping[str, np.ndarray] | None = None
    words: str = "samples that were given"
    reason: str = ""


@dataclass(frozen=True)
class KitSettings:
    """How a kit is written.

    Args:
        array: How the array is written: `string`, `incbin` or `plain`.
        golden: Number of golden vectors at most.
        target: The target whose file is flashed; that of the only one made for a device, if not given.
        force: Whether it is written over the kit of another model.
    """

    array: Form = "string"
    golden: int = 4
    target: str | None = None
    force: bool = False


@dataclass(frozen=True)
class Kit:
    """A kit that was written.

    Args:
        folder: Its folder.
        files: Paths of its files in it.
        model: What it was made of.
        warnings: What has to be known of it, each a line.
    """

    folder: Path
    files: tuple[str, ...]
    model: KitModel
    warnings: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Kit({self.model.name}: {len(self.files)} files in {self.folder})"


def export(
    source: str | os.PathLike[str] | bytes,
    out: str | os.PathLike[str],
    samples: np.ndarray | Mapping[str, np.ndarray] | None = None,
    *,
    name: str | None = None,
    array: Form = "string",
    golden: int = 4,
    target: str | None = None,
    force: bool = False,
) -> Kit:
    """Writes a kit: a file as C with its constants, golden vectors and a test, and the code for other languages.

    Two kits of the same file and samples are equal byte by byte.

    Example:
        ```python
        tfopt.export("saved_models/digits", "kit", samples=x_test[:4])
        ```

    Args:
        source: A `.tflite` or its bytes, the folder of a run, of which the last file is taken that has the target, or
            that of a stage. A file for a device, such as `x.vela.tflite`, is taken with the `x.tflite` beside it.
        out: The folder to write: a new one, or one with a kit in it that nobody has changed.
        samples: Inputs `(samples, ...)` of the golden vectors, or a dict of such by input name, in the float model's
            units; made up if not given.
        name: Name of the model, from which those in C are made; that of the run and the stage if not given.
        array: How the array is written. `string`: a string literal, which compiles fast everywhere. `incbin`: an
            assembler file that includes the `.tflite`. `plain`: numbers, slow to compile.
        golden: Number of golden vectors at most.
        target: The target whose file is flashed, such as `ethos-u55-128`, or `tflite` for the file itself; that of the
            only file that was made for a device, if not given.
        force: Write over the kit of another model.

    Raises:
        InputError: There is no such file, no kit can be made of it, or the folder holds something else.
        StorageError: The folder cannot be written.
    """
    found = source_of(source if isinstance(source, bytes) else Path(source), target)
    return write_kit(found, Path(out), Samples(samples), KitSettings(array, golden, target, force), name=name)


def write_kit(
    source: KitSource,
    out: Path,
    samples: Samples,
    settings: KitSettings,
    name: str | None = None,
    card: str | None = None,
) -> Kit:
    """Writes the kit of a source.

    Args:
        source: The file with what is recorded of it.
        out: The folder.
        samples: Samples of the golden vectors.
        settings: How the kit is written.
        name: Name of the model; the source's if not given.
        card: The model card; one is made if not given.

    Raises:
        InputError: No kit can be made of the file, or the folder holds something else.
        StorageError: The folder cannot be written.
    """
    check_settings(settings)
    check_exportable(source.content, source.usage, source.file)
    mend(out)
    check_folder(out)
    if not settings.force:
        named = name is not None or source.artifact is not None  # and not just called as its file is
        check_same(out, name or source.name, None if named else source.content)
    model, warnings = kit_model(source, samples, settings, name or source.name, card)
    files = contents(model)
    write_folder(out, files)
    return Kit(out, tuple(files), model, warnings)


def check_settings(settings: KitSettings) -> None:
    """Checks settings before anything is computed.

    Raises:
        InputError: There is no such form of the array, or no golden vector is asked for.
    """
    if settings.array not in FORMS:
        way = did_you_mean(settings.array, FORMS)
        raise InputError(f"an array is written as {', '.join(FORMS)}. {way} Received: array={settings.array!r}.")
    if settings.golden < 1:
        raise InputError(f"a kit has at least one golden vector. Received: golden={settings.golden}.")


def kit_model(
    source: KitSource, samples: Samples, settings: KitSettings, name: str, card: str | None
) -> tuple[KitModel, tuple[str, ...]]:
    """What the kit of a source says, and what has to be known of it, each a line."""
    from tfopt.deployment.file_usage import usage

    form = source.form(settings.target)
    flashed = form.file.read_bytes() if form else source.content
    ops = usage(flashed).ops if form else source.usage.ops
    reason = against_tflm(source.usage, ops)
    runnable = not reason and NPU not in ops
    here = not reason and tflm_is_here()
    ran = run_golden(source.content, None if NPU in ops else flashed, samples.x, settings.golden, samples.words, here)
    reason = reason or ran.reason
    arena, tensors = arena_of(flashed, ops, _measured(source, form, ran))
    model = KitModel(
        name=name,
        content=source.content,
        flashed=flashed,
        flashed_file=form.file.name if form else PLAIN,
        target=form.target if form else "",
        usage=source.usage,
        ops=ops,
        tensors=tensors,
        arena=arena,
        golden=ran.golden,
        form=settings.array,
        not_on_tflm=reason,
        figures=source.figures,
        scores=source.scores,
        lineage=source.lineage,
        notes=form.notes if form else (),
        card=card,
    )
    doubts = [form.doubt] if form and form.doubt else []
    return model, (*doubts, *_warnings(model, samples, runnable))


def _measured(source: KitSource, form: DeviceForm | None, ran: Ran) -> int | None:
    """Bytes of the arena as this run, or the run that made the file, has measured them."""
    if ran.arena_bytes is not None:
        return ran.arena_bytes
    recorded = form.figures.get("arena_bytes") if form else source.usage.arena_bytes
    return None if recorded is None else int(recorded)


def _warnings(model: KitModel, samples: Samples, runnable: bool) -> list[str]:
    told = []
    if model.not_on_tflm:
        way = way_without(absent, model.ops) if (absent := absent_on_tflm(model.ops)) else ""
        told.append(f"there is no code for LiteRT for Microcontrollers: {model.not_on_tflm}.{way and f' {way}'}")
    elif model.arena.planned is not None:
        told.append(
            f"the tensor arena is counted and not measured: {model.arena.planned:,} bytes as planned for "
            f"{model.target}, {model.arena.tables:,} for TFLM and a margin. The device tells what it uses."
        )
    elif model.arena.measured is None:
        way = "pip install 'tfopt[tflm]' lets tfopt measure it." if runnable else "The device tells what it uses."
        told.append(f"the tensor arena is not measured: {model.arena.bytes:,} bytes are an estimate. {way}")
    if NPU in model.ops and model.golden.runtime == LITERT:
        way = "TFLM does not run model.tflite here." if tflm_is_here() else "pip install 'tfopt[tflm]' gives TFLM's."
        told.append(f"the golden outputs are LiteRT's, and those of the device may differ by a few steps. {way}")
    if samples.x is None:
        why = f": {samples.reason.rstrip('.')}" if samples.reason else ""
        told.append(f"the inputs of the golden vectors are made up{why}. Give samples, or --data.")
    return told
