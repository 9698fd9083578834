import numpy as np
import pytest
from drawn import bars, labels, line, texts, title

from quanta.analysis.figures.order import plot_agreement, plot_consensus, plot_q_sequence
from quanta.analysis.learned.agreement import consensus_order, summarize_q_sequence
from quanta.analysis.verdict.statistics import measure
from quanta.tasks.frequencies import zipf_frequencies


class TestQSequence:
    def test_draws_order_against_rank(self, world):
        ax = plot_q_sequence(world)
        for seed, drawn in enumerate([one for one in ax.lines if one.get_marker() == "o"]):
            step = world.here.times["step"].sel(seed=seed, width=128).dropna("subtask")
            by_time = step["subtask"].values[np.argsort(step.values)]
            rank, order = drawn.get_data()
            assert rank[np.argsort(order)].tolist() == by_time.tolist()
        identity = line(ax, "order = rank")
        np.testing.assert_array_equal(identity.get_xdata(), identity.get_ydata())
        assert (ax.get_xlabel(), ax.get_ylabel()) == ("subtask (frequency rank)", "order learned")

    @pytest.mark.parametrize(("width", "place"), [(None, -1), (45, 7)])
    def test_legend_tells_count_and_concordance(self, world, width, place):
        ax = plot_q_sequence(world, width=width)
        found, counts = world.here.concordance[:, place], world.here.n_learned[:, place]
        count = f"{counts.min()} to {counts.max()}" if np.ptp(counts) else f"{counts[0]}"
        assert found.min() < found.max()
        label = f"{count} of 64 learned, concordance {found.min():.3f} to {found.max():.3f}"
        assert label in labels(ax)
        assert title(ax) == f"width {width or 128}, 3 seeds (shades)"

    def test_nothing_learned_is_said(self, worlds):
        ax = plot_q_sequence(worlds["nothing learned"])
        assert texts(ax) == ["nothing learned"]
        assert "0 of 8 learned" in labels(ax)


class TestAgreement:
    def test_draws_one_less_the_summary(self, quanta_world):
        statistics = measure(quanta_world(scatter=0.4), 0.2)
        ax = plot_agreement(statistics, confidence=0.8)
        table = summarize_q_sequence(statistics.here.times, confidence=0.8)
        series = {"by frequency": "concordance", "between seeds": "agreement_between_seeds"}
        for (label, statistic), drawn in zip(series.items(), ax.collections, strict=True):
            rows = table[(table["statistic"] == statistic) & table["estimate"].notna()]
            assert 0 < len(rows) <= 11
            dots = line(ax, label)
            np.testing.assert_allclose(dots.get_xdata(), rows["width"].to_numpy(float), rtol=0.05)
            np.testing.assert_allclose(dots.get_ydata(), 1 - rows["estimate"])
            np.testing.assert_allclose(bars(drawn).T, [1 - rows["upper"], 1 - rows["lower"]], atol=1e-12)
            assert (1 - rows["estimate"]).max() > 0
        assert title(ax) == "3 seeds, 80% intervals"
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

    def test_one_seed_is_said(self, quanta_world):
        ax = plot_agreement(quanta_world(scatter=0.4).isel(seed=[1]))
        assert title(ax) == "seed 1, no intervals"
        assert labels(ax) == ["no order: 0.5", "by frequency", "between widths of a seed"]

    def test_no_pair_is_said(self, worlds):
        assert texts(plot_agreement(worlds["nothing learned"])) == ["no pair to compare"]


class TestConsensus:
    @pytest.mark.parametrize("width", [None, 23])
    def test_draws_the_consensus(self, quanta_world, width):
        statistics = measure(quanta_world(scatter=0.4), 0.2)
        ax = plot_consensus(statistics, width=width, confidence=0.8)
        table = consensus_order(statistics.here.times, width, confidence=0.8)
        by_all = table["n_seeds_learned"] == 3
        chosen = {"learned by all seeds": by_all, "learned by some": ~by_all}
        drawn = {label: table[rows] for label, rows in chosen.items() if rows.any()}
        for (label, rows), intervals in zip(drawn.items(), ax.collections, strict=True):
            x, y = line(ax, label).get_data()
            assert x.tolist() == rows["subtask"].tolist()
            assert y.tolist() == rows["mean_rank"].tolist()
            np.testing.assert_allclose(bars(intervals), rows[["lower", "upper"]])
        assert title(ax) == f"width {width or 128}, 3 seeds, 80% intervals"
        identity = line(ax, "order = rank")
        np.testing.assert_array_equal(identity.get_xdata(), identity.get_ydata())

    def test_marks_the_mean_rank_of_what_no_seed_learned(self, ideal):
        statistics = measure(ideal)
        (n_learned,) = set(statistics.here.n_learned[:, -1])
        (level,) = set(line(plot_consensus(statistics), "learned by none").get_ydata())
        assert level == np.arange(n_learned + 1, 65).mean()

    def test_everything_learned_leaves_nobody(self, quanta_world):
        ax = plot_consensus(quanta_world(n_subtasks=4))
        assert labels(ax) == ["learned by all seeds", "order = rank"]

    def test_refuses_another_width(self, world):
        with pytest.raises(ValueError, match="width must be one of"):
            plot_consensus(world, width=5)

    def test_nothing_learned_is_said(self, worlds):
        assert texts(plot_consensus(worlds["nothing learned"])) == ["nothing learned"]
