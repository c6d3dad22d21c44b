"""Stage `cluster`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Self

from pydantic import Field, field_validator, model_validator

from tfopt.errors import InputError
from tfopt.recipe.artifact import Artifact
from tfopt.recipe.details.training import DistinctValues, TrainingHistory
from tfopt.recipe.settings import Patterns, Settings
from tfopt.recipe.sizes import Bytes
from tfopt.recipe.stage import Context, Outlook
from tfopt.stages.training_stage import TrainingStage


class ClusterRule(Settings):
    """A number of distinct values for the layers that a pattern chooses."""

    layers: Patterns = Field(min_length=1)
    """Layer patterns: paths, names or classes."""
    clusters: int = Field(ge=0)
    """How many distinct values each of their kernels may have, zero included; 0 leaves them alone."""

    @field_validator("clusters")
    @classmethod
    def _more_than_one(cls, value: int) -> int:
        if value == 1:
            raise ValueError("is 0, which leaves the layers alone, or at least 2. Received: 1")
        return value


class Cluster(TrainingStage):
    """Gives each kernel a few distinct values and trains these, so that the int8 file compresses well.

    Zeros stay zeros: put it after `prune`. `quantize` keeps the values apart as they are (`scales: auto`).
    """

    kind: ClassVar[str] = "cluster"
    rank: ClassVar[int] = 7
    version: ClassVar[int] = 3

    clusters: int = Field(ge=2)
    """How many distinct values each kernel may have, zero included."""
    rules: tuple[ClusterRule, ...] = Field((), examples=[[{"layers": "head", "clusters": 32}]])
    """Numbers of values for single layers, such as {layers: head, clusters: 32}; a later rule wins."""
    biases: int | None = Field(None, ge=2)
    """How many distinct values each bias may have; biases are left alone if not given."""
    coded_bytes: Bytes = Field(None, examples=[9000])
    """How many bytes gzip may make of the values of all kernels together, a number or such as 9 KB; the rest of a file
    comes on top. Values are then chosen anew while the training goes on, each weight taking the one, or the zero, of
    least error and code length."""
    end: float = Field(0.75, gt=0, le=1)
    """With coded_bytes: the share of the training after which that choice stays; the rest recovers."""
    only: Patterns = ()
    """Layer patterns (path, name or class); empty means every layer of a class that TF-MOT prunes and that trains."""
    skip: Patterns = ()
    """Layer patterns to leave alone."""
    prunable: dict[str, Patterns] = Field({}, examples=[{"MyDense": ["matrix"]}])
    """For layers of your own: names of the weights to cluster by layer pattern, such as {MyDense: [matrix]}."""

    @model_validator(mode="after")
    def _end_means_something(self) -> Self:
        if self.coded_bytes is None and self.end != type(self).model_fields["end"].default:
            raise ValueError("end means nothing without coded_bytes. Leave it out")
        return self

    def check_settings(self, outlook: Outlook) -> None:
        """Checks the optimizer's name, and that bytes are not to be counted on several devices."""
        super().check_settings(outlook)
        self._check_devices(len(outlook.runtime.devices))

    def check(self, model: Any, context: Context) -> None:
        """Resolves the patterns, and checks the devices that there are."""
        strategy = context.devices.strategy if context.devices else None
        self._check_devices(strategy.num_replicas_in_sync if strategy else 1)
        self._callback().choose(model)
        super().check(model, context)

    def _check_devices(self, count: int) -> None:
        if self.coded_bytes is not None and count > 1:
            raise InputError(
                f"coded_bytes is for a training on one device. Leave it out, or train on one. Received: {count}.",
                ("coded_bytes",),
            )

    def _callback(self) -> Any:
        from tfopt.sparsity.clustering_callback import Clustering

        rules = [(rule.layers, rule.clusters) for rule in self.rules]
        names = ("biases", "coded_bytes", "end", "only", "skip", "prunable")
        return Clustering(self.clusters, rules=rules, **{name: getattr(self, name) for name in names})

    def run(self, inputs: Sequence[Artifact], context: Context) -> Artifact:
        """Trains with the callback and saves."""
        from tfopt.models.weight_statistics import snapshot

        model, clustering = context.load(inputs[0]), self._callback()
        before = snapshot(model)
        clustering.quiet = True  # `skipped` of the result says it
        history = self.fit(model, inputs, context, clustering)
        details = [TrainingHistory(history), DistinctValues(clustering.values())]
        return self.sparse_artifact(model, inputs, context, clustering.skipped, details, before)
