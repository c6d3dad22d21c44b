"""What lossless slimming takes off an int8 file, on five networks.

Beside the slim file stand litert-quantizer's own file and TFLiteConverter's, made of the same model and samples. The
slim file is run on LiteRT against the quantizer's, with XNNPACK and without: every output bit is the same.

    python benchmarks/slim.py
"""

import keras
import numpy as np
import tensorflow as tf
from networks import NETWORKS, settle

from tfopt.output_capture import captured
from tfopt.quantization.preparation import prepare
from tfopt.recipe.export import Export
from tfopt.tflite import flatbuffer
from tfopt.tflite.interpreter import Runner

SAMPLES = 50


def by_the_book(model, x):
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([sample[None]] for sample in x)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    with captured():
        return converter.convert()


def main():
    print(f"{'network':14} {'converter':>10} {'quantizer':>10} {'slim':>10} {'slim/quantizer':>15} {'outputs':>10}")
    for name, build in NETWORKS.items():
        keras.utils.set_random_seed(0)
        model = build()
        x = np.random.default_rng(0).normal(size=(SAMPLES, *model.input_shape[1:])).astype(np.float32)
        settle(model, x)
        prepared = prepare(model, Export(mode="int8"), x)
        quantized = prepared.quantized()
        slim = flatbuffer.slim(quantized)
        equal = all(
            np.array_equal(
                next(iter(Runner(quantized, delegate=delegate)(x).values())),
                next(iter(Runner(slim, delegate=delegate)(x).values())),
            )
            for delegate in (True, False)
        )
        sizes = len(by_the_book(model, x)), len(quantized), len(slim)
        same = "bit-equal" if equal else "DIFFERENT"
        cells = " ".join(f"{size:10,}" for size in sizes)
        print(f"{name:14} {cells} {sizes[2] / sizes[1]:15.3f} {same:>10}", flush=True)


if __name__ == "__main__":
    main()
