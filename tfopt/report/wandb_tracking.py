"""A run of a recipe as a run of Weights & Biases: settings, metrics of every epoch and stage, files and reports.

References:
    The Python library of Weights & Biases, docs.wandb.ai/ref/python.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from tfopt.errors import InputError
from tfopt.report.tracking import PROJECT, TrackerProgress, first_line

# What is not set in the environment. Without a limit the end of a run waits for ever on a server that went away.
SECONDS = {"init_timeout": 60.0, "finish_timeout": 600.0}
ALONE = ("offline", "dryrun", "disabled")
_UNKNOWN = re.compile(r"[^\w\-.]")


class WandbProgress(TrackerProgress):
    """Records a run of a recipe in Weights & Biases; a recipe that is run again goes on in the same run.

    Its config has the recipe's model, data and seed, the settings of every stage, as `prune.sparsity`, and versions.
    Its history has Keras's logs of every epoch, as `prune/loss` over `prune/epoch`. Its summary has what was measured
    of every result, as `int8/raw_bytes`, and whether the accuracy checks `passed`. One artifact of the type `model` has
    the `.tflite` files by their stages, and the reports. A run that fails, or whose file is less accurate than its
    recipe allows, has failed there too. Where the tracker fails during the run, this is said and the run goes on.

    Args:
        project: The project; `WANDB_PROJECT`, else `tfopt`, if not given.
        notify: Takes the line that says what the tracker failed at; a `TfoptWarning` if not given.

    Raises:
        InputError: `wandb` is not installed, nobody is logged in, or the server does not answer.
    """

    tracker: ClassVar[str] = "Weights & Biases"

    def __init__(self, project: str | None = None, notify: Callable[[str], None] | None = None):
        super().__init__(notify)
        self._project = project or os.environ.get("WANDB_PROJECT") or PROJECT
        self._run: Any = None
        _log_in()

    def _failures(self) -> tuple[type[Exception], ...]:
        import wandb

        return wandb.errors.Error, OSError, ValueError, TypeError

    def _open(self, name: str, settings: Mapping[str, Any], key: str) -> None:
        import wandb

        from tfopt import __version__

        limits = {limit: value for limit, value in SECONDS.items() if f"WANDB_{limit.upper()}" not in os.environ}
        self._run = wandb.init(
            project=self._project,
            name=name,
            id=key,
            resume="allow",
            config={**{place: _plain(value) for place, value in settings.items()}, "tfopt.version": __version__},
            allow_val_change=True,
            reinit="create_new",  # a run of the user's own goes on
            settings=wandb.Settings(console="off", silent=True, finish_timeout_raises=True, **limits),
        )

    def _log(self, stage: str, epoch: int, logs: Mapping[str, float]) -> None:
        # Its own steps only rise, and a run that goes on begins behind the last one; epochs are an axis of their own.
        self._run.define_metric(f"{stage}/*", step_metric=f"{stage}/epoch")
        self._run.log({f"{stage}/epoch": epoch, **{f"{stage}/{name}": float(value) for name, value in logs.items()}})

    def _measure(self, figures: Mapping[str, float]) -> None:
        self._run.summary.update({name: float(value) for name, value in figures.items()})

    def _keep(self, files: list[tuple[Path, str]]) -> None:
        import wandb

        kept = wandb.Artifact(_UNKNOWN.sub("_", self._run.name or PROJECT)[:128], "model")
        for file, folder in files:
            kept.add_file(str(file), name=f"{folder}/{file.name}" if folder else file.name)
        self._run.log_artifact(kept)

    def _conclude(self, environment: Mapping[str, str], failed: str) -> None:
        self._run.config.update(dict(environment), allow_val_change=True)
        self._run.summary.update({"passed": not failed, "failed": failed})

    def _end(self, code: int) -> None:
        self._run.finish(exit_code=code)


def _log_in() -> None:
    """Checks that runs are taken, where they go to a server; in a terminal without a key, wandb asks for one."""
    try:
        import wandb
    except ImportError:
        raise InputError("recording in Weights & Biases needs wandb: pip install 'tfopt[wandb]'.") from None
    try:
        if wandb.setup().settings.mode not in ALONE:
            wandb.login(verify=True)
    except (wandb.errors.Error, OSError, ValueError) as error:  # of a setting of its environment, too
        raise InputError(
            f"Weights & Biases takes no runs: {first_line(error)}. Log in by `wandb login`, or record into the working "
            f"folder with WANDB_MODE=offline. Received: WANDB_BASE_URL={os.environ.get('WANDB_BASE_URL') or 'not set'}."
        ) from error


def _plain(value: Any) -> Any:
    """A value as JSON has it; text of any other."""
    return value if isinstance(value, bool | int | float | str) else str(value)
