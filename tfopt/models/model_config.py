"""The config of a `.keras` or `.h5` file, read without Keras and without running anything that is in it."""

from __future__ import annotations

import contextlib
import io
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from tfopt.durable_files import storage_errors
from tfopt.errors import ModelError
from tfopt.input_limits import check_members, parse_json
from tfopt.models.weight_links import check_links
from tfopt.user_code import describe

CONFIG = "config.json"
METADATA = "metadata.json"
WEIGHTS = ("model.weights.h5", "model.weights.npz")
HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
ZIP_SIGNATURE = b"PK"
# What a file may hold in the place of a model, by its first bytes: what that is, and the way out.
MISTAKEN = (
    (b"version https://git-lfs", "it is a pointer of Git LFS", "Fetch the file itself with git lfs pull"),
    (b"<", "it is a web page or XML, as of a download that failed", "Download it again"),
    (b"{", "it is JSON, which has no weights", "Save the whole model with model.save"),
)
SAVE = "Save it again with model.save"
# Bytes up to which the members of an archive may be compressed by any factor; Keras stores them as they are.
_FLOOR = 2**26
# Larger weights are looked at in a temporary file, and not in memory.
_HELD_BYTES = 2**30
_CHUNK = 2**20


@dataclass(frozen=True)
class ModelConfig:
    """What a file says of its model, besides the weights.

    Args:
        model: The model's config, which names its class; without the settings of `compile`.
        compilation: The settings of `compile` by argument; empty where there are none.
        keras_version: The release that wrote it; empty where the file does not say.
        legacy: Whether it is in HDF5.
    """

    model: Mapping[str, Any]
    compilation: Mapping[str, Any] = field(default_factory=dict)
    keras_version: str = ""
    legacy: bool = False


def read_config(path: Path) -> ModelConfig:
    """The config in a file whose suffix is one of a model's.

    Raises:
        ModelError: The file is damaged, or is something else than its name says.
    """
    _refuse_mistaken(path)
    try:
        return _in_archive(path) if path.suffix == ".keras" else _in_hdf5(path)
    except (ValueError, OSError) as error:
        raise not_whole(path, _why(error)) from error


def check_weights(path: Path) -> None:
    """Refuses a file without weights, or with such as are damaged, lead out of it, or claim more than it holds.

    Raises:
        ModelError: It is such a file.
    """
    try:
        if path.suffix == ".keras":
            _check_archive(path)
        else:
            check_links(path)
    except (ValueError, OSError) as error:
        raise not_whole(path, _why(error)) from error


def _check_archive(path: Path) -> None:
    with _archive(path) as archive:
        if not set(WEIGHTS) & set(archive.namelist()):
            raise not_whole(path, f"there are no weights in it, which are in {WEIGHTS[0]}")
        for member in archive.infolist():
            try:
                with archive.open(member) as content:
                    if member.filename.endswith(".h5"):
                        _check_member(content, member.file_size)
                    else:
                        while content.read(_CHUNK):  # to the end, where the checksum is compared
                            pass
            except zipfile.BadZipFile as error:
                raise not_whole(path, f"{member.filename} in it is damaged") from error


def _check_member(content: IO[bytes], size: int) -> None:
    """Refuses weights in an archive as `check_links` does; those that are large are copied to a temporary file."""
    with io.BytesIO() if size <= _HELD_BYTES else tempfile.TemporaryFile() as copy:
        while chunk := content.read(_CHUNK):
            with storage_errors(Path(tempfile.gettempdir()), "Set TMPDIR to a folder with more space."):
                copy.write(chunk)
                copy.flush()
        check_links(copy)


def _why(error: Exception) -> str:
    """What is wrong with a file: in the words of a check as they are, else with the kind of the error."""
    return str(error) if type(error) is ValueError else describe(error)


