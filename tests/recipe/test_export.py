"""What a conversion can be asked for, and what it refuses in one line."""

from typing import get_args

import pytest

from tfopt.errors import RecipeError
from tfopt.recipe.export import Export, Rule
from tfopt.recipe.modes import MODES, Io, Precision
from tfopt.recipe.target import TARGETS

STATIC = {"int8", "int16x8", "int4"}
UNQUANTIZED = {"float32", "float16"}


def refused(**settings):
    """The sentence that refuses the settings."""
    with pytest.raises(RecipeError) as caught:
        Export(**settings)
    text = str(caught.value)
    assert len(text.splitlines()) == 1
    assert text[-1] in ".?"
    return text


def rule(to, layers="head"):
    return {"layers": layers, "to": to}


# Modes and targets


def test_modes_and_targets_are_listed_in_the_order_in_which_they_are_documented():
    assert list(MODES) == ["float32", "float16", "dynamic", "weight_only", "int8", "int16x8", "int4"]
    accelerators = {"u55": (32, 64, 128, 256), "u65": (256, 512), "u85": (128, 256, 512, 1024, 2048)}
    npus = [f"ethos-{name}-{macs}" for name, all_macs in accelerators.items() for macs in all_macs]
    assert list(TARGETS) == ["litert", "tflm", "int_only", *npus]


def test_modes_name_precisions_and_types_that_there_are():
    for mode in MODES.values():
        assert set(mode.rules) <= set(get_args(Precision))
        assert mode.io is None or mode.io in get_args(Io)
        assert mode.about
    assert {mode.name for mode in MODES.values() if mode.static} == STATIC
    assert {mode.name for mode in MODES.values() if not mode.rules} == UNQUANTIZED


def test_targets_name_modes_that_there_are():
    for target in TARGETS.values():
        assert set(target.modes) <= set(MODES)
        assert target.highest_precision == "float" or all(MODES[mode].static for mode in target.modes)
        assert target.about
    assert set(TARGETS["litert"].modes) == set(MODES)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("mode", MODES)
def test_a_target_takes_its_modes_and_refuses_all_others_with_a_list_of_them(mode, target):
    if mode in TARGETS[target].modes:
        assert Export(mode=mode, target=target).mode == mode
        return
    text = refused(mode=mode, target=target)
    assert f"does not run mode {mode}" in text
    assert text.endswith(f"Take one of {', '.join(TARGETS[target].modes)}.")


# Options of targets


def test_a_target_is_named_alone_or_with_options():
    written = {"ethos-u55-128": {"memory": "Sram_Only"}}
    assert Export(target="ethos-u55-128").target_options == {}
    export = Export(target=written)
    assert (export.target, export.target_options) == ("ethos-u55-128", {"memory": "Sram_Only"})
    assert export == Export(target="ethos-u55-128", target_options={"memory": "Sram_Only"})
    assert Export.model_validate(export.model_dump()) == export
    assert export.asked() != Export(target="ethos-u55-128").asked()
    assert Export(target={"tflm": {}}) == Export(target={"tflm": None}) == Export(target="tflm")


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ({"tflm": {"memory": "Sram_Only"}}, "target tflm has no option 'memory'. It has none"),
        ({"ethos-u55-128": {"ram": "Sram_Only"}}, "no option 'ram'. Its options are system, memory, cpu"),
        ({"ethos-u55-128": {"system": "Ethos_U85_SYS_Flash_High"}}, "Received: 'Ethos_U85_SYS_Flash_High'"),
        ({"ethos-u65-256": {"system": "Ethos_U65_Embedded", "memory": "Dedicated_Sram"}}, "has memory Shared_Sram or"),
        ({"ethos-u55-128": 3}, "one name with its options"),
        ({"ethos-u55-128": {}, "tflm": {}}, "one name with its options"),
        ({"ethos": {}}, "ethos-u55-128"),
    ],
)
def test_options_that_a_target_does_not_have_are_refused_with_those_there_are(target, words):
    assert words in refused(target=target)


def test_options_are_written_once():
    assert "written once" in refused(target={"ethos-u55-128": {"cpu": "allow"}}, target_options={"cpu": "allow"})


