"""Files of chosen integers: every one of them is stored, biases take up the mean error, and the noise is less."""

import re

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from keras import layers

from tfopt.errors import ConversionError, InputError, ModelError
from tfopt.quantization import quantizer
from tfopt.quantization.conversion import convert_with_notes, finish
from tfopt.quantization.preparation import prepare
from tfopt.quantization.rounding import edited_file, reconstruction
from tfopt.quantization.rounding.edited_file import ChosenKernel
from tfopt.quantization.rounding.grids import kernel_grids
from tfopt.quantization.rounding.plan import RoundingSettings, plan
from tfopt.quantization.rounding.work import work
from tfopt.recipe.export import Export
from tfopt.recipe.modes import ROUNDINGS
from tfopt.tflite import flatbuffer
from tfopt.tflite.interpreter import Runner

MEAN = ("nearest", "gptq", "descent", "adaround")


def normal(*shape, seed=0):
    """Samples whose features have much in common, as those of pictures and sounds have."""
    draw = np.random.default_rng(seed)
    return (draw.normal(size=shape) + 1.5 * draw.normal(size=(shape[0], *[1] * (len(shape) - 1)))).astype(np.float32)


@pytest.fixture(scope="module")
def noisy():
    """A deep net with residuals, in int4 all noise, and its samples."""
    keras.utils.set_random_seed(1)
    inputs = values = layers.Input((16,))
    for _ in range(6):
        values = layers.Add()([values, layers.Dense(16, activation="relu", bias_initializer="ones")(values)])
    return prepare(
        keras.Model(inputs, layers.Dense(6, bias_initializer="ones")(values)), Export(mode="int4"), normal(120, 16)
    )


@pytest.fixture(scope="module")
def nearest(noisy):
    return noisy.quantized()


@pytest.fixture(scope="module", params=MEAN)
def rounded(request, noisy):
    return request.param, noisy.quantized(rounding=RoundingSettings(request.param, bias_correction=True))


def snr(prepared, content, x):
    [expected], [found] = Runner(prepared.source.content)(x).values(), Runner(content)(x).values()
    return 10 * np.log10(np.square(expected).mean() / np.square(found - expected).mean())


def test_noise_is_less_on_samples_that_were_not_seen(noisy, nearest, rounded):
    name, content = rounded
    x = normal(200, 16, seed=5)
    assert snr(noisy, content, x) > snr(noisy, nearest, x) + (1 if name == "nearest" else 3)


def test_the_file_is_no_larger(nearest, rounded):
    """Up to the gaps that align its tables."""
    assert len(flatbuffer.slim(rounded[1])) <= len(flatbuffer.slim(nearest)) + 16


def test_mean_errors_are_taken_up(noisy, nearest, rounded):
    def mean_error(content):
        [expected], [found] = (Runner(one)(noisy.samples).values() for one in (noisy.source.content, content))
        return np.abs((found - expected).mean(0)).max()

    step = float(next(iter(Runner(nearest).outputs.values()))["quantization"][0])
    assert mean_error(rounded[1]) < max(0.3 * mean_error(nearest), step / 2)


def test_settings_of_nearest_give_the_bytes_of_the_quantizer(noisy, nearest):
    plain = quantizer.quantize(noisy.source, "int4", noisy.ranges())
    assert nearest == plain == noisy.quantized(rounding=RoundingSettings())


@st.composite
def networks(draw):
    """Small nets of layers of all kinds that are rounded, some of them shared, pruned or all zero."""
    keras.utils.set_random_seed(draw(st.integers(0, 1000)))
    inputs = values = layers.Input((6, 5, draw(st.integers(1, 4))))
    kinds = st.sampled_from(["conv", "depthwise", "transposed", "dense", "shared"])
    for kind in draw(st.lists(kinds, min_size=1, max_size=3)):
        activation = draw(st.sampled_from([None, "relu", "relu6"]))
        bias = {"use_bias": draw(st.booleans()), "bias_initializer": keras.initializers.RandomNormal(stddev=3.0)}
        if kind == "conv":
            values = layers.Conv2D(draw(st.integers(1, 6)), 2, padding="same", activation=activation, **bias)(values)
        elif kind == "depthwise":
            values = layers.DepthwiseConv2D(3, padding="same", depth_multiplier=draw(st.integers(1, 2)), **bias)(values)
        elif kind == "transposed":
            values = layers.Conv2DTranspose(3, 2, padding="same", activation=activation, **bias)(values)
        elif kind == "dense":
            values = layers.Dense(4, activation=activation, **bias)(values)
        else:
            values = layers.Dense(values.shape[-1], **bias)(values)
            again = layers.Dense(values.shape[-1], activation="tanh", **bias)
            values = again(again(values))
    model = keras.Model(inputs, layers.Dense(3)(layers.Flatten()(values)))
    for layer in model.layers:
        for variable in layer.weights[:1]:
            zeros = np.random.default_rng(0).random(variable.shape) < draw(st.sampled_from([0.0, 0.5, 0.95]))
            variable.assign(np.where(zeros, 0, variable.numpy()))
    return model


