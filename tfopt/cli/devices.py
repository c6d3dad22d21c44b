"""The command `devices`: the targets that files are made for, what each runs, refuses and measures on this machine."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tfopt.cli.answer import Answer, JsonOption
from tfopt.cli.completion import targets
from tfopt.cli.screen import open_console, print_json, print_line

if TYPE_CHECKING:
    from tfopt.recipe.target import Target


# Figures of a target that the list of all has.
SHOWN = 2


def devices(
    target: Annotated[
        str | None, typer.Argument(help="One target, for all that is known of it.", autocompletion=targets)
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the targets (`target: tflm`): what each runs and measures here, and what has to be installed for it."""
    from tfopt.recipe.target import TARGETS

    with Answer(as_json).errors():
        _check(target)
    if as_json:
        rows = [record(one) for name, one in TARGETS.items() if target in (None, name)]
        print_json({"targets": rows} if target is None else rows[0])
    elif target is None:
        _show_all(list(TARGETS.values()))
    else:
        _show(TARGETS[target])


def _check(name: str | None) -> None:
    from tfopt.errors import InputError, did_you_mean
    from tfopt.recipe.settings import either
    from tfopt.recipe.target import TARGETS, similar_targets

    if name is not None and name not in TARGETS:
        near = similar_targets(name)
        meant = f"Did you mean {either(map(repr, near))}?" if near else did_you_mean(name, TARGETS)
        raise InputError(f"there is no target {name!r}. {meant}")


def record(target: Target) -> dict[str, Any]:
    """What is known of a target, as JSON has it."""
    return {
        "name": target.name,
        "about": target.about,
        "modes": list(target.modes),
        "options": {name: list(values) for name, values in target.options.items()},
        "decodes": target.decodes,
        "refuses": target.refuses,
        "refuses_int4": _without_int4(target),
        "measures": list(target.figures),
        "source": target.source,
        "channel_step": target.channel_step,
        "patterns": [list(pattern) for pattern in target.patterns],
        "needs": f"tfopt[{target.extra}]" if target.extra else None,
        "installed": target.installed,
    }


def _show_all(targets: list[Target]) -> None:
    from rich.table import Table

    rows = _families(targets)
    table = Table()
    table.add_column("target", width=max(len(name) for name, _, _ in rows))
    table.add_column("modes")
    table.add_column("measures here")
    for name, about, one in rows:
        table.add_row(f"{name}\n{about}", ", ".join(one.modes), _measured(one))
    console = open_console()
    console.print(table, markup=False)
    print_line(console, "All that is known of one: tfopt devices NAME")


def _families(targets: Sequence[Target]) -> list[tuple[str, str, Target]]:
    """The rows of the list: name, what it is, and one of the targets.

    Targets whose names differ in the number at their end alone, and nothing else that the list shows, are one row:
    `ethos-u55-{32,64,128,256}`.
    """

    def shown(target: Target) -> tuple[str, str, tuple[str, ...], str]:
        stem, dash, number = target.name.rpartition("-")
        if not (dash and number.isdigit()):
            return target.name, target.about, (), ""
        return stem, target.about.replace(f"-{number}", ""), target.modes, _measured(target)

    rows = []
    for (stem, about, *_), group in itertools.groupby(targets, shown):
        members = list(group)
        numbers = ",".join(one.name.removeprefix(f"{stem}-") for one in members)
        several = len(members) > 1
        name, what = (f"{stem}-{{{numbers}}}", about) if several else (members[0].name, members[0].about)
        rows.append((name, what, members[0]))
    return rows


def _measured(target: Target) -> str:
    """The figures that can be had on this machine, or what has to be installed for them."""
    if not target.installed:
        return f"pip install 'tfopt[{target.extra}]'"
    figures = list(target.figures)
    more = f" and {len(figures) - SHOWN} more" if len(figures) > SHOWN else ""
    return ", ".join(figures[:SHOWN]) + more or "the time on LiteRT"


def _without_int4(target: Target) -> list[str]:
    """The ops of which the quantizer makes kernels of 4 bits and the target takes none."""
    from tfopt.tflite.ops import OPS

    able = [name for name, facts in OPS.items() if facts.int4 == "any"]
    return [name for name in able if not target.runs_op(name, "int4")]


def _show(target: Target) -> None:
    console = open_console()
    lines = [("", target.about), ("modes", ", ".join(target.modes)), ("refuses", target.refuses)]
    lines += [("not in int4", ", ".join(_without_int4(target)))]
    for name, (default, *others) in target.options.items():
        lines += [(name, " or ".join([f"{default} (if not given)", *others]))]
    for name, (_, other, *_) in itertools.islice((one for one in target.options.items() if len(one[1]) > 1), 1):
        lines += [
            ("written", f"target: {{{target.name}: {{{name}: {other}}}}}, or --target {target.name}:{name}={other}")
        ]
    lines += [("decodes", "decode: true stores kernels in fewer bytes, decoded at every run")] if target.decodes else []
    source = f" ({target.source})" if target.source else ""
    lines += [("measures", (", ".join(target.figures) or "the time on LiteRT, by the stage benchmark") + source)]
    if target.cost is not None:
        limits = f"{{target: {target.name}, within: {{{next(iter(target.figures))}: ...}}}}"
        lines += [("limits", f"search: {limits}, or any other figure that it measures")]
        lines += [("channels", f"computed {target.channel_step} at a time: prune_channels rounds to them")]
    lines += [("faster", f"{n} of every {m} weights in a row: prune: {{keep: [{n}, {m}]}}") for n, m in target.patterns]
    if target.extra:
        state = "is installed" if target.installed else "is NOT installed"
        lines += [("needs", f"pip install 'tfopt[{target.extra}]', which {state} here")]
    for name, text in lines:
        if text:
            print_line(console, f"{name or target.name:<14} {text}")
