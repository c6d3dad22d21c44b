"""The pipelines for devices with short trainings: zeros and shared values pay as their first lines say."""

from pathlib import Path

import numpy as np
import pytest

from tfopt.pipeline import runner
from tfopt.recipe.recipe import Recipe

PIPELINES = Path(__file__).parents[2] / "pipelines"

pytestmark = pytest.mark.slow


def shortened(name, data, **epochs):
    """A recipe on other data, with fewer epochs by stage and no gate."""
    recipe = Recipe.load(PIPELINES / f"{name}.yaml")
    stages = [
        stage.model_copy(update={"epochs": epochs[stage.kind]}) if stage.kind in epochs else stage
        for stage in recipe.stages
        if stage.kind != "verify"
    ]
    return recipe.model_copy(update={"stages": stages, "data": data})


def test_zeros_and_shared_values_are_fewer_bytes_and_cycles_on_an_ethos_u(real_data, tmp_path):
    pytest.importorskip("ethosu", reason="Vela is not installed")
    with np.load(real_data / "mnist.npz") as whole:
        np.savez(
            tmp_path / "mnist.npz", **{name: whole[name][:: 20 if "train" in name else 50] for name in whole.files}
        )
    recipe = shortened("ethos_u", f"npz:{tmp_path}/mnist.npz", train=1, prune=2, cluster=1)
    made = runner.run(recipe, tmp_path / "out").artifacts
    dense, compressed = (made[name].metrics for name in ("dense", "compressed"))
    assert compressed["compiled_bytes"] <= 0.30 * dense["compiled_bytes"]
    assert compressed["npu_milliseconds"] <= 0.35 * dense["npu_milliseconds"]
    rows = made["benchmark"].details["on_targets"]["rows"]
    assert {(row["file"], row["target"]) for row in rows if row["figures"]} == {
        (file, target) for file in ("dense", "compressed") for target in ("litert", "ethos-u55-128", "ethos-u85-256")
    }


def test_decoded_kernels_take_a_third_of_the_flash_on_a_microcontroller(real_data, tmp_path):
    pytest.importorskip("tflite_micro", reason="the package tflite-micro is not installed")
    data = {"speech.py:load": {"file": str(real_data / "fsdd.npz")}}
    made = runner.run(shortened("microcontroller", data, train=1, prune=2, cluster=1), tmp_path / "out").artifacts
    dense, compressed = (made[name].metrics for name in ("dense", "compressed"))
    assert compressed["flash_bytes"] <= 0.35 * dense["flash_bytes"]
    assert compressed["arena_bytes"] <= dense["arena_bytes"] + 16 * 1024
    kit = made["export"].folder / "compressed"
    assert (kit / "SHA256SUMS").exists()
