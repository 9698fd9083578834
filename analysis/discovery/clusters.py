"""Clusters of samples from how alike they are, and how many there seem to be.

Shapes: B samples.
"""

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigvalsh
from sklearn.cluster import SpectralClustering

from quanta.analysis.fits.errors import TooFewPoints

Array = NDArray[np.floating[Any]]


def cluster(affinity: Array, n_clusters: int, *, seed: int = 0, n_init: int = 10) -> NDArray[np.int64]:
    """Cluster samples by spectral clustering.

    Parameters
    ----------
    affinity : ndarray, shape (B, B)
        Symmetric and not negative.
    n_clusters : int
        At least 2.
    seed : int, default 0
        Decides the starts of k-means and of the eigenvectors.
    n_init : int, default 10
        Starts of k-means, of which the best counts; the paper takes 30.

    Returns
    -------
    ndarray of int64, shape (B,)
        The cluster of each sample, counted from 0: 0 is the largest.

    Raises
    ------
    TooFewPoints
        If there are not more samples than clusters.

    References
    ----------
    Michaud et al. (2023), arXiv:2303.13506, section 5; von Luxburg (2007), doi:10.1007/s11222-007-9033-z.
    """
    if n_clusters < 2:
        raise ValueError(f"n_clusters must be at least 2, not {n_clusters}")
    if len(affinity) <= n_clusters:
        raise TooFewPoints(f"samples must be more than the {n_clusters} clusters, not {len(affinity)}")
    model = SpectralClustering(n_clusters, affinity="precomputed", random_state=seed, n_init=n_init)
    with warnings.catch_warnings():
        # Perfect clusters are parts of the graph that nothing connects: nothing to be warned of.
        warnings.filterwarnings("ignore", "Graph is not fully connected", UserWarning)
        found = model.fit_predict(np.asarray(affinity, dtype=np.float64))
    _, names, sizes = np.unique(found, return_inverse=True, return_counts=True)
    by_size = np.argsort(np.argsort(-sizes, kind="stable"), kind="stable")
    return np.asarray(by_size[names], dtype=np.int64)


def eigengap(affinity: Array, most: int) -> int:
    """Choose the number of clusters by the largest gap between eigenvalues of the normalised Laplacian.

    Parameters
    ----------
    affinity : ndarray, shape (B, B)
        Symmetric and not negative.
    most : int
        The largest number that may be chosen, at least 2.

    Returns
    -------
    int
        The n from 2 to `most` after whose n smallest eigenvalues the next is farthest; fewer than B.

    Raises
    ------
    TooFewPoints
        If there are fewer than three samples.

    References
    ----------
    von Luxburg (2007), doi:10.1007/s11222-007-9033-z, section 8.3.
    """
    n_samples = len(affinity)
    if n_samples < 3:
        raise TooFewPoints(f"samples must be at least 3 to choose a number of clusters, not {n_samples}")
    if most < 2:
        raise ValueError(f"most must be at least 2, not {most}")
    degree = affinity.sum(axis=1, dtype=np.float64)
    scale = np.divide(1, np.sqrt(degree), out=np.zeros(n_samples), where=degree > 0)
    last = min(most, n_samples - 1)
    normalised = scale[:, None] * affinity * scale
    largest = eigvalsh(normalised, subset_by_index=(n_samples - last - 1, n_samples - 1))[::-1]
    return 2 + int(np.argmax(largest[1:-1] - largest[2:]))
