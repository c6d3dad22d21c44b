"""Results and refusals are made once, and what is kept stays within its bytes."""

import pytest

from tfopt.errors import ConversionError
from tfopt.targets.memo import Memo, UnfinishedError


def test_a_result_is_made_once():
    made, memo = [], Memo(len)
    for _ in range(2):
        assert memo.of("a", lambda: made.append("a") or b"result") == b"result"
    assert made == ["a"]
    assert memo.known("b") is None


def test_a_refusal_is_kept_and_each_who_asks_gets_one_of_its_own():
    made, memo = [], Memo(len)

    def refused():
        made.append(1)
        raise ConversionError("no form of it.")

    caught = []
    for _ in range(3):
        with pytest.raises(ConversionError, match="no form of it") as one:
            memo.of("a", refused)
        caught.append(one.value)
    assert made == [1]
    caught[1].options = ((":", ":"),)
    assert caught[2].options == ()


@pytest.mark.parametrize("kind", [UnfinishedError, OSError])
def test_what_may_end_otherwise_is_tried_again(kind):
    made, memo = [], Memo(len)

    def ended():
        made.append(1)
        raise kind("ended.")

    for _ in range(2):
        with pytest.raises(kind):
            memo.of("a", ended)
    assert made == [1, 1]


def test_those_asked_for_longest_ago_go_first_and_none_is_larger_than_all_may_be():
    memo = Memo(len, most_bytes=10)
    for key in "ab":
        memo.keep(key, b"12345")
    assert memo.known("a") == b"12345"
    memo.keep("c", b"123")
    assert [memo.known(key) for key in "abc"] == [b"12345", None, b"123"]
    memo.keep("d", b"12345678901")
    assert memo.known("d") is None
    assert len(memo) == 2
