"""What converts: models of every kind in three modes, on LiteRT against Keras.

A model in mixed precision is compared in the looser bounds that Keras's own half precision has.
"""

from pathlib import Path

import pytest

from tests.quantization import zoo
from tests.quantization.zoo import ZOO
from tfopt.errors import ConversionError
from tfopt.quantization import convert_with_notes
from tfopt.recipe.export import Export
from tfopt.tflite.file import read

MODES = ("float32", "dynamic", "int8")
# Largest error allowed, as a share of the largest output.
TOLERANCE = {"float32": 1e-5, "dynamic": 0.015, "int8": 0.035}
MIXED_TOLERANCE = 0.01

NO_POOL = "refused: tf.MaxPool3D"
# By model: what comes of each mode. "yes": all the mode promises; "yes, but X": the ops that stay in float; "loops":
# recurrent layers that stay loops in float; "unrolled": loops that were unrolled into integers.
OUTCOMES = {
    "dense": ("yes", "yes", "yes"),
    "conv1d causal dilated": ("yes", "yes", "yes"),
    "conv2d": ("yes", "yes", "yes"),
    "conv2d transpose": ("yes", "yes", "yes"),
    "depthwise": ("yes", "yes", "yes"),
    "separable": ("yes", "yes", "yes"),
    "grouped conv": ("yes", "yes", "yes"),
    "residual": ("yes", "yes", "yes"),
    "concat": ("yes", "yes", "yes"),
    "batch normalization": ("yes", "yes", "yes"),
    "swish": ("yes", "yes", "yes"),
    "gelu": ("yes", "yes", "yes"),
    "hard_swish": ("yes", "yes", "yes"),
    "elu": ("yes", "yes", "yes, but ELU"),
    "prelu and leaky relu": ("yes", "yes, but PRELU", "yes, but PRELU, LEAKY_RELU"),
    "layer normalization": ("yes", "yes", "yes, but NEG"),
    "group normalization": ("yes", "yes", "yes, but NEG, SQUARE"),
    "embedding": ("yes", "yes, but GATHER", "yes"),
    "lstm": ("yes", "yes", "yes, unrolled"),
    "gru": ("yes", "yes", "yes, unrolled"),
    "bidirectional lstm": ("yes", "yes", "yes, unrolled, but REVERSE_V2"),
    "lstm of unknown length": ("yes", "yes", "yes"),
    "lstm unrolled": ("yes", "yes", "yes"),
    "gru unrolled": ("yes", "yes", "yes"),
    "conv lstm2d": ("yes", "yes", "yes, unrolled"),
    "time distributed": ("yes", "yes", "yes"),
    "attention": ("yes", "yes", "yes, but NEG"),
    "lists in and out": ("yes", "yes", "yes"),
    "dicts in and out": ("yes", "yes", "yes"),
    "shared layer": ("yes", "yes", "yes"),
    "subclassed": ("yes", "yes", "yes"),
    "subclassed with dicts": ("yes", "yes", "yes"),
    "nested": ("yes", "yes", "yes"),
    "custom layer": ("yes", "yes", "yes"),
    "augmentation inside": ("yes", "yes", "yes"),
    "lambda": ("yes", "yes", "yes, but ABS"),
    "image of any size": ("yes", "yes", "yes"),
    "mixed float16": ("yes", "yes", "yes"),
    "mixed bfloat16": ("yes", "yes", "yes"),
    "conv3d": ("yes", "yes, but CONV_3D", "yes, but CONV_3D"),
    "max pooling 3d": (NO_POOL, NO_POOL, NO_POOL),
    "upsampling": ("yes", "yes", "yes, but TILE"),
    "normalization": ("yes", "yes", "yes"),
}


def outcome(made):
    """A cell of the table, from what was said about a file."""
    left = dict.fromkeys(skipped.where.split()[0] for skipped in made.skipped)
    unrolled = any("unrolled and quantized" in note for note in made.notes)
    return "yes" + (", unrolled" if unrolled else "") + (f", but {', '.join(left)}" if left else "")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ZOO)
@pytest.mark.sample(12)
def test_a_model_gives_on_litert_what_it_gives_in_keras_or_is_refused(built, converted, name, mode):
    expected = OUTCOMES[name][MODES.index(mode)]
    if expected.startswith("refused: "):
        with pytest.raises(ConversionError, match=expected.removeprefix("refused: ")) as caught:
            converted(name, mode)
        assert len(str(caught.value).splitlines()) == 1
        return
    made = converted(name, mode)
    assert outcome(made) == expected
    floating = {op.name for op in read(made.content).ops if op.floating and not op.graph}
    assert mode != "int8" or floating == {op for op in expected.partition("but ")[2].split(", ") if op}
    least = MIXED_TOLERANCE if name.startswith("mixed") else 0
    assert zoo.error(made.content, *built(name)) < max(TOLERANCE[mode], least)


def test_the_table_has_a_row_for_every_model():
    assert list(OUTCOMES) == list(ZOO)


def test_the_table_prints_as_markdown_with_a_row_for_every_model():
    lines = zoo.markdown({"one": ("yes", "no"), "other": ("a", "b")}, ("float32", "int8")).splitlines()
    assert lines == ["| model | float32 | int8 |", "| --- | --- | --- |", "| one | yes | no |", "| other | a | b |"]


def test_a_file_of_open_size_takes_images_of_other_sizes_than_the_samples(built, converted):
    model, _ = built("image of any size")
    content = converted("image of any size").content
    assert zoo.error(content, model, zoo.normal(3, 17, 8, 3)) < TOLERANCE["int8"]


@pytest.mark.parametrize("mode", ["float32", "dynamic"])
def test_a_model_of_open_size_converts_without_samples(built, mode):
    model, samples = built("image of any size")
    content = convert_with_notes(model, Export(mode=mode)).content
    assert zoo.error(content, model, samples) < TOLERANCE[mode]


def test_the_guide_says_what_converts():
    text = " ".join((Path(__file__).parents[2] / "docs/guides/models.md").read_text().split())
    plain = [name for name, cells in OUTCOMES.items() if set(cells) == {"yes"}]
    others = {name: cells for name, cells in OUTCOMES.items() if name not in plain}
    assert f"All three work for: {', '.join(plain)}." in text
    assert f"converts {len(OUTCOMES)} kinds of model" in text
    assert " ".join(zoo.markdown(others, MODES).split()) in text
