"""A file or an object in, a Keras 3 model out: loading, names, layers, copies."""
