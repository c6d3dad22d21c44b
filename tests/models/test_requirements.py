"""What is asked of a model: weights whether or not Keras calls it built, outputs, and layers that are not quantized."""

import keras
import pytest
from keras import layers

import tfopt
from tfopt.errors import ModelError
from tfopt.models import requirements
from tfopt.models.layers import walk


class Pair(keras.Model):
    """Two models trained by a step of its own; it has no call."""

    def __init__(self, *ends):
        super().__init__()
        self.one = keras.Sequential([layers.Input((4,)), layers.Dense(8)], name="one")
        self.two = keras.Sequential([*ends, layers.Dense(4, name="back"), layers.Dropout(0.1)], name="two")


def quantized(mode):
    model = keras.Sequential([layers.Input((8,)), layers.Dense(8, name="hidden"), layers.ReLU()])
    model.quantize(mode)
    return model


def test_what_counts_is_whether_there_are_weights():
    whole, open_model = Pair(layers.Input((8,))), keras.Sequential([layers.Dense(4)])
    assert not whole.built
    assert requirements.has_weights(whole)
    assert not requirements.has_weights(open_model)
    assert requirements.has_weights(keras.Sequential([layers.Input((4,)), layers.ReLU()]))
    requirements.check_weights(whole, ".")
    with pytest.raises(ModelError, match=r"^the model has no weights yet, so\.$"):
        requirements.check_weights(open_model, ", so.")


def test_a_part_without_weights_is_named():
    with pytest.raises(ModelError, match=r"^two/back \(Dense\) has no weights yet\.$"):
        requirements.check_weights(Pair(), ".")


def test_a_model_without_a_call_is_refused_with_the_models_in_it(one_line):
    with pytest.raises(ModelError) as caught:
        requirements.check_call(Pair())
    assert "Pair has no call() of its own" in one_line(caught)
    assert "(one, two)" in one_line(caught)
    requirements.check_call(keras.Sequential([layers.Dense(4)]))


@pytest.mark.parametrize("mode", ["int8", "int4", "float8"])
@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method")
def test_a_layer_that_keras_has_quantized_is_refused_by_name(mode, one_line):
    with pytest.raises(ModelError) as caught:
        requirements.check_not_quantized(walk(quantized(mode)))
    assert f"hidden (Dense) to {mode} already" in one_line(caught)
    assert "before quantize()" in one_line(caught)
    requirements.check_not_quantized(walk(keras.Sequential([layers.Input((8,)), layers.Dense(8), layers.ReLU()])))


@pytest.mark.parametrize("mode", ["int8", "int4"])
@pytest.mark.parametrize(
    "use",
    [
        lambda model: tfopt.convert(model, "float32"),
        lambda model: tfopt.callbacks.MagnitudePruning(sparsity=0.5).choose(model, 10),
        lambda model: tfopt.callbacks.Clustering(clusters=4).choose(model),
        lambda model: tfopt.sparsity.remove(model, 0.5),
        lambda model: tfopt.quantization.quantize_aware(model, "int8", calibration=[[0.0] * 8]),
    ],
    ids=["convert", "prune", "cluster", "remove", "qat"],
)
@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method")
@pytest.mark.sample(5)
def test_nothing_works_on_what_keras_has_quantized(use, mode):
    with pytest.raises(ModelError, match="Keras has quantized hidden"):
        use(quantized(mode))
