"""tfopt: a Keras 3 model and a short recipe in; the smallest, fastest `.tflite` that keeps its accuracy out.

The names below are loaded when they are first used; importing tfopt imports neither TensorFlow nor Keras.

Ground floor, which describes and records:
    errors, knobs          what can go wrong, and how it is said
    precision              what can be asked of a conversion: modes, rules, targets
    recipe, runtime        what a user writes; the machines that train
    reference              the code that a recipe refers to
    plan, pipeline         a recipe with its words resolved; folding its stages
    workers, following     several processes that train as one; those of them that do not lead
    sharing, workforce     several processes that share the work of one search
    heartbeat              signs of life between processes, given and missed
    learning_rate          a learning rate for one of them, before it is run
    artifact               one committed folder for each result
    stages, report         the knobs of each stage; what a person reads
    noise, child           what libraries print, kept for the day something fails; a process of its own

Workshop, plain functions on Keras models:
    models, stored, carry  models in and out, from files, over from Keras 2 (keras2, keras2_layers)
    layers                 the layers of a model by path and pattern
    sources, data, streams where data comes from; the splits, in memory or read batch by batch
    losses, targets        losses by name; whether the labels fit them
    training, backup       the only compile() and fit(); its state after each epoch
    devices, rebuilding    where it runs; the same model on other devices or in another precision
    holding                weights kept as they should be for the length of a fit
    fine_tuning            layers frozen, slowed down, another head
    callbacks              for a fit() of your own
    optimizers, regularizers, sparsity, quantization
    tflite, flatbuffer     a `.tflite` read; its bytes written again
    litert, tflm           a `.tflite` run, on LiteRT and on its sibling for microcontrollers
    contents               any model file looked into
    metrics, evaluate      how good: scikit-learn's figures, of a model or a file
    search                 the best file under a budget: what may be tried, what it will cost, who tries it
    tuning                 hyperparameters, on keras-tuner
    benchmark              how large, how fast
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tfopt import callbacks, optimizers, quantization, regularizers, sparsity
    from tfopt.artifact import Artifact
    from tfopt.contents import inspect
    from tfopt.data import Data, Split
    from tfopt.errors import (
        ConversionError,
        DataError,
        GateError,
        InputError,
        InUseError,
        ModelError,
        RecipeError,
        StorageError,
        TfoptError,
        TrainingError,
    )
    from tfopt.metrics import Metric
    from tfopt.pipeline import Result, run, validate
    from tfopt.precision import Export, Rule
    from tfopt.quantization import convert
    from tfopt.recipe import Recipe
    from tfopt.runtime import Runtime
    from tfopt.stages.base import Context, Progress, Stage
    from tfopt.stages.benchmark import Benchmark
    from tfopt.stages.cluster import Cluster
    from tfopt.stages.prune import Prune
    from tfopt.stages.prune_channels import PruneChannels
    from tfopt.stages.qat import Qat
    from tfopt.stages.quantize import Quantize
    from tfopt.stages.remove_dead import RemoveDead
    from tfopt.stages.replace_head import ReplaceHead
    from tfopt.stages.search import Search
    from tfopt.stages.train import Train
    from tfopt.stages.tune import Tune
    from tfopt.stages.verify import Verify
    from tfopt.streams import Stream

__version__ = "0.1.0"

_HOMES = {
    "Artifact": "artifact",
    "Benchmark": "stages.benchmark",
    "Cluster": "stages.cluster",
    "Context": "stages.base",
    "ConversionError": "errors",
    "Data": "data",
    "DataError": "errors",
    "Export": "precision",
    "GateError": "errors",
    "InputError": "errors",
    "InUseError": "errors",
    "Metric": "metrics",
    "ModelError": "errors",
    "Progress": "stages.base",
    "Prune": "stages.prune",
    "PruneChannels": "stages.prune_channels",
    "Qat": "stages.qat",
    "Quantize": "stages.quantize",
    "Recipe": "recipe",
    "RecipeError": "errors",
    "RemoveDead": "stages.remove_dead",
    "ReplaceHead": "stages.replace_head",
    "Result": "pipeline",
    "Rule": "precision",
    "Runtime": "runtime",
    "Search": "stages.search",
    "Split": "data",
    "Stage": "stages.base",
    "StorageError": "errors",
    "Stream": "streams",
    "TfoptError": "errors",
    "Train": "stages.train",
    "TrainingError": "errors",
    "Tune": "stages.tune",
    "Verify": "stages.verify",
    "callbacks": "",
    "convert": "quantization",
    "inspect": "contents",
    "optimizers": "",
    "quantization": "",
    "regularizers": "",
    "run": "pipeline",
    "sparsity": "",
    "validate": "pipeline",
}

__all__ = [
    "Artifact",
    "Benchmark",
    "Cluster",
    "Context",
    "ConversionError",
    "Data",
    "DataError",
    "Export",
    "GateError",
    "InUseError",
    "InputError",
    "Metric",
    "ModelError",
    "Progress",
    "Prune",
    "PruneChannels",
    "Qat",
    "Quantize",
    "Recipe",
    "RecipeError",
    "RemoveDead",
    "ReplaceHead",
    "Result",
    "Rule",
    "Runtime",
    "Search",
    "Split",
    "Stage",
    "StorageError",
    "Stream",
    "TfoptError",
    "Train",
    "TrainingError",
    "Tune",
    "Verify",
    "__version__",
    "callbacks",
    "convert",
    "inspect",
    "optimizers",
    "quantization",
    "regularizers",
    "run",
    "sparsity",
    "validate",
]


def __getattr__(name: str) -> Any:
    """Loads a public name from its room when it is first used (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'tfopt' has no attribute {name!r}")
    home = _HOMES[name]
    if not home:
        return importlib.import_module(f"tfopt.{name}")
    value = getattr(importlib.import_module(f"tfopt.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
