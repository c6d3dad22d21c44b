"""A run of a recipe as a run of MLflow: settings, metrics of every epoch and stage, files and reports.

References:
    MLflow's tracking, mlflow.org/docs/latest/ml/tracking.
"""

from __future__ import annotations

import os
import re
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfopt.errors import InputError, TfoptWarning
from tfopt.output_capture import captured
from tfopt.recipe.artifact import CARD, PAGE, PROVENANCE, RECIPE, SOURCE, Artifact
from tfopt.recipe.progress import Progress

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT = "tfopt"
REPORTS = (PAGE, "report.md", "report.json", RECIPE, PROVENANCE, CARD)
# What identifies a run of MLflow with the results of a recipe, so that an interrupted one is gone on with.
KEY = "tfopt.key"
# What MLflow takes at once, and of a value.
MOST_AT_ONCE, MOST_CHARACTERS = 100, 500
# While it is asked for the first time: MLflow's own seven tries of a server that is not there take minutes.
FEW_TRIES = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}
_UNKNOWN = re.compile(r"[^\w\-. :/]")


class MLflowProgress(Progress):
    """Records a run of a recipe in MLflow; a recipe that is run again goes on in the same run of MLflow.

    Parameters are the recipe's model, data and seed and the settings of every stage, as `prune.sparsity`. Metrics are
    Keras's logs of every epoch, as `prune/loss`, and what was measured of every result, as `int8/raw_bytes`. Artifacts
    are the `.tflite` files by their stages, and the reports. A run that fails, or whose file is less accurate than its
    recipe allows, has the status FAILED. Where MLflow fails during the run, this is said and the run goes on.

    Args:
        uri: The tracking server or database; `MLFLOW_TRACKING_URI`, else MLflow's own default, if not given.
        experiment: The experiment; `MLFLOW_EXPERIMENT_NAME`, else `tfopt`, if not given.
        notify: Takes the line that says what MLflow failed at; a `TfoptWarning` if not given.

    Raises:
        InputError: MLflow is not installed, or does not answer.
    """

    def __init__(
        self, uri: str | None = None, experiment: str | None = None, notify: Callable[[str], None] | None = None
    ):
        name = experiment or os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
        self._notify = notify or (lambda line: warnings.warn(line, TfoptWarning, stacklevel=2))
        self._client, self._experiment = _opened(uri, name)
        self._recording, self._run, self._folder = False, "", Path()
        self._stage, self._epoch, self._before = "", 0, 0
        self._failed: str | None = None

    def started(self, name: str, settings: Mapping[str, Any], key: str, folder: Path) -> None:
        """Opens the run of MLflow, that of an earlier try where there is one."""
        self._recording, self._folder, self._failed = True, folder, None
        self._try(lambda: self._open(name, settings, key))

    def stage(self, name: str, kind: str, index: int, count: int) -> None:
        """Keeps the name, under which the epochs of the stage are recorded."""
        self._stage, self._epoch, self._before = name, 0, 0

    def epoch(self, epoch: int, epochs: int, logs: Mapping[str, float]) -> None:
        """Records the logs of an epoch; those of a second training in a stage come after those of the first."""
        if epoch <= self._epoch:
            self._before += self._epoch
        self._epoch = epoch
        self._try(lambda: self._measure({self._stage: logs}, self._before + epoch))

    def done(self, artifact: Artifact) -> None:
        """Records what was measured of a result."""
        self._try(lambda: self._measure(_figures(artifact)))

    def finished(self, artifacts: Mapping[str, Artifact]) -> None:
        """Records all results, also those that were reused, with files, reports and versions."""
        self._failed = " ".join(artifact.failed for artifact in artifacts.values() if artifact.failed)
        self._try(lambda: self._finish(artifacts))

    def close(self) -> None:
        """Ends the run of MLflow: finished, failed, or killed where it was interrupted."""
        killed = isinstance(sys.exception(), KeyboardInterrupt)
        status = "FINISHED" if self._failed == "" else "KILLED" if killed else "FAILED"
        self._try(lambda: self._client.set_terminated(self._run, status))
        self._recording = False

    def _open(self, name: str, settings: Mapping[str, Any], key: str) -> None:
        client = self._client
        same = client.search_runs([self._experiment], f"tags.`{KEY}` = '{key}'", max_results=1)
        if same:
            self._run = same[0].info.run_id
            client.update_run(self._run, "RUNNING")
            return
        from tfopt import __version__

        tags = {KEY: key, "tfopt.version": __version__, "mlflow.source.name": name}
        self._run = client.create_run(self._experiment, tags=tags, run_name=name).info.run_id
        self._batches(params=dict(_flat(settings)))

    def _finish(self, artifacts: Mapping[str, Artifact]) -> None:
        for artifact in artifacts.values():
            self._measure(_figures(artifact))
            if artifact.format == "tflite" and not artifact.files:
                for file in (artifact.path, *artifact.device_files.values()):
                    self._client.log_artifact(self._run, str(file), artifact.name)
        for report in (self._folder / name for name in REPORTS):
            if report.is_file():
                self._client.log_artifact(self._run, str(report))
        made = [artifact for artifact in artifacts.values() if artifact.kind != SOURCE]
        versions = {name: text for artifact in made[-1:] for name, text in artifact.environment.items()}
        self._batches(tags={**versions, "passed": str(not self._failed).lower(), "failed": self._failed})

    def _measure(self, figures: Mapping[str, Mapping[str, float]], step: int = 0) -> None:
        """Records figures by the name of their stage or file."""
        found = {f"{name}/{figure}": value for name, own in figures.items() for figure, value in own.items()}
        self._batches(metrics=found, step=step)

    def _batches(
        self,
        metrics: Mapping[str, float] | None = None,
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, Any] | None = None,
        step: int = 0,
    ) -> None:
        from mlflow.entities import Metric, Param, RunTag

        now = int(time.time() * 1000)
        found: list[tuple[str, Any]] = [
            *(("metrics", Metric(_name(name), float(value), now, step)) for name, value in (metrics or {}).items()),
            *(("params", Param(_name(name), text[:MOST_CHARACTERS])) for name, text in (params or {}).items()),
            *(("tags", RunTag(_name(name), str(value)[:MOST_CHARACTERS])) for name, value in (tags or {}).items()),
        ]
        for start in range(0, len(found), MOST_AT_ONCE):
            batch = found[start : start + MOST_AT_ONCE]
            kinds = {kind: [entry for other, entry in batch if other == kind] for kind, _ in batch}
            self._client.log_batch(self._run, **kinds)

    def _try(self, work: Callable[[], None]) -> None:
        """Does something with MLflow; where that fails, it is the last thing that is tried."""
        from mlflow.exceptions import MlflowException

        if not self._recording:
            return
        try:
            with captured():
                work()
        except (MlflowException, OSError) as error:
            self._recording = False
            self._notify(f"MLflow records no more of this run: {_first_line(error)}")


