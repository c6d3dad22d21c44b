import pytest

from tfopt.errors import RecipeError
from tfopt.recipe.decode import CODINGS, Decode
from tfopt.recipe.export import Export
from tfopt.recipe.target import TARGETS


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (True, Decode()),
        (False, None),
        (None, None),
        ({"ram": "16 KB"}, Decode(ram=16_000)),
        ({"ram": "16 KiB", "codings": "look_up"}, Decode(ram=16_384, codings=("look_up",))),
        ({"codings": ["zero_mask", "huffman"]}, Decode(codings=("zero_mask", "huffman"))),
    ],
)
def test_decode_as_it_is_written(written, meant):
    export = Export(target="tflm", decode=written)
    assert export.decode == meant
    assert Export(**export.model_dump(mode="json")) == export


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"target": "litert", "decode": True}, "decode is for target tflm: the runtime of litert does not decode"),
        ({"target": "int_only", "decode": {"ram": 100}}, "decode is for target tflm: the runtime of int_only"),
        ({"target": "tflm", "decode": "yes"}, r"decode is true, or settings such as \{ram: 16 KB\}\. Received: 'yes'"),
        ({"target": "tflm", "decode": {"rom": 3}}, "has no field 'rom'. Did you mean 'ram'"),
        ({"target": "tflm", "decode": {"ram": "much"}}, "ram is a number of bytes above 0"),
        ({"target": "tflm", "decode": {"codings": "lut"}}, "is 'look_up', 'zero_mask' or 'huffman'"),
    ],
)
def test_what_cannot_be_decoded_is_one_sentence(settings, told):
    with pytest.raises(RecipeError, match=told) as caught:
        Export(**settings)
    assert len(str(caught.value).splitlines()) == 1


def test_every_coding_says_what_it_is_and_since_when_firmware_has_it():
    assert list(CODINGS) == ["look_up", "zero_mask", "huffman"]
    assert all(coding.about and "tflite-micro" in coding.since for coding in CODINGS.values())
    assert [name for name, target in TARGETS.items() if target.decodes] == ["tflm"]
