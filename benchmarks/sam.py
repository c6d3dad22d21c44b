"""Whether flat minima bear compression: SAM against Adam, 95% pruned and int8, on MNIST, three seeds.

LeNet-300-100 trains, is pruned to 95% and quantized, with Adam throughout and with SAM around Adam throughout, the same
epochs and learning rates. Accuracy on the 10,000 test images: dense in Keras, pruned in Keras, pruned int8 on LiteRT.
With `--halved` SAM gets half the epochs, which is about the same time.

    TFOPT_DATA=/folder/with/mnist.npz python benchmarks/sam.py [--seeds 3] [--rho 0.05] [--halved] [--out FOLDER]
"""

import argparse
import statistics
from pathlib import Path

import tfopt

LENET = Path(__file__).parents[1] / "pipelines" / "lenet_300_100.yaml"
EPOCHS = (8, 8)


def chain(name, optimizer, epochs):
    shared = {"batch_size": 128, "optimizer": optimizer}
    return [
        tfopt.Train(name=f"{name}-dense", after="source", epochs=epochs[0], **shared),
        tfopt.Prune(name=f"{name}-pruned", sparsity=0.95, allocation="global", end=0.5, epochs=epochs[1], **shared),
        tfopt.Quantize(name=f"{name}-int8", mode="int8"),
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rho", type=float, default=0.05)
    parser.add_argument("--halved", action="store_true")
    parser.add_argument("--out", default="saved_models/sam")
    arguments = parser.parse_args()
    adam = {"adam": {"learning_rate": {"cosine": {"initial_learning_rate": 2e-3}}}}
    sam = {"sam": {"rho": arguments.rho, "optimizer": adam}}
    epochs = tuple(e // 2 for e in EPOCHS) if arguments.halved else EPOCHS
    stages = [*chain("adam", adam, EPOCHS), *chain("sam", sam, epochs), tfopt.Verify()]
    found = {}
    for seed in range(arguments.seeds):
        own = tfopt.Recipe.load(LENET, seed=seed)
        name = f"seed-{seed}-rho-{arguments.rho:g}{'-halved' if arguments.halved else ''}"
        artifacts = tfopt.run(own.model_copy(update={"name": name, "stages": stages}), out=arguments.out).artifacts
        for which in ("adam", "sam"):
            row = [artifacts[f"{which}-{part}"].metrics["accuracy"] for part in ("dense", "pruned")]
            row.append(artifacts["verify"].files[f"{which}-int8"]["accuracy"])
            found.setdefault(which, []).append(row)
            print(f"seed {seed} {which:<5} " + "  ".join(f"{value:.4f}" for value in row), flush=True)
    for which, rows in found.items():
        means = [statistics.mean(column) for column in zip(*rows, strict=True)]
        print(f"mean   {which:<5} " + "  ".join(f"{value:.4f}" for value in means))


if __name__ == "__main__":
    main()
