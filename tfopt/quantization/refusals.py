"""Why a model cannot become a `.tflite`, in one line: the layer or operation, the rule, and the way out."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from tfopt.errors import ConversionError, DataError, ModelError
from tfopt.models.layers import operations, walk
from tfopt.quantization.name_scopes import scoped
from tfopt.recipe.target import Target

# Layers that look words or ids up in a table, or hash them.
LOOKUPS = ("StringLookup", "IntegerLookup", "TextVectorization", "Hashing", "HashedCrossing")
_LOOKUP_OPS = re.compile(r"Lookup|HashTable|String|Regex|UnicodeDecode|UnicodeEncode")
_RANDOM_OPS = re.compile(r"Random|Multinomial|TruncatedNormal|StatelessRng|RngRead|RngSkip")
_STATE_OPS = re.compile(r"Assign\w*VariableOp")
# How the converter names an op that TFLite does not have.
_NOT_IN_TFLITE = re.compile(r"'tf\.(\w+)' op is neither")
_VALUE_ASKED = "Using a symbolic `tf.Tensor` as a Python `bool`"
_SCOPE = re.compile(r"(?:^|/)refused\.(\d+)/")


@dataclass(frozen=True)
class _Part:
    """A layer or operation of a model, or the model itself."""

    path: str
    computes: Any

    def __str__(self) -> str:
        what = "layer" if isinstance(self.computes, keras.layers.Layer) else "operation"
        what = "model" if isinstance(self.computes, keras.Model) else what
        return f"the {what} {self.path!r} ({type(self.computes).__name__})"


def check_text(model: keras.Model, samples: Any = None) -> None:
    """Refuses a model that takes text.

    Raises:
        DataError: The samples are text, and no input of the model takes any.
        ModelError: An input or a sample is text.
    """
    texts = [tensor.name for tensor in getattr(model, "inputs", None) or () if tensor.dtype == "string"]
    parts = samples.values() if isinstance(samples, Mapping) else samples
    parts = [] if samples is None else parts if isinstance(samples, list | tuple | Mapping) else [samples]
    if not texts and not any(_is_text(part) for part in parts):
        return
    lookup = next((p for p in walk(model) if isinstance(p.layer, _lookups())), None)
    if getattr(model, "inputs", None) and not texts and not lookup:
        raise DataError("the samples hold text, and the model takes numbers. Turn words into numbers first.", ("data",))
    raise ModelError(
        _of_text(_Part(lookup.path, lookup.layer) if lookup else f"the input {texts[0]!r}" if texts else "the model")
    )


def check_batched(outputs: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuses a file with an output that is one number for a whole batch.

    Args:
        outputs: The `shape` of each output, with the batch.

    Raises:
        ConversionError: An output has no axis at all.
    """
    for name, detail in outputs.items():
        if not len(detail["shape"]):
            raise ConversionError(
                f"output {name!r} is one number for all samples of a batch. Keep the batch as its first axis."
            )


def check_sizes(inputs: Mapping[str, Mapping[str, Any]], samples: Mapping[str, np.ndarray], target: Target) -> None:
    """Refuses inputs of an open size, such as images of any height, for a target that cannot resize them.

    Args:
        inputs: Details of the inputs of the float file by name, with the `shape_signature`, in which -1 is open.
        samples: Inputs `(samples, ...)` by name, for the example of a size.
        target: The target.

    Raises:
        ModelError: An input has an open size, besides that of the batch.
    """
    if target.resizes:
        return
    for name, detail in inputs.items():
        _, *sizes = (int(size) for size in detail["shape_signature"])
        if min(sizes, default=0) < 0:
            shape = ", ".join("None" if size < 0 else str(size) for size in sizes)
            raise ModelError(
                f"input {name!r} has an open size ({shape}), and target {target.name} takes no inputs that are "
                f"resized. Give the model an input of a fixed size, such as Input({samples[name].shape[1:]}).",
                ("target",),
            )


def _is_text(samples: Any) -> bool:
    array = np.asarray(samples)
    first = next(iter(array.flat), None) if array.dtype.kind in "OSU" and array.ndim else None
    return isinstance(first, str | bytes)


