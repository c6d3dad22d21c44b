"""An optimizer from its name and arguments, its learning rate fixed or a schedule."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import keras

from tfopt.errors import InputError, did_you_mean
from tfopt.keras_private import names_from_start
from tfopt.optimizers.registry import OPTIMIZERS, OptimizerEntry
from tfopt.optimizers.schedules.registry import SCHEDULES


def known_optimizers() -> dict[str, OptimizerEntry]:
    """Every optimizer by its name in a recipe: Keras's, as `keras.optimizers.get` knows them, and the registry's."""
    found = inspect.getmembers(keras.optimizers, inspect.isclass)
    keras_own = [OptimizerEntry(name.lower(), cls) for name, cls in found if _stands_alone(cls)]
    return {**{entry.name: entry for entry in keras_own}, **OPTIMIZERS}


def _stands_alone(cls: type) -> bool:
    """Whether a class of Keras is an optimizer that needs no other: not the base class, nor a wrapper."""
    if not issubclass(cls, keras.optimizers.Optimizer) or cls is keras.optimizers.Optimizer:
        return False
    parameters = inspect.signature(cls).parameters.values()
    return all(p.default is not p.empty or p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters)


def build_optimizer(spec: Any, total_steps: int) -> keras.optimizers.Optimizer:
    """Builds a new optimizer.

    Args:
        spec: A name (`adam`), `{name: {argument: value}}`, or an optimizer object, which is copied. A learning rate may
            be `{name: {argument: value}}` of one of `SCHEDULES`; an inner optimizer, such as the `optimizer` of `sam`,
            is another such spec.
        total_steps: The steps of the training: a schedule's `decay_steps` if it names none.

    Raises:
        InputError: An unknown name or argument, or a value that Keras refuses.
    """
    with names_from_start():  # a file with an optimizer has the same bytes in a process of many
        return _build(spec, total_steps, ("optimizer",))


def _build(spec: Any, total_steps: int, field: tuple[str, ...]) -> keras.optimizers.Optimizer:
    if isinstance(spec, keras.optimizers.Optimizer):
        return type(spec).from_config(spec.get_config())
    if not isinstance(spec, str) and (not isinstance(spec, Mapping) or len(spec) != 1):
        raise InputError(f"an optimizer is a name, or one name with its arguments. Received: {spec!r}.", field)
    name, arguments = (spec, {}) if isinstance(spec, str) else next(iter(spec.items()))
    known = known_optimizers()
    if (entry := known.get(str(name).lower())) is None:
        raise InputError(f"there is no optimizer {name!r}. {did_you_mean(str(name).lower(), known)}", field)
    inside = (*field, name)
    arguments = {**entry.defaults, **(arguments or {})}
    if entry.inner and "learning_rate" in arguments:
        raise InputError(
            "the learning rate is the inner optimizer's: "
            f"{entry.name}: {{{entry.inner}: {{adam: {{learning_rate: ...}}}}}}.",
            (*inside, "learning_rate"),
        )
    if entry.inner and entry.inner in arguments:
        arguments[entry.inner] = _build(arguments[entry.inner], total_steps, (*inside, entry.inner))
    rate = arguments.get("learning_rate")
    if isinstance(rate, Mapping):
        arguments["learning_rate"] = _schedule(rate, total_steps, (*inside, "learning_rate"))
    elif isinstance(rate, int | float):
        if rate <= 0:
            raise InputError(f"a learning rate is above 0. Received: {rate}.", (*inside, "learning_rate"))
        arguments["learning_rate"] = float(rate)  # Keras takes no whole number
    return _construct(entry.make, arguments, inside)


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
    make = SCHEDULES[name].make
    if "decay_steps" in inspect.signature(make).parameters:
        arguments.setdefault("decay_steps", max(total_steps - arguments.get("warmup_steps", 0), 1))
    schedule = _construct(make, arguments, (*field, name))
    try:
        float(schedule(0))
    except Exception as error:  # TensorFlow raises errors of its own for a word in the place of a number
        raise InputError(
            f"the arguments of {name} are numbers. Received: {dict(arguments)!r}.", (*field, name)
        ) from error
    return schedule


def _arguments(make: Callable[..., Any]) -> list[str]:
    return [name for name in inspect.signature(make).parameters if name != "kwargs"]


def _construct(make: Callable[..., Any], arguments: Mapping[str, Any], field: tuple[str, ...]) -> Any:
    known = _arguments(make)
    if "kwargs" in inspect.signature(make).parameters:  # it takes the arguments of every Keras optimizer
        known += [name for name in _arguments(keras.optimizers.SGD) if name not in ("momentum", "nesterov", *known)]
    for argument in arguments:
        if argument not in known:
            raise InputError(
                f"{field[-1]} has no argument {argument!r}. {did_you_mean(argument, known)}", (*field, argument)
            )
    try:
        return make(**arguments)
    except InputError as error:
        raise InputError(f"{field[-1]}: {error}", (*field, *error.field)) from error
    except (TypeError, ValueError) as error:
        raise InputError(f"{field[-1]}: {str(error).splitlines()[0]}", field) from error
