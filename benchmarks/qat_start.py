"""What quantization-aware training in int4 gains by a start from integers that were chosen together.

A net like MobileNet on the spoken digits, trained once into --work, then for so many epochs to be its int4 file, from
the nearest integers and from those of descent, with ranges that follow each batch and with learned ones. Accuracy of
the files on LiteRT, on 570 recordings that no step has seen, in the mean of --seeds orders of the training samples;
0 epochs are files without training.

    TFOPT_DATA=folder-with-the-data python benchmarks/qat_start.py [--epochs 1 3] [--seeds 2] [--work FOLDER]
"""

import argparse
from pathlib import Path

import keras
import numpy as np
from one_shot import falling, seeds_of, trained
from qat import mobile_net
from tasks import spoken_digits

import tfopt
from tfopt.tflite.interpreter import Runner

BATCH, EPOCHS = 32, 20


def accuracy(content, data):
    return float((next(iter(Runner(content)(data[2]).values())).argmax(-1) == data[3]).mean())


def aware(model, data, samples, epochs, seed, **settings):
    """The accuracy of the file after some epochs of training to be it."""
    keras.utils.set_random_seed(seed)
    model.compile(falling(epochs, 5e-4, len(data[0]), BATCH), "sparse_categorical_crossentropy")
    callback = tfopt.callbacks.QuantizationAware(samples, "int4", **settings)
    model.fit(*data[:2], batch_size=BATCH, epochs=epochs, verbose=0, callbacks=[callback])
    return accuracy(callback.convert().content, data)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, nargs="*", default=[1, 3])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--work", type=Path, default=Path("saved_models/qat_start"))
    options = parser.parse_args()
    parts = spoken_digits()
    x, y = ([parts[f"{letter}_{split}"] for split in ("train", "validation", "test")] for letter in "xy")
    data = [x[0], y[0], np.concatenate(x[1:]), np.concatenate(y[1:])]
    model = trained("mobile_net", lambda: mobile_net((61, 40, 1), 10), data, EPOCHS, options.work)
    samples = data[0][np.random.default_rng(0).permutation(len(data[0]))[:200]]
    print(f"float {float((model.predict(data[2], verbose=0).argmax(-1) == data[3]).mean()):.4f}", flush=True)
    before = model.get_weights()
    for rounding in ("nearest", "descent"):
        content = tfopt.convert(model, "int4", samples, rounding=rounding, least_snr_db=-50)
        print(f"  {rounding:8} 0 epochs: {accuracy(content, data):.4f}", flush=True)
        for ranges in ("moving_average", "learned"):
            for epochs in options.epochs:
                found = []
                for seed in range(options.seeds):
                    model.set_weights(before)
                    found.append(aware(model, data, samples, epochs, seed, ranges=ranges, rounding=rounding))
                print(f"  {rounding:8} {epochs} epochs, {ranges:14}: {seeds_of(found)}", flush=True)
        model.set_weights(before)


if __name__ == "__main__":
    main()