def test_the_schema_has_the_name_of_a_target_and_its_options():
    named, with_options = Export.model_json_schema()["properties"]["target"]["anyOf"]
    assert named["enum"] == list(TARGETS)
    properties = with_options["properties"]
    assert set(properties) == {name for name, target in TARGETS.items() if target.options}
    assert properties["ethos-u55-128"]["properties"]["memory"] == {"enum": ["Shared_Sram", "Sram_Only"]}


# Refusals


@pytest.mark.parametrize("io", get_args(Io))
@pytest.mark.parametrize("mode", sorted(set(MODES) - STATIC))
def test_inputs_and_outputs_have_no_type_to_choose_where_the_mode_computes_in_float(mode, io):
    assert "Leave it out" in refused(mode=mode, io=io)


@pytest.mark.parametrize(("mode", "io"), [("int8", "int16"), ("int4", "int16"), ("int16x8", "int8")])
def test_inputs_and_outputs_are_the_modes_own_type_or_float(mode, io):
    text = refused(mode=mode, io=io)
    assert f"are {MODES[mode].io} or float32" in text
    assert f"Received: {io}" in text
    for possible in (None, "float32", MODES[mode].io):
        assert Export(mode=mode, io=possible).io == possible


def test_a_budget_is_for_the_rounding_that_tries_several():
    assert "is for rounding: auto, not for descent" in refused(rounding="descent", rounding_seconds=5)
    assert "rounding_seconds" in refused(rounding="auto", rounding_seconds=0)
    assert Export(rounding="auto", rounding_seconds=5).asked()["rounding_seconds"] == 5


def test_without_rounding_the_integers_are_the_quantizers_own():
    rules = [{"layers": "a", "rounding": "gptq"}, {"layers": "b", "to": "int4", "rounding": "gptq"}]
    asked = Export(rounding="auto", rounding_seconds=5, clipping="mse", bias_correction=True, rules=rules, io="float32")
    assert asked.without_rounding() == Export(rules=[{"layers": "b", "to": "int4"}], io="float32")
    assert not asked.without_rounding().reconstructs


@pytest.mark.parametrize("mode", TARGETS["int_only"].modes)
def test_a_target_of_integers_has_integer_inputs_and_outputs(mode):
    assert "Leave io out" in refused(mode=mode, target="int_only", io="float32")
    assert Export(mode=mode, target="int_only", io=MODES[mode].io).io == MODES[mode].io


@pytest.mark.parametrize("ranges", ["minmax", "percentile"])
@pytest.mark.parametrize("mode", sorted(set(MODES) - STATIC))
def test_ranges_are_for_modes_that_calibrate(mode, ranges):
    assert "Leave it out" in refused(mode=mode, ranges=ranges)


@pytest.mark.parametrize("batch", [0, -1, "some", 1.5, True, None, [1]], ids=str)
def test_a_batch_has_at_least_one_sample(batch):
    text = refused(batch=batch)
    assert "at least 1, or any" in text
    assert f"Received: {batch!r}" in text


@pytest.mark.parametrize("batch", [1, 4, "any"])
def test_a_batch_is_a_number_or_any(batch):
    assert Export(batch=batch).batch == batch


def test_microcontrollers_take_no_inputs_that_are_resized():
    assert "Give batch a number" in refused(target="tflm", batch="any")


@pytest.mark.parametrize("mode", sorted(set(MODES) - {"float32"}))
def test_only_float32_kernels_are_stored_sparse(mode):
    text = refused(mode=mode, sparse=True)
    assert f"does not load sparse {mode} kernels" in text
    assert "Leave it out" in text
    assert "gzip" in text


def test_microcontrollers_take_no_sparse_kernels():
    assert "Leave sparse out" in refused(mode="float32", target="tflm", sparse=True)


@pytest.mark.parametrize("to", get_args(Precision))
@pytest.mark.parametrize("mode", sorted(UNQUANTIZED))
def test_rules_are_for_modes_that_quantize(mode, to):
    assert "Leave them out" in refused(mode=mode, rules=[rule(to)])


