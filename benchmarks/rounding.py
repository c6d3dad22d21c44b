"""What each rounding keeps of a net in int4: samples without labels, beside a training with labels.

Three nets, each trained with so many seeds into --out, where a rerun finds them: a net like MobileNet and a small
residual net on the spoken digits, ResNet-8 on JPEG CIFAR-10 (few epochs: the figures compare files with their own
float net, not with published ones). Every rounding chooses integers on --samples training samples; `qat` is
quantization-aware training with learned ranges, with labels, for a tenth of the net's own epochs.

    TFOPT_DATA=folder-with-the-data python benchmarks/rounding.py [--seeds 3] [--nets NAME ...] [--roundings NAME ...]
        [--samples 200] [--out FOLDER] [--only-train]

Accuracy, the share of samples in the float file's class and the SNR of the outputs are those of the files on LiteRT, on
recordings and images that no step has seen: 570 and 10,000. Seconds are the processor's, of both cores together, for
quantizing alone, without the conversion to float and the calibration. Bytes are without tensor names.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from keras import layers
from networks import resnet_8
from one_shot import falling, images, trained
from qat import mobile_net
from tasks import spoken_digits

import tfopt
from tfopt.metrics import compare_outputs
from tfopt.quantization.preparation import prepare
from tfopt.quantization.rounding.plan import RoundingSettings
from tfopt.recipe.export import Export
from tfopt.tflite import flatbuffer
from tfopt.tflite.interpreter import Runner

ROUNDINGS = {
    "nearest": RoundingSettings(),
    "nearest, mse": RoundingSettings(clipping="mse"),
    "bias correction": RoundingSettings(bias_correction=True),
    "gptq": RoundingSettings("gptq", bias_correction=True),
    "descent": RoundingSettings("descent", bias_correction=True),
    "adaround": RoundingSettings("adaround", bias_correction=True),
    "auto": RoundingSettings("auto", bias_correction=True),
}
OTHERS = ("int8", "octav", "qat")
FIGURES = ("accuracy", "less than float", "agreement", "SNR dB", "seconds", "bytes")


@dataclass(frozen=True)
class Net:
    """A net, what it is trained on, and how long."""

    build: Callable[[], keras.Model]
    load: Callable[[Path], list[np.ndarray]]
    epochs: int
    batch: int
    rate: float


def residual():
    """A residual net of 31,000 parameters for spectrograms."""
    x = inputs = layers.Input((61, 40, 1))
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(16, 3, 2, padding="same", use_bias=False)(x)))
    for filters, strides in ((16, 1), (24, 2), (32, 2)):
        y = layers.Conv2D(filters, 3, strides, padding="same", use_bias=False)(x)
        y = layers.Conv2D(filters, 3, padding="same", use_bias=False)(layers.ReLU()(layers.BatchNormalization()(y)))
        x = x if strides == 1 else layers.Conv2D(filters, 1, strides, padding="same")(x)
        x = layers.ReLU()(layers.Add()([x, layers.BatchNormalization()(y)]))
    return keras.Model(inputs, layers.Dense(10, activation="softmax")(layers.GlobalAveragePooling2D()(x)))


def sounds(folder):
    """2,430 spectrograms to train, and the other 570, those of the data set's test split last."""
    data = spoken_digits()
    x = [data[f"x_{part}"] / 4 for part in ("train", "validation", "test")]
    y = [data[f"y_{part}"] for part in ("train", "validation", "test")]
    return [x[0], y[0], np.concatenate(x[1:]), np.concatenate(y[1:])]


NETS = {
    "mobile_net": Net(lambda: mobile_net((61, 40, 1), 10), sounds, 30, 32, 1e-3),
    "residual": Net(residual, sounds, 20, 32, 1e-3),
    "resnet_8": Net(resnet_8, images, 5, 128, 2e-3),
}


