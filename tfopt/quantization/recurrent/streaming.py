"""Files that take a sequence in pieces: which models can be one, and the proof that pieces are as good as the whole."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import keras
import numpy as np

from tfopt.errors import ConversionError, ModelError
from tfopt.metrics import compare_outputs
from tfopt.models.layers import LayerRef
from tfopt.recipe.target import Target
from tfopt.tflite import streams
from tfopt.tflite.file import Op
from tfopt.tflite.interpreter import Runner, dequantize

# Pieces of the sequence that is tried, and the largest difference of outputs in float, as a share of the largest.
PIECES = 3
_TOLERANCE = 1e-4
# Layers that may look at more than one step, or are built for so many.
_SUSPECTS = (
    "TimeDistributed",
    "Conv",
    "DepthwiseConv",
    "SeparableConv",
    "MaxPool",
    "AveragePool",
    "Global",
    "Flatten",
    "Reshape",
    "Permute",
    "ZeroPadding",
    "Cropping",
    "UpSampling",
    "MultiHeadAttention",
    "GroupedQueryAttention",
    "Attention",
    "AdditiveAttention",
)


def check_recurrent(ops: Iterable[Op], places: Iterable[LayerRef], unfused: Mapping[str, str]) -> None:
    """Refuses a model whose recurrent layers cannot go on where they ended.

    Args:
        ops: The ops of the float file.
        places: The layers of the model.
        unfused: Why a recurrent layer is not one op, by path.

    Raises:
        ModelError: It has none as one op, one that is no such op, or one that runs backwards.
    """
    for path, reason in unfused.items():
        raise ModelError(f"stateful: true keeps the state of layers that are one op, and {path} is not: {reason}.")
    if not any(op.facts.recurrent for op in ops):
        raise ModelError("stateful: true keeps the state of recurrent layers, and the model has none. Leave it out.")
    for place in places:
        if isinstance(place.layer, keras.layers.Masking) or getattr(place.layer, "mask_zero", False):
            raise ModelError(
                f"{place.path} gives a mask, and a stream has no steps to leave out. Leave stateful out, or build the "
                "model without the mask."
            )
        if _backwards(place):
            raise ModelError(
                f"{place.path} runs backwards, from steps that have not come yet: no stream gives it these. Leave "
                "stateful out, or take layers that run forwards."
            )


def _backwards(place: LayerRef) -> bool:
    return bool(getattr(place.layer, "go_backwards", False))


def check_pieces(
    content: bytes, samples: Mapping[str, np.ndarray], target: Target, places: Iterable[LayerRef] = ()
) -> str:
    """Refuses a file that gives something else for the pieces of a sequence than for the whole.

    Args:
        content: Bytes of the file.
        samples: Samples `(samples, steps, ...)` by input name, of which a few are taken for the pieces of a sequence.
        target: The target, on whose own runtime the pieces run as well, where it has one.
        places: The layers of the model, of which a refusal names those at fault.

    Returns:
        What was found, for a note.

    Raises:
        ModelError: The outputs differ, or the file does not run on the whole.
        ConversionError: The target's own runtime gives something else.
    """
    pieces = {name: array[np.arange(PIECES) % len(array)] for name, array in samples.items()}
    found = streams.in_pieces(content, pieces)
    try:
        whole = streams.at_once(content, pieces)
    except ConversionError as error:
        raise ModelError(
            "the file could not be run on a whole sequence, which is the proof of stateful: true: "
            f"{str(error).rstrip('.')}. {_suspects(places)}Layers that fix the number of steps or look at several, as "
            "Reshape, Flatten and convolutions do, are a reason. Leave stateful out."
        ) from error
    if not all(_alike(whole[name], values) for name, values in found.items()):
        raise ModelError(
            f"in pieces the file gives something else than for the whole sequence. {_suspects(places)}A layer that "
            "looks at more than one step, as convolutions, pooling and attention over time do, is a reason. Leave "
            "stateful out."
        )
    steps = next(iter(pieces.values())).shape[1]
    return f"the state is kept from call to call: {PIECES} calls of {steps} steps{_on(target, content, pieces, found)}"


def _suspects(places: Iterable[LayerRef]) -> str:
    """The layers that no stream may have, or that are built for a number of steps, in a sentence; empty for none."""
    names = [f"{p.path} ({type(p.layer).__name__})" for p in places if type(p.layer).__name__.startswith(_SUSPECTS)]
    by_step = any("(TimeDistributed)" in name for name in names)
    way = "TimeDistributed is built for so many steps; of a Dense layer take the Dense itself. " if by_step else ""
    return f"Look at {', '.join(names)}. {way}" if names else ""


def _on(target: Target, content: bytes, pieces: Mapping[str, np.ndarray], found: Mapping[str, np.ndarray]) -> str:
    """The end of the note, after the pieces have run on the target's own runtime."""
    same = f" give what one of {PIECES * next(iter(pieces.values())).shape[1]} gives"
    if target.stream is None:
        return same
    details: Mapping[str, Any] = Runner(content).outputs
    here = {name: dequantize(values, details[name]) for name, values in found.items()}
    snr = compare_outputs(here, target.stream(content, pieces))["snr_db"]
    if snr < target.least_snr_db:
        raise ConversionError(
            f"target {target.name} gives something else than LiteRT for the pieces of a sequence (SNR {snr:.1f} dB). "
            "Take another mode."
        )
    return f"{same}, and the same on {target.name}"


def _alike(whole: np.ndarray, pieces: np.ndarray) -> bool:
    """Whether the outputs for the pieces `(pieces, ...)` are those for the whole `(1, ...)`, or those of its end."""
    ends = pieces[-1:] if whole.shape[1:] == pieces.shape[1:] else np.concatenate(list(pieces))[None]
    if ends.shape != whole.shape:
        return False
    if whole.dtype.kind != "f":
        return bool(np.array_equal(ends, whole))
    return bool(np.abs(ends - whole).max() <= _TOLERANCE * max(float(np.abs(whole).max()), 1e-6))
