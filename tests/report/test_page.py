"""The page of a run: what stands on top, what it holds at most, and what it costs to write."""

import re
import subprocess
import sys
from dataclasses import replace

import pytest
from markdown_it import MarkdownIt  # with Rich

from tests.report import made_up
from tests.report.html_page import check, parse
from tests.report.made_up import artifact, large, run
from tfopt.recipe.artifact import Skipped
from tfopt.recipe.details.verification import AccuracyGate
from tfopt.report import summary
from tfopt.report.baseline import Baseline
from tfopt.report.blocks import (
    Bullets,
    Callout,
    Code,
    Fact,
    Facts,
    Figure,
    Folded,
    Gallery,
    Grid,
    Group,
    Heading,
    InMarkdown,
    Link,
    Listing,
    OnPage,
    Paragraph,
    Strong,
    Table,
    Thumbnail,
    View,
)
from tfopt.report.charts import Line, Lines, Matrix
from tfopt.report.markdown import lines
from tfopt.report.page import Page, Part

START = Baseline("train", {"accuracy": 0.93}, 49_380.0, 23_450.0, 0.0025)


@pytest.fixture
def page(monkeypatch):
    """The root of the page of a run that starts from a model of which all is known."""

    def page(artifacts, name="digits", baseline=START):
        monkeypatch.setattr("tfopt.report.outcome.baseline_of", lambda artifacts: baseline)
        return check(summary.as_page(name, artifacts).html())

    return page


def test_the_sentence_stands_on_top(page):
    root = page(run())
    assert root.find("h1")[0].text == "digits"
    assert root.find("p", class_="lead")[0].text == (
        "Within the allowed 5 points of accuracy: 4.0x smaller, 10.0x after gzip, 2.0x faster, "
        "2.00 points less accurate than the model "
        "you started from; same class as the Keras model of prune on 98.5% of the test samples."
    )


def test_the_chosen_file_has_its_path_its_bytes_and_what_they_were(page):
    [facts] = page(run()).find("dl", class_="facts")
    assert "bytes 12,345 was 49,380" in facts.text
    assert "accuracy 0.9100 was 0.9300" in facts.text
    assert "median latency 1.25 ms was 2.5 ms" in facts.text
    [link] = facts.find("a")
    assert (link.attributes["href"], link.text) == ("int8/model.tflite", "int8/model.tflite")


def test_the_picture_has_every_model_as_a_step_to_the_file(page):
    chart = page(run()).find("svg", class_="chart")[0]
    names = [name.text for name in chart.find("text", class_="name halo")]
    assert sorted(names) == ["float32", "int8", "prune"]  # the start is where its float32 file is
    marks = [mark.text for mark in chart.find("circle") + chart.find("path")]
    assert "prune: accuracy 0.9150, 49,380 B in float32, by its parameters" in marks
    assert "int8: accuracy 0.9100, 12,345 B" in marks
    assert len(chart.find("polyline", class_="line step")) == 2  # start to prune, prune to int8
    assert "least allowed 0.8800" in chart.text
    assert "bytes of the file (log scale)" in chart.text


def test_what_a_gate_of_another_metric_allows_does_not_widen_the_axis(page):
    artifacts = run(max_drop=0.4)
    wide = lowest_tick(page(artifacts))
    gate = artifacts["verify"].details.of(AccuracyGate)
    artifacts["verify"] = replace(artifacts["verify"], details=[replace(gate, metric="f1")])
    assert wide < 0.6 < 0.85 < lowest_tick(page(artifacts))


def lowest_tick(root):
    texts = [one.text for one in root.find("svg", class_="chart")[0].find("text")]
    return min(float(text) for text in texts if re.fullmatch(r"[01]\.\d+", text))


def test_a_model_that_lost_channels_stands_at_its_own_size(page):
    layers = [{"path": "a", "kind": "Conv2D", "channels": [8, 4], "parameters": [1000, 250], "flops": [8, 4]}]
    cut = artifact("cut", "prune_channels", parents=("train",), metrics={"accuracy": 0.92}, details={"layers": layers})
    text = page(run() | {"cut": cut}).text
    assert "cut: accuracy 0.9200, 12,345 B in float32, by its parameters" in text


