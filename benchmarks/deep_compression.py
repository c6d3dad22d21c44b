"""The table of the Deep Compression paper (arXiv:1510.00149) on MNIST: what each step buys, the whole file counted.

A ratio is the bytes of the dense float32 parameters over those of `gzip -9` of the `.tflite` that LiteRT runs; an error
is that file's on the 10,000 test images. The ladder is of seed 0, every row of it a file; the last row is the recipe in
pipelines/, which is then run with the other seeds. Training images are shifted by up to a pixel, which the paper did
not do, except in the rows that say "no shifts".

    TFOPT_DATA=/folder/with/mnist.npz python benchmarks/deep_compression.py [--net lenet_5] [--seeds 3] [--out FOLDER]

Results are kept in the folder: running again goes on from there.
"""

import argparse
import importlib.util
import statistics
import time
from pathlib import Path

import tfopt
from tfopt.stages.training_stage import Distill

PIPELINES = Path(__file__).parents[1] / "pipelines"
# parameters, and the ratio and the error that the paper reports
NETS = {"lenet_300_100": (266_610, 40, 0.0158), "lenet_5": (431_080, 39, 0.0074)}


def chain(net, seed, name, stages, data=None):
    """The recipe of a net with other stages, and other data."""
    recipe = tfopt.Recipe.load(PIPELINES / f"{net}.yaml", seed=seed, name=name)
    return recipe.model_copy(update={"stages": stages(*recipe.stages[:3]), **({"data": data} if data else {})})


def int8(name, after, **settings):
    return tfopt.Quantize(name=name, after=after, **settings)


def ladder(train, prune, cluster):
    """A file after each step of a recipe: its pruning with and without a teacher, its clustering taken apart."""
    taught = Distill(teacher="train", temperature=4, weight=0.7)
    twin = prune.model_copy(update={"name": "twin", "after": "train", "distill": None if prune.distill else taught})
    return [
        train,
        tfopt.Quantize(name="float32", mode="float32"),
        int8("int8", "train"),
        twin,
        int8("pruned" if prune.distill else "taught", "twin"),
        prune.model_copy(update={"after": "train"}),
        int8("taught" if prune.distill else "pruned", "prune"),
        cluster.model_copy(update={"name": "kernels", "after": "prune", "biases": None}),
        int8("channels", "kernels", scales="channel"),
        int8("tensors", "kernels"),
        cluster.model_copy(update={"after": "prune"}),
        int8("recipe", "cluster"),
        tfopt.Verify(),
    ]


def last(train, prune, cluster):
    """The recipe's own steps, and its dense and its pruned model as files."""
    steps = [train, int8("int8", "train"), prune.model_copy(update={"after": "train"}), int8("pruned", "prune")]
    return [*steps, cluster.model_copy(update={"after": "prune"}), int8("recipe", "cluster"), tfopt.Verify()]


WORDS = {
    "float32": "dense, float32",
    "int8": "dense, int8",
    "pruned": "pruned, {sparsity:.0%} zeros",
    "taught": "pruned, taught by the dense model",
    "channels": "clustered, a scale for each channel",
    "tensors": "clustered, one scale for each kernel",
    "recipe": "biases clustered too: the recipe",
}


def show(net, result, shifts=True, only=tuple(WORDS)):
    """A line for each file of a run; returns the ratio and the error of the last."""
    dense = 4 * NETS[net][0]
    files = {name: measured for a in result.artifacts.values() for name, measured in a.files.items()}
    for name in (name for name in only if name in files):
        metrics = result.artifacts[name].metrics | files[name]
        words = WORDS[name].format(sparsity=metrics["sparsity"]) + ("" if shifts else ", no shifts")
        ratio, error = dense / metrics["gzip_bytes"], 1 - metrics["accuracy"]
        print(f"{net:<14} {words:<46} {metrics['gzip_bytes']:>9,.0f} B {ratio:>7.1f}x {error:>7.2%}", flush=True)
    return ratio, error


def unshifted(net):
    """The recipe's data without its augmentation."""
    spec = importlib.util.spec_from_file_location("lenet", PIPELINES / "lenet.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    data = module.vectors() if net == "lenet_300_100" else module.images()
    return {**data, "augment": None}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", choices=NETS, help="one net; both if not given")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", default="saved_models/deep_compression")
    arguments = parser.parse_args()
    for net in [arguments.net] if arguments.net else NETS:
        parameters, ratio, error = NETS[net]
        print(f"{net}: {parameters:,} parameters; the paper has {ratio}x at {error:.2%}", flush=True)
        start = time.monotonic()
        found = [show(net, tfopt.run(chain(net, 0, f"{net}-0", ladder), out=arguments.out))]
        for seed in range(1, arguments.seeds):
            result = tfopt.run(chain(net, seed, f"{net}-{seed}", last), out=arguments.out)
            found.append(show(net, result, only=("recipe",)))
        ratios, errors = zip(*found, strict=True)
        print(f"{net:<14} mean of {len(found)} seeds {'':<41} {statistics.mean(ratios):>7.1f}x", end=" ")
        print(f"{statistics.mean(errors):>7.2%}   {time.monotonic() - start:.0f} s", flush=True)
        plain = chain(net, 0, f"{net}-plain", last, lambda net=net: unshifted(net))
        show(net, tfopt.run(plain, out=arguments.out), shifts=False)


if __name__ == "__main__":
    main()
