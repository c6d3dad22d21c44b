"""The lines at the end of a run on kits to flash."""

from dataclasses import replace

from tests.detail_examples import BY_TYPE
from tests.report.made_up import run
from tfopt.recipe.artifact import Artifact
from tfopt.recipe.details.kit import ExportedKits
from tfopt.report.console import flashing


def test_kits_are_named_and_else_the_command_for_a_file_that_ran_on_a_microcontroller(tmp_path):
    artifacts = run()
    last = [name for name, one in artifacts.items() if one.format == "tflite" and not one.files][-1]
    assert flashing("saved_models/digits", artifacts) == []
    micro = {**artifacts, last: replace(artifacts[last], metrics={"arena_bytes": 5000.0})}
    assert flashing("saved_models/digits", micro) == ["flash   tfopt export saved_models/digits --out kit"]
    details = [BY_TYPE[ExportedKits]]
    stage = Artifact("export", "export", tmp_path, "m.tflite", "tflite", "k", files={last: {}}, details=details)
    assert flashing("out/digits", {**micro, "export": stage}) == ["kit     out/digits/export/int8"]
