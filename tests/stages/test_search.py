"""The stage `search` from a recipe to the front, on a network that learns in a second."""

import gzip
import re
from dataclasses import replace
from pathlib import Path

import keras
import pytest
from keras import layers
from ruamel.yaml import YAML

import tfopt
from tfopt.errors import GateError, InputError, RecipeError
from tfopt.pipeline.plan import Plan
from tfopt.recipe.details.quantization import ConversionNotes, ConversionWarnings
from tfopt.recipe.details.weights import QuantizationErrors, WeightsByLayer
from tfopt.recipe.device_cost import DeviceCost
from tfopt.recipe.export import Export
from tfopt.recipe.figure import Figure, by_name
from tfopt.recipe.progress import Progress
from tfopt.recipe.recipe import Recipe
from tfopt.recipe.stage import Outlook, read_stages
from tfopt.recipe.target import TARGETS, Target
from tfopt.report.on_device import words
from tfopt.search.cost_model import Cost
from tfopt.search.device_forecast import DeviceForecast
from tfopt.stages.export import ExportKit
from tfopt.stages.search_budget import OF_ANY_FILE, SearchBudget
from tfopt.stages.subpipeline import Told, is_made, run_stages, told_of


def network(**compiled):
    model = keras.Sequential(
        [
            layers.Input((8, 8, 1), name="image"),
            layers.Conv2D(12, 3, activation="relu", name="conv"),
            layers.Flatten(),
            layers.Dense(32, activation="relu", name="hidden"),
            layers.Dense(4, activation="softmax", name="classes"),
        ],
        name="net",
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], **compiled)
    return model


def quick():
    """For trainings of a few steps, which are over sooner than they would be traced."""
    return network(run_eagerly=True)


@pytest.fixture(scope="module")
def samples(make_blobs):
    return make_blobs()


def recipe(samples, *stages, model=network, **more):
    x, y = samples
    data = tfopt.Data(tfopt.Split(x[:192], y[:192]), tfopt.Split(x[128:], y[128:]), tfopt.Split(x[64:], y[64:]))
    return Recipe(name="searched", model=model, data=lambda: data, stages=list(stages), **more)


TRAIN = tfopt.Train(epochs=4, batch_size=16)
TRAINING = {"batch_size": 16}
TOO_FAST = SearchBudget(npu_milliseconds=1e-4)


@pytest.fixture(scope="module")
def searched(samples, tmp_path_factory):
    out = tmp_path_factory.mktemp("searched")
    start = tfopt.Train(epochs=4, batch_size="full")
    training = {"batch_size": 96, "optimizer": {"sgd": {"learning_rate": 0.05}}}
    stage = tfopt.Search(within={"gzip_bytes": "7 KB"}, trials=2, epochs=(1, 3), promoted=0.5, training=training)
    stages = (start, stage, tfopt.Verify(max_drop=1.0 - 1e-9), tfopt.Benchmark(seconds=0.1))
    made = recipe(samples, *stages, model=quick)
    return made, out, tfopt.run(made, out)


def found(result):
    return result.artifacts["search"].details["search"]


def test_the_front_is_of_real_files_and_none_is_beaten(searched):
    _, _, result = searched
    rows = found(result)["front"]
    folder = result.artifacts["search"].folder
    for row in rows:
        content = (folder / row["file"]).read_bytes()
        assert len(content) == row["raw_bytes"]
        assert len(gzip.compress(content, 9)) == row["gzip_bytes"]
        assert not any(
            other["drop"] <= row["drop"]
            and other["gzip_bytes"] <= row["gzip_bytes"]
            and other["milliseconds"] <= row["milliseconds"]
            for other in rows
            if other is not row
        )
    assert sorted(path.name for path in (folder / "front").iterdir()) == sorted(Path(r["file"]).name for r in rows)


