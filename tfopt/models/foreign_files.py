"""Files of models that are not Keras's: what they are, and how a model gets from there to Keras."""

from __future__ import annotations

from pathlib import Path

from tfopt.errors import ModelError

_PYTORCH = (
    "PyTorch's",
    "Build the model in Keras and copy the weights, or export it to ONNX and take what onnx2tf makes",
)
_PICKLE = "a pickle, which may run any code when it is read", "Save the model with model.save as a .keras file"
# What the files of a suffix are, and the way to a Keras model.
FOREIGN: dict[str, tuple[str, str]] = {
    ".onnx": ("ONNX's", "onnx2tf makes a Keras model of it"),
    **dict.fromkeys((".pt", ".pth", ".pte", ".ckpt", ".bin"), _PYTORCH),
    ".safetensors": ("weights alone", "Build the model in Keras, load them into it, and save it with model.save"),
    ".pb": ("TensorFlow's graph", "Give the SavedModel folder that it lies in, or the .keras file of the model"),
    ".mlmodel": ("Core ML's", "Give the Keras model that it was made from"),
    ".mlpackage": ("Core ML's", "Give the Keras model that it was made from"),
    **dict.fromkeys((".pkl", ".pickle", ".joblib"), _PICKLE),
    ".tflite": ("converted already", "Give the model that it was made from"),
}


def refuse_foreign(path: Path) -> None:
    """Refuses the file of another framework, with the way from there.

    Raises:
        ModelError: The suffix is one of another framework's.
    """
    found = FOREIGN.get(path.suffix.lower())
    if found:
        what, way = found
        raise ModelError(f"{path} is {what}, and tfopt takes models of Keras. {way}.", ("model",))
