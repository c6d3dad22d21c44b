"""A model as it lies on disk: whether it is whole, its layers and its inputs, read without running any of its code.

Nothing here but `folder_layers` imports TensorFlow: a download that failed is told from a model in a moment.
"""

from __future__ import annotations

import contextlib
import json
import zipfile
import zlib
from collections.abc import Container, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tfopt.errors import ModelError
from tfopt.models.foreign_files import refuse_foreign
from tfopt.models.keras2.layer_config import code_in, tf_keras_library, wrapper_in
from tfopt.models.keras2.migration import SAVED_MODEL
from tfopt.tensorflow_private import saved_model_message
from tfopt.user_code import describe

FILES = (".keras", ".h5", ".hdf5")
CONFIG = "config.json"
WEIGHTS = ("model.weights.h5", "model.weights.npz")
HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
ZIP_SIGNATURE = b"PK"
# What a file may hold in the place of a model, by its first bytes: what that is, and the way out.
_MISTAKEN = (
    (b"version https://git-lfs", "it is a pointer of Git LFS", "Fetch the file itself with git lfs pull"),
    (b"<", "it is a web page or XML, as of a download that failed", "Download it again"),
    (b"{", "it is JSON, which has no weights", "Save the whole model with model.save"),
)
_SAVE = "Save it again with model.save"
_KERAS = "_tf_keras_"
_TFMOT = "tensorflow_model_optimization"


class StoredLayer(NamedTuple):
    """A layer as a model file describes it."""

    kind: str
    name: str
    module: str


def check(path: Path, objects: Container[str] = (), trust: bool = False) -> None:
    """Checks that a model is there and whole, and holds no code that may not be loaded, before Keras is imported.

    All of a `.keras` file is read, as its checksums cover it.

    Args:
        path: A `.keras` or `.h5` file, or a SavedModel folder.
        objects: Names of the classes and functions that its layers may be made of.
        trust: Whether Python code that is stored in it may be loaded (a Lambda layer).

    Raises:
        ModelError: There is no such file, it is no model of Keras, it is damaged, or it holds code.
    """
    layers_of(path, objects, trust)
    if path.suffix == ".keras" and path.is_file():
        _check_members(path)


def layers_of(path: Path, objects: Container[str] = (), trust: bool = False) -> Sequence[StoredLayer]:
    """The layers of a model whose file was checked, which its config alone is read for.

    Args:
        path: A `.keras` or `.h5` file, or a SavedModel folder, whose layers are left to `folder_layers`.
        objects: Names of the classes and functions that its layers may be made of.
        trust: Whether Python code that is stored in it may be loaded (a Lambda layer).

    Returns:
        The file's layers; none of a folder.

    Raises:
        ModelError: There is no such file, it is no model of Keras, its config is damaged, or it holds code.
    """
    if not path.exists():
        raise ModelError(f"there is no file {path}.", ("model",))
    if path.is_dir():
        _check_folder(path)
        return ()
    refuse_foreign(path)
    if path.suffix not in FILES:
        raise ModelError(
            f"a model is a .keras or .h5 file, or a SavedModel folder of Keras 2, and {path} is none of them. "
            f"Received: a file that begins with {_head(path)[:8]!r}.",
            ("model",),
        )
    layers = list(_layers_in(_config(path)))
    refuse_code(path, layers, objects, trust)
    return layers


def refuse_code(path: Path, layers: Sequence[StoredLayer], objects: Container[str], trust: bool) -> None:
    """Refuses layers that are Python code, and wrappers of TF-MOT, whose layers have their weights under other names.

    Raises:
        ModelError: There is such a layer, and it may not be loaded.
    """
    for layer, why in [(layer, why) for layer in layers if (why := code_in(layer.kind))]:
        if path.is_dir() or layer.kind != "Lambda":
            raise ModelError(f"{path} does not load: the layer {layer.name!r} ({layer.kind}) {why}.", ("model",))
        if not trust:
            raise ModelError(
                f"{path} carries Python code in the Lambda layer {layer.name!r}, and loading it would run that code. "
                "If the file is yours, write `trust: true` in the recipe, or --trust on the command line.",
                ("model",),
            )
    for layer in layers:
        wrapper = None if layer.kind in objects else wrapper_in(layer.kind)
        if wrapper and (layer.module.startswith(_TFMOT) or layer.module == "keras"):  # which is none, in a .h5 file
            raise ModelError(f"{path} does not load: the layer {layer.name!r} ({layer.kind}) {wrapper}.", ("model",))


