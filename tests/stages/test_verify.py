"""What the stage `verify` says of a file that is too much worse."""

import pytest

from tfopt.metrics import METRICS
from tfopt.recipe.details.verification import GatedFile
from tfopt.stages.verify import failure


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        (
            METRICS["accuracy"].of("kind"),
            "kind_accuracy 0.1833 on LiteRT, 79.72 points worse",
        ),
        (METRICS["mse"], "mse 0.1833 on LiteRT, 0.7972 worse"),
    ],
    ids=["fraction", "error"],
)
def test_a_gate_that_failed_tells_the_loss_in_the_unit_of_the_metric(metric, words):
    said = failure("int8", metric, GatedFile("train", 0.9806, 0.1833, 0.7972), 0.01)
    assert (
        said
        == f"int8 has {words} than the 0.9806 of train; the recipe allows {'1 point' if metric.of_classes else '0.01'}."
    )
