"""`auto`: the rounding that gives the least noise on samples that it has not seen."""

from tfopt.recipe.modes import Rounding

AUTO = Rounding(
    name="auto",
    about="that of the least noise on held-out samples, in scores for probabilities, with biases corrected",
    tries=("nearest", "descent", "adaround"),
    rank=50,
)
