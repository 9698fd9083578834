import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from drawn import labels, line, texts
from matplotlib.figure import Figure

from quanta.analysis.figures.order import plot_agreement, plot_consensus
from quanta.analysis.learned.agreement import consensus_order, summarize_q_sequence
from quanta.analysis.learned.times import learning_times
from quanta.tasks.frequencies import zipf_frequencies

each_plot = pytest.mark.parametrize("plot", [plot_agreement, plot_consensus])


@pytest.fixture(scope="module")
def world(quanta_world):
    """3 seeds that learn at different times, and so slightly out of order."""
    return quanta_world(scatter=0.4)


def bars(collection):
    """Lower and upper ends of vertical lines."""
    return np.array([segment[:, 1] for segment in collection.get_segments()]).T


class TestAgreement:
    def test_draws_one_less_the_summary(self, world):
        ax = plot_agreement(world, tau=0.2, confidence=0.8)
        table = summarize_q_sequence(learning_times(world, 0.2), confidence=0.8)
        series = {"by frequency": "concordance", "between seeds": "agreement_between_seeds"}
        for (label, statistic), drawn in zip(series.items(), ax.collections, strict=True):
            rows = table[(table["statistic"] == statistic) & table["estimate"].notna()]
            assert 0 < len(rows) <= 11
            dots = line(ax, label)
            np.testing.assert_allclose(dots.get_xdata(), rows["width"].to_numpy(float), rtol=0.05)
            np.testing.assert_allclose(dots.get_ydata(), 1 - rows["estimate"])
            np.testing.assert_allclose(bars(drawn), [1 - rows["upper"], 1 - rows["lower"]], atol=1e-12)
            assert (1 - rows["estimate"]).max() > 0
        assert ax.get_legend().get_title().get_text() == "3 seeds, 80% intervals"
        assert (ax.get_xscale(), ax.get_yscale()) == ("log", "symlog")
        assert (ax.get_xlabel(), ax.get_ylabel()) == ("width", "share of pairs out of order")

    def test_widths_of_a_seed_are_a_line_with_a_band(self, slice_of):
        # Two seeds, two widths; in seed 1 the wide one learns the two subtasks the other way round.
        loss = np.ones((2, 2, 4, 2))
        loss[:, :, 1:, 0] = loss[:, :, 2:, 1] = 0
        loss[1, 1] = loss[1, 1, :, ::-1]
        ax = plot_agreement(slice_of(loss, zipf_frequencies(2, 0.4)))
        assert set(line(ax, "between widths of a seed").get_ydata()) == {0.5}
        (band,) = ax.patches
        assert (band.get_y(), band.get_y() + band.get_height()) == (0, 1)  # of 0 and 1, all that is possible

    def test_no_order_is_marked_and_in_view_with_everything(self, shuffled):
        ax = plot_agreement(shuffled)
        assert set(line(ax, "no order: 0.5").get_ydata()) == {0.5}
        bottom, top = ax.get_ylim()
        assert bottom < 0 < 1 < top
        assert line(ax, "by frequency").get_ydata()[-1] == pytest.approx(0.5, abs=0.15)

    def test_one_seed_is_said(self, world):
        ax = plot_agreement(world.isel(seed=[1]))
        assert ax.get_legend().get_title().get_text() == "seed 1, no intervals"
        assert labels(ax) == ["no order: 0.5", "by frequency", "between widths of a seed"]


class TestConsensus:
    @pytest.mark.parametrize("width", [None, 23])
    def test_draws_the_consensus(self, world, width):
        ax = plot_consensus(world, width=width, tau=0.2, confidence=0.8)
        table = consensus_order(learning_times(world, 0.2), width, confidence=0.8)
        by_all = table["n_seeds_learned"] == 3
        chosen = {"learned by all seeds": by_all, "learned by some": ~by_all}
        drawn = {label: table[rows] for label, rows in chosen.items() if rows.any()}
        for (label, rows), intervals in zip(drawn.items(), ax.collections, strict=True):
            x, y = line(ax, label).get_data()
            assert x.tolist() == rows["subtask"].tolist()
            assert y.tolist() == rows["mean_rank"].tolist()
            np.testing.assert_allclose(bars(intervals), rows[["lower", "upper"]].T)
        title = f"width {width or 128}, 3 seeds, 80% intervals"
        assert ax.get_legend().get_title().get_text() == title
        identity = line(ax, "order = rank")
        np.testing.assert_array_equal(identity.get_xdata(), identity.get_ydata())

    def test_marks_the_mean_rank_of_what_no_seed_learned(self, ideal):
        # 38 of 64 have room; 22 are learned in time: the ranks 23 to 64 are left.
        (n_learned,) = set(learning_times(ideal)["learned"].isel(width=-1).sum("subtask").values)
        (level,) = set(line(plot_consensus(ideal), "learned by none").get_ydata())
        assert level == np.arange(n_learned + 1, 65).mean()

    def test_everything_learned_leaves_nobody(self, quanta_world):
        ax = plot_consensus(quanta_world(n_subtasks=4))
        assert labels(ax) == ["learned by all seeds", "order = rank"]

    def test_refuses_another_width(self, world):
        with pytest.raises(ValueError, match="width must be one of"):
            plot_consensus(world, width=5)


class TestBoth:
    @each_plot
    def test_given_axes_are_used_and_settings_stay(self, world, plot):
        ax = Figure().add_subplot()
        with mpl.rc_context({"font.size": 17.0}):
            before = dict(mpl.rcParams)
            assert plot(world, ax) is ax
            assert dict(mpl.rcParams) == before
        assert plt.get_fignums() == []

    @each_plot
    @pytest.mark.parametrize("name", ["world", "shuffled", "uniform"])
    def test_nothing_leaves_the_figure_and_the_legend_covers_no_data(self, request, plot, name):
        ax = plot(request.getfixturevalue(name))
        ax.figure.draw_without_rendering()
        width, height = ax.figure.get_size_inches()
        inside = ax.figure.get_tightbbox()
        assert min(inside.x0, inside.y0) >= -0.01
        assert inside.x1 <= width + 0.01
        assert inside.y1 <= height + 0.01
        assert ax.get_legend().get_window_extent().y0 >= ax.get_window_extent().y1

    @each_plot
    @pytest.mark.parametrize(
        ("shape", "value"),
        [((1, 1, 1, 1), 1.0), ((1, 1, 2, 1), 0.0), ((2, 1, 1, 4), 0.05), ((2, 3, 5, 4), 0.0)],
        ids=str,
    )
    def test_constant_losses_are_drawn_or_said(self, slice_of, plot, shape, value):
        ax = plot(slice_of(np.full(shape, value), zipf_frequencies(shape[-1], 0.4)))
        ax.figure.draw_without_rendering()
        assert texts(ax) or len(ax.lines) > 1

    def test_nothing_learned_is_said(self, slice_of):
        curves = slice_of(np.ones((2, 3, 5, 4)), zipf_frequencies(4, 0.4))
        assert texts(plot_agreement(curves)) == ["no pair to compare"]
        assert texts(plot_consensus(curves)) == ["nothing learned"]
