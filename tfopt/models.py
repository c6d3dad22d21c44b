"""Models in and out: from a function, a `.keras` or `.h5` file or an object, and back to a file."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tfopt.errors import InputError, ModelError
from tfopt.reference import Ref, describe, digest_callable, find_file

FILES = (".keras", ".h5", ".hdf5")


def resolve(source: Any, folder: Path) -> Any:
    """What a recipe's `model` stands for: the path of a model file, a reference to a function, or the object itself.

    Raises:
        InputError: A file that is not there, or words that are neither.
    """
    if not isinstance(source, str | os.PathLike):
        return source
    text = os.fspath(source)
    if Path(text).suffix in FILES:
        path = find_file(text, folder)
        if not path.is_file():
            raise ModelError(f"{path} is a folder, not a model file.")
        return path
    if ":" not in text:
        raise ModelError(
            f"a model is file.py:function, package.module:function, or a .keras or .h5 file. Received: {text!r}."
        )
    return Ref.parse(text, folder)


def digest(source: Any) -> str:
    """sha256 of a resolved source: a file's bytes, a function's code, a model object's architecture and weights."""
    if isinstance(source, Path):
        return hashlib.sha256(source.read_bytes()).hexdigest()
    if isinstance(source, Ref):
        return source.digest()
    return _digest_model(source) if hasattr(source, "get_weights") else digest_callable(source)


def _digest_model(model: Any) -> str:
    """sha256 of a model object: what it is made of, how it is compiled, the code of its own classes, its weights."""
    try:
        compiled = dict(model.get_compile_config() or {})
        described: list[Any] = [model.get_config(), compiled]
    except Exception as error:
        raise ModelError(
            f"{type(model).__name__} cannot be saved, as it has no get_config: {describe(error)}. "
            "Write one, or give the function that builds the model."
        ) from error
    if isinstance(compiled.get("optimizer"), dict):
        compiled["optimizer"].get("config", {}).pop("name", None)  # Keras numbers the optimizers of a process
    described += sorted(digest_callable(cls) for cls in _own_classes(model).values())
    content = hashlib.sha256(json.dumps(described, sort_keys=True, default=str).encode())
    for weight in model.get_weights():
        content.update(weight.tobytes())
    return content.hexdigest()


def _own_classes(model: Any) -> dict[str, Any]:
    """The classes of a model and its layers that are not Keras's, by name."""
    from tfopt.layers import walk

    classes = {type(part) for part in (model, *(place.layer for place in walk(model)))}
    return {cls.__name__: cls for cls in classes if cls.__module__.split(".")[0] != "keras"}


def build(source: Any, trust: bool = False) -> Any:
    """The Keras model of a resolved source.

    Raises:
        ModelError: The function raised or returned no model, the file cannot be read, or the model has no weights yet.
    """
    import keras

    if isinstance(source, Path):
        return load(source, trust=trust)
    try:
        if isinstance(source, Ref):
            model = source.call()
        else:
            model = source() if callable(source) and not hasattr(source, "get_weights") else source
    except InputError as error:
        raise ModelError(str(error), error.field) from error
    except Exception as error:
        raise ModelError(f"the model function failed: {describe(error)}") from error
    if not isinstance(model, keras.Model):
        hint = " It is a tf_keras model: build it with `import keras`." if "tf_keras" in type(model).__module__ else ""
        raise ModelError(
            f"{source} must return a Keras 3 model. Received: {type(model).__module__}.{type(model).__name__}.{hint}"
        )
    if not model.built:
        raise ModelError(
            f"the model of {source} has no weights yet. Give it an Input, or call it once before returning it."
        )
    return model


def custom_objects(source: Any, model: Any = None) -> dict[str, Any]:
    """The classes and functions that a saved model may refer to: what it is made of, and what its file has."""
    import inspect
    import sys

    function = source.load() if isinstance(source, Ref) else source
    module = sys.modules.get(getattr(function, "__module__", None) or "") if inspect.isfunction(function) else None
    own = vars(module).items() if module else ()
    found = {name: value for name, value in own if inspect.isclass(value) or inspect.isfunction(value)}
    return found if model is None else {**found, **_own_classes(model)}


def load(path: Path, custom_objects: Mapping[str, Any] | None = None, trust: bool = False) -> Any:
    """Reads a `.keras` or `.h5` file.

    Args:
        path: The file.
        custom_objects: Classes and functions that its layers are made of, by name.
        trust: Load Python code that is stored in it (a Lambda layer).

    Raises:
        ModelError: It is not there, not a model, cut short, needs code that is not at hand, or holds code.
    """
    import keras

    layers = list(_stored_layers(path))
    lambdas = [layer.name for layer in layers if layer.kind == "Lambda"]
    if lambdas and not trust:
        raise ModelError(
            f"{path} carries Python code in the Lambda layer {lambdas[0]!r}, and loading it would run that code. "
            "If the file is yours, write `trust: true` in the recipe, or --trust for tfopt inspect.",
            ("model",),
        )
    objects = dict(custom_objects or {})
    settings = {"custom_objects": objects, "safe_mode": not trust}
    if path.suffix != ".keras":
        objects.setdefault("DepthwiseConv2D", _legacy_depthwise())
    try:
        try:
            return keras.models.load_model(path, **settings)
        except Exception:
            if path.suffix == ".keras":
                raise
            # The optimizer of an old .h5 may be one that Keras 3 does not have.
            return keras.models.load_model(path, compile=False, **settings)
    except Exception as error:
        foreign = [layer for layer in layers if layer.module.split(".")[0] != "keras" and layer.kind not in objects]
        reason = describe(error)
        if foreign:
            reason = (
                f"it needs the class {foreign[0].kind!r} of {foreign[0].module!r}. "
                "Give the model as a function, file.py:build, in a file that has the class."
            )
        raise ModelError(f"{path} does not load: {reason}", ("model",)) from error


