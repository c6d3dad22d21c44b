"""What a conversion does once: one measurement of ranges, one quantized file, one reading of its bytes."""

import gc
import weakref
from dataclasses import replace

import keras
import numpy as np
from keras import layers

from tfopt.quantization import float_conversion, prepared_model, quantizer
from tfopt.quantization.conversion import convert_with_notes
from tfopt.quantization.float_conversion import to_float
from tfopt.quantization.preparation import prepare
from tfopt.recipe.export import Export
from tfopt.tflite import flatbuffer
from tfopt.tflite.file import read
from tfopt.tflite.interpreter import Runner


def recurrent():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6, 3))
    model = keras.Model(inputs, layers.Dense(2)(layers.GRU(4)(inputs)))
    return model, np.random.default_rng(0).normal(size=(16, 6, 3)).astype("float32")


def counted(monkeypatch, module, name):
    calls, whole = [], getattr(module, name)

    def watched(*args, **settings):
        calls.append(args)
        return whole(*args, **settings)

    monkeypatch.setattr(module, name, watched)
    return calls


def test_an_unrolled_model_is_measured_and_quantized_once(monkeypatch):
    model, x = recurrent()
    measured = counted(monkeypatch, prepared_model, "observe_extremes")
    quantized = counted(monkeypatch, prepared_model.quantizer, "quantize")
    made = convert_with_notes(model, Export(mode="int8", least_snr_db=20.0), x)
    assert any("unrolled and quantized" in note for note in made.notes)
    assert made.figures["calibration_snr_db"] >= 20  # none of the files are for the sources of noise
    assert len(measured) == len(quantized) == 1


def test_a_view_is_kept_and_a_parse_is_not():
    model, x = recurrent()
    content = convert_with_notes(model, Export(mode="float32"), x).content
    assert flatbuffer.view(content) is flatbuffer.view(content)
    assert flatbuffer.parse(content) is not flatbuffer.view(content)
    assert read(content) is read(bytes(bytearray(content)))


def test_large_files_are_not_kept(monkeypatch):
    model, x = recurrent()
    content = convert_with_notes(model, Export(mode="float32"), x).content
    monkeypatch.setattr(flatbuffer, "KEPT_BYTES", 10)
    assert flatbuffer.view(content) is not flatbuffer.view(content)
    assert read(content) == read(content)
    assert read(content) is not read(content)


def test_names_are_those_of_the_signature_in_its_order():
    one, two = keras.Input((3,), name="zebra"), keras.Input((3,), name="ant")
    model = keras.Model([one, two], layers.Dense(2, name="last")(one + two))
    content = convert_with_notes(model, Export(mode="float32")).content
    assert flatbuffer.signature_names(content)[0] == ("zebra", "ant")
    assert tuple(Runner(content).inputs) == ("zebra", "ant")


def test_a_file_is_read_once_for_many_quantized_ones_which_are_those_of_a_fresh_engine(monkeypatch):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 2))
    x = layers.Conv2D(4, 3, activation="relu")(inputs)
    model = keras.Model(inputs, layers.Dense(3)(layers.Flatten()(layers.Add()([x, x]))))
    samples = np.random.default_rng(0).normal(size=(16, 8, 8, 2)).astype("float32")
    prepared = prepare(model, Export(mode="int8"), samples)
    ways = [
        ("int8", {}, None),
        ("int4", {}, None),
        ("int8", {}, None),
        ("none", {0: "int8"}, None),
        ("dynamic", {}, None),
        ("int8", {0: "float"}, "float32"),
        ("int8", {}, None),
    ]
    read_anew = counted(monkeypatch, float_conversion, "Quantizer")

    def made(sources):
        return [
            quantizer.quantize(source, mode, None if mode == "dynamic" else prepared.ranges(), given, io)
            for source, (mode, given, io) in zip(sources, ways, strict=True)
        ]

    kept = made([prepared.source] * len(ways))
    assert len(read_anew) == 1
    assert kept[0] == kept[2] == kept[-1]
    assert len(set(kept)) == 5
    assert made([replace(prepared.source) for _ in ways]) == kept
    assert len(read_anew) == 1 + len(ways)


def test_the_engine_of_a_model_is_gone_with_it_and_that_of_a_large_one_is_not_kept(monkeypatch):
    model, x = recurrent()
    source = to_float(model, x)
    engine = weakref.ref(source.engine)
    assert source.engine is engine()
    other = replace(source)
    del source
    gc.collect()
    assert engine() is None
    monkeypatch.setattr(flatbuffer, "KEPT_BYTES", 10)
    assert other.engine is not other.engine
