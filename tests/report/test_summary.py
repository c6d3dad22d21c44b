"""What a person reads."""

import io
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from tfopt.errors import InputError
from tfopt.recipe.artifact import BASELINE, Artifact, Skipped
from tfopt.recipe.details.verification import AccuracyGate, GatedFile
from tfopt.recipe.workspace import Workspace
from tfopt.report import console as screen
from tfopt.report import summary
from tfopt.report.sections.comparisons import comparisons

MEASURED = {
    "raw_bytes": 12345.0,
    "gzip_bytes": 2345.0,
    "parameters": 9000.0,
    "nonzero_parameters": 1800.0,
    "latency_median_seconds": 0.00125,
    "latency_p90_seconds": 0.0000425,
}
COMPARED = {"accuracy": 0.91, "agreement": 0.985, "max_error": 0.125, "mean_error": 0.01, "snr_db": 31.4, "drop": 0.02}


def artifact(name, kind, format="keras", **rest):
    return Artifact(name, kind, Path("run") / name, f"model.{format}", format, "k", **rest)


@pytest.fixture
def artifacts():
    found = [
        artifact("source", "source"),
        artifact("train", "train", metrics={"accuracy": 0.93}, scores=("accuracy",)),
        artifact(
            "prune",
            "prune",
            metrics={"accuracy": 0.92, "sparsity": 0.8},
            scores=("accuracy",),
            skipped=(Skipped("last/bias", "not a kernel"),),
        ),
        artifact("int8", "quantize", "tflite", metrics={"raw_bytes": 1.0}),
        artifact(
            "verify",
            "verify",
            "tflite",
            metrics=COMPARED,
            scores=("accuracy",),
            files={"int8": COMPARED},
            failed="int8 is 0.02 worse.",
        ),
        artifact("benchmark", "benchmark", "tflite", metrics=MEASURED, files={"int8": MEASURED}),
    ]
    return {a.name: a for a in found}


def test_each_stage_that_made_a_model_has_a_row(artifacts):
    assert [row.stage for row in summary.rows(artifacts)] == ["train", "prune", "int8"]


def test_a_row_holds_what_later_stages_measured(artifacts):
    row = summary.rows(artifacts)[-1]
    assert row.metrics["accuracy"] == 0.91
    assert row.metrics["raw_bytes"] == 12345.0
    assert (row.kind, row.format) == ("quantize", "tflite")


def test_rows_leave_the_artifacts_as_they_were(artifacts):
    summary.rows(artifacts)
    assert artifacts["int8"].metrics == {"raw_bytes": 1.0}


def test_the_metrics_of_the_task_are_those_that_stages_named(artifacts):
    assert summary.score_names(artifacts) == ["accuracy"]
    assert summary.score_names({"a": replace(artifacts["train"], scores=("mae", "mse"))}) == ["mae", "mse"]
    assert summary.score_names({}) == ["accuracy"]


def test_the_metric_that_a_gate_looks_at_comes_first(artifacts):
    gate = AccuracyGate("f1", 0.1, {"int8": GatedFile("train", 0.9, 0.9, 0.0)})
    scored = replace(artifacts["train"], scores=("accuracy", "f1"))
    assert summary.score_names({"a": scored, "b": replace(artifacts["verify"], details=[gate])}) == ["f1", "accuracy"]


def test_each_metric_has_a_column(artifacts):
    assert summary.cells(summary.rows(artifacts)[-1], ["accuracy", "f1"])[:3] == ("int8", "0.9100", "-")
    assert summary.headers(["accuracy", "f1"])[1:3] == ("accuracy", "f1")


def test_cells_are_in_the_order_of_the_headers(artifacts):
    cells = summary.cells(summary.rows(artifacts)[-1], ["accuracy"])
    assert cells == ("int8", "0.9100", "-", "12,345 B", "2,345 B", "1,800", "1.25 ms / 42.5 µs")
    assert len(cells) == len(summary.headers(["accuracy"]))


def test_a_figure_that_was_not_taken_is_a_dash(artifacts):
    assert summary.cells(summary.rows(artifacts)[0], ["mae"]) == ("train", *"------")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(2.0, "2 s"), (0.25, "250 ms"), (0.0015, "1.5 ms"), (0.00025, "250 µs"), (2.5e-7, "0.25 µs"), (0, "0 µs")],
)
def test_durations_have_the_unit_that_reads_best(seconds, text):
    assert summary.duration(seconds) == text


@pytest.mark.parametrize("seconds", [0.9996, 0.0009996, 1000.0, 12345.0])
def test_durations_are_never_in_powers_of_ten(seconds):
    assert "e+" not in summary.duration(seconds)


