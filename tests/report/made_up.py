"""Made-up results of runs, small and very large."""

from pathlib import Path

from tfopt.recipe.artifact import Artifact, Skipped

COMPARED = {"accuracy": 0.91, "agreement": 0.985, "max_error": 0.125, "snr_db": 31.4, "drop": 0.02}
MEASURED = {
    "raw_bytes": 12_345.0,
    "gzip_bytes": 2345.0,
    "nonzero_parameters": 1800.0,
    "latency_median_seconds": 0.00125,
    "latency_p90_seconds": 0.0015,
}
BEFORE = {"raw_bytes": 49_380.0, "gzip_bytes": 23_450.0, "latency_median_seconds": 0.0025, "latency_p90_seconds": 0.003}


def artifact(name, kind, format="keras", parents=(), **rest):
    return Artifact(name, kind, Path("run") / name, f"model.{format}", format, "k", parents, **rest)


def run(failed=None, max_drop=0.05):
    """Trained, pruned, int8, verified and timed."""
    scored = {"scores": ("accuracy",)}
    gate = {
        "metric": "accuracy",
        "max_drop": max_drop,
        "files": {"int8": {"baseline": "train", "before": 0.93, "after": 0.91, "drop": 0.02}},
    }
    found = [
        artifact("source", "source"),
        artifact("train", "train", parents=("source",), metrics={"accuracy": 0.93}, **scored),
        artifact("float32", "quantize", "tflite", ("train",), metrics={"accuracy": 0.93, **BEFORE}),
        artifact("prune", "prune", parents=("train",), metrics={"accuracy": 0.915, "sparsity": 0.8}, **scored),
        artifact("int8", "quantize", "tflite", ("prune",), metrics={"raw_bytes": 12_345.0}),
        artifact(
            "verify",
            "verify",
            "tflite",
            metrics=COMPARED,
            files={"int8": COMPARED},
            details={"gate": gate},
            failed=failed,
            **scored,
        ),
        artifact("benchmark", "benchmark", "tflite", metrics=MEASURED, files={"int8": MEASURED}),
    ]
    return {one.name: one for one in found}


def long_name(index):
    return f"model/block_{index:03d}/depthwise_separable_convolution_with_a_long_name/kernel_{index:03d}"


def large(layers=200, trials=500, classes=100, epochs=300):
    """A run with so many layers, trials, classes and epochs."""
    history = {
        name: [1 / (epoch + 1) for epoch in range(epochs)] for name in ("loss", "val_loss", "val_accuracy", "a", "b")
    }
    trainings = {
        f"train{index}": artifact(f"train{index}", "train", details={"history": history}) for index in range(30)
    }
    pruned = {"sparsity_log": _sparsity_log(layers, epochs), "history": history, "layers": _changed(layers)}
    searched = {
        "audit": _audit(layers),
        "search": _search(5 * trials),
        "steps": [
            {"what": f"layer {long_name(index)} in float", "bytes": 9000 + index}
            | {"score": 0.9, "drop": 0.01, "met": True}
            for index in range(layers)
        ],
        "warnings": ["too noisy"] * 30,
    }
    by_class = {name: {"digit": _by_class(classes)} for name in ("float32", "int8b")}
    left = tuple(Skipped(long_name(index), "its shape has no multiple of 4") for index in range(layers))
    added = [
        artifact("prune2", "prune", details=pruned),
        artifact("tune", "tune", details={"tune": _tune(trials)}),
        artifact("int8b", "search", "tflite", details=searched, skipped=left),
        artifact("verify2", "verify", "tflite", files={"int8b": COMPARED}, details={"by_class": by_class}),
    ]
    return trainings | run("int8 is too much worse.", max_drop=0.01) | {one.name: one for one in added}


def _audit(layers):
    rows = [
        {"layer": long_name(index), "op": "DEPTHWISE_CONV_2D", "dtype": "int8", "bytes": 1000 + index}
        | {"float_bytes": 4000 + index, "zeros": 0.5, "float_zeros": 0.25, "values": 200}
        for index in range(layers)
    ]
    return {"rows": rows, "floating": [], "loops": [], "flex": [], "sparsity": 0.5, "float_sparsity": 0.25}


def _sparsity_log(layers, epochs):
    return [
        {"step": epoch, "epoch": epoch, "overall": epoch / epochs}
        | {"kernels": {long_name(index): epoch / epochs for index in range(layers)}}
        for epoch in range(1, epochs + 1)
    ]


def _changed(layers):
    return [
        {"path": long_name(index), "kind": "Conv2D", "channels": [64, 32], "parameters": [9000 + index, 4500]}
        | {"flops": [90_000, 45_000]}
        for index in range(layers)
    ]


def _tune(trials):
    names = [f"space.of.hyperparameter_{index}" for index in range(20)]
    return {
        "metric": "accuracy",
        "best": "0000",
        "trials": [
            {
                "number": f"{index:04d}",
                "values": {name: (index * 7 + place) % 97 / 97 for place, name in enumerate(names)},
            }
            | {"score": None if index % 10 == 9 else 1 - index / 1000, "status": "COMPLETED"}
            | {"message": "the loss is not a number" if index % 10 == 9 else None, "epochs": 3}
            for index in range(trials)
        ],
        "stages": [],
    }


def _search(tried):
    front = [
        _candidate(index) | {"file": f"front/{index}.tflite", "drop": 0.01, "test": {"accuracy": 0.9}}
        for index in range(60)
    ]
    return {
        "metric": "accuracy",
        "before": 0.95,
        "wish": {"goal": "accurate", "size": "gzip", "gzip_bytes": 5000, "max_drop": 0.1},
        "limits": {"gzip_bytes": 5000},
        "chosen": 3,
        "front": front,
        "tried": [_candidate(index) for index in range(tried)],
        "failed": [],
        "lost": 0,
        "dropped": 7,
    }


def _by_class(classes):
    figures = [0.5] * classes
    confusion = [[100 if row == column else (row * column) % 5 for column in range(classes)] for row in range(classes)]
    by_class = {"classes": list(range(classes)), "precision": figures, "recall": figures, "f1": figures}
    return by_class | {"support": [100] * classes, "confusion": confusion}


def _candidate(index):
    sizes = {"raw_bytes": 9000 + index, "gzip_bytes": 4000 + index}
    return {
        "number": index,
        "epochs": 2,
        "score": 0.95 - index % 50 / 1000,
        **sizes,
        "milliseconds": 0.02 + index / 1e4,
    }
