import numpy as np
import pytest
from drawn import bars, labels, line, texts, ticks, title

from quanta.analysis.figures import style
from quanta.analysis.figures.drops import SHAPES, plot_drops, plot_drops_by_metric
from quanta.analysis.fits.intervals import mean_over_seeds
from quanta.analysis.learned.drops import measure_drops
from quanta.analysis.verdict.statistics import measure
from quanta.analysis.verdict.tables import tabulate_drops


def falls(ax):
    """The curves of the subtasks, by seed, those that are drawn."""
    segments = [segment for one in ax.collections for segment in one.get_segments()]
    return [segment for segment in segments if len(segment) and np.isfinite(segment).all()]


class TestDrops:
    def test_draws_what_fell_aligned_at_half_of_its_own_fall(self, simulated):
        ax = plot_drops(simulated)
        drops = simulated.base.drops["loss"]
        curves = falls(ax)
        assert len(curves) == sum((one.weight > 0).sum() for one in drops) > 50
        for curve in curves:
            x, height = curve.T
            assert height[0] <= 1
            assert height[-1] == 0
            assert (np.diff(height) <= 0).all()
            assert np.exp(np.interp(-0.5, -height, np.log(x))) == pytest.approx(1)
        assert (ax.get_xlabel(), ax.get_ylabel()) == (
            "step / step of the crossing of half",
            "share of the subtask's own fall left",
        )

    def test_a_fall_to_a_floor_has_its_own_height(self, slice_of):
        step = np.geomspace(1, 1e4, 50).astype(int)
        step = np.unique(step)
        loss = np.where(step[:, None] < [100, 1000], 1.0, [0.3, 0.0])[None, None]
        ax = plot_drops(slice_of(loss, [0.6, 0.4], step=step))
        assert {tuple(sorted(set(curve[:, 1]))) for curve in falls(ax)} == {(0.0, 1.0)}

    def test_a_fall_begins_at_chance_at_most(self, slice_of):
        # From four times chance: to chance at step 10, and to half of it, that is half of the fall, at 100.
        loss = np.array([4.0, 4.0, 1.0, 0.5, 0.0])[None, None, :, None] * np.ones(2)
        ax = plot_drops(slice_of(loss, [0.6, 0.4], step=[0, 1, 10, 100, 1000]))
        for curve in falls(ax):
            np.testing.assert_allclose(curve, [[0.01, 1], [0.1, 1], [1, 0.5], [10, 0]])

    @pytest.mark.parametrize(("name", "share"), [(name, share) for name, _, _, share in SHAPES])
    def test_shapes_have_the_shares_that_are_said(self, name, share):
        (shape,) = [shape for one, _, shape, _ in SHAPES if one == name]
        step = np.geomspace(1e-4, 1e4, 4000)
        drops = measure_drops(step, shape(step)[:, None], np.ones(1))
        assert drops.mean_share == pytest.approx(share, abs=0.006)

    def test_says_the_shares(self, simulated):
        found = mean_over_seeds([one.mean_share for one in simulated.base.drops["loss"]], 0.8)
        ax = plot_drops(simulated, confidence=0.8)
        assert labels(ax) == [
            "share of the fall within a factor 10",
            "multilinear quantum: 0.97",
            "exponential mode: 0.70",
            "ridge filter: 0.60",
            f"measured: {style.interval(found)}",
        ]
        assert title(ax) == f"width 128, {len(falls(ax))} falls, 5 seeds"

    def test_references_cross_half_at_one(self, simulated):
        ax = plot_drops(simulated)
        for name, _, shape, _ in SHAPES:
            x, y = line(ax, name).get_data()
            np.testing.assert_allclose(y, shape(x))
            assert np.interp(0, np.log(x), y) == pytest.approx(0.5, abs=0.01)

    def test_says_when_nothing_is_seen_to_fall(self, worlds):
        assert texts(plot_drops(worlds["nothing learned"])) == ["no subtask fell by half"]
        ax = plot_drops(worlds["first and last"])
        assert texts(ax) == ["all fell before the first evaluation"]
        assert falls(ax) == []


class TestDropsByMetric:
    def test_draws_the_table(self, simulated):
        ax = plot_drops_by_metric(simulated, confidence=0.8)
        table = tabulate_drops(simulated, 0.8)
        assert ticks(ax.yaxis) == ["loss", "accuracy", "Brier score"]
        (dots,) = [one for one in ax.lines if one.get_marker() == "o"]
        np.testing.assert_allclose(dots.get_xdata(), table["share"])
        assert dots.get_ydata().tolist() == [0, 1, 2]
        (intervals,) = [one for one in ax.collections if len(one.get_paths()) == 3]
        np.testing.assert_allclose(bars(intervals), table[["share_lower", "share_upper"]])
        assert ax.get_xlabel() == "share of the fall within a factor 10 of steps"
        assert labels(ax) == ["quanta: ≥ 0.9", "smooth modes: ≤ 0.75"]
        low, high = ax.get_xlim()
        assert low < table["share_lower"].min()
        assert high == 1

    def test_draws_the_metrics_there_are(self, world):
        assert ticks(plot_drops_by_metric(world).yaxis) == ["loss"]

    def test_says_what_evaluations_do_not_place(self, slice_of):
        # Every fall lies between two evaluations that are a factor 10 apart, or before the first.
        loss = np.ones((1, 1, 4, 2))
        loss[..., 2:, 0] = loss[..., 1:, 1] = 0
        ax = plot_drops_by_metric(measure(slice_of(loss, [0.5, 0.5], step=[0, 10, 100, 1000])))
        assert ticks(ax.yaxis) == ["loss\n(0% placed)"]

    def test_says_when_nothing_fell(self, worlds):
        ax = plot_drops_by_metric(worlds["nothing learned"])
        assert texts(ax) == ["no subtask fell by half"]
        assert not [one for one in ax.lines if one.get_marker() == "o"]
