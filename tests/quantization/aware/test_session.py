"""Quantization-aware training in whatever model, precision and state it is attached to, and how it is let go of."""

import contextlib
import warnings

import keras
import numpy as np
import pytest

import tfopt
from tests.quantization.aware.aware_nets import NETS, compiled, folded, inputs_for
from tfopt.callbacks import Clustering, MagnitudePruning, QuantizationAware
from tfopt.errors import ConversionError, DataError, InputError, ModelError, TfoptWarning
from tfopt.models.clone import in_precision
from tfopt.models.layers import replaced_by, walk
from tfopt.quantization import quantize_aware

LAYERS = keras.layers


def small(**first):
    return keras.Sequential([LAYERS.Input((8, 8, 1), **first), LAYERS.Flatten(), LAYERS.Dense(4, name="head")])


def unnamed():
    """A net whose layers have other names whenever it is built."""
    return keras.Sequential([LAYERS.Input((8, 8, 1)), LAYERS.Flatten(), LAYERS.Dense(8), LAYERS.Dense(4)])


@pytest.fixture(scope="module")
def fitted(make_blobs):
    """A model, and the callback that it was trained with; neither is to be changed."""
    keras.utils.set_random_seed(0)
    x, y = make_blobs()
    model, aware = compiled(unnamed()), QuantizationAware(x[:32], momentum=0.5)
    model.fit(x, y, epochs=2, verbose=0, callbacks=[aware])
    return model, aware


def is_free(model):
    return all("call" not in vars(part) for part in (model, *(place.layer for place in walk(model))))


# Rules


def test_a_rule_keeps_an_operation_between_layers_in_float_in_training_and_in_the_file(blobs):
    x, y = blobs
    inputs = LAYERS.Input((8, 8, 1))
    h = keras.ops.tanh(LAYERS.Dense(6, name="body")(LAYERS.Flatten()(inputs)))
    model = compiled(keras.Model(inputs, LAYERS.Dense(4, name="head")(h)), optimizer=keras.optimizers.SGD(1e-3))
    name = next(op.name for op in model.operations if type(op).__name__ == "Tanh")
    aware = QuantizationAware(x[:32], rules=[{"layers": name, "to": "float"}])
    model.fit(x, y, epochs=1, batch_size=128, verbose=0, callbacks=[aware])
    made = aware.convert()
    assert [kept.split(" ")[0] for kept in made.audit.floating] == ["TANH"]
    assert made.skipped[0].reason.startswith("a rule keeps it so")
    assert aware.aware.likeness(made.content, x[:64]).steps <= 1.01


def test_a_file_that_is_noisy_after_training_is_there_with_a_warning_of_its_own():
    keras.utils.set_random_seed(1)
    inputs = LAYERS.Input((16,))
    model = compiled(keras.Model(inputs, LAYERS.Dense(4)(keras.ops.log(inputs * inputs + 1e-2))))
    x = np.random.default_rng(0).normal(size=(64, 16)).astype(np.float32)
    aware = QuantizationAware(x)
    model.fit(x, np.arange(64) % 4, epochs=1, batch_size=64, verbose=0, callbacks=[aware])
    with pytest.warns(tfopt.TfoptWarning, match="the int8 file is noisy: SNR") as caught:
        made = aware.convert()
    assert [one.filename for one in caught if one.category is tfopt.TfoptWarning] == [__file__]
    assert len(made.warnings) == 1
    assert aware.aware.likeness(made.content, x).agreement > 0.9
    aware.export = aware.aware.export = tfopt.Export(least_snr_db=20)
    with pytest.raises(ConversionError, match="has to exceed 20"):
        aware.convert()


# Inputs


def test_whole_numbers_are_put_on_the_grid_of_the_input(blobs):
    x = np.clip(blobs[0] * 60 + 100, 0, 255).astype(np.uint8)
    inputs = LAYERS.Input((8, 8, 1))
    model = compiled(keras.Model(inputs, LAYERS.Dense(4)(LAYERS.Flatten()(LAYERS.Rescaling(1 / 255)(inputs)))))
    aware = QuantizationAware(x[:64])
    model.fit(x, blobs[1], epochs=1, batch_size=64, verbose=0, callbacks=[aware])
    assert aware.aware.observer.ranges()[model.inputs[0].name][1] == pytest.approx(x.max(), rel=0.1)
    assert aware.aware.likeness(aware.convert().content, x.astype(np.float32)).steps <= 1.01


