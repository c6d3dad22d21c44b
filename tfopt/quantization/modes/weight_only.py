"""`weight_only`: kernels in 8 bits, which are turned into float32 before they are computed with."""

from tfopt.recipe.modes import Mode

WEIGHT_ONLY = Mode(
    name="weight_only",
    about="int8 kernels, computed in float32",
    weights="int8",
    weight_only=True,
    rules=("int8", "int4", "float"),
    rank=40,
)
