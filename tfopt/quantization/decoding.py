"""What decoding the kernels of a conversion saves and costs on TFLM, with the layers that they belong to."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tfopt.quantization.float_conversion import FloatModel
from tfopt.recipe.decode import Decode
from tfopt.recipe.details.decoding import DecodedKernel, DecodedKernels
from tfopt.targets.decoding.proof import decode
from tfopt.targets.microcontrollers import Run
from tfopt.tflite.file import FileSummary


def decoded_kernels(
    source: FloatModel, summary: FileSummary, content: bytes, settings: Decode, samples: Mapping[str, np.ndarray]
) -> DecodedKernels:
    """Makes the decoded file of a finished one, and runs both on TFLM on the same samples.

    Args:
        source: The float file that it was made from, whose ops have owners.
        summary: Summary of the finished file, with tensor names.
        content: Bytes of the finished file.
        settings: The largest kernel to decode, and the codings to choose from.
        samples: Inputs `(samples, ...)` by input name.

    Raises:
        InputError: The package `tflite-micro` is not installed.
        ConversionError: TFLM cannot run the decoded file, or its outputs are not equal in every bit.
    """
    proof = decode(content, samples, settings)
    file, places = proof.file, _places(source, summary)
    rows = []
    for kernel in sorted((*file.chosen, *file.kept), key=lambda kernel: kernel.uses[0]):
        encoded = file.chosen.get(kernel)
        layers = dict.fromkeys(places[use.graph, use.op] for use in kernel.uses)
        rows.append(
            DecodedKernel(
                layer=", ".join(layers),
                op=kernel.uses[0].name,
                bytes=kernel.bytes,
                stored_bytes=encoded.bytes if encoded else kernel.bytes,
                coding=encoded.coding if encoded else "",
                about=encoded.about if encoded else file.kept[kernel],
            )
        )
    plain, decoded = _figures(len(content), proof.before), _figures(len(file.content), proof.after)
    return DecodedKernels(tuple(rows), plain, decoded, proof.after.version)


def _places(source: FloatModel, summary: FileSummary) -> dict[tuple[int, int], str]:
    """The layers of each op of a file by the number of its subgraph and its own there."""
    layers = {
        op.outputs[0].name: ", ".join(place.path for place in places)
        for op, places in zip(source.ops, source.owners, strict=True)
        if op.outputs
    }
    found, counts = {}, dict[int, int]()
    for op in summary.ops:
        number = counts.get(op.graph, 0)
        counts[op.graph] = number + 1
        name = op.outputs[0].name if op.outputs else op.name
        found[op.graph, number] = layers.get(name) or name
    return found


def _figures(size: int, run: Run) -> dict[str, float]:
    return {"flash_bytes": float(size), "arena_bytes": float(run.arena_bytes), "microseconds": run.microseconds}
