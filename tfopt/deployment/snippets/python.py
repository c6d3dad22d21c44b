"""`python`: Python with LiteRT."""

from __future__ import annotations

from collections.abc import Iterator
from string import Template

from tfopt.deployment.identifiers import identifiers
from tfopt.deployment.snippet import Snippet
from tfopt.deployment.words import decimal, input_words, output_words, streaming, wrapped
from tfopt.plain_text import one_line
from tfopt.recipe.details.usage import TensorUsage, Usage

_CODE = Template('''\
"""Runs $file on LiteRT: pip install ai-edge-litert numpy."""

import numpy as np
from ai_edge_litert.interpreter import Interpreter  # the same in TensorFlow: tf.lite.Interpreter

interpreter = Interpreter(model_path=$quoted)
${allocated}run = interpreter.get_signature_runner($signature)
$functions$reset

def predict($parameters):
    """Runs $samples.

    Args:
$arguments

    Returns:
$returns
    """
$body


if __name__ == "__main__":
$example
''')

_QUANTIZE = '''

def quantize(x, scale, zero_point, dtype):
    """Numbers of the model as the file's integers; a plain astype would give other ones."""
    limits = np.iinfo(dtype)
    steps = np.round(np.asarray(x, np.float32) / np.float32(scale)) + zero_point
    return np.clip(steps, limits.min, limits.max).astype(dtype)
'''

_RESET = '''

def reset():
    """Begins a new sequence."""
    interpreter.reset_all_variables()
'''

_DEQUANTIZE = '''

def dequantize(q, scale, zero_point):
    """The file's integers as numbers of the model."""
    return (q.astype(np.float32) - zero_point) * np.float32(scale)
'''


def write(usage: Usage, file: str) -> str:
    """The code for a file."""
    names = identifiers(end.name for end in usage.inputs)
    functions = _QUANTIZE if any(end.quantized for end in usage.inputs) else ""
    functions += _DEQUANTIZE if any(end.quantized for end in usage.outputs) else ""
    flexible = any(end.shape[:1] == (-1,) for end in usage.inputs)
    batch = next((end.shape[0] for end in usage.inputs if end.shape), 1)
    return _CODE.substitute(
        file=_in_docstring(file),
        quoted=_quoted(file),
        signature=_quoted(usage.signature or ""),
        allocated="interpreter.allocate_tensors()  # no state can be reset before\n" if usage.stateful else "",
        functions=functions,
        reset=_RESET if usage.streams else "",
        parameters=", ".join(names.values()),
        samples="any number of samples" if flexible else "one sample" if batch == 1 else f"{batch} samples",
        arguments="\n".join(_argument(names[end.name], end) for end in usage.inputs),
        returns=_returns(usage),
        body="\n".join(_body(usage, names)),
        example="\n".join(_example(usage, names)),
    )


def _argument(name: str, end: TensorUsage) -> str:
    return wrapped(f"{name}: {input_words(end)}", " " * 8, " " * 12)


def _returns(usage: Usage) -> str:
    lines = ["        The outputs by name" + (" and the classes by name:" if _decides(usage) else ":")]
    for end in usage.outputs:
        lines.append(wrapped(f"{_in_docstring(end.name)}: {output_words(end)}", " " * 8, " " * 12))
    return "\n".join(lines)


def _decides(usage: Usage) -> bool:
    return any(end.decides for end in usage.outputs)


def _body(usage: Usage, names: dict[str, str]) -> list[str]:
    lines = ["    interpreter.reset_all_variables()  # the file keeps state from run to run"] if usage.resets else []
    lines += [f"    # {line}" for line in streaming(usage, "reset()")]
    lines += ["    raw = run("]
    lines += ["        **{"] + [
        f"            {_quoted(end.name)}: {_fed(names[end.name], end)}," for end in usage.inputs
    ]
    lines += ["        }", "    )", "    outputs = {"]
    lines += [f"        {_quoted(end.name)}: {_read(end)}," for end in usage.outputs]
    lines += ["    }"]
    if not _decides(usage):
        return [*lines, "    return outputs"]
    lines += ["    classes = {"]
    lines += [f"        {_quoted(end.name)}: {_decided(end)}," for end in usage.outputs if end.decides]
    return [*lines, "    }", "    return outputs, classes"]


def _fed(name: str, end: TensorUsage) -> str:
    if end.quantized:
        return f"quantize({name}, {decimal(end.scale)}, {end.zero_point}, np.{end.dtype})"
    return f"np.asarray({name}, np.{_numpy(end)})"


def _read(end: TensorUsage) -> str:
    own = f"raw[{_quoted(end.name)}]"
    return f"dequantize({own}, {decimal(end.scale)}, {end.zero_point})" if end.quantized else own


def _decided(end: TensorUsage) -> str:
    if end.decides and end.decides.rule == "largest":
        return f"raw[{_quoted(end.name)}].argmax(axis=-1)"
    threshold = end.decides.threshold if end.decides else 0.5
    return f"outputs[{_quoted(end.name)}] > {threshold!r}"


def _example(usage: Usage, names: dict[str, str]) -> Iterator[str]:
    space = " " * (8 if usage.streams else 4)
    if usage.streams:
        yield "    reset()  # where a sequence begins, and not between its pieces"
        yield "    for _ in range(3):"
    for end in usage.inputs:
        dtype = "float32" if end.quantized else _numpy(end)
        own = f"your own data goes here{', the next piece' if usage.streams else ''}"
        yield f"{space}{names[end.name]} = np.zeros({end.fixed_shape!r}, np.{dtype})  # {own}"
    yield f"{space}print(predict({', '.join(names.values())}))"


def _numpy(end: TensorUsage) -> str:
    return "bool_" if end.dtype == "bool" else end.dtype


def _quoted(text: str) -> str:
    """A string literal."""
    return f'"{"".join(_escape(sign) for sign in text)}"'


def _escape(sign: str) -> str:
    if sign in '\\"':
        return f"\\{sign}"
    return sign if sign.isprintable() else sign.encode("unicode_escape").decode()


def _in_docstring(text: str) -> str:
    """A text that neither ends a docstring nor begins an escape in it."""
    return one_line(text).replace("\\", "_").replace('"', "'")


PYTHON = Snippet("python", "Python with LiteRT", "python", write, rank=10)
