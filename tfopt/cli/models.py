"""The commands that work on a model file, without a recipe."""

from __future__ import annotations

import os
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tfopt.cli import conversion_options as options
from tfopt.cli.answer import Answer, JsonOption, QuietOption, VerboseOption, print_path
from tfopt.cli.completion import languages
from tfopt.cli.on_target import (
    TargetOption,
    check_costs,
    compiled,
    device_lines,
    found_on,
    in_options,
    own_file,
    print_on_target,
    target_setting,
)
from tfopt.cli.screen import ELSEWHERE, open_console, print_json, print_line, print_table, print_warnings, relative_path
from tfopt.cli.usage import conversion_lines, print_snippet, usage_lines

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console

    from tfopt.data.input_source import InputSource
    from tfopt.inspection import ModelSummary
    from tfopt.quantization.conversion import Conversion
    from tfopt.recipe.export import Export

ModelFile = Annotated[Path, typer.Argument(help="A .keras or .h5 file, or a SavedModel folder of Keras 2.")]
DataOption = Annotated[
    str | None,
    typer.Option(
        "--data",
        help="Representative inputs: x.npy, inputs.npz (by input name), or a recipe's data: npz:file.npz, keras:mnist, "
        "file.py:function.",
    ),
]
Samples = Annotated[int, typer.Option("--samples", min=1, help="How many of them to take.")]
Trust = Annotated[bool, typer.Option("--trust", help="Load Python code that the file carries.")]


