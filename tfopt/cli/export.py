"""The command `export`: a kit to flash of a file or a run."""

from __future__ import annotations

import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tfopt.cli.answer import Answer, JsonOption, QuietOption, VerboseOption, print_path
from tfopt.cli.completion import targets, words
from tfopt.cli.recipes import SAVED_MODELS, load
from tfopt.cli.screen import open_console, print_json, print_line, print_warnings, relative_path

if TYPE_CHECKING:
    from tfopt.deployment.kit.export import Kit, KitSettings, Samples
    from tfopt.deployment.kit.source import KitSource


def export(
    source: Annotated[Path, typer.Argument(help="A .tflite, a run's folder, saved_models/digits, or its recipe.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder of the kit.")] = Path("kit"),
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            help="Inputs of the golden vectors: x.npy, inputs.npz (by input name), or a recipe's data. Those of the "
            "run's test split if not given.",
        ),
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="Name of the model, and of all that is in C.")] = None,
    array: Annotated[
        str,
        typer.Option(
            "--array",
            help="The file in C: string, incbin (by the assembler) or plain (slow).",
            autocompletion=words("string", "incbin", "plain"),
        ),
    ] = "string",
    golden: Annotated[int, typer.Option("--golden", min=1, help="Golden vectors at most.")] = 4,
    target: Annotated[
        str | None,
        typer.Option(
            "--target", help="The target whose file is flashed, or tflite for the file itself.", autocompletion=targets
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", "-f", help="Write over the kit of another model.")] = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Write a kit to flash: C, golden vectors with a test, and code for Python, C++ and Kotlin."""
    answer = Answer(as_json, quiet, verbose)
    with answer.errors():
        from tfopt.deployment.kit.export import KitSettings

        settings = KitSettings(array, golden, target, force)  # type: ignore[arg-type]
        source = _run_of(source)
        kit, found = _write(source, out, data, name, settings, answer)
    _show(kit, found, found.others if _is_run(source, found) else {}, answer)


def _write(
    source: Path, out: Path, data: str | None, name: str | None, settings: KitSettings, answer: Answer
) -> tuple[Kit, KitSource]:
    from tfopt.deployment.kit.export import check_settings, write_kit
    from tfopt.deployment.kit.folder import check_folder
    from tfopt.deployment.kit.source import source_of
    from tfopt.output_capture import captured
    from tfopt.recipe.artifact import LOG

    check_settings(settings)
    check_folder(out)
    with tempfile.TemporaryDirectory(prefix="tfopt-") as folder, answer.log(Path(folder)), captured(Path(folder, LOG)):
        found = source_of(source, settings.target)
        found.form(settings.target)  # refused before data is read
        samples = _samples(found, data, settings.golden)
        return write_kit(found, out, samples, settings, name, _card(found)), found


def _run_of(source: Path) -> Path:
    """The folder of a recipe's run; anything else as it is."""
    from tfopt.recipe.yaml_source import is_recipe

    if not is_recipe(source) or not source.is_file():
        return source
    folder: Path = SAVED_MODELS / load(source, None, None, run_code=False).name
    return folder if folder.is_dir() else source  # which is refused


def _is_run(given: Path, source: KitSource) -> bool:
    """Whether the folder of a run was given, of which one file was taken."""
    return source.artifact is not None and given.resolve() == source.artifact.folder.resolve().parent


def _samples(source: KitSource, data: str | None, golden: int) -> Samples:
    """The samples of the golden vectors: those of the data, else of the run's test split."""
    from tfopt.deployment.kit.export import Samples
    from tfopt.errors import InputError

    count, shapes = golden * source.batch, source.input_shapes
    if data is not None:
        from tfopt.data.arrays import by_name, check_values
        from tfopt.data.input_source import InputSource

        taken = InputSource(data, shapes).take(shapes, count)
        for key, array in by_name(taken).items():
            check_values(f"{data}[{key!r}]" if key else data, array)
        return Samples(taken, f"samples of {Path(data).name}")
    if source.artifact is None:
        return Samples()
    from tfopt.data import sources
    from tfopt.pipeline.contenders import Contender

    artifact = source.artifact
    run = Contender(artifact.name, artifact.path, artifact.format, artifact.folder.parent)
    try:
        if run.recipe is not None:
            sources.resolve(run.recipe.data, run.recipe.folder)  # says what is wrong with it
        return Samples(run.load_data().fitted(shapes).test.few(count).x, "the first samples of the test split")
    except InputError as error:  # such as data that is no longer where the run has found it
        return Samples(reason=f"the run's data cannot be read: {str(error).splitlines()[0]}")


def _card(source: KitSource) -> str | None:
    """The model card of the run, of its last file."""
    from tfopt.report import summary

    artifact = source.artifact
    if artifact is None:
        return None
    artifacts = summary.collect(artifact.folder.parent)
    files = [one.name for one in artifacts.values() if one.format == "tflite" and not one.files]
    last = bool(files) and files[-1] == artifact.name
    return summary.as_model_card(artifact.folder.resolve().parent.name, artifacts) if last else None


def _show(kit: Kit, source: KitSource, others: Collection[str], answer: Answer) -> None:
    model, folder = kit.model, kit.folder.resolve()
    if answer.as_json:
        record = {"kit": str(folder), "files": kit.files, "name": model.name, "arena_bytes": model.arena.bytes}
        print_json({**record, "of": source.file, "others": list(others)})
    elif answer.quiet:
        print_path(folder)
    else:
        console = open_console()
        arena = f"{model.arena.bytes:,} B" + ("" if model.arena.measured else ", an estimate")
        too = f"; the run has {', '.join(others)} too: name the folder of one, or --target" if others else ""
        made_for = f", for {model.target}" if model.target else ""
        lines = [f"of      {source.file}{too}", f"flash   {model.flashed_file}, {len(model.flashed):,} B{made_for}"]
        lines += [] if model.not_on_tflm else [f"arena   {arena}"]
        lines += [f"golden  {model.golden.count} vectors, {model.golden.samples}; outputs of {model.golden.runtime}"]
        for line in [*lines, f"kit     {relative_path(folder)}: README.md says what is where"]:
            print_line(console, line)
    print_warnings(kit.warnings)
