"""The `README.md` of a kit: what each file is, and the lines that bring the model onto a device."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tfopt.deployment.kit.golden_source import tolerance
from tfopt.deployment.kit.micro import op_notes
from tfopt.deployment.kit.model import KitModel
from tfopt.deployment.snippets.cpp import outer_type
from tfopt.deployment.words import described
from tfopt.markdown_text import escaped


def readme(model: KitModel, files: Mapping[str, str]) -> str:
    """The text.

    Args:
        model: The model.
        files: What each file is, by its path in the kit.
    """
    lines = [f"# {escaped(model.name)}", "", *_model(model), "", *_flash(model), "", *_golden(model), ""]
    lines += ["## Files", "", *(f"- `{path}`: {about}" for path, about in files.items())]
    return "\n".join([*lines, "- `SHA256SUMS`: `sha256sum -c SHA256SUMS` checks all of them.", ""])


def _model(model: KitModel) -> Iterator[str]:
    flashed = f"`{model.flashed_file}`, {len(model.flashed):,} bytes"
    if model.target:
        flashed += f", made for {model.target} from `model.tflite` ({len(model.content):,} bytes), which LiteRT runs"
    yield f"{flashed}. Ops: {', '.join(map(escaped, model.ops))}."
    yield ""
    yield "| | name | numbers |"
    yield "|---|---|---|"
    for side, name, meaning in described(model.usage):
        yield f"| {side} | {_cell(name)} | {_cell(meaning)} |"
    for note in (*model.notes, *op_notes(model)):
        yield f"\n{escaped(note)}"


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
    yield f"2. Call `{prefix}_tflm_setup()` once, and `{_call(model)}` for each inference:"
    yield ""
    yield "```c"
    yield from _example(model)
    yield "```"
    yield ""
    arena = model.arena
    if arena.planned is not None:
        yield (
            f"The tensor arena has {arena.bytes:,} bytes: {arena.planned:,} as the compiler of {model.target} has "
            f"planned them, {arena.tables:,} for what TFLM keeps of tensors and ops, and {arena.margin:,} as a margin. "
            f"`{prefix}_tflm_arena_used()` tells what the device uses."
        )
    elif arena.measured is None:
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
            f"\nThe model keeps state from run to run. `{prefix}_tflm_run` resets it first; `{prefix}_tflm_invoke` "
            f"goes on with it, and `{prefix}_tflm_reset` sets it back"
            f"{' where a new sequence begins' if model.usage.streams else ''}."
        )


def _call(model: KitModel) -> str:
    """The function of an inference: one that goes on with the state of a model that streams."""
    return f"{model.prefix}_tflm_{'invoke' if model.usage.streams else 'run'}"


def _example(model: KitModel) -> Iterator[str]:
    """The code around one inference."""
    prefix, macro = model.prefix, model.macro
    yield f'#include "{prefix}.h"'
    yield f'#include "{prefix}_tflm.h"'
    yield ""
    for end in (*model.inputs, *model.outputs):
        own = f"{prefix}_{end.side}_{end.name}"
        yield f"static {own}_t {end.side}_{end.name}[{own.upper()}_SIZE];"
    yield ""
    parameters = ", ".join(f"const {outer_type(end.usage)} *x_{end.name}" for end in model.inputs)
    yield f"void infer({parameters}) {{"
    for end in model.inputs:
        own = f"{prefix}_in_{end.name}"
        value = f"{own}_quantize(x_{end.name}[i])" if end.usage.quantized else f"x_{end.name}[i]"
        yield f"  for (int i = 0; i < {own.upper()}_SIZE; ++i) {{"
        yield f"    in_{end.name}[i] = {value};"
        yield "  }"
    yield f"  const void *inputs[{macro}_INPUTS] = {{{', '.join(f'in_{end.name}' for end in model.inputs)}}};"
    yield f"  void *outputs[{macro}_OUTPUTS] = {{{', '.join(f'out_{end.name}' for end in model.outputs)}}};"
    if model.usage.streams:
        yield f"  // {prefix}_tflm_reset() where a new sequence begins, and not between its pieces"
    arguments = "inputs, outputs" if model.usage.streams else "inputs, outputs, 0"
    yield f"  if ({_call(model)}({arguments}) != 0) return;"
    for end in model.outputs:
        if end.usage.quantized:
            yield f"  // {prefix}_out_{end.name}_dequantize(out_{end.name}[i]) is a number of the model"
    yield "}"


def _golden(model: KitModel) -> Iterator[str]:
    golden, prefix = model.golden, model.prefix
    yield "## Does it compute the same there?"
    yield ""
    compared = ""
    if golden.difference is not None:
        compared = f" LiteRT's integers differ from them by at most {golden.difference} steps."
        compared = compared if golden.difference else " LiteRT's are the same to the bit."
    yield (
        f"`c/{prefix}_golden.c` has {golden.count} inputs ({golden.samples}) and their outputs on {golden.runtime}."
        f"{compared} `{prefix}_golden_test(run, context)` runs them through any function that runs the model, and "
        f"returns how many failed. {tolerance(golden.steps)}"
    )
    if not model.not_on_tflm:
        yield f"`c/{prefix}_golden_main.cc` is the program that does it with LiteRT for Microcontrollers."


def _cell(text: str) -> str:
    return escaped(text).replace("|", "\\|")
