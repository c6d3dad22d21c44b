"""The tables of MLPerf Tiny's nets and of what zeros buy: their rows, and what those are made of."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tfopt.errors import InputError

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
TWIN = """
import sys

sys.path.insert(0, {benchmarks!r})
import numpy as np
import keras
import tiny_twin
from tiny_nets import built

for name in ("ds_cnn", "mobilenet_v1", "wake_word"):
    keras.utils.set_random_seed(0)
    model = built(name)
    twin = tiny_twin.twin(name)
    assert not isinstance(twin, keras.Model)
    twin.set_weights(model.get_weights())
    x = np.random.default_rng(0).normal(size=(2, *model.input_shape[1:])).astype(np.float32)
    np.testing.assert_allclose(twin.predict(x, verbose=0), model.predict(x, verbose=0), rtol=1e-3, atol=1e-4)
assert sys.modules["keras"] is keras
"""


@pytest.fixture
def tables(monkeypatch):
    """Puts the benchmarks where Python finds them."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))


@pytest.mark.parametrize("table", ["tiny", "zeros"])
def test_rows_are_listed_without_tensorflow(table):
    code = f"import sys; import {table} as t; print('tensorflow' in sys.modules, *(r.name for r in t.ROWS), sep='|')"
    done = subprocess.run([sys.executable, "-c", code], cwd=BENCHMARKS, capture_output=True, text=True, check=True)
    loaded, *names = done.stdout.strip().split("|")
    assert loaded == "False"
    assert len(set(names)) == len(names) > 7


def test_every_row_of_a_net_has_a_way(tables):
    import tiny
    import tiny_nets
    import tiny_ways

    assert set(tiny.WORDS) == {*tiny_ways.WAYS, "book", "twin", "search"}
    assert list(tiny.NETS) == list(tiny_nets.NETS)


def test_files_of_other_tools_are_named_after_what_they_are_made_from(tables, monkeypatch, tmp_path):
    import tiny_ways

    start = tmp_path / "dense.keras"
    start.write_bytes(b"one net")
    names = [tiny_ways.kept(start, "ds_cnn", way, tmp_path).name for way in ("book", "book", "twin")]
    start.write_bytes(b"another net")
    names.append(tiny_ways.kept(start, "ds_cnn", "book", tmp_path).name)
    longer = dataclasses.replace(tiny_ways.NETS["ds_cnn"], epochs=(14, 6))
    monkeypatch.setitem(tiny_ways.NETS, "ds_cnn", longer)
    names.append(tiny_ways.kept(start, "ds_cnn", "book", tmp_path).name)
    assert names[0] == names[1]
    assert len(set(names)) == 4


def test_every_row_of_zeros_ends_in_a_file(tables):
    import zeros

    for row in zeros.ROWS:
        stages = zeros.stages_of(row.name)
        assert [stage.kind for stage in stages][-1] == "quantize"
        kinds = [stage.kind for stage in stages[:-1]]
        assert ("prune" in kinds) == ("zeros" in row.name or row.name == "2 of 4")
        assert ("cluster" in kinds) == ("values" in row.name)
        assert ("prune_channels" in kinds) == ("channels" in row.name)


def test_augmented_images_are_moved_and_mirrored_ones(tables):
    import tasks
    import tensorflow as tf

    x = np.random.default_rng(0).uniform(0.1, 1, (40, 6, 6, 3)).astype(np.float32)
    found, y = tasks.shifted_and_flipped(tf.constant(x), tf.range(40), tf.constant([1, 2]), reach=2)
    assert y.numpy().tolist() == list(range(40))
    seen = set()
    for one, image in zip(found.numpy(), x, strict=True):
        made = {}
        for mirrored in (False, True):
            padded = np.pad(image[:, ::-1] if mirrored else image, [(2, 2), (2, 2), (0, 0)])
            made |= {(mirrored, r, c): padded[r : r + 6, c : c + 6] for r in range(5) for c in range(5)}
        [how] = [how for how, each in made.items() if np.array_equal(each, one)]
        seen.add(how)
    assert len({mirrored for mirrored, _, _ in seen}) == 2
    assert len(seen) > 10


def test_wake_words_are_the_word_others_and_none_in_noise(tables, monkeypatch):
    import tasks

    generator = np.random.default_rng(0)
    recordings = {"train": 40, "validation": 20, "test": 20}
    data = {f"x_{part}": generator.normal(-3, 2, (count, 61, 40, 1)) for part, count in recordings.items()}
    data |= {f"y_{part}": np.arange(count) % 10 for part, count in recordings.items()}
    monkeypatch.setattr(tasks, "spoken_digits", lambda: data)
    found = tasks.wake_words()
    for part, times in (("train", 3), ("validation", 4), ("test", 4)):
        count = times * recordings[part]
        assert found[f"x_{part}"].shape == (count + count // 3, 30, 1, 40)
        assert np.bincount(found[f"y_{part}"]).tolist() == [count // 10, count * 9 // 10, count // 3]
    none = found["x_train"][found["y_train"] == 2]
    assert none.mean() < found["x_train"][found["y_train"] == 1].mean()
    assert abs(found["x_train"][found["y_train"] != 2].mean()) < 0.1
    outputs = np.eye(3)[np.where(found["y_test"] == 0, 1, found["y_test"])]
    assert tasks.balanced(outputs, None, found["y_test"]) == pytest.approx(2 / 3)


def test_a_tool_that_is_not_there_leaves_a_sentence_and_no_figure(tables, monkeypatch, tmp_path):
    import costs

    def absent(*_):
        raise InputError("Vela is not installed.")

    monkeypatch.setattr(costs, "ethos_u", absent)
    monkeypatch.setattr(costs, "tflm", lambda *_: {"TFLM flash": 5})
    monkeypatch.setattr(costs, "sizes", lambda path: {"raw_bytes": len(path.read_bytes()), "gzip_bytes": 10})
    turns = iter([(4e-6, 2e-6), (5e-6, 3e-6), (9e-6, 1e-6)])
    monkeypatch.setattr(costs, "measure_in_turns", lambda _: [{"latency_median_seconds": one} for one in next(turns)])
    small, large = tmp_path / "small.tflite", tmp_path / "large.tflite"
    small.write_bytes(b"x" * 30)
    large.write_bytes(b"x" * 40)
    figures, notes = costs.everywhere(small, large, None, ["ethos-u55-128"])
    assert notes == ["Vela is not installed."]
    assert figures == {
        "raw": 30,
        "gzip": 10,
        "raw ratio": 0.75,
        "gzip ratio": 1.0,
        "TFLM flash": 5,
        "LiteRT us": pytest.approx(1.0),
        "time ratio": 0.5,
    }


@pytest.mark.slow
def test_the_twin_for_tf_mot_computes_what_the_net_does():
    code = TWIN.format(benchmarks=str(BENCHMARKS))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