def test_integers_of_candidates_with_four_bits_are_chosen_together(searched, samples, tmp_path):
    stage = tfopt.Search(
        max_drop=0.5, trials=1, epochs=(1,), bits=(4,), channels=False, clusters=(0,), sparsity=False, samples=32
    )
    narrow = found(tfopt.run(recipe(samples, tfopt.Train(epochs=1, batch_size="full"), stage, model=quick), tmp_path))
    rows = [*narrow["front"], *found(searched[2])["front"]]
    asked = [row["stages"][-1]["quantize"] for row in rows]
    assert any(rule["to"] == "int4" for rule in asked[0]["rules"])
    for settings in asked:
        four = any(rule["to"] == "int4" for rule in settings.get("rules", ()))
        assert settings.get("rounding", "nearest") == ("descent" if four else "nearest")


def test_the_chosen_file_goes_on_down_the_recipe(searched):
    _, _, result = searched
    chosen = next(row for row in found(result)["front"] if row["number"] == found(result)["chosen"])
    assert result.path.name == f"{chosen['number']}.tflite"
    assert result.metrics["gzip_bytes"] == chosen["gzip_bytes"] <= 7000
    assert result.metrics["accuracy"] == chosen["test"]["accuracy"]
    assert chosen["score"] == max(r["score"] for r in found(result)["front"] if r["gzip_bytes"] <= 7000)
    assert "latency_median_seconds" in result.metrics


def test_every_point_of_the_front_is_made_again_to_the_byte(searched, tmp_path):
    made, out, result = searched
    plan = Plan(made, out, Progress())
    context = plan.context("search", "key", tmp_path, result.artifacts)
    for row in found(result)["front"]:
        again = run_stages(
            read_stages(row["stages"]),
            result.artifacts["train"],
            context,
            tmp_path / "w",
            tmp_path / f"{row['number']}",
        )
        assert again.path.read_bytes() == (result.artifacts["search"].folder / row["file"]).read_bytes()


def test_the_report_shows_the_front_and_why_this_file(searched):
    _, _, result = searched
    text = (result.folder / "report.md").read_text()
    assert "## search: the front" in text
    assert "Chosen: the best accuracy within gzip_bytes 7,000, of " in text
    assert "over budget thrown away untrained" in text
    assert f"**front/{found(result)['chosen']}.tflite**" in text
    assert "The stages that made the chosen file" in text
    [listing] = re.findall(r"```yaml\n(stages:.*?)```", text, re.DOTALL)
    chosen = next(row for row in found(result)["front"] if row["number"] == found(result)["chosen"])
    assert YAML(typ="safe").load(listing)["stages"] == chosen["stages"]


def test_the_layers_of_the_chosen_file_are_reported_as_those_of_a_quantized_one(searched):
    _, _, result = searched
    artifact = result.artifacts["search"]
    weights = artifact.details.of(WeightsByLayer)
    assert weights.file_bytes == artifact.path.stat().st_size
    assert weights.rows
    assert artifact.details.of(QuantizationErrors).rows
    assert artifact.details.of(ConversionNotes).notes
    text = (result.folder / "report.md").read_text()
    for title in ("weights by layer", "quantization error by layer", "how it was made"):
        assert f"## search: {title}" in text
    assert "accuracy on the validation split" in result.page.read_text()


def test_running_again_reuses_it_and_nothing_is_left_besides(searched):
    made, out, result = searched
    again = tfopt.run(made, out)
    assert again.reused == ("train", "search", "verify", "benchmark")
    assert not list(result.folder.glob("*.partial"))
    assert (result.folder / "search.journal").is_file()
    left = [path.name for path in result.artifacts["search"].folder.iterdir() if not path.name.startswith(".")]
    assert sorted(left) == ["artifact.json", "front"]


@pytest.mark.slow
def test_the_smallest_within_a_drop(samples, tmp_path):
    stage = tfopt.Search(max_drop=0.05, trials=5, epochs=(2,), training=TRAINING, channels=False, bits=(8,))
    result = tfopt.run(recipe(samples, TRAIN, stage), tmp_path)
    rows = found(result)["front"]
    fitting = [row for row in rows if row["drop"] <= 0.05]
    assert result.metrics["gzip_bytes"] == min(row["gzip_bytes"] for row in fitting)
    assert all("prune_channels" not in step for row in rows for step in row["stages"])
    assert all(not step.get("quantize", {}).get("rules") for row in rows for step in row["stages"])


