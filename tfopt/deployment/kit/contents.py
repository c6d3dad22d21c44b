"""The files of a kit, by their paths: what is in them, and what each is in a few words."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from tfopt.deployment.kit.array import array_source
from tfopt.deployment.kit.build import cmake_lists
from tfopt.deployment.kit.card import model_card
from tfopt.deployment.kit.golden_source import golden_header, golden_source
from tfopt.deployment.kit.header import header
from tfopt.deployment.kit.micro import golden_main, interpreter_header, interpreter_source, resolver_header
from tfopt.deployment.kit.model import End, KitModel
from tfopt.deployment.kit.readme import readme
from tfopt.deployment.snippet import SNIPPETS

PLAIN, RECORD, SUMS, README = "model.tflite", "kit.json", "SHA256SUMS", "README.md"
# The files for other languages, with the names of their snippets.
_LANGUAGES = {"python/predict.py": "python", "cpp/predict.cpp": "c++", "android/Model.kt": "kotlin"}

# Path, bytes, what it is.
_File = tuple[str, bytes, str]


def contents(model: KitModel) -> dict[str, bytes]:
    """The bytes of every file by its path, the same for the same model, in the order of their names."""
    made = [*_files(model), *_c_files(model), *(() if model.not_on_tflm else _tflm_files(model)), *_languages(model)]
    made.append((RECORD, _record(model), "the names, shapes, grids and sizes for programs"))
    made.sort()
    about = {README: "this text", **{path: about for path, _, about in made}}
    files = {path: content for path, content, _ in made}
    files[README] = readme(model, dict(sorted(about.items()))).encode()
    sums = "".join(f"{hashlib.sha256(files[path]).hexdigest()}  {path}\n" for path in sorted(files))
    return dict(sorted({**files, SUMS: sums.encode()}.items()))


def _files(model: KitModel) -> Iterator[_File]:
    yield PLAIN, model.content, "the model for LiteRT"
    if model.flashed_file != PLAIN:
        yield model.flashed_file, model.flashed, f"the model for {model.target}"
    yield "model_card.md", (model.card or model_card(model)).encode(), "the model card, for the Hugging Face hub"
    yield "CMakeLists.txt", cmake_lists(model).encode(), "targets of CMake"


def _c_files(model: KitModel) -> Iterator[_File]:
    prefix, own = model.prefix, f"c/{model.prefix}"
    array = array_source(model.flashed, model.form, prefix, model.flashed_file)
    yield f"{own}.h", header(model).encode(), "the array, the arena, names, shapes, scales, zero points"
    yield f"{own}_model{array.ending}", array.text.encode(), f"`{model.flashed_file}` as an array"
    yield f"{own}_golden.h", golden_header(model).encode(), "the function that runs the golden vectors"
    yield f"{own}_golden.c", golden_source(model).encode(), "the golden vectors"


def _tflm_files(model: KitModel) -> Iterator[_File]:
    own = f"c/{model.prefix}"
    yield f"{own}_ops.h", resolver_header(model).encode(), "the resolver of TFLM with just the ops of the file"
    yield f"{own}_tflm.h", interpreter_header(model).encode(), "the functions that run the model on TFLM"
    yield f"{own}_tflm.cc", interpreter_source(model).encode(), "the interpreter of TFLM behind them"
    yield f"{own}_golden_main.cc", golden_main(model).encode(), "a program: the golden vectors on TFLM"


def _languages(model: KitModel) -> Iterator[_File]:
    for path, language in _LANGUAGES.items():
        entry = SNIPPETS[language]
        if not entry.reason(model.usage):
            yield (
                path,
                entry.code(model.usage, PLAIN).encode(),
                f"{entry.about}, filled in; it looks for `{PLAIN}` where it runs",
            )


def _record(model: KitModel) -> bytes:
    record: dict[str, Any] = {
        "kit": 1,
        "name": model.name,
        "file": model.flashed_file,
        "target": model.target or None,
        "bytes": len(model.flashed),
        "sha256": hashlib.sha256(model.flashed).hexdigest(),
        "array": model.form,
        "ops": list(model.ops),
        "tensors": model.tensors,
        "stateful": model.usage.stateful,
        "streams": model.usage.streams,
        "arena_bytes": model.arena.bytes,
        "arena_measured_bytes": model.arena.measured,
        "tflm": model.not_on_tflm or True,
        "golden": {"vectors": model.golden.count, "runtime": model.golden.runtime, "samples": model.golden.samples},
        "inputs": [_end(end) for end in model.inputs],
        "outputs": [_end(end) for end in model.outputs],
    }
    return (json.dumps(record, indent=2) + "\n").encode()


def _end(end: End) -> Mapping[str, Any]:
    usage = end.usage
    grid = {"scale": usage.scale, "zero_point": usage.zero_point} if usage.quantized else {}
    return {"name": usage.name, "c_name": end.name, "type": usage.dtype, "shape": list(usage.shape), **grid}