def test_the_report_for_machines_is_json_with_rows_artifacts_and_versions(artifacts, tmp_path):
    summary.write(artifacts, tmp_path)
    record = json.loads((tmp_path / "report.json").read_text())
    assert set(record) == {"rows", "passed", "artifacts", "baseline"}
    assert [row["stage"] for row in record["rows"]] == ["train", "prune", "int8"]
    assert record["artifacts"][2]["skipped"] == [{"where": "last/bias", "reason": "not a kernel"}]
    assert all(isinstance(artifact["environment"], dict) for artifact in record["artifacts"])


def test_a_report_names_the_versions_that_made_its_files_and_not_those_that_are_installed_now(artifacts):
    older = {name: replace(artifact, environment={"keras": "3.9.9"}) for name, artifact in artifacts.items()}
    assert "keras 3.9.9" in summary.as_markdown("r", older)


def test_the_reports_hold_no_absolute_path(artifacts, tmp_path):
    moved = {name: replace(artifact, folder=tmp_path / name) for name, artifact in artifacts.items()}
    summary.write(moved, tmp_path)
    assert str(tmp_path) not in (tmp_path / "report.json").read_text() + (tmp_path / "report.md").read_text()


@pytest.mark.parametrize(("failed", "passed"), [("too bad", False), (None, True)])
def test_a_run_passed_if_no_gate_failed(failed, passed):
    assert summary.as_record({"a": artifact("a", "verify", failed=failed)})["passed"] is passed


def test_the_report_for_reading_has_the_table_the_gates_and_what_was_left_alone(artifacts, tmp_path):
    folder = tmp_path / "digits"
    folder.mkdir()
    summary.write(artifacts, folder)
    text = (folder / "report.md").read_text()
    assert text.startswith("# digits\n")
    assert "| stage | accuracy | sparsity |" in text
    assert "| int8 | 0.9100 |" in text
    assert "int8 is 0.02 worse." in text
    assert "`last/bias`: not a kernel" in text
    assert "98.5%" in text
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in table} == {len(summary.headers(["accuracy"])) + 1}


def test_a_gate_of_ones_own_shows_its_failure_too():
    gate = artifact("gate", "mine", files={"a": {"accuracy": 0.1}}, failed="not good enough")
    assert "not good enough" in summary.as_markdown("run", {"gate": gate})


def test_a_comparison_without_classes_says_nothing_of_them():
    measured = {"mae": 1.0, "max_error": 0.1, "snr_db": 20.0, "drop": -0.01}
    [sentence] = comparisons(artifact("verify", "verify", files={"a": measured}), {})
    assert sentence.startswith("a against its Keras model: largest difference 0.1")
    assert "class" not in sentence


def test_a_folder_without_results_is_one_line(tmp_path):
    with pytest.raises(InputError) as caught:
        summary.collect(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_collect_finds_what_was_committed(tmp_path):
    workspace = Workspace(tmp_path)
    folder = workspace.begin("train", "k")
    (folder / "model.keras").write_text("model")
    committed = workspace.commit(Artifact("train", "train", folder, "model.keras", "keras", "k"))
    workspace.begin("prune", "k")
    assert summary.collect(tmp_path) == {"train": committed}


def printed(show, plain=False, **options):
    stream = io.StringIO()
    show(Console(file=stream, width=120, **options))
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue()) if plain else stream.getvalue()


def test_the_table_on_the_screen_has_the_same_rows(artifacts):
    text = printed(lambda console: console.print(screen.table(artifacts)))
    for word in ("stage", "accuracy", "gzip -9", "train", "prune", "int8", "12,345 B", "0.9100", "0.8000"):
        assert word in text


def test_a_summary_is_a_few_words(artifacts):
    assert screen.summary(artifacts["prune"]) == "accuracy 0.9200, sparsity 0.8000, left as they were: last/bias"
    assert screen.summary(artifacts["benchmark"]) == "12,345 B, 1.25 ms"
    assert screen.summary(artifacts["source"]) == ""


def drive(progress, artifacts):
    progress.reused("train", "train", 1, 3)
    progress.stage("prune", "prune", 2, 3)
    progress.batch(0, 2, 0.5)
    progress.epoch(1, 2, {"loss": 0.25, "accuracy": 0.5})
    progress.epoch(2, 2, {"loss": 0.125})
    progress.done(artifacts["prune"])
    progress.close()


def test_progress_in_a_pipe_is_plain_lines(artifacts):
    text = printed(lambda console: drive(screen.progress(console), artifacts))
    lines = text.splitlines()
    assert "\x1b" not in text
    assert lines[0] == "[1/3] train: reused"
    assert lines[1] == "[2/3] prune: runs"
    assert lines[2] == "  epoch 1/2  loss 0.25  accuracy 0.5"
    assert lines[3].endswith("0 s left")
    assert "accuracy 0.9200" in lines[4]
    assert len(lines) == 5


