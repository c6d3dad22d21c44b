"""Decoded files that were run: TFLM's outputs for the decoded file and for the plain one are equal in every bit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tfopt.errors import ConversionError
from tfopt.recipe.decode import Decode
from tfopt.targets import microcontrollers
from tfopt.targets.decoding.decoded_file import DecodedFile, decoded
from tfopt.tflite.file import load


@dataclass(frozen=True)
class Proof:
    """A decoded file and its runs on TFLM.

    Args:
        file: The decoded file.
        before: The run of the plain file.
        after: The run of the decoded file, of the same outputs; that of the plain one where no kernel is decoded.
    """

    file: DecodedFile
    before: microcontrollers.Run
    after: microcontrollers.Run


def decode(
    source: Path | bytes, samples: np.ndarray | Mapping[str, np.ndarray], settings: Decode | None = None
) -> Proof:
    """Encodes the kernels of a file for TFLM, and runs both files on samples, each in a process of its own.

    Example:
        ```python
        proof = decode(Path("model.tflite"), x_test[:100], Decode(ram="16 KB"))
        Path("model.tflm.tflite").write_bytes(proof.file.content)
        ```

    Args:
        source: The `.tflite`, or its bytes. It runs on LiteRT; the decoded file runs on TFLM alone.
        samples: `(samples, ...)`, or a dict of such arrays by the file's input names, in the float model's units.
        settings: The largest kernel to decode, and the codings to choose from; no limit and all, if not given.

    Raises:
        InputError: The package `tflite-micro` is not installed.
        ModelError: The source is not a TFLite file.
        DataError: An input is missing or has another shape.
        ConversionError: TFLM cannot run one of the files, or their outputs differ.
    """
    content = load(source)
    file = decoded(content, settings)
    before = microcontrollers.run(content, samples, timed=True)
    if not file.chosen:
        return Proof(file, before, before)
    after = microcontrollers.run(file.content, samples, timed=True)
    for name, expected in before.outputs.items():
        if not np.array_equal(expected, after.outputs[name], equal_nan=True):
            raise ConversionError(
                f"TFLM gives something else for the file with decoded kernels, in output {name!r}: tflite-micro "
                f"{after.version} decodes in another way. Leave decode out."
            )
    return Proof(file, before, after)
