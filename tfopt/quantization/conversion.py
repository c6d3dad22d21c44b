"""Conversion of a Keras model to the bytes of a `.tflite`, checked on LiteRT."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import keras

from tfopt.errors import ConversionError, TfoptWarning
from tfopt.metrics import compare_outputs
from tfopt.models import loading
from tfopt.models.keras2.migration import OutputCheck
from tfopt.models.preparation import preparation
from tfopt.quantization import noise_sources, validation
from tfopt.quantization.calibration_data import collect_samples
from tfopt.quantization.calibration_warnings import calibration_warnings
from tfopt.quantization.cost_on_target import cost_on_target, cpu_notes
from tfopt.quantization.float_conversion import FloatConversion, to_float
from tfopt.quantization.op_audit import audit, is_quantized, left_in_float
from tfopt.quantization.op_replacement import float_reasons
from tfopt.quantization.padding_check import without_padding
from tfopt.quantization.preparation import prepare
from tfopt.quantization.prepared_model import JudgedBy, PreparedModel
from tfopt.quantization.recurrent.streaming import check_pieces
from tfopt.quantization.remedies import NoiseSources
from tfopt.quantization.scale_choice import with_chosen_scales
from tfopt.quantization.unrolling import not_as_asked, unroll_if_better
from tfopt.recipe.artifact import Skipped
from tfopt.recipe.details.quantization import Audit
from tfopt.recipe.export import Export
from tfopt.recipe.modes import MODES
from tfopt.recipe.target import TARGETS
from tfopt.tabular import Tabular
from tfopt.targets.target_cost import TargetCost
from tfopt.tflite import flatbuffer
from tfopt.tflite.file import FileSummary, read
from tfopt.tflite.interpreter import Runner

# Signal-to-noise ratio below which that is a warning even where a gate decides on the file.
POOR_SNR_DB = 10.0
# What is said of a file with variables that is no stream.
KEEPS_STATE = (
    "the file keeps its state between runs: reset it before each sequence (reset_all_variables(); the snippets and "
    "kits do)."
)


@dataclass(frozen=True, repr=False)
class Conversion(Tabular):
    """A finished file.

    Args:
        content: The bytes of the `.tflite`.
        skipped: Ops that stayed in floating point although the mode quantizes, or that a rule could not reach.
        audit: Storage and computation of each op.
        notes: Remarks, such as on a route that failed and the one taken instead.
        figures: `calibration_snr_db` (decibels) and `calibration_max_error` against the float file on some of the
            samples, and measurements of the target's own runtime or tool: `arena_bytes` and `tflm_max_error` for
            microcontrollers, `compiled_bytes`, `npu_milliseconds` and others for Ethos-U.
        warnings: What has to be known before the file is used, such as noisy outputs, a state that has to be reset, or
            calibration samples of another range than the model's inputs.
        options: Settings in the warnings as a recipe has them, each with the options of the command that say the same.
        noise: Where the noise of the file comes from, as far as it was looked for.
        made: Summary of the file before its tensor names were removed.
        prepared: The model that it was made from.
        float_bytes: Size in bytes of the model's float32 file; 0 where it is not known.
        preparation: What the model does to each of its inputs before anything else, in words.
        on_target: What the file costs on its target, by layer, and the target's own file; None where the target has no
            tool that tells.
    """

    content: bytes
    skipped: tuple[Skipped, ...]
    audit: Audit
    notes: tuple[str, ...] = ()
    figures: dict[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    options: tuple[tuple[str, str], ...] = ()
    noise: NoiseSources = field(default_factory=NoiseSources)
    made: FileSummary | None = field(default=None, repr=False, compare=False)
    prepared: PreparedModel | None = field(default=None, repr=False, compare=False)
    float_bytes: int = 0
    preparation: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    on_target: TargetCost | None = field(default=None, repr=False, compare=False)

    @property
    def title(self) -> str:
        """The size of the file, and of the float32 one."""
        before = f", {self.float_bytes:,} B in float32" if self.float_bytes else ""
        return f"{len(self.content):,} B{before}"

    def records(self) -> list[dict[str, Any]]:
        """A row for each op with a kernel."""
        return [asdict(row) for row in self.audit.rows]


def convert(
    model: Any,
    mode: str = "int8",
    calibration: Any = None,
    *,
    custom_objects: Mapping[str, Any] | None = None,
    trust: bool = False,
    **settings: Any,
) -> bytes:
    """Converts a model to a `.tflite`, compared with the model on LiteRT.

    Example:
        ```python
        Path("model.tflite").write_bytes(tfopt.convert(model, "int8", calibration=x_train[:200]))
        ```

    Args:
        model: A Keras 3 or tf_keras model, or the path of a `.keras` or `.h5` file or of a SavedModel folder.
        mode: A mode, such as `float32`, `float16`, `dynamic`, `weight_only`, `int8`, `int16x8` or `int4`.
        calibration: Representative inputs, preprocessed as for the model: an array `(samples, ...)`, a list of arrays
            in the order of the inputs, a dict of arrays by input name, or a `tf.data.Dataset`. 100 to 200 samples are
            plenty. The modes that compute in integers need them; the others use them for the check alone.
        custom_objects: Classes and functions that a model file is made of, by name.
        trust: Load Python code that a model file carries (a Lambda layer).
        **settings: Any other field of `tfopt.Export`: `io`, `rules`, `ranges`, `scales`, `rounding`,
            `rounding_seconds`, `bias_correction`, `clipping`, `batch`, `target`, `recurrent`, `stateful`, `slim`,
            `sparse`, `decode`, `least_snr_db`.

    Returns:
        The bytes of the file.

    Warns:
        TfoptWarning: The outputs are noisy (an SNR below 20 dB against the float file), rows of zeros give NaN, the
            file keeps its state between runs, or the samples seem to be scaled in another way than what the model was
            trained on, to be of one class, or to be near-copies of few.

    Raises:
        InputError: Settings that do not go together, no calibration samples, or a model that cannot be read.
        ConversionError: The model cannot be converted, or LiteRT cannot run it or gives something else than Keras.
    """
    export = Export(**{"mode": mode, **settings})
    comparison = OutputCheck(samples=lambda model: collect_samples(calibration, model))
    admitted = loading.as_keras3(model, custom_objects, trust, comparison)
    made = convert_with_notes(admitted, export, calibration)
    warn(made, stacklevel=3)
    return made.content


def convert_with_notes(
    model: keras.Model,
    export: Export,
    calibration: Any = None,
    judged_by: JudgedBy = "snr",
    source: FloatConversion = to_float,
) -> Conversion:
    """`convert` with the ops that stayed in float, the audit of each op, remarks and warnings.

    Args:
        model: The model.
        export: Settings of the file.
        calibration: Representative inputs, as `convert` takes them.
        judged_by: What decides on outputs that are noisy.
        source: Makes the float file.
    """
    prepared = unroll_if_better(prepare(model, export, calibration, convert=source))
    prepared = with_chosen_scales(prepared).judged(judged_by)
    made = replace(finish(prepared, prepared.file), preparation=preparation(model))
    if not MODES[export.mode].static:
        return made
    return replace(made, warnings=(*calibration_warnings(model, prepared.samples), *made.warnings))


def warn(made: Conversion, stacklevel: int = 2) -> None:
    """Issues the warnings of a conversion as Python's, for functions that return the file alone."""
    for warning in made.warnings:
        warnings.warn(warning, TfoptWarning, stacklevel=stacklevel)


