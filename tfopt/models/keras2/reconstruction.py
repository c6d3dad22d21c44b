"""A tf_keras model rebuilt from Keras 3 layers: every layer made anew, every call of the graph made again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tfopt.errors import ModelError
from tfopt.keras_private import own_variables
from tfopt.models.keras2.layer_config import (
    WAY_OUT,
    class_of,
    flat,
    inner,
    mapped,
    migrated_config,
    name_of,
    reason,
    refusal,
    tf_keras_library,
)


def rebuild(model: Any) -> Any:
    """The Keras 3 model of a tf_keras model, with its weights; whether it computes the same is for the caller to see.

    Args:
        model: A Sequential or functional tf_keras model.

    Raises:
        ModelError: Keras 3 does not have a layer, or a layer holds code.
    """
    rebuilding = _Rebuilding()
    made = rebuilding.network(model)
    rebuilding.copy_weights()
    return made


def check(model: Any) -> None:
    """Checks that the layers of a tf_keras model can be read.

    Raises:
        ModelError: `model` is not a model, is subclassed, or has no inputs yet.
    """
    tf_keras = tf_keras_library()

    name = f"{getattr(model, 'name', model)!r} ({type(model).__name__})"
    if not isinstance(model, tf_keras.Model):
        raise ModelError(f"{name} is a part of tf_keras, not a model. Give the model that has it.", ("model",))
    if not isinstance(model, tf_keras.Sequential) and not _is_functional(model):
        raise ModelError(
            f"the tf_keras model {name} is subclassed: its layers cannot be read from it. "
            "Build it from layers (Sequential or functional), or with `import keras`.",
            ("model",),
        )
    if not model.inputs:
        raise ModelError(f"the tf_keras model {name} has no inputs yet. Start it with an Input.", ("model",))


def _is_functional(model: Any) -> bool:
    tf_keras = tf_keras_library()

    functional = next((cls for cls in type(model).__mro__ if cls.__name__ == "Functional"), None)
    own = functional is None or getattr(type(model), "call", None) is not vars(functional)["call"]
    return not own and isinstance(model, tf_keras.Model) and bool(getattr(model, "_is_graph_network", False))


class _Rebuilding:
    """The rebuilding of one tf_keras model: each layer is rebuilt once, so that a shared one stays shared."""

    def __init__(self) -> None:
        self.pairs: dict[int, tuple[Any, Any]] = {}

    def network(self, old: Any) -> Any:
        """The Keras 3 model of a tf_keras model, with all calls made again in the order of the graph."""
        import keras

        tf_keras = tf_keras_library()

        check(old)
        tensors: dict[int, Any] = {}

        def entry(tensor: Any) -> Any:
            layer = tensor.node.layer
            if getattr(layer, "ragged", False) or getattr(layer, "sparse", False):
                raise refusal(layer, "takes ragged or sparse tensors. Give the model dense ones")
            dtype, name = tensor.dtype.name, name_of(layer)
            made = tensors[id(tensor)] = keras.Input(batch_shape=tuple(tensor.shape), dtype=dtype, name=name)
            return made

        if isinstance(old, tf_keras.Sequential):
            parts = [entry(old.inputs[0]), *map(self.layer, old.layers)]
            try:
                return keras.Sequential(parts, name=name_of(old))
            except Exception as error:
                raise refusal(old, f"does not run in Keras 3: {reason(error)}. {WAY_OUT}") from error
        inputs = mapped(old._nested_inputs, entry)
        for depth in sorted(old._nodes_by_depth, reverse=True):
            for node in old._nodes_by_depth[depth]:
                if not node.is_input:
                    self._call(node, tensors)
        outputs = mapped(old._nested_outputs, lambda tensor: tensors[id(tensor)])
        return keras.Model(inputs, outputs, name=name_of(old))

    def _call(self, node: Any, tensors: dict[int, Any]) -> None:
        import tensorflow as tf

        def known(value: Any) -> Any:
            if id(value) not in tensors and tf.is_tensor(value):
                raise refusal(node.layer, "is called with a constant tensor. Make that a weight of a layer")
            return tensors.get(id(value), value)

        new = self.layer(node.layer)
        args, kwargs = mapped(list(node.call_args), known), mapped(dict(node.call_kwargs), known)
        kwargs = {key: value for key, value in kwargs.items() if value is not None}
        recurrent = hasattr(node.layer, "cell") or hasattr(node.layer, "forward_layer")
        if recurrent and isinstance(args[0], list):  # Keras 2 puts the states behind the sequence
            args, kwargs["initial_state"] = [args[0][0]], args[0][1:]
        try:
            outputs = new(*args, **kwargs)
        except Exception as error:
            raise refusal(node.layer, f"does not run in Keras 3: {reason(error)}. {WAY_OUT}") from error
        tensors.update(zip(map(id, flat(node.outputs)), flat(outputs), strict=True))

    def layer(self, old: Any) -> Any:
        """The Keras 3 layer or model of a layer or nested model, made at its first call."""
        if id(old) not in self.pairs:
            self.pairs[id(old)] = old, self._made(old)
        return self.pairs[id(old)][1]

    def _made(self, old: Any) -> Any:
        tf_keras = tf_keras_library()

        if isinstance(old, tf_keras.Model):
            return self.network(old)
        cls, builtin = class_of(old)
        config = migrated_config(old, cls, builtin)
        held = {key: part for key, part in inner(old).items() if key in config}
        try:
            if not held:
                return cls.from_config(config)
            made = {key: mapped(part, self._part) for key, part in held.items()}
            return cls(**{**config, **made})
        except ModelError:
            raise
        except Exception as error:
            raise refusal(old, f"cannot be carried over to Keras 3: {reason(error)}. {WAY_OUT}") from error

    def _part(self, old: Any) -> Any:
        """A layer that a wrapper holds; only models become pairs, as Keras may copy a layer, which `_fill` finds."""
        tf_keras = tf_keras_library()

        return self.layer(old) if isinstance(old, tf_keras.Model) else self._made(old)

    def copy_weights(self) -> None:
        """Gives every rebuilt layer the weights of its original, each once.

        Raises:
            ModelError: A layer has other weights in Keras 3.
        """
        tf_keras = tf_keras_library()

        for old, new in self.pairs.values():
            if isinstance(old, tf_keras.Model):
                continue
            filled = list(_fill(old, new))
            if len(filled) != len(new.weights) or len(filled) != len(old.weights):
                counts = f"{len(old.weights)} weights, and {len(new.weights)} in Keras 3"
                raise refusal(old, f"has {counts}. {WAY_OUT}")
            if hasattr(new, "finalize_state"):
                new.finalize_state()  # Normalization computes with what it derives from its weights


def _fill(old: Any, new: Any) -> Iterator[int]:
    """Copies a layer's own weights and those of the layers in it; yields once for each."""
    import keras

    tf_keras = tf_keras_library()

    theirs = [*old._trainable_weights, *old._non_trainable_weights]
    mine = own_variables(new)
    by_name = {_leaf(weight): weight for weight in theirs}
    if len(by_name) == len(theirs) and by_name.keys() == {_leaf(weight) for weight in mine}:
        theirs = [by_name[_leaf(weight)] for weight in mine]  # else renamed, but in the order of build
    for weight, variable in zip(theirs, mine, strict=False):
        if tuple(weight.shape) != tuple(variable.shape):
            shapes = f"{tuple(weight.shape)}, and {tuple(variable.shape)} in Keras 3"
            raise refusal(old, f"has weights {variable.name!r} of shape {shapes}. {WAY_OUT}")
        variable.assign(weight.numpy())
        yield 1
    for attribute, part in vars(old).items():
        other = vars(new).get(attribute)
        parts, others = (value if isinstance(value, list | tuple) else [value] for value in (part, other))
        for one, two in zip(parts, others, strict=False):
            leaf = isinstance(one, tf_keras.layers.Layer) and isinstance(two, keras.layers.Layer)
            if leaf and one.weights:
                yield from (1 for _ in one.weights) if isinstance(one, tf_keras.Model) else _fill(one, two)


def _leaf(weight: Any) -> str:
    return weight.name.split(":")[0].split("/")[-1]
