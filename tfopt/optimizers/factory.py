"""A Keras optimizer from its name and arguments, its learning rate fixed or a schedule.

The optimizers and schedules are Keras's own; this file only finds them by name and names the mistakes.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import keras

from tfopt.errors import InputError
from tfopt.knobs import did_you_mean

SCHEDULES = {
    "exponential": keras.optimizers.schedules.ExponentialDecay,
    "cosine": keras.optimizers.schedules.CosineDecay,
    "piecewise": keras.optimizers.schedules.PiecewiseConstantDecay,
}
# Wrappers, and the base class: an optimizer by name is one that stands alone.
_NOT_ALONE = {"Optimizer", "LossScaleOptimizer", "MultiOptimizer"}


def optimizer_classes() -> dict[str, Any]:
    """Every optimizer of this Keras by its lower-case name, as `keras.optimizers.get` knows them."""
    found = inspect.getmembers(keras.optimizers, inspect.isclass)
    return {
        name.lower(): cls
        for name, cls in found
        if name not in _NOT_ALONE and issubclass(cls, keras.optimizers.Optimizer)
    }


def build_optimizer(spec: Any, total_steps: int) -> keras.optimizers.Optimizer:
    """A fresh optimizer.

    Args:
        spec: A name (`adam`), `{name: {argument: value}}`, or an optimizer object, which is copied. A learning rate may
            be `{exponential | cosine | piecewise: {argument: value}}` with the arguments of the Keras schedule.
        total_steps: Length of the training; a schedule's `decay_steps` if it names none.

    Raises:
        InputError: An unknown name or argument, or a value that Keras refuses.
    """
    if isinstance(spec, keras.optimizers.Optimizer):
        return type(spec).from_config(spec.get_config())
    if not isinstance(spec, str) and (not isinstance(spec, Mapping) or len(spec) != 1):
        raise InputError(f"an optimizer is a name, or one name with its arguments. Received: {spec!r}.", ("optimizer",))
    name, arguments = (spec, {}) if isinstance(spec, str) else next(iter(spec.items()))
    classes = optimizer_classes()
    if str(name).lower() not in classes:
        raise InputError(f"there is no optimizer {name!r}. {did_you_mean(str(name).lower(), classes)}", ("optimizer",))
    arguments = dict(arguments or {})
    if isinstance(arguments.get("learning_rate"), Mapping):
        arguments["learning_rate"] = _schedule(
            arguments["learning_rate"], total_steps, ("optimizer", name, "learning_rate")
        )
    rate = arguments.get("learning_rate")
    if isinstance(rate, int | float):
        if rate <= 0:
            raise InputError(f"a learning rate is above 0. Received: {rate}.", ("optimizer", name, "learning_rate"))
        arguments["learning_rate"] = float(rate)  # Keras takes no whole number
    return _construct(classes[str(name).lower()], arguments, ("optimizer", name))


def _schedule(spec: Mapping[str, Any], total_steps: int, field: tuple[str, ...]) -> Any:
    if "class_name" in spec:  # as Keras writes the schedule of an optimizer object
        return keras.optimizers.schedules.deserialize(dict(spec))
    if len(spec) != 1 or next(iter(spec)) not in SCHEDULES:
        raise InputError(
            f"a learning rate is a number or one of {', '.join(SCHEDULES)} with arguments. Received: {dict(spec)!r}.",
            field,
        )
    [(name, arguments)] = spec.items()
    arguments = dict(arguments or {})
    cls = SCHEDULES[name]
    if "decay_steps" in inspect.signature(cls).parameters:
        arguments.setdefault("decay_steps", max(total_steps - arguments.get("warmup_steps", 0), 1))
    schedule = _construct(cls, arguments, (*field, name))
    try:
        float(schedule(0))
    except Exception as error:  # TensorFlow raises errors of its own for a word in the place of a number
        raise InputError(
            f"the arguments of {name} are numbers. Received: {dict(arguments)!r}.", (*field, name)
        ) from error
    return schedule


def _construct(cls: Any, arguments: Mapping[str, Any], field: tuple[str, ...]) -> Any:
    known = [name for name in inspect.signature(cls).parameters if name != "kwargs"]
    for argument in arguments:
        if argument not in known:
            raise InputError(
                f"{field[-1]} has no argument {argument!r}. {did_you_mean(argument, known)}", (*field, argument)
            )
    try:
        return cls(**arguments)
    except (TypeError, ValueError) as error:
        raise InputError(f"{field[-1]}: {str(error).splitlines()[0]}", field) from error
