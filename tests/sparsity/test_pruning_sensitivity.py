"""Curves of layers pruned alone, against the whole model, and the allocation, against linear programming."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops
from scipy.optimize import linprog

from tfopt.data.splits import Split
from tfopt.errors import InputError, ModelError
from tfopt.metrics import METRICS, score_split
from tfopt.models import signature
from tfopt.models.layers import Kernel, LayerRef
from tfopt.sparsity import incremental_forward, layer_ranking, rank_layers, sensitivity
from tfopt.sparsity.pruning_plan import allocate
from tfopt.sparsity.selection import choose_kernels
from tfopt.sparsity.sensitivity import Curve, measure, rules, suggest

# Keras says of every model in a model that is given a mask that it does not know of masks.
pytestmark = pytest.mark.filterwarnings("ignore:Layer 'nest'.* will therefore destroy the mask:UserWarning")

GRID = (0.3, 0.6, 0.9)


def sequential():
    return keras.Sequential(
        [
            layers.Input((8, 8, 2)),
            layers.Conv2D(6, 3, activation="relu", name="one"),
            layers.BatchNormalization(),
            layers.SeparableConv2D(8, 3, name="two"),
            layers.Dropout(0.5),
            layers.Flatten(),
            layers.Dense(5, activation="softmax", name="three"),
        ]
    )


def residual():
    image = layers.Input((8, 8, 2))
    x = layers.Conv2D(6, 3, padding="same", name="stem")(image)
    for number in range(2):
        y = layers.Conv2D(6, 3, padding="same", activation="relu", name=f"a{number}")(x)
        y = layers.Conv2D(6, 3, padding="same", name=f"b{number}")(y)
        x = layers.Add()([x, y * ops.sigmoid(x)])
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, layers.Dense(5, name="head")(layers.Add()([x, x])))


def shared():
    """A layer that is called twice at different depths, and a kernel that an op of the graph reads before its layer."""
    x = layers.Input((12,))
    twice, tied = layers.Dense(12, activation="tanh", name="twice"), layers.Dense(12, name="tied")
    tied.build((None, 12))
    y = layers.Dense(12, name="between")(twice(ops.matmul(x, tied.kernel)))
    y = tied(layers.Dense(12, name="before")(twice(y)))
    return keras.Model(x, layers.Dense(5, name="head")(y + x))


def backbone(name="backbone"):
    image = layers.Input((8, 8, 2))
    x = layers.Conv2D(6, 3, name="first")(image)
    x = layers.BatchNormalization()(x)
    x = keras.Sequential([layers.Input((6, 6, 6)), layers.Conv2D(6, 3, name="deep")], name="block")(x)
    return keras.Model(image, [layers.GlobalAveragePooling2D()(x), layers.GlobalMaxPooling2D()(x)], name=name)


def nested():
    image = layers.Input((8, 8, 2))
    mean, top = backbone()(image, training=False)
    x = layers.Concatenate()([mean, top])
    return keras.Model(image, layers.Dense(5, name="first")(x))


def nested_twice():
    image = layers.Input((8, 8, 2))
    both = backbone()
    x = layers.Concatenate()([*both(image), *both(layers.Conv2D(2, 3, padding="same", name="turn")(image))])
    return keras.Model(image, layers.Dense(5, name="head")(x))


def nested_inputs():
    """Models in a model that take two tensors, or one of another type than theirs."""
    a, b, whole = layers.Input((12,), name="a"), layers.Input((12,), name="b"), layers.Input((12,), dtype="int32")
    y = layers.Dense(6, name="left")(a) * layers.Dense(6, name="right")(b)
    pair = keras.Model([a, b], layers.Dense(12, name="joint")(y), name="pair")
    one = layers.Input((12,))
    real = keras.Model(one, layers.Dense(12, name="first")(layers.Lambda(tf.sigmoid)(one)), name="real")  # no integers
    x = real(whole)
    return keras.Model(whole, layers.Dense(5, name="head")(pair([x, layers.Dense(12, name="turn")(x)])))


def recurrent():
    """Masks come from the embedding and end at the last recurrent layer."""
    tokens = layers.Input((7,), dtype="int32")
    x = layers.Embedding(20, 6, mask_zero=True, name="words")(tokens)
    x = layers.Bidirectional(layers.LSTM(5, return_sequences=True, name="lstm"), name="both")(x)
    x = keras.Sequential([layers.Input((7, 10)), layers.Dense(6, name="inner")], name="nest")(x)
    x = layers.GRU(6, name="gru")(layers.Dropout(0.1)(x))
    return keras.Model(tokens, layers.Dense(5, name="head")(x))


def branches():
    """Two inputs by name; three outputs by name, of which one is a tensor that other layers take."""
    a, b = layers.Input((12,), name="a"), layers.Input((12,), name="b")
    x = layers.Concatenate()([layers.Dense(6, name="left")(a), layers.Dense(6, name="right")(b)])
    outputs = {"y": layers.Dense(5, name="near")(x), "z": layers.Dense(5, name="far")(layers.ReLU()(x)), "x": x}
    return keras.Model([a, b], outputs)


def perceptron():
    x = layers.Input((12,))
    return keras.Model(x, layers.Dense(5, name="head")(layers.Dense(9, activation="relu", name="one")(x)))


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.one, self.two = layers.Dense(9, activation="relu", name="one"), layers.Dense(5, name="two")

    def call(self, x):
        return self.two(self.one(x))


class MoreThanItsGraph(keras.Model):
    def call(self, x, training=None, mask=None):
        return super().call(ops.tanh(x), training=training, mask=mask)


class MoreThanItsLayers(keras.Sequential):
    def call(self, x, training=None, mask=None):
        return super().call(ops.tanh(x), training=training, mask=mask)


def subclassed():
    model = Subclassed()
    model(np.zeros((1, 12), np.float32))
    return model


def overridden():
    x = layers.Input((12,))
    return MoreThanItsGraph(x, layers.Dense(5, name="head")(layers.Dense(9, activation="relu", name="one")(x)))


def overridden_sequential():
    parts = [layers.Dense(9, activation="relu", name="one"), layers.Dense(5, name="head")]
    return MoreThanItsLayers([layers.Input((12,)), *parts])


def nested_override():
    """A model of a call of its own in a graph that is known."""
    x = layers.Input((12,))
    return keras.Model(x, layers.Dense(5, name="last")(overridden()(layers.Dense(12, name="first")(x))))


def samples(build, count=300):
    """Inputs in two batches, the second one smaller."""
    generator = np.random.default_rng(1)
    if build is recurrent:
        tokens = generator.integers(1, 20, (count, 7))
        return np.where(np.arange(7) < generator.integers(1, 8, (count, 1)), tokens, 0).astype(np.int32)
    if build is branches:
        return {name: generator.normal(size=(count, 12)).astype(np.float32) for name in "ab"}
    if build is nested_inputs:
        return generator.integers(-2, 3, (count, 12)).astype(np.int32)
    shape = (8, 8, 2) if build in (sequential, residual, nested, nested_twice) else (12,)
    return generator.normal(size=(count, *shape)).astype(np.float32)


def made(build):
    """A model with biases that differ from 0 and statistics that differ from those of a new one."""
    keras.utils.set_random_seed(4)
    model = build()
    generator = np.random.default_rng(2)
    for variable in model.weights:
        if len(variable.shape) == 1 and variable.dtype == "float32":
            variable.assign(variable.numpy() + np.abs(generator.normal(0, 0.1, variable.shape)))
    return model


def labelled(model, x):
    """Samples with the classes that the model gives them, so that its accuracy is 1."""
    outputs = {name: value.argmax(-1) for name, value in signature.keras_outputs(model, x).items()}
    return Split(x, outputs if len(outputs) > 1 else next(iter(outputs.values())))


def one_class(x):
    """Samples of one class, where the scores do not matter."""
    return Split(x, np.zeros(len(x), np.int64))


def targets(model, x):
    """Samples with random targets, for errors."""
    shapes = {name: value.shape for name, value in signature.keras_outputs(model, x).items()}
    values = {name: np.random.default_rng(5).normal(size=shape) for name, shape in shapes.items()}
    return Split(x, values if len(values) > 1 else next(iter(values.values())))


def by_the_whole_model(model, split, metric):
    """Scores by layer path: each kernel sorted and cut, and the whole model run."""
    found = {}
    groups = itertools.groupby(choose_kernels(model)[0], key=lambda kernel: kernel.place.path)
    for path, own in ((path, list(group)) for path, group in groups):
        before, scores = [kernel.variable.numpy().copy() for kernel in own], []
        for sparsity in GRID:
            for kernel, weights in zip(own, before, strict=True):
                keep = max(int(np.round(np.float32(weights.size) * (np.float32(1) - np.float32(sparsity)))), 1)
                smallest = np.sort(np.abs(weights).astype(np.float32), axis=None)[-keep]
                kernel.variable.assign(np.where(np.abs(weights) < smallest, np.zeros_like(weights), weights))
            scores.append(score_split(metric, split, signature.keras_outputs(model, split.x)))
        for kernel, weights in zip(own, before, strict=True):
            kernel.variable.assign(weights)
        found[path] = scores
    return found


# Curves

GRAPHS = [sequential, residual, shared, nested, nested_twice, nested_inputs, nested_override, recurrent, branches]
WHOLE = [subclassed, overridden, overridden_sequential]
SPLITS = {"accuracy": labelled, "mse": targets}
BY_DEFAULT = [(sequential, "mse"), (nested_override, "accuracy")]


@pytest.mark.parametrize(
    ("build", "name"),
    [
        pytest.param(*case, marks=() if case in BY_DEFAULT else pytest.mark.slow)
        for case in itertools.product(GRAPHS + WHOLE, SPLITS)
    ],
)
def test_the_curves_are_those_of_the_whole_model(build, name):
    model, x, metric = made(build), samples(build), METRICS[name]
    split = SPLITS[name](model, x)
    expected = by_the_whole_model(model, split, metric)
    curves = measure(model, split, metric, sparsities=GRID)
    assert [curve.layer for curve in curves] == list(expected)
    assert {curve.cached for curve in curves} == {build in GRAPHS}
    for curve in curves:
        assert curve.sparsities == GRID
        if name == "accuracy":
            assert curve.baseline == 1
            assert list(curve.scores) == expected[curve.layer], curve.layer
        else:
            assert len({curve.baseline, *curve.scores}) == 1 + len(GRID), curve.layer
        np.testing.assert_allclose(curve.scores, expected[curve.layer], rtol=1e-5, err_msg=curve.layer)


def test_a_curve_names_the_kernels_and_counts_their_weights():
    model, split = made(recurrent), one_class(samples(recurrent, 4))
    curves = {c.layer: c for c in measure(model, split, METRICS["accuracy"], sparsities=(0.5,))}
    cell = curves["both/forward_lstm/lstm_cell"]
    assert cell.kernels == ("kernel", "recurrent_kernel")
    assert cell.weights == 4 * 5 * (6 + 5)
    assert curves["words"].kernels == ("embeddings",)
    assert curves["nest/inner"].weights == 60
    assert set(curves) == {
        "words",
        "both/forward_lstm/lstm_cell",
        "both/backward_lstm/lstm_cell",
        "nest/inner",
        "gru/gru_cell",
        "head",
    }


def test_only_the_kernels_that_are_handed_in_are_pruned():
    model = made(perceptron)
    kernels, skipped = choose_kernels(model, skip=["one"])
    curves = measure(model, one_class(samples(perceptron, 10)), METRICS["accuracy"], kernels, GRID)
    assert [curve.layer for curve in curves] == ["head"]
    assert ("one", "left out by only/skip") in skipped


def test_what_lies_before_a_layer_is_not_computed_again(monkeypatch):
    model, split = made(sequential), one_class(samples(sequential))
    ran = []
    call = incremental_forward.GraphStep.__call__
    monkeypatch.setattr(
        incremental_forward.GraphStep,
        "__call__",
        lambda self, values: ran.append(self._operation.name) or call(self, values),
    )
    measure(model, split, METRICS["accuracy"], sparsities=GRID)
    names = [layer.name for layer in model.layers]
    batches, passed = 2, 0
    for name in names:
        passed += name in ("one", "two", "three")
        assert ran.count(name) == batches * (1 + passed * len(GRID)), name


def test_a_model_within_a_model_is_run_layer_by_layer_and_left_as_it_is(monkeypatch):
    model, x = made(nested), samples(nested, 10)
    ran = []
    call = incremental_forward.GraphStep.__call__
    monkeypatch.setattr(
        incremental_forward.GraphStep,
        "__call__",
        lambda self, values: ran.append(self._operation.name) or call(self, values),
    )
    measure(model, one_class(x), METRICS["accuracy"], sparsities=GRID)
    assert not {"backbone", "block"} & set(ran)
    assert ran.count("deep") == 1 + 2 * len(GRID)
    assert ran.count("first") == (1 + len(GRID)) + (1 + 3 * len(GRID))  # one in the backbone, one behind it
    inner = model.get_layer("backbone")
    assert model.get_layer("first").output.shape == (None, 5)  # an error where a layer was called once more
    assert inner.get_layer("first").output.shape == (None, 6, 6, 6)


def test_the_frontier_holds_what_is_still_needed_and_no_more():
    model, x = made(residual), samples(residual, 10)
    front = incremental_forward.IncrementalForward.of(model, x)
    held = []
    while not front.at_end:
        front.advance()
        held.append(len(front._batches[0]))
    assert max(held) == 3  # a block's input, the sigmoid of it, the branch
    assert held[-1] == 1
    [expected], [got] = signature.keras_outputs(model, x).values(), front.outputs().values()
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("build", [nested, subclassed])
def test_the_weights_are_afterwards_what_they_were_to_the_bit(build):
    model = made(build)
    kernel = choose_kernels(model)[0][0].variable
    values = kernel.numpy()
    values.flat[:3] = -0.0, 1e-42, 7
    kernel.assign(values)
    before = [weight.numpy().tobytes() for weight in model.weights]
    split = one_class(samples(build, 10))
    measure(model, split, METRICS["accuracy"], sparsities=GRID)
    assert [weight.numpy().tobytes() for weight in model.weights] == before

    def stop(done):
        if done > 0.3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure(model, split, METRICS["accuracy"], sparsities=GRID, part=stop)
    assert [weight.numpy().tobytes() for weight in model.weights] == before


@pytest.mark.parametrize("policy", ["bfloat16", "mixed_bfloat16"])
@pytest.mark.sample(1)
def test_weights_of_16_bits_and_mixed_precision_are_pruned_as_the_whole_model_has_them(policy):
    x = layers.Input((12,))
    y = layers.Dense(9, activation="relu", name="one", dtype=policy)(x)
    model = keras.Model(x, layers.Dense(5, name="two", dtype=policy)(y), name=policy)
    before = [weight.numpy().tobytes() for weight in model.weights]
    split = labelled(model, samples(subclassed))
    curves = measure(model, split, METRICS["accuracy"], sparsities=GRID)
    expected = by_the_whole_model(model, split, METRICS["accuracy"])
    assert [list(curve.scores) for curve in curves] == list(expected.values())
    assert [weight.numpy().tobytes() for weight in model.weights] == before


def test_progress_goes_from_nothing_to_all():
    for build in (perceptron, subclassed):
        model, done = made(build), []
        split = one_class(samples(build, 10))
        curves = measure(model, split, METRICS["accuracy"], sparsities=GRID, part=done.append)
        assert done == sorted(done)
        assert done[-1] == 1
        assert len(done) == len(curves) * len(GRID) + 1


def test_a_layer_that_no_output_depends_on_costs_nothing():
    model, spare = made(perceptron), layers.Dense(3, name="spare")
    spare.build((None, 4))
    kernels = [*choose_kernels(model)[0], Kernel(LayerRef("spare", spare), "kernel", spare.kernel)]
    split = labelled(model, samples(perceptron))
    curves = {c.layer: c for c in measure(model, split, METRICS["accuracy"], kernels, GRID)}
    assert curves["head"].cached
    assert not curves["spare"].cached
    assert set(curves["spare"].scores) == {1.0}


@pytest.mark.parametrize("grid", [(), (0.5, 0.5), (0.9, 0.5), (0.0, 0.5), (0.5, 1.0)])
def test_sparsities_that_are_none_are_refused(grid):
    with pytest.raises(InputError, match="ascend"):
        measure(made(perceptron), one_class(samples(perceptron, 10)), METRICS["accuracy"], sparsities=grid)


def test_a_metric_that_does_not_fit_the_outputs_is_one_line():
    model, x = made(perceptron), samples(perceptron, 10)
    before = model.get_weights()
    with pytest.raises(InputError, match="mse cannot be taken") as caught:
        measure(model, Split(x, np.zeros((len(x), 3))), METRICS["mse"])
    assert len(str(caught.value).splitlines()) == 1
    assert all((a == b).all() for a, b in zip(before, model.get_weights(), strict=True))


def test_a_model_without_kernels_is_refused():
    x = np.zeros((4, 3), np.float32)
    with pytest.raises(ModelError, match="no layer is left"):
        measure(keras.Sequential([layers.Input((3,)), layers.ReLU()]), Split(x, x), METRICS["mse"])


# Allocation


def curve(layer, weights, losses, sparsities=GRID, baseline=0.9):
    return Curve(layer, ("kernel",), weights, tuple(sparsities), tuple(baseline - v for v in losses), baseline, True)


def random_curves(seed, count=4):
    generator = np.random.default_rng(seed)
    return [
        curve(f"l{i}", int(generator.integers(10, 1000)), np.cumsum(generator.exponential(0.1, 3)))
        for i in range(count)
    ]


def points(one):
    """Sparsity and loss at each point of a curve, the loss never falling."""
    losses = np.maximum.accumulate([0.0, *(one.baseline - score for score in one.scores)])
    return list(zip((0.0, *one.sparsities), losses, strict=True))


def envelope(one, sparsity):
    """The lowest mixture of two points of a curve that has this sparsity."""
    best = np.inf
    for (a, low), (b, high) in itertools.combinations(points(one), 2):
        if a - 1e-9 <= sparsity <= b + 1e-9:
            best = min(best, low + (high - low) * (sparsity - a) / (b - a))
    return best


def reached(curves, found):
    return sum(c.weights * found[c.layer] for c in curves) / sum(c.weights for c in curves)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("target", [0.1, 0.5, 0.75, 0.9])
def test_the_allocation_is_that_of_linear_programming(seed, target):
    """Each layer a mixture of the points of its curve: the smallest loss that any of them reaches the target with."""
    curves = random_curves(seed)
    found = suggest(curves, target, METRICS["accuracy"])
    costs = [loss for c in curves for _, loss in points(c)]
    zeros = [c.weights * s for c in curves for s, _ in points(c)]
    one_each = np.kron(np.eye(len(curves)), np.ones(len(GRID) + 1))
    total = sum(c.weights for c in curves)
    best = linprog(costs, A_ub=[[-z for z in zeros]], b_ub=[-target * total], A_eq=one_each, b_eq=[1] * len(curves))
    assert reached(curves, found) == pytest.approx(target)
    assert sum(envelope(c, found[c.layer]) for c in curves) == pytest.approx(best.fun, abs=1e-9)


@pytest.mark.parametrize("seed", range(12))
def test_no_choice_among_the_points_of_the_curves_costs_less(seed):
    """Brute force; a target that the allocation reaches on points alone is one that brute force finds as well."""
    curves = random_curves(seed, 3)
    choices = []
    for chosen in itertools.product(*(points(c) for c in curves)):
        zeros = sum(c.weights * s for c, (s, _) in zip(curves, chosen, strict=True))
        choices.append((zeros / sum(c.weights for c in curves), sum(loss for _, loss in chosen)))
    exact = 0
    for target in sorted({share for share, _ in choices if 0 < share < 0.9}):
        found = suggest(curves, target, METRICS["accuracy"])
        loss = sum(envelope(c, found[c.layer]) for c in curves)
        best = min(cost for share, cost in choices if share >= target - 1e-9)
        assert loss <= best + 1e-9
        reached_on = [(found[c.layer], envelope(c, found[c.layer])) for c in curves]
        if all(np.isclose(points(c), here).all(axis=1).any() for c, here in zip(curves, reached_on, strict=True)):
            exact += 1
            assert loss == pytest.approx(best)
    assert exact >= 2


def test_a_flat_layer_is_pruned_at_least_as_much_as_a_fragile_one():
    for seed, target in itertools.product(range(20), (0.2, 0.45, 0.6, 0.85)):
        fragile = random_curves(seed, 1)[0]
        flat = curve("flat", fragile.weights, (0, 0, 0))
        other = random_curves(seed + 100, 2)[1]
        for order in itertools.permutations([fragile, flat, other]):
            found = suggest(order, target, METRICS["accuracy"])
            assert found["flat"] >= found[fragile.layer]


def test_layers_that_lose_nothing_share_the_sparsity_evenly():
    curves = [curve("a", 100, (0, 0, 0)), curve("b", 900, (0, 0, 0.2)), curve("c", 50, (0.1, 0.2, 0.3))]
    found = suggest(curves, 0.3, METRICS["accuracy"])
    assert found["a"] == pytest.approx(found["b"]) == pytest.approx(0.3 * 1050 / 1000)
    assert found["c"] == 0
    found = suggest(curves, 0.6, METRICS["accuracy"])  # b stops where it begins to cost
    assert found["b"] == pytest.approx(0.6)
    assert found["a"] == pytest.approx(0.9)
    assert found["c"] == 0


def test_a_score_that_recovers_is_noise_and_a_better_one_is_no_gain():
    bumpy, plain = curve("l", 100, (0.2, 0.1, 0.3)), curve("l", 100, (0.2, 0.2, 0.3))
    better, level = curve("m", 100, (-0.1, 0, 0.1)), curve("m", 100, (0, 0, 0.1))
    for target in (0.2, 0.5, 0.8):
        found = suggest([bumpy, better], target, METRICS["accuracy"])
        assert found == suggest([plain, level], target, METRICS["accuracy"])


def test_where_lower_is_better_a_rising_error_is_a_loss():
    curves = random_curves(3)
    errors = [
        Curve(c.layer, c.kernels, c.weights, c.sparsities, tuple(1 + loss for _, loss in points(c)[1:]), 1.0, True)
        for c in curves
    ]
    for target in (0.3, 0.7):
        expected = suggest(curves, target, METRICS["accuracy"])
        assert suggest(errors, target, METRICS["mse"]) == pytest.approx(expected)
        assert suggest(errors, target, METRICS["accuracy"]) != pytest.approx(expected)


def test_the_highest_target_is_the_top_of_every_curve():
    assert suggest(random_curves(0), 0.9, METRICS["accuracy"]) == pytest.approx(
        dict.fromkeys(["l0", "l1", "l2", "l3"], 0.9)
    )


@pytest.mark.parametrize(
    ("target", "words"), [(0, "between 0 and 1"), (1, "between 0 and 1"), (0.95, "reach an overall")]
)
def test_a_target_that_cannot_be_reached_is_refused(target, words):
    with pytest.raises(InputError, match=words):
        suggest(random_curves(0), target, METRICS["accuracy"])


def test_the_rules_of_a_suggestion_give_every_layer_its_own():
    """Names that are patterns for other layers too: of a layer further down, and of a class."""
    inner = keras.Sequential([layers.Input((6,)), layers.Dense(6, name="dense"), layers.Dense(6, name="Dense")])
    inner.name = "a"
    model = keras.Sequential([layers.Input((6,)), inner, layers.Dense(6, name="dense"), layers.Dense(6, name="Dense")])
    kernels, _ = choose_kernels(model)
    paths = [kernel.place.path for kernel in kernels]
    for order in itertools.permutations(paths):
        suggestion = {path: 0.1 + 0.2 * paths.index(path) for path in order}
        shared_out = allocate(kernels, 0.5, rules=rules(kernels, suggestion))
        assert shared_out == pytest.approx([suggestion[path] for path in paths])


def test_the_suggestion_of_a_measured_model_reaches_its_target_in_zeros():
    model = made(perceptron)
    curves = measure(model, labelled(model, samples(perceptron)), METRICS["accuracy"])
    found = suggest(curves, 0.8, METRICS["accuracy"])
    kernels, _ = choose_kernels(model)
    for kernel in kernels:
        weights = kernel.variable.numpy()
        kernel.variable.assign(weights * sensitivity.magnitude_mask(weights, found[kernel.place.path]))
    zeros = sum(int((kernel.variable.numpy() == 0).sum()) for kernel in kernels)
    assert zeros / sum(c.weights for c in curves) == pytest.approx(
        0.8, abs=len(kernels) / sum(c.weights for c in curves)
    )


def test_the_public_ranking_has_the_curves_the_suggestion_and_what_is_left_alone():
    model = made(perceptron)
    split = labelled(model, samples(perceptron))
    curves = measure(model, split, METRICS["accuracy"], choose_kernels(model, skip=["head"])[0], GRID)
    found = rank_layers(model, (split.x, split.y), target=0.6, sparsities=GRID, skip=["head"])
    assert found.curves == tuple(curves)
    assert found.suggestion == suggest(curves, 0.6, METRICS["accuracy"])
    assert found.skipped == (("head", "left out by only/skip"),)
    shares = [found.suggestion[path] for path in found.ranking]
    assert shares == sorted(shares, reverse=True)
    assert rank_layers(model, split, METRICS["accuracy"], target=0.6, sparsities=GRID, skip=["head"]) == found


def test_a_target_out_of_reach_is_refused_before_any_layer_is_measured(monkeypatch):
    monkeypatch.setattr(layer_ranking, "measure", lambda *arguments: pytest.fail("it takes minutes"))
    with pytest.raises(InputError, match="reach an overall"):
        rank_layers(made(perceptron), one_class(samples(perceptron, 10)), target=0.95, sparsities=GRID)


def test_labels_without_names_rank_nothing_in_a_model_of_several_outputs(monkeypatch):
    monkeypatch.setattr(layer_ranking, "measure", lambda *arguments: pytest.fail("it takes minutes"))
    x = keras.Input((3,))
    hidden = layers.Dense(4, name="features")(x)
    model = keras.Model(x, [hidden, layers.Dense(2, name="head")(hidden)])
    with pytest.raises(InputError, match="outputs features, head: give y as a dict by these names"):
        rank_layers(model, (np.zeros((4, 3), np.float32), np.zeros(4, int)))