@pytest.mark.slow
def test_with_a_raw_limit_neither_zeros_nor_shared_values_are_tried(samples, tmp_path):
    stage = tfopt.Search(within={"raw_bytes": 9000}, trials=2, epochs=(1,), training=TRAINING, rounding="gptq")
    result = tfopt.run(recipe(samples, TRAIN, stage), tmp_path)
    assert {row["stages"][-1]["quantize"]["rounding"] for row in found(result)["front"]} == {"gptq"}
    kinds = {kind for row in found(result)["front"] for step in row["stages"] for kind in step}
    assert kinds <= {"prune_channels", "quantize"}
    assert result.metrics["raw_bytes"] <= 9000


@pytest.mark.slow
def test_where_nothing_meets_the_limits_the_nearest_file_is_there_and_the_gate_fails(samples, tmp_path):
    limits = {"gzip_bytes": 4200}
    stage = tfopt.Search(within=limits, max_drop=0.0, trials=2, epochs=(1,), training=TRAINING, sparsity=(0.98, 0.98))
    with pytest.raises(GateError, match=r"no file is within gzip_bytes 4,200, max_drop 0: the nearest has accuracy"):
        tfopt.run(recipe(samples, tfopt.Train(epochs=6, batch_size=16), stage), tmp_path)
    assert list((tmp_path / "searched" / "search" / "front").glob("*.tflite"))


def test_a_budget_that_no_candidate_can_meet_is_refused_before_any_training(samples, tmp_path):
    stage = tfopt.Search(within={"gzip_bytes": 500}, trials=2, training=TRAINING)
    with pytest.raises(InputError, match=r"no candidate fits gzip_bytes: the smallest would have about"):
        tfopt.run(recipe(samples, TRAIN, stage), tmp_path)
    assert not (tmp_path / "searched").exists()


def test_a_storage_that_cannot_be_opened_is_found_before_anything_is_computed(samples, tmp_path):
    made = recipe(samples, TRAIN, tfopt.Search(max_drop=0.1), runtime={"storage": f"{tmp_path}/nosuch/a.journal"})
    with pytest.raises(InputError, match=r"the folder .*nosuch of the journal does not exist"):
        tfopt.run(made, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "nosuch").exists()


@pytest.mark.slow
def test_a_file_that_is_on_another_machine_is_made_again(samples, tmp_path):
    stage = tfopt.Search(max_drop=0.5, trials=2, epochs=(1,), training=TRAINING, channels=False, clusters=(0,))
    made = recipe(samples, TRAIN, stage, runtime={"storage": str(tmp_path / "shared.journal")})
    first = tfopt.run(made, tmp_path / "here")
    second = tfopt.run(made, tmp_path / "there")  # finds every trial done in the storage
    files = [found(run)["front"] for run in (first, second)]
    assert [row["number"] for row in files[0]] == [row["number"] for row in files[1]]
    assert first.path.read_bytes() == second.path.read_bytes()


