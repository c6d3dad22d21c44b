"""Stage `remove_dead`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from pydantic import Field

from tfopt.metrics import compare_outputs
from tfopt.recipe.artifact import Artifact, Skipped
from tfopt.recipe.details.training import ChannelRemoval
from tfopt.recipe.details.weights import WeightsByLayer
from tfopt.recipe.stage import Context, Stage
from tfopt.stages.scoring import check_metrics, test_metrics


class RemoveDead(Stage):
    """Removes the channels that give the same for every input, or that nothing reads, without a change of the outputs.

    What they add goes into the biases of the layers that read them. `scale_l1` and `group_lasso` of a stage that trains
    drive channels there.
    """

    kind: ClassVar[str] = "remove_dead"
    rank: ClassVar[int] = 6

    tolerance: float = Field(0.0, ge=0)
    """Weights of this magnitude and below count as zero; above 0 the outputs change a little."""

    def check(self, model: Any, context: Context) -> None:
        """Builds the dependency graph of the model."""
        from tfopt.sparsity.structured.dependency_graph import read

        read(model)
        check_metrics(model, context)

    def run(self, inputs: Sequence[Artifact], context: Context) -> Artifact:
        """Removes dead channels, compares the outputs on the test split with those before, and saves."""
        from tfopt.models import signature
        from tfopt.models.weight_statistics import compare, snapshot
        from tfopt.sparsity.structured.dead import remove_dead
        from tfopt.sparsity.structured.removal import as_rows

        model = context.load(inputs[0])
        removal = remove_dead(model, self.tolerance)
        test = context.data.test
        strayed = compare_outputs(*(signature.keras_outputs(either, test) for either in (model, removal.model)))
        before, after = removal.total("parameters")
        scores = test_metrics(removal.model, context)
        return context.artifact(
            self,
            inputs,
            context.save(removal.model),
            metrics={**scores, **strayed, "removed": 1 - after / before},
            scores=tuple(scores),
            skipped=tuple(Skipped(where, reason) for where, reason in removal.skipped),
            details=[
                ChannelRemoval.from_json(as_rows(removal.layers)),
                WeightsByLayer.from_json(compare(snapshot(removal.model), snapshot(model))),
            ],
        )
