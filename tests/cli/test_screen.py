"""What is shown on a terminal obeys nothing that a file says."""

import io

from rich.console import Console

from tfopt.cli.screen import print_table, printable


def test_names_in_files_do_not_move_the_cursor():
    assert printable("a\x1b[2Jb\rc\x07\nd\u009be") == "a\N{REPLACEMENT CHARACTER}[2Jb\N{REPLACEMENT CHARACTER}c" + (
        "\N{REPLACEMENT CHARACTER}\nd\N{REPLACEMENT CHARACTER}e"
    )
    shown = Console(file=io.StringIO(), width=80)
    print_table(shown, ("op", "bytes"), [("evil\x1b]0;title\x07", "3")], left=1)
    assert "\x1b" not in shown.file.getvalue()
    assert "evil\N{REPLACEMENT CHARACTER}]0;title" in shown.file.getvalue()