@pytest.mark.slow
def test_distillation_is_from_the_model_that_the_search_starts_from(samples, tmp_path):
    training = {**TRAINING, "distill": {"temperature": 2}}
    stage = tfopt.Search(max_drop=0.5, trials=1, epochs=(2,), training=training, clusters=(8,), channels=(0.7, 0.7))
    result = tfopt.run(recipe(samples, TRAIN, stage), tmp_path)
    [row] = found(result)["front"]
    teachers = [s["distill"]["teacher"] for step in row["stages"] for s in step.values() if "distill" in s]
    assert teachers == ["train"] * 3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "search: needs within, such as"),
        ({"within": {}}, "within takes raw_bytes, gzip_bytes or milliseconds"),
        ({"within": {"gzip_bytes": "20 apples"}}, "is a number of bytes above 0, or a size such as 64 KB"),
        ({"within": {"gzip_bytes": -3}}, "is a number of bytes above 0, or a size such as 64 KB"),
        ({"within": {"milliseconds": "2 ms"}}, "is a number of milliseconds above 0, such as 2, without a unit"),
        ({"max_drop": 0.1, "channels": [0.9, 0.2]}, "channels is a least and then a largest share"),
        ({"within": {"gzip_byte": 3}}, "has no field 'gzip_byte'. Did you mean 'gzip_bytes'"),
        ({"max_drop": 0.1, "epochs": [4, 2]}, "epochs rise"),
        ({"max_drop": 0.1, "sparsity": [0.5, 1.0]}, "the largest sparsity is below 1"),
        ({"max_drop": 0.1, "channels": [0.0, 1.0]}, "the least share of channels is above 0"),
        ({"max_drop": 0.1, "clusters": [1]}, "clusters are 0, for any number, or at least 2"),
        ({"max_drop": 0.1, "bits": [3]}, "bits are 8 and 4. Received: [3]"),
        ({"max_drop": 0.1, "training": {"epochs": 3}}, "training has no field 'epochs'"),
        ({"max_drop": 0.1, "training": {"l2": -1}}, "train.l2"),
        ({"max_drop": 0.1, "trials": 0}, "search.trials"),
        (
            {"within": {"npu_milliseconds": 0.2}},
            "within.npu_milliseconds is measured on target ethos-u55-32, ethos-u55-64, ethos-u55-128 and 8 more, "
            "not on litert. Write that target, or leave it out",
        ),
        ({"within": {"arena_bytes": "4 KB"}, "target": "ethos-u55-128"}, "not on ethos-u55-128"),
        ({"within": {"npu_cycles": 0}, "target": "ethos-u55-128"}, "search.within.npu_cycles is above 0"),
        ({"within": {"npu_milliseconds": "1 ms"}, "target": "ethos-u55-128"}, "is a number of milliseconds above 0"),
        ({"max_drop": 0.1, "size": "compiled"}, "size compiled is not one of target litert"),
        ({"max_drop": 0.1, "target": {"ethos-u55-128": {"memory": "Big"}}}, "memory of target ethos-u55-128 is"),
        ({"max_drop": 0.1, "target": "ethos-u55-12"}, "search.target is 'ethos-u55-128', or another"),
        ({"max_drop": 0.1, "target": "ethos-u55-128", "bits": [4]}, "takes no kernels of 4 bits"),
        ({"within": {"milliseconds": 1}, "target": "ethos-u55-128"}, "Write npu_milliseconds, the time there"),
    ],
)
def test_wrong_settings_are_one_line(settings, message):
    with pytest.raises(RecipeError) as caught:
        tfopt.Search(**settings)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "size", "time", "limits"),
    [
        ({"within": {"npu_milliseconds": 0.2}}, "compiled_bytes", "npu_milliseconds", {"npu_milliseconds": 0.2}),
        ({"within": {"gzip_bytes": "9 KB"}}, "gzip_bytes", "npu_milliseconds", {"gzip_bytes": 9000}),
        ({"max_drop": 0.01}, "compiled_bytes", "npu_milliseconds", {"max_drop": 0.01}),
        ({"max_drop": 0.01, "size": "raw"}, "raw_bytes", "npu_milliseconds", {"max_drop": 0.01}),
        ({"max_drop": 0.01, "target": "litert"}, "gzip_bytes", "milliseconds", {"max_drop": 0.01}),
    ],
)
def test_on_a_target_its_own_size_and_time_count(settings, size, time, limits):
    objective = tfopt.Search(**{"target": {"ethos-u55-128": {"memory": "Shared_Sram"}}, **settings}).objective()
    assert (objective.size_name, objective.time, objective.limits) == (size, time, limits)


