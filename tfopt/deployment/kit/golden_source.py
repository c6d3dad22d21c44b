"""The golden vectors in C, and the function that holds a runtime to them, whatever the runtime is."""

from __future__ import annotations

from collections.abc import Iterator
from string import Template

import numpy as np

from tfopt.deployment.kit.c_names import c_rows
from tfopt.deployment.kit.model import End, KitModel
from tfopt.deployment.snippets.cpp import c_float
from tfopt.deployment.words import comment_text, wrapped

# How far a float may be off, as a share of the largest number of its output.
FLOAT_TOLERANCE = 1e-4

_HEADER = Template("""\
// Golden vectors of $name: inputs, and the outputs that the model has to give for them.
#ifndef ${macro}_GOLDEN_H_
#define ${macro}_GOLDEN_H_

#include "$prefix.h"

#ifdef __cplusplus
extern "C" {
#endif

$about
#define ${macro}_GOLDEN_VECTORS $count
#ifndef ${macro}_GOLDEN_STEPS
#define ${macro}_GOLDEN_STEPS $steps
#endif

// Runs the model once, from a state that was reset. Inputs and outputs are in the types of the file and in the order of
// their places; it returns 0 where all went well. `context` is what was given to ${prefix}_golden_test.
typedef int (*${prefix}_run_function)(const void *const *inputs, void *const *outputs, void *context);

// Runs every vector, prints those that fail unless ${macro}_GOLDEN_QUIET is defined, and returns their number.
int ${prefix}_golden_test(${prefix}_run_function run, void *context);

#ifdef __cplusplus
}
#endif

#endif  // ${macro}_GOLDEN_H_
""")

_SOURCE = Template("""\
#include "${prefix}_golden.h"

#include <string.h>

#ifndef ${macro}_GOLDEN_QUIET
#include <stdio.h>
#define REPORT(...) (void)printf(__VA_ARGS__)
#else
#define REPORT(...) (void)0
#endif

$vectors
$near
// Fills an output with what it must not be, so that a runtime that writes nothing fails.
static void spoil(void *got, const void *wanted, size_t bytes) {
  for (size_t place = 0; place < bytes; ++place) {
    ((unsigned char *)got)[place] = (unsigned char)(((const unsigned char *)wanted)[place] ^ 0xFFu);
  }
}

int ${prefix}_golden_test(${prefix}_run_function run, void *context) {
  int failed = 0;
  for (int vector = 0; vector < ${macro}_GOLDEN_VECTORS; ++vector) {
    const void *inputs[] = {$inputs};
    void *outputs[] = {$outputs};
$spoil
    if (run(inputs, outputs, context) != 0) {
      REPORT("$prefix: the runtime failed on vector %d\\n", vector);
      ++failed;
      continue;
    }
    int wrong = 0;
$compare
    failed += wrong != 0;
  }
  REPORT("$prefix: %d of %d golden vectors passed\\n", ${macro}_GOLDEN_VECTORS - failed, ${macro}_GOLDEN_VECTORS);
  return failed;
}
""")

_INTEGERS = Template("""\
static int near_$type($c_type got, $c_type wanted) {
  const int64_t difference = (int64_t)got - (int64_t)wanted;
  return difference <= ${macro}_GOLDEN_STEPS && difference >= -(${macro}_GOLDEN_STEPS);
}
""")

_LARGE = """\
static int near_int64(int64_t got, int64_t wanted) { return got == wanted; }
"""

_FLOATS = """\
static int near_float(float got, float wanted, float tolerance) {
  if (isnan(wanted)) return isnan(got);
  return got == wanted || fabsf(got - wanted) <= tolerance;
}
"""


def tolerance(steps: int) -> str:
    """How far the numbers of an output may be off, as a sentence.

    Args:
        steps: Steps that an integer may be off.
    """
    integers = "Integers have to be the same" if not steps else f"An integer may be off by {steps} step"
    integers += "s" if steps > 1 else ""
    return f"{integers}; a float may be off by {FLOAT_TOLERANCE:g} of the largest number of its output."


