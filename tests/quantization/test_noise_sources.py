"""What a noisy file says: the SNR, the ops that lose most, and rules that bring back what they say they do."""

import math
import re
import warnings
from types import SimpleNamespace

import keras
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from keras import layers, ops
from ruamel.yaml import YAML

import tfopt
from tests.quantization import zoo
from tfopt.errors import ConversionError, InputError, TfoptWarning
from tfopt.quantization import convert, noise_sources, quantize_aware
from tfopt.quantization.conversion import convert_with_notes, finish
from tfopt.quantization.noise_sources import ENOUGH_DB, WORTH_DB
from tfopt.quantization.preparation import prepare
from tfopt.quantization.remedies import NoiseSources, Remedy
from tfopt.quantization.sensitivity import Group, Sensitivity
from tfopt.quantization.validation import check_snr
from tfopt.recipe.export import Export, Rule
from tfopt.recipe.modes import MODES
from tfopt.tflite.file import read

ANYTHING = -100.0


def spectral(least=1e-4):
    """The logarithm of squares, whose small values are all of what it tells; and samples."""
    keras.utils.set_random_seed(1)
    x = layers.Input((16,), name="x")
    return keras.Model(x, layers.Dense(3, name="head")(ops.log(x * x + least))), zoo.normal(64, 16)


def sequential(*parts):
    keras.utils.set_random_seed(1)
    return keras.Sequential([layers.Input((16,), name="x"), *parts])


def loud_input():
    """One input reaches a hundred times as far as the others, and counts for nothing."""
    model = sequential(layers.Dense(8, name="body", use_bias=False), layers.Dense(3, name="head"))
    kernel = model.layers[0].kernel.numpy()
    kernel[0] = 0
    model.layers[0].kernel.assign(kernel)
    samples = zoo.normal(64, 16)
    samples[:, 0] *= 300
    return model, samples


def loud_kernel():
    """Some weights are thirty times the others, for an input that is small."""
    model = sequential(layers.Dense(64, activation="relu", name="body"), layers.Dense(3, name="head"))
    kernel, samples = model.layers[0].kernel.numpy(), zoo.normal(64, 16)
    kernel[0] *= 30
    model.layers[0].kernel.assign(kernel)
    samples[:, 0] *= 0.01
    return model, samples


def deep():
    """Kernels one behind the other, and inputs with much in common."""
    parts = [layers.Dense(16, activation="relu", name=f"body_{number}") for number in range(3)]
    samples = zoo.normal(64, 16)
    return sequential(*parts, layers.Dense(3, name="head")), samples + 4 * samples[:, :1]


def said(net, mode="int8", **settings):
    """The one warning of a file that is to be made whatever its noise is, and the file's SNR."""
    model, samples = net
    made = convert_with_notes(model, Export(mode=mode, least_snr_db=ANYTHING, **settings), samples)
    [warning] = made.warnings
    return warning, made.figures["calibration_snr_db"]


def name_of(model, kind):
    return next(op.name for op in model.operations if type(op).__name__ == kind)


def remedy(text):
    """The settings that a sentence asks for, and the SNR that it promises."""
    asked, promised = re.search(r": ((?:rules|rounding): .*) would give ([\d.]+) dB", text).groups()
    return YAML(typ="safe").load(asked.replace(" and ", "\n")), float(promised)


NOISY = {
    "spectrum": (spectral, "int8", {}),
    "spectrum at its edge": (lambda: spectral(2e-2), "int8", {}),
    "input": (loud_input, "int8", {}),
    "while it runs": (loud_input, "dynamic", {}),
    "kernel": (loud_kernel, "int4", {}),
    "kernels": (deep, "int4", {}),
    "by a rule": (loud_kernel, "int8", {"rules": [{"layers": "*", "to": "int4"}]}),
}


@pytest.mark.parametrize("name", NOISY)
def test_the_rules_that_a_warning_writes_give_what_they_promise(name):
    build, mode, settings = NOISY[name]
    model, samples = build()
    text, before = said((model, samples), mode, **settings)
    assert f"SNR {before:.1f} dB" in text
    asked, promised = remedy(text)
    with warnings.catch_warnings():
        warnings.simplefilter("error", TfoptWarning)
        made = convert_with_notes(model, Export(mode=mode, **asked), samples)
    assert made.figures["calibration_snr_db"] == pytest.approx(promised, abs=0.06)
    assert promised >= 20 > before
    assert made.warnings == ()


