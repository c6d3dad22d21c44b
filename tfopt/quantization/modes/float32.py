"""`float32`: the model as it is, weights and activations in float32."""

from tfopt.recipe.modes import Mode

FLOAT32 = Mode(
    name="float32",
    about="as the model is",
    weights="float32",
    sparse=True,
    rank=10,
)
