"""Conversions that tests look at without changing them, each made once."""

from dataclasses import replace

from tfopt.quantization.conversion import finish
from tfopt.quantization.preparation import prepare
from tfopt.quantization.unrolling import unroll_if_better
from tfopt.recipe.export import Export
from tfopt.recipe.modes import MODES


class Conversions:
    """What `prepare` and `convert_with_notes` give for models and their samples, which `models` gives by name.

    A model is converted to float once for all modes and rules, which is most of what a conversion costs.
    """

    def __init__(self, models):
        self._models = models
        self._floats, self._finished = {}, {}

    def prepared(self, name, mode="int8", **settings):
        """The float conversion."""
        export = Export(mode=mode, **settings)
        key = name, export.batch, export.sparse, export.recurrence if MODES[mode].fuses else "loop"
        if key not in self._floats:
            model, samples = self._models(name)
            self._floats[key] = prepare(model, export, samples)
        return replace(self._floats[key], export=export)

    def __call__(self, name, mode="int8", **settings):
        """The finished file with all that is said of it."""
        key = name, Export(mode=mode, **settings).model_dump_json()
        if key not in self._finished:
            ready = unroll_if_better(self.prepared(name, mode, **settings))
            self._finished[key] = finish(ready, ready.quantized())
        return self._finished[key]
