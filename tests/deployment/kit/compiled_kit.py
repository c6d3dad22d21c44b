"""A kit's C in this process: compiled as a shared library, its runtime a function of Python."""

import ctypes
import subprocess
from pathlib import Path

import numpy as np

STRICT = ("-std=c11", "-Wall", "-Wextra", "-Wshadow", "-pedantic", "-Werror")
RUN = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_void_p), ctypes.POINTER(ctypes.c_void_p), ctypes.c_void_p)
# What macros and inlines hold, as functions that a library has.
PROBE = """
#include "{prefix}.h"
int probe_bytes(void);
int probe_arena(void);
int probe_stateful(void);
{declared}
int probe_bytes(void) {{ return {macro}_MODEL_BYTES; }}
int probe_arena(void) {{ return {macro}_ARENA_BYTES; }}
int probe_stateful(void) {{ return {macro}_STATEFUL; }}
{defined}
"""


class CompiledKit:
    """The library of a kit, with strict warnings as errors.

    Args:
        kit: The kit.
        folder: A folder to compile in.
        flags: Flags for the compiler.
    """

    def __init__(self, kit, folder, *flags):
        self.model, self.prefix = kit.model, kit.model.prefix
        source = Path(kit.folder, "c")
        probe, library = folder / "probe.c", folder / f"{self.prefix}.so"
        probe.write_text(self._probe())
        array = next(source.glob(f"{self.prefix}_model.*"))
        strict = () if array.suffix == ".S" else STRICT  # the assembler's own file is compiled by itself
        objects = folder / "array.o"
        gcc(*strict, "-fPIC", f"-I{source}", f"-I{kit.folder}", *flags, "-c", array, "-o", objects)
        golden = source / f"{self.prefix}_golden.c"
        gcc(*STRICT, *flags, "-shared", "-fPIC", f"-I{source}", probe, golden, objects, "-o", library, "-lm")
        self.library = ctypes.CDLL(str(library))

    def _probe(self):
        declared, defined = [], []
        for end in (*self.model.inputs, *self.model.outputs):
            own = f"{self.prefix}_{end.side}_{end.name}"
            if end.usage.quantized:
                head = f"void probe_{end.side}_{end.name}(const float *x, int *q, float *back, int count)"
                declared.append(f"{head};")
                body = f"q[i] = {own}_quantize(x[i]); back[i] = {own}_dequantize(({own}_t)q[i]);"
                defined.append(f"{head} {{ for (int i = 0; i < count; ++i) {{ {body} }} }}")
        return PROBE.format(
            prefix=self.prefix,
            macro=self.model.macro,
            declared="\n".join(declared),
            defined="\n".join(defined),
        )

    @property
    def address(self):
        """Where the array lies."""
        return ctypes.addressof(ctypes.c_ubyte.in_dll(self.library, f"{self.prefix}_model"))

    @property
    def content(self):
        """The bytes of the array."""
        return ctypes.string_at(self.address, self.library.probe_bytes())

    @property
    def arena_bytes(self):
        """The arena that the header says."""
        return self.library.probe_arena()

    def grid(self, side, name, x):
        """The integers of numbers, and the numbers of those, by the header's inlines."""
        x = np.ascontiguousarray(x, np.float32)
        steps, back = np.zeros(x.size, np.int32), np.zeros(x.size, np.float32)
        pointers = (array.ctypes.data_as(ctypes.c_void_p) for array in (x, steps, back))
        getattr(self.library, f"probe_{side}_{name}")(*pointers, x.size)
        return steps, back

    def failures(self, run):
        """How many golden vectors fail on a runtime.

        Args:
            run: Takes the inputs, arrays by place, and gives the outputs so; it raises where it fails.
        """
        ends = self.model.inputs, self.model.outputs

        def called(inputs, outputs, _):
            try:
                feeds = [_array(inputs[at], end).copy() for at, end in enumerate(ends[0])]
                for at, values in enumerate(run(feeds)):
                    _array(outputs[at], ends[1][at])[...] = values
                return 0
            except RuntimeError:
                return 1

        return getattr(self.library, f"{self.prefix}_golden_test")(RUN(called), None)


def _array(address, end):
    shape, dtype = end.usage.fixed_shape, np.dtype(end.usage.dtype)
    room = (ctypes.c_char * (int(np.prod(shape)) * dtype.itemsize)).from_address(address)
    return np.frombuffer(room, dtype).reshape(shape)


def gcc(*arguments):
    done = subprocess.run(["gcc", *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
