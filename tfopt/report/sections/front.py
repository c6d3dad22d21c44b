"""Section on a search: the Pareto front of files, the chosen one and why, and all that were tried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tfopt.recipe.artifact import Artifact
from tfopt.recipe.details.search import FrontFile, SearchOutcome, TriedCandidate
from tfopt.report.markdown import headed, table
from tfopt.report.section import Page, Section

FILE = "front.html"
HEADERS = ("file", "metric", "on the test split", "raw", "gzip -9", "ms", "epochs")


def markdown(artifact: Artifact) -> list[str]:
    """The files of the front, which one was chosen and why, and what was tried."""
    found = artifact.details.of(SearchOutcome)
    if not found:
        return []
    metric = found.metric
    record = f"{artifact.name}/artifact.json"
    lines = headed(
        f"{artifact.name}: the front",
        f"The plot is in [{FILE}]({FILE}). The stages that make each file again, after what came before, are in "
        f"[{record}]({record}) under `details.search.front`.",
        "",
    )
    headers = [metric if header == "metric" else header for header in HEADERS]
    lines += table(headers, [_cells(row, row.number == found.chosen) for row in found.front])
    lines += ["", f"Chosen: {'; '.join(_reasons(found))}."]
    lines += [f"The model it starts from has {metric} {found.before:.4f} on the validation split."]
    lines += [f"{len(found.tried)} trainings; {found.dropped} candidates over budget were thrown away untrained."]
    notes = [f"- candidate {one.number} failed: {one.error}" for one in found.failed]
    if found.lost:
        notes.append(f"- lost with their process and begun again: {found.lost}")
    lines += ["", *notes] if notes else []
    return lines


def _cells(row: FrontFile, chosen: bool) -> tuple[str, ...]:
    name = f"**{row.file}**" if chosen else row.file
    test = ", ".join(f"{value:.4f}" for value in row.test.values())
    sizes = (f"{row.raw_bytes:,.0f} B", f"{row.gzip_bytes:,.0f} B")
    return (name, f"{row.score:.4f}", test, *sizes, _milliseconds(row), str(row.epochs))


def _reasons(found: SearchOutcome) -> list[str]:
    """The reasons for the chosen file."""
    wish, metric, rows = found.wish, found.metric, found.front
    limits = ", ".join(f"{name} {limit:,.6g}" for name, limit in found.limits.items())
    fitting = [row for row in rows if row.meets]
    if not fitting:
        return [f"no file of the front is within {limits}: it is the nearest"]
    best = {"accurate": f"the best {metric}", "smallest": f"the fewest {wish.size} bytes", "fastest": "the fastest"}
    said = [f"{best[wish.goal]} within {limits}, of {len(fitting)} such files on the front of {len(rows)}"]
    at = next(place for place, row in enumerate(rows) if row.number == found.chosen)
    for word, other in (("smaller", rows[at - 1 : at]), ("larger", rows[at + 1 : at + 2])):
        for row in other:
            out = "" if row.meets else ", which is not within them"
            size = f"{getattr(row, wish.size_name):,.0f} B"
            figures = f"has {metric} {row.score:.4f} and takes {_milliseconds(row)} ms"
            said.append(f"the next {word}, {size}, {figures}{out}")
    return said


def _milliseconds(row: FrontFile) -> str:
    return f"{row.milliseconds:.3g}"


def page(title: str, artifacts: Mapping[str, Artifact]) -> str | None:
    """A plot for each stage that searched; None where none did."""
    details = {name: artifact.details.of(SearchOutcome) for name, artifact in artifacts.items()}
    searched = {name: found for name, found in details.items() if found}
    if not searched:
        return None
    from plotly.subplots import make_subplots

    figure = make_subplots(rows=len(searched), cols=1, subplot_titles=[f"{title}: {name}" for name in searched])
    for row, found in enumerate(searched.values(), start=1):
        _draw(figure, row, found)
    figure.update_layout(
        template="plotly_white", height=100 + 560 * len(searched), legend={"orientation": "h", "y": -0.12}
    )
    return str(figure.to_html(include_plotlyjs=True, full_html=True))


def _edge(front: Sequence[FrontFile], size: str) -> list[FrontFile]:
    """The Pareto front in bytes and metric alone, the smallest first."""
    kept: list[FrontFile] = []
    for one in sorted(front, key=lambda one: (getattr(one, size), one.drop)):
        if not kept or one.drop < kept[-1].drop:
            kept.append(one)
    return kept


def _draw(figure: Any, row: int, found: SearchOutcome) -> None:
    """Every file by its size and its metric, the larger the slower; the front as a line, the limits dashed."""
    wish, metric, size = found.wish, found.metric, found.wish.size_name
    on_front = {one.number for one in found.front}
    slowest = max(one.milliseconds for one in found.tried)
    rest = [one for one in found.tried if one.number not in on_front]
    chosen = [one for one in found.front if one.number == found.chosen]

    def add(points: Sequence[FrontFile | TriedCandidate], name: str, colour: str, **more: Any) -> None:
        said = [
            f"candidate {one.number}, {one.epochs} epochs<br>{metric} {one.score:.4f}<br>"
            f"{one.raw_bytes:,.0f} B, {one.gzip_bytes:,.0f} B gzip<br>{one.milliseconds:.3g} ms"
            for one in points
        ]
        marker = {"color": colour, "size": [7 + 9 * one.milliseconds / slowest for one in points]}
        figure.add_scatter(
            x=[getattr(one, size) for one in points],
            y=[one.score for one in points],
            name=name,
            hovertext=said,
            hoverinfo="text",
            showlegend=row == 1,
            row=row,
            col=1,
            **{"mode": "markers", **more, "marker": marker | more.get("marker", {})},
        )

    add(rest, "tried", "#b0b8c4", opacity=0.7)
    add(found.front, "front", "#2a6fb0")
    edge = _edge(found.front, size)  # the other files of the front are there for their latency
    figure.add_scatter(
        x=[getattr(one, size) for one in edge],
        y=[one.score for one in edge],
        mode="lines",
        line={"shape": "hv", "width": 1.5, "color": "#2a6fb0"},
        hoverinfo="skip",
        showlegend=False,
        row=row,
        col=1,
    )
    add(chosen, "chosen", "#d1495b", marker={"symbol": "star", "size": 18})
    if limit := getattr(wish, size):
        figure.add_vline(x=limit, line_dash="dash", line_color="#888", row=row, col=1)
    if wish.max_drop is not None and found.front:
        one = found.front[0]
        better = 1 if (found.before - one.score) * one.drop >= 0 else -1
        floor = found.before - better * wish.max_drop
        figure.add_hline(y=floor, line_dash="dash", line_color="#888", row=row, col=1)
    figure.update_xaxes(type="log", title_text=f"bytes, {wish.size}", row=row, col=1)
    figure.update_yaxes(title_text=f"{metric} on the validation split", row=row, col=1)


SECTION = Section("front", rank=65, of_artifact=markdown, page=Page(FILE, page))
