"""`Distillation` in other people's `fit()`: the loss to the last digit, and a model that stays its own."""

import functools
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tfopt.callbacks import Distillation, MagnitudePruning
from tfopt.errors import InputError, ModelError


def build(activation=None, units=4, seed=0, hidden=()):
    keras.utils.set_random_seed(seed)
    inside = [layers.Dense(width, activation="relu", name=f"hidden{width}") for width in hidden]
    return keras.Sequential(
        [layers.Input((8, 8, 1)), layers.Flatten(), *inside, layers.Dense(units, activation, name="head")]
    )


def crossentropy(from_logits=True):
    return keras.losses.SparseCategoricalCrossentropy(from_logits=from_logits)


def compiled(model, loss=None, optimizer="sgd", **options):
    model.compile(optimizer, loss or crossentropy(), **options)
    return model


def teacher(activation=None, units=4):
    """One that is sure of some samples and not of others; it is built once, since nothing trains it."""
    return teacher_of(activation, units, keras.mixed_precision.dtype_policy().name)


@functools.cache
def teacher_of(activation, units, policy):
    model = build(activation, units, seed=11, hidden=(16,))
    model.set_weights([weight * 2 for weight in model.get_weights()])
    return model


def fit(model, blobs, callbacks, epochs=1, **options):
    keras.utils.set_random_seed(0)
    return model.fit(
        *blobs, batch_size=options.pop("batch_size", 64), epochs=epochs, verbose=0, callbacks=callbacks, **options
    )


def same(first, second):
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def equal(first, second):
    return same(first.get_weights(), second.get_weights())


@pytest.fixture(scope="module")
def learned(make_blobs):
    """The weights of a student after two epochs with its teacher."""
    student = compiled(build(seed=1))
    fit(student, make_blobs(), [Distillation(teacher(), weight=0.8)], epochs=2)
    return student.get_weights()


# The formula, in NumPy and in float64


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def divergence(z_teacher, z_student, temperature):
    p, q = softmax(z_teacher / temperature), softmax(z_student / temperature)
    return temperature**2 * (p * np.log(p / q)).sum(-1)


def logits(model, x):
    """What a model gives before its last activation."""
    before = keras.Model(model.inputs[0], model.layers[-1].input)
    kernel, bias = (np.asarray(v, np.float64) for v in model.layers[-1].get_weights())
    return np.asarray(before(x), np.float64) @ kernel + bias


def first_loss(model, blobs, distillation):
    """The loss of all samples that `fit` trains on, before it changes a weight."""
    x, y = blobs
    with distillation:
        distillation.set_model(model)
        distillation.on_train_begin()
        return float(model.compute_loss(x, y, model(x, training=True)))


@pytest.mark.parametrize(("temperature", "weight"), [(1.0, 0.5), (4.0, 0.5), (4.0, 1.0), (0.5, 0.3)])
@pytest.mark.parametrize("student_end", [None, "softmax"], ids=["logits", "softmax"])
@pytest.mark.parametrize("teacher_end", [None, "softmax"], ids=["of logits", "of softmax"])
@pytest.mark.sample(5)
def test_the_loss_is_the_one_of_the_paper(temperature, weight, student_end, teacher_end, blobs):
    x, y = blobs
    student, learned = build(student_end, seed=1), teacher(teacher_end)
    z_student, z_teacher = logits(student, x), logits(learned, x)
    own = -np.log(softmax(z_student)[np.arange(256), y]).mean()
    expected = (1 - weight) * own + weight * divergence(z_teacher, z_student, temperature).mean()
    compiled(student, crossentropy(from_logits=student_end is None))
    found = first_loss(student, blobs, Distillation(learned, temperature, weight))
    assert found == pytest.approx(expected, rel=2e-6)


def test_sample_weights_count_in_both_parts(blobs):
    x, y = blobs
    weights = np.linspace(0, 3, 256)
    student, learned = build(seed=1), teacher()
    z_student, z_teacher = logits(student, x), logits(learned, x)
    own = -np.log(softmax(z_student)[np.arange(256), y])
    expected = (weights * (0.4 * own + 0.6 * divergence(z_teacher, z_student, 3.0))).mean()
    compiled(student, run_eagerly=True)
    history = fit(student, blobs, [Distillation(learned, 3.0, 0.6)], batch_size=256, sample_weight=weights).history
    assert history["loss"][0] == pytest.approx(expected, rel=2e-6)


