"""One example of every detail, with its JSON as `artifact.json` has it."""

from tfopt.data.preview import Preview
from tfopt.recipe.details.decoding import DecodedKernel, DecodedKernels
from tfopt.recipe.details.device_files import DeviceFile, DeviceFiles, FileOnTarget, FilesOnTargets, LayerCost
from tfopt.recipe.details.kit import ExportedKit, ExportedKits
from tfopt.recipe.details.quantization import (
    AccuracyStep,
    AccuracySteps,
    Audit,
    AuditRow,
    ConversionNotes,
    ConversionWarnings,
    NoiseRemedy,
)
from tfopt.recipe.details.search import (
    FailedCandidate,
    FrontFile,
    SearchObjective,
    SearchOutcome,
    TriedCandidate,
    TuningOutcome,
    TuningTrial,
)
from tfopt.recipe.details.timing import Latencies, Latency
from tfopt.recipe.details.training import (
    ChangedLayer,
    ChannelRemoval,
    DistinctValues,
    KernelSparsity,
    SparsityRecord,
    SparsityRecords,
    TrainingHistory,
)
from tfopt.recipe.details.usage import ClassRule, TensorUsage, Usage
from tfopt.recipe.details.verification import (
    AccuracyGate,
    CarriedOver,
    ChangedSample,
    ClassChanges,
    ClassFigures,
    ClassMove,
    ClassScores,
    GatedFile,
    OutputChanges,
    ShownSample,
)
from tfopt.recipe.details.weights import LayerError, LayerWeights, QuantizationErrors, WeightFigures, WeightsByLayer

STAGES = [{"prune": {"sparsity": 0.5, "epochs": 1}}, {"quantize": {}}]
ON_DEVICE = {"npu_milliseconds": 0.2}
FRONT_JSON = {
    "device": {"npu_milliseconds": 0.2},
    "number": 3,
    "file": "front/3.tflite",
    "epochs": 2,
    "score": 0.95,
    "drop": 0.01,
    "raw_bytes": 9000,
    "gzip_bytes": 4000,
    "milliseconds": 0.02,
    "test": {"accuracy": 0.94},
    "stages": STAGES,
    "meets": True,
}
TRIED_JSON = {
    "device": {"npu_milliseconds": 0.2},
    "number": 3,
    "epochs": 2,
    "score": 0.95,
    "raw_bytes": 9000,
    "gzip_bytes": 4000,
    "milliseconds": 0.02,
    "spread": 0.001,
}
ROW_JSON = {
    "layer": "conv",
    "op": "CONV_2D",
    "dtype": "int8",
    "bytes": 352,
    "float_bytes": 1280,
    "zeros": 0.5,
    "float_zeros": 0.25,
    "values": 100,
}

FIGURES_JSON = {
    "precision": "int8",
    "parameters": 10,
    "bytes": 13,
    "kernels": 9,
    "zeros": 3,
    "values": 5,
    "scale_bytes": 12,
    "histogram": [0.25, 0.0, 0.5],
}
# One white pixel.
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR42mP4DwABAQEAHLCMmQAAAABJRU5ErkJggg=="
TENSOR_JSON = {
    "name": "image",
    "place": 0,
    "dtype": "int8",
    "shape": [1, 8, 8, 1],
    "scale": 0.0625,
    "zero_point": -128,
    "preparation": ["divides by 16 (Rescaling)"],
    "decides": None,
}

