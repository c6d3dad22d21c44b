from .channel_ids import Channels as Channels
from .dead import remove_dead as remove_dead
from .propagation import Axis as Axis
from .propagation import Call as Call
from .propagation import Flow as Flow
from .propagation import register as register
from .removal import Removal as Removal
from .removal import remove as remove
