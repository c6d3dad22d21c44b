"""What every detail of a result keeps to: its JSON is what `artifact.json` has, and comes back as it went."""

import dataclasses
import importlib
import json
import pkgutil

import pytest
from pydantic import ValidationError

from tests.detail_examples import BY_TYPE, EXAMPLES
from tfopt.recipe import details
from tfopt.recipe.details.detail import Detail, Details

for module in pkgutil.iter_modules(details.__path__):
    importlib.import_module(f"{details.__name__}.{module.name}")
KINDS = [kind for kind in Detail.__subclasses__() if kind.__module__.startswith("tfopt.")]

examples = pytest.mark.parametrize(("detail", "kept"), EXAMPLES, ids=lambda value: getattr(value, "name", ""))
kinds = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


def test_the_names_are_the_keys_of_the_record():
    assert sorted(kind.name for kind in KINDS) == [
        "audit",
        "by_class",
        "carried",
        "class_changes",
        "decoded_kernels",
        "device_files",
        "distinct_values",
        "gate",
        "history",
        "kits",
        "latencies",
        "layers",
        "noise_remedy",
        "notes",
        "on_targets",
        "quantization_errors",
        "search",
        "sparsity",
        "sparsity_log",
        "steps",
        "tune",
        "usage",
        "warnings",
        "weights",
    ]
    assert set(BY_TYPE) == set(KINDS)


@kinds
def test_a_detail_is_a_frozen_dataclass_that_says_what_it_is(kind):
    assert kind.__dataclass_params__.frozen
    assert (kind.__doc__ or "").splitlines()[0].endswith(".")
    assert len(dataclasses.fields(kind)) == 1 or not kind.bare


@examples
def test_a_detail_has_the_json_of_the_record_with_its_keys_in_order(detail, kept):
    assert json.dumps(detail.to_json()) == json.dumps(kept)


@examples
def test_a_detail_comes_back_as_it_went(detail, kept):
    assert type(detail).from_json(detail.to_json()) == detail
    assert type(detail).from_json(json.loads(json.dumps(kept))) == detail
    assert json.dumps(type(detail).from_json(kept).to_json()) == json.dumps(kept)


@examples
def test_a_detail_is_found_by_its_type_among_others(detail, kept):
    found = Details.gather(example for example, _ in EXAMPLES)
    assert found[detail.name] == kept
    assert found.of(type(detail)) == detail


@kinds
@pytest.mark.parametrize("value", [3, "text", None, [{"mine": 1}], {"mine": "x"}], ids=repr)
def test_a_value_of_another_shape_is_no_detail(kind, value):
    assert Details({kind.name: value}).of(kind) is None
    with pytest.raises(ValidationError):
        kind.from_json(value)


def test_a_record_of_before_and_one_of_a_later_version_are_read():
    audit, kept = next((detail, kept) for detail, kept in EXAMPLES if detail.name == "audit")
    older = {**kept, "rows": [{k: v for k, v in row.items() if k != "values"} for row in kept["rows"]]}
    assert type(audit).from_json(older).rows[0].values is None
    assert type(audit).from_json({**kept, "of_a_later_version": 1}) == audit


def test_what_is_no_number_of_json_stays_what_it_is():
    steps = next(detail for detail, _ in EXAMPLES if detail.name == "steps")
    lost = dataclasses.replace(steps, steps=(dataclasses.replace(steps.steps[0], drop=float("inf")),))
    assert type(steps).from_json(json.loads(json.dumps(lost.to_json()))) == lost
