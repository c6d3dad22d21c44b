"""Training on several devices, in other precisions and by several processes comes to the weights of one."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

import tfopt
from tfopt.data.splits import Data, Split
from tfopt.errors import InputError, ModelError, RecipeError
from tfopt.optimizers import SAM
from tfopt.pipeline.launcher import launch
from tfopt.recipe.artifact import Artifact
from tfopt.recipe.details.quantization import ConversionWarnings
from tfopt.recipe.recipe import Recipe
from tfopt.recipe.runtime import Runtime
from tfopt.training import devices, trainer
from tfopt.training.cluster import cluster
from tfopt.training.devices import Devices
from tfopt.training.fit_settings import FitSettings

NET = """
import keras
from keras import layers
def build():
    return keras.Sequential([
        layers.Input((8, 8, 1)),
        layers.Conv2D(8, 3, activation="relu"),
        layers.Flatten(),
        layers.Dense(16, activation="relu"),
        layers.Dense(4, activation="softmax"),
    ])
"""
RECIPE = """
name: r
model: net.py:build
data: npz:data.npz
loss: sparse_categorical_crossentropy
metrics: [accuracy, balanced_accuracy]
stages:
  - train: {epochs: 4, batch_size: 64, optimizer: {momentum: {learning_rate: 0.05}}}
  - prune: {epochs: 3, sparsity: 0.8, batch_size: 64, optimizer: {momentum: {learning_rate: 0.05}}}
  - quantize
  - verify
