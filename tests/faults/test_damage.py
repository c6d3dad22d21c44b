"""Committed files that are damaged, and folders that hold something else: what is not whole is made again."""

import shutil
from pathlib import Path

import pytest

from tests.faults.damage import DAMAGES, cases
from tfopt.recipe.artifact import BASELINE, SOURCE
from tfopt.recipe.stage import known_stages

pytestmark = pytest.mark.long
# Of some hundred pairs of a file and a damage.
DAMAGED = 8


@pytest.mark.parametrize("name", ["benchmark", "whole", "search", "tune", "qat"])
def test_a_committed_file_that_is_damaged_is_made_again(name, bench, all_hold, some):
    whole, _ = bench.whole(name)
    work = [name for kind in known_stages().values() for name in kind.goes_on_from]

    def tried(case):
        file, damage = case

        def prepare(folder):
            shutil.copytree(whole, folder, symlinks=True)
            damage(folder / file, folder)

        return bench.put(f"file {damage.__name__}", name, str(file), prepare)

    # What a stage only worked with is read by nobody any more.
    found = [case for case in cases(whole) if not any(Path(part).match(one) for part in case[0].parts for one in work)]
    all_hold(tried, some(found, DAMAGED))


def test_a_folder_of_results_that_is_a_file_or_another_stages_is_made_again(bench, all_hold, some):
    whole, _ = bench.whole("whole")
    places = [SOURCE, "train", "quantize", "verify", BASELINE]

    def tried(case):
        place, what = case

        def prepare(folder):
            shutil.copytree(whole, folder, symlinks=True)
            shutil.rmtree(folder / place)
            if what == "a file":
                (folder / place).write_text("not a folder")
            elif what == "another's":
                shutil.copytree(folder / next(other for other in places if other != place), folder / place)
            elif what == "empty":
                (folder / place).mkdir()
            elif what == "moved away":
                (folder / place).symlink_to("/nowhere")

        return bench.put("folder damaged", "whole", f"{place} is {what}", prepare)

    pairs = [(place, what) for place in places for what in ("a file", "another's", "empty", "moved away")]
    all_hold(tried, some(pairs, len(pairs)))


@pytest.mark.parametrize("name", ["train", "prune", "qat", "search", "tune"])
def test_anything_in_a_partial_folder_stops_no_rerun(name, bench, all_hold, some):
    """Each file that a killed stage leaves in its partial folder, damaged in each way."""
    kills = [left for left in bench.images(name) if left.kind == "kill"]
    partial = f"{name}.partial"
    fullest = max(kills, key=lambda left: (len(list((left.image / partial).rglob("*"))), left.first))
    files = [path.relative_to(fullest.image) for path in sorted((fullest.image / partial).rglob("*"))]

    def tried(case):
        file, damage = case

        def prepare(folder):
            fullest.put(folder)
            damage(folder / file, folder)

        return bench.put("partial file damaged", name, f"{file} {damage.__name__}", prepare)

    pairs = [(file, damage) for file in files if (fullest.image / file).is_file() for damage in DAMAGES]
    all_hold(tried, some(pairs))
