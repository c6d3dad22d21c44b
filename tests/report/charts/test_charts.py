"""What each kind of chart draws, and that it draws whatever numbers and names come."""

import math
import xml.etree.ElementTree as ET

import pytest

from tfopt.report.charts import (
    Backdrop,
    Bar,
    Bars,
    Histogram,
    Limit,
    Line,
    Lines,
    Mark,
    Matrix,
    Outline,
    ParallelAxes,
    ParallelLine,
    Point,
    Scatter,
)

ODD = '<b>"&\x00\n'


def drawn(chart):
    """The picture as a reader of XML sees it."""
    root = ET.fromstring(chart.svg())
    assert root.tag == "svg"
    assert root.get("role") == "img"
    assert root.get("aria-label") == chart.label
    for element in root.iter():
        for name in ("x", "y", "cx", "cy", "width", "height", "r"):
            if (value := element.get(name)) is not None:
                assert math.isfinite(float(value))
                assert float(value) >= 0 or name in "xy"
    return root


def classed(root, word):
    return [element for element in root.iter() if word in (element.get("class") or "").split()]


def titles(elements):
    return [element.findtext("title") for element in elements]


CHARTS = {
    "lines": Lines("l", [Line(ODD, [1, 2], [0.5, 0.25], [Mark(1, 0.5, ODD)])], ODD, ODD, horizontals=[(0.5, ODD)]),
    "bars": Bars("b", [Bar(ODD, [1, 2], ODD)], (ODD, "after"), limit=1.5),
    "scatter": Scatter("s", [Point(1, 2, ODD, ODD), Point(2, 3, ODD, ODD)], ODD, ODD, limits=[Limit("x", 1.5, ODD)]),
    "histogram": Histogram("h", [Outline(ODD, [-1, 0, 1], [3, 4], 5)], ODD, ODD, verticals=[(0.5, ODD)]),
    "matrix": Matrix("m", [ODD, "1"], [[3, 1], [0, 2]], ODD, ODD),
    "parallel": ParallelAxes("p", [ODD, "score"], [ParallelLine(ODD, [ODD, 0.5], 0.5)]),
}


@pytest.mark.parametrize("name", CHARTS)
def test_words_of_any_kind_are_words_in_the_picture(name):
    root = drawn(CHARTS[name])
    assert len(list(root.iter())) > 5
    assert not list(root.iter("b"))
    assert any('<b>"&' in "".join(element.itertext()) for element in root.iter())


EMPTY = {
    "lines": Lines("l", [Line("a", [], [])], "x", "y"),
    "lines_of_nothing": Lines("l", [], "x", "y"),
    "lines_not_finite": Lines("l", [Line("a", [1, 2], [math.nan, None])], "x", "y", log_y=True),
    "lines_not_positive": Lines("l", [Line("a", [1, 2], [0.0, -1.0])], "x", "y", log_y=True),
    "lines_of_one": Lines("l", [Line("a", [1], [1.0])], "x", "y", whole_x=True),
    "bars_of_zero": Bars("b", [Bar("a", [0.0], "0")]),
    "bars_of_nothing": Bars("b", []),
    "bars_not_finite": Bars("b", [Bar("a", [None], "-"), Bar("c", [math.inf], "-")], log=True),
    "bars_below_zero": Bars("b", [Bar("a", [-3.0], "-3"), Bar("c", [2.0], "2")]),
    "scatter_of_nothing": Scatter("s", [], "x", "y", log_x=True),
    "scatter_not_positive": Scatter("s", [Point(0, 1, "t"), Point(-1, math.nan, "t")], "x", "y", log_x=True),
    "histogram_of_zeros": Histogram("h", [Outline("a", [0, 1], [0], 0)], "x"),
    "histogram_of_equal_edges": Histogram("h", [Outline("a", [0, 0], [7], 9)], "x", log_y=True),
    "matrix_of_zeros": Matrix("m", ["0"], [[0]], "c", "t"),
    "parallel_of_nothing": ParallelAxes("p", ["a", "b"], []),
    "parallel_of_one": ParallelAxes("p", ["a"], [ParallelLine("t", [None], 1.0)]),
}


@pytest.mark.parametrize("name", EMPTY)
def test_numbers_that_cannot_be_drawn_do_no_harm(name):
    drawn(EMPTY[name])


