"""Reading how a file is fed and read: from its bytes, and from the Keras model that it was made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfopt.recipe.artifact import Artifact
from tfopt.recipe.details.usage import ClassRule, TensorUsage, Usage
from tfopt.recipe.target import TARGETS

if TYPE_CHECKING:
    from tfopt.metrics import Metric
    from tfopt.tflite.file import FileSummary, Op


def usage(
    source: Path | bytes, steps: Mapping[str, tuple[str, ...]] | None = None, metrics: Sequence[Metric] = ()
) -> Usage:
    """How a file is fed and read.

    Args:
        source: The `.tflite`, or its bytes.
        steps: What the model does to each input before anything else, in words (`models.preparation`).
        metrics: The metrics that the model is judged by, which tell how its outputs decide on classes.

    Raises:
        ModelError: The source is not a complete TFLite file.
    """
    from tfopt.tflite.file import parse, whole

    content, file = parse(source)
    with whole(source):
        return _of_file(content, file, steps, metrics)


def _of_file(
    content: bytes, file: Any, steps: Mapping[str, tuple[str, ...]] | None, metrics: Sequence[Metric]
) -> Usage:
    from tfopt.tflite.file import read
    from tfopt.tflite.flatbuffer import is_stream

    summary = read(content)
    signature = file.signatureDefs[0] if file.signatureDefs else None
    graph = file.subgraphs[signature.subgraphIndex if signature else 0]
    inputs = tuple(_tensors(graph, "inputs", signature))
    outputs = tuple(_tensors(graph, "outputs", signature))
    decided = [replace(end, decides=_decides(end, graph, file)) for end in outputs]
    if metrics:
        decided = [replace(end, decides=_judged(end, metrics, len(outputs))) for end in decided]
    if steps:
        inputs = tuple(replace(end, preparation=steps.get(end.name, ())) for end in inputs)
    return Usage(
        inputs=inputs,
        outputs=tuple(decided),
        signature=signature.signatureKey.decode() if signature else None,
        stateful=any(tensor.isVariable for one in file.subgraphs for tensor in one.tensors),
        streams=is_stream(content),
        ops=tuple(dict.fromkeys(op.name for op in summary.ops)),
        not_on_tflm=next(_against_tflm(summary, inputs), ""),
    )


def recorded_usage(file: Path) -> Usage:
    """How a file is fed and read: as its run has recorded it, with more than the file tells, else from the file.

    Raises:
        ModelError: It is not a complete TFLite file.
    """
    artifact = Artifact.read(file.resolve().parent)
    if artifact is not None and artifact.path == file.resolve() and artifact.unchanged:
        found = artifact.details.of(Usage)
        if found is not None:
            return with_arena(found, artifact.metrics)
    return usage(file)


def with_arena(found: Usage, figures: Mapping[str, float]) -> Usage:
    """A usage with the tensor arena that was measured, where it was."""
    arena = figures.get("arena_bytes")
    return found if arena is None else replace(found, arena_bytes=int(arena))


def _tensors(graph: Any, side: str, signature: Any) -> Iterator[TensorUsage]:
    from tfopt.tflite.file import tensor_details

    places = [int(index) for index in getattr(graph, side)]
    named = {str(place): index for place, index in enumerate(places)}
    if signature is not None:
        named = {entry.name.decode(): int(entry.tensorIndex) for entry in getattr(signature, side)}
    for name, index in named.items():
        tensor = graph.tensors[index]
        details = tensor_details(tensor)
        flexible = tensor.shapeSignature
        shape = flexible if flexible is not None and len(flexible) else details["shape_signature"]
        scale, zero_point = details["quantization"]
        dtype = details["dtype"].__name__.rstrip("_") if details["dtype"] else "string"
        yield TensorUsage(name, places.index(index), dtype, tuple(int(n) for n in shape), scale, zero_point)


def _decides(end: TensorUsage, graph: Any, file: Any) -> ClassRule | None:
    """How an output decides on classes, as far as the op that computes it tells."""
    op = _maker(graph, file, int(graph.outputs[end.place]))
    count = end.shape[-1] if end.shape else 1
    if op == "SOFTMAX" and count > 1:
        return ClassRule("largest", count)
    return ClassRule("each", count) if op == "LOGISTIC" and count == 1 else None


def _maker(graph: Any, file: Any, index: int) -> str | None:
    """The name of the op that computes a tensor; those that only rearrange or convert values are passed over."""
    from tfopt.tflite.file import op_name
    from tfopt.tflite.ops import facts_of

    makers = {int(output): op for op in graph.operators or [] for output in op.outputs}
    while (op := makers.pop(index, None)) is not None:  # each once: the ops of a damaged file may lead in a circle
        name = op_name(file.operatorCodes[op.opcodeIndex])
        if not (facts_of(name).border or name == "RESHAPE"):
            return name
        index = int(op.inputs[0])
    return None


def _judged(end: TensorUsage, metrics: Sequence[Metric], outputs: int) -> ClassRule | None:
    """How an output decides on classes, as the metrics see it."""
    count = end.shape[-1] if end.shape else 1
    for metric in metrics:
        if not metric.of_classes or (metric.output or end.name) != end.name or (outputs > 1 and not metric.output):
            continue
        decision = dict(metric.decisions).get(end.name)
        if count > 1 and not (decision and decision.multilabel):
            return ClassRule("largest", count)
        return ClassRule("each", count, decision.threshold if decision else 0.5)
    return None


def _against_tflm(summary: FileSummary, inputs: Sequence[TensorUsage]) -> Iterator[str]:
    """What keeps LiteRT for Microcontrollers from running a file, sentences without a full stop."""
    for op in summary.ops:
        if op.facts.micro is None:
            yield f"LiteRT for Microcontrollers has no {op.name}"
        if reason := _kernel_against_tflm(op):
            yield reason
    if any(size < 0 for end in inputs for size in end.shape):
        yield "LiteRT for Microcontrollers takes no inputs that are resized: convert with a batch of 1"


def _kernel_against_tflm(op: Op) -> str:
    kernels = {tensor.dtype for tensor in op.weights}
    if op.facts.unpacks == "sparse":
        return "LiteRT for Microcontrollers does not load sparse kernels"
    if "FLOAT16" in kernels or (op.facts.unpacks and "FLOAT16" in {tensor.dtype for tensor in op.inputs}):
        return "LiteRT for Microcontrollers does not compute with float16 weights"
    if op.facts.unpacks and any(tensor.bytes for tensor in op.inputs):
        return f"LiteRT for Microcontrollers reads integer weights of float computation wrongly ({op.name})"
    if op.floating and kernels & {"INT8", "INT4"} and op.name != "EMBEDDING_LOOKUP":
        return f"LiteRT for Microcontrollers does not compute in float with integer weights ({op.name})"
    if "INT4" in kernels and not TARGETS["tflm"].runs_op(op.name, "int4"):
        return f"LiteRT for Microcontrollers has no {op.name} with kernels of 4 bits"
    return ""
