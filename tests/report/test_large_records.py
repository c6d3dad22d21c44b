"""The page of a run of very large models stays small: what the records of layers and samples add to it is bounded."""

import base64
from dataclasses import replace
from pathlib import Path

import numpy as np

from tests.report.html_page import check
from tfopt.data.preview import previews
from tfopt.metrics import class_changes
from tfopt.models.weight_statistics import LayerSnapshot, compare
from tfopt.recipe.artifact import Artifact
from tfopt.recipe.details.verification import ClassChanges
from tfopt.recipe.details.weights import LayerError, QuantizationErrors, WeightsByLayer
from tfopt.report.page import Page, Part
from tfopt.report.section import SECTIONS

LAYERS, CLASSES, STAGES = 400, 100, 8
MOST = 1_400_000  # of the 2 MB of a page


def layers_of(generator, kind):
    chosen = [generator.normal(size=500).astype(np.float32) for _ in range(LAYERS)]
    return [
        LayerSnapshot(f"block_{i}/<layer>_{i}", kind, "float32", 600, 2400 + i, 500, 0, None, values)
        for i, values in enumerate(chosen)
    ]


def test_a_page_of_hundreds_of_layers_and_classes_is_small_and_whole():
    generator = np.random.default_rng(0)
    weights = WeightsByLayer.from_json(compare(layers_of(generator, "CONV_2D"), layers_of(generator, "CONV_2D")))
    rows = tuple(LayerError(f"block_{i}/<layer>_{i}", "CONV_2D", "int8", 20.0 + i, 40.0) for i in range(LAYERS))
    y, before, after = (
        generator.integers(0, CLASSES, 3000),
        generator.random((3000, CLASSES)),
        generator.random((3000, CLASSES)),
    )
    found = class_changes(y, before, after)
    shown = previews(generator.integers(0, 256, (24, 224, 224, 3)).astype(np.uint8))
    inputs = [{"row": one["row"], "inputs": sample} for one, sample in zip(found["samples"], shown, strict=True)]
    changes = ClassChanges.from_json({"files": {"int8": {"o": {"against": "train", **found}}}, "shown": inputs})
    assert sum(len(base64.b64decode(one.content)) for sample in shown for one in sample.values()) < 150_000
    made = Artifact("made", "mine", Path("run/made"), "model.tflite", "tflite", "k")
    artifacts = {
        f"stage{i}": replace(made, name=f"stage{i}", details=[weights, QuantizationErrors(rows, 4), changes])
        for i in range(STAGES)
    }
    names = ("class_changes", "weights", "weight_histograms", "quantization_errors")
    parts = [Part(name, SECTIONS[name].title, SECTIONS[name].blocks(artifacts)) for name in names]
    text = Page("large", parts=parts).html()
    check(text)
    assert len(text.encode()) < MOST
    assert "<layer>" not in text
