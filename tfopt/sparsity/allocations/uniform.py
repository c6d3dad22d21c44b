"""Every kernel as sparse as every other, as TF-MOT does it."""

from tfopt.sparsity.allocations import Allocation

UNIFORM = Allocation("uniform", "Each kernel has the same sparsity.", rank=1)
