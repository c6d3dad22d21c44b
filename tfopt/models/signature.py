"""The inputs and outputs of a model by name, their shapes, and the arguments that it was compiled with."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from tfopt.data.arrays import Arrays
from tfopt.data.batches import batches_of
from tfopt.data.splits import CHUNK, Samples
from tfopt.errors import DataError, ModelError, TfoptError, id_fault, is_machine_fault
from tfopt.keras_private import all_layers

# What the largest output of a layer may take in inference, for all samples of a batch.
ACTIVATION_BYTES = 64 * 2**20


def inputs_of(model: Any) -> dict[str, tuple[int | None, ...]]:
    """The input shapes of a model by name, without the batch; empty where the model does not know them."""
    tensors = getattr(model, "inputs", None) or []
    return {tensor.name: tuple(tensor.shape[1:]) for tensor in tensors}


def output_shapes(model: Any) -> dict[str, tuple[int | None, ...]]:
    """The output shapes of a model by name, in the order it gives them; empty where it does not know them."""
    return {name: tuple(tensor.shape[1:]) for name, tensor in outputs_of(model).items()}


def outputs_of(model: Any) -> dict[str, Any]:
    """The symbolic outputs of a model by name, in the order it gives them; empty where it does not know them."""
    tensors = getattr(model, "outputs", None)
    if not tensors:
        return {}
    import keras

    return named_outputs(model, model.output if isinstance(model, keras.Function) else tensors)


def output_names(model: Any) -> list[str]:
    """The names of a model's outputs, in the order it gives them; empty where it does not know them."""
    return list(output_shapes(model))


def call(model: Any, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Runs a model in inference mode on tensors by input name; its outputs by name, in the order it gives them."""
    import keras

    structured: Any
    if isinstance(getattr(model, "inputs", None), list) and not isinstance(model, keras.Sequential):
        structured = keras.tree.pack_sequence_as(model.input, [inputs[tensor.name] for tensor in model.inputs])
    else:
        structured = next(iter(inputs.values())) if len(inputs) == 1 else dict(inputs)
    return named_outputs(model, model(structured, training=False))


def named_outputs(model: Any, outputs: Any) -> dict[str, Any]:
    """The outputs of a model by name: a dict's keys, sorted as TensorFlow flattens them, else Keras's output names."""
    import keras

    if isinstance(outputs, Mapping):
        return {str(key): outputs[key] for key in sorted(outputs)}
    flat = keras.tree.flatten(outputs)
    names = list(getattr(model, "output_names", None) or [])
    if len(set(names)) != len(flat):
        names = [f"output_{i}" for i in range(len(flat))] if len(flat) > 1 else ["output"]
    return dict(zip(names, flat, strict=True))


def keras_outputs(model: Any, x: Arrays | Samples) -> dict[str, np.ndarray]:
    """A Keras model's outputs by name, each `(samples, ...)`."""
    import tensorflow as tf

    inputs = x.inputs() if isinstance(x, Samples) else x
    if not isinstance(inputs, tf.data.Dataset):  # of arrays Keras makes one that copies them, with autotuning
        inputs = batches_of((inputs,), inference_batch(model))
        _trace_for_any_batch(model, inputs.element_spec)
    outputs = named_outputs(model, model.predict(inputs, verbose=0))
    return {name: np.asarray(value) for name, value in outputs.items()}


def outputs_on_samples(model: Any, x: Any) -> dict[str, np.ndarray]:
    """`keras_outputs` of a model and samples of which nobody knows yet whether they go together.

    Raises:
        DataError: An id lies beyond an Embedding.
        ModelError: The model does not run on the samples.
    """
    from tfopt.user_code import describe

    try:
        return keras_outputs(model, x)
    except Exception as error:
        if isinstance(error, TfoptError) or is_machine_fault(error):
            raise
        if why := id_fault(error):
            raise DataError(why, ("data",)) from error
        raise ModelError(f"the model does not run on the samples: {describe(error)}", ("model",)) from error


def inference_batch(model: Any) -> int:
    """Samples at once in inference, at most `CHUNK`: so many that the largest output of a layer stays in 64 MB.

    What a convolutional net holds of 256 large images is gigabytes, and takes as long a sample as of eight.
    """
    widest = max((_values(layer) for layer in all_layers(model)), default=1)
    return max(1, min(CHUNK, ACTIVATION_BYTES // (4 * widest)))


def _values(layer: Any) -> int:
    """Number of values that a layer gives for a sample; 1 where it does not know, or is called in several places."""
    import keras

    try:
        shapes = [tensor.shape[1:] for tensor in keras.tree.flatten(layer.output)]
    except (AttributeError, ValueError):  # not built, or several outputs of several calls
        return 1
    return max((math.prod(side or 1 for side in shape) for shape in shapes), default=1)


def _trace_for_any_batch(model: Any, element: Any) -> None:
    """Traces a model's prediction once, for batches of any size.

    Keras traces it for the first batch, and once more for a last one that is smaller. A model that takes no open batch
    is left to Keras.
    """
    replicas = getattr(getattr(model, "distribute_strategy", None), "num_replicas_in_sync", 1)
    if replicas > 1 or model.steps_per_execution > 1 or model.run_eagerly:
        return
    model.make_predict_function()
    with contextlib.suppress(Exception):  # a layer may be the user's own
        model.predict_function.get_concrete_function([element])
