"""`dynamic`: kernels in 8 bits; activations are quantized sample by sample while the file runs."""

from tfopt.recipe.modes import Mode

DYNAMIC = Mode(
    name="dynamic",
    about="int8 kernels, activations quantized while it runs",
    weights="int8",
    rules=("int8", "int4", "float"),
    rank=30,
)
