"""Fixtures that the whole suite shares."""

import gc
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# Of the many objects that tracing makes few are garbage: looking for it at every 700th takes 4% of the suite's time.
gc.set_threshold(10_000, 20, 20)

ROOT = Path(__file__).parents[1]


# Files of few tests that take long. They come first: a process that began with one at the end would go on alone.
LONGEST = (
    "tests/e2e/test_killed.py",
    "tests/e2e/",
    "tests/training/test_devices.py",
    "tests/docs/test_blocks.py",
    "tests/cli/test_init.py",
    "tests/stages/test_search.py",
    "tests/sparsity/structured/test_applications.py",
    "tests/sparsity/structured/test_random_graphs.py",
    "tests/quantization/recurrent/test_random_lstms.py",
    "tests/deployment/",
)


@pytest.hookimpl(tryfirst=True, wrapper=True)
def pytest_collection_modifyitems(items):
    """Before what does not run is left out, what is no sample is marked; of what is left the longest comes first."""
    mark_samples(items)
    yield
    sort_by_length(items)


def sort_by_length(items):
    """File by file: those of `LONGEST` as they stand there, then those of the most tests; tests of a file as before."""
    files = [item.nodeid.partition("::")[0] for item in items]
    counts, firsts = Counter(files), {file: place for place, file in reversed(list(enumerate(files)))}

    def order(item):
        file = item.nodeid.partition("::")[0]
        rank = next((rank for rank, start in enumerate(LONGEST) if file.startswith(start)), len(LONGEST))
        return rank, -counts[file], firsts[file]

    items.sort(key=order)


def mark_samples(items):
    """Of a test of many cases that is marked `sample(n)`, n spread over them run by default; the others are slow."""
    groups = {}
    for item in items:
        mark = item.get_closest_marker("sample")
        if mark is not None:
            groups.setdefault((item.nodeid.partition("[")[0], *mark.args), []).append(item)
    for (_, count), cases in groups.items():
        kept = {len(cases) * index // count for index in range(count)}
        for index, item in enumerate(cases):
            if index not in kept:
                item.add_marker(pytest.mark.slow)


@pytest.fixture(autouse=True)
def seeded():
    """Every test draws the same random numbers, whatever ran before it."""
    import keras

    keras.utils.set_random_seed(0)


@pytest.fixture(autouse=True)
def no_scope_left():
    """A test that leaves a name scope of Keras open would change the paths of variables in those that come after it."""
    yield
    from keras.src.backend.common import global_state

    left = global_state.get_global_attribute("name_scope_stack", default=[])
    names = [scope.name for scope in left]
    left.clear()
    assert not names


@pytest.fixture(scope="session")
def real_data():
    """The folder of the real data sets."""
    folder = os.environ.get("TFOPT_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("TFOPT_DATA does not name a folder with mnist.npz and its siblings")
    return Path(folder)


@pytest.fixture
def blobs(make_blobs):
    """Four classes of 8x8 images that a small network learns in an epoch or two: x, y of 256 samples."""
    return make_blobs()


@pytest.fixture(scope="session")
def make_blobs():
    """Makes what `blobs` is, for fixtures that live longer than a test."""
    return _blobs


def _blobs():
    generator = np.random.default_rng(7)
    y = (np.arange(256) % 4).astype(np.int32)
    x = generator.normal(0, 0.4, (256, 8, 8, 1)).astype(np.float32)
    for sample, label in zip(x, y, strict=True):
        sample[2 * label : 2 * label + 2] += 1
    return x, y


class Interrupted(Exception):
    """What ends a training in the middle."""


@pytest.fixture
def interrupted():
    """Runs a training, given one more callback, that is cut off when epoch 2 (of 0, 1, 2, ...) begins."""
    import keras

    class Interrupt(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise Interrupted

    def run(training):
        with pytest.raises(Interrupted):
            training(Interrupt())

    return run


@pytest.fixture(scope="session")
def python():
    """Runs code in a fresh interpreter and returns what it printed; fails with its errors."""

    def run(code, **environment):
        finished = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            cwd=ROOT,
            env={**os.environ, **environment},
            timeout=300,
        )
        assert finished.returncode == 0, finished.stderr[-3000:]
        return finished.stdout

    return run


@pytest.fixture(scope="session")
def built():
    """Models of the zoo by name with their samples, each built once."""
    from tests.quantization import zoo

    kept = {}

    def get(name):
        if name not in kept:
            kept[name] = zoo.build(name)
        return kept[name]

    return get


@pytest.fixture
def one_line():
    """The message of a caught error, which has to be one line."""

    def text(caught):
        message = str(caught.value)
        assert len(message.splitlines()) == 1
        assert "Traceback" not in message
        return message

    return text