def convert(
    model: ModelFile,
    mode: options.ModeOption = "int8",
    data: DataOption = None,
    out: options.OutOption = None,
    rule: options.RuleOption = None,
    io: options.IoOption = None,
    ranges: options.RangesOption = None,
    rounding: options.RoundingOption = "nearest",
    rounding_seconds: options.RoundingSecondsOption = None,
    bias_correction: options.BiasCorrectionOption = False,
    no_bias_correction: options.NoBiasCorrectionOption = False,
    clipping: options.ClippingOption = "none",
    batch: options.BatchOption = "1",
    target: TargetOption = "litert",
    no_slim: options.NoSlimOption = False,
    recurrent: options.RecurrentOption = "auto",
    stateful: options.StatefulOption = False,
    no_unroll: options.NoUnrollOption = False,
    sparse: options.SparseOption = False,
    decode: options.DecodeOption = False,
    decode_ram: options.DecodeRamOption = None,
    least_snr: options.LeastSnrOption = None,
    samples: Samples = 200,
    trust: Trust = False,
    force: options.ForceOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Convert a model to a .tflite, run it on LiteRT against the model, and show what became of each layer."""
    from tfopt.errors import InputError

    given = {
        "io": io,
        "ranges": ranges,
        "rounding_seconds": rounding_seconds,
        "least_snr_db": least_snr,
        "unroll": False if no_unroll else None,
    }
    answer = Answer(as_json, quiet, verbose)
    with answer.errors():
        if bias_correction and no_bias_correction:
            raise InputError("--bias-correction and --no-bias-correction contradict each other. Leave one out.")
        settings: dict[str, Any] = {
            "mode": mode,
            "rounding": rounding,
            "bias_correction": False if no_bias_correction else bias_correction or None,
            "clipping": clipping,
            "batch": options.batch_setting(batch),
            "target": target_setting(target or "litert"),
            "slim": not no_slim,
            "recurrent": recurrent,
            "stateful": stateful,
            "sparse": sparse,
            "decode": {"ram": decode_ram} if decode_ram is not None else decode,
            "rules": [_rule(text) for text in rule or ()],
            **{name: value for name, value in given.items() if value is not None},
        }
        file, converted = _write(model, settings, _Inputs(data, samples, trust), out, force, answer)
        _show(converted, file, answer)


@dataclass(frozen=True)
class _Inputs:
    """What a model is converted with, besides the settings of the file."""

    data: str | None
    samples: int
    trust: bool


def _write(
    model: Path, settings: dict[str, Any], inputs: _Inputs, out: Path | None, force: bool, answer: Answer
) -> tuple[Path, Conversion]:
    """Converts a model and writes the file."""
    from tfopt.durable_files import storage_errors, write_together
    from tfopt.errors import InputError
    from tfopt.recipe.artifact import LOG
    from tfopt.recipe.export import Export
    from tfopt.recipe.target import TARGETS

    with in_options():
        export = Export(**settings)
    TARGETS[export.target].check_installed()
    file = out or Path(f"{model.name.removesuffix(model.suffix)}-{export.mode}.tflite")
    own = own_file(export, file)
    for path in (file, *([own] if own else [])):
        if path.exists() and not force:
            raise InputError(f"{path} is there already. Name another file with --out, or write over it with --force.")
    if file.exists() and file.resolve() == model.resolve():
        raise InputError(f"{file} is the model itself. Name another file with --out.")
    check_folder(file)
    if file.suffix != ".tflite":
        made = file.with_suffix(".tflite")
        raise InputError(f"what is written is a .tflite. Name a file such as {made} with --out. Received: {file}.")
    with tempfile.TemporaryDirectory(prefix="tfopt-") as folder, answer.log(Path(folder)):
        converted = _converted(model, export, inputs, Path(folder) / LOG)
    files = {file: converted.content}
    if converted.on_target and (own := converted.on_target.own_file(file)):
        files[own] = converted.on_target.cost.content or b""
    with storage_errors(file, ELSEWHERE):
        write_together(files)
    return file, converted


def check_folder(file: Path) -> None:
    """Refuses a file in a folder that is not there or cannot be written, before anything is computed."""
    from tfopt.errors import InputError, StorageError

    if not file.parent.is_dir():
        raise InputError(f"there is no folder {file.parent}. Make it, or name another file.")
    if file.is_dir():
        raise InputError(f"{file} is a folder. Name a file in it, such as {file / 'made'}.")
    if not os.access(file.parent, os.W_OK):
        raise StorageError(f"{file} cannot be written: its folder is read-only. {ELSEWHERE}")


def check_files(model: Path, data: str | None, trust: bool) -> InputSource | None:
    """Checks a model and the inputs for it before TensorFlow is imported, which takes seconds; returns the inputs."""
    from tfopt.data.input_source import InputSource
    from tfopt.errors import ModelError
    from tfopt.models import stored_model
    from tfopt.recipe.yaml_source import is_recipe

    if is_recipe(model):
        raise ModelError(f"{model} is a recipe and no model file: tfopt run {model} makes what it says.")
    stored_model.check(model, trust=trust)
    return None if data is None else InputSource(data, stored_model.input_shapes(model))


def _rule(text: str) -> dict[str, Any]:
    from tfopt.errors import InputError
    from tfopt.recipe.modes import ROUNDINGS

    pattern, equals, what = text.rpartition("=")
    if not equals or not pattern:
        raise InputError(f"a rule is a layer pattern and a precision, such as head=float. Received: {text!r}.")
    return {"layers": pattern, "rounding" if what in ROUNDINGS else "to": what}


def _converted(model: Path, export: Export, given: _Inputs, log: Path) -> Conversion:
    from tfopt.errors import ConversionError, InputError, ModelError, TargetError
    from tfopt.output_capture import captured
    from tfopt.recipe.modes import MODES

    source = check_files(model, given.data, given.trust)
    if MODES[export.mode].static and given.data is None:
        raise InputError(f"{export.mode} needs representative inputs: give --data, such as --data x_train.npy.")
    with captured(log):  # TensorFlow prints when it is imported
        from tfopt.models import loading, signature
        from tfopt.models.keras2.migration import OutputCheck
        from tfopt.quantization.conversion import convert_with_notes

        def inputs_of(model: Any) -> Any:
            return None if source is None else source.take(signature.inputs_of(model), given.samples)

        admitted = loading.load_any(model, trust=given.trust, comparison=OutputCheck(samples=inputs_of))
        inputs = inputs_of(admitted.model)
        try:
            converted = convert_with_notes(admitted.model, export, inputs)
        except ConversionError as error:
            worded = error.reworded(_in_options(str(error), error.options))
            raise ModelError(str(worded)) if isinstance(error, TargetError) else worded from error
    told = tuple(_in_options(warning, converted.options) for warning in converted.warnings)
    converted = replace(converted, warnings=told)
    carried = admitted.carried
    if carried is None:
        return converted
    origin = f"carried over from {carried.origin}: outputs differ by {carried.max_error:.2g} where they reach "
    return replace(converted, notes=(f"{origin}{carried.scale:.2g}", *converted.notes))


def _in_options(text: str, options: Iterable[tuple[str, str]]) -> str:
    """A sentence with the settings of a recipe in it said as options of the command."""
    for setting, option in options:
        text = text.replace(setting, option)
    return text


def _show(converted: Conversion, file: Path, answer: Answer) -> None:
    from tfopt.report.decoding import DECODED, decoded_cells, decoding_sentences
    from tfopt.report.quantization import conversion_record, figure_lines, totals

    if not answer.plain:
        if answer.as_json:
            print_json({"file": str(file.resolve()), **conversion_record(converted)})
        else:
            print_path(file.resolve())
        print_warnings(converted.warnings)
        return
    console = open_console()
    _print_audit(console, converted.audit.rows)
    decoding = converted.on_target.decoding if converted.on_target else None
    if decoding:
        print_table(console, DECODED, [decoded_cells(row) for row in decoding.kernels], left=2)
    lines = [f"note  {note}" for note in converted.notes]
    lines += decoding_sentences(decoding) if decoding else []
    lines += [f"left  {skipped.where}: {skipped.reason}" for skipped in converted.skipped]
    told = converted.on_target.cost.figures if converted.on_target else {}
    lines += figure_lines({name: value for name, value in converted.figures.items() if name not in told})
    lines += device_lines(converted, file)
    lines += [f"file  {relative_path(file.resolve())}  {totals(converted)}"]
    lines += conversion_lines(converted.content, converted.preparation, file)
    for line in lines:
        print_line(console, line)
    print_warnings(converted.warnings)


def _print_audit(console: Console, rows: Iterable[Any]) -> None:
    from tfopt.report.quantization import AUDIT, audit_cells

    print_table(console, AUDIT, [audit_cells(row) for row in rows], left=2)


def _show_audit(console: Console, file: Path, slim: bool) -> None:
    """Shows the audit of a file in the folder of a run, where its artifact has one."""
    from tfopt.recipe.artifact import Artifact
    from tfopt.recipe.details.quantization import Audit

    artifact = Artifact.read(file.resolve().parent)
    looked = artifact.details.of(Audit) if artifact and artifact.path == file.resolve() else None
    if looked:
        _print_audit(console, looked.rows)
        share = f"zeros in kernels {looked.sparsity:.1%}, before {looked.float_sparsity:.1%}"
        print_line(console, share)
    elif slim:
        print_line(
            console, "the file has no tensor names: --no-slim of tfopt convert keeps them, and slim: false in a recipe"
        )


def inspect(
    file: Annotated[Path, typer.Argument(help="A .keras, .h5 or .tflite file, or a SavedModel of Keras 2.")],
    trust: Annotated[bool, typer.Option("--trust", help="Load Python code that the file carries.")] = False,
    snippet: Annotated[
        str | None,
        typer.Option(
            "--snippet", help="Print the code that runs a .tflite instead: {SNIPPETS}.", autocompletion=languages
        ),
    ] = None,
    target: TargetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what is in a model file: layers or ops, dtypes, bytes, zeros, how to feed it, what it costs on a target."""
    from tfopt.errors import InputError
    from tfopt.inspection import inspect as look
    from tfopt.recipe.details.device_files import DeviceFiles

    answer = Answer(as_json)
    if snippet is not None:
        with answer.errors():
            if as_json or target:
                raise InputError("--snippet prints code and nothing else. Leave --json and --target out.")
            print_snippet(file, snippet)
        return
    with answer.errors():
        if target:
            check_costs(file, target)
        contents = look(file, trust)
        on_target = found_on(file, target) if target else None
    if as_json:
        found = {"on_target": DeviceFiles((on_target,)).to_json()["files"][0]} if on_target else {}
        print_json({"file": str(file), **asdict(contents), **found})
        return
    console = open_console()
    if on_target:
        print_on_target(console, on_target)
        return
    _show_contents(console, contents, file)


def _show_contents(console: Console, contents: ModelSummary, file: Path) -> None:
    """Shows what is in a model file: its parts, how it is fed, and what it comes to."""
    headers = (
        "op" if contents.format == "tflite" else "layer",
        "kind",
        "dtype",
        "output",
        "parameters",
        "bytes",
        "zeros in all",
    )
    rows = []
    for part in contents.parts:
        share = f"{part.zeros / part.parameters:.1%}" if part.parameters else "-"
        rows.append((part.name, part.kind, part.dtype, part.shape, f"{part.parameters:,}", f"{part.bytes:,}", share))
    unnamed = not any(part.name for part in contents.parts)
    print_table(console, headers[unnamed:], [row[unnamed:] for row in rows], left=2 - unnamed)
    _show_audit(console, file, slim=contents.format == "tflite" and unnamed)
    total = f"{contents.parameters:,} parameters, biases among them, {contents.zeros:,} of them zero"
    if contents.bytes is not None:  # a SavedModel is a folder
        total += f"; {contents.bytes:,} B, gzip -9 {contents.gzip_bytes:,} B"
    ends = [f"in   {', '.join(contents.inputs)}", f"out  {', '.join(contents.outputs)}"]
    for line in usage_lines(contents.usage, file) if contents.usage else ends:
        print_line(console, line)
    for remark in contents.remarks:
        print_line(console, remark)
    if contents.usage and compiled(contents.usage):
        remark = "compiled for an Ethos-U alone: its weights are encoded, and to be seen in the .tflite it was made of"
        print_line(console, remark)
        total = total.partition("; ")[2]
    print_line(console, total)