def head_of(path: Path) -> bytes:
    """The first bytes of a file.

    Raises:
        ModelError: It cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(64)
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}. See who may read it.", ("model",)) from error


def not_whole(path: Path, why: str, way: str = SAVE) -> ModelError:
    """The error for a file that is no model, or damaged."""
    return ModelError(f"{path} is not a whole {path.suffix} model: {why}. {way}.", ("model",))


def _refuse_mistaken(path: Path) -> None:
    """Refuses a file that does not begin as one of its suffix does."""
    head, archive = head_of(path), path.suffix == ".keras"
    if not head:
        raise not_whole(path, "it is empty")
    if head.startswith(HDF5_SIGNATURE) and archive:
        raise not_whole(path, "it is in HDF5", "Give it the suffix .h5")
    if head.startswith(ZIP_SIGNATURE) and not archive:
        raise not_whole(path, "it is an archive, as .keras files are", "Give it the suffix .keras")
    if head.startswith(ZIP_SIGNATURE if archive else HDF5_SIGNATURE):
        return
    for start, what, way in MISTAKEN:
        if head.lstrip().startswith(start):
            raise not_whole(path, what, way)
    if archive:
        raise not_whole(path, f"it is no archive, and begins with {head[:8]!r}")


def _in_archive(path: Path) -> ModelConfig:
    with _archive(path) as archive:
        names = archive.namelist()
        if CONFIG not in names:
            raise not_whole(path, f"there is no {CONFIG} in it, but {', '.join(names[:4]) or 'nothing'}")
        config = _mapping(archive.read(CONFIG), CONFIG)
        metadata = _mapping(archive.read(METADATA), METADATA) if METADATA in names else {}
    _check_named(config, CONFIG)
    compilation = _part(config, "compile_config", CONFIG)
    model = {name: value for name, value in config.items() if name != "compile_config"}
    return ModelConfig(model, compilation, _text(metadata.get("keras_version"), "keras_version"))


def _in_hdf5(path: Path) -> ModelConfig:
    import h5py

    if not h5py.is_hdf5(path):  # the signature may stand behind a block of the user's own
        raise not_whole(path, f"it is not in HDF5, and begins with {head_of(path)[:8]!r}")
    try:
        with h5py.File(path) as file:
            found = {name: file.attrs.get(name) for name in ("model_config", "training_config", "keras_version")}
    except (OSError, RuntimeError) as error:
        raise not_whole(path, "it is cut short, or damaged") from error
    if found["model_config"] is None:
        raise ModelError(f"{path} holds weights but no model. Save it with model.save.", ("model",))
    config = _mapping(found["model_config"], "model_config")
    _check_named(config, "model_config")
    training = found["training_config"]
    settings = _mapping(training, "training_config") if training else {}
    compilation = {**settings, "optimizer": settings.get("optimizer_config")} if settings else {}
    return ModelConfig(config, compilation, _text(found["keras_version"], "keras_version"), legacy=True)


@contextlib.contextmanager
def _archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """The archive of a file, once what it claims of its members was checked."""
    try:
        with zipfile.ZipFile(path) as archive:
            check_members(archive, path.stat().st_size, _FLOOR)
            yield archive
    except (zipfile.BadZipFile, EOFError) as error:
        raise not_whole(path, "it is cut short, or damaged") from error
    except (zlib.error, RuntimeError) as error:
        raise not_whole(path, describe(error)) from error


def _mapping(text: Any, name: str) -> dict[str, Any]:
    if not isinstance(text, str | bytes):
        raise ValueError(f"{name} in it is no text")
    value = parse_json(text)
    if not isinstance(value, dict):
        raise ValueError(f"{name} in it is a {type(value).__name__}, and no mapping")
    return value


def _part(config: Mapping[str, Any], key: str, name: str) -> dict[str, Any]:
    value = config.get(key) or {}
    if not isinstance(value, dict):
        raise ValueError(f"{key} in its {name} is a {type(value).__name__}, and no mapping")
    return value


def _check_named(config: Mapping[str, Any], name: str) -> None:
    if "class_name" not in config:
        raise ValueError(f"{name} names no class of a model")


def _text(value: Any, name: str) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if not isinstance(value, str | None):
        raise ValueError(f"{name} in it is a {type(value).__name__}, and no text")
    return value or ""
