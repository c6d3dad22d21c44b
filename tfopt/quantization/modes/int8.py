"""`int8`: weights and activations in 8 bits."""

from tfopt.recipe.modes import Mode

INT8 = Mode(
    name="int8",
    about="all in integers",
    weights="int8",
    activation_bits=8,
    rules=("int8", "int4", "int16", "float"),
    by_converter=True,
    rank=50,
)
