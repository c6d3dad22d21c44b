"""The search for a file that keeps a metric, on models that need it and on metrics made up for the purpose."""

import math
from dataclasses import replace

import keras
import numpy as np
import pytest
from keras import layers
from sklearn.datasets import load_digits

from tfopt.errors import ConversionError
from tfopt.quantization import accuracy_search, quantizer
from tfopt.quantization.accuracy_search import AccuracySearch
from tfopt.quantization.preparation import prepare
from tfopt.quantization.sensitivity import Sensitivity, groups, measure
from tfopt.recipe.export import Export
from tfopt.tflite import flatbuffer
from tfopt.tflite.file import read
from tfopt.tflite.interpreter import Runner

NAMES = ("first", "second", "spread", "decide")
# The steps of a search in int8 that cost no bytes and no other samples.
FIRST = ["as asked", "bias correction", "rounding: descent"]


def normal(count, *shape, seed=0):
    return np.random.default_rng(seed).normal(size=(count, *shape)).astype(np.float32)


def ready(prepared, samples, **settings):
    """The one float conversion of a model, to be calibrated on these samples."""
    [name] = prepared.samples
    return replace(prepared, export=Export(**settings), samples={name: samples})


@pytest.fixture(scope="module")
def fragile():
    """One unit of `spread` reaches thousands and counts for nothing; what `decide` decides by is lost beside it."""
    keras.utils.set_random_seed(2)
    parts = [layers.Dense(16, activation="relu", bias_initializer="ones", name=name) for name in NAMES]
    model = keras.Sequential([layers.Input((12,), name="x"), *parts, layers.Dense(6, name="last")])
    spread, decide = model.get_layer("spread"), model.get_layer("decide")
    kernel, bias = spread.get_weights()
    kernel[:, 0], bias[0] = kernel[:, 0] * 300, 1500
    spread.set_weights([kernel, bias])
    kernel, bias = decide.get_weights()
    kernel[0] = 0
    decide.set_weights([kernel, bias])
    return prepare(model, Export(), normal(20, 12))


@pytest.fixture(scope="module")
def kept(fragile):
    """The search for a file of it that keeps the metric."""
    return search(fragile, normal(300, 12))[0].keep()


