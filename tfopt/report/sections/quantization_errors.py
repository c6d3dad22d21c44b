"""Section on the error that quantization puts on each layer."""

from __future__ import annotations

from collections.abc import Iterator

from tfopt.metrics.outputs import MOST_DB
from tfopt.recipe.artifact import Artifact
from tfopt.recipe.details.weights import LayerError, QuantizationErrors
from tfopt.report.blocks import Block, Figure, Folded, Heading, OnPage, Paragraph, Table
from tfopt.report.charts import Bar, Bars
from tfopt.report.section import Section

HEADERS = ("layer", "ops", "output", "SNR of the output", "SNR of the weights")
# Layers that the chart shows; rows up to which the page shows the table at once.
DRAWN, OPEN = 16, 12
# Rows of the table on the page.
LISTED = 100
# Decibels below which an output is called noisy: an error of a tenth of the values.
NOISY_DB = 20.0
# Decibels that bars end at, which hardly anything shows.
LONGEST_DB = 60.0


def blocks(artifact: Artifact) -> list[Block]:
    """The SNR of each layer's outputs and weights in decibels, in the order in which they run."""
    errors = artifact.details.of(QuantizationErrors)
    if not errors or not errors.rows:
        return []
    found: list[Block] = [Heading(f"{artifact.name}: quantization error by layer"), Paragraph(_explained(errors))]
    drawn = _drawn(errors)
    if len(drawn) > 1:
        found.append(OnPage([_figure(artifact.name, errors, drawn)]))
    table = Table(HEADERS, [_cells(row) for row in errors.rows], left=3, most=LISTED)
    return [*found, Folded(f"{len(errors.rows)} layers", [table]) if len(errors.rows) > OPEN else table]


def _explained(errors: QuantizationErrors) -> str:
    outputs = [(row.output_snr_db, row.layer) for row in errors.rows if row.output_snr_db is not None]
    weights = [(row.weights_snr_db, row.layer) for row in errors.rows if row.weights_snr_db is not None]
    samples = f"{errors.samples} calibration sample{'s' if errors.samples > 1 else ''}"
    said = (
        f"SNR: signal-to-noise ratio in decibels against the float file, on {samples}: of a layer's outputs with all "
        f"before it quantized too, and of its weights alone. More is better; below {NOISY_DB:g} dB the error is above "
        "a tenth of the values."
    )
    least = [f"{_db(db)} {words} {layer}" for db, layer, words in _lowest(outputs, weights)]
    said += f" The lowest: {', and '.join(least)}." if least else ""
    return said + (f" {errors.others} layers of smaller errors are left out." if errors.others else "")


def _lowest(*kinds: list[tuple[float, str]]) -> Iterator[tuple[float, str, str]]:
    """The lowest SNR of outputs, and that of weights, each with its layer."""
    for words, found in zip(("after", "of the weights of"), kinds, strict=True):
        if found:
            yield (*min(found), words)


def _drawn(errors: QuantizationErrors) -> list[LayerError]:
    """The layers of the largest errors, in the order in which they run."""
    rows = [row for row in errors.rows if _least(row) is not None]
    kept = sorted(range(len(rows)), key=lambda i: _least(rows[i]) or 0.0)[:DRAWN]
    return [rows[i] for i in sorted(kept)]


def _least(row: LayerError) -> float | None:
    return min((db for db in (row.output_snr_db, row.weights_snr_db) if db is not None), default=None)


def _figure(name: str, errors: QuantizationErrors, drawn: list[LayerError]) -> Figure:
    bars = [
        Bar(
            row.layer,
            [None if db is None else min(db, LONGEST_DB) for db in (row.output_snr_db, row.weights_snr_db)],
            " / ".join(_db(db) for db in (row.output_snr_db, row.weights_snr_db)),
            flagged=(_least(row) or 0.0) < NOISY_DB,
        )
        for row in drawn
    ]
    rest = len(errors.rows) - len(drawn)
    left_out = f"; {rest} of smaller errors are in the table" if rest else ""
    chart = Bars(f"Quantization error by layer of {name}", bars, ("outputs", "weights"), limit=NOISY_DB)
    caption = f"SNR in decibels, layers in the order in which they run; bars end at {LONGEST_DB:g} dB"
    return Figure(chart, f"{caption}{left_out}.")


def _cells(row: LayerError) -> tuple[str, ...]:
    return (row.layer, row.ops, row.precision, _db(row.output_snr_db), _db(row.weights_snr_db))


def _db(value: float | None) -> str:
    return "-" if value is None else "exact" if value >= MOST_DB else f"{value:.1f} dB"


SECTION = Section("quantization_errors", "Quantization error by layer", rank=38, of_artifact=blocks)
