"""A SavedModel folder as it lies on disk: whether it is whole, and what is in it, read as data."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfopt.errors import ModelError
from tfopt.input_limits import parse_json
from tfopt.models.config_audit import StoredPart, parts_of
from tfopt.models.keras2.migration import SAVED_MODEL
from tfopt.models.model_config import MISTAKEN, SAVE, head_of
from tfopt.models.saved_model_ops import foreign_ops
from tfopt.tensorflow_private import saved_model_message
from tfopt.user_code import describe

_KERAS, _METRIC = "_tf_keras_", "_tf_keras_metric"
_METADATA, _TRAINING = "keras_metadata.pb", "training_config"
# The longest number of a protocol buffer has ten bytes of 7 bits.
_VARINT_BITS = 70


@dataclass(frozen=True)
class Contents:
    """What is in a SavedModel.

    Args:
        parts: The layers and metrics of its Keras model, and what they are made of.
        compiled: What the model is compiled with.
        foreign_ops: The ops of its graph that are not known to be arithmetic alone.
    """

    parts: Sequence[StoredPart]
    compiled: Sequence[StoredPart]
    foreign_ops: Sequence[str]


def read(folder: Path, objects: Container[str]) -> Contents:
    """Reads a SavedModel without running anything that is in it.

    Args:
        folder: The folder, which `check_folder` found to be whole.
        objects: Names of the classes and functions that its layers may be made of, besides Keras's.

    Raises:
        ModelError: It is damaged, or has no Keras model in it.
    """
    try:
        saved = saved_model_message()
        saved.ParseFromString((folder / SAVED_MODEL).read_bytes())
        written = _keras_objects(folder, saved)
        configs = [parse_json(one.metadata) for one in written]
        parts = [
            # Of a layer of another class tf_keras makes one that calls the functions of the graph; it imports nothing.
            part if one.identifier == _METRIC else part._replace(foreign=bool(part.carries))
            for one, config in zip(written, configs, strict=True)
            for part in parts_of({k: v for k, v in config.items() if k != _TRAINING}, objects, legacy=True)
        ]
        compiled = list(parts_of([config.get(_TRAINING) for config in configs], objects, legacy=True))
        ops = foreign_ops(saved)
    except Exception as error:  # protobuf's own errors have no common public class
        why = str(error) if type(error) is ValueError else describe(error)
        raise ModelError(f"{folder} is not a whole SavedModel: {why}. {SAVE}.", ("model",)) from error
    first = next(_users(saved), None)
    if first is None or not first.identifier.startswith(_KERAS):
        raise _without_keras(folder)
    return Contents(parts, compiled, ops)


def _users(saved: Any) -> Iterator[Any]:
    return (node.user_object for node in saved.meta_graphs[0].object_graph_def.nodes)


def _keras_objects(folder: Path, saved: Any) -> list[Any]:
    """The Keras objects of a SavedModel, with kind and config; TensorFlow before 2.5 wrote them into the graph."""
    from tf_keras.protobuf import saved_metadata_pb2  # type: ignore[import-untyped,unused-ignore]

    metadata = saved_metadata_pb2.SavedMetadata()
    if (folder / _METADATA).exists():
        metadata.ParseFromString((folder / _METADATA).read_bytes())
    return list(metadata.nodes) or [one for one in _users(saved) if one.identifier.startswith(_KERAS)]


def check_folder(folder: Path) -> None:
    """Refuses a folder that is no SavedModel, and one whose graph is cut short or something else.

    Raises:
        ModelError: It is such a folder.
    """
    file = folder / SAVED_MODEL
    if not file.is_file():
        raise ModelError(
            f"{folder} is a folder, not a model file: a SavedModel has a {SAVED_MODEL} in it. Name the model's own.",
            ("model",),
        )
    size, head = file.stat().st_size, head_of(file)
    for start, what, way in MISTAKEN[:2]:
        if head.lstrip().startswith(start):
            raise ModelError(f"{folder} is not a whole SavedModel: of {SAVED_MODEL}, {what}. {way}.", ("model",))
    if size != _message_bytes(file):
        why = "is empty" if not size else "is cut short, or damaged"
        raise ModelError(f"{folder} is not a whole SavedModel: {SAVED_MODEL} {why}. {SAVE}.", ("model",))
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
                if shift >= _VARINT_BITS:
                    break
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
