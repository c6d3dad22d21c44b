"""Sparsity from training alone: proximal Adam, L1 in the loss, and magnitude pruning, on MNIST.

LeNet-300-100 trains as long in each way, at several strengths; then int8. Shown are the accuracy of the file on the
10,000 test images, the exact zeros in the kernels of the trained model and of the file, and the file's gzip bytes; the
last lines are the smallest file of each way whose accuracy is within 0.002 of the dense one's.

    TFOPT_DATA=/folder/with/mnist.npz python benchmarks/sparse_training.py [--epochs 16] [--seed 0] [--out FOLDER]
"""

import argparse
from pathlib import Path

import keras

import tfopt

LENET = Path(__file__).parents[1] / "pipelines" / "lenet_300_100.yaml"
WITHIN = 0.002
PROXIMAL = (3e-6, 1e-5, 2e-5, 3e-5, 5e-5, 8e-5)
LOSS = (3e-6, 1e-5, 3e-5, 5e-5)
MAGNITUDE = (0.8, 0.9, 0.95, 0.97, 0.98)


def stages(epochs):
    rate = {"cosine": {"initial_learning_rate": 2e-3}}
    shared = {"batch_size": 128, "after": "source"}
    adam = {"adam": {"learning_rate": rate}}
    yield "dense", [tfopt.Train(name="k-dense", epochs=epochs, optimizer=adam, **shared)]
    for l1 in PROXIMAL:
        proximal = {"proximal_adam": {"learning_rate": rate, "l1": l1}}
        yield f"proximal {l1:g}", [tfopt.Train(name=f"k-prox{l1:g}", epochs=epochs, optimizer=proximal, **shared)]
    for l1 in LOSS:
        yield f"loss {l1:g}", [tfopt.Train(name=f"k-loss{l1:g}", epochs=epochs, l1=l1, optimizer=adam, **shared)]
    for share in MAGNITUDE:
        name = f"k-mag{share:g}"
        yield (
            f"magnitude {share:g}",
            [tfopt.Prune(name=name, sparsity=share, allocation="global", epochs=epochs, optimizer=adam, **shared)],
        )


def zeros(path):
    """The share of exact zeros in the kernels of a model file."""
    kernels = [layer.kernel.numpy() for layer in keras.saving.load_model(path, compile=False).layers]
    return sum((kernel == 0).sum() for kernel in kernels) / sum(kernel.size for kernel in kernels)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", default="saved_models/sparse_training")
    arguments = parser.parse_args()
    ways, chain = {}, []
    for way, made in stages(arguments.epochs):
        file = f"int8-{way.replace(' ', '-')}"
        ways[way] = file
        chain += [*made, tfopt.Quantize(name=file, mode="int8")]
    own = tfopt.Recipe.load(LENET, seed=arguments.seed)
    recipe = own.model_copy(update={"name": f"seed-{arguments.seed}", "stages": [*chain, tfopt.Verify()]})
    artifacts = tfopt.run(recipe, out=arguments.out).artifacts
    measured = {way: {**artifacts[f].metrics, **artifacts["verify"].files[f]} for way, f in ways.items()}
    for way, m in measured.items():
        float_zeros = zeros(artifacts[artifacts[ways[way]].parents[0]].path)
        print(f"{way:<18} {m['accuracy']:.4f}  zeros {float_zeros:6.1%} in float, {m['sparsity']:6.1%} in int8", end="")
        print(f"  {m['gzip_bytes']:>9,.0f} B", flush=True)
    least = measured["dense"]["accuracy"] - WITHIN
    for kind in ("proximal", "loss", "magnitude"):
        fine = {w: m for w, m in measured.items() if w.startswith(kind) and m["accuracy"] >= least}
        best = min(fine, key=lambda way: fine[way]["gzip_bytes"], default=None)
        figures = f"{fine[best]['gzip_bytes']:,.0f} B, {fine[best]['accuracy']:.4f}" if best else "no file"
        print(f"smallest at {least:.4f} or better: {best or kind}: {figures}")


if __name__ == "__main__":
    main()
