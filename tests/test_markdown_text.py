"""No name is markup."""

import pytest

from tfopt.markdown_text import code_block, code_span, escaped

NAMES = {
    "<script>alert(1)</script>": r"\<script>alert(1)\</script>",
    "![x](http://a/b)": r"!\[x](http://a/b)",
    "a*b_c": r"a\*b_c",
    "`a`": r"\`a\`",
    "a\\|b": r"a\\|b",
    "&lt;": r"\&lt;",
    "# head": r"\# head",
    "- item": r"\- item",
    "-0.28 points": "-0.28 points",
    "conv2d_1/kernel:0": "conv2d_1/kernel:0",
    "a\n\n# b\r\nc\x1b[2J": "a  # b c\N{REPLACEMENT CHARACTER}\\[2J",
}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_written_as_it_is(name):
    assert escaped(name) == NAMES[name]


@pytest.mark.parametrize(
    ("text", "span"), [("a", "`a`"), ("a`b", "``a`b``"), ("``", "``` `` ```"), ("a\nb", "`a b`"), ("<b>", "`<b>`")]
)
def test_code_ends_where_its_text_does(text, span):
    assert code_span(text) == span


def test_a_block_ends_where_its_text_does():
    assert code_block("a\n````\n<script>\n", "yaml") == ["`````yaml", "a", "````", "<script>", "`````"]
    assert code_block("a") == ["```", "a", "```"]
