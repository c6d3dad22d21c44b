"""Budgets: what is left fits, and no more went than has to."""

import itertools
from dataclasses import replace

import keras
import numpy as np
import pytest
from keras import layers

from tfopt.errors import InputError, ModelError
from tfopt.quantization.conversion import convert_with_notes
from tfopt.recipe.device_cost import DeviceCost, OperatorCost
from tfopt.recipe.export import Export
from tfopt.recipe.figure import Figure, by_name
from tfopt.recipe.target import TARGETS
from tfopt.sparsity.structured.budget import Budget, _is_share, fit, steps, whole
from tfopt.sparsity.structured.dependency_graph import read
from tfopt.sparsity.structured.flops import costs
from tfopt.sparsity.structured.importance.magnitude import magnitude
from tfopt.sparsity.structured.selection import LayerLimits, RemovalOrder
from tfopt.sparsity.structured.surgery import cut

SAMPLES = np.random.default_rng(0).normal(size=(20, 8, 8, 1)).astype(np.float32)


@pytest.fixture(scope="module")
def structure():
    """A small network, which budgets only look at."""
    keras.utils.set_random_seed(4)
    stack = [layers.Conv2D(32, 3, name="conv"), layers.ReLU(), layers.Conv2D(48, 3), layers.Flatten()]
    return read(keras.Sequential([layers.Input((8, 8, 1)), *stack, layers.Dense(64), layers.Dense(4, name="head")]))


@pytest.fixture(scope="module")
def files():
    """The int8 files made so far, by the widths of their layers."""
    return {}


@pytest.fixture
def to_int8(files, monkeypatch):
    """The int8 file of a cut of the network; each is converted once, by budgets too."""

    def once(model, export, calibration, judged_by):
        key = (export.target, *(layer.output.shape for layer in model.layers))
        if key not in files:
            files[key] = convert_with_notes(model, export, calibration, judged_by)
        return files[key]

    monkeypatch.setattr("tfopt.quantization.conversion.convert_with_notes", once)
    return lambda model: once(model, Export(mode="int8"), SAMPLES, "metric").content


def choice(structure, round_to=1, **limits):
    return RemovalOrder(structure, magnitude(structure, 2), "local", LayerLimits(round_to, **limits))


def total(structure, what, drop=()):
    return sum(getattr(cost, what) for cost in costs(structure, structure.left(drop)))


@pytest.mark.parametrize("unit", ["parameters", "flops"])
@pytest.mark.parametrize("share", [0.75, 0.5, 0.2])
def test_a_share_of_parameters_and_flops_is_met_and_hardly_undercut(structure, unit, share):
    drop = fit(structure, choice(structure), Budget(share, unit)).drop
    left = total(structure, unit, drop) / total(structure, unit)
    assert share - 0.05 < left <= share
    if unit == "parameters":
        assert cut(structure, drop).count_params() == total(structure, unit, drop)


@pytest.mark.parametrize("unit", ["parameters", "flops"])
def test_so_many_are_the_same_as_their_share(structure, unit):
    many = 0.4 * total(structure, unit)
    found = [fit(structure, choice(structure), Budget(amount, unit)).drop for amount in (many, 0.4)]
    assert found[0] == found[1]


def test_a_share_of_the_channels(structure):
    drop = fit(structure, choice(structure), Budget(0.25)).drop
    assert [len(drop & set(family.groups)) for family in structure.families] == [24, 36, 48]


def test_the_bytes_of_the_int8_file(structure, to_int8):
    size = len(to_int8(structure.model))
    drop = fit(structure, choice(structure), Budget(0.5, "bytes"), SAMPLES).drop
    assert 0.35 * size < len(to_int8(cut(structure, drop))) <= 0.5 * size
    assert fit(structure, choice(structure), Budget(0.5 * size, "bytes"), SAMPLES).drop == drop


def test_an_amount_below_one_is_a_time_or_a_share_of_what_is_counted():
    export = Export(mode="int8", target="ethos-u55-128")
    shares = {
        unit: _is_share(Budget(0.5, unit, export)) for unit in ("milliseconds", *TARGETS["ethos-u55-128"].figures)
    }
    assert {unit for unit, is_share in shares.items() if not is_share} == {"milliseconds", "npu_milliseconds"}


