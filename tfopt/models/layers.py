"""The layers of a Keras model with their paths, the kernels they own, and the patterns that choose among them.

A pattern is a shell pattern (`fnmatch`): it chooses a layer if it matches the layer's path (`encoder/conv2d`), its
name, its class (`Conv2D`), or the same of a layer that it lies in. Operations of functional models that are no layers
(`keras.ops.log` called between them) have names and paths as layers do.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, TypeVar

import keras

from tfopt.errors import InputError, ModelError, did_you_mean
from tfopt.keras_private import direct_layers

# Names that TensorFlow takes for scopes.
_NAME = re.compile(r"[A-Za-z0-9_.\\/>-]*")
T = TypeVar("T")
# A value by layer pattern, or pairs of patterns and their value.
Rules = Mapping[str, T] | Sequence[tuple[Sequence[str], T]]

# The weights that TF-MOT prunes, by layer class (its PruneRegistry); Keras 3 has the recurrent ones on the cells.
PRUNABLE: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("Dense", "EinsumDense", "Conv1D", "Conv2D", "Conv3D"), ("kernel",)),
    **dict.fromkeys(("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"), ("kernel",)),
    **dict.fromkeys(("SeparableConv1D", "SeparableConv2D"), ("pointwise_kernel",)),
    **dict.fromkeys(("LSTMCell", "GRUCell", "SimpleRNNCell"), ("kernel", "recurrent_kernel")),
    "Embedding": ("embeddings",),
}
# Kernels that TF-MOT leaves alone unless asked: few weights, and every one of them counts.
ON_REQUEST: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("DepthwiseConv1D", "DepthwiseConv2D"), ("kernel",)),
    **dict.fromkeys(("SeparableConv1D", "SeparableConv2D"), ("pointwise_kernel", "depthwise_kernel")),
}


@dataclass(frozen=True)
class LayerRef:
    """A layer, or an operation between layers, and its path in a model.

    Args:
        path: The names from the model down to the layer, joined by `/`; the model itself is left out.
        layer: The Keras layer or `keras.Operation`.
        above: The layers that contain it, outermost first, without the model.
    """

    path: str
    layer: Any
    above: tuple[Any, ...] = ()

    def matches(self, pattern: str) -> bool:
        """Whether a pattern chooses this layer, by its own path, name or class or by those of a layer around it."""
        names = {type(owner).__name__ for owner in (*self.above, self.layer)}
        parts = self.path.split("/")
        names.update(parts, ("/".join(parts[:end]) for end in range(1, len(parts) + 1)))
        return any(fnmatchcase(name, pattern) for name in names)


@dataclass(frozen=True)
class Kernel:
    """One weight tensor of a layer.

    Args:
        place: The layer.
        attribute: Name of the layer's attribute that holds it, such as `kernel`.
        variable: The Keras variable.
    """

    place: LayerRef
    attribute: str
    variable: Any

    @property
    def path(self) -> str:
        """The layer's path and the attribute, such as `lstm/lstm_cell/recurrent_kernel`."""
        return f"{self.place.path}/{self.attribute}"


def walk(model: keras.Model) -> Iterator[LayerRef]:
    """Every layer below a model, nested ones included, each once (a shared layer at its first place)."""
    seen: set[int] = set()

    def below(owner: Any, path: str, above: tuple[Any, ...]) -> Iterator[LayerRef]:
        for layer in direct_layers(owner):
            if id(layer) in seen:
                continue
            seen.add(id(layer))
            here = f"{path}/{layer.name}" if path else layer.name
            yield LayerRef(here, layer, above)
            yield from below(layer, here, (*above, layer))

    return below(model, "", ())


def operations(model: keras.Model) -> Iterator[LayerRef]:
    """Every operation between the layers of a model or of a functional model in it, each once."""
    layers = list(walk(model))
    seen = {id(model), *(id(place.layer) for place in layers)}
    for owner, prefix, above in [
        (model, "", ()),
        *((place.layer, f"{place.path}/", (*place.above, place.layer)) for place in layers),
    ]:
        for operation in getattr(owner, "operations", ()):  # those of a functional model, its layers among them
            if id(operation) not in seen:
                seen.add(id(operation))
                yield LayerRef(f"{prefix}{operation.name}", operation, above)


def check_names(model: keras.Model) -> None:
    """Refuses names of a model and its layers that TensorFlow does not take.

    Keras would go on with half-opened name scopes after such a name, and misname the variables of all later models.

    Raises:
        ModelError: A name is not valid.
    """
    names = [("model", model.name), *(("layer", place.layer.name) for place in walk(model))]
    wrong = {
        name: what
        for what, name in names
        if not _NAME.fullmatch(name) or (what == "model" and name.startswith(("_", "\\", "/", ">", "-")))
    }
    if wrong:
        listed = ", ".join(map(repr, wrong))
        no_names = "is not a valid name" if len(wrong) == 1 else "are not valid names"
        renamed = f"Give the {next(iter(wrong.values()))} another." if len(wrong) == 1 else "Give them others."
        raise ModelError(
            f"{listed} {no_names} for TensorFlow, which takes the letters a to z, digits and _ . \\ / > -, and of a "
            f"model a letter or digit first. {renamed}"
        )


@contextlib.contextmanager
def call_replaced(layer: Any, call: Any, by: Any = None) -> Iterator[None]:
    """Replaces a layer's `call` for the length of the block, without Keras's `__setattr__`, which would track it.

    Args:
        layer: The layer.
        call: The new `call`; a function that is used for nothing else, as `by` is noted on it.
        by: The object that replaces it, for `replaced_by` to return; None to note nothing.
    """
    before = vars(layer).get("call")
    if by is not None:
        call.replaced_by = by
    object.__setattr__(layer, "call", call)
    try:
        yield
    finally:
        if before is None:
            object.__delattr__(layer, "call")
        else:
            object.__setattr__(layer, "call", before)


