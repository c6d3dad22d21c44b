"""`kotlin`: Kotlin on Android, with LiteRT's Interpreter."""

from __future__ import annotations

from string import Template

from tfopt.deployment.identifiers import identifiers
from tfopt.deployment.snippet import Snippet
from tfopt.deployment.snippets.cpp import c_float, size
from tfopt.deployment.words import comment_text, input_words, output_words, streaming, wrapped
from tfopt.recipe.details.usage import TensorUsage, Usage

_CODE = Template("""\
// Runs $file on Android. In build.gradle.kts: implementation("com.google.ai.edge.litert:litert:1.4.2")
$any_batch
import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder
$imports
import org.tensorflow.lite.Interpreter

class Outputs(
$outputs
)

class Model(file: File) : AutoCloseable {
    private val interpreter = Interpreter(file)

$reset$parameters_about
    fun predict($parameters): Outputs {
$predict
    }

    override fun close() = interpreter.close()

    private fun buffer(bytes: Int): ByteBuffer = ByteBuffer.allocateDirect(bytes).order(ByteOrder.nativeOrder())
$functions}
""")

_RESET = """\
    // Begins a new sequence.
    fun reset() = interpreter.resetVariableTensors()

"""

_QUANTIZE = """
    // Numbers of the model as the file's integers; a plain toInt() would give other ones.
    private fun quantize(x: Float, scale: Float, zeroPoint: Int, low: Int, high: Int): Int =
        (round(x / scale) + zeroPoint).coerceIn(low.toFloat(), high.toFloat()).toInt()
"""

_LARGEST = """
    // The place of the largest of every `count` scores; of integers it is that of the largest number.
    private fun largest(scores: $array, count: Int): IntArray =
        IntArray(scores.size / count) { row ->
            var best = 0
            for (place in 1 until count) if (scores[row * count + place] > scores[row * count + best]) best = place
            best
        }
"""

# Bytes of a number, Kotlin's type, and how it is written into a buffer and read from one.
_TYPES = {
    "float32": (4, "Float", "putFloat({})", "getFloat(4 * it)"),
    "int8": (1, "Int", "put({}.toByte())", "get(it).toInt()"),
    "uint8": (1, "Int", "put({}.toByte())", "get(it).toInt() and 0xFF"),
    "int16": (2, "Int", "putShort({}.toShort())", "getShort(2 * it).toInt()"),
    "int32": (4, "Int", "putInt({})", "getInt(4 * it)"),
    "int64": (8, "Long", "putLong({})", "getLong(8 * it)"),
    "bool": (1, "Int", "put({}.toByte())", "get(it).toInt()"),
}


def write(usage: Usage, file: str) -> str:
    """The code for a file."""
    taken = identifiers((end.name for end in usage.inputs), camel=True)
    given = identifiers((end.name for end in usage.outputs), camel=True, avoid=taken.values())
    flexible = any(n < 0 for end in usage.inputs for n in end.shape)
    quantized = any(end.quantized for end in usage.inputs)
    arrays = sorted({f"{_TYPES[end.dtype][1]}Array" for end in usage.outputs if _largest(end)})
    functions = [_QUANTIZE] if quantized else []
    functions += [Template(_LARGEST).substitute(array=array) for array in arrays]
    code = _CODE.substitute(
        file=comment_text(file),
        any_batch="// The file takes any number of samples at once; this code gives it one.\n" if flexible else "",
        imports="import kotlin.math.round" if quantized else "",
        outputs=_fields(usage, given),
        parameters_about="\n".join(
            wrapped(f"{taken[end.name]}: {input_words(end)}", "    // ") for end in usage.inputs
        ),
        parameters=", ".join(f"{taken[end.name]}: {_outer(end)}Array" for end in usage.inputs),
        predict="\n".join(f"        {line}" for line in _predict(usage, taken, given)),
        reset=_RESET if usage.streams else "",
        functions="".join(functions),
    )
    return code.replace("ByteOrder\n\nimport", "ByteOrder\nimport")


