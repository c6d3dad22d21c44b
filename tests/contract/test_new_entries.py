"""A metric, an optimizer or a learning rate schedule in one new file, and nothing else, works in a recipe."""

import importlib
import sys

import keras
import numpy as np
import pytest

import tfopt
import tfopt.metrics
import tfopt.optimizers
import tfopt.optimizers.schedules
from tfopt.errors import InputError
from tfopt.metrics import FAMILIES, METRICS, find
from tfopt.models import files
from tfopt.optimizers import OPTIMIZERS, SCHEDULES

METRIC = """
from tfopt.metrics.labels import labelled
from tfopt.metrics.metric import Metric, MetricFamily

def misses(y, outputs):
    ids, found = labelled(y, outputs)
    return float((ids != found).sum())

MISSES = Metric("misses", misses, higher_is_better=False, of_classes=True, keras_aliases=("errors",))
MISSES_OF = MetricFamily("misses_of_", lambda k: Metric(f"misses_of_{k}", lambda y, o: float(k)), "misses_of_2")
"""
OPTIMIZER = """
import keras
from tfopt.optimizers.registry import OptimizerEntry

@keras.saving.register_keras_serializable("new_entries")
class SignSGD(keras.optimizers.Optimizer):
    def __init__(self, learning_rate=0.01, name="sign_sgd", **kwargs):
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)

    def update_step(self, gradient, variable, learning_rate):
        self.assign_sub(variable, keras.ops.cast(learning_rate, variable.dtype) * keras.ops.sign(gradient))

SIGN_SGD = OptimizerEntry("sign_sgd", SignSGD, {"learning_rate": 0.25}, batch_size=16)
"""
SCHEDULE = """
import keras
from tfopt.optimizers.schedules.registry import ScheduleEntry

POLYNOMIAL = ScheduleEntry("polynomial", keras.optimizers.schedules.PolynomialDecay)
"""
MODEL = """
import keras
def build():
    model = keras.Sequential([keras.layers.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(4)])
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model
"""
RECIPE = """
name: new
model: model.py:build
data: npz:data.npz
metrics: {metrics}
stages:
  - train: {{epochs: 1, {train}}}
"""
REGISTRIES = (METRICS, FAMILIES, OPTIMIZERS, SCHEDULES)


@pytest.fixture
def unwalked(monkeypatch):
    """Registries look for their entries anew, in the test and after it."""
    for registry in REGISTRIES:
        monkeypatch.setattr(registry, "_found", None)


@pytest.fixture
def new_file(tmp_path, monkeypatch, unwalked):
    """Puts a file into one of tfopt's packages for the length of the test."""
    written = []

    def write(package, name, text):
        folder = tmp_path / package.__name__
        folder.mkdir()
        (folder / f"{name}.py").write_text(text)
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder)])
        importlib.invalidate_caches()
        written.append((package, name))

    yield write
    for package, name in written:
        sys.modules.pop(f"{package.__name__}.{name}", None)
        vars(package).pop(name, None)


@pytest.fixture
def installed(tmp_path, monkeypatch, unwalked):
    """Installs a package of one module, whose entry points are as given."""

    def install(name, text, **groups):
        (tmp_path / f"{name}.py").write_text(text)
        information = tmp_path / f"{name}-1.0.dist-info"
        information.mkdir()
        (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        points = [f"[{group.replace('__', '.')}]\n{name} = {value}\n" for group, value in groups.items()]
        (information / "entry_points.txt").write_text("\n".join(points))
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, name, raising=False)

    return install


@pytest.fixture
def run(tmp_path, monkeypatch, blobs):
    """Runs a recipe that trains a small model, and gives the metrics of its result."""
    x, y = blobs
    parts = {"train": slice(0, 192), "validation": slice(192, None), "test": slice(192, None)}
    arrays = {f"{axis}_{part}": values[rows] for part, rows in parts.items() for axis, values in (("x", x), ("y", y))}
    np.savez(tmp_path / "data.npz", **arrays)
    (tmp_path / "model.py").write_text(MODEL)
    monkeypatch.chdir(tmp_path)

    def run(train="optimizer: sgd", metrics="[accuracy]"):
        (tmp_path / "r.yaml").write_text(RECIPE.format(train=train, metrics=metrics))
        return tfopt.run("r.yaml").metrics

    return run


NEW_RATE = "learning_rate: {polynomial: {initial_learning_rate: 0.5}}"


def test_a_metric_an_optimizer_and_a_schedule_in_new_files_are_some_of_a_recipes(new_file, run):
    new_file(tfopt.metrics, "misses", METRIC)
    new_file(tfopt.optimizers, "sign_sgd", OPTIMIZER)
    new_file(tfopt.optimizers.schedules, "polynomial", SCHEDULE)
    optimizer = f"optimizer: {{sam: {{optimizer: {{sign_sgd: {{clipnorm: 1, {NEW_RATE}}}}}}}}}"
    found = run(optimizer, metrics="[misses, misses_of_3, accuracy]")
    assert found["misses"] == pytest.approx((1 - found["accuracy"]) * 64)
    assert found["misses_of_3"] == 3


