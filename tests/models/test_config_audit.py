"""What model files are made of: Keras's plain classes from a list, and nothing that would be run."""

import inspect

import keras
import pytest

from tfopt.models.config_audit import own_names, parts_of
from tfopt.models.known_classes import CARRIES_CODE, CLASSES, FUNCTIONS, OPERATIONS
from tfopt.models.stored_model import may_compile
from tfopt.optimizers import OPTIMIZERS, SCHEDULES

# Classes of Keras's public modules that no file is made of: bases, what runs what a file names, and what has data.
NOT_IN_FILES = {
    *("Layer", "Initializer", "Regularizer", "Constraint", "Optimizer", "OptimizerMap", "Loss", "Metric", "Quantizer"),
    *("LearningRateSchedule", "AWQConfig", "GPTQConfig"),
    *CARRIES_CODE,
}
FOCAL = "SparseCategoricalFocalCrossentropy"


def layer(kind, module="keras.layers", **config):
    return {"class_name": kind, "module": module, "config": {"name": "one", **config}, "registered_name": None}


def function(name, module="builtins"):
    return {"class_name": "function", "module": module, "config": name, "registered_name": "function"}


def foreign(config, objects=(), legacy=False):
    return [part.kind for part in parts_of(config, objects, legacy) if part.foreign]


def test_every_class_of_keras_is_on_the_list_or_decided_on():
    modules = [keras.layers, keras.initializers, keras.regularizers, keras.constraints, keras.losses, keras.metrics]
    modules += [keras.optimizers, keras.optimizers.schedules, keras.dtype_policies, keras.quantizers]
    found = {name for one in modules for name, value in vars(one).items() if inspect.isclass(value)}
    assert {name for name in found if name[0].isupper()} - CLASSES == NOT_IN_FILES - {"__lambda__"}


def test_every_operation_of_keras_is_on_the_list_but_those_that_are_given_a_function():
    import pkgutil

    from keras.src import ops
    from keras.src.ops.operation import Operation

    modules = [f"{ops.__name__}.{info.name}" for info in pkgutil.iter_modules(ops.__path__)]
    found = set()
    for name in (name for name in modules if not name.endswith("_test")):
        module = __import__(name, fromlist=["_"])
        classes = [one for one in vars(module).values() if inspect.isclass(one) and one.__module__ == name]
        found |= {one.__name__ for one in classes if issubclass(one, Operation) and one is not Operation}
    running = {"AssociativeScan", "Cond", "ForiLoop", "Function", "JVP", "Map", "Scan", "Switch", "VectorizedMap"}
    assert found - CLASSES == running | {"WhileLoop", "SegmentReduction"}
    assert found >= OPERATIONS


def test_every_activation_of_keras_is_on_the_list():
    named = {name for name, value in vars(keras.activations).items() if inspect.isfunction(value)}
    assert named - FUNCTIONS == {"deserialize", "get", "serialize"}


PLAIN = {
    "layer": layer("Dense", kernel_initializer=layer("GlorotUniform", "keras.initializers")),
    "layer of HDF5": {"class_name": "Dense", "config": {"name": "a", "activation": "relu"}},
    "optimizer of Keras 2": {"class_name": "Custom>Adam", "config": {}},
    "operation": layer("GetItem", "keras.src.ops.core"),
    "policy": layer("DTypePolicy", "keras"),
    "function": function("relu", "keras.activations"),
    "tfopt's loss": {**layer(FOCAL, "tfopt.losses"), "registered_name": f"tfopt>{FOCAL}"},
    "tfopt's schedule in HDF5": {**layer("OneCycle", "tfopt.optimizers"), "registered_name": "tfopt>OneCycle"},
    "tfopt's loss of HDF5": {"class_name": f"tfopt>{FOCAL}", "config": {}},
    "tfopt's optimizer": {**layer("SAM", "tfopt.optimizers.sam"), "registered_name": "tfopt>SAM"},
    "vocabulary": layer("StringLookup", vocabulary=["a", "b"]),
    "tensor": {"class_name": "__keras_tensor__", "config": {"shape": [None, 3]}},
}


@pytest.mark.parametrize("kind", PLAIN)
def test_plain_classes_are_admitted(kind):
    assert foreign([PLAIN[kind]], legacy=kind.endswith("HDF5")) == []


