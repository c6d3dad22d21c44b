"""`global`: the smallest weights of the whole model are pruned, whichever kernel they are in.

References:
    Frankle and Carbin, The lottery ticket hypothesis, arXiv:1803.03635 (global ranking).
"""

from tfopt.sparsity.allocations import Allocation

GLOBAL = Allocation("global", "The smallest weights of all kernels go, wherever they are.", together=True, rank=2)
