"""Penalties on the weights of a finished model, for a project of your own.

Example:
    ```python
    attachment = tfopt.regularizers.attach(model, [Penalty(l1=1e-4, only=("conv*",)), Penalty(orthogonal=1e-3)])
    model.compile("adam", "mse")
    model.fit(x, y, callbacks=[tfopt.callbacks.PenaltyLog()])
    attachment.remove()
    ```
"""

from __future__ import annotations

from tfopt.sparsity.structured.sparse_learning import ChannelPenalty
from tfopt.training.regularizers import (
    Attachment,
    GroupLasso,
    Orthogonal,
    Penalty,
    attach,
    attached,
    penalty_of,
)

__all__ = ["Attachment", "ChannelPenalty", "GroupLasso", "Orthogonal", "Penalty", "attach", "attached", "penalty_of"]
