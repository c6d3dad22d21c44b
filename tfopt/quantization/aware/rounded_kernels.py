"""The kernels of a model on their grids, handed to its layers while they compute."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow as tf

from tfopt.quantization.aware.frame import Frame
from tfopt.quantization.aware.grids import KernelGrid
from tfopt.quantization.aware.observers import RangeObserver
from tfopt.quantization.aware.tensor_matching import Part


class RoundedKernels:
    """The kernels of a model, rounded once in each call of the model.

    Args:
        parts: All parts of the model.
        grids: The grids of its kernels.
        observer: The observer that rounds them.
    """

    def __init__(self, parts: Sequence[Part], grids: Sequence[KernelGrid], observer: RangeObserver):
        self._parts, self._observer = parts, observer
        self._grids: dict[int, list[KernelGrid]] = {}
        self._variables: dict[tuple[int, str], Any] = {}
        self._weights: dict[tuple[int, str], Any] = {}  # TensorFlow's variables, which no precision casts
        for grid in grids:
            self._grids.setdefault(grid.part, []).append(grid)
            variable = vars(parts[grid.part].computes)[grid.attribute]
            self._variables[grid.part, grid.attribute] = variable
            self._weights[grid.part, grid.attribute] = variable.value

    @contextlib.contextmanager
    def swapped(self, frame: Frame, part: Part) -> Iterator[None]:
        """Gives the layer its rounded kernels within the block; blocks of several replicas may overlap."""
        grids = self._grids.get(part.number, [])
        held = vars(part.computes)
        before = {grid.attribute: self._variables[part.number, grid.attribute] for grid in grids}
        for grid in grids:
            held[grid.attribute] = tf.cast(self._rounded(frame, grid), part.computes.compute_dtype)
        try:
            yield
        finally:
            held.update(before)

    def below(self, frame: Frame, part: Part) -> dict[tuple[int, str], Any]:
        """The rounded kernels of a part and of all parts below it."""
        for other in self._parts[1:]:
            if part.number == 0 or other.path == part.path or other.path.startswith(f"{part.path}/"):
                for grid in self._grids.get(other.number, []):
                    self._rounded(frame, grid)
        return dict(frame.kernels)

    def _rounded(self, frame: Frame, grid: KernelGrid) -> Any:
        name = (grid.part, grid.attribute)
        if name not in frame.kernels:
            with tf.name_scope(f"{frame.root}/grids/"):
                weights = tf.convert_to_tensor(self._weights[name].read_value())
                frame.kernels[name] = self._observer.kernel(grid, weights, frame.steps.get(name))
        return frame.kernels[name]
