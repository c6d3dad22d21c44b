"""Records that know whether they were changed."""

import numpy as np
import pytest

from tfopt.errors import InputError
from tfopt.sealed_json import seal, unseal

RECORD = {"name": "größe", "list": [1, 2.5, None], "score": np.float32(0.5), "nan": float("inf")}


@pytest.mark.parametrize("indent", [None, 2])
def test_a_record_comes_back_as_it_was(indent):
    text = seal(RECORD, indent)
    assert unseal(text) == unseal(text.encode()) == {**RECORD, "score": 0.5}


def test_no_change_of_a_letter_is_missed():
    text = seal({"a": 1, "b": "x"})
    assert unseal(text)
    for place in range(len(text)):
        changed = text[:place] + chr(ord(text[place]) ^ 1) + text[place + 1 :]
        assert unseal(changed) is None, changed


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "{}", '{"a": 1}', b"\xff\xfe", "[" * 100_000])
def test_what_was_not_sealed_is_not_opened(text):
    assert unseal(text) is None


def test_a_field_of_the_digests_name_is_refused():
    with pytest.raises(InputError, match=r"Call the field otherwise. Received: 'mine'\.$"):
        seal({"a": 1, "sha256": "mine"})
    assert unseal(seal({"a": {"sha256": "of something else"}})) == {"a": {"sha256": "of something else"}}