def test_integers_chosen_together_come_before_rules_that_cost_bytes():
    model, samples = deep()
    made = convert_with_notes(model, Export(mode="int4"), samples)
    assert "rules" not in made.warnings[0]
    assert "would give" in made.warnings[0]
    assert "rounding: auto takes the best of several" in made.warnings[0]
    assert made.options == (("rounding: descent", "--rounding descent"),)
    again = convert_with_notes(model, Export(mode="int4", rounding="descent"), samples)
    assert len(again.content) <= len(made.content) + 16  # up to the gaps that align its tables


def test_where_kernels_are_not_the_noise_no_rounding_is_tried(monkeypatch):
    tried = []
    monkeypatch.setattr(noise_sources, "work", lambda *given: tried.append(given))
    said(spectral())
    said(loud_input(), "dynamic")
    assert tried == []


@pytest.mark.parametrize(("grid", "named"), [("x", "body"), ("body/", "middle, body"), ("head/", "head")])
def test_of_a_trained_file_the_rules_give_what_they_promise_with_the_ranges_that_were_trained(grid, named):
    """Calibrated ranges have nothing to do with what a range too narrow cuts off."""
    parts = [layers.Dense(16, activation="relu", name="body"), layers.Dense(8, name="middle")]
    model, samples = sequential(*parts, layers.Dense(3, name="head")), zoo.normal(64, 16)

    def narrow(**settings):
        aware = quantize_aware(model, "int8", samples, **settings)
        aware.strip()
        cut = [0.3 if one.name.startswith(grid) else 1.0 for one in aware.scheme.grids]
        aware.observer.high.assign(aware.observer.high * cut)
        return aware.finish()

    made = narrow()
    assert made.figures["calibration_snr_db"] < 20
    assert f"Most is lost in {named}" in made.warnings[0]
    asked, promised = remedy(made.warnings[0])
    again = narrow(**asked)
    assert again.figures["calibration_snr_db"] == pytest.approx(promised, abs=0.06)
    assert promised > 20
    assert again.warnings == ()


def test_the_operations_that_lose_most_are_named_by_their_names_in_the_model():
    model, samples = spectral()
    text, _ = said((model, samples))
    assert f"Most is lost in {name_of(model, 'Add')}, {name_of(model, 'Multiply')}: rules" in text


def test_a_file_below_ten_decibels_is_refused_with_the_way_out(one_line):
    model, samples = spectral()
    with pytest.raises(ConversionError, match=r"SNR [\d.]+ dB, and it has to exceed 10") as caught:
        convert(model, "int8", samples)
    text = one_line(caught)
    assert remedy(text)[1] > 20
    assert "preprocessed" not in text  # the rules are the way out
    least = float(re.search(r"least_snr_db: (-?\d+)", text)[1])
    with pytest.warns(TfoptWarning, match="noisy"):
        assert convert(model, "int8", samples, least_snr_db=least)


def test_a_file_between_ten_and_twenty_is_a_warning_at_the_call_that_made_it():
    model, samples = spectral(2e-2)
    with pytest.warns(TfoptWarning, match=r"the int8 file is noisy: SNR 1\d\.\d dB") as caught:
        convert(model, "int8", samples)
    assert [one.filename for one in caught if one.category is TfoptWarning] == [__file__]


def test_a_file_above_twenty_says_nothing(recwarn):
    model, samples = spectral(0.3)
    convert(model, "int8", samples)
    assert not [one for one in recwarn if one.category is TfoptWarning]


def test_the_users_own_limit_may_be_higher():
    model, samples = spectral(2e-2)
    with pytest.raises(ConversionError, match="has to exceed 25"):
        convert(model, "int8", samples, least_snr_db=25)


