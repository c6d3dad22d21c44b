"""Model files of wrong shapes, with members that lie, and with weights that are elsewhere: one line each."""

import io
import json
import zipfile

import h5py
import keras
import numpy as np
import pytest
from keras import layers

from tfopt.errors import ModelError
from tfopt.models import files, loading, model_config, stored_model
from tfopt.models.model_config import read_config


@pytest.fixture(scope="module")
def members(tmp_path_factory):
    """The members of a `.keras` file, compiled."""
    path = tmp_path_factory.mktemp("whole") / "m.keras"
    model = keras.Sequential([layers.Input((3,)), layers.Dense(2)])
    model.compile("adam", "mse")
    model.save(path)
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture
def written(tmp_path, members):
    """Writes a `.keras` file with other members; a function changes the config."""

    def write(change=None, kind=zipfile.ZIP_STORED, **others):
        config = json.loads(members["config.json"])
        if change:
            change(config)
        path = tmp_path / "m.keras"
        with zipfile.ZipFile(path, "w", kind) as archive:
            for name, content in {**members, "config.json": json.dumps(config), **others}.items():
                archive.writestr(name, content)
        return path

    return write


def refused(path, words, objects=()):
    with pytest.raises(ModelError, match=words) as caught:
        stored_model.check(path, objects)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_a_whole_file_is_read(written):
    path = written()
    stored_model.check(path)
    config = read_config(path)
    assert config.keras_version.startswith("3")
    assert config.compilation["loss"] == "mse"
    assert "compile_config" not in config.model