def _lookups() -> tuple[type, ...]:
    return tuple(getattr(keras.layers, name) for name in LOOKUPS)


def _of_text(part: Any) -> str:
    return (
        f"{part} takes text, or looks ids up or hashes them, which no .tflite of tfopt does. Give the part of the "
        "model behind it, and look up in the code around the file."
    )


def explained(model: keras.Model, why: str, retrace: Callable[[], Any]) -> str:
    """A refusal of the converter with the layer or operation that it is about, and what to do.

    Args:
        model: The model that was refused.
        why: The converter's own line.
        retrace: Traces the model again, to a `TracedModel`.
    """
    parts = _parts(model)
    failing: list[_Part] = []
    with _watched(parts, failing):
        try:
            graph = retrace().function.graph.as_graph_def()
        except Exception:  # the refusal itself, again
            return _of_trace(failing[0] if failing else None, why, model)
    found = dict(_ops(graph))
    unknown = _NOT_IN_TFLITE.search(why)
    op = unknown[1] if unknown else ""
    named = op in found and op != "Placeholder"  # the converter says that of a table
    for pattern, sentence in ((_LOOKUP_OPS, _of_text), (_RANDOM_OPS, _of_random), (_STATE_OPS, _of_state)):
        names = [found[one] for one in ([op] if named else found) if pattern.search(one)]
        if names:
            return sentence(_part(parts, names[0]))
    if not op:
        return f"the converter refuses the model: {why}"
    return _of_op(_part(parts, found[op]) if named else None, op)


def random_part(model: keras.Model, retrace: Callable[[], Any]) -> str | None:
    """The refusal of a model that draws random numbers at inference; None for any other."""
    parts = _parts(model)
    with _watched(parts, []):
        found = _ops(retrace().function.graph.as_graph_def())
    names = [name for op, name in found if _RANDOM_OPS.search(op)]
    return _of_random(_part(parts, names[0])) if names else None


def _of_op(part: _Part | None, op: str) -> str:
    who = part or "a layer or operation"
    return (
        f"the converter refuses the model: {who} computes with tf.{op}, which TFLite does not have. Leave it to the "
        "code around the file, or compute it with other operations."
    )


def _of_random(part: _Part) -> str:
    return (
        f"{part} draws random numbers at inference, so that no file can give the same outputs. Let it draw only with "
        "training=True; of a distribution give the mean."
    )


def _of_state(part: _Part) -> str:
    return f"{part} changes a variable at inference, and a file keeps no state. Let it do so only with training=True."


def _of_trace(part: _Part | None, why: str, model: keras.Model) -> str:
    """The refusal of a model that TensorFlow could not trace."""
    if _VALUE_ASKED not in why:
        named = f"{part}: " if part and str(part.path) not in why else ""
        return f"the converter refuses the model: {named}{why}"
    who = part or "a layer"
    if any(None in tensor.shape[1:] for tensor in getattr(model, "inputs", None) or ()):
        return (
            f"{who} computes with the size of its input, which the model leaves open. Give the model an Input of a "
            "fixed size, such as keras.Input((224, 224, 3))."
        )
    return f"{who} takes the value of a tensor for a Python if or while. Write keras.ops.where or keras.ops.cond."


def _parts(model: keras.Model) -> list[_Part]:
    """The model, its layers, and the operations between them."""
    return [_Part(model.name, model), *(_Part(one.path, one.layer) for one in (*walk(model), *operations(model)))]


def _watched(parts: list[_Part], failing: list[_Part]) -> contextlib.AbstractContextManager[None]:
    """Lets every part compute in a name scope of its number within the block; those that raise go to `failing`."""
    return scoped([part.computes for part in parts], "refused", lambda number: failing.append(parts[number]))


def _ops(graph: Any) -> Iterator[tuple[str, str]]:
    """The type and name of each op of a graph, those of its loops and branches last."""
    for nodes in (graph.node, *(function.node_def for function in graph.library.function)):
        for node in nodes:
            yield node.op, node.name


def _part(parts: list[_Part], name: str) -> _Part:
    """The part that an op is in, by its name; the model where it is in none."""
    numbers = _SCOPE.findall(name)
    return parts[int(numbers[-1])] if numbers else parts[0]