@pytest.mark.parametrize(("by", "least"), [("metric", None), ("training", None), ("metric", 5)])
def test_where_something_else_judges_the_ratio_informs(by, least):
    model, samples = spectral()
    prepared = prepare(model, Export(mode="int8", least_snr_db=least), samples).judged(by)
    made = finish(prepared, prepared.quantized())
    assert (made.warnings == ()) == (by == "metric")
    assert any("the metric decides" in note for note in made.notes) == (by == "metric")


def test_a_limit_that_is_given_holds_beside_a_metric():
    model, samples = spectral()
    prepared = prepare(model, Export(mode="int8", least_snr_db=15), samples).judged("metric")
    with pytest.raises(ConversionError, match="has to exceed 15"):
        finish(prepared, prepared.quantized())


def test_after_training_outputs_that_are_all_noise_are_refused():
    model, samples = loud_input()
    prepared = prepare(model, Export(mode="int8"), samples).judged("training")
    with pytest.raises(ConversionError, match="has to exceed 0"):
        finish(prepared, prepared.quantized())


def test_inputs_and_outputs_stay_as_they_were_asked_for():
    text, _ = said(loud_input(), io="int8")
    assert "io: float32" not in text
    assert "rules" not in text  # which would bring nothing without it


def test_a_target_of_integers_is_offered_no_float():
    text, _ = said(loud_input(), target="int_only")
    assert "Most is lost in body" in text
    assert "float]" not in text
    assert "io:" not in text


def test_rules_never_leave_a_file_without_integers():
    model = sequential(layers.Lambda(ops.exp, name="exp"), layers.Dense(3, name="head"))
    text, _ = said((model, zoo.normal(64, 16) * 4))
    assert "Most is lost in head" in text
    assert "rules" not in text


def test_what_a_subclassed_model_computes_between_its_layers_is_named_by_its_op():
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.head = layers.Dense(3)

        def call(self, x):
            return self.head(ops.log(x * x + 1e-3))

    model, samples = Own(), zoo.normal(64, 16)
    model(samples[:1])
    text, _ = said((model, samples))
    assert re.search(r"Most is lost in \S*add\S*, \S*mul\S*$", text)


def test_of_many_layers_some_are_measured_and_the_operations_first(monkeypatch):
    looked = []
    measure = noise_sources.measure_groups

    def watched(prepared, work, **settings):
        looked.extend(group.name for group, _ in work)
        return measure(prepared, work, **settings)

    monkeypatch.setattr(noise_sources, "measure_groups", watched)
    monkeypatch.setattr(noise_sources, "MOST", 3)
    model, samples = spectral()
    x = model.outputs[0]
    for number in range(5):
        x = layers.Dense(3, name=f"more_{number}")(x)
    deep = keras.Model(model.inputs, x)
    said((deep, samples))
    assert len(looked) == 3
    assert {name_of(deep, "Add"), name_of(deep, "Multiply")} <= set(looked)


def test_where_nothing_is_quantized_there_is_no_limit_to_set(one_line):
    with pytest.raises(InputError, match="least_snr_db is for modes that quantize") as caught:
        tfopt.Export(mode="float32", least_snr_db=3)
    one_line(caught)


def test_float16_has_the_ratio_without_rules():
    model, samples = spectral()
    prepared = prepare(model, Export(mode="float16"), samples)
    assert noise_sources.find(prepared, 15.0) == NoiseSources()
    assert read(prepared.quantized()).inputs


def test_samples_are_doubted_only_where_no_rule_brings_the_ratio_back(one_line):
    model = sequential(layers.Lambda(ops.exp, name="exp"), layers.Dense(3, name="head"))
    with pytest.raises(ConversionError, match="preprocessed as for the model, or another mode; least_snr_db") as caught:
        convert(model, "int8", zoo.normal(64, 16) * 4, least_snr_db=25)
    assert "rules" not in one_line(caught)
    some = Remedy((Rule(layers="head", to="float"),), None, 9.0)
    with pytest.raises(ConversionError, match=r"would give 9\.0 dB\. Take calibration samples"):
        check_snr(3.0, MODES["int8"], 10.0, NoiseSources(("head",), some))


