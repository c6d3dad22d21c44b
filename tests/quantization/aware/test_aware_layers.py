"""A model that was trained to be its file, against that file on LiteRT, for every kind of layer."""

import keras
import numpy as np
import pytest

from tests.quantization.aware.aware_nets import NETS, compiled, inputs_for
from tfopt.callbacks import QuantizationAware
from tfopt.tflite.interpreter import Runner

# Where values half way between two of a grid are handed on from step to step, or a softmax makes more of them: LiteRT's
# own kernels are as far from each other there.
DRIFT = {"masked_gru": 3, "attention": 8}
ALWAYS = ("mixed",)


def between_kernels(content, x):
    """How many steps LiteRT's own two sets of kernels, with XNNPACK and without, are apart at most; both are right."""
    one, other = (Runner(content, delegate=delegate) for delegate in (True, False))
    steps = [float(detail["quantization"][0]) for detail in one.outputs.values()]
    pairs = zip(one(x).values(), other(x).values(), steps, strict=True)
    return max(float(np.abs(a - b).max()) / step for a, b, step in pairs)


def trained(name, blobs, epochs=12):
    x, y = blobs
    model = compiled(name, keras.optimizers.Adam(0.01), metrics=["accuracy"])
    model.fit(inputs_for(name, x), y, epochs=epochs, batch_size=32, verbose=0)
    return model, inputs_for(name, x), y


@pytest.mark.parametrize("name", [n if n in ALWAYS else pytest.param(n, marks=pytest.mark.slow) for n in NETS])
def test_the_file_is_the_model_in_training(name, blobs, record_property):
    model, x, y = trained(name, blobs)
    before = model.evaluate(x, y, verbose=0)[1]
    model.optimizer.learning_rate = 1e-3
    aware = QuantizationAware(x[:64], freeze_last=0.5)
    model.fit(x, y, epochs=2, batch_size=32, verbose=0, callbacks=[aware])
    conversion = aware.convert()
    likeness = aware.aware.likeness(conversion.content, x)
    figures = {"steps": round(likeness.steps, 2), "between_kernels": round(between_kernels(conversion.content, x), 2)}
    record_property("figures", figures)
    print(name, figures)
    assert likeness.steps <= DRIFT.get(name, 2) + 0.01
    assert name not in DRIFT or figures["steps"] <= figures["between_kernels"]
    assert likeness.agreement >= 0.999
    assert not aware.aware.skipped
    assert model.evaluate(x, y, verbose=0)[1] >= before - 0.05
    assert before > 0.6
