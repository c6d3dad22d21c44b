import importlib.util
import subprocess
import sys
import time
from dataclasses import FrozenInstanceError

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from keras import layers

from tfopt import subprocesses
from tfopt.errors import ConversionError, DataError, InputError, ModelError
from tfopt.output_capture import captured
from tfopt.quantization import convert
from tfopt.recipe.export import Export
from tfopt.targets import microcontrollers, tflm_process
from tfopt.targets.memo import Memo
from tfopt.targets.target_cost import device_file
from tfopt.tflite import flatbuffer
from tfopt.tflite.file import parse, read
from tfopt.tflite.flatbuffer import pack, with_signature
from tfopt.tflite.interpreter import Runner

needs_tflm = pytest.mark.skipif(
    importlib.util.find_spec("tflite_micro") is None, reason="tflite-micro is not installed (tfopt[tflm])"
)


def samples(count=16):
    return np.random.default_rng(0).normal(size=(count, 12, 12, 2)).astype(np.float32)


def network(width):
    keras.utils.set_random_seed(5)
    image = layers.Input((12, 12, 2), name="image")
    x = layers.Conv2D(width, 3, strides=2, padding="same", activation="relu", bias_initializer="ones")(image)
    x = layers.Add()([x, layers.DepthwiseConv2D(3, padding="same", activation="relu6")(x)])
    x = layers.Dense(5)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(image, layers.Softmax(name="chances")(x))


@pytest.fixture(scope="module")
def model():
    return network(8)


@pytest.fixture(scope="module")
def files(model):
    return {mode: convert(model, mode, samples(), slim=False) for mode in ("float32", "float16", "dynamic", "int8")}


@pytest.fixture(scope="module")
def two_sided():
    """Two inputs and two outputs, each pair of one shape; the signature lists them in the subgraph's other order."""
    keras.utils.set_random_seed(6)
    b, a = layers.Input((3,), name="b"), layers.Input((3,), name="a")
    y, z = layers.Dense(3, name="y")(a), layers.Subtract(name="z")([b, a])
    found = flatbuffer.parse(convert(keras.Model([b, a], [y, z]), "float32"))
    signature = found.signatureDefs[0]
    signature.inputs, signature.outputs = signature.inputs[::-1], signature.outputs[::-1]
    return pack(found)


def edited(content, change):
    """The file after a change to its schema object."""
    model = flatbuffer.parse(content)
    change(model)
    return pack(model)


def nameless(model):
    for tensor in model.subgraphs[0].tensors:
        tensor.name = None


def one_line(caught):
    text = str(caught.value)
    assert len(text.splitlines()) == 1
    assert "Traceback" not in text
    return text


# Outputs


@needs_tflm
def test_a_float_file_gives_what_litert_gives(files):
    x = samples()
    expected, got = Runner(files["float32"])(x), microcontrollers.run(files["float32"], x).outputs
    assert list(got) == list(expected) == ["chances"]
    assert got["chances"].shape == (16, 5)
    np.testing.assert_allclose(got["chances"], expected["chances"], rtol=0, atol=1e-6)


@needs_tflm
@pytest.mark.parametrize("io", ["int8", "float32"])
def test_an_int8_file_is_within_two_steps_of_litert(model, io):
    content, x = convert(model, "int8", samples(), io=io), samples()
    expected, got = Runner(content)(x)["chances"], microcontrollers.run(content, x).outputs["chances"]
    assert got.dtype == np.float32
    assert np.abs(got - expected).max() <= 2 / 256 + 1e-6
    assert np.ptp(got) > 20 / 256


@needs_tflm
def test_a_path_runs_as_its_bytes_do(files, tmp_path):
    path = tmp_path / "m.tflite"
    path.write_bytes(files["int8"])
    from_path, from_bytes = (
        microcontrollers.run(path, samples(2)),
        microcontrollers.run(files["int8"], {"image": samples(2)}),
    )
    np.testing.assert_array_equal(from_path.outputs["chances"], from_bytes.outputs["chances"])
    assert from_path.arena_bytes == from_bytes.arena_bytes