def finish(prepared: PreparedModel, content: bytes, precisions: Mapping[int, str] | None = None) -> Conversion:
    """Finishes a quantized file: checks it against the float file, audits its ops and removes tensor names.

    Args:
        prepared: The prepared model that the file was made from.
        content: Bytes of the file, with tensor names.
        precisions: Precision by op number, as the accuracy search chose it.

    Raises:
        ConversionError: The file computes something else than the float file, or the target cannot run it.
    """
    export = prepared.export
    mode, target = MODES[export.mode], TARGETS[export.target]
    summary, source, chosen = read(content), prepared.source, prepared.remarks.get(content, ())
    reasons = {
        source.ops[i].outputs[0].name: reason
        for given, reason in (
            (precisions or {}, "kept so for the metric"),
            (prepared.assigned.precisions, "a rule keeps it so"),
            (
                dict.fromkeys(source.identities.ops, "float"),
                "it computes with ids, or with marks such as that of missing values",
            ),
        )
        for i, to in given.items()
        if to == "float"
    }
    reasons |= {source.ops[i].outputs[0].name: reason for i, reason in float_reasons(source.ops).items()}
    skipped = left_in_float(summary, mode, reasons) if mode.quantizes else ()
    said = _Said()
    if mode.quantizes and not is_quantized(summary):
        raise ConversionError(
            f"nothing could be quantized to {mode.name}: the file would be the float one. "
            f"Ops: {', '.join(dict.fromkeys(op.name for op in summary.ops))}."
        )
    looked = audit(source, content)
    content = _as_stored(prepared, content)
    got = Runner(content)(prepared.few)
    if mode.quantizes:
        said = _judged(prepared, prepared.snr_of(got))
    validation.check_target(looked, target)
    differences = compare_outputs(prepared.expected, got)
    figures = {f"calibration_{name}": differences[name] for name in ("snr_db", "max_error")}
    figures |= validation.measure_on_target(target, content, prepared.few)
    costs = cost_on_target(export, content, summary, source, prepared.few)
    figures |= costs.cost.figures if costs else {}
    streamed = [check_pieces(content, prepared.few, target, source.places)] if export.stateful else []
    notes = (*prepared.notes, *chosen, *streamed, *_remarks(prepared, summary), *said.notes, *cpu_notes(costs))
    fault = validation.fault_at_zeros(prepared.model, source, content, prepared.few)
    kept = KEEPS_STATE if flatbuffer.has_state(content) and not export.stateful else None
    found = (*said.warnings, *filter(None, (fault, kept)), *not_as_asked(prepared))
    left, before = (*skipped, *prepared.assigned.skipped), source.slim_size if export.slim else source.size
    made = Conversion(content, left, looked, notes, figures, found, said.noise.options, said.noise)
    return replace(made, made=summary, prepared=prepared, float_bytes=before, on_target=costs)


