from . import structured as structured
from .magnitude import magnitude_mask as magnitude_mask
from .magnitude import sparsity_of as sparsity_of
from .schedules.constant import constant_sparsity as constant_sparsity
from .schedules.polynomial import polynomial_decay as polynomial_decay
from .structured.dead import remove_dead as remove_dead
from .structured.removal import remove as remove