def _predict(usage: Usage, taken: dict[str, str], given: dict[str, str]) -> list[str]:
    lines = ["interpreter.resetVariableTensors() // the file keeps state from run to run"] if usage.resets else []
    lines += [f"// {line}" for line in streaming(usage, "reset()")]
    for end in usage.inputs:
        name, count = taken[end.name], size(end)
        width, _, put, _ = _TYPES[end.dtype]
        lines.append(f'require({name}.size == {count}) {{ "{name} has ${{{name}.size}} numbers, not {count}" }}')
        lines.append(f"val {name}Bytes = buffer({width * count})")
        value = "value"
        if end.quantized:
            low, high = end.limits
            value = f"quantize(value, {c_float(end.scale)}, {end.zero_point}, {low}, {high})"
        lines.append(f"for (value in {name}) {name}Bytes.{put.format(value)}")
        lines.append(f"{name}Bytes.rewind()")
    for end in usage.outputs:
        lines.append(f"val {given[end.name]}Bytes = buffer({_TYPES[end.dtype][0] * size(end)})")
    fed = ", ".join(f"{_quoted(end.name)} to {taken[end.name]}Bytes" for end in usage.inputs)
    got = ", ".join(f"{_quoted(end.name)} to {given[end.name]}Bytes" for end in usage.outputs)
    lines += ["interpreter.runSignature(", f"    mapOf<String, Any>({fed}),", f"    mutableMapOf<String, Any>({got}),"]
    lines += [f"    {_quoted(usage.signature or '')}", ")"]
    values = []
    for end in usage.outputs:
        name = given[end.name]
        _, kind, _, get = _TYPES[end.dtype]
        lines.append(f"val {name}Raw = {kind}Array({size(end)}) {{ {name}Bytes.{get} }}")
        lines.append(f"val {name} = {_values(name, end)}")
        values += [name, *([_classes(name, end)] if end.decides else [])]
    return [*lines, f"return Outputs({', '.join(values)})"]


def _values(name: str, end: TensorUsage) -> str:
    if not end.quantized:
        return f"{name}Raw"
    shifted = f"({name}Raw[it] - ({end.zero_point}))" if end.zero_point < 0 else f"({name}Raw[it] - {end.zero_point})"
    return f"FloatArray({size(end)}) {{ {shifted} * {c_float(end.scale)} }}"


def _classes(name: str, end: TensorUsage) -> str:
    if end.decides and _largest(end):
        return f"largest({name}Raw, {end.decides.count})"
    threshold = c_float(end.decides.threshold if end.decides else 0.5)
    return f"IntArray({size(end)}) {{ if ({name}[it] > {threshold}) 1 else 0 }}"


def _largest(end: TensorUsage) -> bool:
    return end.decides is not None and end.decides.rule == "largest"


def _fields(usage: Usage, given: dict[str, str]) -> str:
    """The properties of the outputs; Kotlin before 1.4 takes no comma after the last."""
    fields = []
    for end in usage.outputs:
        fields.append(f"{wrapped(output_words(end), '    // ')}\n    val {given[end.name]}: {_outer(end)}Array")
        fields += [f"    val {given[end.name]}Class: IntArray"] if end.decides else []
    return ",\n".join(fields)


def _outer(end: TensorUsage) -> str:
    return "Float" if end.quantized else _TYPES[end.dtype][1]


def _quoted(text: str) -> str:
    return f'"{"".join(_escape(sign) for sign in text)}"'


def _escape(sign: str) -> str:
    if sign in '\\"$':
        return f"\\{sign}"
    units = sign.encode("utf-16-be", "surrogatepass").hex()
    return sign if sign.isprintable() else "".join(f"\\u{units[n : n + 4]}" for n in range(0, len(units), 4))


KOTLIN = Snippet("kotlin", "Kotlin on Android", "kotlin", write, rank=30)
