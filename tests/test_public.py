"""The public names, and what loading them costs."""

import ast
import importlib
import inspect
import json
from pathlib import Path

import pytest

import tfopt
from tfopt.errors import InputError, TfoptError

PACKAGE = Path(tfopt.__file__).parent
# The rooms that describe and record, and what they stand on.
GROUND_FLOOR = (
    "cli",
    "drafting",
    "pipeline",
    "report",
    "stages",
    "recipe",
    "errors",
    "registry",
    "user_code",
    "output_capture",
)


def modules_of(room):
    """Every module of a room, by the path with which it is imported."""
    files = sorted((PACKAGE / room).rglob("*.py")) or [PACKAGE / f"{room}.py"]
    paths = [file.relative_to(PACKAGE.parent).with_suffix("") for file in files]
    return [".".join(path.parts).removesuffix(".__init__") for path in paths]


HEAVY = {
    *("tensorflow", "keras", "tf_keras", "tensorflow_model_optimization", "keras_tuner"),
    *("ai_edge_litert", "litert_quantizer"),
}
ERRORS = {
    "ConversionError": 1,
    "DataError": 2,
    "GateError": 3,
    "InUseError": 1,
    "InputError": 2,
    "ModelError": 2,
    "RecipeError": 2,
    "StorageError": 1,
    "TargetError": 1,
    "TfoptError": 1,
    "TrainingError": 1,
}
STAGES = ("Benchmark", "Prune", "Quantize", "Train", "Verify")
FUNCTIONS = ("convert", "export", "inspect", "run", "snippet", "validate")


COMMANDS = ("stages prune", "schema", "validate --quick pipelines/digits.yaml")
LOADED = """
import importlib, json, sys
import tfopt
tfopt.__version__, dir(tfopt)
loaded = {{}}
def look(what):
    loaded[what] = sorted({names!r} & sys.modules.keys())
look("import tfopt")
from tfopt.cli import main
for command in {commands!r}:
    sys.argv = ["tfopt", *command.split()]
    try:
        main()
    except SystemExit as exit:
        assert not exit.code, exit.code
    look(command)
for module in {modules!r}:
    importlib.import_module(module)
    look(module)
print(json.dumps(loaded))
"""


@pytest.fixture(scope="module")
def loaded(python):
    """What a fresh interpreter has loaded after `import tfopt`, then each command, then each module of the floor."""
    modules = [module for room in GROUND_FLOOR for module in modules_of(room)]
    code = LOADED.format(names=HEAVY | {"pydantic", "numpy"}, commands=["--help", *COMMANDS], modules=modules)
    return {what: set(names) for what, names in json.loads(python(code).splitlines()[-1]).items()}


def test_the_list_of_public_names_is_sorted_and_holds_no_name_twice():
    assert tfopt.__all__ == sorted(set(tfopt.__all__))


def test_dir_shows_the_public_names_and_nothing_else():
    assert dir(tfopt) == tfopt.__all__


@pytest.mark.parametrize("name", tfopt.__all__)
def test_every_public_name_loads(name):
    assert getattr(tfopt, name) is not None


@pytest.mark.parametrize("name", sorted(set(tfopt.__all__) - {"__version__"}))
def test_every_public_name_has_a_docstring(name):
    assert inspect.getdoc(getattr(tfopt, name))


def test_type_checkers_see_the_same_names_as_the_interpreter():
    tree = ast.parse((PACKAGE / "__init__.pyi").read_text())
    seen = {alias.asname for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert seen | {"__version__"} == set(tfopt.__all__)


def test_every_error_class_is_public():
    module = importlib.import_module("tfopt.errors")
    classes = {name for name, value in vars(module).items() if inspect.isclass(value) and issubclass(value, Exception)}
    assert classes == {*ERRORS, "TfoptWarning"}
    assert classes <= set(tfopt.__all__)
    assert issubclass(tfopt.TfoptWarning, UserWarning)


@pytest.mark.parametrize(("name", "code"), ERRORS.items())
def test_errors_are_tfopt_errors_with_the_documented_exit_code(name, code):
    error = getattr(tfopt, name)
    assert issubclass(error, TfoptError)
    assert error.exit_code == code
    assert f"{name} " in importlib.import_module("tfopt.errors").__doc__


@pytest.mark.parametrize("name", ["RecipeError", "ModelError", "DataError"])
def test_what_is_wrong_with_the_input_can_be_caught_as_one(name):
    assert issubclass(getattr(tfopt, name), InputError)


@pytest.mark.parametrize("name", STAGES)
def test_the_built_in_stages_are_public_under_their_class_name(name):
    stage = getattr(tfopt, name)
    assert issubclass(stage, tfopt.Stage)
    assert stage.__name__ == name


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_are_functions_and_not_modules_of_the_same_name(name):
    assert inspect.isfunction(getattr(tfopt, name))


@pytest.mark.parametrize("name", ["callbacks", "quantization", "sparsity"])
def test_rooms_are_modules(name):
    assert inspect.ismodule(getattr(tfopt, name))


def test_an_unknown_name_is_an_attribute_error_that_names_it():
    with pytest.raises(AttributeError, match="Quantise"):
        _ = tfopt.Quantise


def test_the_version_is_the_one_of_the_package():
    from importlib.metadata import version

    assert tfopt.__version__ == version("tfopt")


def test_importing_tfopt_imports_no_framework_at_all(loaded):
    assert loaded["import tfopt"] == set()


def test_help_imports_no_framework(loaded):
    assert loaded["--help"] & (HEAVY | {"pydantic"}) == set()


def test_no_module_of_the_ground_floor_imports_a_framework(loaded):
    assert {"tfopt.stages.train", "tfopt.recipe.recipe", "tfopt.cli.models"} <= set(loaded)
    assert {what for what, names in loaded.items() if names & HEAVY} == set()


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_that_only_look_at_words_import_no_framework(loaded, command):
    assert loaded[command] & HEAVY == set()


@pytest.mark.parametrize("first", ["import tfopt", "import tensorflow"], ids=["tfopt first", "tensorflow first"])
@pytest.mark.sample(1)
def test_pruning_leaves_tf_keras_and_the_environment_as_they_were(python, first):
    code = f"""
{first}
import os, keras, numpy, tfopt, tensorflow as tf
before = dict(os.environ)
pruning = tfopt.callbacks.MagnitudePruning(sparsity=0.5, frequency=1)
assert tf.keras.__version__.startswith("3."), tf.keras.__version__
model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(2)])
model.compile("sgd", "mse", run_eagerly=True)
model.fit(numpy.ones((8, 4)), numpy.ones((8, 2)), batch_size=2, verbose=0, callbacks=[pruning])
assert tf.keras.__version__.startswith("3."), tf.keras.__version__
assert "TF_USE_LEGACY_KERAS" not in os.environ
print({{name for name in before.keys() ^ os.environ.keys()}})
"""
    assert python(code).splitlines()[-1] == "set()"