@pytest.fixture
def board(monkeypatch):
    """Enters a target whose cycles are the bytes of a file, which may leave one of its operators to the CPU."""

    def enter(on_cpu="", **settings):
        target = replace(
            TARGETS["int_only"],
            name="board",
            cost=lambda content, export: DeviceCost(
                {"board_cycles": float(len(content)), "board_bytes": float(len(content))},
                (OperatorCost(None, "CONV_2D", 1.0, on_cpu=on_cpu),),
            ),
            figures=by_name(
                Figure("board_cycles", "cycles", "cycles", "time"),
                Figure("board_bytes", "file", "bytes", "size"),
                Figure("board_ram", "RAM", "bytes", "activations"),
            ),
            source="the board's own count",
            **settings,
        )
        monkeypatch.setattr(TARGETS, "_found", {**dict(TARGETS.items()), "board": target})
        return Export(mode="int8", target="board")

    return enter


def test_what_a_target_measures_of_the_file(structure, to_int8, board):
    size = len(to_int8(structure.model))
    found = fit(structure, choice(structure), Budget(0.5, "board_cycles", board()), SAMPLES)
    assert found.drop == fit(structure, choice(structure), Budget(0.5, "bytes"), SAMPLES).drop
    assert found.before == size
    assert "board_cycles (the board's own count) are left" in str(found)
    with pytest.raises(InputError, match=r"Received: 'board_cycles'. It is measured on target board."):
        Budget(0.5, "board_cycles")


