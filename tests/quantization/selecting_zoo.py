"""Text, tabular, multi-head and attention models, with samples: models in which some numbers say which, not how much.

Each member holds ids, categories, masks or outputs that are read again, in a form in which people write them.
"""

import keras
import numpy as np
from keras import layers, ops

SAMPLES = 64
ZOO = {}


def member(build):
    """Enters a builder of a model and its samples into the zoo, by its own name in words."""
    ZOO[build.__name__.replace("_", " ")] = build
    return build


def table(width, initializer=1.0):
    """An embedding of large, distinct rows, so that a wrong id is a wrong output."""
    return keras.initializers.RandomNormal(stddev=initializer, seed=width)


def draw():
    return np.random.default_rng(11)


def ids(vocabulary, length, dtype="float32", least=0):
    return draw().integers(least, vocabulary, (SAMPLES, length)).astype(dtype)


def embedding(vocabulary, width=8, **rest):
    return layers.Embedding(vocabulary, width, embeddings_initializer=table(width), **rest)


# Text.


@member
def ids_without_a_dtype():
    stack = [embedding(1000), layers.GlobalAveragePooling1D(), layers.Dense(4)]
    return keras.Sequential([keras.Input((12,)), *stack]), ids(1000, 12)


@member
def sequential_built_by_calling():
    model = keras.Sequential([embedding(700), layers.Flatten(), layers.Dense(3)])
    x = ids(700, 6, "int32")
    model(x[:2])
    return model, x


@member
def padded_ids_with_a_mask():
    stack = [embedding(500, mask_zero=True), layers.GlobalAveragePooling1D(), layers.Dense(4)]
    x = ids(500, 12, least=1)
    x[:, 8:] *= draw().integers(0, 2, (SAMPLES, 4))
    return keras.Sequential([keras.Input((12,)), *stack]), x


@member
def convolution_over_words():
    stack = [embedding(800), layers.Conv1D(8, 3, activation="relu"), layers.GlobalMaxPooling1D(), layers.Dense(2)]
    return keras.Sequential([keras.Input((16,)), *stack]), ids(800, 16)


@member
def recurrent_over_words():
    stack = [embedding(400), layers.LSTM(6), layers.Dense(2)]
    return keras.Sequential([keras.Input((5,)), *stack]), ids(400, 5)


@member
def gated_over_words():
    stack = [embedding(300), layers.GRU(6), layers.Dense(2)]
    return keras.Sequential([keras.Input((4,)), *stack]), ids(300, 4)


