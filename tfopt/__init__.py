"""tfopt: a Keras 3 model and a short recipe in; the smallest, fastest `.tflite` that keeps its accuracy out.

The public names stand in `__init__.pyi`, for people and type checkers alike, and are loaded from there when they are
first used: importing tfopt imports neither TensorFlow nor Keras.

Ground floor, which describes and records; no module of it imports TensorFlow when it is loaded:
    cli            argv in, exit code out
    pipeline       a recipe in, committed artifacts out
    report         artifacts in; the console's table, report.json, report.md and the pages with plots out
    stages         one file a stage: its settings, and the calls into the workshop
    recipe         YAML in, frozen settings out

Faces, which people import: `callbacks`, `regularizers`, `inspection`, `metrics`, `losses`.

Workshop, plain functions on Keras models and the bytes of files, of use without any recipe:
    search         a model and limits in, the Pareto front of files out; `search.tuning` for keras-tuner
    deployment     a proven `.tflite` in; how to feed it in words and in code, and a kit to flash, out
    sparsity       a model in; a masked, clustered or cut model out; `sparsity.structured` for channels
    quantization   a model and samples in, a proven `.tflite` out; `quantization.aware` for training on the grid
    training       a model and data in, a trained model out: the only `compile()` and `fit()`
    targets        a `.tflite` in; does it run there, and what does it cost there
    models         a file or an object in, a Keras 3 model out; `models.keras2` at the door
    tflite         the bytes of a `.tflite` in; its ops, tensors, outputs and timings out
    data           a source in, the splits out
    optimizers     a name in, an optimizer out

Foundation: `installed_versions`, `user_code`, `source_names`, `keras_private`, `output_capture`, `subprocesses`,
`registry`, `tabular`, `errors`.
"""

import importlib as _importlib
from typing import Any as _Any

import lazy_loader as _lazy

from tfopt.installed_versions import warn_of_old_versions as _warn_of_old_versions

_warn_of_old_versions()
__version__ = "0.1.0"
_load, _, _names = _lazy.attach_stub(__name__, __file__)
__all__ = sorted([*_names, "__version__"])


def __getattr__(name: str) -> _Any:
    """Loads a public name when it is first used (PEP 562): one of the stub, or the class of a stage of the package."""
    try:
        return _load(name)
    except AttributeError:
        if not name[0].isupper():
            raise
    installed = _importlib.import_module("tfopt.recipe.stage").INSTALLED.values()
    for stage in installed:
        if stage.__name__ == name and stage.__module__.startswith("tfopt."):
            return stage
    raise AttributeError(f"module 'tfopt' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
