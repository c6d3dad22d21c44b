"""Channel propagation through one layer: the table of rules by layer class, open to a user's own layers."""

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
    """One axis of a weight that runs along channels.

    Args:
        variable: The weight.
        axis: Index of the axis.
        ids: Channel number of each index along the axis.
        role: `makes`: the weight computes these channels. `takes`: it reads them. `scales`: it belongs to them, one
            value or one small kernel to each, as in a normalization or a depthwise convolution.
    """

    variable: Any
    axis: int
    ids: Ids
    role: Role


@dataclass(frozen=True)
class Flow:
    """The channel flow through a layer.

    Args:
        outputs: Channel numbers along the last axis of each output.
        axes: The axes of its weights that run along channels.
        config: Changes the layer's config, given a function that counts the channels that are left.
    """

    outputs: tuple[Ids, ...]
    axes: tuple[Axis, ...] = ()
    config: Callable[[dict[str, Any], Count], None] = field(default=lambda config, count: None)


@dataclass(frozen=True)
class Call:
    """One call of an op in a model.

    Args:
        operation: The layer, or another Keras operation.
        path: Path of the op: the names of its nested models and its own.
        inputs: Symbolic input tensors.
        outputs: Symbolic output tensors.
        node: The Keras node.
    """

    operation: Any
    path: str
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]
    node: Any = None

    @property
    def kind(self) -> str:
        """The class name of the operation."""
        return type(self.operation).__name__


# Returns the reason where channels cannot be followed through the layer: then all that it touches stays.
Rule = Callable[[Call, Sequence[Ids], Channels], Flow | str]
# Keys are names of Keras classes, or classes of a user's own.
TABLE: dict[str | type, Rule] = {}


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Registers a rule for layer classes, or Keras operations, by name."""

    def enter(function: Rule) -> Rule:
        TABLE.update(dict.fromkeys(names, function))
        return function

    return enter


def register(layer: type[keras.layers.Layer]) -> Callable[[Rule], Rule]:
    """Registers a rule for a layer class of your own.

    The rule takes the `Call`, the channel numbers of each input, and the `Channels` that make new numbers, and returns
    a `Flow`.

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
    """The key of the table for a layer or an operation: that of the nearest class with a rule.

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
    """The channel flow through one op, or the reason why there is none."""
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
    """A change of config that sets each name to the number of its channels that are left."""

    def change(config: dict[str, Any], count: Count) -> None:
        config.update({name: count(ids) for name, ids in names.items()})

    return change


def axes(role: Role, ids: Ids, *pairs: tuple[Any, int]) -> tuple[Axis, ...]:
    """Axes of several weights along the same channels; weights that are None are left out."""
    return tuple(Axis(variable, axis, ids, role) for variable, axis in pairs if variable is not None)
