"""LiteRT itself, which every file is run on before it is handed over."""

from tfopt.recipe.export import Target

LITERT = Target(
    name="litert",
    about="LiteRT on phones, boards and servers",
    runs=lambda mode: True,
    rank=10,
)