def _opened(uri: str | None, experiment: str) -> tuple[MlflowClient, str]:
    """The client, and the id of the experiment, which is made where it is not there."""
    try:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
    except ImportError:
        raise InputError("recording in MLflow needs MLflow: pip install 'tfopt[mlflow]'.") from None
    before = {name: os.environ.get(name) for name in FEW_TRIES}
    os.environ.update({name: value for name, value in FEW_TRIES.items() if before[name] is None})
    try:
        with captured():
            client = MlflowClient(tracking_uri=uri)
            found = client.get_experiment_by_name(experiment)
            return client, found.experiment_id if found else client.create_experiment(experiment)
    except (MlflowException, OSError) as error:
        place = uri or os.environ.get("MLFLOW_TRACKING_URI") or "its default"
        raise InputError(
            f"MLflow does not take runs there: {_first_line(error)}. Check MLFLOW_TRACKING_URI. Received: {place}."
        ) from error
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)


def _figures(artifact: Artifact) -> dict[str, dict[str, float]]:
    """What was measured, by the names of the stages that made what was measured."""
    return artifact.files or {artifact.name: artifact.metrics}


def _flat(settings: Mapping[str, Any], place: str = "") -> Iterator[tuple[str, str]]:
    """Nested settings as one level of names with dots; without those that are not set."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{place}{name}.")
        elif value not in (None, [], ()):
            yield f"{place}{name}", str(value)


def _name(text: str) -> str:
    """A name that MLflow takes."""
    return _UNKNOWN.sub("_", text)[:250]


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".")
