"""The `README.md` of a kit: what each file is, and the lines that bring the model onto a device."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tfopt.deployment.kit.golden_source import FLOAT_TOLERANCE
from tfopt.deployment.kit.micro import op_notes
from tfopt.deployment.kit.model import KitModel
from tfopt.deployment.words import described


def readme(model: KitModel, files: Mapping[str, str]) -> str:
    """The text.

    Args:
        model: The model.
        files: What each file is, by its path in the kit.
    """
    lines = [f"# {model.name}", "", *_model(model), "", *_flash(model), "", *_golden(model), ""]
    lines += ["## Files", "", *(f"- `{path}`: {about}" for path, about in files.items())]
    return "\n".join([*lines, "- `SHA256SUMS`: `sha256sum -c SHA256SUMS` checks all of them.", ""])


def _model(model: KitModel) -> Iterator[str]:
    flashed = f"`{model.flashed_file}`, {len(model.flashed):,} bytes"
    if model.target:
        flashed += f", made for {model.target} from `model.tflite` ({len(model.content):,} bytes), which LiteRT runs"
    yield f"{flashed}. Ops: {', '.join(model.ops)}."
    yield ""
    yield "| | name | numbers |"
    yield "|---|---|---|"
    for side, name, meaning in described(model.usage):
        yield f"| {side} | {_cell(name)} | {_cell(meaning)} |"
    for note in (*model.notes, *op_notes(model)):
        yield f"\n{note}"


def _flash(model: KitModel) -> Iterator[str]:
    prefix, macro = model.prefix, model.macro
    yield "## On a microcontroller"
    yield ""
    if model.not_on_tflm:
        yield f"There is no code for LiteRT for Microcontrollers: {model.not_on_tflm}."
        yield f"`c/{prefix}.h` has the array and the constants for any other runtime."
        return
    yield f"1. In CMake: `set({macro}_TFLM your_tflm_target)`, `add_subdirectory(kit)`, and link `{prefix}_tflm`; or"
    yield "   compile the files of `c/` with your own build."
    yield f'2. `#include "{prefix}_tflm.h"` and `"{prefix}.h"`; call `{prefix}_tflm_setup()` once.'
    yield f"3. `{prefix}_tflm_run(inputs, outputs, 0)`, with inputs of `{prefix}_in_..._quantize(x)` and outputs to"
    yield f"   `{prefix}_out_..._dequantize(q)` where they are integers."
    yield ""
    arena = model.arena
    if arena.measured is None:
        yield (
            f"The tensor arena is not measured: {arena.bytes:,} bytes are an estimate. "
            f"`{prefix}_tflm_arena_used()` tells it on the device; `pip install 'tfopt[tflm]'` lets tfopt measure it."
        )
    else:
        yield (
            f"The tensor arena has {arena.bytes:,} bytes: {arena.measured:,} measured on a PC, and {arena.margin:,} as "
            f"a margin. `{prefix}_tflm_arena_used()` tells what the device uses."
        )
    if model.usage.stateful:
        yield (
            f"\nThe model keeps state from run to run. `{prefix}_tflm_run` resets it first; `{prefix}_tflm_invoke` goes "
            f"on with it, and `{prefix}_tflm_reset` sets it back."
        )


def _golden(model: KitModel) -> Iterator[str]:
    golden, prefix = model.golden, model.prefix
    yield "## Does it compute the same there?"
    yield ""
    compared = ""
    if golden.difference is not None:
        compared = f" LiteRT's differ from them by at most {golden.difference} steps."
    yield (
        f"`c/{prefix}_golden.c` has {golden.count} inputs ({golden.samples}) and their outputs on {golden.runtime}."
        f"{compared} `{prefix}_golden_test(run, context)` runs them through any function that runs the model, and "
        f"returns how many failed: an integer may be off by {golden.steps} steps, a float by {FLOAT_TOLERANCE:g} of "
        "the largest number of its output."
    )
    if not model.not_on_tflm:
        yield f"`c/{prefix}_golden_main.cc` is the program that does it with LiteRT for Microcontrollers."


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
