"""`nearest`: each weight goes to the integer next to it, whatever the others do."""

from tfopt.recipe.modes import Rounding

NEAREST = Rounding(name="nearest", about="each weight to the nearest integer", rank=10)