SHAPES = {
    "a list": ("[]", "config.json in it is a list"),
    "a text": ('"model"', "config.json in it is a str"),
    "no class": ("{}", "names no class"),
    "a class that is a number": ('{"class_name": 3, "config": {}}', "name of a class is a text"),
    "no text": (b"\x80\x81", "UnicodeDecodeError"),
    "too deep": ("[" * 5000 + "]" * 5000, "nested more than 100 levels"),
    "compile of a list": ('{"class_name": "Sequential", "config": {}, "compile_config": [1]}', "compile_config in its"),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_config_of_another_shape_is_one_line(written, shape):
    content, words = SHAPES[shape]
    refused(written(**{"config.json": content}), rf"not a whole \.keras model: .*{words}")


@pytest.mark.parametrize("content", ["[]", '{"keras_version": 3}', "{", "[" * 5000])
def test_metadata_of_another_shape_are_one_line(written, content):
    refused(written(**{"metadata.json": content}), r"not a whole \.keras model")


LAYERS = {
    "config is a list": {"class_name": "InputLayer", "config": [1]},
    "shape of texts": {"class_name": "InputLayer", "config": {"batch_shape": [None, "three"]}},
    "no config": {"class_name": "InputLayer"},
    "a number": 3,
}


@pytest.mark.parametrize("kind", LAYERS)
def test_a_layer_of_another_shape_is_one_line(written, kind):
    def change(config):
        config["config"]["layers"] = [LAYERS[kind]]

    path = written(change)
    assert stored_model.input_shapes(path) == {}
    with pytest.raises(ModelError) as caught:
        files.load(path)
    assert len(str(caught.value).splitlines()) == 1


def test_an_archive_that_claims_a_thousand_times_its_size_is_refused_before_it_is_read(written):
    refused(written(kind=zipfile.ZIP_DEFLATED, padding=bytes(2**27)), "its members claim 134,")


def test_a_foreign_class_needs_its_code_and_one_of_a_package_of_kerass_can_be_trusted(written):
    def change(config, module="mine"):
        config["config"]["layers"][1].update({"class_name": "Scale", "module": module, "registered_name": "pack>Scale"})

    said = refused(
        written(change), r"does not load: it needs the class 'Scale' of 'mine', for 'dense\w*'.*custom_objects"
    )
    assert "trust" not in said
    stored_model.check(written(change), {"pack>Scale"})
    path = written(lambda config: change(config, "keras_hub.layers"))
    assert "trust: true" in refused(path, r"of 'keras_hub\.layers'")
    stored_model.check(path, trust=True)


def test_what_it_is_compiled_with_is_left_out_where_it_is_foreign_and_run_never(written, tmp_path):
    def change(config):
        config["compile_config"]["loss"] = {"class_name": "function", "module": "os", "config": "system"}

    model = files.load(written(change))
    assert not model.compiled

    def hide(config):
        config["compile_config"]["loss"] = {"class_name": "__lambda__", "config": {"value": "x"}}

    refused(written(hide), "carries Python code in a function of the layer")


def test_a_compiled_model_inside_of_another_is_part_of_it(written):
    def change(config):
        config["config"]["layers"][1]["compile_config"] = {"loss": {"class_name": "Popen", "module": "subprocess"}}

    refused(written(change), "the class 'Popen' of 'subprocess'")


def in_hdf5(write):
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        write(file)
    return content.getvalue()


def other_file(file):
    file.create_dataset("w", (4,), "f4", external=[("/etc/passwd", 0, 16)])


def external(file):
    file["w"] = h5py.ExternalLink("/tmp/other.h5", "/x")


def soft(file):
    file["w"] = h5py.SoftLink("/gone")


def virtual(file):
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("/tmp/other.h5", "x", (4,))
    file.create_virtual_dataset("w", layout)


def huge(file):
    file.create_dataset("w", (2**20, 2**10), "f4", chunks=(2**10, 2**10))


WEIGHTS = {
    other_file: "is in another file",
    external: "is a link",
    soft: "is a link",
    virtual: "is in another file",
    huge: "claims 4,294,967,296 B, of which 0 B are there",
}


@pytest.mark.parametrize("write", WEIGHTS, ids=lambda write: write.__name__)
def test_weights_are_in_the_file_itself(written, tmp_path, write):
    content = in_hdf5(write)
    refused(written(**{"model.weights.h5": content}), f"not a whole .*its /w {WEIGHTS[write]}")
    old = tmp_path / "old.h5"
    old.write_bytes(content)
    with h5py.File(old, "a") as file:
        file.attrs["model_config"] = '{"class_name": "Sequential", "config": {"name": "s", "layers": []}}'
    refused(old, f"not a whole .*its /w {WEIGHTS[write]}")


def test_weights_too_large_for_memory_are_looked_at_all_the_same(written, monkeypatch):
    monkeypatch.setattr(model_config, "_HELD_BYTES", 100)
    stored_model.check(written())
    refused(written(**{"model.weights.h5": in_hdf5(external)}), "not a whole .*its /w is a link")


@pytest.mark.filterwarnings("ignore:Skipping variable loading")
@pytest.mark.parametrize("load", [files.load, loading.load_any])
def test_a_load_reads_the_config_once(written, monkeypatch, load):
    read, seen = stored_model.read_config, []
    monkeypatch.setattr(stored_model, "read_config", lambda path: seen.append(path) or read(path))
    path = written()
    load(path)
    assert seen == [path]


def test_a_group_that_is_in_itself_ends(written):
    def circle(file):
        file["a/w"] = np.zeros(3)
        file["a/again"] = file["a"]

    stored_model.check(written(**{"model.weights.h5": in_hdf5(circle)}))


@pytest.mark.parametrize("name", ["model_config", "training_config", "keras_version"])
@pytest.mark.parametrize("value", [3, np.zeros(2)])
def test_attributes_of_another_shape_are_one_line(tmp_path, name, value):
    path = tmp_path / "m.h5"
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = '{"class_name": "Sequential", "config": {}}'
        file.attrs[name] = value
    refused(path, r"not a whole \.h5 model")


def test_a_device_is_no_model(tmp_path):
    (tmp_path / "m.keras").symlink_to("/dev/zero")
    refused(tmp_path / "m.keras", "no file, but a device")
