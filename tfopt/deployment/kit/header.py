"""The header of a kit: the array, the arena, and the names, shapes, scales and zero points of inputs and outputs."""

from __future__ import annotations

from string import Template

from tfopt.deployment.kit.c_names import braces, c_string
from tfopt.deployment.kit.model import End, KitModel
from tfopt.deployment.snippets.cpp import C_TYPES, c_float, size
from tfopt.deployment.words import comment_text, input_words, output_words, wrapped

_CODE = Template("""\
// $about
#ifndef ${macro}_H_
#define ${macro}_H_

#include <math.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// What the linker is told of the array, such as __attribute__((section(".ext_flash"))); empty if not given.
#ifndef ${macro}_MODEL_ATTRIBUTES
#define ${macro}_MODEL_ATTRIBUTES
#endif
// The same of the tensor arena.
#ifndef ${macro}_ARENA_ATTRIBUTES
#define ${macro}_ARENA_ATTRIBUTES
#endif

// $file. Its length is this and not the size of the array, which may have a zero after it.
extern const unsigned char ${prefix}_model[];
#define ${macro}_MODEL_BYTES $bytes

$arena
#define ${macro}_TENSORS $tensors
#define ${macro}_OPS $ops
#define ${macro}_INPUTS $inputs
#define ${macro}_OUTPUTS $outputs
// Whether the model keeps state from run to run, which has to be reset between independent samples.
#define ${macro}_STATEFUL $stateful

// A number of the model as an integer of the file: the nearest step, of two the even one, within the type's limits.
static inline int32_t ${prefix}_quantize(float x, float scale, int32_t zero_point, int32_t low, int32_t high) {
  const float step = nearbyintf(x / scale) + (float)zero_point;
  if (!(step > (float)low)) return low;  // NaN too
  return step < (float)high ? (int32_t)step : high;
}

// An integer of the file as a number of the model.
static inline float ${prefix}_dequantize(int32_t q, float scale, int32_t zero_point) {
  return (float)(q - zero_point) * scale;
}

$ends

#ifdef __cplusplus
}
#endif

#endif  // ${macro}_H_
""")

_END = Template("""\
$about
#define ${own}_PLACE $place
#define ${own}_NAME $string
#define ${own}_SIZE $size
#define ${own}_BYTES $bytes
#define ${own}_RANK $rank
#define ${own}_SHAPE $shape
typedef $type ${lower}_t;
""")

_GRID = Template("""\
#define ${own}_SCALE $scale
#define ${own}_ZERO_POINT ($zero_point)
static inline ${lower}_t ${lower}_quantize(float x) {
  return (${lower}_t)${prefix}_quantize(x, ${own}_SCALE, ${own}_ZERO_POINT, $low, $high);
}
static inline float ${lower}_dequantize(${lower}_t q) {
  return ${prefix}_dequantize(q, ${own}_SCALE, ${own}_ZERO_POINT);
}
""")

WIDTHS = {"float32": 4, "int8": 1, "uint8": 1, "int16": 2, "int32": 4, "int64": 8, "bool": 1}


def header(model: KitModel) -> str:
    """The header."""
    return _CODE.substitute(
        about=comment_text(f"{model.name}: made by tfopt, for C11 and C++."),
        prefix=model.prefix,
        macro=model.macro,
        file=comment_text(model.flashed_file),
        bytes=len(model.flashed),
        arena=_arena(model),
        tensors=model.tensors,
        ops=len(model.ops),
        inputs=len(model.inputs),
        outputs=len(model.outputs),
        stateful=int(model.usage.stateful),
        ends="\n".join(_end(model, end) for end in (*model.inputs, *model.outputs)),
    )


def _arena(model: KitModel) -> str:
    arena, own = model.arena, f"{model.macro}_ARENA"
    measured = [] if arena.measured is None else [f"#define {own}_MEASURED {arena.measured}"]
    if arena.planned is not None:
        said = (
            f"Bytes of the tensor arena. Not measured: {arena.planned:,} as the compiler of {model.target} has planned "
            f"them, {arena.tables:,} for what TFLM keeps of tensors and ops, and {arena.margin:,} more as a margin. On "
            "the chip interpreter->arena_used_bytes() tells what is used."
        )
    elif arena.measured is None:
        said = (
            "Bytes of the tensor arena. Not measured: an estimate that is enough for all activations at once. On the "
            "chip interpreter->arena_used_bytes() tells it."
        )
    else:
        said = (
            f"Bytes of the tensor arena. Measured {arena.measured:,} on TFLM's reference kernels on a PC, whose "
            f"pointers are longer than those of a chip, and {arena.margin:,} more as a margin, as kernels made for one "
            "chip have scratch buffers of their own. On the chip interpreter->arena_used_bytes() tells what is used."
        )
    lines = [wrapped(said, "// "), *measured, f"#ifndef {own}_BYTES", f"#define {own}_BYTES {arena.bytes}", "#endif"]
    return "\n".join(lines)


def _end(model: KitModel, end: End) -> str:
    usage, lower = end.usage, f"{model.prefix}_{end.side}_{end.name}"
    words = input_words(usage) if end.side == "in" else output_words(usage)
    names = {"own": lower.upper(), "lower": lower, "prefix": model.prefix}
    side = "Input" if end.side == "in" else "Output"
    text = _END.substitute(
        names,
        about=wrapped(comment_text(f"{side} {end.place}, {usage.name}: {words}."), "// "),
        place=end.place,
        string=c_string(usage.name),
        size=size(usage),
        bytes=size(usage) * WIDTHS[usage.dtype],
        rank=len(usage.shape),
        shape=braces(usage.fixed_shape) if usage.shape else "{0}",
        type=C_TYPES[usage.dtype],
    )
    if not usage.quantized:
        return text
    low, high = usage.limits
    return text + _GRID.substitute(names, scale=c_float(usage.scale), zero_point=usage.zero_point, low=low, high=high)