"""


def write_project(folder, blobs, text=RECIPE):
    """Writes a model, data whose batches of 64 divide evenly, and a recipe."""
    x, y = blobs
    parts = {
        f"{part}_{split}": values
        for split in ("train", "validation", "test")
        for part, values in zip("xy", (x, y), strict=True)
    }
    np.savez(folder / "data.npz", **parts)
    (folder / "net.py").write_text(NET)
    (folder / "r.yaml").write_text(text)
    return folder


# Batches of 63 and a last one of 4, of which two replicas get 32 and 31 samples, and 4 and none or 2 and 2.
UNEVEN = RECIPE.replace("batch_size: 64", "batch_size: 63")


@pytest.fixture
def project(tmp_path, blobs):
    """A folder with a model, data whose batches divide evenly, and a recipe."""
    return write_project(tmp_path, blobs)


@pytest.fixture(scope="module")
def made_once(tmp_path_factory, make_blobs):
    """A folder in which the recipe ran with these arguments, once; its batches are even, or not."""
    made = {}

    def run(evenly, *more):
        if (evenly, *more) not in made:
            folder = write_project(tmp_path_factory.mktemp("once"), make_blobs(), RECIPE if evenly else UNEVEN)
            made[evenly, *more] = folder, tfopt_run(folder, "out", *more)
        return made[evenly, *more]

    return run


def command(folder, out, *more):
    return [sys.executable, "-m", "tfopt", "run", str(folder / "r.yaml"), "--out", str(folder / out), *more]


def tfopt_run(folder, out, *more, check=True):
    finished = subprocess.run(command(folder, out, *more), capture_output=True, text=True, timeout=600)
    assert not check or finished.returncode == 0, finished.stderr[-3000:]
    return finished


def weights(out, stage):
    return keras.models.load_model(out / "r" / stage / "model.keras").get_weights()


def net(eagerly=False, convolution=True):
    keras.utils.set_random_seed(3)
    inputs = layers.Input((8, 8, 1))
    x = layers.Conv2D(4, 3, activation="relu")(inputs) if convolution else inputs
    model = keras.Model(inputs, layers.Dense(4, activation="softmax")(layers.Flatten()(x)))
    model.compile(loss="sparse_categorical_crossentropy", metrics=["accuracy"], run_eagerly=eagerly)
    return model


@pytest.fixture
def data(blobs):
    split = Split(*blobs)
    return Data(split, split, split)


# Precision and compilation


@pytest.mark.parametrize("precision", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.sample(1)
def test_mixed_precision_trains_and_gives_back_a_float32_model(precision, data, tmp_path):
    model = net()
    settings = FitSettings(epochs=3, devices=Devices(Runtime(precision=precision)))
    history = trainer.fit(model, data, settings, tmp_path)
    assert history["loss"][-1] < history["loss"][0]
    assert {layer.dtype_policy.name for layer in model.layers} == {"float32"}
    assert np.mean(model(data.test.x).numpy().argmax(1) == data.test.y) > 0.9
    assert len(tfopt.convert(model, "int8", calibration=data.train.x[:50])) > 1000


def test_a_copy_in_mixed_precision_keeps_other_precisions_and_gives_float32(data):
    inputs = layers.Input((4,))
    x = layers.Dense(3, name="own", dtype="float64")(layers.Dense(3, name="first")(inputs))
    model = keras.Model(inputs, layers.Dense(2, name="last")(x))
    with Devices(Runtime(precision="mixed_float16")).training_copy(model) as copy:
        names = {layer.name: layer.dtype_policy.name for layer in copy.layers[1:]}
        copy.get_layer("first").kernel.assign(np.ones((4, 3)))
    assert names == {"first": "mixed_float16", "own": "float64", "last": "float32"}
    np.testing.assert_array_equal(model.get_layer("first").kernel, np.ones((4, 3)))


@pytest.mark.parametrize(("precision", "scales"), [("mixed_float16", True), ("mixed_bfloat16", False)])
def test_float16_scales_the_loss(precision, scales):
    settings = FitSettings(epochs=1, devices=Devices(Runtime(precision=precision)))
    with trainer.training_setup(net(), settings, steps_per_epoch=1) as trained:
        assert isinstance(trained.optimizer, keras.optimizers.LossScaleOptimizer) == scales


def test_a_nested_model_at_the_end_gives_float32_too():
    inner = keras.Sequential([layers.Input((3,)), layers.Dense(3), layers.Dense(2)])
    model = keras.Sequential([layers.Input((3,)), layers.Dense(3), inner])
    with Devices(Runtime(precision="mixed_float16")).training_copy(model) as copy:
        assert copy(np.ones((1, 3))).dtype == "float32"
        assert copy.layers[0].compute_dtype == "float16"


def test_a_subclassed_model_is_refused_in_mixed_precision():
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.head = layers.Dense(2)

        def call(self, x):
            return self.head(x)

    model = Own()
    model(np.ones((1, 3)))
    with (
        pytest.raises(ModelError, match="Own is a subclassed model"),
        Devices(Runtime(precision="mixed_float16")).training_copy(model),
    ):
        pass


def test_several_steps_in_one_execution_and_xla_come_to_the_same(data, tmp_path):
    found = []
    for runtime in (Runtime(), Runtime(steps_per_execution=3), Runtime(jit=True)):
        model = net(eagerly=not found, convolution=False)
        settings = FitSettings(
            epochs=2, optimizer={"sgd": {"learning_rate": 0.05}}, devices=Devices(runtime), batch_size=64
        )
        trainer.fit(model, data, settings, tmp_path / str(len(found)))
        found.append(model.get_weights())
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("asked", "samples"), [(3, 64 * 4), (4, 64 * 4), (9, 64 * 3 + 1), (5, 64 * 3)])
def test_no_execution_reaches_into_the_next_epoch(asked, samples, tmp_path):
    x = np.random.default_rng(0).normal(size=(samples, 8, 8, 1)).astype(np.float32)
    split = Split(x, np.arange(samples) % 4)
    steps, seen = -(-samples // 64), []
    model = net(eagerly=False, convolution=False)
    runtime = Runtime(steps_per_execution=asked, tensorboard=False)
    settings = FitSettings(epochs=3, optimizer="sgd", devices=Devices(runtime), batch_size=64)
    count = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: seen.append(int(model.optimizer.iterations)))
    trainer.fit(model, Data(split, split, split), settings, tmp_path, [count])
    assert seen == [steps, 2 * steps, 3 * steps]
    assert model.steps_per_execution == max(n for n in range(1, asked + 1) if steps % n == 0)


@pytest.mark.parametrize(
    ("asked", "steps", "words"),
    [
        (10, 937, "10 was taken as 1: it has to divide the 937 steps of an epoch. The next number that does is 937."),
        (5, 12, "5 was taken as 4: it has to divide the 12 steps of an epoch. The next number that does is 6."),
        (10, 4, "10 was taken as 4: an epoch has no more steps."),
    ],
)
def test_executions_of_fewer_steps_than_asked_for_are_told(asked, steps, words):
    assert Devices(Runtime(steps_per_execution=asked)).lowered_executions(steps).endswith(words)
    for whole in (1, 4):
        assert Devices(Runtime(steps_per_execution=whole)).lowered_executions(12) == ""


def test_a_run_tells_of_executions_of_fewer_steps(project):
    (project / "r.yaml").write_text(
        RECIPE.partition("stages:")[0]
        + "runtime: {steps_per_execution: 7}\nstages:\n  - train: {epochs: 1, batch_size: 64}\n"
    )
    result = tfopt.run(project / "r.yaml", project / "out")
    [told] = result.artifacts["train"].details.of(ConversionWarnings).warnings
    assert told.startswith("runtime.steps_per_execution 7 was taken as ")


def test_every_training_leaves_logs_for_tensorboard_and_a_profile_if_asked_for(data, tmp_path):
    for name, runtime in (("a", {}), ("b", {"tensorboard": False}), ("c", {"profile": (2, 3)})):
        settings = FitSettings(epochs=1, batch_size=64, optimizer="sgd", devices=Devices(Runtime(**runtime)))
        trainer.fit(net(eagerly=True), data, settings, tmp_path / name)
    assert list((tmp_path / "a" / "tensorboard" / "train").glob("events*"))
    assert not (tmp_path / "b" / "tensorboard").exists()
    assert list((tmp_path / "c" / "tensorboard").rglob("*.xplane.pb"))


# What cannot work together


@pytest.mark.parametrize(
    ("runtime", "sentence"),
    [
        ({"strategy": "mirrored", "jit": True}, "jit does not work under strategy: mirrored"),
        ({"strategy": "multi_worker", "steps_per_execution": 4}, "one step at a time under strategy: multi_worker"),
        ({"strategy": "parameter_server"}, "'none', 'mirrored', 'multi_worker' or 'tpu'"),
        ({"devices": ["GPU:0"]}, "devices goes with strategy"),
        ({"profile": [5, 2]}, "a first and a last step"),
        ({"profile": [1, 2], "tensorboard": False}, "read in TensorBoard"),
        ({"precision": "float16"}, "'float32', 'mixed_float16' or 'mixed_bfloat16'"),
        ({"stratgy": "none"}, "Did you mean 'strategy'"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(runtime, sentence):
    with pytest.raises(RecipeError, match=sentence) as caught:
        Recipe(name="r", model="m.py:b", data="digits", stages=["quantize"], runtime=runtime)
    assert len(str(caught.value).splitlines()) == 1


def test_devices_that_are_not_there_are_refused_with_those_that_are():
    with pytest.raises(InputError, match=r"no device 'GPU:7'. TensorFlow sees CPU:0"):
        devices.start(Runtime(strategy="mirrored", devices=("GPU:7",)))


def test_a_tpu_that_is_not_there_is_one_line():
    with pytest.raises(InputError, match="no TPU answers"):
        devices.start(Runtime(strategy="tpu"))


def test_an_optimizer_that_needs_the_loss_as_a_function_is_refused_across_workers():
    settings = FitSettings(epochs=1, optimizer=SAM(), devices=Devices(Runtime(strategy="multi_worker")))
    with pytest.raises(InputError, match="SAM needs more than the gradient"):
        trainer.check_trainable(net(), settings)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "worker", "index": 1}}', (["a:1", "b:2"], 1)),
        (
            '{"cluster": {"chief": ["c:0"], "worker": ["a:1"]}, "task": {"type": "worker", "index": 0}}',
            (["c:0", "a:1"], 1),
        ),
        (
            '{"cluster": {"chief": ["c:0"], "worker": ["a:1"]}, "task": {"type": "chief", "index": 0}}',
            (["c:0", "a:1"], 0),
        ),
    ],
)
def test_the_cluster_is_read_from_tf_config(text, found, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", text)
    assert cluster() == found


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"cluster": {"worker": ["a:1"]}}',
        '{"cluster": {"ps": ["a"]}, "task": {"type": "ps", "index": 0}}',
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 3}}',
    ],
)
def test_a_tf_config_that_says_something_else_is_one_line(text, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(InputError, match=r"reads TF_CONFIG.*tfopt run --workers 2"):
        cluster()


# Mirrored

MIRRORED = """
import sys
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import tfopt
from tfopt.data import batches
if "large" in sys.argv:
    batches.SMALL_BYTES = 0