def test_a_budget_after_gzip_is_shown_on_the_axis_of_bytes_after_gzip(page):
    front = [
        {"number": number, "file": f"front/{number}.tflite", "epochs": 2, "score": 0.95, "drop": 0.0, "meets": True}
        | {
            "raw_bytes": 9000 + number,
            "gzip_bytes": size,
            "milliseconds": 0.02,
            "test": {"accuracy": 0.94},
            "stages": [],
        }
        for number, size in ((1, 2000), (2, 2345))
    ]
    found = {"metric": "accuracy", "before": 0.96, "limits": {"gzip_bytes": 3000}, "chosen": 2, "front": front}
    found |= {"wish": {"goal": "accurate", "size": "gzip", "gzip_bytes": 3000}, "tried": []}
    artifacts = run()
    details = {"search": found | {"failed": [], "lost": 0, "dropped": 0}}
    artifacts["int8"] = replace(artifacts["int8"], kind="search", details=details)
    chart = page(artifacts).find("svg", class_="chart")[0]
    assert "bytes of the file after gzip -9" in chart.text
    assert "budget 3,000 B" in chart.text
    assert "front/1.tflite: accuracy 0.9400, 2,000 B" in chart.text
    assert "int8: accuracy 0.9100, 2,345 B" in chart.text


def test_a_run_of_which_the_start_is_not_known_has_its_figures_and_no_sentence_about_it(page):
    root = page(run(), baseline=None)
    assert root.find("p", class_="lead")[0].text == (
        "Within the allowed 5 points of accuracy: same class as the Keras model of prune on 98.5% of the test samples."
    )
    assert "was" not in root.find("dl", class_="facts")[0].text


def test_a_run_without_files_has_a_page(page):
    only = {name: one for name, one in run().items() if one.format == "keras"}
    assert "prune" in page(only).text
    assert page({"source": artifact("source", "source")}).find("section", id="models")


def test_a_gate_that_failed_is_said_first_in_red_and_in_words_with_what_to_try_next(page):
    root = page(run("int8 has accuracy 0.9100, 0.0200 worse.", max_drop=0.01))
    [header] = root.find("header")
    [callout] = header.find("div", class_="callout failure")  # above the contents and the figures
    assert header.text.index(callout.text) < header.text.index("the file")
    assert callout.text.startswith("Failed verify: int8 has accuracy 0.9100, 0.0200 worse.")
    assert "Where int8 lost it: prune -1.50 points, int8 -0.50 points. Most of it goes with prune." in callout.text
    assert "Try a lower sparsity than 0.8 in prune" in callout.text
    assert root.find("p", class_="lead")[0].text.startswith("Failed: 4.0x smaller")
    assert root.find("title")[0].text.startswith("Failed: digits")
    [gate] = root.find("section", id="gates")
    assert "int8 failed accuracy train 0.9300 0.9100 -2.00 points -1.00 points" in gate.text
    assert root.find("dl", class_="facts")[0].find("a")  # the file is there all the same


def test_the_stage_that_loses_most_decides_what_to_try_next(page):
    artifacts = run("worse.", max_drop=0.01)
    artifacts["prune"] = replace(artifacts["prune"], metrics={"accuracy": 0.929, "sparsity": 0.8})
    steps = [{"what": "dense in float", "bytes": 9000, "score": 0.915, "drop": 0.0145, "met": False}]
    [box] = page(artifacts).find("div", class_="callout failure")
    assert "Most of it goes with int8" in box.text
    assert "Try max_drop: 0.01 in int8" in box.text
    assert "tfopt sensitivity run/prune/model.keras --data DATA" in box.text
    artifacts["int8"] = replace(artifacts["int8"], details={"steps": steps})
    [box] = page(artifacts).find("div", class_="callout failure")
    assert "int8 tried 1 file; the best, dense in float, has 0.9150 on the validation split." in box.text
    assert "Try max_drop" not in box.text
    assert "qat: auto" in box.text


def test_the_contents_lead_to_every_section(page):
    root = page(run())
    links = [link.attributes["href"] for link in root.find("nav")[0].find("a")]
    assert links == [f"#{section.attributes['id']}" for section in root.find("section")]


def test_names_of_layers_and_stages_are_never_taken_for_markup(page):
    mean = "<script>alert(1)</script>"
    artifacts = run(failed=mean)
    artifacts["prune"] = replace(artifacts["prune"], skipped=(Skipped(mean, mean),))
    artifacts |= {mean: artifact(mean, "quantize", "tflite", ("prune",), metrics={"raw_bytes": 1.0, "accuracy": 0.5})}
    root = page(artifacts, mean)
    assert root.find("h1")[0].text == mean
    assert mean in root.find("section", id="skipped")[0].text
    markdown = summary.as_markdown(mean, artifacts)
    assert not [line for line in markdown.splitlines() if re.search(r"(?<!\\)<script>", re.sub("`[^`]*`", "", line))]


MOST_BYTES = 2_000_000


