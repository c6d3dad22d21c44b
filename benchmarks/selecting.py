"""Models in which some numbers say which and not how much: each file's outputs against Keras's, in decibels.

The models are those of tests/quantization/selecting_zoo.py: ids, tables, several heads, masks. A ratio is of the worst
output over all samples; W marks a file that came with a warning. Run in the root of the repository:

    python -m benchmarks.selecting [--modes int8 int4 dynamic]
"""

import argparse

import keras
import numpy as np

from tests.quantization.selecting_zoo import ZOO
from tfopt.errors import ConversionError
from tfopt.metrics import compare_outputs
from tfopt.models import signature
from tfopt.quantization import convert_with_notes
from tfopt.recipe.export import Export
from tfopt.tflite.interpreter import Runner


def cell(build, mode):
    """The ratio of one model's file, or why there is none."""
    keras.utils.set_random_seed(3)
    model, x = build()
    try:
        made = convert_with_notes(model, Export(mode=mode), x)
    except ConversionError as error:
        return f"refused: {error}"
    runner = Runner(made.content)
    feeds = x if isinstance(x, dict) else {next(iter(runner.inputs)): x}
    got = runner(feeds)
    wanted = {name: np.asarray(value) for name, value in signature.call(model, feeds).items()}
    worst = min(compare_outputs({name: value}, got)["snr_db"] for name, value in wanted.items())
    return f"{worst:.1f}{' W' if made.warnings else ''}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--modes", nargs="+", default=["int8", "int4", "dynamic"])
    modes = parser.parse_args().modes
    print(f"| model | {' | '.join(modes)} |\n|---|{'---:|' * len(modes)}")
    for name, build in ZOO.items():
        print(f"| {name} | {' | '.join(cell(build, mode) for mode in modes)} |", flush=True)


if __name__ == "__main__":
    main()