@pytest.mark.slow
def test_on_an_ethos_u_velas_estimates_are_the_limits(samples, tmp_path):
    pytest.importorskip("ethosu.vela", reason="ethos-u-vela is not installed (tfopt[ethos-u])")
    stage = tfopt.Search(
        target="ethos-u55-128",
        within={"npu_milliseconds": 0.016, "sram_bytes": "32 KB"},
        trials=2,
        epochs=(1,),
        training={"batch_size": 96},
    )
    result = tfopt.run(recipe(samples, tfopt.Train(epochs=2, batch_size="full"), stage, model=quick), tmp_path)
    record = found(result)
    assert record["dropped"] >= 0
    export = Export(mode="int8", target="ethos-u55-128")
    for row in record["front"]:
        content = (result.artifacts["search"].folder / row["file"]).read_bytes()
        assert row["device"] == TARGETS["ethos-u55-128"].cost(content, export).figures
        assert row["stages"][-1]["quantize"]["target"] == "ethos-u55-128"
    assert result.metrics["npu_milliseconds"] <= 0.016
    [own] = result.artifacts["search"].details["device_files"]["files"]
    assert (result.artifacts["search"].folder / own["file"]).stat().st_size == result.metrics["compiled_bytes"]
    assert {layer["layer"] for layer in own["layers"]} >= {"conv", "hidden"}
    text = (result.folder / "report.md").read_text()
    assert "(target ethos-u55-128): Vela's estimate." in text
    assert "| NPU time |" in text
    with pytest.raises(InputError, match="no candidate fits npu_milliseconds: the smallest would have about"):
        tfopt.run(recipe(samples, stage.model_copy(update={"within": TOO_FAST}), model=quick), tmp_path / "none")


@pytest.mark.slow
def test_on_a_microcontroller_that_decodes_flash_is_that_of_the_decoded_file(samples, tmp_path):
    pytest.importorskip("tflite_micro", reason="tflite-micro is not installed (tfopt[tflm])")
    stage = tfopt.Search(
        target="tflm",
        decode=True,
        within={"flash_bytes": "6 KB", "arena_bytes": "24 KB"},
        bits=(8,),
        trials=2,
        epochs=(1,),
        training={"batch_size": 96},
    )
    assert stage.objective().size_name == "flash_bytes"
    result = tfopt.run(recipe(samples, tfopt.Train(epochs=2, batch_size="full"), stage, model=quick), tmp_path)
    [own] = result.artifacts["search"].details["device_files"]["files"]
    assert (result.artifacts["search"].folder / own["file"]).stat().st_size == result.metrics["flash_bytes"] <= 6000
    assert result.metrics["flash_bytes"] < result.path.stat().st_size


def test_the_file_for_a_device_is_exported_and_linked(samples, tmp_path, monkeypatch):
    def cost(content, export):
        return DeviceCost({"board_bytes": len(content) / 2}, content=content + b"for the board")

    board = Target("board", "a board on a desk", lambda mode: mode.static, cost=cost, suffix="board")
    monkeypatch.setattr(TARGETS, "_found", {**TARGETS, "board": board})
    start = tfopt.Train(epochs=1, batch_size="full")
    stage = tfopt.Search(target="board", max_drop=0.999, trials=1, epochs=(1,), training={"batch_size": 96})
    result = tfopt.run(recipe(samples, start, stage, ExportKit(), model=quick), tmp_path)
    artifact, file = result.artifacts["search"], result.artifacts["search"].device_files["board"]
    assert file.read_bytes() == artifact.path.read_bytes() + b"for the board"
    kits = [path.read_bytes() for path in (result.folder / "export/search").glob("*.board.tflite")]
    assert kits == [file.read_bytes()]
    [link] = re.findall(r'href="([^"]*\.board\.tflite)"', (result.folder / "report.html").read_text())
    assert (result.folder / link).samefile(file)


@pytest.mark.parametrize(
    ("written", "count"), [(20_000, 20_000), ("20 KB", 20_000), ("20KiB", 20_480), ("1.5 MB", 1_500_000)]
)
def test_sizes_have_units(written, count):
    assert tfopt.Search(within={"raw_bytes": written}).within.raw_bytes == count


def test_whatever_a_target_says_of_a_file_can_be_limited():
    said = {name for target in TARGETS.values() if target.cost is not None for name in target.figures}
    assert {SearchBudget(**{name: 5}).on_device()[name] for name in said} == {5}
    schema = SearchBudget.model_json_schema()
    assert schema["properties"].keys() == said | set(OF_ANY_FILE)
    assert schema["additionalProperties"] is False