def golden_header(model: KitModel) -> str:
    """The header of the golden vectors."""
    golden = model.golden
    said = f"Inputs: {golden.samples}. Outputs: of {golden.runtime}. "
    said += f"{tolerance(golden.steps)} -D{model.macro}_GOLDEN_STEPS=N allows integers more where kernels round "
    said += "otherwise."
    return _HEADER.substitute(
        name=comment_text(model.name),
        prefix=model.prefix,
        macro=model.macro,
        about=wrapped(comment_text(said), "// "),
        count=golden.count,
        steps=golden.steps,
    )


def golden_source(model: KitModel) -> str:
    """The golden vectors, and the function that runs them."""
    ends = (*model.inputs, *model.outputs)
    return _SOURCE.substitute(
        prefix=model.prefix,
        macro=model.macro,
        vectors="\n".join(line for end in ends for line in _vectors(model, end)),
        near="\n".join(_near(model)),
        inputs=", ".join(f"{_own(end)}[vector]" for end in model.inputs),
        outputs=", ".join(f"got_{end.name}" for end in model.outputs),
        spoil="\n".join(
            f"    spoil(got_{end.name}, {_own(end)}[vector], sizeof got_{end.name});" for end in model.outputs
        ),
        compare="\n".join(line for end in model.outputs for line in _compare(model, end)),
    )


def _own(end: End) -> str:
    return f"{end.side}_{end.name}"


def _values(model: KitModel, end: End) -> np.ndarray:
    golden = model.golden
    of_side = golden.inputs if end.side == "in" else golden.outputs
    return of_side[end.usage.name].reshape(golden.count, -1)


def _vectors(model: KitModel, end: End) -> Iterator[str]:
    own = f"{model.prefix}_{_own(end)}"
    yield f"static const {own}_t {_own(end)}[{model.macro}_GOLDEN_VECTORS][{own.upper()}_SIZE] = {{"
    for vector in _values(model, end):
        yield "    {"
        yield from (f"        {row}" for row in c_rows(vector, end.usage.dtype))
        yield "    },"
    yield "};"
    if end.side == "out":
        yield f"static {own}_t got_{end.name}[{own.upper()}_SIZE];"


def _near(model: KitModel) -> Iterator[str]:
    """The comparisons of the types that the outputs have."""
    types = {end.usage.dtype for end in model.outputs}
    for dtype, c_type in (("int8", "int8_t"), ("uint8", "uint8_t"), ("int16", "int16_t"), ("int32", "int32_t")):
        if dtype in types or (dtype == "uint8" and "bool" in types):
            yield _INTEGERS.substitute(type=dtype, c_type=c_type, macro=model.macro)
    if "int64" in types:
        yield _LARGE
    if "float32" in types:
        yield _FLOATS


def _compare(model: KitModel, end: End) -> Iterator[str]:
    dtype, own = end.usage.dtype, f"{model.prefix}_{_own(end)}".upper()
    got, wanted = f"got_{end.name}[place]", f"{_own(end)}[vector][place]"
    near = f"near_{'uint8' if dtype == 'bool' else dtype}({got}, {wanted})"
    shown, cast = "%ld instead of %ld", "(long)"
    if dtype == "float32":
        finite = np.abs(_values(model, end)[np.isfinite(_values(model, end))])
        tolerance = FLOAT_TOLERANCE * float(finite.max(initial=0.0))
        near = f"near_float({got}, {wanted}, {c_float(tolerance)})"
        shown, cast = "%g instead of %g", "(double)"
    yield f"    for (size_t place = 0; place < {own}_SIZE; ++place) {{"
    yield f"      if ({near}) continue;"
    yield f'      REPORT("{model.prefix}: vector %d, output {end.place} at %lu: {shown}\\n", vector,'
    yield f"             (unsigned long)place, {cast}{got}, {cast}{wanted});"
    yield "      wrong = 1;"
    yield "      break;"
    yield "    }"