runtime = {"strategy": "mirrored", "devices": ["CPU:0", "CPU:1"]}
tfopt.run(tfopt.Recipe.load("r.yaml", runtime=runtime), "two")
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("evenly", "size"), [(True, "small"), (False, "small"), (False, "large")], ids=["even", "uneven", "large arrays"]
)
def test_two_devices_train_and_prune_to_the_weights_of_one(made_once, tmp_path, blobs, evenly, size):
    write_project(tmp_path, blobs, RECIPE if evenly else UNEVEN)
    finished = subprocess.run(
        [sys.executable, "-c", MIRRORED, size], cwd=tmp_path, capture_output=True, text=True, timeout=600
    )
    assert finished.returncode == 0, finished.stderr[-3000:]
    one, two = made_once(evenly)[0] / "out", tmp_path / "two"
    same_weights(one, two)
    histories = [Artifact.read(out / "r" / "train").details["history"] for out in (one, two)]
    for name, values in histories[0].items():
        np.testing.assert_allclose(histories[1][name], values, rtol=1e-3, atol=1e-4, err_msg=name)


def same_weights(one, other):
    """Within the rounding of sums in another order; a mask may differ where two weights are as good as equal."""
    for a, b in zip(weights(one, "train"), weights(other, "train"), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5)
    for a, b in zip(weights(one, "prune"), weights(other, "prune"), strict=True):
        assert ((a == 0) != (b == 0)).sum() <= 2
        np.testing.assert_allclose(np.where((a == 0) == (b == 0), a - b, 0), 0, atol=1e-3)