def test_progress_of_a_training_that_goes_on_counts_its_own_epochs_only(monkeypatch):
    now = iter([10.0, 20.0])
    monkeypatch.setattr(screen.time, "monotonic", lambda: next(now))

    def show(console):
        progress = screen.PlainProgress(console)
        progress.stage("train", "train", 1, 1)
        progress.epoch(8, 10, {})
        progress.epoch(9, 10, {})

    first, second = printed(show).splitlines()[1:]
    assert first == "  epoch 8/10"
    assert second == "  epoch 9/10  10 s left"


@pytest.mark.parametrize("name", ["[bold]", "a[0]", "[/]"])
def test_names_are_not_taken_for_markup(artifacts, name):
    text = printed(lambda console: screen.PlainProgress(console).stage(name, "train", 1, 1))
    assert name in text


def test_progress_on_a_terminal_ends_with_a_line_for_each_stage(artifacts):
    text = printed(lambda console: drive(screen.progress(console), artifacts), True, force_terminal=True)
    assert isinstance(screen.progress(Console(force_terminal=True)), screen.RichProgress)
    assert "train" in text
    assert "reused" in text
    assert "accuracy 0.9200" in text


def test_progress_on_a_terminal_can_be_closed_in_the_middle_of_a_stage():
    def show(console):
        progress = screen.RichProgress(console)
        progress.stage("prune", "prune", 1, 1)
        progress.close()
        progress.close()
        console.print("the end", highlight=False)

    assert "the end" in printed(show, force_terminal=True)


def test_a_bar_tells_no_time_left_until_the_first_epoch_is_done():
    progress = screen.RichProgress(Console(file=io.StringIO(), force_terminal=True))
    progress.stage("train", "train", 1, 1)
    [task], column = progress._bars.tasks, screen.TimeLeft()
    progress.batch(0, 4, 0.5)
    assert str(column.render(task)) == ""
    progress.epoch(1, 4, {})
    assert task.time_remaining is None  # of what came before nothing counts
    progress.batch(1, 4, 0.5)
    assert str(column.render(task)) != ""
    progress.close()


def test_the_time_left_does_not_count_what_comes_before_the_second_epoch(monkeypatch):
    """After going on: 100 s until the first epoch is done, and 2 s for each after it."""
    now = iter([100.0, 102.0, 104.0])
    monkeypatch.setattr(screen.time, "monotonic", lambda: next(now))

    def show(console):
        progress = screen.PlainProgress(console)
        progress.stage("train", "train", 1, 1)
        for epoch in (18, 19, 20):
            progress.epoch(epoch, 60, {})

    assert [line.split()[-3] for line in printed(show).splitlines()[2:]] == ["82", "80"]


def test_a_latency_that_differs_by_less_than_it_varies_is_not_told_apart(artifacts):
    def row(median, p90):
        metrics = {"latency_median_seconds": median, "latency_p90_seconds": p90}
        return replace(artifacts["int8"], metrics=metrics)

    before = replace(row(1.33e-6, 1.39e-6), name=BASELINE, kind=BASELINE, parents=("start",), format="tflite")
    before = replace(before, files={"start": before.metrics})
    found = {"start": replace(artifacts["int8"], name="start", metrics={}), "int8": row(1.30e-6, 1.31e-6)}
    rows = {row.stage: row for row in summary.rows({**found, BASELINE: before})}
    assert summary.remarks(rows["int8"], ("accuracy",))[-1] == "not told apart, varies by 0.06 µs"
    rows = {row.stage: row for row in summary.rows({**found, "int8": row(1.0e-6, 1.01e-6), BASELINE: before})}
    assert summary.remarks(rows["int8"], ("accuracy",))[-1] == "1.3x"
    slow = {**found, "int8": row(2.0e-6, 2.01e-6), BASELINE: before}
    rows = {row.stage: row for row in summary.rows(slow)}
    assert summary.remarks(rows["int8"], ("accuracy",))[-1] == "1.5x slower"
    assert "int8 is 1.5x slower here than the model you started from" in screen.slower(slow)
    assert screen.slower({**found, BASELINE: before}) is None


def test_files_whose_accuracy_is_not_measured_are_named_with_the_way_out(artifacts):
    assert screen.unmeasured(artifacts) is None
    bare = {name: artifacts[name] for name in ("source", "train", "int8")}
    assert screen.unmeasured(bare) == "note  accuracy of int8 is not measured: add verify to the recipe"
