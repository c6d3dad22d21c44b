"""What a model tells of itself: its inputs and outputs, what it was compiled with, and whether it takes text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tfopt.errors import ModelError

Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class InputFacts:
    """An input of a model.

    Args:
        name: Its name.
        shape: Its shape, without the batch.
        dtype: Its dtype, such as `float32`.
        prepared: What the model does with it first, in words.
    """

    name: str
    shape: Shape
    dtype: str
    prepared: tuple[str, ...] = ()

    @property
    def is_text(self) -> bool:
        """Whether it takes strings."""
        return self.dtype == "string"


@dataclass(frozen=True)
class OutputFacts:
    """An output of a model.

    Args:
        name: Its name.
        shape: Its shape, without the batch.
        activation: `softmax`, `sigmoid`, `linear`, or empty where it is another or not known.
        loss: Name of the loss it was compiled with; None where there is none.
    """

    name: str
    shape: Shape
    activation: str
    loss: str | None = None

    @property
    def width(self) -> int:
        """Values in its last axis; 1 where it has none or that is open."""
        return (self.shape[-1] if self.shape else 1) or 1


@dataclass(frozen=True)
class ModelFacts:
    """What a model tells of itself.

    Args:
        inputs: Its inputs; empty where the model does not know them, as a subclassed one.
        outputs: Its outputs, in the order it gives them.
        loss: The loss that it was compiled with, in words; empty where it was not.
        from_text: Name of the layer that turns its text into ids; empty where it takes none.
    """

    inputs: tuple[InputFacts, ...]
    outputs: tuple[OutputFacts, ...]
    loss: str = ""
    from_text: str = ""

    @property
    def copies_input(self) -> bool:
        """Whether its one output has the shape of its one input, as an autoencoder's has."""
        if len(self.inputs) != 1 or len(self.outputs) != 1 or "categorical" in (self.outputs[0].loss or ""):
            return False
        [wanted], [given] = self.inputs, self.outputs
        return wanted.shape == given.shape and wanted.shape not in ((), (1,)) and wanted.dtype.startswith("float")


def facts_of(model: Any) -> ModelFacts:
    """Looks at a Keras 3 model.

    Raises:
        ModelError: It takes text in a way that no `.tflite` can follow.
    """
    from tfopt.models import signature
    from tfopt.models.preparation import preparation

    prepared = preparation(model)
    inputs = tuple(
        InputFacts(tensor.name, tuple(tensor.shape[1:]), str(tensor.dtype), prepared.get(tensor.name, ()))
        for tensor in getattr(model, "inputs", None) or ()
    )
    return ModelFacts(
        inputs,
        _outputs(model, signature.output_shapes(model)),
        _loss_in_words(model),
        _text_layer(model, inputs),
    )


def _outputs(model: Any, shapes: dict[str, Shape]) -> tuple[OutputFacts, ...]:
    from tfopt.models.last_activation import last_activation
    from tfopt.training.label_checks import loss_name, losses_by_output

    own = getattr(model, "loss", None)
    losses = losses_by_output(model, own) if own is not None and shapes else {}
    return tuple(
        OutputFacts(name, shape, last_activation(model, number), loss_name(losses.get(name)))
        for number, (name, shape) in enumerate(shapes.items())
    )


def _loss_in_words(model: Any) -> str:
    from tfopt.training.label_checks import loss_name, losses_by_output

    loss = getattr(model, "loss", None)
    if loss is None:
        return ""
    if not isinstance(loss, dict | list | tuple):
        return loss_name(loss) or type(loss).__name__
    named = losses_by_output(model, loss)
    return ", ".join(f"{loss_name(one) or type(one).__name__} of {name}" for name, one in named.items())


def _text_layer(model: Any, inputs: tuple[InputFacts, ...]) -> str:
    """The layer that turns the text of a model's one input into ids; empty where the model takes none.

    Raises:
        ModelError: The model takes text besides other inputs, or by other means than one `TextVectorization`.
    """
    from tfopt.models.layers import walk

    if not any(one.is_text for one in inputs):
        return ""
    found = [place for place in walk(model) if type(place.layer).__name__ == "TextVectorization"]
    if len(inputs) == len(found) == 1 and not found[0].above:
        return str(found[0].layer.name)
    texts = ", ".join(one.name for one in inputs if one.is_text)
    raise ModelError(
        f"the model takes text ({texts}), which no .tflite does, and it is not one TextVectorization behind its only "
        "input that turns it into ids. Give the part of the model behind that.",
        ("model",),
    )
