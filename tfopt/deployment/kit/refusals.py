"""What no kit is made of, and what LiteRT for Microcontrollers does not run of what one is made of."""

from __future__ import annotations

from pathlib import Path

from tfopt.deployment.snippet import NUMBERS
from tfopt.errors import InputError, did_you_mean_file
from tfopt.recipe.details.usage import Usage
from tfopt.recipe.yaml_source import is_recipe


def check_exportable(content: bytes, usage: Usage, file: str) -> None:
    """Refuses a file that no C project can use as it is.

    Args:
        content: Its bytes.
        usage: How it is fed and read.
        file: Its name, for the message.

    Raises:
        InputError: It has several signatures or none, inputs or outputs that are no numbers or of any size, or ops that
            only TensorFlow has.
    """
    from tfopt.tflite.file import parse
    from tfopt.tflite.ops import facts_of

    _, schema = parse(content)
    ends = (*usage.inputs, *usage.outputs)
    if len(schema.signatureDefs or []) > 1:
        names = ", ".join(signature.signatureKey.decode() for signature in schema.signatureDefs)
        raise InputError(
            f"a kit is of a file with one signature. Convert each function to a file of its own. Received: {file}, "
            f"with {names}."
        )
    if usage.signature is None:
        raise InputError(
            "a kit names the inputs of a file by its signature, and there is none. Convert it with tfopt or "
            f"TFLiteConverter. Received: {file}."
        )
    if odd := [end for end in ends if end.dtype not in NUMBERS]:
        raise InputError(
            f"inputs and outputs of a kit are of {', '.join(NUMBERS)}. Put what reads {odd[0].dtype} before the model. "
            f"Received: {file}, with {odd[0].name!r} of type {odd[0].dtype}."
        )
    if odd := [end for end in ends if any(size < 0 for size in end.shape[1:])]:
        raise InputError(
            "inputs and outputs of a kit have fixed sizes but for the batch. Convert a model with a fixed input shape. "
            f"Received: {file}, with {odd[0].name!r} of shape {odd[0].shape}."
        )
    if flex := [op for op in usage.ops if facts_of(op).flex]:
        raise InputError(
            "ops of TensorFlow itself need its Flex delegate, which no microcontroller has. Write the layer with other "
            f"ops. Received: {file}, with {', '.join(flex)}."
        )


def check_file(file: Path) -> None:
    """Refuses what is no `.tflite`, by its name.

    Raises:
        InputError: It is not there, or a Keras model.
    """
    from tfopt.models.stored_model import FILES

    if not file.exists():
        near = did_you_mean_file(file)
        raise InputError(f"a kit is made of a .tflite or a run, and there is nothing there.{near} Received: {file}.")
    if is_recipe(file):
        raise InputError(f"a kit is made of what a recipe has made. Name the folder of its run. Received: {file}.")
    if file.suffix in FILES:
        raise InputError(
            f"a kit is made of a .tflite. Convert the model first: tfopt convert {file}. Received: {file}."
        )


def absent_on_tflm(ops: tuple[str, ...]) -> str | None:
    """The first op that LiteRT for Microcontrollers does not have; None where it has all."""
    from tfopt.tflite.ops import facts_of

    return next((op for op in ops if facts_of(op).micro is None), None)


def against_tflm(usage: Usage, ops: tuple[str, ...]) -> str:
    """Why there is no code for LiteRT for Microcontrollers; empty where there is.

    Args:
        usage: How the file is fed and read.
        ops: The ops of the file that is flashed.
    """
    if absent := absent_on_tflm(ops):
        return f"LiteRT for Microcontrollers has no {absent}"
    if "VAR_HANDLE" in ops:
        return "the file keeps resource variables, for which the interpreter needs an allocator of your own"
    return usage.not_on_tflm
