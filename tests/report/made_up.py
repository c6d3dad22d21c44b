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
    rows = [
        {"layer": long_name(index), "op": "DEPTHWISE_CONV_2D", "dtype": "int8", "bytes": 1000 + index}
        | {"float_bytes": 4000 + index, "zeros": 0.5, "float_zeros": 0.25, "values": 200}
        for index in range(layers)
    ]
    audit = {"rows": rows, "floating": [], "loops": [], "flex": [], "sparsity": 0.5, "float_sparsity": 0.25}
    log = [
        {"step": epoch, "epoch": epoch, "overall": epoch / epochs}
        | {"kernels": {long_name(index): epoch / epochs for index in range(layers)}}
        for epoch in range(1, epochs + 1)
    ]
    changed = [
        {"path": long_name(index), "kind": "Conv2D", "channels": [64, 32], "parameters": [9000 + index, 4500]}
        | {"flops": [90_000, 45_000]}
        for index in range(layers)
    ]
    names = [f"space.of.hyperparameter_{index}" for index in range(20)]
    tune = {
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
    front = [
        _candidate(index) | {"file": f"front/{index}.tflite", "drop": 0.01, "test": {"accuracy": 0.9}}
        for index in range(60)
    ]
    search = {
        "metric": "accuracy",
        "before": 0.95,
        "wish": {"goal": "accurate", "size": "gzip", "gzip_bytes": 5000, "max_drop": 0.1},
        "limits": {"gzip_bytes": 5000},
        "chosen": 3,
        "front": front,
        "tried": [_candidate(index) for index in range(5 * trials)],
        "failed": [],
        "lost": 0,
        "dropped": 7,
    }
    figures = [0.5] * classes
    confusion = [[100 if row == column else (row * column) % 5 for column in range(classes)] for row in range(classes)]
    by_class = {"classes": list(range(classes)), "precision": figures, "recall": figures, "f1": figures}
    by_class |= {"support": [100] * classes, "confusion": confusion}
    history = {
        name: [1 / (epoch + 1) for epoch in range(epochs)] for name in ("loss", "val_loss", "val_accuracy", "a", "b")
    }
    trainings = {
        f"train{index}": artifact(f"train{index}", "train", details={"history": history}) for index in range(30)
    }
    steps = [{"what": f"layer {long_name(index)} in float", "bytes": 9000 + index} for index in range(layers)]
    steps = [step | {"score": 0.9, "drop": 0.01, "met": True} for step in steps]
    return (
        trainings
        | run("int8 is too much worse.", max_drop=0.01)
        | {
            "prune2": artifact("prune2", "prune", details={"sparsity_log": log, "history": history, "layers": changed}),
            "tune": artifact("tune", "tune", details={"tune": tune}),
            "int8b": artifact(
                "int8b",
                "search",
                "tflite",
                details={"audit": audit, "search": search, "steps": steps, "warnings": ["too noisy"] * 30},
                skipped=tuple(Skipped(long_name(index), "its shape has no multiple of 4") for index in range(layers)),
            ),
            "verify2": artifact(
                "verify2",
                "verify",
                "tflite",
                files={"int8b": COMPARED},
                details={"by_class": {name: {"digit": by_class} for name in ("float32", "int8b")}},
            ),
        }
    )


def _candidate(index):
    sizes = {"raw_bytes": 9000 + index, "gzip_bytes": 4000 + index}
    return {
        "number": index,
        "epochs": 2,
        "score": 0.95 - index % 50 / 1000,
        **sizes,
        "milliseconds": 0.02 + index / 1e4,
    }
