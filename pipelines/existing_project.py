"""tfopt in a project that has its own data, model and fit(): one callback, one conversion.

Run it with `python pipelines/existing_project.py`. The two lines that are tfopt's are marked.
"""

from pathlib import Path

import keras
import numpy as np
from keras import layers
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import tfopt


def main() -> None:
    """Trains, prunes on the way, converts, and says what came of it."""
    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype(np.float32).reshape(-1, 8, 8, 1)
    x_train, x_test, y_train, y_test = train_test_split(images, labels, test_size=0.2, random_state=0)

    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            layers.Input((8, 8, 1)),
            layers.Conv2D(32, 3, activation="relu"),
            layers.Conv2D(32, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])

    pruning = tfopt.callbacks.MagnitudePruning(sparsity=0.8, begin=0.3, end=0.8)  # tfopt
    model.fit(x_train, y_train, epochs=20, verbose=2, callbacks=[pruning])

    content = tfopt.convert(model, "int8", calibration=x_train[:200])  # tfopt
    path = Path("digits.tflite")
    path.write_bytes(content)

    _, accuracy = model.evaluate(x_test, y_test, verbose=0)
    zeros = {name: round(share, 3) for name, share in pruning.sparsity().items()}
    print(f"accuracy {accuracy:.4f}, sparsity {zeros}, {path}: {len(content):,} bytes")


if __name__ == "__main__":
    main()