def test_the_names_that_tfopt_registers_are_found_without_importing_what_registers_them():
    assert {*OPTIMIZERS, *SCHEDULES}  # which imports all of them
    registered = {name for name in keras.saving.get_custom_objects() if name.startswith("tfopt>")}
    assert own_names() == registered
    assert f"tfopt>{FOCAL}" in registered


ATTACKS = {
    "Lambda": (layer("Lambda"), "Lambda"),
    "lambda": ({"class_name": "__lambda__", "config": {"value": "..."}}, "__lambda__"),
    "inside": (layer("TimeDistributed", layer=layer("Lambda")), "Lambda"),
    "activation": (layer("Dense", activation=function("system", "os")), "system"),
    "function of keras": (layer("Dense", activation=function("get_file", "keras.utils")), "get_file"),
    "a known name elsewhere": (layer("Dense", "evil"), "Dense"),
    "pickle": (layer("TorchModuleWrapper"), "TorchModuleWrapper"),
    "SavedModel": (layer("TFSMLayer", filepath="/tmp/x"), "TFSMLayer"),
    "file": (layer("StringLookup", vocabulary="/etc/passwd"), "StringLookup"),
    "class of a module": (layer("Popen", "subprocess"), "Popen"),
    "op": ({"class_name": "TensorFlowOpLayer", "config": {"node_def": {}}}, "TensorFlowOpLayer"),
    "under our name": ({**layer("Lambda"), "registered_name": "tfopt>Any"}, "Lambda"),
    "under a known name": ({**layer("evil", "keras.utils"), "registered_name": "tfopt>Any"}, "evil"),
    "function under our name": (layer("Dense", activation=function("tfopt>x", "os")), "tfopt>x"),
    "function that we do not register": (layer("Dense", activation=function("tfopt>x")), "tfopt>x"),
    "our name elsewhere": ({**layer("SAM", "os"), "registered_name": "tfopt>SAM"}, "SAM"),
    "in place of compile": ({**layer("Dense"), "compile_config": {"optimizer": layer("x", "os")}}, "x"),
    "constraint": (layer("Dense", kernel_constraint=layer("MyNorm", "mine")), "MyNorm"),
    "hub": (layer("Backbone", "keras_hub.models"), "Backbone"),
}


@pytest.mark.parametrize("kind", ATTACKS)
def test_whatever_else_is_found_wherever_it_is(kind):
    config, name = ATTACKS[kind]
    assert foreign({"config": {"layers": [layer("InputLayer"), [config]]}}) == [name]


@pytest.mark.parametrize(("kind", "module"), [("tfopt>Any", None), ("tfopt>SAM", "os"), ("tfopt>SAM", "tfoptimizer")])
def test_in_hdf5_a_name_of_tfopt_is_one_that_it_registers_of_a_module_of_its_own(kind, module):
    assert foreign({"class_name": kind, "config": {}, "module": module}, legacy=True) == [kind]


def test_what_is_at_hand_is_admitted_by_the_name_that_readers_look_for():
    own = {**layer("Scale", "mine"), "registered_name": "pack>Scale"}
    assert foreign(own, {"pack>Scale"}) == []
    assert foreign(own, {"Other"}) == ["Scale"]
    assert foreign(own, {"pack>Scale"}, legacy=True) == []
    assert foreign({**own, "class_name": "Other"}, {"pack>Scale"}, legacy=True) == ["Other"]
    assert foreign({"class_name": "Scale", "config": {}}, {"Scale"}, legacy=True) == []
    assert foreign({**layer("Lambda"), "registered_name": "pack>Scale"}, {"pack>Scale"}) == ["Lambda"]
    assert foreign(function("twice"), {"twice"}) == []


@pytest.mark.parametrize(
    "config",
    [
        {"class_name": 3},
        {"class_name": ["a"]},
        layer("Dense", module=[1]),
        function(["system"]),
        {"class_name": "a\nb"},
    ],
)
def test_a_name_that_is_no_text_is_a_damaged_config(config):
    with pytest.raises(ValueError, match="is a text, and there is"):
        list(parts_of({"layers": [config]}))


def test_a_model_is_compiled_with_what_is_known_alone():
    assert may_compile({"optimizer": layer("Adam", "keras.optimizers"), "loss": "mse", "metrics": ["mae"]}, ())
    assert not may_compile({"optimizer": layer("Mine", "mine"), "loss": "mse"}, ())
    assert may_compile({"loss": function("own_loss")}, {"own_loss"})