ASKED = (
    networks(),
    st.sampled_from(["int4", "int8"]),
    st.sampled_from(MEAN),
    st.booleans(),
    st.sampled_from(["none", "mse"]),
)
RANDOM = {"deadline": None, "derandomize": True, "suppress_health_check": list(HealthCheck)}


@settings(max_examples=2, **RANDOM)
@given(*ASKED)
def test_every_integer_is_the_one_that_was_chosen(model, mode, rounding, correct, clipping):
    check_integers_of(model, mode, rounding, correct, clipping)


@pytest.mark.slow
@settings(max_examples=15, **RANDOM)
@given(*ASKED)
def test_every_integer_of_many_nets_is_the_one_that_was_chosen(model, mode, rounding, correct, clipping):
    check_integers_of(model, mode, rounding, correct, clipping)


def check_integers_of(model, mode, rounding, correct, clipping):
    """Holds the file of a net against the kernels that were chosen, before any check of its own."""
    chosen = {}
    own = reconstruction.with_constants

    def watched(source, kernels, biases):
        chosen.update(kernels)
        return own(source, kernels, biases)

    prepared = prepare(model, Export(mode=mode), normal(12, *model.input_shape[1:]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reconstruction, "with_constants", watched)
        patch.setattr(reconstruction, "check_integers", lambda content, kernels: None)
        content = prepared.quantized(rounding=RoundingSettings(rounding, correct, clipping, ((0, "gptq"),)))
    stored = kernel_grids(content)
    assert chosen
    for name, kernel in chosen.items():
        assert np.array_equal(stored[name].integers, kernel.integers)
        np.testing.assert_allclose(stored[name].scales, np.broadcast_to(kernel.scales, stored[name].scales.shape), 1e-6)
        zeros = prepared.source.constants[name] == 0
        assert (stored[name].integers[zeros] == 0).all()


def test_an_integer_that_the_quantizer_changed_is_no_result(nearest):
    name, grid = next(iter(kernel_grids(nearest).items()))
    kept = ChosenKernel(grid.integers.astype(int), grid.scales, grid.high)
    edited_file.check_integers(nearest, {name: kept})
    other = kept.integers.copy()
    other.flat[0] += 1
    with pytest.raises(ConversionError, match="has not kept the integers that were chosen for"):
        edited_file.check_integers(nearest, {name: ChosenKernel(other, grid.scales, grid.high)})


def test_a_shared_kernel_is_chosen_on_all_its_inputs(monkeypatch):
    keras.utils.set_random_seed(0)
    shared, inputs = layers.Dense(4, name="shared", bias_initializer="ones"), [layers.Input((4,)), layers.Input((4,))]
    model = keras.Model(inputs, layers.Concatenate()([shared(inputs[0]), shared(inputs[1])]))
    x = [normal(30, 4), 5 * normal(30, 4, seed=1)]
    seen = []
    gptq = ROUNDINGS["gptq"].choose
    object.__setattr__(ROUNDINGS["gptq"], "choose", lambda problem: (seen.append(problem), gptq(problem))[1])
    try:
        prepared = prepare(model, Export(mode="int4"), x)
        content = prepared.quantized(rounding=RoundingSettings("gptq", bias_correction=True))
    finally:
        object.__setattr__(ROUNDINGS["gptq"], "choose", gptq)
    [problem] = seen
    expected = np.cov(np.concatenate(x).T, bias=True)
    damped = expected + 0.01 * np.trace(expected) / 4 * np.eye(4)
    np.testing.assert_allclose(problem.gram[0], damped, rtol=0.05, atol=0.05 * np.abs(damped).max())
    assert prepared.snr(content) > 10


def test_biases_that_ops_share_are_corrected_one_by_one():
    """Layers without a bias share one constant of zeros in the file."""
    keras.utils.set_random_seed(0)
    stack = [layers.Conv2D(8, 1, use_bias=False, activation="relu") for _ in range(3)]
    model = keras.Sequential([layers.Input((4, 4, 8)), *stack])
    prepared = prepare(model, Export(mode="int4"), np.abs(normal(60, 4, 4, 8)))
    better = prepared.snr(prepared.quantized(rounding=RoundingSettings(bias_correction=True)))
    assert better > prepared.snr(prepared.quantized())


def test_what_is_left_alone_is_named():
    keras.utils.set_random_seed(0)
    inputs = layers.Input((5, 4))
    values = layers.Dense(24, activation="relu", name="clustered")(layers.LSTM(8, name="lstm")(inputs))
    model = keras.Model(inputs, layers.Dense(3, name="head")(values))
    kernel = model.get_layer("clustered").kernel
    kernel.assign(np.sign(kernel.numpy()) * np.where(np.abs(kernel.numpy()) > 0.2, 0.4, 0.1))
    export = Export(mode="int8", rounding="descent", recurrent="fused", least_snr_db=0)
    made = convert_with_notes(model, export, normal(40, 5, 4))
    assert "rounding leaves lstm alone: it is a recurrent layer as one op" in made.notes
    assert "rounding leaves clustered alone: its shared values stay as they are" in made.notes
    audit = {row.layer: row for row in made.audit.rows}
    assert audit["clustered"].values <= 4


def test_auto_takes_the_rounding_of_the_least_noise_and_says_so(noisy):
    content = noisy.quantized(rounding=RoundingSettings("auto", bias_correction=True))
    [note] = [note for note in noisy.remarks[content] if note.startswith("rounding: ")]
    told = note.split(", of ")[1].removesuffix(" dB on 24 held-out samples, then on all samples").split(" dB, ")
    figures = dict(part.rsplit(" ", 1) for part in told)
    best = max(figures, key=lambda name: float(figures[name]))
    assert list(figures) == ["nearest", "bias correction", "descent", "adaround"]
    assert note.startswith(f"rounding: {best}, of ")
    assert note in finish(noisy.judged("metric"), content).notes
    assert content == noisy.quantized(rounding=RoundingSettings(best, bias_correction=True))


def test_auto_corrects_no_biases_where_that_is_not_wanted(noisy):
    export = Export(mode="int4", rounding="auto", bias_correction=False)
    asked = prepare(noisy.model, export, noisy.samples)
    source, settings = noisy.source, asked.rounding
    made = reconstruction.Reconstruction(source, noisy.samples, noisy.ranges(), None, settings)
    tried = []

    def counted(self, base, planned, settings, *rest):
        tried.append((settings.rounding, settings.bias_correction))
        raise ConversionError("this is all that is looked at")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reconstruction.Reconstruction, "_with", counted)
        base = noisy.quantized()
        found = made._best(base, kernel_grids(base), ROUNDINGS["auto"].tries, noisy.samples)
    assert tried == [("descent", False), ("adaround", False)]
    assert found.content == base