class Files:
    """The quantized files of one trained net."""

    def __init__(self, model, net, data, samples, cache):
        self.model, self.net, self.data, self.samples, self.cache = model, net, data, samples, cache
        self.prepared = {mode: prepare(model, Export(mode=mode), samples) for mode in ("int8", "int4")}
        for each in self.prepared.values():
            each.ranges()  # measured before the clock starts

    def made(self, name):
        """A file by its name in the table, the seconds of processor that it took, and remarks."""
        if name == "qat":
            return *self.aware(), ()
        prepared, start = self.prepared["int8" if name == "int8" else "int4"], time.process_time()
        if name == "octav":
            four = {i: name for i, op in enumerate(prepared.source.ops) if op.facts.int4 == "any" and op.kernels}
            content = prepared.quantized(algorithms=four)
        else:
            content = prepared.quantized(rounding=ROUNDINGS.get(name))
        return content, time.process_time() - start, prepared.remarks.get(content, ())

    def aware(self):
        """The file of a short quantization-aware training, from an earlier run where there was one."""
        told = self.cache.with_suffix(".json")
        if not told.exists():
            net, (x, y, *_), start = self.net, self.data, time.process_time()
            epochs = max(round(net.epochs / 10), 1)
            x, y = (part[: round(len(x) * min(net.epochs / 10, 1))] for part in (x, y))
            model = keras.models.clone_model(self.model)
            model.set_weights(self.model.get_weights())
            model.compile(falling(epochs, 5e-4, len(x), net.batch), "sparse_categorical_crossentropy")
            callback = tfopt.callbacks.QuantizationAware(self.samples, "int4", ranges="learned")
            model.fit(x, y, batch_size=net.batch, epochs=epochs, verbose=0, callbacks=[callback])
            self.cache.write_bytes(callback.convert().content)
            told.write_text(json.dumps({"seconds": time.process_time() - start}), encoding="utf-8")
        return self.cache.read_bytes(), json.loads(told.read_text(encoding="utf-8"))["seconds"]


def figures(content, seconds, expected, data):
    """The figures of a file in the order of the table."""
    got = Runner(content)(data[2])
    scores, labels = next(iter(got.values())), data[3]
    differences = compare_outputs(expected, got)
    right, before = (
        float((outputs.argmax(-1) == labels).mean()) for outputs in (scores, next(iter(expected.values())))
    )
    size = len(flatbuffer.slim(content))
    return right, before - right, differences["agreement"], differences["snr_db"], seconds, size


def told(name, row):
    accuracy, less, agreement, snr, seconds, size = row
    return f"  {name:16} {accuracy:8.4f} {less:+15.4f} {agreement:9.4f} {snr:6.1f} {seconds:7.1f} {size:7,.0f}"


def measure(name, seed, options, data):
    """The figures of every file of one net by the file's name; prints them as they come."""
    net = NETS[name]
    keras.utils.set_random_seed(seed)
    model = trained(name, net.build, data, net.epochs, options.out, seed, net.batch, net.rate)
    samples = data[0][np.random.default_rng(seed).permutation(len(data[0]))[: options.samples]]
    files = Files(model, net, data, samples, options.out / f"{name}_{seed}_qat.tflite")
    if options.only_train:
        files.made("qat")
        return {}
    expected, found = Runner(files.prepared["int4"].source.content)(data[2]), {}
    for each in options.roundings:
        content, seconds, remarks = files.made(each)
        found[each] = figures(content, seconds, expected, data)
        print(told(each, found[each]), *remarks[:1], flush=True)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--nets", nargs="*", choices=NETS, default=list(NETS))
    every = [*OTHERS[:2], *ROUNDINGS, OTHERS[2]]
    parser.add_argument("--roundings", nargs="*", choices=every, default=every)
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--out", type=Path, default=Path("saved_models/rounding"))
    parser.add_argument("--only-train", action="store_true")
    options = parser.parse_args()
    tables = {}
    for name in options.nets:
        data = NETS[name].load(Path(os.environ["TFOPT_DATA"]))
        rows = []
        for seed in range(options.seeds):
            print(f"{name}, seed {seed}", flush=True)
            rows.append(measure(name, seed, options, data))
        tables[name] = {each: np.median([row[each] for row in rows], axis=0) for each in rows[0]}
    for name, table in tables.items():
        print(f"{name}, {NETS[name].epochs} epochs, medians of {options.seeds} seeds")
        print(f"  {'':16} {FIGURES[0]} {FIGURES[1]} {FIGURES[2]} {FIGURES[3]} {FIGURES[4]} {FIGURES[5]:>7}")
        for each, row in table.items():
            print(told(each, row))


if __name__ == "__main__":
    main()
