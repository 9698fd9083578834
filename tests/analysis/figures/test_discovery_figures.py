import matplotlib.colors
import numpy as np
import pytest
from drawn import labels, ticks
from matplotlib.axes import Axes

from quanta.analysis.discovery.calibration import Calibration
from quanta.analysis.discovery.network import Clusters
from quanta.analysis.discovery.zipf import fit_zipf
from quanta.analysis.figures.discovery import plot_contingency, plot_rank_frequency, plot_similarity
from quanta.analysis.figures.gallery import OF_NETWORK

SUBTASK = np.array([4, 0, 0, 0, 2, 2, 0, 4, 0, 2])
CLUSTER = np.array([2, 0, 0, 0, 1, 1, 0, 2, 0, 0])


@pytest.fixture
def clusters():
    """Ten samples of subtasks 1, 3 and 5, of which one of subtask 3 is in the wrong cluster."""
    affinity = np.where(SUBTASK[:, None] == SUBTASK, 0.5, 0.1).astype(np.float32)
    np.fill_diagonal(affinity, 1)
    even = np.array([4, 3, 3])
    sizes = dict.fromkeys(("equal", "hidden", "input", "bits", "untrained"), even)
    sizes |= {"truth": np.array([5, 3, 2]), "gradients": np.array([6, 2, 2])}
    return Clusters(affinity, CLUSTER, SUBTASK, sizes, Calibration(np.arange(8.0), np.arange(8.0)))


@pytest.mark.parametrize("draw", OF_NETWORK.values())
def test_are_drawn_on_axes_given_or_new(clusters, draw):
    ax = draw(clusters)
    assert isinstance(ax, Axes)
    assert draw(clusters, ax) is ax
    ax.figure.draw_without_rendering()
    width, height = ax.figure.get_size_inches()
    inside = ax.figure.get_tightbbox()
    assert min(inside.x0, inside.y0) >= -0.01
    assert inside.x1 <= width + 0.01
    assert inside.y1 <= height + 0.01


class TestSimilarity:
    def test_is_ordered_by_cluster_then_subtask(self, clusters):
        [image] = plot_similarity(clusters).images
        order = np.lexsort((SUBTASK, CLUSTER))
        np.testing.assert_array_equal(image.get_array(), clusters.affinity[np.ix_(order, order)])
        assert (np.diff(CLUSTER[order]) >= 0).all()

    def test_colours_are_of_what_two_samples_have(self, clusters):
        [image] = plot_similarity(clusters).images
        assert image.get_clim() == pytest.approx((0.1, 0.5))

    def test_many_samples_are_thinned(self, clusters):
        many = Clusters(
            np.tile(clusters.affinity, (100, 100)),
            np.tile(CLUSTER, 100),
            np.tile(SUBTASK, 100),
            clusters.sizes,
            clusters.calibration,
        )
        [image] = plot_similarity(many).images
        assert image.get_array().shape == (334, 334)

    def test_all_alike_have_a_colour(self, clusters):
        flat = Clusters(
            np.ones_like(clusters.affinity), CLUSTER, SUBTASK, clusters.sizes, clusters.calibration
        )
        assert isinstance(plot_similarity(flat).images[0].norm, matplotlib.colors.Normalize)


class TestContingency:
    def test_shows_shares_of_each_subtask(self, clusters):
        ax = plot_contingency(clusters)
        np.testing.assert_allclose(ax.images[0].get_array(), [[1, 0, 0], [1 / 3, 2 / 3, 0], [0, 0, 1]])
        assert ticks(ax.yaxis) == ["1", "3", "5"]
        assert ticks(ax.xaxis) == ["1", "2", "3"]


class TestRankFrequency:
    def test_shows_sizes_beside_the_truth_and_the_nulls(self, clusters):
        ax = plot_rank_frequency(clusters)
        lines = {line.get_label().partition(" (")[0]: line.get_ydata().tolist() for line in ax.lines}
        assert lines.pop("gradients") == [6, 2, 2]
        assert lines.pop("true subtasks") == [5, 3, 2]
        nulls = ("equal frequencies", "activations", "input", "step 0")
        assert lines == {name: [4, 3, 3] for name in nulls}

    def test_says_the_exponents(self, clusters):
        said = labels(plot_rank_frequency(clusters))
        exponent = fit_zipf([5, 3, 2]).estimate
        assert f"true subtasks ({exponent:.2f})" in said
        assert len(said) == 6

    def test_empty_clusters_have_no_place_on_a_logarithmic_axis(self, clusters):
        sizes = clusters.sizes | {"gradients": np.array([9, 1, 0])}
        ax = plot_rank_frequency(Clusters(clusters.affinity, CLUSTER, SUBTASK, sizes, clusters.calibration))
        [line] = [line for line in ax.lines if line.get_label().startswith("gradients")]
        assert line.get_ydata().tolist() == [9, 1]
