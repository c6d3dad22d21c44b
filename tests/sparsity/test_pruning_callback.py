"""`MagnitudePruning` in other people's `fit()`: every kind of model and every way of training."""

import copy
import inspect
import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tests.sparsity.pair import trained_pair
from tfopt.callbacks import Clustering, MagnitudePruning
from tfopt.errors import InputError, ModelError
from tfopt.sparsity import constant_sparsity, polynomial_decay
from tfopt.sparsity.magnitude import kept_count
from tfopt.sparsity.pruning_config import PruningConfig
from tfopt.sparsity.tfmot import tfmot


def sequential():
    return keras.Sequential(
        [
            layers.Input((8, 8, 1)),
            layers.Conv2D(8, 3, activation="relu", name="conv"),
            layers.Flatten(),
            layers.Dense(16, activation="relu", name="hidden"),
            layers.Dense(4, name="head"),
        ]
    )


def small():
    return keras.Sequential([layers.Input((8, 8, 1)), layers.Flatten(), layers.Dense(4, name="head")])


def functional():
    inputs = layers.Input((8, 8, 1))
    x = layers.SeparableConv2D(8, 3, activation="relu")(inputs)
    y = layers.Conv2D(8, 3, activation="relu")(inputs)
    x = layers.Flatten()(layers.Add()([x, y]))
    shared = layers.Dense(288, activation="relu", name="shared")
    return keras.Model(inputs, layers.Dense(4)(shared(shared(x))))


def nested():
    encoder = keras.Sequential([layers.Input((8, 8, 1)), layers.Conv2D(8, 3), layers.Flatten()], name="encoder")
    inputs = layers.Input((8, 8, 1))
    return keras.Model(inputs, layers.Dense(4, name="head")(encoder(inputs)))


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.flatten = layers.Flatten()
        self.blocks = [layers.Dense(24, activation="relu"), layers.Dense(16, activation="relu")]
        self.tail = keras.Sequential([layers.Dense(8), layers.Dense(4)])

    def call(self, x):
        x = self.flatten(x)
        for block in self.blocks:
            x = block(x)
        return self.tail(x)


def subclassed():
    model = Subclassed()
    model(np.zeros((1, 8, 8, 1), np.float32))
    return model


def recurrent():
    return keras.Sequential(
        [
            layers.Input((8, 8, 1)),
            layers.Reshape((8, 8)),
            layers.Bidirectional(layers.LSTM(6, return_sequences=True)),
            layers.GRU(5),
            layers.Dense(4),
        ]
    )


def attention():
    inputs = layers.Input((8, 8, 1))
    x = layers.Reshape((8, 8))(inputs)
    x = layers.LayerNormalization()(x + layers.MultiHeadAttention(2, 4)(x, x))
    return keras.Model(inputs, layers.Dense(4)(layers.Flatten()(layers.Conv1D(8, 3)(x))))


def compiled(model, optimizer="sgd", **options):
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True), **options)
    return model


def fit(model, blobs, callbacks, epochs=1, **options):
    """Eight steps an epoch."""
    keras.utils.set_random_seed(0)
    return model.fit(*blobs, batch_size=32, epochs=epochs, verbose=0, callbacks=callbacks, **options)


def exactly_sparse(pruning, sparsity):
    """Whether each kernel has as many zeros as TF-MOT's rounding says, in every kernel that is pruned."""
    for kernel in pruning._masking.kernels:
        weights = np.asarray(kernel.variable.numpy())
        if np.count_nonzero(weights) != kept_count(weights.size, sparsity):
            return False
    return bool(pruning._masking.kernels)


@pytest.mark.parametrize("build", [subclassed, functional, nested, sequential, recurrent, attention])
@pytest.mark.sample(1)
def test_every_kind_of_model_ends_exactly_sparse(build, blobs):
    pruning = MagnitudePruning(sparsity=0.75, frequency=2)
    fit(compiled(build()), blobs, [pruning])
    assert exactly_sparse(pruning, 0.75)