@pytest.mark.parametrize("to", get_args(Precision))
@pytest.mark.parametrize("mode", sorted(set(MODES) - UNQUANTIZED))
def test_a_rule_leads_to_a_precision_of_the_mode(mode, to):
    if to in MODES[mode].rules:
        assert Export(mode=mode, rules=[rule(to)]).rules[0].to == to
        return
    text = refused(mode=mode, rules=[rule("float"), rule(to)])
    assert f"can be {', '.join(MODES[mode].rules)}" in text
    assert f"Received: {to}" in text


def test_int16_activations_are_for_modes_that_compute_in_integers():
    assert {mode for mode in MODES if "int16" in MODES[mode].rules} == STATIC


@pytest.mark.parametrize("mode", TARGETS["int_only"].modes)
def test_no_rule_leads_to_float_where_the_target_computes_in_integers(mode):
    text = refused(mode=mode, target="int_only", rules=[rule("int8"), rule("float")])
    assert "no rule can lead to float" in text
    for to in set(MODES[mode].rules) - {"float"}:
        assert Export(mode=mode, target="int_only", rules=[rule(to)]).rules[0].to == to


@pytest.mark.parametrize(
    ("field", "value"),
    [("mode", "int7"), ("io", "uint8"), ("ranges", "mean"), ("target", "phone"), ("rules", [rule("int3")])],
)
def test_unknown_words_are_refused_with_those_there_are(field, value):
    text = refused(**{field: value})
    assert field in text
    assert "Received:" in text


def test_unknown_settings_are_refused_with_the_nearest_one():
    assert "Did you mean 'sparse'?" in refused(sparce=True)


# Rules


def test_a_rule_takes_one_pattern_or_several():
    assert Rule(layers="head", to="int4").layers == ("head",)
    assert Rule(layers=["head", "Dense"], to="int4").layers == ("head", "Dense")


def test_a_rule_chooses_some_layer():
    with pytest.raises(RecipeError, match="layers"):
        Rule(layers=[], to="int4")


def test_settings_do_not_change_once_they_are_made():
    with pytest.raises(Exception, match="frozen"):
        Export().mode = "int4"


# What the mode looks at


@pytest.mark.parametrize("mode", MODES)
def test_asked_is_all_that_the_mode_looks_at(mode):
    roundings = {"rounding", "rounding_seconds", "bias_correction", "clipping"}
    unused = set() if mode in STATIC else {"io", "ranges", "unroll", *roundings}
    unused |= set() if MODES[mode].rules else {"scales"}
    assert set(Export.model_fields) - set(Export(mode=mode).asked()) == unused


@pytest.mark.parametrize("mode", sorted(set(MODES) - STATIC))
def test_asked_is_the_same_where_only_what_the_mode_ignores_differs(mode):
    assert Export(mode=mode, unroll=True).asked() == Export(mode=mode).asked()
    assert Export(mode=mode, unroll=False).asked() == Export(mode=mode, recurrent="loop").asked()


@pytest.mark.parametrize(
    "changed",
    [
        {"io": "float32"},
        {"ranges": "percentile"},
        {"unroll": False},
        {"batch": 2},
        {"slim": False},
        {"target": "int_only"},
        {"rules": [rule("int4")]},
        {"mode": "int4"},
    ],
    ids=str,
)
def test_asked_differs_where_the_file_would(changed):
    assert Export(**changed).asked() != Export().asked()


def test_asked_makes_the_same_settings_again():
    export = Export(mode="int16x8", rules=[rule("int4"), rule("float", ["a", "b"])], batch="any", io="float32")
    assert Export(**export.asked()) == export


def test_settings_can_be_keys_of_a_dict_and_their_options_cannot_be_changed():
    written = {"target": {"ethos-u55-128": {"memory": "Sram_Only"}}, "rules": [{"layers": "a", "to": "int16"}]}
    one, same, other = Export(**written), Export(**written), Export()
    assert {one: 1, other: 2}[same] == 1
    with pytest.raises(TypeError):
        one.target_options["memory"] = "Shared_Sram"
    assert one.model_dump(mode="json")["target_options"] == {"memory": "Sram_Only"}
    assert Export(**one.model_dump()) == one
