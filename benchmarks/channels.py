"""Half of a net's floating point operations removed by each score: accuracy, bytes, and latency of the int8 files.

The nets and the training are those of pipelines/vgg_channels.yaml and resnet_channels.yaml; accuracy is LiteRT's on the
10,000 test images of MNIST. Each file is timed against the dense int8 file, in turns, each time in a process of its
own; a ratio is the median of the paired ones, above 1 where the cut file is faster.

    TFOPT_DATA=/folder/with/mnist.npz python benchmarks/channels.py [--net vgg] [--repeats 7] [--out FOLDER]

Results are kept in the folder: running again goes on from there, and times anew.
"""

import argparse
import os
import statistics
from pathlib import Path

import tfopt
from tfopt.tflite.benchmark import measure

PIPELINES = Path(__file__).parents[1] / "pipelines"
NETS = ("vgg", "resnet")
SCORES = ("l1", "l2", "activity", "batchnorm", "taylor", "random")


def recipe(net, data, rankings):
    """The net's recipe with a cut of it by every score, each from the same dense model."""
    own = tfopt.Recipe.load(PIPELINES / f"{net}_channels.yaml", data=data)
    train, dense, cut = own.stages[:3]
    stages = [train, dense]
    for ranking in rankings:
        for score in SCORES:
            name = f"{score}-{ranking}"
            stages.append(cut.model_copy(update={"name": f"keras-{name}", "score": score, "ranking": ranking}))
            stages.append(tfopt.Quantize(name=name, mode="int8"))
    return own.model_copy(update={"name": f"{net}-scores", "stages": [*stages, tfopt.Verify()]})


def ratios(dense, other, repeats):
    """How many times faster one file is than another, of several pairs."""
    pairs = [[measure(path)["latency_median_seconds"] for path in (dense, other)] for _ in range(repeats)]
    return statistics.median(a / b for a, b in pairs)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", choices=NETS, help="one net; both if not given")
    parser.add_argument("--ranking", choices=("local", "global"), help="one ranking; both if not given")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--out", default="saved_models/channels")
    arguments = parser.parse_args()
    data = f"npz:{os.environ['TFOPT_DATA']}/mnist.npz" if "TFOPT_DATA" in os.environ else "keras:mnist"
    rankings = [arguments.ranking] if arguments.ranking else ["local", "global"]
    for net in [arguments.net] if arguments.net else NETS:
        made = tfopt.run(recipe(net, data, rankings), out=arguments.out).artifacts
        files = made["verify"].files
        base = made["dense"]
        flops = sum(layer["flops"][0] for layer in made[f"keras-{SCORES[0]}-{rankings[0]}"].details["layers"])
        print(f"{net:<8} {'dense':<18} {flops / 1e6:>6.1f} MFLOPs {base.metrics['raw_bytes']:>9,.0f} B", end=" ")
        print(f"{files['dense']['accuracy']:.4f}", flush=True)
        for ranking in rankings:
            for score in SCORES:
                name = f"{score}-{ranking}"
                left = sum(layer["flops"][1] for layer in made[f"keras-{name}"].details["layers"])
                drop = files["dense"]["accuracy"] - files[name]["accuracy"]
                faster = ratios(base.path, made[name].path, arguments.repeats)
                print(f"{net:<8} {name:<18} {left / 1e6:>6.1f} MFLOPs", end=" ")
                print(f"{made[name].metrics['raw_bytes']:>9,.0f} B {files[name]['accuracy']:.4f}", end=" ")
                print(f"drop {drop:+.4f} {faster:.2f}x", flush=True)


if __name__ == "__main__":
    main()
