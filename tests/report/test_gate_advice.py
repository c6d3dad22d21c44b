"""What a failed gate advises by its records."""

from dataclasses import replace

import pytest

from tests.report.made_up import run
from tfopt.recipe.details.quantization import NoiseRemedy
from tfopt.report.blocks import Callout
from tfopt.report.gate_advice import shares
from tfopt.report.markdown import text
from tfopt.report.sections import gates


@pytest.mark.parametrize(
    ("losses", "words"),
    [
        ({"prune": 0.01, "int8": 0.006}, ("prune has used 1.00 of the 1.00 points", "leaves nothing for int8", "0.60")),
        (
            {"prune": 0.004, "cluster": 0.002, "int8": 0.01},
            ("prune and cluster have used 0.60", "leaves 0.40 for int8"),
        ),
    ],
    ids=["all", "part"],
)
def test_what_the_stages_before_have_used_is_summed(losses, words):
    [said] = shares("int8", "accuracy", 0.01, losses)
    assert all(part in "".join(said) for part in words)


@pytest.mark.parametrize(
    "losses",
    [{"int8": 0.016}, {"prune": 0.001, "int8": 0.015}, {"prune": -0.1, "int8": 0.116}],
    ids=["alone", "little", "better"],
)
def test_where_the_file_itself_lost_it_no_sum_is_made(losses):
    assert shares("int8", "accuracy", 0.01, losses) == []


def test_a_metric_in_units_of_its_own_is_no_points():
    [said] = shares("int8", "mae", 0.5, {"prune": 0.4, "int8": 0.3})
    assert "used 0.4 of the 0.5 of mae" in "".join(said)


def test_the_settings_that_were_measured_come_first():
    found = run(failed="int8 is worse.", max_drop=0.01)
    remedy = NoiseRemedy(("norm",), ("mode: int8", "rules: [{layers: norm, to: float}]"), 34.0)
    found["int8"] = replace(found["int8"], details=[remedy], metrics={"calibration_snr_db": 2.3})
    [callout] = [block for block in gates.blocks(found) if isinstance(block, Callout)]
    said = [text(point) for point in callout.points]
    assert said[1] == (
        "int8 is noisy, and most is lost in norm: `quantize: {mode: int8, rules: [{layers: norm, to: float}]}` "
        "would give 34.0 dB instead of 2.3 dB."
    )
    assert len(said) > 2
