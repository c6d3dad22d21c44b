"""`auto`: the rounding that gives the least noise on samples that it has not seen."""

from tfopt.recipe.modes import Rounding

AUTO = Rounding(
    name="auto",
    about="that of the least noise on held-out samples, each with its biases corrected; probabilities are compared by their scores",
    tries=("nearest", "descent", "adaround"),
    rank=50,
)
