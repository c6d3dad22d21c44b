"""`uniform`: the same sparsity for every kernel, as TF-MOT does it."""

from tfopt.sparsity.allocations import Allocation

UNIFORM = Allocation("uniform", "Each kernel has the same sparsity.", rank=1)
