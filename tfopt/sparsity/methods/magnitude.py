"""`magnitude`: the smallest weights go (TF-MOT's rule)."""

from tfopt.sparsity.methods import PruningMethod

MAGNITUDE = PruningMethod(
    "magnitude", "The smallest weights go (TF-MOT's rule); those that stay are left as they are.", rank=1
)
