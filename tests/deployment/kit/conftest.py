"""Kits of small files, without TFLM unless a test is about it."""

import shutil

import pytest

import tfopt
from tests.deployment.conftest import build, converted
from tfopt.deployment.kit import export as kits

needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no gcc to compile with")


@pytest.fixture
def without_tflm(monkeypatch):
    """As where tflite-micro is not installed: kits are written in a moment."""
    monkeypatch.setattr(kits, "tflm_is_here", lambda: False)


@pytest.fixture
def kit_of(tmp_path, without_tflm):
    """Writes the kit of a model in a mode."""

    def make(kind, mode="int8", folder="kit", **settings):
        _, x = build(kind)
        settings.setdefault("samples", {name: values[:4] for name, values in x.items()})
        return tfopt.export(converted(kind, mode), tmp_path / folder, name=kind, **settings)

    return make
