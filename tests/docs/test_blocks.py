"""Every block of code, every command and every recipe in the documents is run, validated or parsed."""

import itertools
import tomllib
from collections import Counter

import pytest

from tests.docs import commands, recipes
from tests.docs.documents import DOCUMENTS, PARSED, README, blocks_of, named

BLOCKS = {file: blocks_of(file) for file in DOCUMENTS}
ALL = [block for blocks in BLOCKS.values() for block in blocks]


def with_blocks(*treatments, languages=(), slow=False):
    """The documents that have such blocks."""

    def is_one(block):
        fits = block.treatment in treatments and (not languages or block.language in languages)
        return fits and (block.slow or not slow)

    return [file for file, blocks in BLOCKS.items() if any(map(is_one, blocks))]


def pages(*treatments, languages=()):
    """The documents that have such blocks, as cases of a test."""
    return pytest.mark.parametrize("file", with_blocks(*treatments, languages=languages), ids=named)


SLOW = with_blocks("run", slow=True)


def test_every_block_has_a_treatment(record_property):
    counts = Counter((block.treatment, "slow" if block.slow else "") for block in ALL)
    skipped = [f"{block.place}: {block.reason}" for block in ALL if block.treatment == "skipped"]
    told = ", ".join(f"{count} {treatment or 'unknown'} {slow}".strip() for (treatment, slow), count in counts.items())
    print(f"{len(ALL)} blocks in {len(DOCUMENTS)} documents: {told}", *skipped, sep="\n")
    record_property("blocks", told)
    without = [f"{block.place}: {block.language!r} {block.comment!r}" for block in ALL if not block.treatment]
    assert not without, f"nothing says what these blocks are:\n{without}"
    assert ALL


@pages("validated")
def test_recipes_and_parts_of_recipes_are_valid(file, page_folder):
    for block in BLOCKS[file]:
        if block.name and block.language == "python":
            commands.write(block, page_folder)
    for block in BLOCKS[file]:
        if block.treatment == "validated" and block.language not in PARSED:
            recipes.validate(block, page_folder)


@pages("validated", languages=("toml",))
def test_toml_can_be_read(file):
    for block in BLOCKS[file]:
        if block.language == "toml":
            tomllib.loads(block.text)


@pages("run", "parsed", languages=("sh",))
def test_commands_exist_with_all_their_options(file, page_folder):
    for block in BLOCKS[file]:
        if block.treatment in ("run", "parsed") and block.language != "python":
            commands.parse(block, page_folder)


@pytest.mark.parametrize("file", [file for file in with_blocks("run") if file not in SLOW], ids=named)
@pytest.mark.sample(8)
def test_pages_run(file, page_folder, tfopt):
    run_page(BLOCKS[file], page_folder, tfopt)


def test_the_readme_runs_up_to_its_first_slow_block(page_folder, tfopt):
    run_page(itertools.takewhile(lambda block: not block.slow, BLOCKS[README]), page_folder, tfopt)


@pytest.mark.parametrize("file", SLOW, ids=named)
@pytest.mark.slow
def test_pages_with_slow_blocks_run(file, page_folder, tfopt):
    run_page(BLOCKS[file], page_folder, tfopt)


def run_page(blocks, folder, tfopt):
    """Runs the blocks of a page in order, those of Python in one namespace."""
    namespace = {"__name__": "__main__"}
    for block in blocks:
        if block.name and block.language == "yaml":
            commands.write(block, folder)
        if block.treatment == "run" and block.language == "python":
            commands.run_python(block, namespace, folder)
        elif block.treatment == "run":
            commands.run(block, tfopt, folder)