@pytest.mark.parametrize("name", ["left", "another"])
def test_a_dict_of_inputs_has_names_of_its_own(name, blobs):
    x, _ = blobs
    flat = x.reshape(len(x), -1)
    left, right = LAYERS.Input((64,), name=name), LAYERS.Input((64,), name="right")
    outputs = LAYERS.Dense(4)(LAYERS.Concatenate()([left, right]))
    with pytest.warns(UserWarning, match="name 'another'") if name == "another" else contextlib.nullcontext():
        model = keras.Model({"left": left, "right": right}, outputs)
    aware = quantize_aware(model, "int8", {name: flat, "right": flat * 5})
    rounded = np.asarray(model({"left": flat, "right": flat * 5}))
    aware.strip()
    plain = np.asarray(model({"left": flat, "right": flat * 5}))
    assert 0 < np.abs(rounded - plain).max() < 0.3
    ranges = aware.observer.ranges()
    assert len({low for low, _ in ranges.values()}) > 1
    assert aware.likeness(aware.convert().content).steps <= 1.01


def test_a_model_may_be_called_in_any_way(blobs):
    x, _ = blobs
    model = keras.Sequential([*small().layers, LAYERS.Dropout(0.9)])
    model.build((None, 8, 8, 1))
    aware = quantize_aware(model, "int8", x[:32])
    expected = np.asarray(model(x))
    np.testing.assert_array_equal(np.asarray(model(inputs=x)), expected)
    np.testing.assert_array_equal(np.asarray(model.call(keras.ops.convert_to_tensor(x))), expected)
    np.testing.assert_array_equal(np.asarray(model(x)), expected)  # and nothing of it is left
    aware.strip()


# Modes and precisions


@pytest.mark.parametrize("mode", ["int8", "int16x8"])
def test_the_grid_that_an_op_fixes_is_no_other_values(mode, blobs):
    x, _ = blobs
    model = keras.Sequential([*small().layers, LAYERS.Softmax()])
    model.build((None, 8, 8, 1))
    aware = quantize_aware(model, mode, x[:64] * 300, momentum=0.5)
    for _ in range(4):
        model(x * 300, training=True)
    assert len(set(aware.scheme.points.values()) & set(aware.scheme.inputs.values())) == 0
    assert aware.observer.ranges()[model.inputs[0].name][1] > 300


@pytest.mark.parametrize(
    ("policy", "ranges"),
    [
        ("mixed_float16", "learned"),
        pytest.param("mixed_bfloat16", "moving_average", marks=pytest.mark.slow),
        pytest.param("mixed_float16", "moving_average", marks=pytest.mark.slow),
        pytest.param("mixed_bfloat16", "learned", marks=pytest.mark.slow),
    ],
)
def test_it_trains_in_mixed_precision(policy, ranges, blobs):
    """A loss scaled far too high overflows in the first steps, which learned ranges must not take up."""
    x, y = blobs
    model = folded()
    mixed = in_precision(model, policy)
    scaled = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(1e-2), initial_scale=2.0**40)
    compiled(mixed, scaled if policy == "mixed_float16" else "sgd")
    aware = QuantizationAware(x[:64], ranges=ranges)
    mixed.fit(x, y, epochs=1, batch_size=32, verbose=0, callbacks=[aware])
    assert all(np.isfinite(value).all() for value in aware.get_state().values())
    model.set_weights(mixed.get_weights())
    other = aware.aware.on(model)
    assert other.likeness(other.convert().content, x).steps <= 2.01
    assert not other.skipped


def test_a_value_that_rounds_to_zero_has_a_finite_root(blobs):
    x, y = blobs
    model = compiled("layer_norm")
    aware = QuantizationAware(x[:64])
    history = model.fit(x, y, epochs=1, batch_size=32, verbose=0, callbacks=[aware]).history
    assert np.isfinite(history["loss"]).all()
    assert aware.aware.scheme.nonzero


# What training does not see


def test_what_is_no_weight_is_listed(blobs):
    x, _ = blobs
    model = small()
    model.get_layer("head").enable_lora(2)
    model.get_layer("head").lora_kernel_b.assign(np.ones((2, 4)))
    aware = quantize_aware(model, "int4", x[:32])
    aware.strip()
    assert any("no weight of the model" in entry.reason for entry in aware.skipped)
    assert not quantize_aware(small(), "int4", x[:32]).skipped