def test_a_page_of_a_very_large_run_is_not_too_large_and_says_what_is_left_out(page):
    artifacts = large()
    text = summary.as_page("large", artifacts).html()
    assert len(text.encode()) < MOST_BYTES
    root = check(text)
    assert "184 smaller ones are in the table" in root.text
    assert "are drawn; the table has all" in root.text
    assert "The best 300 of 450 are drawn." in root.text
    assert "more hyperparameters are in the table" in root.text
    assert "more rows are left out here" in root.text
    assert len(root.find("section", id="classes")[0].find("svg", class_="chart")) == 0
    assert "most confused" in root.text


HOSTILE = "<script>alert(1)</script>![x](http://a/b)|`*a*` &lt; \x1b[2J\n# top"


def test_the_names_of_layers_and_classes_are_markup_nowhere(monkeypatch):
    monkeypatch.setattr(made_up, "long_name", lambda index: f"{HOSTILE}{index}")
    artifacts = made_up.large(layers=3, trials=4, classes=3, epochs=2)
    root = check(summary.as_page("digits", artifacts).html())
    assert not root.find("script")
    assert all(image.attributes["src"].startswith("data:") for image in root.find("img"))
    assert "<script>alert(1)</script>" in root.text
    rendered = parse(MarkdownIt("commonmark").enable("table").render(summary.as_markdown("digits", artifacts)))
    assert not rendered.find("script")
    assert not rendered.find("img")
    assert not rendered.find("em")
    assert [heading.text for heading in rendered.find("h1")] == ["digits"]
    assert "<script>alert(1)</script>![x](http://a/b)|`*a*` &lt;" in rendered.text
    for table in rendered.find("table"):
        assert len({len(row.find("td")) + len(row.find("th")) for row in table.find("tr")}) == 1


def test_a_page_is_made_without_a_script_or_a_fetch_and_has_both_schemes():
    text = summary.as_page("digits", run()).html()
    assert "<script" not in text
    assert text.count("prefers-color-scheme: dark") == 1
    colours = [re.findall(r"--[\w-]+(?=: #)", part) for part in text.split("prefers-color-scheme: dark")]
    assert set(colours[1]) >= set(colours[0])


def contrast(one, other):
    def luminance(colour):
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_stand_out_from_their_ground(scheme):
    style = parse(Page("p").html()).find("style")[0].text
    parts = style.split("@media screen and (prefers-color-scheme: dark)")
    colours = dict(re.findall(r"--([\w-]+): (#\w{6})", parts[scheme == "dark"].split("@media")[0]))
    pairs = [("ink", "paper"), ("soft", "paper"), ("accent", "paper"), ("fail", "fail-ground"), ("warn", "warn-ground")]
    pairs += [("ink", "sheet"), ("fail", "paper"), ("on-strong", "s0"), ("ink", "track")]
    poor = {pair: ratio for pair in pairs if (ratio := contrast(*(colours[name] for name in pair))) < 4.5}
    assert poor == {}
    assert all(contrast(colours[f"s{index}"], colours["paper"]) >= 3 for index in range(8))


CHART = Lines("what is seen", [Line("a", [1, 2], [3, 4])], "x", "y")
BLOCKS = {
    "heading": (Heading("words"), "h3", ["## words"]),
    "paragraph": (Paragraph(("a ", Code("words"), Strong("b"), Link("c", "d"))), "p", ["a `words`**b**[c](d)"]),
    "bullets": (Bullets(["words", ("a", Code("b"))]), "ul", ["- words", "- a`b`"]),
    "failure": (Callout("failure", "words"), "p", ["**FAIL** words"]),
    "warning": (Callout("warning", "words"), "p", ["**WARNING** words"]),
    "table": (Table(("words", "n"), [("a|b", "1")]), "table", ["| words | n |", "|---|---:|", "| a\\|b | 1 |"]),
    "facts": (Facts([Fact("words", "1 B", "was 2")]), "dl", ["- words: 1 B (was 2)"]),
    "listing": (Listing("words: <1>\n", "yaml"), "pre", ["```yaml", "words: <1>", "```"]),
    "figure": (Figure(CHART, "words", Table(("a", "b"), [("1", "2")])), "figure", []),
    "gallery": (Gallery([Thumbnail("1 → 2", ["words"], [View("", b"png", "digit"), View("b", text="t")])]), "img", []),
    "grid": (Grid([Paragraph("words")]), "div", ["words"]),
    "group": (Group([Paragraph("words")]), "p", ["words"]),
    "folded": (Folded("more", [Paragraph("words")]), "details", ["words"]),
    "on_page": (OnPage([Paragraph("words")]), "p", []),
}  # fmt: skip


