"""Stage `replace_head`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from pydantic import Field

from tfopt.recipe.artifact import Artifact
from tfopt.recipe.stage import Context, Stage


class ReplaceHead(Stage):
    """Gives the model another last layer, of random weights, for other classes than those that it was trained on.

    A `train` stage after it, with `freeze` for the layers before the head, teaches it.
    """

    kind: ClassVar[str] = "replace_head"
    rank: ClassVar[int] = 1
    prepares: ClassVar[bool] = True
    replaces_outputs: ClassVar[bool] = True

    units: int = Field(ge=1)
    """Outputs of the new layer: as many as there are classes."""
    activation: str | None = "softmax"
    """Activation of the new layer, by Keras's name; sigmoid for one unit of two classes, linear for values."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """The fraction of the new layer's inputs that training drops, 0-1."""
    at: str | None = None
    """Name of the layer whose output the head gets; what the last Dense layer gets, if not given."""

    def preview(self, model: Any, context: Context) -> Any:
        """The model with the new head."""
        from tfopt.errors import InputError
        from tfopt.models.head import replace_head

        try:
            return replace_head(model, self.units, self.activation, self.dropout, self.at)
        except ValueError as error:
            raise InputError(f"the head cannot be made: {str(error).splitlines()[0]}", ("activation",)) from error

    def run(self, inputs: Sequence[Artifact], context: Context) -> Artifact:
        """Replaces the head and saves."""
        from tfopt.models.seeding import deterministic

        model = context.load(inputs[0])
        with deterministic(context.seed):
            return context.artifact(self, inputs, context.save(self.preview(model, context)))
