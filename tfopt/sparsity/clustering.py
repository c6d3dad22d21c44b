"""Weight clustering (weight sharing): k-means of a kernel's weights to a few values, with zeros kept.

References:
    Han et al., Deep compression: compressing deep neural networks with pruning, trained quantization and Huffman
    coding, arXiv:1510.00149, section 3.
    Lloyd, Least squares quantization in PCM, IEEE Trans. Inf. Theory 28 (1982).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tfopt.errors import InputError

# k-means looks at this many weights of a larger kernel, evenly spaced in their order.
SAMPLE = 100_000


@dataclass(frozen=True)
class Codebook:
    """The shared values of one kernel.

    Args:
        values: Shared values, `(n,)`, rising; 0 is one of them where the kernel has zeros.
        indices: Index into `values` of each weight, in the kernel's shape.
    """

    values: np.ndarray
    indices: np.ndarray

    @property
    def weights(self) -> np.ndarray:
        """The kernel with every weight replaced by its shared value."""
        return self.values[self.indices]


def cluster(weights: np.ndarray, clusters: int) -> Codebook:
    """Clusters the weights of a kernel by k-means, starting from evenly filled clusters.

    Exact zeros are a cluster of their own, which no other weight joins, so a pruned kernel stays as sparse as it is.

    Args:
        weights: A kernel of any shape and float type.
        clusters: Largest number of distinct values, zero included.

    Raises:
        InputError: `clusters` is below 2.
    """
    if clusters < 2:
        raise InputError(f"clusters is the number of distinct values of a kernel, at least 2. Received: {clusters=}.")
    array = np.asarray(weights)
    distinct, inverse = np.unique(array, return_inverse=True)
    if distinct.size <= clusters:
        return Codebook(distinct, inverse.reshape(array.shape))
    zeros = array == 0
    ordered = np.sort(array[~zeros].astype(np.float64))
    values = _k_means(ordered, clusters - bool(zeros.any()))
    indices = np.searchsorted((values[1:] + values[:-1]) / 2, array)
    if zeros.any():
        at = int(np.searchsorted(values, 0.0))
        values = np.insert(values, at, 0.0)
        indices = np.where(zeros, at, indices + (indices >= at))
    return Codebook(values.astype(array.dtype), indices)


def _k_means(ordered: np.ndarray, clusters: int) -> np.ndarray:
    """The distinct nonzero centers of weights, rising."""
    import warnings

    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    sample = ordered[:: -(-ordered.size // SAMPLE)]
    first = np.quantile(sample, (np.arange(clusters) + 0.5) / clusters)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # weights with many ties
        found = KMeans(clusters, init=first[:, None], n_init=1).fit(sample[:, None]).cluster_centers_.ravel()
    found = np.unique(found)
    found = found[found != 0]
    return found if found.size else ordered[[ordered.size // 2]]  # weights that are as much below zero as above