@pytest.mark.parametrize("name", BLOCKS)
def test_a_block_is_an_element_of_the_page_and_lines_of_markdown(name):
    block, tag, expected = BLOCKS[name]
    [part] = check(Page("p", parts=[Part("a", "A", [block])]).html()).find("section")
    assert part.find(tag)
    assert "words" in part.text
    assert [line for line in lines([block]) if line] == expected


def test_a_block_for_markdown_alone_is_not_on_the_page():
    block = InMarkdown([Paragraph("words")])
    assert lines([block]) == ["", "words"]
    assert "words" not in check(Page("p", parts=[Part("a", "A", [block])]).html()).text


def test_a_heading_that_repeats_its_section_is_left_out_on_the_page():
    [part] = check(Page("p", parts=[Part("a", "A", [Heading("A"), Heading("B")])]).html()).find("section")
    assert [heading.text for heading in part.find("h3")] == ["B"]


def test_a_table_says_how_many_rows_it_leaves_out():
    table = Table(("n",), [(str(index),) for index in range(1500)], most=20, rest="all.csv has all")
    [part] = check(Page("p", parts=[Part("a", "A", [table])]).html()).find("section")
    assert len(part.find("tbody")[0].find("tr")) == 20
    assert "1,480 more rows are left out here; all.csv has all." in part.text


def test_jinja_is_imported_with_the_first_page_and_not_before():
    code = "import sys, tfopt.report.summary, tfopt.cli, tfopt.pipeline; print('jinja2' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]


def test_the_words_of_the_table_are_explained_below_it(page):
    [models] = page(run()).find("section", id="models")
    for word in ("bytes", "gzip -9", "non-zero", "zeros", "distinct values"):
        assert f"{word}: " in models.text


def test_each_output_has_a_tile_and_so_has_what_lost_most(page):
    figures = {"digit_accuracy": 0.9, "digit_f1": 0.8, "speaker_accuracy": 0.7, "other_mae": 0.5, "raw_bytes": 9.0}
    artifacts = {
        "int8": artifact("int8", "quantize", "tflite", ("source",), metrics=figures, scores=tuple(figures)[:4])
    }
    base = Baseline("source", {"digit_accuracy": 0.9, "digit_f1": 0.9, "speaker_accuracy": 0.71, "other_mae": 0.5})
    root = page(artifacts, baseline=base)
    names = [name.text for name in root.find("dl", class_="facts")[0].find("dt")]
    assert [name for name in names if "_" in name] == ["digit_accuracy", "digit_f1", "speaker_accuracy"]
    assert "10.00 points worse in f1 of digit" in root.find("p", class_="lead")[0].text


def test_the_share_of_samples_is_that_of_all_outputs_together(page):
    one = {"against": "train", "values": 300, "broken": 0, "mended": 0, "classes": []}
    one |= {"confusion_before": [], "confusion_after": [], "moves": [], "samples": []}
    outputs = {"digit": one | {"same": 297}, "speaker": one | {"same": 299}}
    artifacts = run()
    known = {"files": {"int8": outputs}, "shown": []}
    artifacts["verify"] = replace(artifacts["verify"], details={"class_changes": known | {"same": {"int8": 0.98667}}})
    root = page(artifacts)
    assert "same class in both outputs on 98.7% of the test samples" in root.find("p", class_="lead")[0].text
    assert "same class in every output 98.7%" in root.find("dl", class_="facts")[0].text
    artifacts["verify"] = replace(artifacts["verify"], details={"class_changes": known})  # of an older version
    assert "same class" not in page(artifacts).find("p", class_="lead")[0].text


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("tone", ["right", "wrong"])
def test_the_count_in_a_cell_stands_out_from_every_shade(scheme, tone):
    style = parse(Page("p").html()).find("style")[0].text
    parts = style.split("@media screen and (prefers-color-scheme: dark)")
    colours = dict(re.findall(r"--([\w-]+): (#\w{6})", parts[scheme == "dark"].split("@media")[0]))
    ground = colours["s0" if tone == "right" else "chosen"]
    found = {}
    for part in range(1, 101):
        counts = [[part, 100 - part], [0, 1]] if tone == "right" else [[100 - part, part], [0, 1]]
        drawn = list(Matrix("m", ["a", "b"], counts, "class", "taken for").draw())
        at = next(index for index, one in enumerate(drawn) if one.get("class") == f"cell {tone}")
        shade, ink = float(drawn[at].get("fill-opacity")), drawn[at + 1].get("class").replace(" ", "-")
        mixed = [shade * a + (1 - shade) * b for a, b in zip(rgb(ground), rgb(colours["track"]), strict=True)]
        found[part] = contrast(colours[ink], "#" + "".join(f"{round(value):02x}" for value in mixed))
    assert min(found.values()) >= 4.4
    assert len(found) == 100


def rgb(colour):
    return [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
