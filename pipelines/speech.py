"""Spoken digits for speech.yaml: log-mel spectrograms of the Free Spoken Digit Dataset, and a small CNN over them."""

from pathlib import Path

import keras
import numpy as np
from keras import layers

RATE = 8000  # samples of sound a second
FRAME, HOP, MELS = 256, 128, 40  # 32 ms of sound in a frame, a frame every 16 ms
SOURCE = "https://github.com/Jakobovski/free-spoken-digit-dataset/archive/refs/tags/v1.0.10.tar.gz"


def load(file: str | None = None):
    """Spectrograms `(61, 40, 1)` and digits.

    Args:
        file: An .npz of waveforms `x_train` `(n, 8000)`, `y_train`, `x_test`, `y_test`; without one the data set is
            downloaded once, 16 MB, to ~/.keras/datasets.
    """
    sounds = dict(np.load(file)) if file else download()
    return {
        "x_train": log_mel(sounds["x_train"]),
        "y_train": sounds["y_train"],
        "x_test": log_mel(sounds["x_test"]),
        "y_test": sounds["y_test"],
    }


def download():
    """The recordings, cut or padded to a second; recordings 0-4 of each speaker and digit are the test split."""
    from scipy.io import wavfile

    folder = Path(keras.utils.get_file("fsdd", SOURCE, extract=True))
    parts = {name: [] for name in ("x_train", "y_train", "speaker_train", "x_test", "y_test", "speaker_test")}
    for path in sorted(folder.rglob("recordings/*.wav")):
        digit, speaker, number = path.stem.split("_")
        split = "test" if int(number) < 5 else "train"
        wave = wavfile.read(path)[1][:RATE]
        parts[f"x_{split}"].append(np.pad(wave, (0, RATE - len(wave))))
        parts[f"y_{split}"].append(int(digit))
        parts[f"speaker_{split}"].append(speaker)
    return {name: np.array(values) for name, values in parts.items()}


def log_mel(waves):
    """Log-mel spectrograms `(n, 61, 40, 1)` of waveforms `(n, 8000)` of 16 bits."""
    import tensorflow as tf

    spectra = tf.abs(tf.signal.stft(tf.cast(waves, tf.float32) / 32768, FRAME, HOP))
    mel = tf.signal.linear_to_mel_weight_matrix(MELS, spectra.shape[-1], RATE, 60.0, 3800.0)
    return tf.math.log(tf.matmul(spectra, mel) + 1e-3).numpy()[..., None]


def build():
    """A CNN of 40,234 parameters."""

    def block(x, channels):
        x = layers.Conv2D(channels, 3, padding="same", use_bias=False)(x)
        return layers.MaxPooling2D()(layers.ReLU()(layers.BatchNormalization()(x)))

    inputs = layers.Input((61, MELS, 1), name="sound")
    x = layers.Rescaling(1 / 4, offset=1.0)(inputs)  # logarithms of -7 to 3
    for channels in (16, 32, 48):
        x = block(x, channels)
    x = layers.GlobalAveragePooling2D()(layers.ReLU()(layers.Conv2D(48, 3)(x)))
    return keras.Model(inputs, layers.Dense(10, activation="softmax")(layers.Dropout(0.2)(x)), name="speech")
