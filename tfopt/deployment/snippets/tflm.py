"""`tflm`: C++ for microcontrollers, with LiteRT for Microcontrollers."""

from __future__ import annotations

import re
from string import Template

from tfopt.deployment.identifiers import identifiers
from tfopt.deployment.snippet import Snippet
from tfopt.deployment.snippets.cpp import C_TYPES, c_float, outer_type, size
from tfopt.deployment.words import comment_text, input_words, output_words, streaming, wrapped
from tfopt.recipe.details.usage import TensorUsage, Usage
from tfopt.tflite.ops import facts_of

_CODE = Template("""\
// Runs $file on LiteRT for Microcontrollers.
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"
#include "tensorflow/lite/schema/schema_generated.h"

// The file as an array: xxd -i $file > model_data.cc, with alignas(16) const before it.
extern const unsigned char $array[];

namespace {

$arena
alignas(16) uint8_t arena[kArenaBytes];
tflite::MicroInterpreter* interpreter = nullptr;
$functions
}  // namespace

// Call it once; false where an op is missing or the arena is too small.
bool setup_model() {
  static tflite::MicroMutableOpResolver<$count> ops;  // exactly the ops of the file
  if ($registered) {
    return false;
  }
  static tflite::MicroInterpreter made(tflite::GetModel($array), ops, arena, kArenaBytes);
  interpreter = &made;
  return made.AllocateTensors() == kTfLiteOk;
}

$reset$about
bool predict($parameters) {
$predict
  return true;
}
""")

_RESET = """\
// Begins a new sequence.
bool reset_model() { return interpreter->Reset() == kTfLiteOk; }

"""

_QUANTIZE = """
// A number of the model as the file's integer; a plain cast would give another one.
template <typename Q>
Q quantize(float x, float scale, int zero_point, int low, int high) {
  const float step = std::nearbyint(x / scale) + static_cast<float>(zero_point);
  const float kept = std::fmin(std::fmax(step, static_cast<float>(low)), static_cast<float>(high));
  return static_cast<Q>(kept);
}
"""

_LARGEST = """
// The place of the largest score; of integers it is that of the largest number.
template <typename T>
int largest(const T* scores, size_t count) {
  size_t best = 0;
  for (size_t place = 1; place < count; ++place) {
    if (scores[place] > scores[best]) best = place;
  }
  return static_cast<int>(best);
}
"""

_MEASURED = """\
// Measured by tfopt on a PC. Pointers are shorter on the chip, which takes less with the same kernels; kernels made
// for one chip have scratch buffers of their own.
constexpr size_t kArenaBytes = {};"""
_NOT_MEASURED = """\
// Not measured: a guess from the file's tensors. With target: tflm tfopt measures it; interpreter->arena_used_bytes()
// tells it on the chip.
constexpr size_t kArenaBytes = {};"""


def write(usage: Usage, file: str) -> str:
    """The code for a file."""
    taken = identifiers(end.name for end in usage.inputs)
    given = identifiers((end.name for end in usage.outputs), avoid=taken.values())
    rules = {end.decides.rule for end in usage.outputs if end.decides}
    functions = _QUANTIZE if any(end.quantized for end in usage.inputs) else ""
    functions += _LARGEST if "largest" in rules else ""
    methods = [f"ops.{facts_of(op).micro}() != kTfLiteOk" for op in usage.ops]
    return _CODE.substitute(
        file=comment_text(file),
        array=re.sub(r"[^0-9A-Za-z]", "_", file if file[:1].isalpha() else f"model_{file}"),
        arena=_arena(usage),
        functions=functions,
        reset=_RESET if usage.streams else "",
        count=len(methods),
        registered=" ||\n      ".join(methods),
        about="\n".join(_about(usage, taken, given)),
        parameters=", ".join(_parameters(usage, taken, given)),
        predict="\n".join(f"  {line}" for line in _predict(usage, taken, given)),
    )


