"""The options of the command `convert`, each as typer takes it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tfopt.cli.completion import quantization_modes, range_methods, roundings, words

ModeOption = Annotated[str, typer.Option("--mode", "-m", help="{MODES}.", autocompletion=quantization_modes)]
OutOption = Annotated[Path | None, typer.Option("--out", "-o", help="The file to write; MODEL-MODE.tflite here.")]
RuleOption = Annotated[
    list[str] | None, typer.Option("--rule", help="PATTERN=int4, int8, int16, float or a rounding; a later one wins.")
]
IoOption = Annotated[
    str | None,
    typer.Option("--io", help="float32: inputs and outputs are no integers.", autocompletion=words("float32")),
]
RangesOption = Annotated[str | None, typer.Option("--ranges", help="{RANGES}.", autocompletion=range_methods)]
RoundingOption = Annotated[
    str,
    typer.Option("--rounding", help="How integers of kernels are chosen: {ROUNDINGS}.", autocompletion=roundings),
]
RoundingSecondsOption = Annotated[
    float | None,
    typer.Option("--rounding-seconds", help="What --rounding auto may take of a processor core, 30 if not given."),
]
# Two options and not one with two names, whose third column of names would leave no room for any of them.
BiasCorrectionOption = Annotated[
    bool,
    typer.Option("--bias-correction", help="Let biases take up the mean error, as they do if rounding is not nearest."),
]
NoBiasCorrectionOption = Annotated[bool, typer.Option("--no-bias-correction", help="Leave biases as they are.")]
ClippingOption = Annotated[
    str,
    typer.Option(
        "--clipping",
        help="Scales of kernels: none, or mse, of the least squared error.",
        autocompletion=words("none", "mse"),
    ),
]
BatchOption = Annotated[str, typer.Option("--batch", help="Samples at once, or any.")]
NoSlimOption = Annotated[
    bool, typer.Option("--no-slim", help="Keep the names of tensors, which are left out otherwise.")
]
RecurrentOption = Annotated[
    str,
    typer.Option(
        "--recurrent",
        help="Recurrent layers: auto, fused, unrolled or loop.",
        autocompletion=words("auto", "fused", "unrolled", "loop"),
    ),
]
StatefulOption = Annotated[
    bool, typer.Option("--stateful", help="Keep the state of LSTMs from call to call, for a stream.")
]
NoUnrollOption = Annotated[bool, typer.Option("--no-unroll", help="Deprecated: --recurrent loop.")]
SparseOption = Annotated[bool, typer.Option("--sparse", help="For float32: TFLite's sparse format.")]
DecodeOption = Annotated[
    bool, typer.Option("--decode", help="For tflm: a second file, of kernels that are decoded at every run.")
]
DecodeRamOption = Annotated[
    str | None, typer.Option("--decode-ram", help="Decode kernels of up to so many bytes, such as 16KB.")
]
LeastSnrOption = Annotated[
    float | None,
    typer.Option("--least-snr", help="Decibels of SNR that a quantized file has to exceed, 10 if not given."),
]
ForceOption = Annotated[bool, typer.Option("--force", "-f", help="Write over a file that is there.")]


def batch_setting(text: str) -> Any:
    """A number of samples, or the word as it is."""
    try:
        return int(text)
    except ValueError:
        return text
