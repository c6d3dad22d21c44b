"""Section on accuracy gates: what each file lost and was allowed to lose, and what no gate looks at."""

from __future__ import annotations

from collections.abc import Mapping

from tfopt.metrics import output_and_metric
from tfopt.recipe.artifact import Artifact
from tfopt.recipe.details.verification import AccuracyGate, GatedFile
from tfopt.report.baseline import change, measured_baseline
from tfopt.report.blocks import Block, Bullets, Callout, Code, Heading, Paragraph, Strong, Table, Text
from tfopt.report.next_steps import after_gate, after_search
from tfopt.report.section import Section

HEADERS = ("file", "verdict", "metric", "of", "before", "on LiteRT", "change", "allowed")


def blocks(artifacts: Mapping[str, Artifact]) -> list[Block]:
    """The gates of all stages, and what follows from those that failed."""
    found: list[Block] = []
    for artifact in artifacts.values():
        gate = artifact.details.of(AccuracyGate)
        gate = gate if gate and gate.max_drop is not None else None
        if artifact.failed:
            steps = _steps(gate, artifacts) if gate else after_search(artifact)
            found.append(Callout("failure", f"{artifact.name}: {artifact.failed}", steps))
        if gate:
            table = Table(HEADERS, [_cells(gate, name, file) for name, file in gate.files.items()], left=4)
            found += [Heading(f"{artifact.name}: the accuracy check"), table, *_unguarded(artifact, gate, artifacts)]
    return found


def _steps(gate: AccuracyGate, artifacts: Mapping[str, Artifact]) -> list[Text]:
    limit = gate.max_drop or 0.0
    return [step for name in gate.failed for step in after_gate(name, gate.files[name], gate.metric, limit, artifacts)]


def _cells(gate: AccuracyGate, name: str, file: GatedFile) -> tuple[Text, ...]:
    _, metric = output_and_metric(gate.metric)
    worse = 1 if metric and not metric.higher_is_better else -1
    allowed = change(gate.metric, worse * (gate.max_drop or 0.0)).replace("+0.00 ", "0.00 ")
    figures = (f"{file.before:.4f}", f"{file.after:.4f}", change(gate.metric, file.after - file.before), allowed)
    verdict: Text = Strong("failed") if name in gate.failed else "kept"
    return (name, verdict, gate.metric, file.baseline, *figures)


def _unguarded(artifact: Artifact, gate: AccuracyGate, artifacts: Mapping[str, Artifact]) -> list[Block]:
    """The metrics that were measured and that no gate of the run looks at, with how each file changed them."""
    guarded = {one.metric for each in artifacts.values() if (one := each.details.of(AccuracyGate))}
    free = [name for name in artifact.scores if name not in guarded]
    if not free:
        return []
    told = []
    for name, file in gate.files.items():
        before = _scores_of(file.baseline, gate, artifacts)
        after = artifact.files.get(name, {})
        parts = [
            f"{each} {change(each, after[each] - before[each])}" for each in free if each in before and each in after
        ]
        told += [f"{name}: {', '.join(parts)}"] if parts else []
    names = [each for name in free for each in (", ", Code(name))][1:]
    reported = "it is" if len(free) == 1 else "they are"
    said = Paragraph(("No max_drop is about ", *names, f"; {reported} only reported."))
    return [said, Bullets(told)] if told else [said]


def _scores_of(name: str, gate: AccuracyGate, artifacts: Mapping[str, Artifact]) -> Mapping[str, float]:
    """What is known of the scores of a model that files are held against."""
    known = artifacts[name].metrics if name in artifacts else {}
    base = measured_baseline(artifacts)
    own = base.metrics if base and name in base.parents else {}
    return {**own, **known, **gate.models.get(name, {})}


SECTION = Section("gates", "Accuracy check", rank=5, of_run=blocks)
