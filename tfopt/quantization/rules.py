"""Precision rules by layer pattern, resolved to a precision for each op of a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from tfopt.errors import ModelError
from tfopt.models.layers import LayerRef, matching
from tfopt.quantization.float_conversion import FloatModel
from tfopt.quantization.quantizer import supports
from tfopt.recipe.artifact import Skipped
from tfopt.recipe.export import Rule
from tfopt.recipe.modes import MODES


@dataclass
class PrecisionAssignment:
    """A precision or a rounding for each op that some rule reaches.

    Args:
        precisions: Precision by op number in the float file.
        roundings: Rounding of the kernel by op number.
        skipped: Ops of a chosen layer without a form at the rule's precision.
    """

    precisions: dict[int, str] = field(default_factory=dict)
    roundings: dict[int, str] = field(default_factory=dict)
    skipped: tuple[Skipped, ...] = ()


def resolve(rules: Sequence[Rule], source: FloatModel, mode: str) -> PrecisionAssignment:
    """Assigns a precision to each op that a rule reaches; of several rules the last one decides.

    Raises:
        ModelError: A pattern matches no layer, chooses layers that have no op of their own in the file, or asks for a
            precision that none of their ops has.
    """
    result = PrecisionAssignment()
    refused: dict[int, Skipped] = {}
    for number, rule in enumerate(rules):
        for pattern in rule.layers:
            try:
                if rule.rounding is not None:
                    result.roundings.update(dict.fromkeys(_kernels(pattern, source), rule.rounding))
                if rule.to is None:
                    continue
                reached, left = _reach(pattern, rule.to, source, mode)
            except ModelError as error:
                error.field = ("rules", number, "layers")
                raise
            result.precisions.update(dict.fromkeys(reached, rule.to))
            refused.update(left)
            for index in reached:
                refused.pop(index, None)
    result.skipped = tuple(refused.values())
    return result


def _kernels(pattern: str, source: FloatModel) -> list[int]:
    """The ops with a kernel of the layers that a pattern chooses."""
    chosen = matching(source.places, pattern, "rules")
    own = [i for i, places in enumerate(source.owners) if any(place in places for place in chosen)]
    found = [i for i in own if source.ops[i].kernels and source.ops[i].facts.windows]
    if not found:
        raise ModelError(
            f"the rule {pattern!r} rounds nothing: {_names(chosen)} {_are(chosen)} without a kernel that can be "
            "rounded. Leave it out."
        )
    return found


def _reach(pattern: str, to: str, source: FloatModel, mode: str) -> tuple[list[int], dict[int, Skipped]]:
    """The ops that a pattern gives a precision, and those without a form at it."""
    chosen = matching(source.places, pattern, "rules")
    own = [i for i, places in enumerate(source.owners) if any(place in places for place in chosen)]
    own = [i for i in own if not source.ops[i].facts.border]
    if not own:
        raise ModelError(
            f"the rule {pattern!r} -> {to} reaches no op: {_names(chosen)} {_are(chosen)} {_folded(chosen, source)}."
        )
    # Where only kernels are quantized, ops without one stay as they are.
    kernels_alone = to == "int4" or not MODES[mode].static
    wanted = [i for i in own if source.ops[i].kernels] if kernels_alone else own
    able = [i for i in wanted if supports(source.ops[i], mode, to)]
    unable = [i for i in wanted if i not in able]
    recurrent = [i for i in unable if source.ops[i].facts.recurrent]
    if not able or (recurrent and not any(source.ops[i].kernels for i in able)):
        kinds = ", ".join(dict.fromkeys(source.ops[i].name for i in recurrent or unable or own))
        raise ModelError(
            f"the rule {pattern!r} -> {to} would change nothing: the quantizer has no {to} form of {kinds} in mode "
            f"{mode}. Leave {_names(chosen)} out, or take another precision."
        )
    reason = f"a rule asks for {to}, which the quantizer does not have for it, so it is as the mode makes it"
    return able, {i: Skipped(f"{source.ops[i].name} {_where(source, i)}", reason) for i in unable}


def _where(source: FloatModel, index: int) -> str:
    return source.ops[index].outputs[0].name


def _names(places: Sequence[LayerRef]) -> str:
    paths = [place.path for place in places]
    return ", ".join(paths[:3]) + (f" and {len(paths) - 3} more" if len(paths) > 3 else "")


def _folded(chosen: Sequence[LayerRef], source: FloatModel) -> str:
    """Where layers without an op of their own went, and the way out."""
    hosts = {
        place.path
        for op, owners in zip(source.ops, source.owners, strict=True)
        for name in (tensor.name for tensor in op.outputs)
        if any(part.startswith(f"{place.path}/") for place in chosen for part in name.split(";"))
        for place in owners
    }
    if hosts:
        return f"folded into the op of {', '.join(sorted(hosts))}. Name that"
    return "folded into the ops of other layers, or nothing at inference. Name the layer with the kernel"


def _are(places: Sequence[LayerRef]) -> str:
    return "is" if len(places) == 1 else "are"
