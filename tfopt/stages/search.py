"""Stage `search`."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from tfopt.durable_files import remove, storage_errors
from tfopt.errors import ConversionError, InputError, ModelError, RecipeError, did_you_mean
from tfopt.recipe.artifact import JOURNAL, Artifact, Format, Skipped, content_key
from tfopt.recipe.decode import DecodeSetting
from tfopt.recipe.details.search import FailedCandidate, SearchObjective, SearchOutcome, TriedCandidate
from tfopt.recipe.export import Export, Rule
from tfopt.recipe.modes import ROUNDINGS
from tfopt.recipe.settings import PROBLEMS, OneOf, Patterns, either, on_its_own
from tfopt.recipe.stage import Context, Need, Outlook, Stage
from tfopt.recipe.target import TARGETS, measured_on
from tfopt.recipe.target_choice import NO_OPTIONS, Options, TargetName, options_with_name
from tfopt.search.pareto import Objective, Point, front, ranked
from tfopt.stages.cluster import Cluster
from tfopt.stages.device_record import made_details
from tfopt.stages.prune import Prune
from tfopt.stages.prune_channels import PruneChannels
from tfopt.stages.quantize import Quantize
from tfopt.stages.scoring import check_drop, check_gate, gated, metrics_of
from tfopt.stages.search_budget import OF_ANY_FILE, SearchBudget, SizeName, size_names
from tfopt.stages.search_candidates import CANDIDATES, FRONT, CandidateBuilder, shared_training_settings
from tfopt.stages.subpipeline import told_of
from tfopt.stages.usage_record import usage_detail

if TYPE_CHECKING:
    from tfopt.search.model_profile import ModelProfile
    from tfopt.search.trial_store import TrialStore
    from tfopt.search.worker import Worker

CHECKED_SAMPLES = 8
# Slack for sizes that are estimated before training, from weights that will still change.
ROUGH = 0.25


class Search(Stage):
    """Looks for the best int8 file under a budget: how sparse each layer is, its bits, shared values, channels removed.

    Every candidate is pruned, trained for a short time, converted and scored on LiteRT over the validation split; the
    promising ones again, with a longer training. Those over budget are thrown away before any training. What comes out
    is the file that answers `within` and `max_drop` best, and beside it, in `front/`, every file that no other beats in
    accuracy, bytes and time, each with the stages that make it again. `tfopt search` spreads it over processes and
    machines. Where nothing meets the limits, the nearest file is there and the run ends with exit code 3.

    References:
        Akiba et al., Optuna, arXiv:1907.10902.
        Jamieson and Talwalkar, Non-stochastic best arm identification, arXiv:1502.07943 (successive halving).
    """

    kind: ClassVar[str] = "search"
    rank: ClassVar[int] = 8
    goes_on_from: ClassVar[tuple[str, ...]] = (CANDIDATES,)
    version: ClassVar[int] = 7
    gives: ClassVar[Format] = "tflite"
    shared: ClassVar[bool] = True

    within: SearchBudget | None = Field(None, examples=[{"gzip_bytes": "20 KB"}])
    """The budget, such as {raw_bytes: 64 KB, milliseconds: 2}; on a target also what that measures, such as
    {npu_milliseconds: 0.2, sram_bytes: 32 KB}."""
    target: TargetName = "litert"
    """The runtime that the files are made for, as in `quantize`: every candidate is made for it and measured there."""
    target_options: Options = NO_OPTIONS
    """The options of the target, which may as well be written with its name."""
    decode: DecodeSetting = None
    """For target tflm: kernels are decoded at every run, as in `quantize`; flash_bytes is of the decoded file."""
    max_drop: float | None = Field(None, ge=0)
    """How much worse than the model it starts from the file may be on the validation split, in the units of the
    metric."""
    goal: Literal["accurate", "smallest", "fastest"] | None = None
    """Which file within the limits is best. smallest if max_drop is given, else accurate."""
    metric: str | None = None
    """The metric, if not the first one."""
    size: SizeName | None = None
    """Which size is wanted small. raw if `within` has raw_bytes alone, the target's own (flash on tflm, compiled on an
    Ethos-U) if there is such a target and no other size in `within`, else gzip. Zeros and shared values do not make
    a raw file smaller, so with raw they are tried only where they are asked for."""
    trials: int = Field(40, ge=1)
    """How many candidates get the short training."""
    epochs: tuple[int, ...] = Field((2, 6), min_length=1, examples=[[2, 6]])
    """Epochs of the short training, and of the longer ones after it."""
    promoted: float = Field(0.2, gt=0, le=1)
    """The share of candidates that get the next longer training, 0-1."""
    sparsity: tuple[float, float] | Literal[False] | None = Field(None, examples=[[0.3, 0.99]])
    """The least and the largest fraction of zeros of a layer; [0, 0.99] if not given, false for none. On a target that
    computes n of m weights faster (2:4 on Ethos-U85) that pattern of all layers is tried too."""
    bits: tuple[int, ...] = Field((8, 4), min_length=1, examples=[[8, 4]])
    """The bits that a kernel's weights may have, layer by layer."""
    clusters: tuple[int, ...] | None = Field(None, min_length=1, examples=[[0, 16, 32]])
    """Numbers of distinct values of each kernel to try, 0 for any; [0, 8, 16, 32] if not given."""
    channels: tuple[float, float] | Literal[False] = Field((0.4, 1.0), examples=[[0.5, 1.0]])
    """The least and the largest share of channels that stay; false removes none."""
    training: dict[str, Any] = Field({}, examples=[{"batch_size": 128, "optimizer": "adam"}])
    """How candidates are trained, as in `train`: batch_size, optimizer, l1, l2, class_weight, distill and so on."""
    rounding: Annotated[str, OneOf(ROUNDINGS)] | None = None
    """How the integers of kernels are chosen, as in `quantize`, which candidates share. If not given, descent for those
    with layers of 4 bits, where it pays for its second or so, and nearest for the others."""
    only: Patterns = ()
    """Layer patterns (path, name or class) of the layers to prune and to give bits; empty means every one."""
    skip: Patterns = ()
    """Layer patterns to leave dense and at 8 bits."""
    samples: int = Field(200, ge=1)
    """How many training samples calibrate the ranges."""

    @model_validator(mode="before")
    @classmethod
    def _options_with_name(cls, given: Any) -> Any:
        return options_with_name(given)

    @model_validator(mode="after")
    def _asks_for_something(self) -> Search:
        if self.within is None and self.max_drop is None:
            raise ValueError("needs within, such as {gzip_bytes: 20 KB}, or max_drop, such as 0.005")
        if list(self.epochs) != sorted(set(self.epochs)) or self.epochs[0] < 1:
            raise ValueError(f"epochs rise, such as [2, 6]. Received: {list(self.epochs)}")
        for name in ("sparsity", "channels"):
            span = getattr(self, name)
            if span and not 0 <= span[0] <= span[1] <= 1:
                raise ValueError(f"{name} is a least and then a largest share, 0-1. Received: {list(span)}")
        if self.sparsity and self.sparsity[1] >= 1:
            raise ValueError("a layer without weights is none: the largest sparsity is below 1. Write 0.99")
        if self.channels and not self.channels[0]:
            raise ValueError("a layer without channels is none: the least share of channels is above 0. Write 0.4")
        if not set(self.bits) <= {8, 4}:
            raise ValueError(f"bits are 8 and 4. Received: {list(self.bits)}")
        self._fits_target()
        self._target_has_bits()
        if self.clusters and any(count == 1 or count < 0 for count in self.clusters):
            raise ValueError(f"clusters are 0, for any number, or at least 2. Received: {list(self.clusters)}")
        wrong = set(self.training) - set(shared_training_settings())
        if wrong:
            [name, *_] = sorted(wrong)
            raise ValueError(f"training has no field {name!r}. {did_you_mean(name, shared_training_settings())}")
        from tfopt.stages.train import Train

        try:
            with on_its_own():
                Train(epochs=1, **self.training)
        except RecipeError as error:
            problems = [(("training", *place), text) for place, text in error.problems]
            raise PydanticCustomError(PROBLEMS, "wrong training", {"problems": problems}) from None
        return self

    def _fits_target(self) -> None:
        """Checks that the target measures what is limited, and that it runs the files as candidates are made."""
        target = TARGETS[self.target]
        if target.time and self.within and self.within.milliseconds is not None:
            raise ValueError(
                f"within.milliseconds is the time on LiteRT on this machine, which says nothing of {target.name}. "
                f"Write {target.time}, the time there"
            )
        for name in self.within.on_device() if self.within else ():
            if name not in target.figures:
                raise ValueError(
                    f"within.{name} is measured on target {measured_on(name)}, not on {target.name}. Write that "
                    "target, or leave it out"
                )
        if self.size is not None and self.size not in (sizes := size_names([target])):
            raise ValueError(f"size {self.size} is not one of target {target.name}. Write {either(sizes)}")
        if sentence := Export.refusal(mode="int8", **self._on_target()):
            raise ValueError(sentence)

    def _target_has_bits(self) -> None:
        """Checks that the target takes kernels of 4 bits where all have them; of both, it drops what it does not."""
        if set(self.bits) != {4}:
            return
        rules = (Rule(layers=("*",), to="int4"),)
        if sentence := Export.refusal(mode="int8", rules=rules, **self._on_target()):
            raise ValueError(f"{sentence.partition('. ')[0]}. Write bits: [8]")

    def export(self) -> Export:
        """The settings of every file of the search."""
        return Export(mode="int8", **self._on_target())

    def _on_target(self) -> dict[str, Any]:
        return {"target": self.target, "target_options": self.target_options, "decode": self.decode}

    def parts(self) -> list[type[Stage]]:
        """The stages that make candidates."""
        return [PruneChannels, Prune, Cluster, Quantize]

    def needs(self) -> Mapping[str, Need]:
        """The teacher for distillation."""
        from tfopt.stages.train import Train

        needs = Train(epochs=1, **self.training).needs()
        return {name: replace(need, field=("training", *need.field)) for name, need in needs.items()}

    def objective(self) -> Objective:
        """The objective of the search."""
        limits = self.within.limits() if self.within else {}
        goal = self.goal or ("smallest" if self.max_drop is not None else "accurate")
        time = TARGETS[self.target].time or "milliseconds"
        of_file = {name: limits.get(name) for name in OF_ANY_FILE}
        device = self.within.on_device() if self.within else {}
        return Objective(goal, self._size(), **of_file, max_drop=self.max_drop, time=time, device=device)

    def _size(self) -> str:
        """The size that counts: as asked for, one that is limited, or the target's own."""
        limits = self.within.limits() if self.within else {}
        if self.size:
            return self.size
        target = TARGETS[self.target]
        if (own := target.size) in target.figures and not {"raw_bytes", "gzip_bytes"}.intersection(limits):
            return own.removesuffix("_bytes")
        return "raw" if "raw_bytes" in limits and "gzip_bytes" not in limits else "gzip"

    def surroundings(self) -> tuple[str, ...]:
        """The version of the target's tool, which the file and its figures depend on."""
        return TARGETS[self.target].surroundings

    def check_settings(self, outlook: Outlook) -> None:
        """Checks the gate, the training settings, and that candidates are what is spread."""
        from tfopt.stages.train import Train

        if outlook.runtime.strategy == "multi_worker":
            raise InputError(
                "a search spreads over candidates: tfopt search --workers 2, without strategy: multi_worker.",
                ("runtime", "strategy"),
            )
        Train(epochs=1, **self.training).check_settings(outlook)
        if self.max_drop is not None or self.metric:
            check_gate(self.max_drop, self.metric, outlook.metrics)

    def check(self, model: Any, context: Context) -> None:
        """Checks the training settings, resolves the patterns, and checks that the budget can be met."""
        from tfopt.search.trial_store import check_storage
        from tfopt.stages.train import Train

        check_storage(context.devices.runtime.storage if context.devices else None)
        TARGETS[self.target].check_installed()
        Train(epochs=1, **self.training).check(model, context)
        if self.max_drop is not None or self.metric:
            check_drop(self.max_drop, gated(self.metric, metrics_of(model, context)))
        try:
            profile = self._profile(model, context, CHECKED_SAMPLES)
        except ConversionError as error:
            raise ModelError(str(error), ("target",)) from error
        least = profile.forecast(profile.thinnest())
        for name, over in self.objective().over(least, slack=2.0).items():
            if over > ROUGH:
                value = least.figure(name)
                about = f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
                raise InputError(
                    f"no candidate fits {name}: the smallest would have about {about}. Raise it, or allow more: "
                    "a higher sparsity, 4 bits, fewer channels.",
                    ("within", name),
                )

    def _profile(self, model: Any, context: Context, samples: int) -> ModelProfile:
        from tfopt.search.model_profile import ModelProfile, SearchBounds

        export = self.export()
        zeros = self._size() == "gzip" or TARGETS[self.target].coding(export) is not None
        sparsity = ((0.0, 0.99) if zeros else False) if self.sparsity is None else self.sparsity
        clusters = ((0, 8, 16, 32) if zeros else (0,)) if self.clusters is None else self.clusters
        allowed = SearchBounds(
            (round(1 - sparsity[1], 6), round(1 - sparsity[0], 6)) if sparsity else None,
            tuple(sorted(set(self.bits), reverse=True)),
            tuple(sorted(set(clusters))),
            self.channels or (1.0, 1.0),
            self.only,
            self.skip,
        )
        return ModelProfile(model, allowed, context.data.calibration(samples, context.seed), export)

    def run(self, inputs: Sequence[Artifact], context: Context) -> Artifact:
        """Searches, and collects the files of the Pareto front."""
        from tfopt.tflite.benchmark import sizes

        builder, worker, record = self._begin(inputs, context)
        points = worker.run()
        objective = self.objective()
        points, best = _at_hand(points, objective, builder)
        files = {point.number: builder.folder / f"{point.number}.tflite" for point in best}
        chosen = ranked(best, objective)[0]
        rows = tuple(builder.row(p, files[p.number], objective) for p in best)
        told = {number: told_of(file) for number, file in files.items()}
        context.told.extend(sentence for one in told.values() for sentence in one.warnings)
        with storage_errors(context.folder):
            (context.folder / FRONT).mkdir(exist_ok=True)
            for number, file in files.items():
                shutil.copyfile(file, context.folder / FRONT / f"{number}.tflite")
        trials = record.trials()
        outcome = SearchOutcome(
            metric=builder.metric.name,
            before=builder.before,
            wish=SearchObjective(**asdict(objective), target=self.target),
            limits=objective.limits,
            chosen=chosen.number,
            front=rows,
            tried=tuple(
                TriedCandidate(p.number, builder.trained(p.candidate, p.epochs), p.score, **asdict(p.cost))
                for p in points
            ),
            failed=tuple(FailedCandidate(t.number, t.error) for t in trials if t.state == "failed"),
            lost=sum(t.state == "lost" for t in trials),
            dropped=sum(t.job.dropped for t in trials if t.state != "dropped"),
        )
        file = context.folder / FRONT / f"{chosen.number}.tflite"
        scores = rows[best.index(chosen)].test
        failure = _failure(chosen, objective, builder.metric.name)
        artifact = context.artifact(
            self,
            inputs,
            f"{FRONT}/{file.name}",
            metrics={**scores, **sizes(file), **chosen.cost.device},
            scores=tuple(scores),
            skipped=(*(Skipped(*one) for one in builder.profile.skipped), *told[chosen.number].skipped),
            details=[
                outcome,
                *told[chosen.number].of_file(),
                *made_details(file, self.export(), told[chosen.number], context.folder),
                usage_detail(file, context.load(inputs[0]), context, {}),
            ],
            failed=None if chosen.meets(objective) else f"{context.name}: {failure}",
        )
        with storage_errors(context.folder):
            remove(builder.folder)
        return artifact

    def share(self, inputs: Sequence[Artifact], context: Context) -> None:
        """Works on candidates until the search is over."""
        _, worker, _ = self._begin(inputs, context)
        worker.run()

    def _begin(self, inputs: Sequence[Artifact], context: Context) -> tuple[CandidateBuilder, Worker, TrialStore]:
        from tfopt.search.model_profile import RANKED_SAMPLES
        from tfopt.search.sampler import Sampler
        from tfopt.search.trial_store import open_trial_store
        from tfopt.search.worker import Rungs, Worker

        model, objective = context.load(inputs[0]), self.objective()
        profile = self._profile(model, context, self.samples)
        metric = gated(self.metric, metrics_of(model, context))
        builder = CandidateBuilder(
            inputs[0], context, profile, metric, self.training, self.samples, self.export(), self.rounding
        )
        seeds = profile.seeds(context.data.validation.choose(RANKED_SAMPLES, context.seed), metric, objective)
        space = profile.space
        runtime = context.devices.runtime if context.devices else None
        record = open_trial_store(
            runtime.storage if runtime else None,
            context.folder.parent / f"{context.name}{JOURNAL}",
            f"{context.name}-{content_key(context.key, sorted(space.distributions()))[:16]}",
            ["minimize"] * 3,
            space.distributions(),
            runtime.lost_after if runtime else 120.0,
            context.progress.note,
        )
        worker = Worker(
            record,
            space,
            Sampler(space, profile.forecast, objective, seeds, context.seed),
            objective,
            Rungs(self.trials, self.epochs, self.promoted),
            builder.make,
            context.progress.step,
            context.progress.part,
            builder.trained,
        )
        return builder, worker, record


def _at_hand(points: list[Point], objective: Objective, builder: CandidateBuilder) -> tuple[list[Point], list[Point]]:
    """The points and their front, with all files of the front on this machine, remade and remeasured if needed."""
    while True:
        best = front(points, objective)
        missing = [point for point in best if not builder.find(point.number)]
        if not missing:
            return points, best
        again = {point.number: builder.made_again(point) for point in missing}
        points = [again.get(point.number, point) for point in points]


def _failure(chosen: Point, objective: Objective, metric: str) -> str:
    limits = ", ".join(f"{name} {limit:,.6g}" for name, limit in objective.limits.items())
    return (
        f"no file is within {limits}: the nearest has {metric} {chosen.score:.4f} (drop {chosen.drop:+.4f}), "
        f"{chosen.cost}. Allow more, or give it more trials and epochs."
    )
