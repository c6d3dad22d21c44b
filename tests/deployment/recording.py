"""What LiteRT takes and gives for a few samples, in files that the stand-ins for other runtimes read."""

import numpy as np

from tfopt.deployment.identifiers import identifiers
from tfopt.tflite.interpreter import Runner, quantize_samples

SAMPLES = 3


def key(name):
    return name.encode().hex()


def record(folder, usage, content, x):
    """Records the first samples one by one, and returns tfopt's own outputs of them by name."""
    folder.mkdir(exist_ok=True)
    (folder / "signature").write_text(usage.signature)
    runner = Runner(content)
    expected = {end.name: [] for end in usage.outputs}
    for side, ends in (("in", usage.inputs), ("out", usage.outputs)):
        for end in ends:
            (folder / f"type.{side}.{end.place}").write_text(end.dtype)
    for number in range(SAMPLES):
        one = {end.name: x[end.name][number : number + 1] for end in usage.inputs}
        feeds = quantize_samples(one, runner.inputs)
        raw = runner.quantized(feeds)
        for name, values in runner(one).items():
            expected[name].append(values)
        for end in usage.inputs:
            (folder / f"given.{number}.{key(end.name)}").write_bytes(one[end.name].tobytes())
            for called in (key(end.name), end.place):
                (folder / f"in.{number}.{called}").write_bytes(feeds[end.name].tobytes())
        for end in usage.outputs:
            for called in (key(end.name), end.place):
                (folder / f"out.{number}.{called}").write_bytes(raw[end.name].tobytes())
    return {name: np.concatenate(values) for name, values in expected.items()}


def outer(end):
    """The type of the numbers that a snippet takes and gives."""
    return np.dtype("float32" if end.quantized else end.dtype)


def check(folder, usage, expected):
    """Compares what a program has written with tfopt's own outputs, to the bit, and with the classes."""
    for end in usage.outputs:
        for number in range(SAMPLES):
            wanted = expected[end.name][number : number + 1]
            values = np.frombuffer((folder / f"got.{number}.{key(end.name)}").read_bytes(), outer(end))
            assert values.tobytes() == wanted.astype(outer(end)).tobytes(), end.name
            if end.decides:
                classes = np.frombuffer((folder / f"class.{number}.{key(end.name)}").read_bytes(), np.int32)
                chosen = wanted.argmax(-1) if end.decides.rule == "largest" else wanted > end.decides.threshold
                assert classes.tolist() == chosen.ravel().astype(int).tolist(), end.name


CPP_DRIVER = """
#define main snippet_main
#include "predict.cpp"
#undef main
#include "recorded.h"

int main() {{
  Model model("{file}");
  for (int number = 0; number < {samples}; ++number) {{
    const std::string of = "." + std::to_string(number) + ".";
    Inputs inputs;
{given}
    const Outputs outputs = model.predict(inputs);
{got}
  }}
  return 0;
}}
"""

TFLM_DRIVER = """
#include "predict.cpp"
#include "recorded.h"

alignas(16) const unsigned char {array}[] = {{0}};

int main() {{
  if (!setup_model()) return 2;
  for (int number = 0; number < {samples}; ++number) {{
    const std::string of = "." + std::to_string(number) + ".";
{given}
{room}
    if (!predict({arguments})) return 3;
{got}
  }}
  return 0;
}}
"""

KOTLIN_DRIVER = """
import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder

val folder = System.getenv("RECORDED")

fun buffer(size: Int) = ByteBuffer.allocate(size).order(ByteOrder.nativeOrder())

fun given(name: String) = ByteBuffer.wrap(File("$folder/given.$name").readBytes()).order(ByteOrder.nativeOrder())

fun floats(name: String): FloatArray {{
    val bytes = given(name)
    return FloatArray(bytes.capacity() / 4) {{ bytes.getFloat(4 * it) }}
}}

fun ints(name: String): IntArray {{
    val bytes = given(name)
    return IntArray(bytes.capacity() / 4) {{ bytes.getInt(4 * it) }}
}}

fun write(name: String, values: FloatArray) {{
    val bytes = buffer(4 * values.size)
    for (value in values) bytes.putFloat(value)
    File("$folder/$name").writeBytes(bytes.array())
}}

fun write(name: String, values: IntArray) {{
    val bytes = buffer(4 * values.size)
    for (value in values) bytes.putInt(value)
    File("$folder/$name").writeBytes(bytes.array())
}}

fun main() {{
    val model = Model(File("{file}"))
    for (number in 0 until {samples}) {{
        val outputs = model.predict({given})
{got}
    }}
    model.close()
}}
"""

C = {"float32": "float", "int32": "int32_t"}


def cpp_driver(usage, file):
    taken, given = identifiers(end.name for end in usage.inputs), identifiers(end.name for end in usage.outputs)
    reads = [
        f'    inputs.{taken[end.name]} = recorded::values<{C[outer(end).name]}>("given" + of + "{key(end.name)}");'
        for end in usage.inputs
    ]
    writes = []
    for end in usage.outputs:
        name = f"outputs.{given[end.name]}"
        writes.append(f'    recorded::write("got" + of + "{key(end.name)}", {name}.data(), {name}.size() * 4);')
        if end.decides:
            writes.append(
                f'    recorded::write("class" + of + "{key(end.name)}", {name}_class.data(), {name}_class.size() * 4);'
            )
    return CPP_DRIVER.format(file=file, samples=SAMPLES, given="\n".join(reads), got="\n".join(writes))


def tflm_driver(usage, array):
    reads, room, arguments, writes = [], [], [], []
    for number, end in enumerate(usage.inputs):
        values = f'recorded::values<{C[outer(end).name]}>("given" + of + "{key(end.name)}")'
        reads.append(f"    const auto in{number} = {values};")
        arguments.append(f"in{number}.data()")
    for number, end in enumerate(usage.outputs):
        count = int(np.prod(end.fixed_shape))
        room.append(f"    std::vector<{C[outer(end).name]}> out{number}({count});")
        arguments.append(f"out{number}.data()")
        writes.append(f'    recorded::write("got" + of + "{key(end.name)}", out{number}.data(), {4 * count});')
        if end.decides:
            classes = count // end.decides.count if end.decides.rule == "largest" else count
            room.append(f"    std::vector<int> class{number}({classes});")
            arguments.append(f"class{number}.data()")
            writes.append(
                f'    recorded::write("class" + of + "{key(end.name)}", class{number}.data(), {4 * classes});'
            )
    return TFLM_DRIVER.format(
        array=array,
        samples=SAMPLES,
        given="\n".join(reads),
        room="\n".join(room),
        arguments=", ".join(arguments),
        got="\n".join(writes),
    )


def kotlin_driver(usage, file):
    taken = identifiers((end.name for end in usage.inputs), camel=True)
    given = identifiers((end.name for end in usage.outputs), camel=True, avoid=taken.values())
    reads = [f'{"floats" if outer(end) == "float32" else "ints"}("$number.{key(end.name)}")' for end in usage.inputs]
    writes = []
    for end in usage.outputs:
        writes.append(f'        write("got.$number.{key(end.name)}", outputs.{given[end.name]})')
        if end.decides:
            writes.append(f'        write("class.$number.{key(end.name)}", outputs.{given[end.name]}Class)')
    return KOTLIN_DRIVER.format(file=file, samples=SAMPLES, given=", ".join(reads), got="\n".join(writes))
