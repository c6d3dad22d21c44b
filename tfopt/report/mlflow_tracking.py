"""A run of a recipe as a run of MLflow: settings, metrics of every epoch and stage, files and reports.

References:
    MLflow's tracking, mlflow.org/docs/latest/ml/tracking.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from tfopt.errors import InputError
from tfopt.output_capture import captured
from tfopt.report.tracking import FINISHED, KILLED, PROJECT, TrackerProgress, first_line

if TYPE_CHECKING:
    from mlflow import MlflowClient

# What identifies a run of MLflow with the results of a recipe, so that an interrupted one is gone on with.
KEY = "tfopt.key"
# What MLflow takes at once, and of a value.
MOST_AT_ONCE, MOST_CHARACTERS = 100, 500
# While it is asked for the first time: MLflow's own seven tries of a server that is not there take minutes.
FEW_TRIES = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}
_UNKNOWN = re.compile(r"[^\w\-. :/]")


class MLflowProgress(TrackerProgress):
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

    tracker: ClassVar[str] = "MLflow"

    def __init__(
        self, uri: str | None = None, experiment: str | None = None, notify: Callable[[str], None] | None = None
    ):
        super().__init__(notify)
        name = experiment or os.environ.get("MLFLOW_EXPERIMENT_NAME") or PROJECT
        self._client, self._experiment = _opened(uri, name)
        self._run = ""

    def _failures(self) -> tuple[type[Exception], ...]:
        from mlflow.exceptions import MlflowException

        return MlflowException, OSError

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
        self._batches(params=settings)

    def _log(self, stage: str, epoch: int, logs: Mapping[str, float]) -> None:
        self._batches(metrics={f"{stage}/{name}": value for name, value in logs.items()}, step=epoch)

    def _measure(self, figures: Mapping[str, float]) -> None:
        self._batches(metrics=figures)

    def _keep(self, files: list[tuple[Path, str]]) -> None:
        for file, folder in files:
            self._client.log_artifact(self._run, str(file), folder or None)

    def _conclude(self, environment: Mapping[str, str], failed: str) -> None:
        self._batches(tags={**environment, "passed": str(not failed).lower(), "failed": failed})

    def _end(self, code: int) -> None:
        self._client.set_terminated(self._run, {FINISHED: "FINISHED", KILLED: "KILLED"}.get(code, "FAILED"))

    def _batches(
        self,
        metrics: Mapping[str, float] | None = None,
        params: Mapping[str, Any] | None = None,
        tags: Mapping[str, Any] | None = None,
        step: int = 0,
    ) -> None:
        from mlflow.entities import Metric, Param, RunTag

        now = int(time.time() * 1000)
        found: list[tuple[str, Any]] = [
            *(("metrics", Metric(_name(name), float(value), now, step)) for name, value in (metrics or {}).items()),
            *(("params", Param(_name(name), str(value)[:MOST_CHARACTERS])) for name, value in (params or {}).items()),
            *(("tags", RunTag(_name(name), str(value)[:MOST_CHARACTERS])) for name, value in (tags or {}).items()),
        ]
        for start in range(0, len(found), MOST_AT_ONCE):
            batch = found[start : start + MOST_AT_ONCE]
            kinds = {kind: [entry for other, entry in batch if other == kind] for kind, _ in batch}
            self._client.log_batch(self._run, **kinds)


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
            f"MLflow does not take runs there: {first_line(error)}. Check MLFLOW_TRACKING_URI. Received: {place}."
        ) from error
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)


def _name(text: str) -> str:
    """A name that MLflow takes."""
    return _UNKNOWN.sub("_", text)[:250]