@pytest.mark.parametrize("end", [None, "sigmoid"], ids=["logits", "sigmoid"])
def test_outputs_of_a_binary_crossentropy_are_decisions_of_their_own(end, blobs):
    x, y = blobs
    targets = np.stack([y % 2, y // 2], axis=1).astype(np.float32)
    student, learned = build(end, 2, seed=1), teacher(end, 2)
    z_student, z_teacher = logits(student, x), logits(learned, x)
    p = 1 / (1 + np.exp(-z_student))
    own = -(targets * np.log(p) + (1 - targets) * np.log(1 - p)).mean()
    pairs = [np.stack([z, np.zeros_like(z)], axis=-1) for z in (z_teacher, z_student)]
    expected = 0.5 * own + 0.5 * divergence(*pairs, 2.0).mean()
    compiled(student, keras.losses.BinaryCrossentropy(from_logits=end is None))
    assert first_loss(student, (x, targets), Distillation(learned, 2.0)) == pytest.approx(expected, rel=5e-6)


def test_values_are_compared_by_their_mean_squared_error(blobs):
    x, y = blobs
    targets = y[:, None].astype(np.float32)
    student, learned = build(units=1, seed=1), teacher(units=1)
    z_student, z_teacher = logits(student, x), logits(learned, x)
    expected = 0.7 * np.abs(z_student - targets).mean() + 0.3 * ((z_student - z_teacher) ** 2).mean()
    found = first_loss(compiled(student, "mae"), (x, targets), Distillation(learned, weight=0.3))
    assert found == pytest.approx(expected, rel=2e-6)


def test_penalties_on_weights_keep_their_full_strength(blobs):
    student = build(seed=1)
    student.get_layer("head").kernel.regularizer = keras.regularizers.L2(0.1)
    penalty = 0.1 * np.square(student.get_layer("head").kernel.numpy()).sum()
    apart = divergence(logits(teacher(), blobs[0]), logits(student, blobs[0]), 4.0).mean()
    found = first_loss(compiled(student), blobs, Distillation(teacher(), weight=1.0))
    assert found == pytest.approx(apart + penalty, rel=2e-6)


def test_a_step_of_gradient_descent_is_the_one_written_by_hand(blobs):
    x, y = blobs
    student, learned, temperature, weight = build(seed=1, hidden=(12,)), teacher(), 3.0, 0.7
    by_hand = build(seed=1, hidden=(12,))
    with tf.GradientTape() as tape:
        z = by_hand(x, training=True)
        p, q = tf.nn.softmax(learned(x) / temperature), tf.nn.softmax(z / temperature)
        apart = temperature**2 * tf.reduce_mean(tf.reduce_sum(p * (tf.math.log(p) - tf.math.log(q)), axis=-1))
        own = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, z))
        loss = (1 - weight) * own + weight * apart
    variables = by_hand.trainable_variables
    for variable, gradient in zip(variables, tape.gradient(loss, [v.value for v in variables]), strict=True):
        variable.assign(variable - 0.1 * gradient)
    compiled(student, optimizer=keras.optimizers.SGD(0.1))
    history = fit(student, blobs, [Distillation(learned, temperature, weight)], batch_size=256).history
    assert history["loss"][0] == pytest.approx(float(loss), rel=2e-6)
    assert not equal(student, build(seed=1, hidden=(12,)))
    for found, expected in zip(student.get_weights(), by_hand.get_weights(), strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def test_a_student_that_is_sure_and_wrong_still_learns(blobs):
    """Clipped probabilities would give it no gradient."""
    x, y = blobs
    student = build()
    student.get_layer("head").set_weights([np.zeros((64, 4)), np.array([60.0, 0, 0, 0])])
    learned = build()
    learned.get_layer("head").set_weights([np.zeros((64, 4)), np.array([0.0, 60, 0, 0])])
    compiled(student, optimizer=keras.optimizers.SGD(1.0), run_eagerly=True)
    fit(student, (x, y), [Distillation(learned, temperature=1.0, weight=1.0)], batch_size=256)
    assert student.get_layer("head").bias.numpy()[:2] == pytest.approx([59, 1], abs=1e-4)


def test_without_any_weight_training_is_what_it_was(blobs):
    plain, distilled = (compiled(build(hidden=(12,)), optimizer="adam", run_eagerly=True) for _ in range(2))
    fit(plain, blobs, [])
    fit(distilled, blobs, [Distillation(teacher(), weight=0.0)])
    assert equal(plain, distilled)


def test_the_validation_loss_stays_the_models_own(blobs):
    student = compiled(build())
    history = fit(student, blobs, [Distillation(teacher(), weight=0.9)], validation_data=blobs).history
    assert history["val_loss"][0] == pytest.approx(student.evaluate(*blobs, verbose=0), rel=1e-6)


def test_a_student_comes_nearer_to_its_teacher(blobs):
    learned, student = teacher(), compiled(build(seed=1), optimizer=keras.optimizers.SGD(0.3))
    before = divergence(logits(learned, blobs[0]), logits(student, blobs[0]), 1.0).mean()
    fit(student, blobs, [Distillation(learned, weight=1.0)], epochs=8)
    after = divergence(logits(learned, blobs[0]), logits(student, blobs[0]), 1.0).mean()
    assert after < before / 4


# What outputs are taken for


class Subclassed(keras.Model):
    """A model whose end nobody can see."""

    def __init__(self, activation=None):
        super().__init__()
        self.flatten, self.head = layers.Flatten(), layers.Dense(4, activation)

    def call(self, x):
        return self.head(self.flatten(x))


def nested(activation):
    inputs = layers.Input((8, 8, 1))
    return keras.Model(inputs, build(activation, seed=11)(inputs))


def separate(last):
    model = build(seed=11)
    return keras.Model(model.inputs[0], last(model.outputs[0]))


def silent(activation):
    model = Subclassed(activation)
    model(np.zeros((1, 8, 8, 1), np.float32))
    model.set_weights(build(seed=11).get_weights())
    return model


TEACHERS = {
    "softmax of a nested model": lambda: nested("softmax"),
    "a softmax layer": lambda: separate(layers.Softmax()),
    "an activation layer": lambda: separate(layers.Activation("softmax")),
    "an op": lambda: separate(keras.ops.softmax),
    "a layer as activation": lambda: build(layers.Softmax(), seed=11),
    "a cast behind the softmax, by its loss": lambda: compiled(
        keras.Sequential([build("softmax", seed=11), layers.Activation("linear", dtype="float32")]),
        crossentropy(from_logits=False),
    ),
    "logits of a nested model": lambda: nested(None),
    "a subclassed one of logits, by its loss": lambda: compiled(silent(None)),
    "a subclassed one of probabilities, by its loss": lambda: compiled(
        silent("softmax"), crossentropy(from_logits=False)
    ),
    "a subclassed one that says nothing, as the student": lambda: silent("softmax"),
    "a function, as the student": lambda: build("softmax", seed=11).__call__,
}


@pytest.mark.parametrize("name", TEACHERS)
def test_probabilities_and_logits_are_told_apart(name, blobs):
    student = compiled(build("softmax", seed=1), crossentropy(from_logits=False))
    expected = divergence(logits(build(seed=11), blobs[0]), logits(student, blobs[0]), 2.0).mean()
    found = first_loss(student, blobs, Distillation(TEACHERS[name](), 2.0, 1.0))
    assert found == pytest.approx(expected, rel=2e-6)


@pytest.mark.parametrize("activation", [None, "softmax"])
def test_a_student_whose_end_cannot_be_seen_is_read_by_its_loss(activation, blobs):
    student = silent(activation)
    student.set_weights(build(seed=1).get_weights())
    expected = divergence(logits(teacher(), blobs[0]), logits(build(seed=1), blobs[0]), 2.0).mean()
    compiled(student, crossentropy(from_logits=activation is None))
    found = first_loss(student, blobs, Distillation(teacher("softmax"), 2.0, 1.0))
    assert found == pytest.approx(expected, rel=2e-6)


# Every way of training

WAYS = {
    "eagerly": {"run_eagerly": True},
    "with XLA": {"jit_compile": True},
    "three steps in one execution, which leaves a rest": {"steps_per_execution": 3},
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_of_training_ends_with_the_same_weights(way, learned, blobs):
    other = compiled(build(seed=1), **WAYS[way])
    fit(other, blobs, [Distillation(teacher(), weight=0.8)], epochs=2)
    for a, b in zip(learned, other.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=2e-6)


@pytest.mark.parametrize("end", ["softmax", None])
@pytest.mark.sample(1)
def test_mixed_precision_ends_near_full_precision(end, blobs):
    def trained(**options):
        student = compiled(build(end, seed=1), crossentropy(from_logits=end is None), **options)
        fit(student, blobs, [Distillation(teacher(end), weight=0.8)], epochs=2)
        return student

    full, before = trained(run_eagerly=True), keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy("mixed_float16")
    try:
        mixed = trained()
    finally:
        keras.mixed_precision.set_dtype_policy(before)
    assert mixed.get_layer("head").compute_dtype == "float16"
    for a, b in zip(full.get_weights(), mixed.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=5e-3)


def test_inputs_may_be_a_dict(blobs):
    def two_inputs(seed):
        keras.utils.set_random_seed(seed)
        left, right = layers.Input((8, 8, 1), name="left"), layers.Input((8, 8, 1), name="right")
        both = layers.Concatenate()([layers.Flatten()(left), layers.Flatten()(right)])
        return keras.Model({"left": left, "right": right}, layers.Dense(4, name="head")(both))

    x, student, learned = {"left": blobs[0], "right": -blobs[0]}, compiled(two_inputs(1)), two_inputs(2)
    z_teacher, z_student = (model(x).numpy().astype(np.float64) for model in (learned, student))
    found = first_loss(student, (x, blobs[1]), Distillation(learned, weight=1.0))
    assert found == pytest.approx(divergence(z_teacher, z_student, 4.0).mean(), rel=2e-6)


MIRRORED = """
import keras, numpy as np, tensorflow as tf
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0],
                                           [tf.config.LogicalDeviceConfiguration()] * 2)
from tfopt.callbacks import Distillation
x = np.random.default_rng(0).normal(size=(64, 5)).astype("float32")
y = np.arange(64) % 4

def build(seed):
    keras.utils.set_random_seed(seed)
    model = keras.Sequential([keras.layers.Input((5,)), keras.layers.Dense(4)])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model

def train(model):
    history = model.fit(x, y, batch_size=32, epochs=2, verbose=0, shuffle=False,
                        callbacks=[Distillation(build(1), weight=0.8)])
    return history.history["loss"], model.get_weights()

alone = train(build(2))
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    model = build(2)
together = train(model)
print(strategy.num_replicas_in_sync, np.abs(np.subtract(alone[0], together[0])).max() < 1e-5,
      max(np.abs(a - b).max() for a, b in zip(alone[1], together[1])) < 1e-6)
"""


@pytest.mark.slow
def test_two_logical_devices_of_a_mirrored_strategy_end_with_the_weights_of_one(python):
    assert python(MIRRORED).split()[-3:] == ["2", "True", "True"]


@pytest.mark.parametrize("pruning_first", [True, False])
@pytest.mark.parametrize("steps_per_execution", [1, 4])
@pytest.mark.sample(1)
def test_it_goes_with_pruning_in_either_order(pruning_first, steps_per_execution, blobs):
    def trained(*weights, **options):
        student = compiled(build(seed=1), **options)
        pruning = MagnitudePruning(sparsity=0.75, begin=1, end=8, frequency=2)
        callbacks = [pruning, *(Distillation(teacher(), weight=weight) for weight in weights)]
        fit(student, blobs, callbacks if pruning_first else callbacks[::-1], epochs=3)
        return student

    student = trained(0.8, steps_per_execution=steps_per_execution)
    alone, without_weight = trained(run_eagerly=True), trained(0.0, run_eagerly=True)
    assert np.mean(student.get_layer("head").kernel.numpy() == 0) == pytest.approx(0.75)
    assert {"compute_loss", "train_step"}.isdisjoint(vars(student))
    assert equal(alone, without_weight)
    assert not np.allclose(alone.get_weights()[0], student.get_weights()[0], atol=1e-3)


# A model that stays its own


def test_the_teacher_is_not_trained_and_its_statistics_stay(blobs):
    learned = keras.Sequential([layers.Input((8, 8, 1)), layers.BatchNormalization(), layers.Dropout(0.5), build()])
    before = learned.get_weights()
    histories = [
        fit(compiled(build(seed=1), run_eagerly=True), blobs, [Distillation(learned, weight=1.0)], batch_size=128)
        for _ in range(2)
    ]
    assert same(before, learned.get_weights())
    assert histories[0].history == histories[1].history  # dropout is off


@pytest.fixture
def middle(blobs, tmp_path):
    """A student saved while it learns from a teacher that has layers of the same names, and that student."""
    path, student = tmp_path / "middle.keras", compiled(build(seed=1, hidden=(16,)), run_eagerly=True)
    config = student.get_config()
    fit(student, blobs, [Distillation(teacher()), keras.callbacks.ModelCheckpoint(str(path))], batch_size=256)
    assert student.get_config() == config
    return path, student


def test_what_is_saved_in_the_middle_is_an_ordinary_model(middle):
    path, student = middle
    loaded = keras.models.load_model(path)
    assert equal(loaded, student)
    assert "compute_loss" not in vars(loaded)
    with zipfile.ZipFile(path) as file:
        assert not [name for name in file.namelist() if b"tfopt" in file.read(name)]


@pytest.mark.slow
def test_what_is_saved_in_the_middle_loads_where_tfopt_is_not(middle, python):
    path, student = middle
    printed = python(
        f"import keras, sys; m = keras.models.load_model({str(path)!r}); "
        "print(m.count_params(), 'compute_loss' in vars(m), 'tfopt' in sys.modules)"
    )
    assert printed.split()[-3:] == [str(student.count_params()), "False", "False"]


@pytest.fixture(scope="module")
def in_turn(make_blobs):
    """The weights of one student after a fit without a teacher, with one, and without again, each from the same."""
    student, found = compiled(build(seed=1)), []
    start = student.get_weights()
    for callbacks in ([], [Distillation(teacher(), weight=0.8)], []):
        student.set_weights(start)
        fit(student, make_blobs(), callbacks, epochs=2)
        found.append(student.get_weights())
    return found


def test_the_loss_is_the_models_own_again_after_the_fit(in_turn):
    plain, distilled, plain_again = in_turn
    assert same(plain, plain_again)
    assert not same(plain, distilled)


def test_a_fit_before_the_callback_does_not_hide_the_teacher(in_turn, learned):
    assert same(in_turn[1], learned)


class Interrupt(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        raise KeyboardInterrupt


def test_an_exception_in_fit_leaves_the_model_free_behind_the_with_block(blobs):
    student = compiled(build(), run_eagerly=True)
    with pytest.raises(KeyboardInterrupt), Distillation(teacher()) as distillation:
        fit(student, blobs, [distillation, Interrupt()])
    assert "compute_loss" not in vars(student)


def test_an_interrupted_fit_does_not_reach_into_the_next_one(learned, blobs):
    student = compiled(build(seed=1))
    start = student.get_weights()
    with pytest.raises(KeyboardInterrupt):
        fit(student, blobs, [Distillation(teacher("softmax"), weight=1.0), Interrupt()])
    student.set_weights(start)
    fit(student, blobs, [Distillation(teacher(), weight=0.8)], epochs=2)
    assert same(learned, student.get_weights())
    assert "compute_loss" not in vars(student)


def test_a_loss_of_the_users_own_is_mixed_and_put_back(blobs):
    student = compiled(build(seed=1))

    def double(x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return 2 * keras.ops.mean(keras.losses.sparse_categorical_crossentropy(y, y_pred, from_logits=True))

    student.compute_loss = double
    z = logits(student, blobs[0])
    own = -2 * np.log(softmax(z)[np.arange(256), blobs[1]]).mean()
    expected = 0.5 * own + 0.5 * divergence(logits(teacher(), blobs[0]), z, 4.0).mean()
    assert first_loss(student, blobs, Distillation(teacher())) == pytest.approx(expected, rel=2e-6)
    assert student.compute_loss is double


class Old(keras.Sequential):
    """A compute_loss as it was written before Keras 3.3."""

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None):
        return super().compute_loss(x, y, y_pred, sample_weight)


def test_a_compute_loss_that_does_not_know_of_training_validates_with_its_own_loss(blobs):
    student = compiled(Old(build(seed=1).layers), run_eagerly=True)
    history = fit(student, blobs, [Distillation(teacher(), weight=1.0)], validation_data=blobs).history
    assert history["val_loss"][0] == pytest.approx(student.evaluate(*blobs, verbose=0), rel=1e-6)
    assert not student._compute_loss_has_training_arg


# What cannot work


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"temperature": 0}, "temperature=0"),
        ({"temperature": -1.0}, "temperature=-1.0"),
        ({"temperature": float("nan")}, "temperature=nan"),
        ({"temperature": float("inf")}, "temperature=inf"),
        ({"weight": 1.5}, "weight=1.5"),
        ({"weight": -0.1}, "weight=-0.1"),
        ({"teacher": "teacher.keras"}, "'teacher.keras'"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings, words):
    with pytest.raises(InputError, match=r"Received: .+\.") as caught:
        Distillation(**{"teacher": teacher(), **settings})
    assert words in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def two_outputs():
    model = build(hidden=(6,))
    return keras.Model(model.inputs[0], [model.outputs[0], layers.Dense(4)(model.layers[-1].input)])


def alike(more):
    """A student, and a teacher of the student's layers."""
    student = build(seed=1)
    return student, keras.Sequential([layers.Input((8, 8, 1)), *student.layers, *more]) if more else student


WRONG = {
    "a teacher of other classes": (lambda: (build(), teacher(units=5)), r"teacher \[None, 5\], student \[None, 4\]"),
    "a function of other classes": (
        lambda: (build(), teacher(units=5).__call__),
        r"teacher \[64, 5\], student \[64, 4\]",
    ),
    "another rank": (
        lambda: (build(), keras.Sequential([layers.Input((8, 8, 1)), layers.Dense(4)])),
        r"teacher \[None, 8, 8, 4\]",
    ),
    "a teacher of two outputs": (lambda: (build(), two_outputs()), "teacher of 2"),
    "a student of two outputs": (lambda: (two_outputs(), build()), "model of 2"),
    "a teacher without weights": (lambda: (build(), Subclassed()), "no weights yet"),
    "the model itself": (lambda: alike([]), "trained too"),
    "a teacher that has the student's layers": (
        lambda: alike([layers.Softmax()]),
        "trained too: .*kernel",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_models_that_do_not_fit_are_refused_in_one_line(name, blobs):
    make, words = WRONG[name]
    student, learned = make()
    before = student.get_weights()
    with pytest.raises(ModelError, match=words) as caught, Distillation(learned) as distillation:
        fit(compiled(student, "mse"), (blobs[0], np.eye(4)[blobs[1]]), [distillation])
    assert len(str(caught.value).splitlines()) == 1
    assert "compute_loss" not in vars(student)
    assert all(np.array_equal(a, b) for a, b in zip(before, student.get_weights(), strict=True))


def test_two_in_one_fit_are_refused_with_the_way_out(blobs):
    with pytest.raises(ModelError, match="function that averages"):
        fit(compiled(build()), blobs, [Distillation(teacher()), Distillation(teacher())])


def test_a_function_may_average_several_teachers(blobs):
    first, second, student = teacher(), build(seed=5), compiled(build(seed=1))
    mean = (logits(first, blobs[0]) + logits(second, blobs[0])) / 2
    expected = divergence(mean, logits(student, blobs[0]), 4.0).mean()
    distillation = Distillation(lambda x: (first(x) + second(x)) / 2, weight=1.0)
    assert first_loss(student, blobs, distillation) == pytest.approx(expected, rel=2e-6)