def test_a_metric_in_a_new_file_is_found_by_its_names(new_file):
    new_file(tfopt.metrics, "misses", METRIC)
    assert "misses" in METRICS
    assert find("errors") is METRICS["misses"]
    with pytest.raises(InputError, match="Did you mean 'misses'"):
        find("mises")


def test_an_optimizer_in_a_new_file_is_held_to_its_batch_size_and_its_name(new_file, run):
    new_file(tfopt.optimizers, "sign_sgd", OPTIMIZER)
    with pytest.raises(InputError, match="sign_sgd takes 16 samples to a step"):
        run("optimizer: sign_sgd, batch_size: 8")
    with pytest.raises(InputError, match="Did you mean 'sign_sgd'"):
        run("optimizer: sign_sdg")


def test_its_defaults_are_those_of_the_name_and_a_recipes_go_before_them(new_file):
    new_file(tfopt.optimizers, "sign_sgd", OPTIMIZER)
    build = tfopt.optimizers.build_optimizer
    assert float(build("sign_sgd", 10).learning_rate) == 0.25
    assert build({"sign_sgd": {"clipnorm": 1.5}}, 10).clipnorm == 1.5
    assert float(build({"sign_sgd": {"learning_rate": 0.5}}, 10).learning_rate) == 0.5
    cosine = build({"sign_sgd": {"learning_rate": {"cosine": {"initial_learning_rate": 1.0}}}}, 10)
    assert float(cosine._learning_rate(5)) == pytest.approx(0.5)


def test_a_schedule_in_a_new_file_is_as_long_as_the_training(new_file):
    new_file(tfopt.optimizers.schedules, "polynomial", SCHEDULE)
    spec = {"sgd": {"learning_rate": {"polynomial": {"initial_learning_rate": 0.5, "end_learning_rate": 0.0}}}}
    optimizer = tfopt.optimizers.build_optimizer(spec, 80)
    assert float(optimizer._learning_rate(40)) == pytest.approx(0.25)
    with pytest.raises(InputError, match="exponential, cosine, piecewise, one_cycle, polynomial"):
        tfopt.optimizers.build_optimizer({"sgd": {"learning_rate": {"polinomial": {}}}}, 80)


def test_those_of_another_package_are_some_of_a_recipes_and_found_again_when_its_model_is_loaded(
    installed, run, tmp_path
):
    installed(
        "others",
        f"{METRIC}{OPTIMIZER}{SCHEDULE}",
        tfopt__metrics="others:MISSES",
        tfopt__metric_families="others:MISSES_OF",
        tfopt__optimizers="others:SIGN_SGD",
        tfopt__learning_rate_schedules="others:POLYNOMIAL",
    )
    found = run(f"optimizer: {{sign_sgd: {{{NEW_RATE}}}}}", metrics="[misses, misses_of_3, accuracy]")
    assert found["misses"] == pytest.approx((1 - found["accuracy"]) * 64)
    assert found["misses_of_3"] == 3
    [file] = tmp_path.glob("saved_models/new/*train/model.keras")
    keras.saving.get_custom_objects().pop("new_entries>SignSGD")
    del sys.modules["others"]  # as in a process that has not named it
    OPTIMIZERS._found = None
    assert type(files.load(file).optimizer).__name__ == "SignSGD"


def test_results_are_made_again_where_the_code_of_another_packages_metric_changes(installed, run, tmp_path):
    installed("changing_metrics", METRIC, tfopt__metrics="changing_metrics:MISSES")
    first = run(metrics="[misses]")["misses"]
    (tmp_path / "changing_metrics.py").write_text(METRIC.replace(".sum()", ".sum() + 1000"))
    del sys.modules["changing_metrics"]
    METRICS._found = None
    importlib.invalidate_caches()
    assert run(metrics="[misses]")["misses"] == first + 1000


@pytest.mark.parametrize(
    ("group", "text", "look"),
    [
        ("tfopt__metrics", METRIC.replace('"misses"', '"accuracy"'), lambda: METRICS["accuracy"]),
        ("tfopt__optimizers", OPTIMIZER.replace('"sign_sgd"', '"sam"'), lambda: OPTIMIZERS["sam"]),
        ("tfopt__learning_rate_schedules", SCHEDULE.replace('"polynomial"', '"cosine"'), lambda: SCHEDULES["cosine"]),
    ],
)
def test_a_name_that_is_taken_is_refused(installed, group, text, look):
    installed("taken_names", text, **{group: "taken_names"})
    with pytest.raises(InputError, match=r"taken_names.*which is taken"):
        look()