@pytest.fixture(scope="module")
def digits():
    """A convolutional network trained to read digits, the samples that it has seen, and others with their labels."""
    found = load_digits()
    x, y = (found.images / 16).astype(np.float32)[..., None], found.target
    keras.utils.set_random_seed(0)
    model = keras.Sequential([layers.Input((8, 8, 1))])
    for name, width in (("one", 12), ("two", 16)):
        model.add(layers.Conv2D(width, 3, padding="same", activation="relu", name=name))
    model.add(layers.MaxPooling2D(name="pool"))
    model.add(layers.Conv2D(24, 3, padding="same", activation="relu", name="three"))
    model.add(layers.Flatten(name="flat"))
    model.add(layers.Dense(48, activation="relu", name="four"))
    model.add(layers.Dense(10, name="five"))
    model.compile(keras.optimizers.Adam(0.003), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(x[:1200], y[:1200], epochs=3, batch_size=32, verbose=0)
    return prepare(model, Export(), x[:64]), x[:1200], x[1200:], y[1200:]


@pytest.fixture(scope="module")
def lost(digits):
    """What each layer of it loses in int4."""
    return measure(digits[0], ("int4",))


@pytest.fixture
def measured(lost, monkeypatch):
    """What layers lose is looked up, for searches over a metric that is made up."""
    monkeypatch.setattr(accuracy_search, "measure", lambda prepared, precisions, part: {("int4",): lost}[precisions])


@pytest.fixture(scope="module")
def smallest(digits):
    """The search for the smallest file that keeps the accuracy, and what it came to."""
    prepared, seen, unseen, y = digits
    found, _ = search(prepared, unseen, seen[:200], 0.01, y=y)
    return found, found.smallest()


def search(prepared, x, calibration=None, max_drop=0.05, more=None, y=None, **settings):
    """A contract over agreement with the Keras model, or over accuracy where there are labels; and what it told."""
    scores = prepared.model(x).numpy()
    target = scores.argmax(-1) if y is None else y
    before = float((scores.argmax(-1) == target).mean())
    told = []

    def score(content):
        [output] = Runner(content)(x).values()
        return float((output.argmax(-1) == target).mean())

    prepared = ready(prepared, x[:100] if calibration is None else calibration, **settings)
    more = None if more is None else {next(iter(prepared.samples)): more}
    return AccuracySearch(prepared, score, lambda after: before - after, max_drop, more, told.append), told


def made_up(prepared, allows, max_drop=0.5):
    """A contract whose metric is 1 where a file's summary is allowed, 0 elsewhere; and the summaries it asked for."""
    asked = []

    def score(content):
        asked.append(read(content))
        return float(allows(asked[-1]))

    return AccuracySearch(prepared, score, lambda after: 1 - after, max_drop), asked


def dtypes(outcome):
    return {row.layer: row.dtype for row in outcome.conversion.audit.rows}


def floats(summary):
    return sum(op.floating for op in summary.ops)


def fours(summary):
    return sum(kernel.dtype == "INT4" for op in summary.ops for kernel in op.kernels)


def agreement(prepared, content, x):
    [output] = Runner(content)(x).values()
    return float((output.argmax(-1) == prepared.model(x).numpy().argmax(-1)).mean())


@pytest.fixture(scope="module")
def deep():
    """Twenty layers alike, and what each is said to lose: the later, the more."""
    keras.utils.set_random_seed(1)
    parts = [layers.Dense(12, activation="relu", bias_initializer="ones", name=f"d{i}") for i in range(20)]
    prepared = prepare(keras.Sequential([layers.Input((12,)), *parts]), Export(), normal(16, 12))

    def lost(precision):
        every = enumerate(groups(prepared.source), start=1)
        return [Sensitivity(group, precision, 0.01 * number, 100, "minmax") for number, group in every]

    return prepared, {precision: lost(precision) for precision in ("int8", "int4")}


# A model that int8 breaks


def test_the_layers_that_int8_breaks_stay_in_float_and_no_others(fragile, kept):
    x, outcome = normal(300, 12), kept
    assert outcome.steps[0].score < 0.5
    assert outcome.step.met
    assert {name for name, dtype in dtypes(outcome).items() if dtype == "float32"} == {"spread", "decide"}
    assert list(dtypes(outcome).values()).count("int8") == 3
    assert [name.split("/")[0] for name in outcome.conversion.audit.floating] == [
        "FULLY_CONNECTED spread",
        "FULLY_CONNECTED decide",
    ]
    assert agreement(fragile, outcome.conversion.content, x) == outcome.step.score >= 0.95


def test_a_target_of_integers_gets_them_in_int16(fragile):
    x = normal(300, 12)
    outcome = search(fragile, x, target="int_only")[0].keep()
    summary = read(outcome.conversion.content)
    computing = [op for op in summary.ops if op.name == "FULLY_CONNECTED"]
    assert outcome.step.met
    assert outcome.conversion.audit.floating == ()
    assert [op.outputs[0].dtype for op in computing] == ["INT8", "INT8", "INT16", "INT16", "INT8"]
    assert agreement(fragile, outcome.conversion.content, x) >= 0.95


@pytest.mark.slow
def test_layers_that_int4_breaks_go_to_int8_before_any_goes_to_float(digits):
    """Int4 in `two` is what the metric does not allow, and int8 is enough for it."""
    prepared, calibration, *_ = digits
    prepared = ready(prepared, calibration[:64], mode="int4")

    def allows(summary):
        [kernel] = [t for op in summary.ops for t in op.kernels if t.shape == (16, 3, 3, 12)]
        return kernel.dtype != "INT4"

    outcome = made_up(prepared, allows)[0].keep()
    assert outcome.step.met
    assert dtypes(outcome)["two"] == "int8"
    assert outcome.conversion.audit.floating == ()
    assert not any("float" in step.what for step in outcome.steps)


def test_a_file_that_keeps_the_metric_as_asked_is_the_only_one_tried(fragile):
    x = normal(300, 12)
    found, told = search(fragile, x, mode="int16x8")
    outcome = found.keep()
    assert [(step.what, step.met) for step in outcome.steps] == [("as asked", True)]
    assert len(told) == 1


# Inputs, outputs and operations


def spectral():
    """The logarithm of squares, whose small values are all of what it tells, with classes of its own."""
    keras.utils.set_random_seed(1)
    x = layers.Input((12,), name="x")
    model = keras.Model(x, layers.Dense(6, name="head")(keras.ops.log(x * x + 1e-5)))
    return prepare(model, Export(), normal(50, 12))


def reads_in_float():
    """The first op has no form in integers, so that integer inputs are rounded for nothing."""
    x = layers.Input((12,), name="x")
    return prepare(keras.Model(x, layers.Dense(6)(keras.ops.exp(x))), Export(), normal(50, 12))


def test_operations_that_lose_most_are_in_float_before_any_layer_is():
    prepared, x = spectral(), normal(300, 12)
    outcome = search(prepared, x)[0].keep()
    assert outcome.step.met
    assert [step.what.split(":")[0] for step in outcome.steps][-1] == "operations in float"
    assert not any("worst" in step.what for step in outcome.steps)
    assert dtypes(outcome) == {"head": "int8"}
    assert agreement(prepared, outcome.conversion.content, x) >= 0.95


def test_an_input_that_operations_in_float_read_is_in_float_unless_the_user_says_otherwise():
    prepared, x = spectral(), normal(300, 12)
    types = {}
    for io in (None, "int8"):
        outcome = search(prepared, x, **({"io": io} if io else {}))[0].keep()
        [(types[io], _)] = read(outcome.conversion.content).inputs.values()
    assert types == {None: "FLOAT32", "int8": "INT8"}


@pytest.mark.parametrize("settings", [{}, {"io": "int8"}, {"io": "float32"}, {"target": "int_only"}])
def test_inputs_in_float_are_tried_where_an_op_in_float_reads_them(settings):
    found, asked = made_up(ready(reads_in_float(), normal(50, 12), **settings), lambda s: "FLOAT32" in str(s.inputs))
    if settings.get("target"):
        with pytest.raises(ConversionError, match="would stay in float"):
            found.keep()
    else:
        outcome = found.keep()
        assert outcome.step.met == (settings.get("io") != "int8")
        assert any(step.what == "io: float32" for step in outcome.steps) == (not settings)
    assert any("FLOAT32" in str(summary.inputs) for summary in asked) == (settings in ({}, {"io": "float32"}))


def test_inputs_in_float_are_not_tried_where_they_change_nothing(digits):
    outcome = made_up(digits[0], lambda summary: False)[0].keep()
    assert "io: float32" not in [step.what for step in outcome.steps]


# Calibration


def test_percentile_ranges_are_enough_for_a_sample_that_stands_out(digits):
    """One calibration sample of 200 is a thousand times as bright as the others."""
    prepared, seen, unseen, y = digits
    calibration = seen[:200].copy()
    calibration[17] *= 1000
    outcome = search(prepared, unseen, calibration, 0.02, y=y)[0].keep()
    assert [step.what for step in outcome.steps] == [*FIRST, "ranges: percentile"]
    assert [step.met for step in outcome.steps] == [False, False, False, True]
    assert outcome.conversion.audit.floating == ()


def test_all_that_was_seen_is_tried_where_percentiles_were_asked_for(digits):
    prepared, seen, unseen, y = digits
    outcome = search(prepared, unseen, seen[:100], -1, y=y, ranges="percentile")[0].keep()
    assert [step.what for step in outcome.steps][:4] == [*FIRST, "ranges: minmax"]


def test_more_samples_are_enough_where_the_first_ones_showed_too_little(digits):
    """The first samples are nearly black."""
    prepared, seen, unseen, y = digits
    outcome = search(prepared, unseen, seen[:40] * 0.05, 0.02, seen[:200], y=y)[0].keep()
    assert outcome.step.what == "calibration on 200 samples"
    assert [step.met for step in outcome.steps] == [*[False] * 4, True]
    assert read(outcome.conversion.content).ops[0].name != "QUANTIZE"


# Contracts that cannot be kept


def test_an_impossible_contract_ends_with_the_best_step_and_tells_them_all(fragile):
    x = normal(300, 12)
    found, told = search(fragile, x, max_drop=-1, more=normal(150, 12, seed=5))
    outcome = found.smallest()  # which goes on to int4 only from a file that keeps the metric
    assert not any(step.met for step in outcome.steps)
    assert outcome.step.drop == min(step.drop for step in outcome.steps)
    assert outcome.step.bytes == min(s.bytes for s in outcome.steps if s.drop == outcome.step.drop)
    assert [line.split(": ")[0] for line in told] == [step.what.split(": ")[0] for step in outcome.steps]
    whats = [step.what for step in outcome.steps]
    assert whats[:5] == [*FIRST, "ranges: percentile", "calibration on 150 samples"]
    assert [what.split(" ")[0] for what in whats[5:]] == ["1", "2", "4"]
    assert len(outcome.conversion.content) == outcome.step.bytes
    assert agreement(fragile, outcome.conversion.content, x) == outcome.step.score


def test_steps_have_the_bytes_and_the_drop_of_their_file(digits, smallest):
    prepared, _, unseen, y = digits
    found, outcome = smallest
    before = float((prepared.model(unseen).numpy().argmax(-1) == y).mean())
    for step, (_, _, content) in zip(outcome.steps, found._tried, strict=True):
        assert step.bytes == len(flatbuffer.slim(content))
        assert step.drop == pytest.approx(before - step.score)
        assert step.met == (step.drop <= 0.01)


def test_what_was_asked_for_has_to_convert(fragile):
    def score(content):
        raise ConversionError("LiteRT cannot run it.")

    with pytest.raises(ConversionError, match="LiteRT cannot run it"):
        AccuracySearch(fragile, score, lambda after: 0.0, 1.0).keep()


def test_a_candidate_that_cannot_be_converted_does_not_end_the_search(fragile, monkeypatch):
    """The one with one float layer is refused; the one with two is reached."""
    found, told = search(fragile, normal(300, 12))
    quantize = quantizer.quantize

    def picky(source, mode, *rest):
        content = quantize(source, mode, *rest)
        if mode == "int8" and floats(read(content)) == 1:
            raise ConversionError("not this one.")
        return content

    monkeypatch.setattr(quantizer, "quantize", picky)
    outcome = found.keep()
    assert outcome.step.what.startswith("2 worst layers in float")
    assert outcome.step.met
    assert [line for line in told if "not this one" in line] == ["1 worst layer in float: decide: not this one."]
    assert all(math.isfinite(step.drop) for step in outcome.steps)


@pytest.mark.usefixtures("measured")
def test_a_file_that_the_target_refuses_gives_way_to_the_next_best(digits, monkeypatch):
    found, _ = made_up(digits[0], lambda summary: True)
    finish = accuracy_search.finish

    def refuses_int4(prepared, content, precisions):
        if any(tensor.dtype == "INT4" for tensor in read(content).tensors):
            raise ConversionError("the target has no int4.")
        return finish(prepared, content, precisions)

    monkeypatch.setattr(accuracy_search, "finish", refuses_int4)
    outcome = found.smallest()
    assert outcome.step.what == "as asked"
    assert min(outcome.steps, key=lambda step: step.bytes).what != "as asked"


def test_a_target_that_refuses_every_file_says_why(fragile):
    """A file all in float is none of integers."""
    found, _ = made_up(fragile, lambda summary: True)
    found._asked = replace(found._asked, export=Export(rules=[{"layers": "Dense", "to": "float"}]))
    with pytest.raises(ConversionError, match="nothing could be quantized"):
        found.keep()


# The smallest file


def test_the_smallest_file_is_a_quarter_below_int8_and_keeps_the_metric(digits, smallest):
    prepared, _, unseen, y = digits
    _, outcome = smallest
    [output] = Runner(outcome.conversion.content)(unseen).values()
    before = float((prepared.model(unseen).numpy().argmax(-1) == y).mean())
    assert before > 0.85
    assert before - float((output.argmax(-1) == y).mean()) <= 0.01
    assert len(outcome.conversion.content) <= 0.75 * outcome.steps[0].bytes
    assert "int4" in dtypes(outcome).values()


@pytest.mark.sample(1)
@pytest.mark.usefixtures("measured")
@pytest.mark.parametrize("allowed", [0, 1, 2, 4])
def test_as_many_layers_are_in_int4_as_the_metric_allows(digits, allowed):
    found, _ = made_up(digits[0], lambda summary: fours(summary) <= allowed)
    outcome = found.smallest()
    assert list(dtypes(outcome).values()).count("int4") == allowed
    assert outcome.step.met


@pytest.mark.usefixtures("measured")
def test_a_layer_that_int4_breaks_is_left_out_and_those_ranked_after_it_are_not(digits):
    def allows(summary):
        [kernel] = [t for op in summary.ops for t in op.kernels if t.shape == (24, 3, 3, 16)]
        return kernel.dtype == "INT8"

    outcome = made_up(digits[0], allows)[0].smallest()
    assert dtypes(outcome) == {"one": "int4", "two": "int4", "three": "int8", "four": "int4", "five": "int4"}


def test_layers_that_had_to_stay_in_float_are_not_given_int4(fragile):
    x = normal(300, 12)
    outcome = search(fragile, x, max_drop=0.08)[0].smallest()
    assert outcome.step.met
    assert (dtypes(outcome)["spread"], dtypes(outcome)["decide"]) == ("float32", "float32")
    assert agreement(fragile, outcome.conversion.content, x) >= 0.92


def test_microcontrollers_get_int4_where_their_kernels_take_it(digits):
    """TFLM's fully connected kernel does not."""
    pytest.importorskip("tflite_micro")
    prepared, seen, unseen, y = digits
    outcome = search(prepared, unseen, seen[:100], 0.05, y=y, target="tflm")[0].smallest()
    assert outcome.step.met
    assert {name for name, dtype in dtypes(outcome).items() if dtype == "int4"} <= {"one", "two", "three"}
    assert "int4" in dtypes(outcome).values()
    assert outcome.conversion.figures["arena_bytes"] > 0


# Rules


def test_the_users_rules_are_kept_on_the_way_up(fragile):
    """The metric needs `decide` in float, and a rule says int8."""
    rules = [{"layers": "decide", "to": "int8"}, {"layers": "last", "to": "int4"}]
    outcome = search(fragile, normal(200, 12), rules=rules)[0].keep()
    assert not outcome.step.met
    assert len(outcome.steps) > 3
    assert (dtypes(outcome)["decide"], dtypes(outcome)["last"]) == ("int8", "int4")
    assert not any("decide" in step.what or "last" in step.what for step in outcome.steps)


@pytest.mark.usefixtures("measured")
def test_the_users_rules_are_kept_on_the_way_down(digits):
    prepared, seen, *_ = digits
    rules = [{"layers": "four", "to": "int8"}, {"layers": "two", "to": "float"}]
    found, asked = made_up(ready(prepared, seen[:64], rules=rules), lambda summary: True)
    outcome = found.smallest()
    assert dtypes(outcome) == {"one": "int4", "two": "float32", "three": "int4", "four": "int8", "five": "int4"}
    for summary in asked:
        [two] = [t for op in summary.ops for t in op.kernels if t.shape == (16, 3, 3, 12)]
        assert two.dtype == "FLOAT32"


# How many tries


@pytest.mark.parametrize("needed", [1, 2, 7, 13, 19])
@pytest.mark.sample(2)
def test_the_way_up_takes_a_logarithmic_number_of_tries_and_finds_the_fewest(deep, monkeypatch, needed):
    monkeypatch.setattr(accuracy_search, "measure", lambda prepared, precisions, part: deep[1][precisions[0]])
    found, asked = made_up(deep[0], lambda summary: floats(summary) >= needed)
    outcome = found.keep()
    assert outcome.step.met
    assert floats(read(outcome.conversion.content)) == needed
    assert len(asked) <= 2 + 2 * math.ceil(math.log2(20)) + 1


def test_a_file_all_in_float_keeps_no_contract(deep, monkeypatch):
    monkeypatch.setattr(accuracy_search, "measure", lambda prepared, precisions, part: deep[1][precisions[0]])
    outcome = made_up(deep[0], lambda summary: floats(summary) == 20)[0].keep()
    assert not outcome.step.met
    assert outcome.steps[-1].what.startswith("19 worst")


@pytest.mark.parametrize("allowed", [0, 1, 13, 19, 20])
@pytest.mark.sample(2)
def test_the_way_down_takes_a_logarithmic_number_of_tries_and_finds_the_most(deep, monkeypatch, allowed):
    monkeypatch.setattr(accuracy_search, "measure", lambda prepared, precisions, part: deep[1][precisions[0]])
    found, asked = made_up(deep[0], lambda summary: fours(summary) <= allowed)
    outcome = found.smallest()
    assert fours(read(outcome.conversion.content)) == allowed
    assert len(asked) <= 1 + 4 * (math.ceil(math.log2(20)) + 1)  # each of them twice: nearest, and chosen together


def test_a_search_is_the_same_every_time(fragile, kept):
    again = search(fragile, normal(300, 12))[0].keep()
    assert again.steps == kept.steps
    assert again.conversion.content == kept.conversion.content


def test_progress_is_told_while_layers_are_measured(fragile):
    done = []
    found, _ = made_up(fragile, lambda summary: True)
    found._part = done.append
    found.smallest()
    assert done[-1] == 1
    assert done == sorted(done)