EXAMPLES = [
    (TrainingHistory({"loss": [1.0, 0.5], "val_loss": [1.5, 0.75]}), {"loss": [1.0, 0.5], "val_loss": [1.5, 0.75]}),
    (KernelSparsity({"conv/kernel": 0.5}), {"conv/kernel": 0.5}),
    (
        SparsityRecords((SparsityRecord(10, 1, 0.25, {"conv/kernel": 0.25}),)),
        [{"step": 10, "epoch": 1, "overall": 0.25, "kernels": {"conv/kernel": 0.25}}],
    ),
    (DistinctValues({"conv/kernel": 16}), {"conv/kernel": 16}),
    (
        ChannelRemoval((ChangedLayer("conv", "Conv2D", (32, 16), (320, 160), (23040, 11520)),)),
        [
            {
                "path": "conv",
                "kind": "Conv2D",
                "channels": [32, 16],
                "parameters": [320, 160],
                "flops": [23040, 11520],
            }
        ],
    ),
    (ConversionNotes(("loops were unrolled",)), ["loops were unrolled"]),
    (
        NoiseRemedy(("norm",), ("rules: [{layers: norm, to: float}]", "io: float32"), 34.0),
        {"layers": ["norm"], "settings": ["rules: [{layers: norm, to: float}]", "io: float32"], "snr_db": 34.0},
    ),
    (ConversionWarnings(("the samples are of another range.",)), ["the samples are of another range."]),
    (
        Audit((AuditRow("conv", "CONV_2D", "int8", 352, 1280, 0.5, 0.25, 100),), ("SOFTMAX",), (), (), 0.5, 0.25),
        {
            "rows": [ROW_JSON],
            "floating": ["SOFTMAX"],
            "loops": [],
            "flex": [],
            "sparsity": 0.5,
            "float_sparsity": 0.25,
        },
    ),
    (
        AccuracySteps((AccuracyStep("as asked", 9000, 0.95, 0.01, True, "accuracy", 1.5),)),
        [
            {
                "what": "as asked",
                "bytes": 9000,
                "score": 0.95,
                "drop": 0.01,
                "met": True,
                "metric": "accuracy",
                "seconds": 1.5,
            }
        ],
    ),
    (
        SearchOutcome(
            metric="accuracy",
            before=0.96,
            wish=SearchObjective(
                "accurate",
                "gzip",
                gzip_bytes=5000,
                time="npu_milliseconds",
                device={"npu_milliseconds": 0.25},
                target="ethos-u55-128",
            ),
            limits={"gzip_bytes": 5000},
            chosen=3,
            front=(
                FrontFile(
                    3,
                    "front/3.tflite",
                    2,
                    0.95,
                    0.01,
                    9000,
                    4000,
                    0.02,
                    {"accuracy": 0.94},
                    STAGES,
                    True,
                    device=ON_DEVICE,
                ),
            ),
            tried=(TriedCandidate(3, 2, 0.95, 9000, 4000, 0.02, 0.001, device=ON_DEVICE),),
            failed=(FailedCandidate(1, "the loss is not a number"),),
            lost=1,
            dropped=7,
        ),
        {
            "metric": "accuracy",
            "before": 0.96,
            "wish": {
                "goal": "accurate",
                "size": "gzip",
                "raw_bytes": None,
                "gzip_bytes": 5000,
                "milliseconds": None,
                "max_drop": None,
                "time": "npu_milliseconds",
                "device": {"npu_milliseconds": 0.25},
                "target": "ethos-u55-128",
            },
            "limits": {"gzip_bytes": 5000},
            "chosen": 3,
            "front": [FRONT_JSON],
            "tried": [TRIED_JSON],
            "failed": [{"number": 1, "error": "the loss is not a number"}],
            "lost": 1,
            "dropped": 7,
        },
    ),
    (
        TuningOutcome(
            metric="accuracy",
            best="00",
            trials=(
                TuningTrial("00", {"train.l2": 1e-4}, 0.95, "COMPLETED", None, None),
                TuningTrial("01", {"train.l2": 1.0}, None, "FAILED", "the loss is not a number", None),
            ),
            stages=STAGES,
        ),
        {
            "metric": "accuracy",
            "best": "00",
            "trials": [
                {
                    "number": "00",
                    "values": {"train.l2": 1e-4},
                    "score": 0.95,
                    "status": "COMPLETED",
                    "message": None,
                    "epochs": None,
                },
                {
                    "number": "01",
                    "values": {"train.l2": 1.0},
                    "score": None,
                    "status": "FAILED",
                    "message": "the loss is not a number",
                    "epochs": None,
                },
            ],
            "stages": STAGES,
        },
    ),
    (
        CarriedOver("a tf_keras model", 1e-7, 12.5),
        {"from": "a tf_keras model", "max_error": 1e-7, "scale": 12.5},
    ),
    (
        AccuracyGate("accuracy", 0.01, {"int8": GatedFile("train", 0.95, 0.9, 0.05)}, {"train": {"accuracy": 0.95}}),
        {
            "metric": "accuracy",
            "max_drop": 0.01,
            "files": {"int8": {"baseline": "train", "before": 0.95, "after": 0.9, "drop": 0.05}},
            "models": {"train": {"accuracy": 0.95}},
        },
    ),
    (
        Usage(
            (TensorUsage("image", 0, "int8", (1, 8, 8, 1), 0.0625, -128, ("divides by 16 (Rescaling)",)),),
            (TensorUsage("digit", 0, "int8", (1, 10), 0.00390625, -128, (), ClassRule("largest", 10)),),
            "serving_default",
            False,
            False,
            ("CONV_2D", "SOFTMAX"),
            "",
            4992,
        ),
        {
            "inputs": [TENSOR_JSON],
            "outputs": [
                {
                    **TENSOR_JSON,
                    "name": "digit",
                    "shape": [1, 10],
                    "scale": 0.00390625,
                    "preparation": [],
                    "decides": {"rule": "largest", "count": 10, "threshold": 0.5},
                }
            ],
            "signature": "serving_default",
            "stateful": False,
            "streams": False,
            "ops": ["CONV_2D", "SOFTMAX"],
            "not_on_tflm": "",
            "arena_bytes": 4992,
        },
    ),
    (
        ClassScores(
            {"int8": {"digit": ClassFigures([0, 1], [1.0, 0.5], [0.5, 1.0], [0.6, 0.6], [2, 1], [[1, 1], [0, 1]])}}
        ),
        {
            "int8": {
                "digit": {
                    "classes": [0, 1],
                    "precision": [1.0, 0.5],
                    "recall": [0.5, 1.0],
                    "f1": [0.6, 0.6],
                    "support": [2, 1],
                    "confusion": [[1, 1], [0, 1]],
                }
            }
        },
    ),
    (
        ClassChanges(
            {
                "int8": {
                    "digit": OutputChanges(
                        against="train",
                        values=4,
                        same=3,
                        broken=1,
                        mended=0,
                        classes=[0, 1],
                        confusion_before=[[2, 0], [0, 2]],
                        confusion_after=[[2, 0], [1, 1]],
                        moves=(ClassMove(1, 0, 1),),
                        samples=(ChangedSample(3, [1], [1], [0], 0.75, 0.5),),
                    )
                }
            },
            (ShownSample(3, {"image": Preview("image", PNG, 1, 1), "words": Preview("text", "a <good> film")}),),
            {"int8": 0.75},
        ),
        {
            "files": {
                "int8": {
                    "digit": {
                        "against": "train",
                        "values": 4,
                        "same": 3,
                        "broken": 1,
                        "mended": 0,
                        "classes": [0, 1],
                        "confusion_before": [[2, 0], [0, 2]],
                        "confusion_after": [[2, 0], [1, 1]],
                        "moves": [{"before": 1, "after": 0, "count": 1}],
                        "samples": [
                            {
                                "row": 3,
                                "label": [1],
                                "before": [1],
                                "after": [0],
                                "sure_before": 0.75,
                                "sure_after": 0.5,
                            }
                        ],
                    }
                }
            },
            "shown": [
                {
                    "row": 3,
                    "inputs": {
                        "image": {"kind": "image", "content": PNG, "width": 1, "height": 1},
                        "words": {"kind": "text", "content": "a <good> film", "width": 0, "height": 0},
                    },
                }
            ],
            "same": {"int8": 0.75},
        },
    ),
    (
        WeightsByLayer(
            rows=(
                LayerWeights(
                    "conv",
                    "CONV_2D",
                    WeightFigures("int8", 10, 13, 9, 3, 5, 12, (0.25, 0.0, 0.5)),
                    WeightFigures("float32", 10, 40, 9, 0, None, 0, (0.5, 0.0, 0.5)),
                    (-0.5, 0.5),
                ),
            ),
            file_bytes=1000,
            constant_bytes=40,
            ops=3,
        ),
        {
            "rows": [
                {
                    "layer": "conv",
                    "kind": "CONV_2D",
                    "after": FIGURES_JSON,
                    "before": {
                        **FIGURES_JSON,
                        "precision": "float32",
                        "bytes": 40,
                        "zeros": 0,
                        "values": None,
                        "scale_bytes": 0,
                        "histogram": [0.5, 0.0, 0.5],
                    },
                    "ends": [-0.5, 0.5],
                }
            ],
            "file_bytes": 1000,
            "others": 0,
            "constant_bytes": 40,
            "ops": 3,
        },
    ),
    (
        QuantizationErrors((LayerError("conv", "CONV_2D", "int8", 42.5, None),), 4, 1),
        {
            "rows": [
                {
                    "layer": "conv",
                    "ops": "CONV_2D",
                    "precision": "int8",
                    "output_snr_db": 42.5,
                    "weights_snr_db": None,
                }
            ],
            "samples": 4,
            "others": 1,
        },
    ),
    (
        ExportedKits({"int8": ExportedKit("int8", "model.tflite", 2160, 3440, True, 4, "LiteRT", "no CONV_3D")}),
        {
            "kits": {
                "int8": {
                    "folder": "int8",
                    "flashed": "model.tflite",
                    "flashed_bytes": 2160,
                    "arena_bytes": 3440,
                    "arena_measured": True,
                    "vectors": 4,
                    "runtime": "LiteRT",
                    "not_on_tflm": "no CONV_3D",
                }
            }
        },
    ),
    (
        Latencies({"int8": Latency(50, {"p50": 2e-5, "p99": 5e-5}, (1e-5, 3e-5, 5e-5), (40, 9), 1)}),
        {
            "files": {
                "int8": {
                    "runs": 50,
                    "seconds": {"p50": 2e-5, "p99": 5e-5},
                    "edges": [1e-5, 3e-5, 5e-5],
                    "counts": [40, 9],
                    "above": 1,
                }
            },
            "threads": 1,
        },
    ),
    (
        FilesOnTargets(
            (FileOnTarget("int8", "board", {"npu_cycles": 492.0}), FileOnTarget("float32", "board", {}, "in float")),
            {"board": ("memory: small",)},
        ),
        {
            "rows": [
                {"file": "int8", "target": "board", "figures": {"npu_cycles": 492.0}, "reason": ""},
                {"file": "float32", "target": "board", "figures": {}, "reason": "in float"},
            ],
            "notes": {"board": ["memory: small"]},
        },
    ),
    (
        DeviceFiles(
            (
                DeviceFile(
                    "board",
                    "model.board.tflite",
                    "ab",
                    8928,
                    {"npu_cycles": 492.0},
                    ("memory: small",),
                    (LayerCost("conv", "CONV_2D", 492.0, 0.25),),
                    "1.2",
                ),
            )
        ),
        {
            "files": [
                {
                    "target": "board",
                    "file": "model.board.tflite",
                    "sha256": "ab",
                    "bytes": 8928,
                    "figures": {"npu_cycles": 492.0},
                    "notes": ["memory: small"],
                    "layers": [
                        {"layer": "conv", "kinds": "CONV_2D", "cycles": 492.0, "mac_utilization": 0.25, "on_cpu": ""}
                    ],
                    "version": "1.2",
                }
            ]
        },
    ),
    (
        DecodedKernels(
            (
                DecodedKernel("wide", "FULLY_CONNECTED", 6144, 1376, "huffman", "Huffman codes of 1 to 7 bits"),
                DecodedKernel("head", "FULLY_CONNECTED", 960, 960, "", "larger than ram allows"),
            ),
            {"flash_bytes": 8104.0, "arena_bytes": 1456.0, "microseconds": 4.0},
            {"flash_bytes": 3456.0, "arena_bytes": 7872.0, "microseconds": 32.0},
            "0.dev1",
        ),
        {
            "kernels": [
                {
                    "layer": "wide",
                    "op": "FULLY_CONNECTED",
                    "bytes": 6144,
                    "stored_bytes": 1376,
                    "coding": "huffman",
                    "about": "Huffman codes of 1 to 7 bits",
                },
                {
                    "layer": "head",
                    "op": "FULLY_CONNECTED",
                    "bytes": 960,
                    "stored_bytes": 960,
                    "coding": "",
                    "about": "larger than ram allows",
                },
            ],
            "plain": {"flash_bytes": 8104.0, "arena_bytes": 1456.0, "microseconds": 4.0},
            "decoded": {"flash_bytes": 3456.0, "arena_bytes": 7872.0, "microseconds": 32.0},
            "version": "0.dev1",
        },
    ),
]
BY_TYPE = {type(detail): detail for detail, _ in EXAMPLES}