@member
def recurrent_over_padded_words():
    x = ids(300, 6, least=1)
    x[: SAMPLES // 2, 4:] = 0
    stack = [embedding(300, mask_zero=True), layers.LSTM(6), layers.Dense(2)]
    return keras.Sequential([keras.Input((6,)), *stack]), x


@member
def time_steps_marked_as_missing():
    x = draw().normal(size=(SAMPLES, 6, 3)).astype("float32")
    x[: SAMPLES // 2, 4:] = -999
    return keras.Sequential([keras.Input((6, 3)), layers.Masking(-999.0), layers.LSTM(5), layers.Dense(2)]), x


@member
def ids_made_on_the_way():
    x = keras.Input((4,))
    y = ops.cast(ops.mod(ops.floor(x / 3) * 7, 50), "int32")
    return keras.Model(x, layers.Dense(3)(layers.Flatten()(embedding(50)(y)))), ids(900, 4)


@member
def words_and_positions():
    x = keras.Input((10,))
    y = embedding(600)(x) + embedding(10)(ops.arange(10))
    y = layers.LayerNormalization()(y)
    return keras.Model(x, layers.Dense(3)(layers.GlobalAveragePooling1D()(y))), ids(600, 10)


@member
def one_hot_of_ids():
    x = keras.Input((5,))
    y = layers.Flatten()(ops.one_hot(ops.cast(x, "int32"), 40))
    return keras.Model(x, layers.Dense(4)(y)), ids(40, 5)


@member
def one_hot_by_comparison():
    x = keras.Input((3,))
    y = ops.cast(ops.equal(x[..., None], ops.arange(300, dtype="float32")), "float32")
    return keras.Model(x, layers.Dense(4)(layers.Flatten()(y))), ids(300, 3)


@member
def rows_taken_by_ids():
    x = keras.Input((7,))
    rows = draw().normal(size=(450, 6)).astype("float32")
    y = ops.take(ops.convert_to_tensor(rows), ops.cast(x, "int32"), axis=0)
    return keras.Model(x, layers.Dense(4)(layers.Flatten()(y))), ids(450, 7)


# Tables.


@member
def table_of_numbers_and_categories():
    x = keras.Input((8,))
    y = layers.Flatten()(embedding(30, 6)(ops.cast(x[:, 6:], "int32")))
    y = layers.Concatenate()([x[:, :6], y])
    model = keras.Model(x, layers.Dense(3)(layers.Dense(16, activation="relu")(y)))
    return model, np.concatenate([draw().normal(size=(SAMPLES, 6)), ids(30, 2)], 1).astype("float32")


@member
def table_of_many_categories():
    x = keras.Input((5,))
    parts = [layers.Flatten()(embedding(size, 4)(x[:, i : i + 1])) for i, size in enumerate((40, 300, 7))]
    y = layers.Concatenate()([*parts, x[:, 3:]])
    model = keras.Model(x, layers.Dense(3)(layers.Dense(16, activation="relu")(y)))
    columns = [ids(40, 1), ids(300, 1), ids(7, 1), draw().normal(size=(SAMPLES, 2))]
    return model, np.concatenate(columns, 1).astype("float32")


@member
def normalized_table_with_an_id():
    x = keras.Input((4,))
    normal = layers.Normalization(mean=[0.0, 5.0, -2.0], variance=[1.0, 4.0, 9.0])(x[:, :3])
    y = layers.Concatenate()([normal, layers.Flatten()(embedding(900, 4)(x[:, 3:]))])
    numbers = draw().normal([0.0, 5.0, -2.0], [1.0, 2.0, 3.0], (SAMPLES, 3))
    return keras.Model(x, layers.Dense(3)(y)), np.concatenate([numbers, ids(900, 1)], 1).astype("float32")


@member
def categories_one_hot():
    x = keras.Input((1,), dtype="int32")
    return keras.Model(x, layers.Dense(4)(layers.CategoryEncoding(50, output_mode="one_hot")(x))), ids(50, 1, "int32")


@member
def categories_one_hot_of_floats():
    x = keras.Input((1,))
    return keras.Model(x, layers.Dense(4)(layers.CategoryEncoding(300, output_mode="one_hot")(x))), ids(300, 1)


@member
def categories_multi_hot():
    x = keras.Input((4,), dtype="int32")
    return keras.Model(x, layers.Dense(3)(layers.CategoryEncoding(30)(x))), ids(30, 4, "int32")


@member
def categories_counted():
    x = keras.Input((4,))
    return keras.Model(x, layers.Dense(3)(layers.CategoryEncoding(30, output_mode="count")(x))), ids(30, 4)


@member
def categories_crossed():
    x = keras.Input((2,))
    y = embedding(400, 6)(ops.cast(x[:, 0] * 20 + x[:, 1], "int32"))
    return keras.Model(x, layers.Dense(4)(y)), ids(20, 2)


@member
def two_inputs_of_numbers_and_ids():
    x, who = keras.Input((6,), name="numbers"), keras.Input((1,), name="who")
    y = layers.Concatenate()([x, layers.Flatten()(embedding(1000, 4)(who))])
    samples = {"numbers": draw().normal(size=(SAMPLES, 6)).astype("float32"), "who": ids(1000, 1)}
    return keras.Model([x, who], layers.Dense(3)(y)), samples


@member
def matrix_factorization():
    user, item = keras.Input((1,), name="user"), keras.Input((1,), name="item")
    y = layers.Dot(axes=-1)([layers.Flatten()(embedding(500)(user)), layers.Flatten()(embedding(800)(item))])
    return keras.Model([user, item], layers.Dense(1)(y)), {"user": ids(500, 1), "item": ids(800, 1)}


# Several outputs, read again or not.


def features(head):
    x = keras.Input((8,), name="x")
    y = layers.Dense(6, name="features")(x)
    return keras.Model(x, [y, head(y)]), draw().normal(size=(SAMPLES, 8)).astype("float32")


@member
def features_and_a_leaky_head():
    return features(lambda y: layers.Dense(2)(layers.LeakyReLU()(y)))


@member
def features_and_a_prelu_head():
    return features(lambda y: layers.Dense(2)(layers.PReLU(alpha_initializer="uniform")(y)))


@member
def features_and_the_same_reversed():
    return features(lambda y: ops.flip(y, -1))


@member
def logits_and_their_largest():
    return features(lambda y: ops.max(y, -1))


@member
def logits_and_probabilities():
    return features(layers.Softmax())


@member
def states_of_a_recurrent_layer():
    x = keras.Input((5, 4), name="x")
    y, h, c = layers.LSTM(6, return_sequences=True, return_state=True)(x)
    return keras.Model(x, [layers.Dense(2)(y), h, c]), draw().normal(size=(SAMPLES, 5, 4)).astype("float32")


@member
def heads_of_every_kind():
    x = keras.Input((8, 8, 2), name="x")
    y = layers.Conv2D(6, 3, activation="relu", name="trunk")(x)
    flat = layers.Flatten()(y)
    heads = [layers.Dense(3, activation="softmax")(flat), layers.Dense(1)(flat), layers.Conv2D(1, 1)(y), flat]
    return keras.Model(x, heads), draw().normal(size=(SAMPLES, 8, 8, 2)).astype("float32")


# Attention.


def over_time(attend, **more):
    x = keras.Input((6, 8), name="x")
    inputs = {"x": x, **{name: keras.Input(a.shape[1:], dtype=a.dtype.name, name=name) for name, a in more.items()}}
    model = keras.Model(inputs if more else x, attend(*inputs.values()))
    samples = draw().normal(size=(SAMPLES, 6, 8)).astype("float32")
    return model, {"x": samples, **more} if more else samples


def lower(dtype):
    """A causal mask for every sample."""
    return np.tril(np.ones((6, 6)))[None].repeat(SAMPLES, 0).astype(dtype)


@member
def attention_without_a_mask():
    return over_time(lambda x: layers.MultiHeadAttention(2, 4)(x, x))


@member
def causal_attention():
    return over_time(lambda x: layers.MultiHeadAttention(2, 4)(x, x, use_causal_mask=True))


@member
def causal_grouped_attention():
    return over_time(lambda x: layers.GroupQueryAttention(4, 2, 2)(x, x, use_causal_mask=True))


@member
def causal_dot_attention():
    return over_time(lambda x: layers.Dense(4)(layers.Attention()([x, x], use_causal_mask=True)))


@member
def additive_attention():
    return over_time(lambda x: layers.Dense(4)(layers.AdditiveAttention()([x, x], use_causal_mask=True)))


@member
def attention_with_a_given_mask():
    return over_time(lambda x, m: layers.MultiHeadAttention(2, 4)(x, x, attention_mask=m), mask=lower("bool"))


@member
def attention_by_hand():
    def attend(x, mask):
        logits = ops.matmul(x, ops.transpose(x, (0, 2, 1))) / 2.8 + (1 - mask) * -1e9
        return layers.Dense(4)(ops.matmul(ops.softmax(logits), x))

    return over_time(attend, mask=lower("float32"))


@member
def attention_by_hand_of_older_days():
    def attend(x, mask):
        logits = ops.matmul(x, ops.transpose(x, (0, 2, 1))) / 2.8 + (mask - 1) * 1e4
        return layers.Dense(4)(ops.matmul(ops.softmax(logits), x))

    return over_time(attend, mask=lower("float32"))


@member
def attention_with_a_bias_from_outside():
    def attend(x, bias):
        logits = ops.matmul(x, ops.transpose(x, (0, 2, 1))) / 2.8 + bias
        return layers.Dense(4)(ops.matmul(ops.softmax(logits), x))

    return over_time(attend, bias=(lower("float32") - 1) * np.float32(1e9))


@member
def attention_with_a_chosen_bias():
    def attend(x, mask):
        bias = ops.where(mask, 0.0, -1e9)
        logits = ops.matmul(x, ops.transpose(x, (0, 2, 1))) / 2.8 + bias
        return layers.Dense(4)(ops.matmul(ops.softmax(logits), x))

    return over_time(attend, mask=lower("bool"))


@member
def attention_by_exponentials():
    def attend(x, mask):
        logits = ops.where(mask, ops.matmul(x, ops.transpose(x, (0, 2, 1))) / 2.8, -1e9)
        weights = ops.exp(logits - ops.max(logits, -1, keepdims=True))
        return layers.Dense(4)(ops.matmul(weights / ops.sum(weights, -1, keepdims=True), x))

    return over_time(attend, mask=lower("bool"))


@member
def attention_over_padded_words():
    x = keras.Input((8,))
    y = embedding(300, mask_zero=True)(x)
    y = layers.MultiHeadAttention(2, 4)(y, y)
    tokens = ids(300, 8, least=1)
    tokens[: SAMPLES // 2, 5:] = 0
    return keras.Model(x, layers.Dense(3)(layers.GlobalAveragePooling1D()(y))), tokens


@member
def transformer_block():
    x = keras.Input((8,), dtype="int32")
    y = embedding(200)(x)
    y = layers.LayerNormalization()(y + layers.MultiHeadAttention(2, 4)(y, y, use_causal_mask=True))
    y = layers.LayerNormalization()(y + layers.Dense(8)(layers.Dense(16, activation="relu")(y)))
    return keras.Model(x, layers.Dense(5)(y)), ids(200, 8, "int32")


@member
def largest_of_what_a_mask_leaves():
    def pool(x, mask):
        return layers.Dense(4)(ops.max(ops.where(mask[..., None], layers.Dense(8)(x), -1e9), axis=1))

    mask = draw().integers(0, 2, (SAMPLES, 6)).astype(bool)
    mask[:, 0] = True
    return over_time(pool, mask=mask)


@member
def smallest_of_what_a_mask_leaves():
    def pool(x, mask):
        return layers.Dense(4)(ops.min(ops.where(mask[:, 0, :, None], layers.Dense(8)(x), 1e9), axis=1))

    mask = lower("bool")
    mask[:, 0, 1:3] = True
    return over_time(pool, mask=mask)


@member
def gates_that_a_mask_shuts():
    def gate(x, mask):
        strength = ops.where(mask[:, 3], layers.Dense(1)(x)[..., 0], -1e9)
        return layers.Dense(3)(ops.sum(ops.sigmoid(strength)[..., None] * x, 1))

    return over_time(gate, mask=lower("bool"))


@member
def sum_of_exponentials_of_what_a_mask_leaves():
    def pool(x, mask):
        logits = ops.where(mask, ops.matmul(x, ops.transpose(x, (0, 2, 1))) / 3, -1e9)
        return layers.Dense(4)(ops.logsumexp(logits, -1))

    return over_time(pool, mask=lower("bool"))
