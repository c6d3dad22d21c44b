"""How much computing a rounding is, estimated before it is done.

It is counted in multiply-adds of one processor core and turned into seconds by a fixed rate, never by a clock: what
fits in a budget is the same on every machine and every day, and so are the bytes of the file.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the methods, which recipes list, import no TensorFlow
    from tfopt.quantization.float_conversion import FloatModel
    from tfopt.quantization.rounding.plan import Plan, RoundedOp

# Multiply-adds of a large product that count as a second, of one core of a server of 2023.
PER_SECOND = 3e10
# What a call of NumPy, and the visit of one value by an elementwise one, are as multiply-adds.
CALL, PASS = 45_000, 6
# Rows of an op's inputs that moments are taken of, and those that a rounding learns on.
MOMENT_ROWS = 20_000


def gathered(groups: int) -> int:
    """The multiply-adds that the copy of one value out of a window of the inputs counts as, in groups of channels."""
    return 30 if groups == 1 else 150


def multiplied(groups: int) -> int:
    """Those that one counts as in products of so many groups: small ones are far slower than a large one."""
    return 1 if groups == 1 else 40


@dataclass(frozen=True)
class Work:
    """The work of choosing the kernels of a file, in multiply-adds.

    Args:
        fixed: Of the pass through both nets, the moments, and roundings that come to their end.
        learned: Of all steps of the roundings that learn in steps.
    """

    fixed: float
    learned: float

    def seconds(self, share: float = 1.0) -> float:
        """The seconds that it counts as.

        Args:
            share: The share of the steps that are taken, 0-1.
        """
        return (self.fixed + share * self.learned) / PER_SECOND

    def share(self, seconds: float) -> float:
        """The share of the steps that fits in so many seconds, 0-1; 0 where not even the rest does."""
        left = seconds * PER_SECOND - self.fixed
        if left < 0:
            return 0.0
        return min(left / self.learned, 1.0) if self.learned else 1.0


def work(source: FloatModel, plan: Plan, samples: int) -> Work:
    """The work of a plan.

    Args:
        source: The float file.
        plan: What is done to each op.
        samples: Number of samples.
    """
    fixed = learned = 0.0
    for ops in plan.by_kernel.values():
        sizes = [_size(source, op) for op in ops]
        groups, channels, columns, _ = sizes[0]
        rows = sum(size[-1] for size in sizes) * samples
        # Both nets compute all rows, and the mean of each column is taken of both.
        fixed += 2 * rows * groups * columns * (channels + gathered(1))
        if ops[0].fixed or ops[0].rounding.choose is None:
            continue
        seen = min(rows, MOMENT_ROWS)
        fixed += 2 * groups * seen * columns * (columns * multiplied(groups) + gathered(groups))
        fixed += 4 * groups * columns**3
        own = ops[0].rounding.work(groups, channels, columns) if ops[0].rounding.work else 0.0
        if ops[0].rounding.least_share < 1:
            fixed, learned = fixed + seen * groups * columns * channels, learned + own
        else:
            fixed += own
    return Work(fixed, learned)


def _size(source: FloatModel, op: RoundedOp) -> tuple[int, int, int, int]:
    """Groups, channels and columns of an op's kernel, and the rows that a sample has."""
    integers, output = op.grid.integers, source.ops[op.number].outputs[0]
    groups, channels, columns = op.columns.split(integers).shape
    return groups, channels, columns, max(math.prod(output.shape) // (groups * channels), 1)
