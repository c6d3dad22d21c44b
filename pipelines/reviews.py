"""Movie reviews for reviews.yaml: words to numbers outside the exported model; a Conv1D or a Transformer over them."""

import csv
import tarfile
from pathlib import Path

import keras
import numpy as np
from keras import layers

WORDS, LENGTH = 6000, 40  # the vocabulary, and the words of a sentence that count
SOURCE = "https://www.cs.cornell.edu/people/pabo/movie-review-data/rt-polaritydata.tar.gz"


def load(folder: str | None = None):
    """Word numbers `(40,)` and labels, 1 for a good review.

    Args:
        folder: Holds `movie_reviews_train.tsv` and `movie_reviews_test.tsv` with the columns label and text; without
            one the sentence polarity data set is downloaded once, 0.5 MB, to ~/.keras/datasets.

    References:
        Pang and Lee, Seeing stars: exploiting class relationships for sentiment categorization with respect to rating
        scales, ACL 2005.
    """
    (texts, labels), (test_texts, test_labels) = read(Path(folder)) if folder else download()
    numbers = layers.TextVectorization(WORDS, output_sequence_length=LENGTH)
    numbers.adapt(texts)
    words = numbers.get_vocabulary()
    return {
        "x_train": numbers(texts).numpy().astype(np.int32),
        "y_train": labels,
        "x_test": numbers(test_texts).numpy().astype(np.int32),
        "y_test": test_labels,
        "show": lambda sentence: " ".join(words[number] for number in sentence if number),  # for the report
    }


def read(folder):
    """The sentences and labels of both splits."""
    splits = []
    for split in ("train", "test"):
        with open(folder / f"movie_reviews_{split}.tsv", newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
        splits.append(([row["text"] for row in rows], np.array([int(row["label"]) for row in rows])))
    return splits


def download():
    """The same, from where the data set lives; a random tenth of the sentences is the test split."""
    archive = keras.utils.get_file("rt-polaritydata.tar.gz", SOURCE)
    texts, labels = [], []
    with tarfile.open(archive) as tar:
        for label, name in enumerate(("neg", "pos")):
            lines = tar.extractfile(f"rt-polaritydata/rt-polarity.{name}").read().decode("latin-1").splitlines()
            texts += lines
            labels += [label] * len(lines)
    order = np.random.default_rng(0).permutation(len(texts))
    train, test = order[len(order) // 10 :], order[: len(order) // 10]
    labels = np.array(labels)
    return ([texts[i] for i in train], labels[train]), ([texts[i] for i in test], labels[test])


def conv():
    """An embedding, and a Conv1D over it (Kim, arXiv:1408.5882, of one width)."""
    inputs = layers.Input((LENGTH,), dtype="int32", name="words")
    x = layers.Dropout(0.4)(layers.Embedding(WORDS, 32)(inputs))
    x = layers.GlobalMaxPooling1D()(layers.Conv1D(64, 3, activation="relu")(x))
    return keras.Model(inputs, layers.Dense(1, activation="sigmoid")(layers.Dropout(0.5)(x)), name="conv")


class Places(layers.Layer):
    """Adds a learned vector to each place of a sequence."""

    def build(self, shape):
        """Makes the vectors."""
        self.places = self.add_weight(shape=shape[1:], initializer="uniform", name="places")

    def call(self, x):
        """Adds them."""
        return x + self.places


def transformer():
    """An embedding, and one block of a Transformer over it (Vaswani et al., arXiv:1706.03762)."""
    inputs = layers.Input((LENGTH,), dtype="int32", name="words")
    x = layers.Dropout(0.4)(Places()(layers.Embedding(WORDS, 32)(inputs)))
    attended = layers.MultiHeadAttention(2, 16, dropout=0.2)(x, x)
    x = layers.LayerNormalization()(x + attended)
    x = layers.LayerNormalization()(x + layers.Dense(32)(layers.Dense(64, activation="relu")(x)))
    x = layers.Dropout(0.5)(layers.GlobalAveragePooling1D()(x))
    return keras.Model(inputs, layers.Dense(1, activation="sigmoid")(x), name="transformer")