@needs_tflm
def test_inputs_and_outputs_go_by_name_where_signature_and_subgraph_differ_in_order(two_sided):
    generator = np.random.default_rng(1)
    x = {name: generator.normal(size=(4, 3)).astype(np.float32) for name in ("a", "b")}
    signature, graph = parse(two_sided)[1].signatureDefs[0], parse(two_sided)[1].subgraphs[0]
    assert [entry.tensorIndex for entry in signature.inputs] == list(graph.inputs)[::-1]
    expected, got = Runner(two_sided)(x), microcontrollers.run(two_sided, x).outputs
    np.testing.assert_allclose(got["z"], x["b"] - x["a"], atol=1e-6)
    assert list(got) == list(expected)
    for name in expected:
        np.testing.assert_allclose(got[name], expected[name], atol=1e-6)


def ids_model():
    ids = layers.Input((4,), dtype="int32", name="ids")
    return keras.Model(ids, layers.Rescaling(0.5, name="y")(ids))


@needs_tflm
def test_token_ids_stay_integers():
    content = convert(ids_model(), "float32", np.zeros((2, 4), np.int32))
    x = np.array([[1, 2, 3, 4], [5, 0, 0, 9]], np.int32)
    assert read(content).inputs["ids"][0] == "INT32"
    np.testing.assert_allclose(microcontrollers.run(content, x).outputs["y"], Runner(content)(x)["y"], atol=1e-6)


@needs_tflm
@pytest.mark.parametrize("mode", ["float32", "int8"])
def test_a_file_without_tensor_names_runs_the_same(files, mode):
    stripped = edited(files[mode], nameless)
    assert {tensor.name for tensor in read(stripped).tensors} == {""}
    expected, got = microcontrollers.run(files[mode], samples(3)), microcontrollers.run(stripped, samples(3))
    np.testing.assert_array_equal(got.outputs["chances"], expected.outputs["chances"])
    assert got.arena_bytes == expected.arena_bytes


@needs_tflm
def test_a_file_without_a_signature_is_addressed_by_number(files):
    bare = edited(files["float32"], lambda model: setattr(model, "signatureDefs", None))
    expected = microcontrollers.run(files["float32"], samples(2)).outputs["chances"]
    np.testing.assert_array_equal(microcontrollers.run(bare, {"0": samples(2)}).outputs["0"], expected)


@needs_tflm
def test_samples_do_not_depend_on_those_before_them(files):
    x = samples(3)
    together = microcontrollers.run(files["int8"], x).outputs["chances"]
    np.testing.assert_array_equal(together[2:], microcontrollers.run(files["int8"], x[2:]).outputs["chances"])


@needs_tflm
@pytest.mark.parametrize("count", [1, 4, 6])
@pytest.mark.sample(1)
def test_a_file_of_a_fixed_batch_runs_any_number_of_samples(model, files, count):
    @tf.function
    def predict(image):
        return model(image)

    concrete = predict.get_concrete_function(tf.TensorSpec((4, 12, 12, 2)))
    with captured():
        content = tf.lite.TFLiteConverter.from_concrete_functions([concrete]).convert()
    signed = flatbuffer.parse(content)
    with_signature(signed, ["image"], ["chances"])
    got = microcontrollers.run(pack(signed), samples(count)).outputs["chances"]
    expected = microcontrollers.run(files["float32"], samples(count)).outputs["chances"]
    np.testing.assert_allclose(got, expected, atol=1e-6)


# The arena


@needs_tflm
def test_the_arena_is_positive_and_grows_with_the_model(files):
    x = samples(1)
    small = microcontrollers.run(files["int8"], x).arena_bytes
    large = microcontrollers.run(convert(network(32), "int8", samples()), x).arena_bytes
    assert 6 * 6 * 8 < small < large
    assert small % tflm_process.ARENA_ALIGNMENT == 0
    assert small < microcontrollers.run(files["float32"], x).arena_bytes


@needs_tflm
@pytest.mark.parametrize("mode", ["float32", "int8"])
def test_the_file_runs_in_the_arena_and_in_none_smaller(files, mode, python):
    needed = microcontrollers.run(files[mode], samples(1)).arena_bytes

    def fits(arena_bytes):
        code = f"""
from tflite_micro import runtime
runtime.Interpreter.from_bytes({files[mode]!r}, arena_size={arena_bytes}).invoke()
"""
        return subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0

    assert fits(needed)
    assert not fits(needed - tflm_process.ARENA_ALIGNMENT)


@needs_tflm
def test_an_arena_too_small_is_one_line_with_both_figures(files):
    needed = microcontrollers.run(files["int8"], samples(1)).arena_bytes
    assert microcontrollers.run(files["int8"], samples(1), arena_bytes=needed).arena_bytes == needed
    with pytest.raises(ConversionError) as caught:
        microcontrollers.run(files["int8"], samples(1), arena_bytes=needed - 1)
    assert one_line(caught) == f"TFLM needs a tensor arena of {needed} bytes for the file. Received: " + (
        f"arena_bytes={needed - 1}."
    )