def save(model: Any, path: Path) -> None:
    """Writes a `.keras` file, compiled as the model is, with an optimizer that has not made a step."""
    own = getattr(model, "optimizer", None)
    try:
        if own is not None:
            model.optimizer = type(own).from_config(own.get_config())
            model.optimizer.build(model.trainable_variables)  # Keras warns of a file whose optimizer has no variables
        model.save(path)
    finally:
        if own is not None:
            model.optimizer = own


def compile_settings(model: Any) -> dict[str, Any]:
    """The arguments that a model was compiled with; empty for one that was not."""
    # The public get_compile_config serializes them, and what is a user's own function does not come back from there.
    settings = getattr(model, "_compile_config", None)
    return dict(settings.config) if model.compiled and settings else {}


def inputs_of(model: Any) -> dict[str, tuple[int | None, ...]]:
    """The input shapes of a model by name, without the batch; empty where the model does not know them."""
    tensors = getattr(model, "inputs", None) or []
    return {tensor.name: tuple(tensor.shape[1:]) for tensor in tensors}


def in_float32(model: Any) -> Any:
    """The model itself, or a copy in float32 of one in mixed precision, which the converter cannot take."""
    import keras

    from tfopt.layers import walk

    layers = [place.layer for place in walk(model)]
    if all(layer.compute_dtype not in ("float16", "bfloat16") for layer in layers):
        return model

    def rebuilt(layer: Any) -> Any:
        return type(layer).from_config({**layer.get_config(), "dtype": "float32"})

    copy = keras.models.clone_model(model, clone_function=rebuilt)
    copy.set_weights(model.get_weights())
    return copy


def call(model: Any, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Runs a model in inference mode on tensors by input name; its outputs by name, in the order it gives them."""
    import keras

    structured: Any
    if isinstance(getattr(model, "inputs", None), list) and not isinstance(model, keras.Sequential):
        structured = keras.tree.pack_sequence_as(model.input, [inputs[tensor.name] for tensor in model.inputs])
    else:
        structured = next(iter(inputs.values())) if len(inputs) == 1 else dict(inputs)
    return named_outputs(model, model(structured, training=False))


def named_outputs(model: Any, outputs: Any) -> dict[str, Any]:
    """What a model returned, by name: a dict's keys, sorted as TensorFlow flattens them, else Keras's output names."""
    import keras

    if isinstance(outputs, Mapping):
        return {str(key): outputs[key] for key in sorted(outputs)}
    flat = keras.tree.flatten(outputs)
    names = list(getattr(model, "output_names", None) or [])
    if len(set(names)) != len(flat):
        names = [f"output_{i}" for i in range(len(flat))] if len(flat) > 1 else ["output"]
    return dict(zip(names, flat, strict=True))


class _Stored(NamedTuple):
    """A layer as a model file describes it."""

    kind: str
    name: str
    module: str


def _stored_layers(path: Path) -> Iterator[_Stored]:
    """Every layer in a model file, read without running anything of it."""
    try:
        if path.suffix == ".keras":
            with zipfile.ZipFile(path) as archive:
                config = json.loads(archive.read("config.json"))
        else:
            import h5py

            with h5py.File(path) as file:
                text = file.attrs.get("model_config")
                if text is None:
                    raise ModelError(f"{path} holds weights but no model. Save it with model.save.", ("model",))
                config = json.loads(text)
    except FileNotFoundError:
        raise ModelError(f"there is no file {path}.", ("model",)) from None
    except (OSError, zipfile.BadZipFile, KeyError, ValueError) as error:
        raise ModelError(
            f"{path} is not a whole {path.suffix} model: {describe(error)}. Save it again with model.save.", ("model",)
        ) from error
    yield from _layers_in(config)


def _layers_in(config: Any) -> Iterator[_Stored]:
    if isinstance(config, dict):
        if "class_name" in config and isinstance(config.get("config"), dict):
            name = config["config"].get("name") or config.get("name") or "?"
            yield _Stored(config["class_name"], str(name), str(config.get("module") or "keras"))
        for value in config.values():
            yield from _layers_in(value)
    elif isinstance(config, list):
        for value in config:
            yield from _layers_in(value)


def _legacy_depthwise() -> Any:
    """Keras 2 wrote `groups` for depthwise convolutions, which Keras 3 refuses to read."""
    import keras

    class DepthwiseConv2D(keras.layers.DepthwiseConv2D):
        def __init__(self, *args: Any, groups: int = 1, **rest: Any):
            super().__init__(*args, **rest)

    return DepthwiseConv2D
