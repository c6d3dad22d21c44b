"""Section on a search for hyperparameters: its trials, the best ones, and the scores over the values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tfopt.recipe.artifact import Artifact
from tfopt.recipe.details.search import TuningOutcome, TuningTrial
from tfopt.report.markdown import headed, table
from tfopt.report.section import Page, Section

FILE = "tuning.html"
# The trials that report.md lists; the page has all.
LISTED = 10


def markdown(artifact: Artifact) -> list[str]:
    """The best trials of a stage that tuned, and those that failed."""
    found = artifact.details.of(TuningOutcome)
    if not found:
        return []
    names, metric = _names(found.trials), found.metric
    lines = headed(
        f"{artifact.name}: trials",
        f"The best of {len(found.trials)}, with `{metric}` on the validation split; all are in [{FILE}]({FILE}).",
        "",
    )
    rows = [
        (one.number, f"{score:.4f}", *(_cell(one.values.get(name, "-")) for name in names))
        for score, one in _ordered(found)[:LISTED]
    ]
    lines += table(("trial", metric, *names), rows)
    lines += ["", *(f"- trial {one.number} failed: {one.message}" for one in found.trials if one.score is None)]
    return lines


def page(title: str, artifacts: Mapping[str, Artifact]) -> str | None:
    """Parallel axes for each stage that tuned; None where none did."""
    details = {name: artifact.details.of(TuningOutcome) for name, artifact in artifacts.items()}
    tuned = {name: found for name, found in details.items() if found}
    if not tuned:
        return None
    import plotly.graph_objects as go

    pages: list[str] = []
    for name, found in tuned.items():
        scored = [one for one in found.trials if one.score is not None]
        axes = [_axis(key, [one.values.get(key) for one in scored]) for key in _names(scored)]
        scores = [one.score for one in scored]
        figure = go.Figure(
            go.Parcoords(
                line={"color": scores, "colorscale": "Viridis", "showscale": True},
                dimensions=[*axes, {"label": found.metric, "values": scores}],
            )
        )
        figure.update_layout(
            title=f"{title}: trials of {name}", template="plotly_white", height=560, margin={"l": 90, "t": 110}
        )
        pages.append(figure.to_html(include_plotlyjs=not pages, full_html=False))
    return f"<html><head><meta charset='utf-8'></head><body>{''.join(pages)}</body></html>"


def _axis(name: str, values: Sequence[Any]) -> dict[str, Any]:
    """One axis: numbers as they are, on a log scale for wide ranges; words by their index."""
    import math

    numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    if len(numbers) == len(values):
        if min(numbers) > 0 and max(numbers) >= 5 * min(numbers):
            ends = range(math.floor(math.log10(min(numbers))), math.ceil(math.log10(max(numbers))) + 1)
            logs = [math.log10(value) for value in numbers]
            return {"label": name, "values": logs, "tickvals": list(ends), "ticktext": [f"{10.0**e:g}" for e in ends]}
        return {"label": name, "values": numbers}
    words = list(dict.fromkeys(str(value) for value in values))
    places = [words.index(str(value)) for value in values]
    return {"label": name, "values": places, "tickvals": list(range(len(words))), "ticktext": words}


def _names(trials: Sequence[TuningTrial]) -> list[str]:
    return list(dict.fromkeys(name for one in trials for name in one.values))


def _ordered(found: TuningOutcome) -> list[tuple[float, TuningTrial]]:
    """The trials with a score, and their scores, ordered by the distance to the best trial's score."""
    scored = [(one.score, one) for one in found.trials if one.score is not None]
    best = next(score for score, one in scored if one.number == found.best)
    return sorted(scored, key=lambda pair: (abs(pair[0] - best), pair[1].number))


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


SECTION = Section("trials", rank=70, of_artifact=markdown, page=Page(FILE, page))
