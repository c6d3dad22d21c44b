"""The command `devices`."""

import dataclasses
import json
import re

from tfopt.recipe.modes import MODES
from tfopt.recipe.target import TARGETS


def test_every_target_is_there_with_what_it_runs(cli):
    code, out, _ = cli("devices", "--json")
    rows = {row["name"]: row for row in json.loads(out)["targets"]}
    assert code == 0
    assert list(rows) == list(TARGETS)
    for name, row in rows.items():
        assert row["modes"] == [mode for mode in MODES if TARGETS[name].runs(MODES[mode])]
        assert row["measures"] == list(TARGETS[name].figures)
        assert row["refuses"]


def test_targets_of_a_family_are_one_row_that_a_narrow_terminal_shows(cli, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    _, table, _ = cli("devices")
    assert max(map(len, table.splitlines())) <= 80
    found = [line.split("│")[1].strip() for line in table.splitlines() if "│" in line]
    names = []
    for stem, numbers in re.findall(r"^([a-z0-9_-]+)(?:\{([0-9,]+)\})?$", "\n".join(found), re.MULTILINE):
        names += [stem + number for number in numbers.split(",")]
    assert [name for name in names if name in TARGETS] == list(TARGETS)
    assert "ethos-u55-{32,64,128,256}" in found


def test_a_target_whose_package_is_missing_says_what_to_install(cli, monkeypatch):
    absent = dataclasses.replace(TARGETS["tflm"], package="no_such_package")
    monkeypatch.setattr(TARGETS, "_found", {**dict(TARGETS.items()), "tflm": absent})
    monkeypatch.setenv("COLUMNS", "200")
    _, table, _ = cli("devices")
    assert "pip install 'tfopt[tflm]'" in table
    _, shown, _ = cli("devices", "tflm")
    assert "pip install 'tfopt[tflm]', which is NOT installed here" in shown
    assert json.loads(cli("devices", "tflm", "--json")[1])["installed"] is False


def test_one_target_is_shown_with_what_a_recipe_says_of_it(cli):
    _, shown, _ = cli("devices", "ethos-u85-256")
    assert "npu_milliseconds" in shown
    assert "keep: [2, 4]" in shown
    assert "Vela's estimate" in shown


def test_a_name_that_is_none_is_one_line_with_the_nearest(cli):
    code, _, error = cli("devices", "ethos-u55-12")
    assert code == 2
    assert error.splitlines() == ["there is no target 'ethos-u55-12'. Did you mean 'ethos-u55-128'?"]
    family = "there is no target 'Ethos_U65'. Did you mean 'ethos-u65-256' or 'ethos-u65-512'?"
    code, out, _ = cli("devices", "Ethos_U65", "--json")
    assert (code, json.loads(out)["error"]) == (2, family)


def test_the_options_of_a_target_are_shown_with_their_values(cli):
    _, shown, _ = cli("devices", "ethos-u55-128")
    assert "Shared_Sram (if not given) or Sram_Only" in shown
    assert "--target ethos-u55-128:system=Ethos_U55_Deep_Embedded" in shown
    found = json.loads(cli("devices", "tflm", "--json")[1])
    assert (found["options"], found["decodes"], found["refuses_int4"]) == ({}, True, ["FULLY_CONNECTED"])


def test_it_loads_no_framework(python):
    code = "import sys\nfrom tfopt.cli.devices import devices\ndevices()\nprint([m for m in {!r} if m in sys.modules])"
    assert python(code.format(["tensorflow", "keras", "ai_edge_litert"])).splitlines()[-1] == "[]"
