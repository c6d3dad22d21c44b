"""A Keras 2 model in, the same model of Keras 3 out, with the outputs of both compared."""