def test_an_operation_that_several_layers_share_is_named_once(monkeypatch):
    model, samples = spectral()
    prepared = prepare(model, Export(mode="int8"), samples)
    shared = ("add_2, front", "square, front", "front")
    groups = [Group(name, "ADD", (number,), 0) for number, name in enumerate(shared)]
    worst = [Sensitivity(group, "int8", 1.0, 0, "minmax") for group in groups]
    monkeypatch.setattr(noise_sources, "loudest", lambda prepared: worst)
    assert noise_sources.find(prepared, 0.0).names == ("add_2", "front", "square")


def test_rules_of_which_none_is_worth_it_are_tried_alone_and_together_and_not_one_by_one(monkeypatch):
    model, samples = spectral()
    prepared = prepare(model, Export(mode="int8"), samples)
    tried = []
    monkeypatch.setattr(noise_sources, "_snr_with", lambda prepared, ruled, io: tried.append((len(ruled), io)) or 3.0)
    [first, *_] = noise_sources.loudest(prepared)
    monkeypatch.setattr(noise_sources, "loudest", lambda prepared: [first] * 6)
    assert noise_sources.find(prepared, 2.0).remedy is None
    assert tried == [(1, None), (6, None), (6, "float32")]


@pytest.mark.parametrize("enough", [1, 2, 3, 4, 5, 6, None])
def test_the_rules_are_the_fewest_that_are_enough_else_all(monkeypatch, enough):
    """With each rule the ratio is higher by a decibel; from so many on it is enough."""
    model, samples = spectral()
    prepared = prepare(model, Export(mode="int8"), samples)
    [first, *_] = noise_sources.loudest(prepared)
    monkeypatch.setattr(noise_sources, "loudest", lambda prepared: [first] * 6)
    monkeypatch.setattr(
        noise_sources,
        "_snr_with",
        lambda prepared, ruled, io: 5.0 + len(ruled) + (20 if enough and len(ruled) >= enough else 0),
    )
    assert len(noise_sources.find(prepared, 1.0).remedy.rules) == (enough or 6)


def remedy_of(monkeypatch, curves, snr):
    """The remedy where so many rules bring a file to so many decibels, by type of inputs and outputs."""
    count = len(curves[None])
    rules = [Rule(layers=f"layer_{number}", to="float") for number in range(count)]
    monkeypatch.setattr(noise_sources, "_rule", lambda prepared, one: rules[one])
    monkeypatch.setattr(noise_sources, "_may_float", lambda prepared: "float32" in curves)
    monkeypatch.setattr(noise_sources, "_snr_with", lambda prepared, ruled, io: curves[io][len(ruled) - 1])
    return noise_sources._remedy(SimpleNamespace(export=Export()), range(count), snr)


decibels = st.lists(st.floats(-5, 40) | st.just(-math.inf), min_size=noise_sources.RULED, max_size=noise_sources.RULED)
curves = st.builds(
    lambda one, other, count: {None: one[:count], "float32": other[:count]},
    decibels,
    decibels,
    st.integers(1, noise_sources.RULED),
)


@given(curves, st.floats(-5, 19))
@settings(max_examples=60, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@example({None: [0.0, 22.0, 5.0, 6.0, 21.0, 30.0], "float32": [0.0] * 6}, 0.0)  # two would do, and five are found
@example({None: [17.0, 17.5, 18.5, 19.0], "float32": [0.0, 19.0, 20.5, 30.0]}, 16.0)
def test_rules_are_enough_and_one_less_is_not_whatever_each_of_them_does(curves, snr):
    """Also where a rule more makes a file worse, so that the fewest of all may be missed."""
    with pytest.MonkeyPatch.context() as patch:
        found = remedy_of(patch, curves, snr)
    if curves[None][-1] >= max(ENOUGH_DB, snr + WORTH_DB + 0.1):
        assert found.snr_db >= ENOUGH_DB
    if found is None:
        return
    count = len(found.rules)
    assert found.snr_db == curves[found.io][count - 1]
    assert found.snr_db > snr + WORTH_DB
    if found.snr_db >= ENOUGH_DB and count > 1:
        assert curves[None][count - 2] < ENOUGH_DB
        if found.io:  # a type other than asked for has to be worth it by itself
            assert curves[found.io][count - 2] < ENOUGH_DB + WORTH_DB
