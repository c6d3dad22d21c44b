"""`int4`: activations in 8 bits; kernels in 4 where LiteRT has such kernels, and in 8 elsewhere."""

from tfopt.recipe.modes import Mode

INT4 = Mode(
    name="int4",
    about="int4 kernels where there are any, else int8",
    weights="int4",
    activation_bits=8,
    rules=("int8", "int4", "int16", "float"),
    rank=70,
)
