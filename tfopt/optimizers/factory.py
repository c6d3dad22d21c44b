"""An optimizer from its name and arguments, its learning rate fixed or a schedule.

The classic family has names of its own, for Keras's `SGD`. With weights `w`, the gradient `g` of the mean loss of a
batch, a learning rate `a` and a momentum `b`:

    gradient_descent                w = w - a g              the batch is the whole training split
    stochastic_gradient_descent     w = w - a g              the batch is one sample
    mini_batch_gradient_descent     w = w - a g              the batch is some samples, 32 if not given
    momentum                        v = b v - a g            w = w + v
    nesterov                        v = b v - a g            w = w + b v - a g

References:
    Cauchy, Méthode générale pour la résolution des systèmes d'équations simultanées, C. R. Acad. Sci. 25 (1847).
    Robbins and Monro, A stochastic approximation method, Ann. Math. Stat. 22 (1951).
    Polyak, Some methods of speeding up the convergence of iteration methods, USSR Comput. Math. Math. Phys. 4 (1964).
    Nesterov, A method for solving a convex programming problem with convergence rate O(1/k^2), Dokl. 27 (1983), in the
    form of Sutskever et al., On the importance of initialization and momentum in deep learning, ICML 2013.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, Literal

import keras

from tfopt.errors import InputError, did_you_mean
from tfopt.optimizers.adahessian import AdaHessian
from tfopt.optimizers.newton_cg import NewtonCG
from tfopt.optimizers.proximal import ProximalAdam, ProximalSGD
from tfopt.optimizers.sam import SAM
from tfopt.optimizers.schedules import OneCycle

SCHEDULES = {
    "exponential": keras.optimizers.schedules.ExponentialDecay,
    "cosine": keras.optimizers.schedules.CosineDecay,
    "piecewise": keras.optimizers.schedules.PiecewiseConstantDecay,
    "one_cycle": OneCycle,
}
# What Keras lacks.
OWN = {
    "adahessian": AdaHessian,
    "newton_cg": NewtonCG,
    "proximal_adam": ProximalAdam,
    "proximal_sgd": ProximalSGD,
    "sam": SAM,
}
# Names for Keras's SGD: the arguments that they stand for.
FAMILY: dict[str, dict[str, Any]] = {
    "gradient_descent": {},
    "stochastic_gradient_descent": {},
    "mini_batch_gradient_descent": {},
    "momentum": {"momentum": 0.9},
    "nesterov": {"momentum": 0.9, "nesterov": True},
}
# The batches that a name stands for.
BATCHES: dict[str, int | Literal["full"]] = {"gradient_descent": "full", "stochastic_gradient_descent": 1}
# Wrappers, and the base class: an optimizer by name is one that stands alone.
_NOT_ALONE = {"Optimizer", "LossScaleOptimizer", "MultiOptimizer"}


def optimizer_classes() -> dict[str, Any]:
    """Every optimizer by its name in a recipe: those of this Keras, as `keras.optimizers.get` knows them, and tfopt's.

    A name of the classic family stands for Keras's `SGD`.
    """
    found = inspect.getmembers(keras.optimizers, inspect.isclass)
    keras_own = {
        name.lower(): cls
        for name, cls in found
        if name not in _NOT_ALONE and issubclass(cls, keras.optimizers.Optimizer)
    }
    return {**dict.fromkeys(FAMILY, keras.optimizers.SGD), **keras_own, **OWN}


def named(spec: Any) -> str | None:
    """The name in what a recipe says of an optimizer, in lower case; None for an object."""
    name = next(iter(spec)) if isinstance(spec, Mapping) and spec else spec
    return name.lower() if isinstance(name, str) else None


def build_optimizer(spec: Any, total_steps: int) -> keras.optimizers.Optimizer:
    """A fresh optimizer.

    Args:
        spec: A name (`adam`), `{name: {argument: value}}`, or an optimizer object, which is copied. A learning rate may
            be `{exponential | cosine | piecewise | one_cycle: {argument: value}}` with the arguments of the schedule;
            the `optimizer` within `sam` is another such spec.
        total_steps: Length of the training; a schedule's `decay_steps` if it names none.

    Raises:
        InputError: An unknown name or argument, or a value that Keras refuses.
    """
    return _build(spec, total_steps, ("optimizer",))


def _build(spec: Any, total_steps: int, field: tuple[str, ...]) -> keras.optimizers.Optimizer:
    if isinstance(spec, keras.optimizers.Optimizer):
        return type(spec).from_config(spec.get_config())
    if not isinstance(spec, str) and (not isinstance(spec, Mapping) or len(spec) != 1):
        raise InputError(f"an optimizer is a name, or one name with its arguments. Received: {spec!r}.", field)
    name, arguments = (spec, {}) if isinstance(spec, str) else next(iter(spec.items()))
    classes, known = optimizer_classes(), str(name).lower()
    if known not in classes:
        raise InputError(f"there is no optimizer {name!r}. {did_you_mean(known, classes)}", field)
    cls, inside = classes[known], (*field, name)
    arguments = {**FAMILY.get(known, {}), **(arguments or {})}
    if cls is SAM and "learning_rate" in arguments:
        raise InputError(
            "the learning rate is the inner optimizer's: sam: {optimizer: {adam: {learning_rate: ...}}}.",
            (*inside, "learning_rate"),
        )
    if cls is SAM:
        arguments["optimizer"] = _build(arguments.get("optimizer", "adam"), total_steps, (*inside, "optimizer"))
    rate = arguments.get("learning_rate")
    if isinstance(rate, Mapping):
        arguments["learning_rate"] = _schedule(rate, total_steps, (*inside, "learning_rate"))
    elif isinstance(rate, int | float):
        if rate <= 0:
            raise InputError(f"a learning rate is above 0. Received: {rate}.", (*inside, "learning_rate"))
        arguments["learning_rate"] = float(rate)  # Keras takes no whole number
    return _construct(cls, arguments, inside)


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


def _arguments(cls: Any) -> list[str]:
    return [name for name in inspect.signature(cls).parameters if name != "kwargs"]


def _construct(cls: Any, arguments: Mapping[str, Any], field: tuple[str, ...]) -> Any:
    known = _arguments(cls)
    if cls in OWN.values() and "kwargs" in inspect.signature(cls).parameters:  # they pass on what every one takes
        known += [name for name in _arguments(keras.optimizers.SGD) if name not in ("momentum", "nesterov", *known)]
    for argument in arguments:
        if argument not in known:
            raise InputError(
                f"{field[-1]} has no argument {argument!r}. {did_you_mean(argument, known)}", (*field, argument)
            )
    try:
        return cls(**arguments)
    except InputError as error:
        raise InputError(f"{field[-1]}: {error}", (*field, *error.field)) from error
    except (TypeError, ValueError) as error:
        raise InputError(f"{field[-1]}: {str(error).splitlines()[0]}", field) from error
