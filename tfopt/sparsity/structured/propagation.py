"""How channels go through one layer: the table by layer class, open to layers of a user's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import keras

from tfopt.keras_private import all_layers
from tfopt.sparsity.structured.channel_ids import Channels, Ids

Count = Callable[[Ids], int]
Role = Literal["makes", "takes", "scales"]


@dataclass(frozen=True)
class Axis:
    """One axis of a weight that goes along channels.

    Args:
        variable: The weight.
        axis: Which of its axes.
        ids: The channel of each place along it.
        role: `makes`: the weight computes these channels. `takes`: it reads them. `scales`: it belongs to them, one
            value or one small kernel to each, as in a normalization or a depthwise convolution.
    """

    variable: Any
    axis: int
    ids: Ids
    role: Role


@dataclass(frozen=True)
class Flow:
    """What a layer does with channels.

    Args:
        outputs: The channels along the last axis of each output.
        axes: Its weights' axes.
        config: Changes the layer's config, given how many of any channels are left.
    """

    outputs: tuple[Ids, ...]
    axes: tuple[Axis, ...] = ()
    config: Callable[[dict[str, Any], Count], None] = field(default=lambda config, count: None)


@dataclass(frozen=True)
class Call:
    """One op at one place of a model.

    Args:
        operation: The layer, or another Keras operation.
        path: Its name, behind those of the models it lies in.
        inputs: The tensors it takes, symbolic.
        outputs: The tensors it gives.
        node: The Keras node.
    """

    operation: Any
    path: str
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]
    node: Any = None

    @property
    def kind(self) -> str:
        """The name of its class."""
        return type(self.operation).__name__


# Returns a sentence where the layer cannot be cut, or passed: all that it touches stays as it is.
Rule = Callable[[Call, Sequence[Ids], Channels], Flow | str]
# By the name of a Keras class, or by a class of a user's own.
TABLE: dict[str | type, Rule] = {}


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Enters a rule for layer classes, or Keras operations, by name."""

    def enter(function: Rule) -> Rule:
        TABLE.update(dict.fromkeys(names, function))
        return function

    return enter


def register(layer: type[keras.layers.Layer]) -> Callable[[Rule], Rule]:
    """Says how channels go through a layer class of one's own.

    The function takes the `Call`, the channels of each input, and the `Channels` that give new numbers, and returns a
    `Flow`.

    Example:
        ```python
        @register(MyDense)
        def my_dense(call, inputs, channels):
            out = channels.new(call.operation.units)
            kernel = call.operation.kernel
            axes = (Axis(kernel, 0, inputs[0], "takes"), Axis(kernel, 1, out, "makes"))
            return Flow((out,), axes, lambda config, count: config.update(units=count(out)))
        ```
    """

    def enter(function: Rule) -> Rule:
        TABLE[layer] = function
        return function

    return enter


def known_as(operation: Any) -> str | type | None:
    """The entry of the table for a layer or an operation: that of the nearest class that has one.

    None where there is none, or where the layer's own class computes something else.
    """
    cls: Any
    for cls in type(operation).__mro__:
        name = cls.__name__ if cls.__module__.startswith("keras.") else None
        if cls in TABLE or name in TABLE:
            known = cls if cls in TABLE else name
            return known if type(operation).call is cls.call else None
    return None


def flow_of(call: Call, inputs: Sequence[Ids], channels: Channels) -> Flow | str:
    """The flow through one op, or why there is none."""
    known = known_as(call.operation)
    if known is None:
        return "tfopt does not know how channels go through it"
    if getattr(call.operation, "data_format", "channels_last") == "channels_first":
        return "its channels are not the last axis"
    parts = all_layers(call.operation) if isinstance(call.operation, keras.Layer) else ()
    if any(getattr(part, "quantization_mode", None) or getattr(part, "lora_enabled", False) for part in parts):
        return "it is quantized or has LoRA weights"
    return TABLE[known](call, inputs, channels)


def set_count(**names: Ids) -> Callable[[dict[str, Any], Count], None]:
    """A change of config: each name gets the number of channels that are left."""

    def change(config: dict[str, Any], count: Count) -> None:
        config.update({name: count(ids) for name, ids in names.items()})

    return change


def axes(role: Role, ids: Ids, *pairs: tuple[Any, int]) -> tuple[Axis, ...]:
    """Axes of several weights along the same channels; weights that are None are left out."""
    return tuple(Axis(variable, axis, ids, role) for variable, axis in pairs if variable is not None)