@pytest.mark.parametrize(("least", "taken"), [(64, 64), (80, 64), (1024, 64), (1_000_000, 16), (48, 1000), (16, 16)])
def test_the_search_finds_the_smallest_arena_above_what_was_recorded(least, taken):
    asked = []

    def runs(arena_bytes):
        asked.append(arena_bytes)
        return arena_bytes >= least

    found = tflm_process._smallest(runs, taken, 1 << 21)
    assert found == max(least, taken // 16 * 16 - 16)
    assert all(size % 16 == 0 for size in asked)
    assert len(asked) < 40


# Refusals


@needs_tflm
@pytest.mark.parametrize(
    ("mode", "reason"),
    [("dynamic", r"TFLM cannot run CONV_2D of FLOAT32, INT8.*Hybrid models"), ("float16", "DEQUANTIZE of FLOAT16")],
)
def test_a_mode_that_tflm_does_not_know_is_one_line_with_the_op_and_the_reason(files, capfd, mode, reason):
    with pytest.raises(ConversionError, match=reason) as caught:
        microcontrollers.run(files[mode], samples(1))
    one_line(caught)
    assert capfd.readouterr() == ("", "")


@needs_tflm
def test_an_op_that_the_package_lacks_is_named():
    model = keras.Sequential([layers.Input((4,)), layers.Dense(4, activation="gelu"), layers.Dense(2)])
    with pytest.raises(ConversionError, match="has no op GELU") as caught:
        microcontrollers.run(convert(model, "float32"), np.zeros((1, 4), np.float32))
    one_line(caught)


@needs_tflm
def test_a_custom_op_is_named(files):
    def change(model):
        code = model.operatorCodes[model.subgraphs[0].operators[0].opcodeIndex]
        code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
        code.customCode = b"Whirl"
        for op in model.subgraphs[0].operators[:1]:
            op.builtinOptions, op.builtinOptionsType = None, 0

    with pytest.raises(ConversionError, match="Whirl") as caught:
        microcontrollers.run(edited(files["float32"], change), samples(1))
    one_line(caught)


@needs_tflm
@pytest.mark.parametrize("end", ["os.abort()", "os.kill(os.getpid(), 9)"])
def test_a_process_that_dies_is_one_line(files, tmp_path, monkeypatch, capfd, end):
    """A stand-in for the package, which ends the process when it is imported."""
    (tmp_path / "tflite_micro").mkdir()
    (tmp_path / "tflite_micro" / "__init__.py").write_text(f"import os\nos.write(2, b'checks failed\\n')\n{end}\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(ConversionError, match=r"crashed \(SIG(ABRT|KILL)\).*CONV_2D.*checks failed") as caught:
        microcontrollers.run(files["int8"], samples(1))
    one_line(caught)
    assert capfd.readouterr() == ("", "")


@pytest.fixture
def fresh_arenas(monkeypatch):
    """No arena is known from earlier runs."""
    monkeypatch.setattr(microcontrollers, "_ARENAS", Memo(lambda arena: 1))


@needs_tflm
def test_a_file_that_never_ends_is_one_line_and_may_be_tried_again(files, tmp_path, monkeypatch, fresh_arenas):
    """A stand-in for the package, which ends as one does that has used up its time."""
    (tmp_path / "tflite_micro").mkdir()
    end = "import os, signal\nos.kill(os.getpid(), signal.SIGXCPU)\n"
    (tmp_path / "tflite_micro" / "__init__.py").write_text(end)
    with monkeypatch.context() as patched:
        patched.setenv("PYTHONPATH", str(tmp_path))
        limit = f"takes longer than {tflm_process.CPU_SECONDS} s .* for one batch .* too slow for this machine"
        with pytest.raises(ConversionError, match=limit) as caught:
            microcontrollers.arena_bytes(files["int8"])
        assert "recurrent" not in one_line(caught)
    assert microcontrollers.arena_bytes(files["int8"]) > 0


@needs_tflm
def test_a_refused_file_and_a_known_arena_are_not_looked_for_again(files, monkeypatch, fresh_arenas):
    asked = []
    run = subprocesses.run

    def counted(module, arguments, **rest):
        asked.append(arguments[3:])
        return run(module, arguments, **rest)

    monkeypatch.setattr(subprocesses, "run", counted)
    needed = microcontrollers.run(files["int8"], samples(1)).arena_bytes
    timed = microcontrollers.run(files["int8"], samples(2), timed=True)
    assert timed.arena_bytes == microcontrollers.arena_bytes(files["int8"]) == needed
    assert timed.microseconds > 0
    assert asked == [[], ["--time", f"--arena={needed}"]]
    for _ in range(2):
        with pytest.raises(ConversionError, match="Hybrid models"):
            microcontrollers.arena_bytes(files["dynamic"])
    assert len(asked) == 3
    told = device_file(files["float32"], Export(target="tflm")).figures
    assert told["arena_bytes"] > needed
    assert asked[3:] == [[]]  # one run for what is measured and for what it costs


@pytest.mark.skipif(sys.platform != "linux", reason="limits and ties of processes are Linux's")
def test_what_never_ends_in_an_arena_that_is_tried_is_ended():
    code = "from tfopt.targets.tflm_process import _survives\nprint(_survives(lambda: [0 for _ in iter(int, 1)], 0.5))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


@pytest.mark.skipif(sys.platform != "linux", reason="limits and ties of processes are Linux's")
def test_forks_end_with_the_process_that_tries_arenas():
    code = """
import os, time
from tfopt.targets.tflm_process import _survives
_survives(lambda: (os.write(1, b"%d\\n" % os.getpid()), time.sleep(600)), 600)
"""
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert int(parent.stdout.readline())  # the fork runs
    parent.kill()
    parent.wait()
    # The fork holds the pipe for ten minutes: the end of what it writes is its end.
    begun = time.monotonic()
    assert parent.stdout.read() == ""
    assert time.monotonic() - begun < 300


def test_a_missing_package_is_one_line_with_the_command(files, monkeypatch):
    monkeypatch.setitem(sys.modules, "tflite_micro", None)
    with pytest.raises(InputError, match=r"pip install 'tfopt\[tflm\]'") as caught:
        microcontrollers.run(files["int8"], samples(1))
    one_line(caught)


@needs_tflm
def test_what_is_no_tflite_file_is_a_model_error(tmp_path):
    with pytest.raises(ModelError, match="TFL3"):
        microcontrollers.run(b"hello there", samples(1))
    with pytest.raises(ModelError, match="none"):
        microcontrollers.run(tmp_path / "none.tflite", samples(1))


@needs_tflm
@pytest.mark.parametrize(
    "x", [np.zeros((2, 12, 12, 1)), {"picture": samples(1)}, samples(0)], ids=["shape", "name", "empty"]
)
def test_samples_that_do_not_fit_are_a_data_error(files, x):
    with pytest.raises(DataError) as caught:
        microcontrollers.run(files["float32"], x)
    one_line(caught)


# The process


@needs_tflm
def test_the_process_loads_neither_tensorflow_nor_litert(files, tmp_path, python):
    (tmp_path / "m.tflite").write_bytes(files["int8"])
    code = f"""
import sys
import numpy as np
from tfopt.targets import tflm_process
folder = {str(tmp_path)!r}
np.savez(folder + "/x.npz", **{{"0": np.zeros((2, 12, 12, 2), np.int8)}})
tflm_process.main([folder + "/m.tflite", folder + "/x.npz", folder + "/y.npz"])
print(np.load(folder + "/y.npz")["0"].shape)
print(sorted({{"tensorflow", "keras", "ai_edge_litert", "litert_quantizer"}} & set(sys.modules)))
"""
    [arena, shape, heavy] = python(code).splitlines()
    assert arena.startswith('{"arena_bytes": ')
    assert (shape, heavy) == ("(2, 5)", "[]")


@needs_tflm
def test_a_run_is_frozen(files):
    found = microcontrollers.run(files["float32"], samples(1))
    with pytest.raises(FrozenInstanceError):
        found.arena_bytes = 0


@pytest.mark.parametrize(("ops", "mask"), [(["SELECT", "GATHER"], False), (["NOT_EQUAL", "SELECT"], True)])
def test_a_mask_is_only_spoken_of_where_there_may_be_one(ops, mask):
    way = microcontrollers.way_without("SELECT", ops)
    assert way.startswith("An Embedding makes it")
    assert ("Leave the mask out" in way) is mask
    assert microcontrollers.way_without("UNIQUE", ops) == ""
