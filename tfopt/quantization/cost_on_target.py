"""The cost of a conversion on its target, by Keras layer; a file that the accelerator leaves to the CPU is refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from tfopt.errors import TargetError
from tfopt.quantization.decoding import decoded_kernels
from tfopt.quantization.float_conversion import FloatModel
from tfopt.recipe.details.device_files import LayerCost
from tfopt.recipe.export import Export
from tfopt.recipe.target import TARGETS
from tfopt.targets.target_cost import WITHOUT_CPU, TargetCost, cost_of
from tfopt.tflite import flatbuffer
from tfopt.tflite.file import FileSummary

# Operators between integers and floats, which stand at both ends of what computes in float.
CONVERSIONS = ("Quantize", "Dequantize")
# Layers that are named where several are left to the CPU.
NAMED = 3


def cost_on_target(
    export: Export, content: bytes, named: FileSummary, source: FloatModel, samples: Mapping[str, np.ndarray]
) -> TargetCost | None:
    """What a finished file costs on its target; None where the target has no tool that tells.

    A file with decoded kernels is run there, and is to give what the finished one gives, in every bit.

    Args:
        export: Settings of the file.
        content: Bytes of the file.
        named: Summary of the same file with its tensor names.
        source: The float file that it was made from.
        samples: Inputs `(samples, ...)` by input name.

    Raises:
        InputError: The target's tool is not installed.
        ConversionError: The target cannot take the file.
        TargetError: It refuses the file, or leaves some of it to the CPU where that is not allowed.
    """
    target = TARGETS[export.target]
    if target.cost is None:
        return None
    decoding = decoded_kernels(source, named, content, export.decode, samples) if export.decode else None
    names = layer_names(named, source)
    found = replace(cost_of(content, target, export, names), decoding=decoding)
    left = [layer for layer in found.layers if layer.on_cpu]
    if left and found.cost.cpu_way:
        way = f"Write the layer with others, or {found.cost.cpu_way}"
        error = TargetError(f"target {target.name} leaves {_told(_causes(found, names))} to the CPU. {way}.")
        error.options = ((f"target: {{{target.name}: {{cpu: allow}}}}", f"--target {target.name}:cpu=allow"),)
        raise error
    return found


def cpu_notes(found: TargetCost | None) -> tuple[str, ...]:
    """What is to be said of a file's cost: the hardware that it is for, and what is left to the CPU."""
    if found is None:
        return ()
    left = [layer for layer in found.layers if layer.on_cpu]
    told = (f"target {found.target.name} leaves {_told(left, len(left))} to the CPU, {WITHOUT_CPU}",) if left else ()
    # The table of decoded kernels tells of them.
    return (*(found.cost.notes if found.decoding is None else ()), *told)


def _causes(found: TargetCost, names: Callable[[int], str]) -> list[LayerCost]:
    """The layers for which something is left to the CPU; at the edge of others data is merely converted."""
    operators = [one for one in found.cost.operators if one.on_cpu and one.kind not in CONVERSIONS]
    own = {names(one.tensor) for one in operators if one.tensor is not None}
    left = [layer for layer in found.layers if layer.on_cpu]
    return [layer for layer in left if layer.layer in own] or left


def _told(left: list[LayerCost], most: int = NAMED) -> str:
    words = [f"{layer.layer} ({layer.on_cpu})" for layer in left[:most]]
    return ", ".join(words) + (f" and {len(left) - most} more" if len(left) > most else "")


def layer_names(named: FileSummary, source: FloatModel) -> Callable[[int], str]:
    """Names the layers that compute a tensor of a file, by its number among the tensors of the first graph.

    A tensor that quantization has added is that of the layer in whose name scope it is.
    """
    graph = flatbuffer.view(named.content).subgraphs[0]
    names = [(tensor.name or b"").decode(errors="replace") for tensor in graph.tensors]
    owners: Mapping[str, str] = {
        tensor.name: ", ".join(place.path for place in places)
        for op, places in zip(source.ops, source.owners, strict=True)
        for tensor in op.outputs
        if places
    }
    paths = sorted((place.path for place in source.places), key=len, reverse=True)

    def layer(number: int) -> str:
        name = names[number] if number < len(names) else ""
        if name in owners:
            return owners[name]
        inside = (path for path in paths if name.startswith(f"{path}/"))
        return next(inside, name or f"tensor {number}")

    return layer