def test_a_figure_of_a_new_target_is_limited_wanted_small_shown_and_forecast(monkeypatch):
    figures = by_name(
        Figure("rom_bytes", "ROM", "bytes", "size", "The ROM that it takes."),
        Figure("ram_bytes", "RAM of the board", "bytes", "activations"),
        Figure("board_microseconds", "time on the board", "microseconds", "time"),
    )
    board = replace(TARGETS["tflm"], name="board", figures=figures, size="rom_bytes", time="board_microseconds")
    monkeypatch.setattr(TARGETS, "_found", {**dict(TARGETS.items()), "board": board})
    within = {"rom_bytes": "8 KB", "ram_bytes": "4 KiB", "board_microseconds": 2.5}
    stage = tfopt.Search(target="board", size="rom", within=within)
    objective = stage.objective()
    assert objective.limits == {"rom_bytes": 8000, "ram_bytes": 4096, "board_microseconds": 2.5}
    assert (objective.size_name, objective.time) == ("rom_bytes", "board_microseconds")
    assert tfopt.Search(**stage.model_dump(exclude={"kind"})) == stage
    half = objective.over(
        Cost(1, 1, 1.0, device={"rom_bytes": 8000, "ram_bytes": 8192, "board_microseconds": 5.0}), 2.0
    )
    assert half == {"rom_bytes": 0, "ram_bytes": 0, "board_microseconds": 1}  # RAM alone is guessed before it is there
    assert "rom" in tfopt.Search.model_json_schema()["properties"]["size"]["anyOf"][0]["enum"]
    assert words({"ram_bytes": 4096.0, "rom_bytes": 8000.0}) == "ROM 8,000 B, RAM of the board 4,096 B"
    whole = {"rom_bytes": 900.0, "ram_bytes": 800.0, "board_microseconds": 6.0}
    forecast = DeviceForecast(figures, None, whole)
    assert forecast(100, 200, 200, 0.5, 0.25) == {"rom_bytes": 800.0, "ram_bytes": 200.0, "board_microseconds": 3.0}
    with pytest.raises(RecipeError, match=r"has no field 'ram_byte'\. Did you mean 'ram_bytes'"):
        tfopt.Search(target="board", within={"ram_byte": 1})
    with pytest.raises(RecipeError, match=r"search\.within\.board_microseconds is a number of microseconds above 0"):
        tfopt.Search(target="board", within={"board_microseconds": "1 us"})


def test_it_goes_through_yaml(tmp_path):
    stage = tfopt.Search(within={"gzip_bytes": "20 KB", "milliseconds": 2}, trials=5, clusters=(0, 16))
    text = Recipe(name="a", model="m.py:f", data="digits", stages=[tfopt.Train(epochs=1), stage]).to_yaml()
    file = tmp_path / "a.yaml"
    file.write_text(text)
    assert Recipe.load(file).stages[1] == stage


def test_workers_that_train_as_one_are_not_for_a_search():
    with pytest.raises(InputError, match=r"tfopt search --workers 2"):
        tfopt.Search(max_drop=0.1).check_settings(Outlook(tfopt.Runtime(strategy="multi_worker")))


def test_a_teacher_that_no_stage_makes_is_found_in_the_recipe(samples):
    stage = tfopt.Search(max_drop=0.1, training={"distill": {"teacher": "nosuch"}})
    with pytest.raises(RecipeError, match=r"no earlier stage is called 'nosuch'"):
        recipe(samples, TRAIN, stage).chain()


@pytest.mark.parametrize("change", ["precision", "version of a stage inside"])
def test_what_its_candidates_depend_on_is_in_its_key(samples, tmp_path, monkeypatch, change):
    def key():
        runtime = {"precision": "mixed_float16"} if changed and change == "precision" else {}
        return Plan(recipe(samples, TRAIN, tfopt.Search(max_drop=0.1), runtime=runtime), tmp_path, Progress()).keys()

    changed = False
    before, again = key(), key()
    changed = True
    if change != "precision":
        monkeypatch.setattr(tfopt.Prune, "version", 99)
    assert before == again
    assert key()["search"] != before["search"]