def test_one_scale_behind_a_batch_normalization_is_listed(blobs):
    x, _ = blobs
    model = folded()
    norm = next(layer for layer in model.layers if isinstance(layer, LAYERS.BatchNormalization))
    norm.gamma.assign(np.linspace(0.2, 2, norm.gamma.shape[0]))
    reasons = {}
    for scales in ("channel", "tensor"):
        aware = quantize_aware(model, "int8", x[:32], scales=scales)
        aware.strip()
        reasons[scales] = [entry.reason for entry in aware.skipped]
    assert not reasons["channel"]
    assert any("one scale for all channels" in reason for reason in reasons["tensor"])


def test_what_was_missed_is_known_of_a_copy_too(fitted):
    _, aware = fitted
    missed, *others = aware.aware.scheme.points
    first = aware.aware.on(unnamed())
    first._simulation.reached = {*others, None}
    second = first.on(keras.models.clone_model(first.model))
    path = first.parts[missed.part].path
    assert [entry.where for entry in first.skipped] == [f"{path}/{missed.op or 'output'}"]
    assert [entry.where for entry in second.skipped] == [entry.where for entry in first.skipped]


# One after the other


class Stop(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        raise KeyboardInterrupt


@pytest.fixture
def left(blobs):
    """A model and the callback that an interrupted fit has left on it."""
    model, aware = compiled(small()), QuantizationAware(blobs[0][:32])
    with pytest.raises(KeyboardInterrupt):
        model.fit(*blobs, verbose=0, callbacks=[aware, Stop()])
    assert not is_free(model)
    return model, aware


@pytest.mark.parametrize("what", ["again", "pruning", "attached"])
def test_what_an_interrupted_fit_left_ends_with_the_next(what, left, blobs):
    model, aware = left
    x, y = blobs
    if what == "attached":
        quantize_aware(model, "int8", x[:32]).strip()
    else:
        callback = QuantizationAware(x[:32]) if what == "again" else MagnitudePruning(0.5)
        begin = 1 if what == "again" else 0  # pruning says so where it has no step to prune in
        model.fit(x, y, initial_epoch=begin, epochs=1, verbose=0, callbacks=[callback])
    assert is_free(model)
    aware.detach()
    assert is_free(model)


def test_an_attached_model_is_not_converted_as_it_is(left, blobs):
    model, aware = left
    with pytest.raises(ModelError, match="let go of the model first"):
        tfopt.convert(model, "int8", blobs[0][:32])
    aware.detach()
    assert tfopt.convert(model, "int8", blobs[0][:32])


def test_a_second_one_takes_the_place_of_the_first(blobs):
    x, _ = blobs
    model = small()
    before = model.predict(x, verbose=0)
    first, second = quantize_aware(model, "int8", x[:32]), quantize_aware(model, "int4", x[:32])
    assert not first.attached
    assert replaced_by(model) is second
    first.strip()
    assert replaced_by(model) is second
    second.strip()
    np.testing.assert_array_equal(model.predict(x, verbose=0), before)


def test_what_fails_half_way_leaves_nothing(blobs):
    model = small()
    with pytest.raises(DataError, match="at least 20"):
        quantize_aware(model, "int8", blobs[0][:8], ranges="percentile")
    assert is_free(model)


@pytest.mark.parametrize(
    ("other", "order", "message"),
    [
        (MagnitudePruning(0.5), 1, "in one fit"),
        (Clustering(8), 1, "in one fit"),
        (MagnitudePruning(0.5), -1, r"QuantizationAware.*in one fit|in one fit.*QuantizationAware|both hold"),
    ],
)
def test_it_comes_after_pruning_and_clustering_and_not_with_them(other, order, message, blobs):
    x, y = blobs
    model = compiled(small())
    kernel = model.get_layer("head").kernel
    kernel.assign(np.where(np.abs(kernel) < 0.2, 0, kernel))
    callbacks = [QuantizationAware(x[:32]), other][::order]
    with pytest.raises(ModelError, match=message):
        model.fit(x, y, verbose=0, callbacks=callbacks)
    for callback in callbacks:
        callback.detach()
    assert is_free(model)
    assert all(variable.constraint is None for variable in model.trainable_variables)


# What it takes


def test_a_state_that_comes_after_the_last_epoch_is_taken_up(fitted, blobs):
    (model, aware), (x, y) = fitted, blobs
    state, content = aware.get_state(), aware.convert().content
    other = QuantizationAware(x[:32], momentum=0.5)
    other.set_state(state)
    model.fit(x, y, epochs=2, initial_epoch=2, verbose=0, callbacks=[other])
    for name, value in state.items():
        np.testing.assert_array_equal(other.get_state()[name], value)
    assert other.convert().content == content


def test_the_callback_says_how_close_a_file_is_as_its_session_does(fitted, blobs):
    _, aware = fitted
    content = aware.convert().content
    assert aware.likeness(content, blobs[0][:16]) == aware.aware.likeness(content, blobs[0][:16])
    assert aware.likeness(content).agreement > 0.9
    with pytest.raises(ModelError, match="no fit was run"):
        QuantizationAware(blobs[0][:16]).likeness(content)


def test_a_model_built_again_takes_the_ranges_whatever_its_names(fitted):
    model, aware = fitted
    again = unnamed()
    again.set_weights(model.get_weights())
    assert [layer.name for layer in again.layers] != [layer.name for layer in model.layers]
    files = aware.convert(), aware.convert(again)
    assert files[0].figures == files[1].figures
    with pytest.raises(ModelError, match="other layers"):
        aware.convert(NETS["conv_bn"]())


def test_two_epochs_have_one_that_is_frozen(blobs):
    x, y = blobs
    model, aware = compiled(small()), QuantizationAware(x[:32], momentum=0.5)
    ends = []
    look = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: ends.append(aware.aware.observer.high.numpy())
    )
    model.fit(x, y, epochs=2, verbose=0, callbacks=[aware, look])
    np.testing.assert_array_equal(*ends)


