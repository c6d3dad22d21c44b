"""The C++ of a kit for LiteRT for Microcontrollers: the resolver with just the ops of the file, and the interpreter."""

from __future__ import annotations

from collections.abc import Iterator
from string import Template

from tfopt.deployment.kit.model import End, KitModel
from tfopt.deployment.snippets.cpp import C_TYPES
from tfopt.deployment.words import comment_text, wrapped
from tfopt.tflite.ops import DECODE, facts_of

# What a build of TFLM needs for custom ops.
_NEEDS = {
    DECODE: f"{DECODE} decodes kernels into the arena. It is a young op: a TFLM that has it has "
    f"{facts_of(DECODE).micro}().",
    "ethos-u": "ethos-u is the part for the NPU: build TFLM with CO_PROCESSOR=ethos_u and link Arm's driver. Without "
    f"them {facts_of('ethos-u').micro}() registers nothing, and setup fails.",
}

_OPS = Template("""\
// The ops of $file, and no others: what is not registered here is not linked.
#ifndef ${macro}_OPS_H_
#define ${macro}_OPS_H_

#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"

namespace tflite {
namespace micro {}  // where newer releases have their classes
}  // namespace tflite

namespace ${prefix}_kit {

using namespace tflite;
using namespace tflite::micro;

using Ops = MicroMutableOpResolver<$count>;

// Registers the ops; false where one is not there.
inline bool add_ops(Ops& ops) {
  return $added;
}

}  // namespace ${prefix}_kit

#endif  // ${macro}_OPS_H_
""")

_HEADER = Template("""\
// Runs $name on LiteRT for Microcontrollers.
#ifndef ${macro}_TFLM_H_
#define ${macro}_TFLM_H_

#ifdef __cplusplus
extern "C" {
#endif

// Makes the interpreter; call it once, before all others. 0, or 1 where an op is missing, 2 where the arena is too
// small or the file does not load.
int ${prefix}_tflm_setup(void);

// Sets the state of the model back to its beginning$stateful. 0 where it went well.
int ${prefix}_tflm_reset(void);

// Runs the model on inputs in the types of the file, in the order of their places, and copies the outputs out; the
// state goes on from the last run. 0 where it went well.
int ${prefix}_tflm_invoke(const void* const* inputs, void* const* outputs);

// Resets and runs: what ${prefix}_golden_test takes. The context is not used.
int ${prefix}_tflm_run(const void* const* inputs, void* const* outputs, void* context);

// Bytes of the arena that are in use.
unsigned long ${prefix}_tflm_arena_used(void);

#ifdef __cplusplus
}
#endif

#endif  // ${macro}_TFLM_H_
""")

_SOURCE = Template("""\
#include "${prefix}_tflm.h"

#include <cstring>

#include "$prefix.h"
#include "${prefix}_ops.h"
#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/schema/schema_generated.h"

namespace ${prefix}_kit {
namespace {

alignas(16) ${macro}_ARENA_ATTRIBUTES uint8_t arena[${macro}_ARENA_BYTES];
MicroInterpreter* interpreter = nullptr;

template <typename T>
bool put(size_t place, const void* values, size_t bytes) {
  T* data = interpreter->typed_input_tensor<T>(place);
  if (data == nullptr) return false;
  std::memcpy(data, values, bytes);
  return true;
}

template <typename T>
bool take(size_t place, void* values, size_t bytes) {
  const T* data = interpreter->typed_output_tensor<T>(place);
  if (data == nullptr) return false;
  std::memcpy(values, data, bytes);
  return true;
}

int setup() {
  static Ops ops;
  if (!add_ops(ops)) return 1;
  static MicroInterpreter made(GetModel(${prefix}_model), ops, arena, ${macro}_ARENA_BYTES);
  if (made.AllocateTensors() != kTfLiteOk) return 2;
  interpreter = &made;
  return 0;
}

int invoke(const void* const* inputs, void* const* outputs) {
  if (interpreter == nullptr) return 1;
$put
  if (interpreter->Invoke() != kTfLiteOk) return 3;
$take
  return 0;
}

}  // namespace
}  // namespace ${prefix}_kit

extern "C" int ${prefix}_tflm_setup(void) { return ${prefix}_kit::setup(); }

extern "C" int ${prefix}_tflm_reset(void) {
  if (${prefix}_kit::interpreter == nullptr) return 1;
  return ${prefix}_kit::interpreter->Reset() == kTfLiteOk ? 0 : 2;
}

extern "C" int ${prefix}_tflm_invoke(const void* const* inputs, void* const* outputs) {
  return ${prefix}_kit::invoke(inputs, outputs);
}

extern "C" int ${prefix}_tflm_run(const void* const* inputs, void* const* outputs, void*) {
$reset  return ${prefix}_tflm_invoke(inputs, outputs);
}

extern "C" unsigned long ${prefix}_tflm_arena_used(void) {
  return ${prefix}_kit::interpreter == nullptr ? 0 : ${prefix}_kit::interpreter->arena_used_bytes();
}
""")

_MAIN = Template("""\
// The golden vectors of $name on LiteRT for Microcontrollers: 0 where all pass.
#include "${prefix}_golden.h"
#include "${prefix}_tflm.h"

int main() {
  if (${prefix}_tflm_setup() != 0) return 2;
  return ${prefix}_golden_test(${prefix}_tflm_run, nullptr) == 0 ? 0 : 1;
}
""")


def resolver_header(model: KitModel) -> str:
    """The header with the resolver."""
    added = " &&\n         ".join(f"ops.{facts_of(op).micro}() == kTfLiteOk" for op in model.ops)
    text = _OPS.substitute(
        file=comment_text(model.flashed_file),
        prefix=model.prefix,
        macro=model.macro,
        count=len(model.ops),
        added=added,
    )
    return text.replace("#ifndef", "\n".join([*_notes(model), "#ifndef"]), 1)


def op_notes(model: KitModel) -> tuple[str, ...]:
    """What a build of TFLM needs for the custom ops of a file, each a sentence or two."""
    return tuple(_NEEDS[op] for op in model.ops if op in _NEEDS)


def _notes(model: KitModel) -> Iterator[str]:
    yield from (wrapped(note, "// ") for note in op_notes(model))


def interpreter_header(model: KitModel) -> str:
    """The header of the functions that run the model."""
    return _HEADER.substitute(
        name=comment_text(model.name),
        prefix=model.prefix,
        macro=model.macro,
        stateful="" if model.usage.stateful else "; this one keeps none",
    )


def interpreter_source(model: KitModel) -> str:
    """The functions that run the model."""
    return _SOURCE.substitute(
        prefix=model.prefix,
        macro=model.macro,
        put="\n".join(_copied(model, end, "put", "inputs") for end in model.inputs),
        take="\n".join(_copied(model, end, "take", "outputs") for end in model.outputs),
        reset=f"  if ({model.prefix}_tflm_reset() != 0) return 1;\n" if model.usage.stateful else "",
    )


def golden_main(model: KitModel) -> str:
    """The program that runs the golden vectors on TFLM."""
    return _MAIN.substitute(name=comment_text(model.name), prefix=model.prefix)


def _copied(model: KitModel, end: End, verb: str, side: str) -> str:
    kind = "bool" if end.usage.dtype == "bool" else C_TYPES[end.usage.dtype]
    own = f"{model.prefix}_{end.side}_{end.name}".upper()
    return f"  if (!{verb}<{kind}>({own}_PLACE, {side}[{end.place}], {own}_BYTES)) return 2;"
