"""`litert`: the LiteRT runtime, on which every file is checked."""

from tfopt.recipe.target import Target

LITERT = Target(
    name="litert",
    about="LiteRT on phones, boards and servers",
    runs=lambda mode: True,
    refuses="nothing that LiteRT runs",
    unrolls=True,
    rank=10,
)
