"""`int16x8`: activations in 16 bits, kernels in 8."""

from tfopt.recipe.modes import Mode

INT16X8 = Mode(
    name="int16x8",
    about="for accuracy only: its kernels are slow",
    weights="int8",
    activation_bits=16,
    rules=("int8", "int4", "int16", "float"),
    rank=60,
)
