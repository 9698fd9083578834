import numpy as np
import pytest

from quanta.analysis.discovery.clusters import cluster, eigengap
from quanta.analysis.fits.errors import TooFewPoints

SIZES = [40, 25, 15, 10]


def blocks(sizes, within=0.9, between=0.0, noise=0.0, seed=0):
    """An affinity matrix of shuffled blocks, and to which each sample belongs."""
    rng = np.random.default_rng(seed)
    names = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    affinity = np.where(names[:, None] == names, within, between)
    shaken = rng.uniform(0, noise, affinity.shape) if noise else 0
    affinity = np.clip(affinity + np.tril(shaken, -1) + np.tril(shaken, -1).T if noise else affinity, 0, 1)
    np.fill_diagonal(affinity, 1)
    return affinity, names


class TestCluster:
    @pytest.mark.parametrize(("between", "noise"), [(0.0, 0.0), (0.05, 0.0), (0.0, 0.1)])
    def test_finds_blocks_and_names_the_largest_first(self, between, noise):
        affinity, names = blocks(SIZES, between=between, noise=noise)
        assert np.array_equal(cluster(affinity, 4), names)

    def test_of_single_precision(self):
        affinity, names = blocks(SIZES)
        assert np.array_equal(cluster(affinity.astype(np.float32), 4), names)

    def test_a_seed_decides(self):
        affinity, _ = blocks(SIZES, within=0.5, between=0.4, noise=0.2)
        assert np.array_equal(cluster(affinity, 9, seed=3), cluster(affinity, 9, seed=3))

    @pytest.mark.parametrize("n", [5, 6, 50])
    def test_needs_more_samples_than_clusters(self, n):
        with pytest.raises(TooFewPoints, match=f"samples must be more than the {n} clusters, not 5"):
            cluster(np.eye(5), n)

    def test_needs_two_clusters(self):
        with pytest.raises(ValueError, match="n_clusters must be at least 2, not 1"):
            cluster(np.eye(5), 1)


class TestEigengap:
    @pytest.mark.parametrize("n", [2, 3, 4, 7])
    @pytest.mark.parametrize("noise", [0.0, 0.05])
    def test_counts_blocks(self, n, noise):
        affinity, _ = blocks([20] * n, noise=noise)
        assert eigengap(affinity, 20) == n
        assert eigengap(affinity.astype(np.float32), 20) == n

    def test_of_unequal_blocks(self):
        assert eigengap(blocks(SIZES)[0], 20) == 4

    def test_chooses_no_more_than_asked(self):
        assert eigengap(blocks([20] * 7)[0], 4) <= 4
        assert eigengap(np.ones((3, 3)), 50) == 2

    def test_a_sample_like_no_other_does_no_harm(self):
        affinity, _ = blocks([20] * 3)
        affinity[0] = affinity[:, 0] = 0
        assert eigengap(affinity, 10) == 3

    def test_refuses(self):
        with pytest.raises(TooFewPoints, match=r"samples must be at least 3.*not 2"):
            eigengap(np.eye(2), 4)
        with pytest.raises(ValueError, match="most must be at least 2, not 1"):
            eigengap(np.eye(9), 1)
