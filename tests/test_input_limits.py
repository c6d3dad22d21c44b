"""What is read from outside is bounded before it is read."""

import io
import zipfile

import pytest

from tfopt.input_limits import MOST_LEVELS, check_members, parse_json


def archive(write, flags=0, name=None):
    """An archive that `write` fills; flags and a name are put into its directory afterwards."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as made:
        write(made)
    opened = zipfile.ZipFile(io.BytesIO(content.getvalue()))
    opened.infolist()[0].flag_bits |= flags
    opened.infolist()[0].filename = name or opened.infolist()[0].filename
    return opened, len(content.getvalue())


def test_json_is_read():
    assert parse_json('{"a": [1, {"b": null}]}') == {"a": [1, {"b": None}]}
    assert parse_json(b"[]") == []


@pytest.mark.parametrize("levels", [MOST_LEVELS + 1, 100_000])
@pytest.mark.parametrize("sign", ["[]", ('{"a":', "}")])
def test_deep_json_is_refused(levels, sign):
    with pytest.raises(ValueError, match="nested more than 100 levels"):
        parse_json(sign[0] * levels + "1" + sign[1] * levels)


def test_json_of_the_deepest_allowed_is_read():
    assert parse_json("[" * (MOST_LEVELS - 1) + "]" * (MOST_LEVELS - 1))


def test_a_usual_archive_is_read():
    opened, size = archive(lambda made: made.writestr("a/config.json", "{}" * 1000))
    check_members(opened, size, 2**20)


def twice(made):
    made.writestr("config.json", "{}")
    with pytest.warns(UserWarning, match="Duplicate"):
        made.writestr("config.json", '{"other": 1}')


def linked(made):
    member = zipfile.ZipInfo("link")
    member.external_attr = 0o120777 << 16
    made.writestr(member, "/etc/passwd")


ONE = lambda made: made.writestr("a.txt", "text")  # noqa: E731
FAULTS = {
    "encrypted": (ONE, {"flags": 1}, "is encrypted"),
    "twice": (twice, {}, "is there twice"),
    "bzip2": (lambda made: made.writestr("a", "b", zipfile.ZIP_BZIP2), {}, "compressed by method 12"),
    "above": (ONE, {"name": "../a"}, "leads out of the archive"),
    "absolute": (ONE, {"name": "/a"}, "leads out of the archive"),
    "drive": (ONE, {"name": "c:\\a"}, "leads out of the archive"),
    "link": (linked, {}, "is a link"),
    "many": (lambda made: [made.writestr(str(n), "") for n in range(10_001)], {}, "10,001 members"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_an_archive_with_a_member_that_is_not_read_is_refused(fault):
    write, changed, words = FAULTS[fault]
    with pytest.raises(ValueError, match=words):
        check_members(*archive(write, **changed), 2**20)


def test_an_archive_that_claims_a_thousand_times_its_size_is_refused_without_reading_it():
    opened, size = archive(lambda made: made.writestr("a", bytes(2**24)))
    with pytest.raises(ValueError, match="claim 16,777,216 B"):
        check_members(opened, size, 2**20)
    check_members(opened, size, 2**24)  # up to the floor any factor is fine
