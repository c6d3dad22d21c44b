"""The Keras callback for quantization-aware training."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from tfopt.errors import InputError, ModelError, TfoptWarning
from tfopt.models.attachment import AttachedCallback, refuse_combinations
from tfopt.models.layers import replaced_by
from tfopt.models.left_alone import warn_of
from tfopt.optimizers.closure import needs_closure
from tfopt.quantization.aware.requirements import check_settings
from tfopt.quantization.aware.resemblance import Resemblance
from tfopt.quantization.aware.session import QATSession
from tfopt.quantization.conversion import Conversion, warn
from tfopt.recipe.export import Export

__all__ = ["QuantizationAware"]


class QuantizationAware(AttachedCallback):
    """Lets a model compute as its integer `.tflite` will while `fit()` trains it, and makes that file afterwards.

    Weights and activations are rounded to the grids of the file, in training and in validation; the gradient passes
    through. Pruned kernels stay as sparse, clustered ones keep their number of values. The callback acts on the model
    for the length of the `fit()`: it keeps its layers and classes, and what is saved of it at any moment, a checkpoint
    in the middle included, is an ordinary Keras model. A layer whose kernel it does not round, and that no rule keeps
    in float, is a `tfopt.TfoptWarning` when `fit` begins.

    Args:
        calibration: Representative inputs, preprocessed as for the model, as `tfopt.convert` takes them: where the
            first ranges of activations come from.
        mode: `int8`, `int4` or `int16x8`.
        ranges: How ranges follow the training: `moving_average` of each batch's extremes, `percentile`, which leaves
            outlying samples out, or `learned` by the gradient, together with the scales of the kernels (LSQ).
        momentum: Share of the old range that a moving average keeps at each step, 0-1.
        rate: Step size of learned ranges, as a share of the range.
        freeze_last: Fraction of the epochs, at the end, in which ranges and the statistics of batch normalizations
            stay as they are, 0-1; with two epochs or more at least one epoch, and 0 for none.
        **settings: Any other field of `tfopt.Export`, such as `rules`, `io` or `target`. With `rounding`,
            `bias_correction` or `clipping` the training starts from the integers that a conversion with them has.

    Raises:
        InputError: Settings that do not go together.
        ModelError: When `fit` begins: a model that is not built, or a way of training that Keras cannot combine.
        ConversionError: When `fit` begins: a model that cannot be converted.

    References:
        Jacob et al., Quantization and training of neural networks for efficient integer-arithmetic-only inference,
        arXiv:1712.05877; Esser et al., Learned step size quantization, arXiv:1902.08153; for the freeze Krishnamoorthi,
        arXiv:1806.08342.

    Example:
        ```python
        aware = tfopt.callbacks.QuantizationAware(calibration=x[:200])
        model.fit(x, y, epochs=4, callbacks=[aware])
        Path("model.tflite").write_bytes(aware.convert().content)
        ```
    """

    def __init__(
        self,
        calibration: Any,
        mode: str = "int8",
        *,
        ranges: str = "moving_average",
        momentum: float = 0.99,
        rate: float = 1e-3,
        freeze_last: float = 0.25,
        **settings: Any,
    ):
        super().__init__()
        if not 0 <= freeze_last < 1:
            raise InputError(
                f"freeze_last is a share of the epochs, 0 or above and below 1. Received: freeze_last={freeze_last}."
            )
        self.export = Export(**{"mode": mode, **settings})
        check_settings(self.export, ranges, momentum, rate)
        self.calibration, self.ranges, self.momentum, self.rate = calibration, ranges, momentum, rate
        self._freeze_last = freeze_last
        self._aware: QATSession | None = None
        self._pending: Mapping[str, np.ndarray] | None = None
        self._begun = False

    @property
    def aware(self) -> QATSession:
        """The session that the callback has attached to the model, also after `fit`.

        Raises:
            ModelError: There was no `fit` yet.
        """
        if self._aware is None:
            raise ModelError("no fit was run with QuantizationAware yet, so there are no trained ranges.")
        return self._aware

    def on(self, model: keras.Model) -> QATSession:
        """Makes the session for a model without attaching it; a model that cannot be trained so is refused here."""
        return QATSession(model, self.export, self.calibration, self.ranges, self.momentum, self.rate)

    def begin(self, model: keras.Model) -> None:
        """Makes the session of a model before `fit`, with the weights and ranges that the training starts from.

        A `fit` that goes on from a checkpoint, or trains a copy of the model, takes the start from here; for any other
        it need not be called.

        Args:
            model: The model.

        Raises:
            ModelError: The model is not built.
            ConversionError: The model cannot be converted.
        """
        self._aware, self._begun = self.on(model), True
        self._aware.attach()
        self._aware.strip()

    def on_train_begin(self, logs: Any = None) -> None:
        """Attaches the session to the model."""
        refuse_combinations(self.model)
        refuse_closures(self.model.optimizer)
        self.detach()
        self._free_of_another()
        if self._begun and self._aware is not None and self._aware.model is not self.model:
            self._aware = self._aware.on(self.model)
        self._begun = False  # a later fit begins for itself
        if self._aware is None or self._aware.model is not self.model:
            self._aware = self.on(self.model)
            told = self._aware.warnings  # of the model as it is before the training
            if not self.quiet:
                for sentence in told:
                    warnings.warn(sentence, TfoptWarning, stacklevel=2)
                warn_of(type(self).__name__, self._aware.left_alone)
        self._aware.holder, self._late = self, False
        self._aware.attach()
        self._aware.thaw()
        if self._pending is not None:
            self._aware.set_state(self._pending)
            self._pending = None

    def _free_of_another(self) -> None:
        """Frees the model of an earlier callback whose `fit` was interrupted."""
        other = replaced_by(self.model)
        if other is None:
            return
        if getattr(other.holder, "params", None) is self.params:  # the same dict within one fit, and only there
            raise ModelError("a fit takes one QuantizationAware.")
        other.strip()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Freezes ranges and statistics once the last epochs begin."""
        epochs = self.params.get("epochs") or 0
        last = max(round(self._freeze_last * epochs), 1 if self._freeze_last and epochs > 1 else 0)
        if not self._late and epoch >= epochs - last:
            self._late = True
            self.aware.freeze()

    def on_train_end(self, logs: Any = None) -> None:
        """Detaches the session from the model."""
        self.detach()

    def detach(self) -> None:
        """Restores the model's own computation; the trained weights stay."""
        if self._aware is not None:
            self._aware.strip()

    def convert(self, model: keras.Model | None = None) -> Conversion:
        """The file with the trained ranges, with the audit of its ops.

        Args:
            model: A model of the same layers with the trained weights; the trained model itself if not given.

        Warns:
            TfoptWarning: The outputs are noisy: an SNR below 20 dB against the trained model in float.

        Raises:
            ModelError: There was no `fit` yet.
            ConversionError: LiteRT cannot run the file, or its outputs have nothing to do with the model's.
        """
        made = (self.aware if model is None else self.aware.on(model)).finish()
        warn(made, stacklevel=3)
        return made

    def likeness(self, content: bytes, samples: Any = None) -> Resemblance:
        """How close a file is to the model as it was trained to compute; see `QATSession.likeness`.

        Args:
            content: Bytes of the file.
            samples: Inputs `(samples, ...)`, or a dict of such arrays; the calibration samples if not given.

        Raises:
            ModelError: There was no `fit` yet.
        """
        return self.aware.likeness(content, samples)

    def get_state(self) -> dict[str, np.ndarray]:
        """The ranges as arrays, to continue in another process with `set_state`."""
        return self.aware.observer.get_state()

    def set_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Restores the ranges of `get_state`; `fit` continues from them."""
        if self._aware is not None and self._aware.attached:
            self._aware.set_state(state)
        else:
            self._pending = dict(state)


def refuse_closures(optimizer: Any) -> None:
    """Refuses an optimizer that takes second derivatives, which rounded values do not have.

    Raises:
        ModelError: The optimizer takes second derivatives.
    """
    closing = needs_closure(optimizer)
    if closing is not None:
        raise ModelError(
            f"{type(closing).__name__} takes gradients in a way that rounded values do not have. Take another "
            "optimizer, such as adam.",
            ("optimizer",),
        )