def test_the_file_that_is_measured_is_made_for_its_target(board):
    """LiteRT's file of this LSTM is unrolled; that of a target which does not ask for it has one op."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([layers.Input((12, 3)), layers.LSTM(8), layers.Dense(4)])
    samples = np.random.default_rng(0).normal(size=(20, 12, 3)).astype(np.float32)
    own, plain = (convert_with_notes(model, export, samples) for export in (board(), Export(mode="int8")))
    assert len(own.content) < len(plain.content)
    assert whole(read(model), Budget(0.5, "board_cycles", board()), samples) == len(own.content)
    assert whole(read(model), Budget(0.5, "bytes", board()), samples) == len(own.content)


def test_a_layer_on_the_cpu_does_not_meet_a_budget_of_time(structure, board, one_line):
    allowed = board("no kernel of it")
    with pytest.raises(ModelError, match=r"target board leaves .* to the CPU") as caught:
        whole(structure, Budget(0.5, "board_cycles", allowed), SAMPLES)
    assert "board_cycles is not of the whole model" in one_line(caught)
    assert whole(structure, Budget(0.5, "board_bytes", allowed), SAMPLES) > 0
    with pytest.raises(ModelError, match="target board does not tell board_ram of this model's file"):
        whole(structure, Budget(0.5, "board_ram", allowed), SAMPLES)


def test_a_target_that_is_not_installed_is_said_before_anything_is_converted(structure, board, monkeypatch):
    monkeypatch.setattr("tfopt.quantization.conversion.convert_with_notes", None)
    away = board(package="no_such_package", extra="board")
    with pytest.raises(InputError, match=r"target board needs the package no_such_package: pip install"):
        fit(structure, choice(structure), Budget(0.5, "board_cycles", away), SAMPLES)


def test_milliseconds_are_those_of_the_file_on_litert(structure, to_int8, monkeypatch):
    seen = []

    def measure(path):  # a clock that knows the file's size alone
        seen.append(path.stat().st_size)
        return {"latency_median_seconds": 1e-6 * seen[-1]}

    monkeypatch.setattr("tfopt.tflite.benchmark.measure", measure)
    size = len(to_int8(structure.model))
    drop = fit(structure, choice(structure), Budget(0.5e-3 * size, "milliseconds"), SAMPLES).drop
    assert len(to_int8(cut(structure, drop))) <= 0.5 * size
    assert seen[0] == size


def test_a_model_that_fits_stays_as_it_is(structure):
    assert fit(structure, choice(structure), Budget(total(structure, "flops"), "flops")).drop == set()


def narrow(*widths):
    """A stack of convolutions of few channels, on which rounding to eight is coarse."""
    stack = [layer for width in widths for layer in (layers.Conv2D(width, 3, padding="same"), layers.ReLU())]
    head = [layers.GlobalAveragePooling2D(), layers.Dense(4)]
    return read(keras.Sequential([layers.Input((12, 12, 3)), *stack, *head]))


@pytest.mark.parametrize(
    ("widths", "share", "expected"),
    [
        ((16, 16, 16), 0.5, (8, 16, 8)),  # rounded alone it is 8, 8, 8: 0.27 of the operations
        ((16, 16), 0.7, (16, 8)),
        ((24, 24, 24), 0.7, (24, 16, 24)),
    ],
)
@pytest.mark.parametrize("ranking", ["local", "global"])
def test_rounding_costs_no_more_of_the_budget_than_it_has_to(widths, share, expected, ranking):
    structure = narrow(*widths)
    found = fit(
        structure, RemovalOrder(structure, magnitude(structure, 2), ranking, LayerLimits()), Budget(share, "flops")
    )

    def cost(kept):
        drop = {g for family, n in zip(structure.families, kept, strict=True) for g in family.groups[n:]}
        return total(structure, "flops", drop)

    every = itertools.product(*(range(8, width + 1, 8) for width in widths))
    nearest = max(value for kept in every if (value := cost(kept)) <= share * total(structure, "flops"))
    assert found.after == total(structure, "flops", found.drop)
    assert found.after >= 0.98 * nearest
    if ranking == "local":
        assert tuple(len(set(f.groups) - found.drop) for f in structure.families) == expected


def test_it_says_what_was_reached(structure):
    said = str(fit(structure, choice(structure), Budget(0.5, "flops")))
    size = total(structure, "flops")
    assert f"of {size:,} flops are left" in said
    assert said.endswith("where 0.500 were asked for")
    assert str(fit(structure, choice(structure, 32), Budget(0.5))).startswith("96 of 144 channels are left, 0.667")


@pytest.mark.parametrize(("unit", "amount", "end"), [("milliseconds", 0.6, "not a share"), ("parameters", 1e9, "for")])
def test_a_model_that_fits_already_says_that_nothing_was_removed(structure, to_int8, monkeypatch, unit, amount, end):
    monkeypatch.setattr("tfopt.tflite.benchmark.measure", lambda path: {"latency_median_seconds": 2e-4})
    found = fit(structure, choice(structure), Budget(amount, unit), SAMPLES)
    assert found.drop == set()
    assert str(found).startswith("nothing was removed: the model has ")
    assert str(found).endswith(end)


def test_what_cannot_fit_says_how_small_it_gets(structure):
    limited = choice(structure, floor=0.5)
    least = total(structure, "parameters", limited.drop(1.0))
    with pytest.raises(ModelError, match=f"does not fit 100 parameters: the smallest .* has {least:,}\\."):
        fit(structure, limited, Budget(100, "parameters"))


def test_bytes_take_samples(structure):
    with pytest.raises(InputError, match="hand over calibration samples"):
        fit(structure, choice(structure), Budget(0.5, "bytes"))


@pytest.mark.parametrize(
    ("amount", "unit", "message"),
    [
        (0.5, "neurons", "a budget for target litert is of channels, parameters"),
        (0, "flops", "above 0 and below 1"),
        (-1, "bytes", "above 0 and below 1"),
        (1, "channels", "of channels a share alone"),
        (12, "channels", "of channels a share alone"),
    ],
)
def test_budgets_that_are_none(amount, unit, message):
    with pytest.raises(InputError, match=message):
        Budget(amount, unit)


def test_rounds_take_the_same_share_each(structure):
    assert steps(structure, Budget(0.25), 2) == [Budget(0.5), Budget(0.5)]
    size = total(structure, "flops")
    amounts = [budget.amount for budget in steps(structure, Budget(0.125, "flops"), 3)]
    assert amounts == pytest.approx([size / 2, size / 4, size / 8])
    amounts = [budget.amount for budget in steps(structure, Budget(size / 4, "flops"), 2)]
    assert amounts == pytest.approx([size / 2, size / 4])
    assert steps(structure, Budget(0.5, "flops"), 1) == [Budget(0.5, "flops")]