def test_auto_leaves_out_what_its_budget_has_no_time_for(noisy):
    """The budget is counted in work: the slower machine has the same file."""
    grids, samples = kernel_grids(noisy.quantized()), 96
    tries = {name: RoundingSettings(name, bias_correction=True) for name in ROUNDINGS["auto"].tries}
    one, other, last = (work(noisy.source, plan(noisy.source, grids, each), samples) for each in tries.values())
    before = one.seconds() + other.seconds()
    told = {}
    for seconds in (1e-9, 1.1 * one.seconds(), before + last.seconds(0.5), before + 1.01 * last.seconds()):
        content = noisy.quantized(rounding=RoundingSettings("auto", bias_correction=True, seconds=seconds))
        told[seconds] = " / ".join(noisy.remarks[content])
    none, first, half, all_ = told.values()
    assert none.startswith("rounding: nearest, of nearest ")
    assert "bias correction is left out: it is about 0 s of work (rounding_seconds: 1e-09)" in none
    assert "bias correction " in first.partition(" / ")[0]
    assert "rounding descent is left out" in first
    assert "descent " in half.partition(" / ")[0]
    assert re.search(r"adaround in (49|50)% of its steps \d", half)
    assert "left out" not in all_
    assert " of its steps" not in all_


def test_a_rule_rounds_a_layer_in_its_own_way(noisy):
    model, x = noisy.model, noisy.samples
    last = noisy.source.owners[-1][0].path
    rules = [{"layers": last, "rounding": "gptq"}]
    ruled = prepare(model, Export(mode="int4", rules=rules), x)
    assert set(ruled.rounding.by_op) == {(len(ruled.source.ops) - 1, "gptq")}
    before, after = kernel_grids(noisy.quantized()), kernel_grids(ruled.quantized())
    changed = {name for name in before if not np.array_equal(before[name].integers, after[name].integers)}
    assert changed == {ruled.source.ops[-1].kernels[0].name}
    with pytest.raises(ModelError, match="rounds nothing"):
        prepare(model, Export(mode="int4", rules=[{"layers": "Add", "rounding": "gptq"}]), x).quantized()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"mode": "dynamic", "rounding": "gptq"}, "for modes that compute in integers"),
        ({"mode": "float16", "clipping": "mse"}, "for modes that compute in integers"),
        ({"mode": "int4", "rules": [{"layers": "a"}]}, "a rule says to what precision"),
        ({"mode": "int4", "rules": [{"layers": "a", "rounding": "auto"}]}, "auto"),
        ({"mode": "int4", "rounding": "up"}, "up"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(given, told):
    with pytest.raises((InputError, ValueError), match=told):
        Export(**given)


def test_biases_are_corrected_where_integers_are_chosen_together():
    assert not Export().corrects_biases
    assert Export(rounding="gptq").corrects_biases
    assert not Export(rounding="gptq", bias_correction=False).corrects_biases
