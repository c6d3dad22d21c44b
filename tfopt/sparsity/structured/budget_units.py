"""The units of budgets for structured pruning that need no target."""

# The units that are counted without a file, and all.
COUNTED = ("channels", "parameters", "flops")
UNITS = (*COUNTED, "bytes", "milliseconds")
