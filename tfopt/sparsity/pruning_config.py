"""The settings of magnitude pruning, for the stage and the callback: their defaults, descriptions and checks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, ValidationInfo, WithJsonSchema, field_validator, model_validator

from tfopt.recipe.settings import OneOf, Patterns, Settings
from tfopt.sparsity.allocations import ALLOCATIONS
from tfopt.sparsity.schedules import SCHEDULES, SparsitySchedule

# The JSON schema of a sparsity.
_SHARE_SCHEMA = WithJsonSchema({"type": "number", "minimum": 0, "exclusiveMaximum": 1})


class _Schedule(OneOf):
    """The name of a schedule, or a TF-MOT `PruningSchedule` object."""

    def check(self, value: Any) -> Any:
        return super().check(value) if isinstance(value, str) else _check_object(value)


def _check_object(schedule: Any) -> Any:
    from tfopt.sparsity.schedules.iterative import IterativeSparsity
    from tfopt.sparsity.tfmot import tfmot

    if not isinstance(schedule, tfmot().PruningSchedule | IterativeSparsity):
        raise ValueError(
            f"schedule is {', '.join(map(repr, SCHEDULES))} or a TF-MOT PruningSchedule "
            f"(tfopt.sparsity.polynomial_decay makes one). Received: schedule={schedule!r}"
        )
    return schedule


class PruneRule(Settings):
    """A sparsity for the layers that a pattern chooses."""

    layers: Patterns = Field(min_length=1)
    """Layer patterns: paths, names or classes."""
    sparsity: Annotated[float, _SHARE_SCHEMA]
    """The fraction of zeros to reach in each of their kernels, 0-1; 0 keeps them dense."""

    @field_validator("sparsity")
    @classmethod
    def _is_a_share(cls, sparsity: float, info: ValidationInfo) -> float:
        if not 0 <= sparsity < 1:
            layers = ", ".join(info.data.get("layers", ()))
            raise ValueError(f"a rule's sparsity is at least 0 and below 1. Received: {layers}: {sparsity}")
        return sparsity


class PruningConfig(Settings):
    """Settings of magnitude pruning: sparsity, kernels, schedule and pattern."""

    kind: ClassVar[str] = "pruning"

    sparsity: Annotated[float, _SHARE_SCHEMA] | None = None
    """The fraction of zeros to reach, 0-1: in each kernel, or in all together that have no rule where `allocation` says
    so. Left out with `keep`, which sets it."""
    allocation: Annotated[str, OneOf(ALLOCATIONS)] = "uniform"
    """How the zeros are shared out among the kernels."""
    rules: tuple[PruneRule, ...] = Field((), examples=[[{"layers": "head", "sparsity": 0.5}]])
    """Sparsities of single layers, such as {layers: head, sparsity: 0.5}; a later rule wins, and all win over
    `allocation`."""
    block: tuple[int, int] | None = Field(None, examples=[[1, 4]])
    """Rows and columns of blocks that are pruned as a whole, such as [1, 4]; single weights if not given."""
    block_pooling: Literal["average", "max"] = "average"
    """How a block is scored: by the mean of its magnitudes, or by the largest."""
    keep: tuple[int, int] | None = Field(None, examples=[[2, 4]])
    """[2, 4] keeps two of every four weights in a row along a kernel's inputs; made once, at `begin`."""
    schedule: Annotated[Any, _Schedule(SCHEDULES)] = "polynomial"
    """When masks are made, and at which sparsity."""
    initial_sparsity: float = Field(0.0, ge=0, lt=1)
    """Where the polynomial schedule starts, 0-1."""
    power: float = Field(3.0, gt=0)
    """The exponent of the polynomial schedule."""
    begin: int | float = Field(0.0, ge=0)
    """The first step that prunes: a whole number is a step, a fraction 0.0-1.0 a share of the training."""
    end: int | float = Field(0.75, ge=0)
    """The last step that makes new masks, the same way; the rest of the training recovers."""
    frequency: int | None = Field(None, ge=1)
    """Steps between mask updates; a twentieth of the way, at most 100, if not given."""
    rounds: int | None = Field(None, json_schema_extra={"minimum": 1})
    """How many prunings the iterative schedule has."""
    rewind: Literal["weights", "learning_rate"] | None = None
    """For one_shot and iterative: what goes back to `rewind_to` after each pruning. weights: those that stay, and the
    optimizer. learning_rate: the optimizer's schedule alone."""
    rewind_to: int | float = Field(0, ge=0)
    """Where rewinding goes back to, as a step or a share of the training."""
    only: Patterns = ()
    """Layer patterns (path, name or class); empty means every layer of a class that TF-MOT prunes and that trains."""
    skip: Patterns = ()
    """Layer patterns to leave dense."""
    prunable: dict[str, Patterns] = Field({}, examples=[{"MyDense": ["matrix"]}])
    """For layers of your own: names of the weights to prune by layer pattern, such as {MyDense: [matrix]}."""

    @property
    def schedule_kind(self) -> SparsitySchedule | None:
        """The kind of schedule; None for a schedule object."""
        if self.keep:  # n of every m weights are a fixed sparsity, so there is nothing to ramp up
            return SCHEDULES["one_shot"]
        return SCHEDULES[self.schedule] if isinstance(self.schedule, str) else None

    @field_validator("sparsity")
    @classmethod
    def _is_a_share(cls, sparsity: float | None) -> float | None:
        if sparsity is not None and not 0 <= sparsity < 1:
            raise ValueError(
                f"the fraction of zeros to reach is at least 0 and below 1, such as 0.8 for 80%. Received: {sparsity!r}"
            )
        return sparsity

    @field_validator("begin", "end", "rewind_to")
    @classmethod
    def _is_a_point(cls, point: int | float, info: ValidationInfo) -> int | float:
        if isinstance(point, float) and point > 1:
            raise ValueError(
                f"{info.field_name} is a step number (int) or a fraction of the training (float, 0-1). "
                f"Received: {point}"
            )
        return point

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        kind = self.schedule_kind
        if kind is None:
            self._check_beside_object()
        elif (self.sparsity is None) == (self.keep is None):
            raise ValueError(
                f"{self.kind} takes sparsity, the fraction of zeros, or keep, such as [2, 4]. Write one of them"
            )
        for why, names in self._unused(kind):
            for name in names:
                if self._is_given(name):
                    raise ValueError(f"{name} means nothing {why}. Leave it out")
        if kind is not None:
            self._check_required(kind)
        if self.rounds is not None and self.rounds < 1:
            raise ValueError(f"rounds is a number of prunings, at least 1. Received: rounds={self.rounds}")
        if self.rewind and not (kind and kind.rewinds):
            able = " or ".join(repr(other.name) for other in SCHEDULES.values() if other.rewinds)
            raise ValueError(f"rewind goes with schedule {able}. Leave it out, or write one of these")
        if self.sparsity is not None and self.initial_sparsity > self.sparsity:
            raise ValueError(
                f"initial_sparsity lies between 0 and sparsity. Received: initial_sparsity={self.initial_sparsity}, "
                f"sparsity={self.sparsity}"
            )
        return self

    def _is_given(self, name: str) -> bool:
        return bool(getattr(self, name) != type(self).model_fields[name].default)

    def _check_beside_object(self) -> None:
        names = ("sparsity", "begin", "end", "frequency", "initial_sparsity", "power", "rounds")
        if given := [name for name in names if self._is_given(name)]:
            raise ValueError(
                "a schedule object says sparsity, begin, end and frequency itself: leave one or the other out. "
                f"Received: {', '.join(f'{name}={getattr(self, name)}' for name in given)}"
            )

    def _unused(self, kind: SparsitySchedule | None) -> Iterator[tuple[str, tuple[str, ...]]]:
        """The settings that another setting makes meaningless, with the reason."""
        if self.keep:
            yield "with keep", ("allocation", "rules", "block", "rounds", "end", "frequency")
            yield "with keep", ("schedule",) if self.schedule != "one_shot" else ()
        if not self.block:
            yield "without block", ("block_pooling",)
        if not self.rewind:
            yield "without rewind", ("rewind_to",)
        if kind is None:
            return
        for name in sorted({name for other in SCHEDULES.values() for name in other.own} - {*kind.own}):
            owners = (other.name for other in SCHEDULES.values() if name in other.own)
            yield f"without schedule: {' or '.join(owners)}", (name,)
        yield f"with schedule: {kind.name}", kind.ignores

    def _check_required(self, kind: SparsitySchedule) -> None:
        for name in sorted({name for other in SCHEDULES.values() for name in other.required}):
            if (name in kind.required) == (getattr(self, name) is None):
                words = " or ".join(repr(other.name) for other in SCHEDULES.values() if name in other.required)
                raise ValueError(f"{name} goes with schedule {words}, and {words} with {name}. Write both or neither")
