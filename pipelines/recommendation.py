"""Who likes what, for recommendation.yaml: generated interactions of known structure, and two towers over them."""

import keras
import numpy as np
from keras import layers

USERS, ITEMS, TASTES = 500, 300, 4
TRAIN, TEST = 60_000, 10_000


def load():
    """Pairs of a user and an item, and whether the user liked it.

    Generated, not real: every user and every item has a hidden vector of four tastes, and a user likes an item with the
    probability sigmoid(2 * user . item). What no model can do better than is the AUC of these probabilities themselves,
    `best_auc()`.
    """
    x, y, _ = interactions()
    return {
        "x_train": {name: ids[:TRAIN] for name, ids in x.items()},
        "y_train": y[:TRAIN],
        "x_test": {name: ids[TRAIN:] for name, ids in x.items()},
        "y_test": y[TRAIN:],
    }


def interactions():
    """All pairs, the likes, and the probabilities that they were drawn with."""
    generator = np.random.default_rng(0)
    users, items = generator.normal(size=(USERS, TASTES)), generator.normal(size=(ITEMS, TASTES))
    user, item = generator.integers(0, USERS, TRAIN + TEST), generator.integers(0, ITEMS, TRAIN + TEST)
    likely = 1 / (1 + np.exp(-2 * (users[user] * items[item]).sum(axis=1) / np.sqrt(TASTES)))
    likes = (generator.random(TRAIN + TEST) < likely).astype(np.int32)
    return {"user": user.astype(np.int32)[:, None], "item": item.astype(np.int32)[:, None]}, likes, likely


def best_auc():
    """The AUC of the probabilities that the test split was drawn with."""
    from sklearn.metrics import roc_auc_score

    _, likes, likely = interactions()
    return roc_auc_score(likes[TRAIN:], likely[TRAIN:])


def build():
    """A tower for users and one for items, and the product of what they come to."""

    def tower(name, count):
        ids = layers.Input((1,), dtype="int32", name=name)
        vectors = layers.Embedding(
            count, 8, embeddings_initializer=keras.initializers.RandomNormal(stddev=0.3), name=f"{name}_embedding"
        )
        return ids, layers.Dense(8, name=f"{name}_dense")(layers.Flatten()(vectors(ids)))

    (user, likes), (item, offers) = tower("user", USERS), tower("item", ITEMS)
    score = layers.Dense(1, activation="sigmoid", name="liked")(layers.Multiply()([likes, offers]))
    return keras.Model([user, item], score, name="two_towers")