def input_shapes(path: Path) -> dict[str, tuple[int | None, ...]]:
    """The input shapes of a file that Keras 3 wrote, by name, without the batch; empty where its config has none."""
    config = _config(path) if path.is_file() else {}
    inner = config.get("config") if config.get("class_name") in ("Functional", "Sequential") else None
    layers = inner.get("layers", []) if isinstance(inner, dict) else []
    found: dict[str, tuple[int | None, ...]] = {}
    for layer in layers:
        own = layer.get("config", {}) if isinstance(layer, dict) and layer.get("class_name") == "InputLayer" else {}
        if isinstance(shape := own.get("batch_shape"), list):
            found[str(own.get("name"))] = tuple(shape[1:])
    return found


def _config(path: Path) -> dict[str, Any]:
    """The config of the model in a whole file.

    Raises:
        ModelError: The file is damaged, or is something else than its name says.
    """
    _refuse_mistaken(path)
    try:
        text = _text_in_archive(path) if path.suffix == ".keras" else _text_in_hdf5(path)
        config = json.loads(text)
    except (ValueError, OSError) as error:
        raise _not_whole(path, describe(error)) from error
    if not isinstance(config, dict) or "class_name" not in config:
        raise _not_whole(path, f"{CONFIG} names no class of a model")
    return config


def _refuse_mistaken(path: Path) -> None:
    """Refuses a file that does not begin as one of its suffix does."""
    try:
        head = _head(path)
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}. See who may read it.", ("model",)) from error
    archive = path.suffix == ".keras"
    if not head:
        raise _not_whole(path, "it is empty")
    if head.startswith(HDF5_SIGNATURE) and archive:
        raise _not_whole(path, "it is in HDF5", "Give it the suffix .h5")
    if head.startswith(ZIP_SIGNATURE) and not archive:
        raise _not_whole(path, "it is an archive, as .keras files are", "Give it the suffix .keras")
    if head.startswith(ZIP_SIGNATURE if archive else HDF5_SIGNATURE):
        return
    for start, what, way in _MISTAKEN:
        if head.lstrip().startswith(start):
            raise _not_whole(path, what, way)
    if archive:
        raise _not_whole(path, f"it is no archive, and begins with {head[:8]!r}")


def _text_in_archive(path: Path) -> bytes:
    """The config in a `.keras` file."""
    with _archive(path) as archive:
        names = archive.namelist()
        if CONFIG not in names:
            raise _not_whole(path, f"there is no {CONFIG} in it, but {', '.join(names[:4]) or 'nothing'}")
        return archive.read(CONFIG)


def _check_members(path: Path) -> None:
    """Refuses a `.keras` file without weights, or with a member whose checksum does not hold."""
    with _archive(path) as archive:
        if not set(WEIGHTS) & set(archive.namelist()):
            raise _not_whole(path, f"there are no weights in it, which are in {WEIGHTS[0]}")
        if damaged := archive.testzip():
            raise _not_whole(path, f"{damaged} in it is damaged")