def test_where_processes_meet_is_not_written_down_with_the_results(samples, tmp_path):
    made = recipe(samples, TRAIN, runtime={"storage": "postgresql://ann:secret@host/x"})
    assert "secret" not in Plan(made, tmp_path, Progress()).resolved().to_yaml()


@pytest.mark.parametrize(
    ("epochs", "weights", "lengths"),
    [(1, [1, 3, 1], [1, 1, 1]), (5, [1, 3, 1], [1, 3, 1]), (10, [1, 3], [3, 7]), (2, [3], [2]), (4, [], [])],
)
def test_epochs_are_spread_over_the_stages(epochs, weights, lengths):
    from tfopt.stages.search_candidates import _spread

    assert _spread(epochs, weights) == lengths


def told(caught, of):
    return [str(one.message) for one in caught if one.category is tfopt.TfoptWarning and of in str(one.message)]


def test_what_is_to_be_known_of_the_files_of_the_front_is_a_warning_once(samples, tmp_path):
    """The test split is scaled in another way than the samples that calibrate."""
    x, y = samples
    one, apart = tfopt.Split(x[:64], y[:64]), tfopt.Split(200 * x[64:128], y[64:128])
    nothing = {"channels": False, "sparsity": False, "clusters": (0,), "bits": (8,)}
    stage = tfopt.Search(within={"raw_bytes": "20 KB"}, trials=1, epochs=(1,), **nothing)
    data = tfopt.Data(one, one, apart)
    made = Recipe(name="apart", model=quick, data=lambda: data, stages=[stage])
    with pytest.warns(tfopt.TfoptWarning, match="the test split") as caught:
        result = tfopt.run(made, tmp_path)
    [sentence] = result.artifacts["search"].warnings
    assert told(caught, sentence) == [f"search: {sentence}"]
    assert sentence in (result.folder / "report.md").read_text()


class Loud(tfopt.Train):
    """Warns of what its file is, in the way of a conversion and in that of a training."""

    kind = "loud"
    words: tuple[str, ...] = ()

    def run(self, inputs, context):
        context.told.append(f"{self.epochs} epochs.")
        details = [ConversionWarnings(self.words)] if self.words else []
        (context.folder / "model.keras").write_bytes(b"")
        return context.artifact(self, inputs, "model.keras", details=details)


def test_the_warnings_of_stages_within_a_stage_lie_beside_their_file(searched, tmp_path):
    made, out, result = searched
    context = Plan(made, out, Progress()).context("search", "key", tmp_path, result.artifacts)

    def of(*stages):
        run_stages(stages, result.artifacts["train"], context, tmp_path / "w", tmp_path / "7.keras")
        return list(told_of(tmp_path / "7.keras").warnings)

    assert of(Loud(epochs=1, words=("one.", "two.")), Loud(epochs=2, words=("two.",))) == [
        "one.",
        "two.",
        "1 epochs.",
        "2 epochs.",
    ]
    assert context.told == []
    assert of(tfopt.Train(epochs=1, batch_size="full")) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["7.keras", "7.told.json"]


def test_a_file_made_within_a_stage_is_known_and_no_other_in_its_place(searched, tmp_path):
    made, out, result = searched
    context = Plan(made, out, Progress()).context("search", "key", tmp_path, result.artifacts)
    file = tmp_path / "7.keras"
    run_stages([tfopt.Train(epochs=1)], result.artifacts["train"], context, tmp_path / "w", file)
    assert is_made(file)
    content, told = file.read_bytes(), (tmp_path / "7.told.json").read_bytes()
    for damaged in (b"", content[:-1], content[:-1] + bytes([content[-1] ^ 1])):
        file.write_bytes(damaged)
        assert not is_made(file)
    file.write_bytes(content)
    (tmp_path / "7.told.json").write_bytes(told[:-9])
    assert not is_made(file)
    assert told_of(file) == Told()
    (tmp_path / "8.keras").write_bytes(content)  # of another number
    (tmp_path / "8.told.json").write_bytes(told)
    assert not is_made(tmp_path / "8.keras")