def test_lines_go_through_their_values_and_stop_where_there_is_none():
    root = drawn(Lines("l", [Line("a", [1, 2, 3, 4], [1.0, 2.0, None, 1.0])], "x", "y"))
    first, second = root.iter("polyline")
    (x1, y1), (x2, y2) = (tuple(map(float, point.split(","))) for point in first.get("points").split())
    assert x1 < x2
    assert y1 > y2  # up is less in a picture
    assert len(second.get("points").split()) == 1
    assert titles(classed(root, "dot")) == ["a, 1: 1", "a, 2: 2", "a, 4: 1"]


def test_a_long_line_is_thinned_and_keeps_its_ends():
    root = drawn(Lines("l", [Line("a", range(10_000), [float(x) for x in range(10_000)])], "x", "y"))
    [line] = root.iter("polyline")
    points = line.get("points").split()
    assert len(points) == 300
    short = drawn(Lines("l", [Line("a", [0, 9999], [0.0, 9999.0])], "x", "y"))
    [ends] = short.iter("polyline")
    assert [points[0], points[-1]] == ends.get("points").split()


def test_lines_beyond_the_colours_are_dashed():
    chart = Lines("l", [Line(str(number), [1, 2], [number, number]) for number in range(20)], "x", "y")
    assert len(set(chart.styles())) == 20
    assert [key.style for key in chart.legend()] == chart.styles()


def test_a_backdrop_fills_the_height_by_its_share():
    root = drawn(
        Lines("l", [Line("a", [1, 3], [5.0, 6.0])], "x", "y", backdrops=[Backdrop("half", [1, 3], [0, 0.5], "s1")])
    )
    [area] = classed(root, "backdrop")
    places = [tuple(map(float, point.split(","))) for point in area.get("points").split()]
    foot = max(y for _, y in places)
    grid = [float(line.get("y1")) for line in classed(root, "base") if line.get("y1") == line.get("y2")]
    assert foot == pytest.approx(grid[0], abs=0.1)
    assert foot - min(y for _, y in places) == pytest.approx((foot - 26) / 2, abs=0.1)


def test_bars_are_as_long_as_their_values_and_flagged_ones_stand_out():
    root = drawn(Bars("b", [Bar("a", [10.0, 5.0], "10"), Bar("c", [2.5, 0.0], "2.5", flagged=True)], ("x", "y")))
    first, second, third, _ = classed(root, "bar")
    widths = [float(bar.get("width")) for bar in (first, second, third)]
    assert widths == pytest.approx([widths[0], widths[0] / 2, widths[0] / 4], abs=0.1)
    assert titles([first, second]) == ["a, x: 10", "a, y: 5"]
    assert "flag" in third.get("class")


def test_the_name_of_a_long_layer_is_cut_in_the_middle_and_whole_in_its_title():
    name = "model/block_12/" + "x" * 60 + "/kernel"
    [text] = classed(drawn(Bars("b", [Bar(name, [1.0], "1")])), "name")
    assert text.find("title").text == name
    shown = text.find("title").tail
    assert len(shown) <= 41
    assert shown.startswith("model/block")
    assert shown.endswith("/kernel")


def test_points_are_where_their_values_are_and_the_chosen_one_is_a_star():
    points = [Point(10, 0.5, "a", "a"), Point(1000, 0.9, "b", "b", "chosen"), Point(100, 0.7, "c", "c")]
    root = drawn(Scatter("s", points, "x", "y", log_x=True))
    one, other = root.iter("circle")
    assert float(other.get("cx")) > float(one.get("cx"))
    assert float(other.get("cy")) < float(one.get("cy"))
    [star] = [path for path in root.iter("path") if "chosen" in path.get("class")]
    assert star.findtext("title") == "b"
    assert {text.text for text in classed(root, "name")} == {"a", "b", "c"}


def test_names_do_not_cover_each_other():
    points = [Point(1 + index * 1e-6, 1.0, "t", f"name {index}") for index in range(30)]
    root = drawn(Scatter("s", points, "x", "y"))
    shown = classed(root, "name")
    assert 1 <= len(shown) < 30
    places = [(float(text.get("x")), float(text.get("y")), text.get("text-anchor")) for text in shown]
    assert len(set(places)) == len(places)


def test_a_front_goes_in_stairs():
    root = drawn(Scatter("s", [Point(1, 1, "a"), Point(2, 2, "b")], "x", "y", stairs=[[(1, 1), (2, 2)]]))
    [line] = classed(root, "front")
    first, corner, last = (tuple(map(float, point.split(","))) for point in line.get("points").split())
    assert corner == (last[0], first[1])


