"""`float16`: weights in float16, which are turned into float32 when the file is loaded."""

from tfopt.recipe.modes import Mode

FLOAT16 = Mode(
    name="float16",
    about="half the bytes, computed in float32",
    weights="float16",
    rank=20,
)