WAYS = {
    "plain": {},
    "eagerly": {"run_eagerly": True},
    "with XLA": {"jit_compile": True},
    "four steps in one execution": {"steps_per_execution": 4},
    "three steps in one execution, which leaves a rest": {"steps_per_execution": 3},
    "four steps in one execution with XLA": {"steps_per_execution": 4, "jit_compile": True},
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.sample(2)
def test_every_way_of_training_ends_exactly_sparse(way, blobs):
    pruning = MagnitudePruning(sparsity=0.8, begin=2, end=14, frequency=3)
    fit(compiled(sequential(), **WAYS[way]), blobs, [pruning], epochs=2)
    assert exactly_sparse(pruning, 0.8)
    assert pruning.step == 16


OPTIMIZERS = {
    "gradient accumulation": lambda: keras.optimizers.SGD(0.05, gradient_accumulation_steps=2),
    "weight averages": lambda: keras.optimizers.SGD(0.05, use_ema=True, ema_overwrite_frequency=None),
    "weight averages that overwrite": lambda: keras.optimizers.Adam(use_ema=True, ema_overwrite_frequency=3),
    "weight decay": lambda: keras.optimizers.AdamW(weight_decay=0.1),
    "Nesterov momentum": lambda: keras.optimizers.SGD(0.05, momentum=0.9, nesterov=True),
    "schedule-free": lambda: keras.optimizers.ScheduleFreeAdamW(),
    "loss scaling": lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam()),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.sample(2)
def test_every_kind_of_optimizer_ends_exactly_sparse(name, blobs):
    pruning = MagnitudePruning(sparsity=0.75, frequency=4)
    fit(compiled(small(), OPTIMIZERS[name]()), blobs, [pruning], epochs=2)
    assert exactly_sparse(pruning, 0.75)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("steps_per_execution", [1, 4])
@pytest.mark.sample(1)
def test_mixed_precision_ends_exactly_sparse(policy, steps_per_execution, blobs):
    before = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy(policy)
    try:
        pruning = MagnitudePruning(sparsity=0.75, frequency=4)
        fit(compiled(small(), steps_per_execution=steps_per_execution), blobs, [pruning], epochs=2)
    finally:
        keras.mixed_precision.set_dtype_policy(before)
    assert exactly_sparse(pruning, 0.75)


def test_the_weights_are_masked_after_every_step_but_those_before_an_update(blobs):
    pruning = MagnitudePruning(schedule=constant_sparsity(0.5, 1, frequency=4))
    leaks = []

    class Look(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            masked = all(
                not np.any(kernel.variable.numpy()[mask.numpy() == 0])
                for kernel, mask in zip(pruning._masking.kernels, pruning._masks, strict=True)
            )
            leaks.append(not masked)

    fit(compiled(small()), blobs, [pruning, Look()])
    assert leaks == [False, False, False, True, False, False, False, False]  # updates before steps 1 and 5


def test_patterns_choose_the_layers_and_the_rest_is_listed_with_the_reason(blobs):
    pruning = MagnitudePruning(sparsity=0.5, only=["Dense"], skip="head")
    fit(compiled(sequential()), blobs, [pruning])
    assert list(pruning.sparsity()) == ["hidden/kernel"]
    assert {where: "only/skip" in reason for where, reason in pruning.skipped} == {"conv": True, "head": True}


def test_a_depthwise_kernel_is_pruned_when_it_is_asked_for_by_name(blobs):
    def build():
        return keras.Sequential(
            [
                layers.Input((8, 8, 1)),
                layers.DepthwiseConv2D(3, depth_multiplier=8, name="deep"),
                layers.Flatten(),
                layers.Dense(4),
            ]
        )

    alone, asked = MagnitudePruning(sparsity=0.5), MagnitudePruning(sparsity=0.5, only=["deep"])
    alone.choose(build(), 8)
    fit(compiled(build()), blobs, [asked])
    assert [where for where, _ in alone.skipped] == ["deep"]
    assert asked.sparsity() == {"deep/kernel": pytest.approx(0.5)}


def test_a_pattern_that_matches_nothing_is_refused_before_training(blobs):
    with pytest.raises(ModelError, match=r"'hiden' of 'only' matches no layer.*hidden"):
        fit(compiled(sequential()), blobs, [MagnitudePruning(sparsity=0.5, only=["hiden"])])


@pytest.mark.parametrize("settings", [{"only": ["Exp"]}, {"skip": ["Exp"]}, {"rules": {"Exp": 0.5}}])
def test_a_pattern_that_names_an_operation_alone_says_that_it_has_no_weights(settings):
    x = layers.Input((4,))
    model = keras.Model(x, keras.ops.exp(layers.Dense(3, name="head")(x)))
    with pytest.raises(ModelError, match=r"'Exp' of .* an operation between layers, which has no weights.*head"):
        MagnitudePruning(sparsity=0.5, **settings).choose(model, 8)


def test_fits_before_and_after_the_callback_are_ordinary_ones_and_the_users_own_constraint_acts_before_the_mask(blobs):
    model, pruning, own = compiled(small()), MagnitudePruning(sparsity=0.75), keras.constraints.MaxNorm(0.1)
    before, head = model.get_config(), model.get_layer("head")
    fit(model, blobs, [])  # a step traced without masks
    head.kernel.constraint = own
    fit(model, blobs, [pruning])
    assert exactly_sparse(pruning, 0.75)
    assert np.linalg.norm(head.kernel.numpy(), axis=0).max() <= 0.1 + 1e-6
    assert model.get_config() == before
    assert head.kernel.constraint is own
    assert head.bias.constraint is None
    assert "train_step" not in vars(model)
    fit(model, blobs, [])
    assert np.count_nonzero(head.kernel.numpy()) == head.kernel.numpy().size


@pytest.mark.slow
def test_saving_cloning_and_copying_in_the_middle_of_pruning_need_nothing_of_tfopt(blobs, tmp_path, python):
    model, path = compiled(sequential()), tmp_path / "middle.keras"

    class Save(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.save(path)
            copy.deepcopy(self.model.get_config())
            keras.models.clone_model(self.model)

    fit(model, blobs, [MagnitudePruning(sparsity=0.5, end=8, begin=1, frequency=1), Save()], epochs=2)
    printed = python(
        f"import keras, sys, numpy as np; m = keras.models.load_model({str(path)!r}); "
        "print(np.mean(m.get_layer('hidden').get_weights()[0] == 0), 'tfopt' in sys.modules)"
    )
    share, imported = printed.split()[-2:]
    assert float(share) == pytest.approx(0.5)
    assert imported == "False"


def test_a_callback_counts_on_over_several_fits_and_its_state_moves_to_another(blobs):
    first, second = (MagnitudePruning(sparsity=0.75, begin=1, end=16, frequency=3) for _ in range(2))
    model = compiled(small())
    with pytest.warns(UserWarning, match="stopped at step 8, before its schedule's end at 16"):
        fit(model, blobs, [first])
    halfway, state = model.get_weights(), first.get_state()
    assert 0 < first.sparsity()["head/kernel"] < 0.75
    second.set_state(state)
    for pruning in (first, second):
        model.set_weights(halfway)
        fit(model, blobs, [pruning])
        assert pruning.step == 16
        assert exactly_sparse(pruning, 0.75)


def test_an_exception_in_fit_leaves_the_model_free_behind_the_with_block(blobs):
    class Fail(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            raise RuntimeError("the user's own")

    model = compiled(sequential())
    with pytest.raises(RuntimeError, match="own"), MagnitudePruning(sparsity=0.75, begin=1, end=2) as pruning:
        fit(model, blobs, [pruning, Fail()])
    assert all(v.constraint is None for v in model.trainable_variables)


@pytest.mark.parametrize("backup_first", [True, False])
@pytest.mark.sample(1)
def test_a_killed_fit_resumes_to_the_same_weights_and_masks(backup_first, blobs, tmp_path):
    """BackupAndRestore in a new process: a new model, a new optimizer, a new callback."""

    class Killed(Exception):
        pass

    class Kill(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                raise Killed

    def training(*more, folder):
        keras.utils.set_random_seed(1)
        model = compiled(small(), keras.optimizers.SGD(0.05, momentum=0.9))
        pruning = MagnitudePruning(sparsity=0.8, begin=1, end=13, frequency=4)
        backup = keras.callbacks.BackupAndRestore(folder, delete_checkpoint=False)
        both = [backup, pruning] if backup_first else [pruning, backup]
        model.fit(*blobs, batch_size=32, epochs=2, shuffle=False, verbose=0, callbacks=[*both, *more])
        return model, pruning

    whole, _ = training(folder=tmp_path / "whole")
    with pytest.raises(Killed):
        training(Kill(), folder=tmp_path / "killed")
    resumed, pruning = training(folder=tmp_path / "killed")
    assert pruning.step == 16
    for a, b in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("checkpoint_first", [True, False])
@pytest.mark.parametrize("steps_per_execution", [1, 4])
@pytest.mark.sample(1)
def test_a_checkpoint_holds_the_zeros_whatever_the_order_of_callbacks(
    checkpoint_first, steps_per_execution, blobs, tmp_path
):
    model, path = compiled(small(), steps_per_execution=steps_per_execution), tmp_path / "{epoch}.keras"
    pruning = MagnitudePruning(schedule=constant_sparsity(0.5, 1, frequency=8))  # due on each epoch's first step
    checkpoint = keras.callbacks.ModelCheckpoint(str(path))
    fit(model, blobs, [checkpoint, pruning] if checkpoint_first else [pruning, checkpoint], epochs=2)
    for epoch in (1, 2):
        saved = keras.models.load_model(tmp_path / f"{epoch}.keras")
        assert np.mean(saved.get_layer("head").kernel.numpy() == 0) == pytest.approx(0.5)


def test_data_of_unknown_length_needs_step_numbers(blobs):
    def batches():
        for start in range(0, 256, 32):
            yield blobs[0][start : start + 32], blobs[1][start : start + 32]

    with pytest.raises(InputError, match="step number"):
        compiled(sequential()).fit(batches(), shuffle=False, verbose=0, callbacks=[MagnitudePruning(sparsity=0.5)])
    pruning = MagnitudePruning(sparsity=0.5, begin=1, end=8, frequency=1)
    with pytest.warns(UserWarning, match="ran out of data"):  # as Keras says of all data of unknown length
        compiled(small()).fit(batches(), shuffle=False, verbose=0, callbacks=[pruning])
    assert exactly_sparse(pruning, 0.5)


def test_an_unbuilt_model_is_refused_with_the_way_out(blobs):
    with pytest.raises(ModelError, match=r"model\.build"):
        fit(compiled(Subclassed()), blobs, [MagnitudePruning(sparsity=0.5)])


def test_a_tfmot_schedule_object_is_taken_as_it_is(blobs):
    schedule = polynomial_decay(0.1, 0.6, 2, 8, frequency=3)
    pruning = MagnitudePruning(schedule=schedule)
    fit(compiled(small()), blobs, [pruning])
    assert pruning.schedule is schedule
    assert exactly_sparse(pruning, 0.6)


WRONG = {
    "no sparsity": ({}, "sparsity"),
    "percent": ({"sparsity": 80}, "below 1"),
    "negative": ({"sparsity": -0.1}, "at least 0"),
    "initial above final": ({"sparsity": 0.5, "initial_sparsity": 0.6}, "initial_sparsity"),
    "a fraction above one": ({"sparsity": 0.5, "end": 1.5}, "end"),
    "an unknown schedule": ({"sparsity": 0.5, "schedule": "cubic"}, "'polynomial', 'constant'"),
    "a schedule of something else": ({"schedule": keras.optimizers.schedules.CosineDecay(0.1, 10)}, "PruningSchedule"),
    "both": ({"sparsity": 0.5, "schedule": constant_sparsity(0.5, 0)}, "leave one or the other out"),
    "steps beside a schedule": ({"end": 3, "schedule": constant_sparsity(0.5, 0)}, "leave one or the other out"),
    "frequency": ({"sparsity": 0.5, "frequency": 0}, "frequency"),
}


@pytest.mark.parametrize("name", WRONG)
def test_settings_that_cannot_work_are_refused_at_once(name):
    arguments, word = WRONG[name]
    with pytest.raises(InputError, match=word):
        MagnitudePruning(**arguments)


def test_signature_and_docstring_show_every_setting_with_the_default_that_it_has_in_a_recipe():
    parameters = inspect.signature(MagnitudePruning).parameters
    own = {"rules": None, "prunable": None, "start_step": None}
    fields = {name: field.default for name, field in PruningConfig.model_fields.items()}
    assert {name: parameter.default for name, parameter in parameters.items()} == {**fields, **own}
    positional = [name for name, p in parameters.items() if p.kind is not p.KEYWORD_ONLY]
    assert positional == ["sparsity"]
    for name in parameters:
        assert f"\n    {name}: " in inspect.getdoc(MagnitudePruning)


def test_an_unknown_setting_is_named_with_the_nearest_one():
    with pytest.raises(InputError, match="Did you mean 'sparsity'"):
        MagnitudePruning(sparcity=0.5)
    with pytest.raises(InputError, match="Did you mean 'sparsity'"):  # TF-MOT's name
        MagnitudePruning(final_sparsity=0.5)


MIRRORED = """
import numpy as np, tensorflow as tf, keras
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from tfopt.callbacks import MagnitudePruning
from tfopt.errors import ModelError
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
x = np.random.default_rng(0).normal(size=(256, 16)).astype("float32")
y = (x @ np.random.default_rng(1).normal(size=(16, 4))).argmax(1)
def build(**options):
    keras.utils.set_random_seed(0)
    with strategy.scope():
        hidden, head = keras.layers.Dense(24, activation="relu"), keras.layers.Dense(4)
        model = keras.Sequential([keras.layers.Input((16,)), hidden, head])
        model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), **options)
    return model
model, pruning = build(), MagnitudePruning(sparsity=0.75, frequency=4)
model.fit(x, y, batch_size=32, epochs=3, verbose=0, callbacks=[pruning])
replicas = strategy.experimental_local_results(model.layers[0].kernel.value)
print("EQUAL", len(replicas), all(np.array_equal(replicas[0].numpy(), r.numpy()) for r in replicas))
print("SPARSITY", *pruning.sparsity().values())
for options in ({"steps_per_execution": 4}, {"jit_compile": True}):
    try:
        build(**options).fit(x, y, batch_size=32, verbose=0, callbacks=[MagnitudePruning(sparsity=0.75)])
    except ModelError as error:
        print("REFUSED", len(str(error).splitlines()), error)
"""


@pytest.mark.slow
def test_two_logical_devices_of_a_mirrored_strategy_end_exactly_sparse_and_equal(python):
    lines = [line.split() for line in python(MIRRORED).splitlines() if line.strip()]
    said = {line[0]: line[1:] for line in lines}
    assert said["EQUAL"] == ["2", "True"]
    assert [float(share) for share in said["SPARSITY"]] == [0.75, 0.75]
    refused = [line for line in lines if line[0] == "REFUSED"]
    assert len(refused) == 2
    assert all(line[1] == "1" for line in refused)


def test_the_mask_update_reads_the_weights_as_the_optimizer_left_them(blobs):
    """With regrowth a weight that was zero can come back: the mask is not taken from the masked weights."""
    pruning = MagnitudePruning(schedule=constant_sparsity(0.5, 1, frequency=2))
    masks = []

    class Look(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            masks.append(pruning._masks[0].numpy().astype(bool))

    fit(compiled(small(), keras.optimizers.SGD(0.5, momentum=0.9)), blobs, [pruning, Look()], epochs=2)
    assert any((after & ~before).any() for before, after in itertools.pairwise(masks))


def test_one_callback_prunes_one_model_after_another_from_the_start(blobs):
    pruning = MagnitudePruning(sparsity=0.75, frequency=2)
    for _ in range(2):
        fit(compiled(small()), blobs, [pruning])
        assert pruning.step == 8
        assert exactly_sparse(pruning, 0.75)


@pytest.mark.parametrize("steps_per_execution", [1, 4])
@pytest.mark.sample(1)
def test_the_masks_of_an_interrupted_fit_do_not_outlive_the_next_one(steps_per_execution, blobs):
    class Interrupt(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            raise KeyboardInterrupt

    model = compiled(small(), steps_per_execution=steps_per_execution)
    with pytest.raises(KeyboardInterrupt):
        fit(model, blobs, [MagnitudePruning(sparsity=0.5, begin=1, end=2), Interrupt()])
    fit(model, blobs, [MagnitudePruning(sparsity=0.5, begin=1, end=2)])
    assert all(v.constraint is None for v in model.trainable_variables)
    assert "train_step" not in vars(model)


@pytest.mark.parametrize("start_step", [3, 8])
@pytest.mark.sample(1)
def test_checkpoints_hold_the_zeros_wherever_the_schedule_starts(start_step, blobs):
    shares = []

    class Look(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            shares.append(np.mean(self.model.get_layer("head").kernel.numpy() == 0))

    pruning = MagnitudePruning(schedule=constant_sparsity(0.5, 1, frequency=1), start_step=start_step)
    fit(compiled(small(), steps_per_execution=4), blobs, [Look(), pruning], epochs=2)
    assert shares == [pytest.approx(0.5)] * 2


def test_a_state_of_other_layers_is_refused(blobs):
    pruning = MagnitudePruning(sparsity=0.5)
    pruning.set_state({"step": np.asarray(8), "mask0": np.ones((16, 4), np.float32)})  # of the head alone
    with pytest.raises(ModelError, match="other layers"):
        fit(compiled(sequential()), blobs, [pruning])


def test_a_pattern_for_a_layer_without_a_kernel_is_refused(blobs):
    with pytest.raises(ModelError, match=r"flatten.*no kernel to prune"):
        fit(compiled(sequential()), blobs, [MagnitudePruning(sparsity=0.5, only=["hidden", "flatten*"])])


class OwnSchedule(tfmot().PruningSchedule):
    """A schedule that says nothing of where it ends: 0.25 at step 2, 0.75 from step 9 on."""

    def __call__(self, step):
        at = tf.cast(step, tf.int64)
        return tf.logical_or(tf.equal(at, 2), tf.equal(at, 9)), tf.where(at < 9, 0.25, 0.75)

    def get_config(self):
        return {}


@pytest.mark.slow
def test_a_schedule_of_ones_own_need_not_say_where_it_ends(blobs):
    model, pruning = compiled(functional()), MagnitudePruning(schedule=OwnSchedule())
    fit(model, blobs, [pruning], epochs=2)
    exactly_sparse(pruning, 0.75)
    together = MagnitudePruning(schedule=OwnSchedule(), allocation="global")
    fit(compiled(functional()), blobs, [together], epochs=2)
    sizes = together.sizes()
    zeros = sum(share * sizes[path] for path, share in together.sparsity().items())
    assert zeros == pytest.approx(0.75 * sum(sizes.values()), abs=1)


@pytest.mark.parametrize("settings", [{"rules": {"*": 0.5}}, {"allocation": "erk"}])
def test_shares_of_a_schedule_that_does_not_say_where_it_ends_are_refused(settings, blobs):
    with pytest.raises(InputError, match="final_sparsity"):
        fit(compiled(functional()), blobs, [MagnitudePruning(schedule=OwnSchedule(), **settings)])


@pytest.mark.parametrize("first", ["prune", "cluster"])
def test_pruning_and_clustering_in_one_fit_are_refused(first, blobs):
    model = compiled(functional())
    both = [MagnitudePruning(0.5), Clustering(4)]
    with both[0], both[1], pytest.raises(ModelError, match=r"both hold .* in one fit"):
        fit(model, blobs, both if first == "prune" else both[::-1])
    assert all(weight.constraint is None for weight in model.trainable_weights)


def test_two_prunings_in_one_fit_share_out_the_layers_and_never_one(blobs):
    model = compiled(sequential())
    some, others = MagnitudePruning(0.5, only="conv"), MagnitudePruning(0.75, skip="conv")
    fit(model, blobs, [some, others])
    assert exactly_sparse(some, 0.5)
    assert exactly_sparse(others, 0.75)
    with pytest.raises(ModelError, match="both hold"):
        fit(model, blobs, [MagnitudePruning(0.5), MagnitudePruning(0.75)])


@pytest.mark.slow
def test_what_an_interrupted_clustering_left_ends_with_the_next_pruning(blobs):
    class Failure(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            raise KeyboardInterrupt

    model = compiled(functional())
    with pytest.raises(KeyboardInterrupt):
        fit(model, blobs, [Clustering(4), Failure()])
    pruning = MagnitudePruning(0.5)
    fit(model, blobs, [pruning])
    exactly_sparse(pruning, 0.5)
    assert all(weight.constraint is None for weight in model.trainable_weights)
    assert np.unique(model.get_layer("shared").kernel).size > 1000


def test_a_model_that_keras_never_calls_built_is_pruned():
    model = trained_pair(MagnitudePruning(sparsity=0.75))
    assert [float((w.numpy() == 0).mean()) for w in model.weights if w.shape.rank > 1] == [0.75, 0.75]