def _as_stored(prepared: PreparedModel, content: bytes) -> bytes:
    """A file without its tensor names where they are left out, and marked where it is a stream's."""
    export = prepared.export
    slim = validation.check_slim(content, prepared.few) if export.slim else flatbuffer.pack(flatbuffer.parse(content))
    return flatbuffer.mark_stream(slim) if export.stateful else slim


@dataclass(frozen=True)
class _Said:
    """What there is to say of a file's noise."""

    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    noise: NoiseSources = field(default_factory=NoiseSources)


def _judged(prepared: PreparedModel, snr: float) -> _Said:
    """Refuses a file of too much noise, or says of one how noisy it is, and which ops make it so.

    Args:
        prepared: The prepared model that the file was made from.
        snr: The file's signal-to-noise ratio, in decibels.

    Raises:
        ConversionError: The signal-to-noise ratio is too low.
    """
    export, mode = prepared.export, MODES[prepared.export.mode]
    least = {"snr": mode.least_snr_db, "training": 0.0}.get(prepared.judged_by, -math.inf)
    least = least if export.least_snr_db is None else export.least_snr_db
    if snr > least and snr >= validation.GOOD_SNR_DB:
        return _Said()
    left_to_metric = f"SNR {snr:.1f} dB against the float file; the metric decides"
    if snr > least and prepared.judged_by == "metric":
        return _Said(notes=(left_to_metric,))
    sources = noise_sources.find(prepared, snr)
    validation.check_snr(snr, mode, least, sources)
    if prepared.judged_by == "gate" and snr >= POOR_SNR_DB:
        return _Said(notes=(f"{left_to_metric}{sources}",), noise=sources)
    told = f"the {mode.name} file is noisy: SNR {snr:.1f} dB against the float one{sources}."
    return _Said(warnings=(told,), noise=sources)


def _plain(value: float) -> str:
    """A number in few digits, a whole one in all of them."""
    return f"{value:,.0f}" if value.is_integer() and abs(value) < 1e9 else f"{value:.3g}"


def _remarks(prepared: PreparedModel, summary: FileSummary) -> Iterator[str]:
    """The remarks for the notes of a conversion."""
    for name in prepared.source.unused_inputs:
        yield f"input {name!r} is not used: no output depends on it"
    if MODES[prepared.export.mode].static:
        seen = [
            f"{name} from {_plain(float(x.min()))} to {_plain(float(x.max()))}" for name, x in prepared.samples.items()
        ]
        count = len(next(iter(prepared.samples.values())))
        yield f"calibrated on {count} samples: {', '.join(seen)}"
        if without_padding(prepared.source.places, prepared.samples):
            yield "no calibration sample has padding for the mask: where there will be some, take samples with it"
    if prepared.export.sparse and not any(op.facts.unpacks == "sparse" for op in summary.ops):
        yield "no kernel has zeros enough to be stored sparse"