def test_zeros_are_a_bar_of_their_own():
    root = drawn(
        Histogram("h", [Outline("before", [-1, 0, 1], [10, 10]), Outline("after", [-1, 0, 1], [2, 2], 16)], "w")
    )
    [bar] = classed(root, "bar")
    assert bar.findtext("title") == "after: 16 exact zeros"
    areas = classed(root, "area")
    assert titles(areas) == ["before: 20 values", "after: 4 values and 16 zeros"]


def test_a_matrix_shades_rows_by_their_shares_and_says_each_cell():
    root = drawn(Matrix("m", ["cat", "dog"], [[8, 2], [0, 4]], "class", "taken for"))
    cells = classed(root, "cell")
    assert titles(cells)[1] == "cat taken for dog: 2 (20.0%)"
    shades = [float(cell.get("fill-opacity")) for cell in cells]
    assert shades[0] > shades[1] > shades[2] == 0
    assert shades[3] == 1
    assert [text.text for text in classed(root, "count")] == ["8", "2", "4"]


def test_parallel_axes_put_numbers_and_words_on_axes_of_their_own():
    lines = [
        ParallelLine("low", [1e-4, "relu", 0.5], 0.0),
        ParallelLine("high", [1e-2, "gelu", 0.9], 1.0, chosen=True),
        ParallelLine("none", [None, "relu", 0.7], 0.5),
    ]
    root = drawn(ParallelAxes("p", ["rate", "activation", "score"], lines))
    ways = {way.findtext("title"): way.get("points").split() for way in root.iter("polyline")}
    assert [len(points) for points in ways.values()] == [3, 2, 3]  # the chosen one comes last, on top
    assert list(ways) == ["low", "none", "high"]
    assert ways["low"][1] == ways["none"][0]
    words = [text.find("title").text for text in classed(root, "tick")]
    assert {"relu", "gelu", "0.0001", "0.01"} <= set(words)


def test_a_small_difference_is_drawn_small_and_a_share_ends_at_one():
    points = [Point(1, 0.9806, "a"), Point(2, 0.9778, "b")]
    root = drawn(Scatter("s", points, "x", "accuracy", span_y=0.05, ends_y=(0.0, 1.0)))
    [first, second] = [float(mark.get("cy")) for mark in classed(root, "mark")]
    assert 0 < second - first < 30
    ticks = [text.text for text in classed(root, "tick") if text.get("text-anchor") == "end"]
    assert ticks == ["0.96", "0.98", "1.00"]
    close = drawn(Scatter("s", points, "x", "accuracy"))
    [first, second] = [float(mark.get("cy")) for mark in classed(close, "mark")]
    assert second - first > 100


def test_the_name_of_a_limit_does_not_cover_a_point_on_its_line():
    points = [Point(1, 0.2, "a", "a"), Point(2, 0.9, "b", "float32")]
    root = drawn(Scatter("s", points, "x", "y", limits=[Limit("y", 0.9, "least allowed 0.9")]))
    [name] = classed(root, "note")
    assert name.text == "least allowed 0.9"
    [right] = [float(mark.get("cx")) for mark in classed(root, "mark") if "b" in titles([mark])]
    assert float(name.get("x")) < right - 60


def test_histograms_side_by_side_reach_the_same_ends():
    one = drawn(Histogram("h", [Outline("a", [1, 2, 3], [1, 2])], "ms", "runs", log_x=True, reach_x=(1, 30)))
    other = drawn(Histogram("h", [Outline("b", [20, 30], [1])], "ms", "runs", log_x=True, reach_x=(1, 30)))
    assert [tick.text for tick in classed(one, "tick") if float(tick.get("y")) > 180] == [
        tick.text for tick in classed(other, "tick") if float(tick.get("y")) > 180
    ]


def test_who_does_not_see_a_chart_is_told_its_values():
    chart = Bars("bytes by layer", [Bar(f"layer {number}", (number + 1,), f"{number} B") for number in range(30)])
    [description] = ET.fromstring(chart.svg()).iter("desc")
    assert description.text.startswith("layer 0: 0 B; layer 1: 1 B; ")
    assert description.text.endswith("14 more")
    matrix = Matrix("m", ["a", "b"], [[3, 1], [0, 2]], "class", "taken for")
    assert matrix.description() == "5 of 6 are on the diagonal. a taken for b: 1 (25.0%)"
    lines = Lines("l", [Line("loss", [1, 2, 3], [4.0, None, 0.5])], "epoch", "loss")
    assert lines.description() == "loss: 4 at 1, 0.5 at 3"
