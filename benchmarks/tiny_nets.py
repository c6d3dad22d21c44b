"""The nets of MLPerf Tiny with the tasks that they are trained for here, and the training of each.

The nets are those of networks.py. Their own data are not here, and trainings are far shorter than those of the
benchmark: figures of these tasks are to be compared with each other alone.
"""

from functools import cache, partial
from pathlib import Path

import keras
import networks
import tasks
from devices import Net, falling

import tfopt

SEED = 0


def built(name, module=networks):
    """An untrained net, of this module's Keras or of another copy of networks.py."""
    build = getattr(module, name)
    return build((61, 10, 1), 10) if name == "ds_cnn" else build()


NETS = {
    "ds_cnn": Net(
        "keyword spotting: accuracy on 300 spoken digits of the Free Spoken Digit Dataset, 2,430 to train",
        partial(built, "ds_cnn"),
        tasks.spoken_coefficients,
        epochs=(30, 15),
        rate=(3e-3, 1e-3),
    ),
    "autoencoder": Net(
        "anomaly detection: area under the ROC curve on 4,000 generated samples of known structure, 8,000 to train",
        partial(built, "autoencoder"),
        tasks.manifold,
        tasks.detection,
        epochs=(60, 30),
        batch_size=64,
        loss="mse",
    ),
    "resnet_8": Net(
        "image classification: accuracy on the 10,000 test images of JPEG CIFAR-10, 10,000 to train",
        partial(built, "resnet_8"),
        partial(tasks.augmented_cifar10, 10_000),
        epochs=(16, 12),
        rate=(3e-3, 1e-3),
        batch_size=64,
    ),
    "mobilenet_v1": Net(
        "vehicle or animal at 96 x 96: accuracy on 2,000 enlarged images of JPEG CIFAR-10, 3,000 to train",
        partial(built, "mobilenet_v1"),
        tasks.animals_and_vehicles,
        epochs=(8, 6),
        rate=(2e-3, 1e-3),
        batch_size=16,
    ),
    "wake_word": Net(
        "streaming wake word: mean share of each class that is found in 1,600 samples with noise, 9,720 to train",
        partial(built, "wake_word"),
        tasks.wake_words,
        tasks.balanced,
        epochs=(14, 7),
        rate=(3e-3, 1e-3),
    ),
}


@cache
def dense(name: str, work: Path) -> Path:
    """The trained net as a `.keras` file: an earlier run's, where net, data and training are what they were."""
    net = NETS[name]
    train = tfopt.Train(epochs=net.epochs[0], batch_size=net.batch_size, optimizer=falling(net.rate[0]))
    return run(name, "dense", net.build, [train], work)["train"].path


def run(name, way, model, stages, work):
    """The artifacts of stages on a net's data, with what an earlier run has left."""
    net = NETS[name]
    keras.utils.set_random_seed(SEED)
    recipe = tfopt.Recipe(
        name=f"{name}-{way}",
        model=model,
        data=net.data,
        loss=net.loss,
        metrics=["mse" if net.loss == "mse" else "accuracy"],
        seed=SEED,
        stages=stages,
    )
    return tfopt.run(recipe, work / "tiny").artifacts