def test_settings_are_refused_where_they_are_written(blobs):
    x, _ = blobs
    for settings in ({"mode": "float16"}, {"momentum": 3}, {"ranges": "minmax"}, {"rate": 0}):
        with pytest.raises(InputError):
            QuantizationAware(x, **settings)


def test_optimizers_that_take_gradients_twice_are_refused_in_a_fit(blobs):
    x, y = blobs
    model = compiled(small(), tfopt.optimizers.SAM(keras.optimizers.SGD(0.1)))
    with pytest.raises(ModelError, match="SAM takes gradients"):
        model.fit(x, y, verbose=0, callbacks=[QuantizationAware(x[:32])])


def test_a_file_that_has_nothing_to_do_with_the_model_is_refused(blobs):
    """What is checked of every file is checked of this one."""
    aware = quantize_aware(small(), "int8", blobs[0][:32])
    aware.observer.high.assign(aware.observer.high * 1e4)
    with pytest.raises(ConversionError, match="SNR"):
        aware.convert()


# What is left alone


@pytest.mark.parametrize("name", NETS)
@pytest.mark.sample(3)
def test_of_the_layers_that_training_knows_none_is_left_alone(name, blobs):
    assert QuantizationAware(inputs_for(name, blobs[0][:16])).on(NETS[name]()).left_alone == ()


def test_a_kernel_that_is_not_rounded_is_a_warning_unless_a_rule_keeps_it_so(blobs):
    x, y = blobs

    def adapted():
        model = small()
        model.get_layer("head").enable_lora(2)
        model.get_layer("head").lora_kernel_b.assign(np.ones((2, 4)))
        return compiled(model)

    told = "QuantizationAware leaves head alone: training does not round its kernel, which the int8 file has in float"
    aware = QuantizationAware(x[:16])
    with pytest.warns(TfoptWarning, match=told) as caught:
        adapted().fit(x[:32], y[:32], verbose=0, callbacks=[aware])
    assert len([one for one in caught if one.category is TfoptWarning]) == 1
    assert ("head", told.partition("alone: ")[2]) in [
        (one.where, one.reason.removesuffix(" or in another form")) for one in aware.aware.skipped
    ]
    with pytest.warns(TfoptWarning, match="quantize_aware leaves head alone"):
        quantize_aware(adapted(), "int8", x[:16]).strip()
    dense = [LAYERS.Flatten(), LAYERS.Dense(4, name="body"), LAYERS.Dense(4, name="head")]
    ruled = compiled(keras.Sequential([LAYERS.Input((8, 8, 1)), *dense]))
    with warnings.catch_warnings():
        warnings.simplefilter("error", TfoptWarning)
        quantize_aware(ruled, "int8", x[:16], rules=[{"layers": ["body"], "to": "float"}]).strip()