@contextlib.contextmanager
def _archive(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (zipfile.BadZipFile, EOFError) as error:
        raise _not_whole(path, "it is cut short, or damaged") from error
    except (zlib.error, RuntimeError) as error:
        raise _not_whole(path, describe(error)) from error


def _text_in_hdf5(path: Path) -> Any:
    """The config in an `.h5` file."""
    import h5py

    if not h5py.is_hdf5(path):  # the signature may stand behind a block of the user's own
        raise _not_whole(path, f"it is not in HDF5, and begins with {_head(path)[:8]!r}")
    try:
        with h5py.File(path) as file:
            text = file.attrs.get("model_config")
    except OSError as error:
        raise _not_whole(path, "it is cut short, or damaged") from error
    if text is None:
        raise ModelError(f"{path} holds weights but no model. Save it with model.save.", ("model",))
    return text


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(64)


def _not_whole(path: Path, why: str, way: str = _SAVE) -> ModelError:
    return ModelError(f"{path} is not a whole {path.suffix} model: {why}. {way}.", ("model",))


def _check_folder(folder: Path) -> None:
    """Refuses a folder that is no SavedModel, and one whose graph is cut short or something else."""
    file = folder / SAVED_MODEL
    if not file.is_file():
        raise ModelError(
            f"{folder} is a folder, not a model file: a SavedModel has a {SAVED_MODEL} in it. Name the model's own.",
            ("model",),
        )
    size, head = file.stat().st_size, _head(file)
    for start, what, way in _MISTAKEN[:2]:
        if head.lstrip().startswith(start):
            raise ModelError(f"{folder} is not a whole SavedModel: of {SAVED_MODEL}, {what}. {way}.", ("model",))
    if size != _message_bytes(file):
        why = "is empty" if not size else "is cut short, or damaged"
        raise ModelError(f"{folder} is not a whole SavedModel: {SAVED_MODEL} {why}. {_SAVE}.", ("model",))
    if _KERAS.encode() not in file.read_bytes():
        raise _without_keras(folder)


def _without_keras(folder: Path) -> ModelError:
    return ModelError(
        f"{folder} is a SavedModel without a Keras model in it: a tf.Module, or what Keras 3's model.export wrote. "
        "Give the .keras file of the model.",
        ("model",),
    )


def _message_bytes(file: Path) -> int | None:
    """The size of the protocol buffer in a file, as the sizes of its fields come to; None where it is none.

    References:
        https://protobuf.dev/programming-guides/encoding
    """
    size = file.stat().st_size
    with file.open("rb") as stream:

        def varint() -> int:
            value = shift = 0
            while byte := stream.read(1):
                value |= (byte[0] & 127) << shift
                shift += 7
                if byte[0] < 128:
                    return value
            raise EOFError

        try:
            while stream.tell() < size:
                wire_type = varint() & 7
                if wire_type not in (0, 2):  # the two that a SavedModel is made of
                    return None
                value = varint()
                stream.seek(value if wire_type == 2 else 0, 1)
        except EOFError:
            return None
        return stream.tell() or None


def _layers_in(config: Any) -> Iterator[StoredLayer]:
    if isinstance(config, dict):
        if "class_name" in config and isinstance(config.get("config"), dict):
            name = config["config"].get("name") or config.get("name") or "?"
            yield StoredLayer(config["class_name"], str(name), str(config.get("module") or "keras"))
        for value in config.values():
            yield from _layers_in(value)
    elif isinstance(config, list):
        for value in config:
            yield from _layers_in(value)


def folder_layers(folder: Path) -> list[StoredLayer]:
    """The Keras layers of a SavedModel.

    Raises:
        ModelError: The SavedModel is cut short, or has no Keras model in it.
    """
    tf_keras_library()  # says how it is installed if it is not
    from tf_keras.protobuf import saved_metadata_pb2  # type: ignore[import-untyped,unused-ignore]

    saved, metadata = saved_model_message(), saved_metadata_pb2.SavedMetadata()
    try:
        saved.ParseFromString((folder / SAVED_MODEL).read_bytes())
        objects = [node.user_object for node in saved.meta_graphs[0].object_graph_def.nodes]
        if (folder / "keras_metadata.pb").exists():
            metadata.ParseFromString((folder / "keras_metadata.pb").read_bytes())
        # TensorFlow before 2.5 wrote them into the graph.
        written = metadata.nodes or [one for one in objects if one.identifier.startswith(_KERAS)]
        layers = [json.loads(one.metadata) for one in written]
    except Exception as error:  # protobuf's own errors have no common public class
        raise ModelError(f"{folder} is not a whole SavedModel: {describe(error)}. {_SAVE}.", ("model",)) from error
    if not objects or not objects[0].identifier.startswith(_KERAS):
        raise _without_keras(folder)
    return list(_layers_in(layers))
