"""Structured sparsity: channels and units really removed, with all that is tied to them.

A layer class of your own gets its place in the table with `register`.
"""

from __future__ import annotations

from tfopt.sparsity.structured.channels import Channels
from tfopt.sparsity.structured.dead import remove_dead
from tfopt.sparsity.structured.flow import Axis, Call, Flow, register
from tfopt.sparsity.structured.remove import Removal, remove

__all__ = ["Axis", "Call", "Channels", "Flow", "Removal", "register", "remove", "remove_dead"]