def replaced_by(layer: Any) -> Any:
    """The object that replaced a layer's `call`; None where none is noted."""
    return getattr(vars(layer).get("call"), "replaced_by", None)


@contextlib.contextmanager
def inputs_told(layers: Mapping[int, Any]) -> Iterator[list[tuple[int, Any]]]:
    """Collects what goes into layers in the block: a list of pairs of a key and the first argument, call by call.

    Args:
        layers: The layers by a key each.
    """
    told: list[tuple[int, Any]] = []

    def telling(key: int, own: Any) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            told.append((key, arguments[0] if arguments else named["inputs"]))
            return own(*arguments, **named)

        return call

    with contextlib.ExitStack() as stack:
        for key, layer in layers.items():
            stack.enter_context(call_replaced(layer, telling(key, layer.call)))
        yield told


def matching(
    places: Sequence[LayerRef], pattern: str, setting: str, between: Iterable[LayerRef] = ()
) -> list[LayerRef]:
    """The layers that a pattern matches.

    Args:
        places: The layers to choose from.
        pattern: A layer pattern.
        setting: Name of the setting that has the pattern, for the error.
        between: Operations between the layers, for a setting that is about weights, which they do not have.

    Raises:
        ModelError: The pattern matches no layer; the error names the layers there are.
    """
    chosen = [place for place in places if place.matches(pattern)]
    if not chosen:
        names = [place.path for place in places]
        named = next((place for place in between if place.matches(pattern)), None)
        if named is not None:
            raise ModelError(
                f"the pattern {pattern!r} of {setting!r} matches {named.path} ({type(named.layer).__name__}) alone, an "
                f"operation between layers, which has no weights. Name a layer. Layers: {', '.join(names)}.",
                (setting,),
            )
        near = did_you_mean(pattern, names)
        there = f"{near} " if near.startswith("Did") else ""
        raise ModelError(
            f"the pattern {pattern!r} of {setting!r} matches no layer. {there}Layers: {', '.join(names)}.", (setting,)
        )
    return chosen


def select(
    places: Sequence[LayerRef], only: Sequence[str] = (), skip: Sequence[str] = (), between: Sequence[LayerRef] = ()
) -> list[LayerRef]:
    """The layers that some pattern of `only` matches (all, where it is empty) and none of `skip`.

    Raises:
        ModelError: A pattern matches no layer; the error names the layers there are, and the operation in `between`
            that it does match.
    """
    for setting, patterns in (("only", only), ("skip", skip)):
        for pattern in patterns:
            matching(places, pattern, setting, between)
    chosen = [place for place in places if not only or any(place.matches(p) for p in only)]
    return [place for place in chosen if not any(place.matches(p) for p in skip)]


def as_rules(rules: Rules[T] | None) -> list[tuple[tuple[str, ...], T]]:
    """Rules as pairs of layer patterns and a number.

    Raises:
        InputError: `rules` is neither a mapping nor a sequence of pairs, or a value is not a number.
    """
    items = rules.items() if isinstance(rules, Mapping) else rules or ()
    try:
        pairs = [((key,) if isinstance(key, str) else tuple(key), value) for key, value in items]
        if all(isinstance(value, int | float) and not isinstance(value, bool) for _, value in pairs):
            return pairs
    except (TypeError, ValueError):
        pass
    raise InputError(f"rules is a dict of layer patterns and numbers, such as {{'head': 0}}. Received: {rules!r}.")


def by_rules(
    places: Sequence[LayerRef], rules: Sequence[tuple[Sequence[str], T]], between: Sequence[LayerRef] = ()
) -> list[T | None]:
    """The value of the last rule that matches each layer; None where none does.

    Raises:
        ModelError: A pattern matches none of the layers.
    """
    found: list[T | None] = [None] * len(places)
    for number, (patterns, value) in enumerate(rules):
        for pattern in patterns:
            try:
                chosen = matching(places, pattern, "rules", between)
            except ModelError as error:
                error.field = ("rules", number, "layers")
                raise
            found = [value if place in chosen else old for place, old in zip(places, found, strict=True)]
    return found


def prunable(place: LayerRef, asked: bool = False) -> list[Kernel]:
    """The weights of one layer that may be pruned.

    Args:
        place: The layer. One with a method `get_prunable_weights` (TF-MOT's `PrunableLayer`) decides itself.
        asked: Whether the user named the layer, which includes depthwise kernels.
    """
    layer = place.layer
    if hasattr(layer, "get_prunable_weights"):
        attributes = {
            id(value): key.lstrip("_") if getattr(layer, key.lstrip("_"), None) is value else key
            for key, value in vars(layer).items()
            if isinstance(value, keras.Variable)
        }
        return [Kernel(place, attributes.get(id(v), v.name), v) for v in layer.get_prunable_weights()]
    table = {**PRUNABLE, **(ON_REQUEST if asked else {})}
    for ancestor in type(layer).__mro__:
        if ancestor.__name__ in table:
            found = [(a, getattr(layer, a, None)) for a in table[ancestor.__name__]]
            return [Kernel(place, attribute, v) for attribute, v in found if isinstance(v, keras.Variable)]
    return []


def kernels(place: LayerRef) -> list[Kernel]:
    """The weights of one layer that a regularizer acts on: kernels of any kind, never biases or scales."""
    return [k for k in prunable(place, asked=True) if k.attribute != "embeddings"] or [
        Kernel(place, key, value)
        for key, value in ((key, getattr(place.layer, key, None)) for key in ("kernel", "depthwise_kernel"))
        if isinstance(value, keras.Variable)
    ]
