"""`ethos-u55-128` and its family: Arm's Ethos-U accelerators, for which Vela compiles a `.tflite`.

Their weights are compressed without loss where they are stored, so zeros and shared values pay in bytes and, where the
stream of weights is what takes the time, in cycles. Vela has no outputs to compare: they are checked on LiteRT.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata

from tfopt.recipe.device_cost import DeviceCost
from tfopt.recipe.export import Export
from tfopt.recipe.figure import Figure, by_name
from tfopt.recipe.target import Target
from tfopt.targets import vela
from tfopt.targets.ethos_u_weights import encoded_bytes
from tfopt.tflite.ops import facts_of

SOURCE = "Vela's estimate"
FIGURES = by_name(
    Figure("npu_milliseconds", "NPU time", "milliseconds", "time", "The time of a run by Vela's estimate."),
    Figure("total_cycles", "cycles", "cycles", "time", "Cycles with those that wait for memory.", column=False),
    Figure("npu_cycles", "cycles of the NPU's own", "cycles", "time", "The NPU's own cycles.", column=False),
    Figure("compiled_bytes", "compiled file", "bytes", "size", "The file that Vela compiles."),
    Figure(
        "encoded_weight_bytes", "encoded weights", "bytes", "size", "The weights as Vela encodes them.", column=False
    ),
    Figure("sram_bytes", "SRAM", "bytes", "activations", "The SRAM that the file takes."),
    Figure("dram_bytes", "DRAM", "bytes", "size", "The DRAM that the file takes, of systems with some.", column=False),
)
# Memory modes by what a system has at its second port, as Vela's Arm/vela.ini states it, whose modes are of no family.
# Flash is read alone, which Shared_Sram assumes ("the non-SRAM memory is assumed to be read-only"); Dedicated_Sram has
# the activations there too ("assumed to be read-writeable"), which takes DRAM: Vela refuses it with flash. Sram_Only
# uses the first port alone, which is SRAM in all systems.
_FLASH = ("Shared_Sram", "Sram_Only")


@dataclass(frozen=True)
class Family:
    """Accelerators of one generation.

    Args:
        name: The name without the number of multipliers, such as `ethos-u55`.
        macs: Multipliers for 8 bits of the accelerators that there are.
        systems: Memory modes by the name of the system configuration; of both the default is the first.
        patterns: The n of m weights in a row that they compute faster.
    """

    name: str
    macs: tuple[int, ...]
    systems: Mapping[str, tuple[str, ...]]
    patterns: tuple[tuple[int, int], ...] = ()

    @staticmethod
    def step(macs: int) -> int:
        """Output channels that the accelerator computes together: the depth of its smallest block."""
        return 4 if macs == 32 else 8

    @property
    def memories(self) -> tuple[str, ...]:
        """All memory modes."""
        return tuple(dict.fromkeys(memory for modes in self.systems.values() for memory in modes))


_U65_DRAM = ("Dedicated_Sram", "Shared_Sram", "Sram_Only")
_U85_DRAM = ("Shared_Sram", *(f"Dedicated_Sram_{size}KB" for size in (256, 384, 512)), "Sram_Only")
# Vela takes the system of another family without a word, and its figures are of no hardware then.
FAMILIES = (
    Family(
        "ethos-u55",
        (32, 64, 128, 256),
        {"Ethos_U55_High_End_Embedded": _FLASH, "Ethos_U55_Deep_Embedded": _FLASH},
    ),
    Family(
        "ethos-u65",
        (256, 512),
        {"Ethos_U65_High_End": _U65_DRAM, "Ethos_U65_Mid_End": _U65_DRAM, "Ethos_U65_Embedded": _FLASH},
    ),
    Family(
        "ethos-u85",
        (128, 256, 512, 1024, 2048),
        {
            "Ethos_U85_SYS_Flash_High": _FLASH,
            "Ethos_U85_SYS_Flash_Low": _FLASH,
            **{f"Ethos_U85_SYS_DRAM_{speed}": _U85_DRAM for speed in ("High", "Mid", "Low")},
        },
        patterns=((2, 4),),
    ),
)


def hardware(family: Family, accelerator: str, options: Mapping[str, str]) -> vela.Hardware:
    """The hardware that options choose, the defaults for those that are not given."""
    system = options.get("system", next(iter(family.systems)))
    return vela.Hardware(accelerator, system, options.get("memory", family.systems[system][0]))


def _target(family: Family, macs: int, rank: int) -> Target:
    name = f"{family.name}-{macs}"
    allow = f"allow the CPU: target: {{{name}: {{cpu: allow}}}}"

    def refusals(export: Export) -> Iterator[str]:
        options = export.target_options
        chosen = hardware(family, name, options)
        if chosen.memory not in family.systems[chosen.system]:
            able = " or ".join(family.systems[chosen.system])
            yield f"target {name} with system {chosen.system} has memory {able}. Received: {chosen.memory}"
        if export.batch == "any":
            yield f"target {name} takes no inputs that are resized. Give batch a number"
        if any(rule.to == "int4" for rule in export.rules):
            yield f"target {name} {vela.NO_INT4}. Let the rule lead to int8"
        if options.get("cpu") == "allow":
            return
        if export.io == "float32":
            yield f"target {name} leaves inputs and outputs in float to the CPU. Leave io out, or {allow}"
        if any(rule.to == "float" for rule in export.rules):
            yield f"target {name} leaves layers in float to the CPU. Let the rule lead to int16, or {allow}"

    def cost(content: bytes, export: Export) -> DeviceCost:
        chosen = hardware(family, name, export.target_options)
        made = vela.compiled(content, chosen)
        default = "" if {"system", "memory"} & set(export.target_options) else " (the defaults)"
        estimate = f"Vela {metadata.version(vela.DISTRIBUTION)}'s estimate"
        note = f"{estimate} for system {chosen.system}, memory {chosen.memory}{default}"
        way = "" if export.target_options.get("cpu") == "allow" else allow
        return DeviceCost(dict(made.figures), made.operators, made.content, (note,), way)

    return Target(
        name=name,
        about=f"Arm {family.name.replace('ethos-u', 'Ethos-U')}-{macs} NPU, by the compiler Vela",
        runs=lambda mode: mode.static and mode.weights == "int8",
        refusals=refusals,
        runs_op=lambda op, precision: facts_of(op).runs_on("ethos-u", precision),
        highest_precision="int16",
        cost=cost,
        options={"system": tuple(family.systems), "memory": family.memories, "cpu": ("refuse", "allow")},
        figures=FIGURES,
        source=SOURCE,
        package=vela.PACKAGE,
        distribution=vela.DISTRIBUTION,
        extra="ethos-u",
        suffix="vela",
        resizes=False,
        size="compiled_bytes",
        time="npu_milliseconds",
        coding=lambda export: encoded_bytes,
        channel_step=family.step(macs),
        patterns=family.patterns,
        refuses="modes in floating point, kernels of 4 bits, and operators that the CPU would run, unless cpu: allow",
        rank=rank,
    )


TARGETS_OF_FAMILIES = tuple(
    _target(family, macs, rank)
    for rank, (family, macs) in enumerate(((family, macs) for family in FAMILIES for macs in family.macs), 40)
)
