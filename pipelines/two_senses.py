"""A written and a spoken digit at once, for two_senses.yaml: which digit it is, and who speaks."""

import keras
import numpy as np
from keras import layers
from speech import MELS, download, log_mel

BLANK = 0.3  # of the samples one of the two senses gets nothing


def load(images: str | None = None, sounds: str | None = None):
    """Images `(28, 28, 1)` of 0-255, spectrograms `(61, 40)`; digits and speakers.

    Every recording goes with images of its digit, four of them in training. In some pairs one of the two is blank, so
    that both have to be listened to.

    Args:
        images: MNIST as an .npz file; `keras.datasets.mnist` if not given.
        sounds: The Free Spoken Digit Dataset as an .npz file; downloaded once if not given.
    """
    written = (
        dict(np.load(images)) if images else dict(zip(("train", "test"), keras.datasets.mnist.load_data(), strict=True))
    )
    if not images:
        written = {f"{part}_{split}": written[split]["xy".index(part)] for split in written for part in "xy"}
    spoken = dict(np.load(sounds)) if sounds else download()
    names = sorted(set(spoken["speaker_train"]))
    parts = {}
    held = np.random.default_rng(1).permutation(len(spoken["y_train"])) < len(spoken["y_train"]) // 10
    for split, source, kept, times in (
        ("train", "train", ~held, 4),
        ("validation", "train", held, 1),  # recordings that training does not hear
        ("test", "test", np.ones(len(spoken["y_test"]), bool), 1),
    ):
        own = {f"{part}_{source}": spoken[f"{part}_{source}"][kept] for part in ("x", "y", "speaker")}
        x, digits = pairs(written, own, source, times)
        speakers = np.tile([names.index(name) for name in own[f"speaker_{source}"]], times)
        parts[f"x_{split}"] = x
        parts[f"y_{split}"] = {"digit": digits, "speaker": speakers.astype(np.int32)}
    return {**parts, "show": show}


def show(sample):
    """A pair for the report: the image, and the spectrogram as one, low tones at its foot."""
    return {"image": sample["image"], "sound": sample["sound"].T[::-1]}


def pairs(written, spoken, split, times):
    """Every recording `times` times, each time with another image of its digit."""
    generator = np.random.default_rng(0)
    digits = np.tile(spoken[f"y_{split}"], times).astype(np.int32)
    spectra = np.tile(log_mel(spoken[f"x_{split}"])[..., 0], (times, 1, 1))
    by_digit = [np.flatnonzero(written[f"y_{split}"] == digit) for digit in range(10)]
    chosen = np.array([generator.choice(by_digit[digit]) for digit in digits])
    pictures = written[f"x_{split}"][chosen][..., None].astype(np.float32)
    blank = generator.random(len(digits))
    pictures[blank < BLANK / 2] = 0
    spectra[blank > 1 - BLANK / 2] = spectra.min()
    return {"image": pictures, "sound": spectra}, digits


def build():
    """A CNN looks, an RNN listens, and two heads say what they came to."""
    image, sound = layers.Input((28, 28, 1), name="image"), layers.Input((61, MELS), name="sound")
    seen = layers.Rescaling(1 / 255)(image)
    for channels in (8, 16):
        seen = layers.MaxPooling2D()(layers.Conv2D(channels, 3, activation="relu")(seen))
    seen = layers.Dense(32, activation="relu")(layers.Flatten()(seen))
    heard = layers.Rescaling(1 / 4, offset=1.0)(sound)
    heard = layers.GRU(32)(layers.Conv1D(32, 5, strides=3, activation="relu")(heard))
    both = layers.Dropout(0.2)(layers.Concatenate()([seen, heard]))
    digit = layers.Dense(10, activation="softmax", name="digit")(layers.Dense(48, activation="relu")(both))
    speaker = layers.Dense(6, activation="softmax", name="speaker")(heard)
    return keras.Model({"image": image, "sound": sound}, {"digit": digit, "speaker": speaker}, name="two_senses")