def _arena(usage: Usage) -> str:
    if usage.arena_bytes is not None:
        return _MEASURED.format(usage.arena_bytes)
    largest = max(4 * size(end) for end in (*usage.inputs, *usage.outputs))
    return _NOT_MEASURED.format(-(-(16 * largest + 16384) // 1024) * 1024)


def _parameters(usage: Usage, taken: dict[str, str], given: dict[str, str]) -> list[str]:
    found = [f"const {outer_type(end)}* {taken[end.name]}" for end in usage.inputs]
    for end in usage.outputs:
        found.append(f"{outer_type(end)}* {given[end.name]}")
        found += [f"int* {given[end.name]}_class"] if end.decides else []
    return found


def _about(usage: Usage, taken: dict[str, str], given: dict[str, str]) -> list[str]:
    lines = []
    for end in usage.inputs:
        lines.append(wrapped(f"{taken[end.name]}: {size(end)} numbers, {input_words(end)}", "// "))
    for end in usage.outputs:
        lines.append(wrapped(f"{given[end.name]}: {size(end)} numbers, {output_words(end)}", "// "))
        if end.decides:
            lines.append(f"// {given[end.name]}_class: {_classes(end)} of them.")
    return lines


def _predict(usage: Usage, taken: dict[str, str], given: dict[str, str]) -> list[str]:
    lines = ["// The file keeps state from run to run."] if usage.resets else []
    lines += [f"// {line}" for line in streaming(usage, "reset_model()")]
    lines += ["if (interpreter->Reset() != kTfLiteOk) return false;"] if usage.resets else []
    for end in usage.inputs:
        name, kind = f"{taken[end.name]}_data", _type(end)
        lines.append(f"{kind}* {name} = interpreter->typed_input_tensor<{kind}>({end.place});")
        lines.append(f"if ({name} == nullptr) return false;")
        value = f"{taken[end.name]}[i]"
        if end.quantized:
            low, high = end.limits
            value = f"quantize<{kind}>({value}, {c_float(end.scale)}, {end.zero_point}, {low}, {high})"
        elif end.dtype == "bool":
            value = f"{value} != 0"
        lines.append(f"for (size_t i = 0; i < {size(end)}; ++i) {name}[i] = {value};")
    lines.append("if (interpreter->Invoke() != kTfLiteOk) return false;")
    for end in usage.outputs:
        lines += _read(given[end.name], end)
    return lines


def _read(own: str, end: TensorUsage) -> list[str]:
    name, kind = f"{own}_data", _type(end)
    lines = [f"const {kind}* {name} = interpreter->typed_output_tensor<{kind}>({end.place});"]
    lines.append(f"if ({name} == nullptr) return false;")
    value = f"{name}[i]"
    if end.quantized:
        shift = f" - ({end.zero_point})" if end.zero_point < 0 else f" - {end.zero_point}"
        value = f"static_cast<float>({value}{shift}) * {c_float(end.scale)}"
    lines.append(f"for (size_t i = 0; i < {size(end)}; ++i) {own}[i] = {value};")
    if end.decides and end.decides.rule == "largest":
        step = end.decides.count
        row = f"{own}_class[i] = largest({name} + i * {step}, {step});"
        lines.append(f"for (size_t i = 0; i < {_classes(end)}; ++i) {row}")
    elif end.decides:
        test = f"{own}[i] > {c_float(end.decides.threshold)} ? 1 : 0"
        lines.append(f"for (size_t i = 0; i < {size(end)}; ++i) {own}_class[i] = {test};")
    return lines


def _classes(end: TensorUsage) -> int:
    largest = end.decides is not None and end.decides.rule == "largest"
    return size(end) // end.decides.count if end.decides and largest else size(end)


def _type(end: TensorUsage) -> str:
    return "bool" if end.dtype == "bool" else C_TYPES[end.dtype]


TFLM = Snippet(
    "tflm",
    "C++ for microcontrollers",
    "cpp",
    write,
    refuses=lambda usage: usage.not_on_tflm,
    rank=40,
)