# Several workers


@pytest.mark.slow
@pytest.mark.parametrize("evenly", [True, False])
def test_two_workers_train_and_prune_to_the_weights_of_one_and_only_the_first_writes(made_once, evenly):
    (alone, one), (shared, two) = made_once(evenly), made_once(evenly, "--workers", "2")
    assert two.stdout.count("train: runs") == 1
    assert two.stderr == ""
    same_weights(alone / "out", shared / "out")
    files = [
        {path.relative_to(folder / "out") for path in (folder / "out").rglob("*") if path.is_file()}
        for folder in (alone, shared)
    ]
    ours, theirs = ({path for path in each if "events" not in path.name} for each in files)
    assert ours == theirs
    assert one.stdout.splitlines()[-1].split()[0] == two.stdout.splitlines()[-1].split()[0]


@pytest.mark.slow
def test_two_workers_reuse_what_two_workers_made(made_once):
    folder, _ = made_once(True, "--workers", "2")
    again = tfopt_run(folder, "out", "--workers", "2").stdout
    assert "train: reused" in again
    assert "prune: reused" in again


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_worker_ends_all_and_they_go_on_to_the_same_weights(made_once, project, victim):
    whole = made_once(True, "--workers", "2")[0] / "out"
    running = subprocess.Popen(command(project, "killed", "--workers", "2"), stdout=subprocess.PIPE, text=True)
    lines = []
    for line in running.stdout:
        lines.append(line)
        if "epoch 2/4" in line:
            children = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
            os.kill(int(children[victim]), 9)
            break
    killed = time.monotonic()
    for line in running.stdout:
        lines.append(line)
        if "start again" in line:
            assert time.monotonic() - killed < 30
    assert running.wait(timeout=300) == 0
    text = "".join(lines)
    assert f"worker {victim} of 2 was ended by SIGKILL" in text
    assert text.count("epoch 1/4") == 1
    for stage in ("train", "prune"):
        for a, b in zip(weights(whole, stage), weights(project / "killed", stage), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_an_error_ends_all_workers_with_its_own_line_and_code(project):
    (project / "r.yaml").write_text(RECIPE.replace("sparsity: 0.8", "sparsity: 0.8, only: nothing"))
    finished = tfopt_run(project, "out", "--workers", "2", check=False)
    assert finished.returncode == 2
    assert "r.yaml:9: the pattern 'nothing' of 'only' matches no layer" in finished.stderr
    assert "start again" not in finished.stdout


@pytest.mark.slow
def test_a_worker_that_never_comes_is_not_waited_for_longer_than_the_recipe_says(project, monkeypatch):
    (project / "r.yaml").write_text(RECIPE + "runtime: {strategy: multi_worker, start_timeout: 5}\n")
    config = {"cluster": {"worker": ["127.0.0.1:29311", "127.0.0.1:29312"]}, "task": {"type": "worker", "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(config))
    finished = subprocess.run(command(project, "out"), capture_output=True, text=True, timeout=120)
    assert finished.returncode != 0
    assert "the other workers of TF_CONFIG did not all start within 5 s" in finished.stderr


# The launcher, without TensorFlow

WORKER = """
import json, os, signal, sys, time
from pathlib import Path
folder, *everyone = sys.argv[1:]
index = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
def starts(i):
    file = Path(folder) / f"starts-{i}"
    return len(file.read_text()) if file.exists() else 0
with open(Path(folder) / f"starts-{index}", "a") as file:
    file.write("x")
while min(map(starts, range(len(everyone)))) < starts(index):
    time.sleep(0.02)
what = everyone[index]
if what == "kill once" and starts(index) == 1 or what == "kill":
    os.kill(os.getpid(), signal.SIGKILL)
if what.startswith("exit"):
    print("a reason")
    sys.exit(int(what.split()[1]))
if what in ("wait", "later"):
    time.sleep(60 if what == "wait" else 2)
"""


def launched(folder, *what, **options):
    notify = []
    code = launch([sys.executable, "-c", WORKER, str(folder), *what], len(what), notify=notify.append, **options)
    return code, notify, [len((folder / f"starts-{i}").read_text()) for i in range(len(what))]


def test_all_workers_end_with_the_first(tmp_path):
    assert launched(tmp_path, "exit 0", "exit 0") == (0, [], [1, 1])


def test_a_worker_that_is_killed_has_all_start_again(tmp_path):
    code, notify, starts = launched(tmp_path, "later", "kill once")
    assert code == 0
    assert starts[1] == 2
    assert notify == ["worker 1 of 2 was ended by SIGKILL: all start again, after the last finished epoch"]


def test_one_that_is_killed_every_time_ends_the_run(tmp_path, capfd):
    code, notify, starts = launched(tmp_path, "wait", "kill", restarts=2)
    assert (code, len(notify), starts[1]) == (1, 2, 3)
    assert "worker 1 of 2 was ended by SIGKILL" in capfd.readouterr().err


@pytest.mark.parametrize("code", [1, 2, 3])
def test_an_error_ends_all_at_once_with_its_code_and_its_words(tmp_path, code, capfd):
    assert launched(tmp_path, "wait", f"exit {code}") == (code, [], [1, 1])
    printed = capfd.readouterr().err
    assert "a reason" in printed
    assert f"worker 1 of 2 ended with exit code {code}" in printed
