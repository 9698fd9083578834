import numpy as np
import pytest
from drawn import bars, labels, line, texts, ticks, title

from quanta.analysis.axes import D, N, S
from quanta.analysis.figures import style
from quanta.analysis.figures.budget import plot_budget, plot_exponent_parts
from quanta.analysis.fits.intervals import mean_over_seeds
from quanta.analysis.learned.budget import PARTS
from quanta.analysis.verdict.statistics import measure
from quanta.analysis.verdict.tables import sum_up_budgets

each_axis = pytest.mark.parametrize(("kind", "axis"), [("simulated", N), ("simulated", S), ("data", D)])


def area(ax, label):
    """Lower and upper edge of an area at its places, shape (2, X)."""
    (found,) = [one for one in ax.collections if one.get_label() == label]
    corners = found.get_paths()[0].vertices
    places = np.unique(corners[:, 0])
    return np.array(
        [[corners[corners[:, 0] == x, 1].min(), corners[corners[:, 0] == x, 1].max()] for x in places]
    ).T


class TestBudget:
    @each_axis
    def test_parts_stack_up_to_the_count_on_top_of_the_rest(self, worlds, kind, axis):
        statistics = worlds[kind]
        ax = plot_budget(statistics, axis=axis)
        budget = statistics.here.budgets[axis.name]
        loss = statistics.base.traces[axis.name].mean_loss.mean(axis=0)
        count, rest, falling, stuck, drift = budget.parts.mean(axis=0).T
        np.testing.assert_allclose(line(ax, "mean loss").get_ydata(), loss)
        np.testing.assert_allclose(line(ax, "count, on top of rest").get_ydata(), count + rest)
        np.testing.assert_allclose(area(ax, "rest: in what is learned"), [0 * rest, rest], atol=1e-12)
        # What takes something off lies between the loss and the outline, but for drift.
        top = loss
        for name, part in (("stuck", stuck), ("falling", falling)):
            if (part < 0).any():
                np.testing.assert_allclose(area(ax, f"half-learned: {name}"), [top, top - part], atol=1e-9)
            top = top - part
        edges = np.sort([top, count + rest], axis=0)
        np.testing.assert_allclose(area(ax, "drift: off chance"), edges, atol=1e-9)
        np.testing.assert_allclose(top, count + rest + drift, atol=1e-9)
        assert (ax.get_xscale(), ax.get_yscale()) == ("log", "linear")
        assert (ax.get_xlabel(), ax.get_ylabel()) == (axis.label, "mean loss (bits)")
        assert ax.get_ylim()[0] == 0
        assert ax.get_ylim()[1] > (count + rest).max()

    def test_known_parts(self, slice_of):
        # One of two subtasks, with a quarter of the mass, is half-learned: at .6 and still, or on its way.
        loss = np.ones((1, 3, 4, 2))
        loss[0, 0, :, 1] = 0.6
        loss[0, 1, :, 1] = [1, 1, 0.8, 0.6]
        loss[0, 2, :, 1] = 0.04
        ax = plot_budget(slice_of(loss, [0.75, 0.25], step=[0, 1, 2, 4], width=[1, 2, 4]))
        assert line(ax, "mean loss").get_ydata() == pytest.approx([0.9, 0.9, 0.76])
        assert line(ax, "count").get_ydata() == pytest.approx([1, 1, 0.76])
        np.testing.assert_allclose(area(ax, "half-learned: stuck"), [[0.9, 0.9, 0.76], [1, 0.9, 0.76]])
        np.testing.assert_allclose(area(ax, "half-learned: falling"), [[1, 0.9, 0.76], [1, 1, 0.76]])
        np.testing.assert_allclose(area(ax, "rest: in what is learned"), [[0, 0, 0], [0, 0, 0.01]])
        assert title(ax) == "seed 0"

    def test_what_falls_may_not_be_known(self, slice_of):
        loss = np.ones((2, 3, 2, 2))
        loss[:, :, 1, 1] = 0.6
        ax = plot_budget(slice_of(loss, [0.75, 0.25], step=[0, 100]))
        np.testing.assert_allclose(area(ax, "half-learned: unknown"), [[0.9] * 3, [1.0] * 3])
        assert title(ax) == "mean of 2 seeds"
        assert not {"half-learned: stuck", "half-learned: falling"} & set(labels(ax))

    def test_says_when_there_are_too_few_sizes(self, worlds):
        assert texts(plot_budget(worlds["one width"])) == ["fewer than three values of N"]


class TestExponentParts:
    @each_axis
    def test_bars_and_shares_are_those_of_the_table(self, worlds, kind, axis):
        statistics = worlds[kind]
        ax = plot_exponent_parts(statistics, axis=axis, confidence=0.8)
        parts = sum_up_budgets(statistics, 0.8)[axis.name]
        budget = statistics.here.budgets[axis.name]
        both = budget.exponents[:, 0] + budget.exponents[:, 2]
        rows = {"mean loss": parts.exponent, **parts.carries, "count + falling": mean_over_seeds(both, 0.8)}
        names = ticks(ax.yaxis)
        assert set(names) == {"mean loss", "count + falling", *PARTS}
        drawn = [bar.patches[0].get_width() for bar in ax.containers]
        np.testing.assert_allclose(drawn, [rows[name].estimate for name in names], atol=1e-12)
        intervals = np.concatenate([bars(one) for one in ax.collections])
        np.testing.assert_allclose(
            intervals, [(rows[name].lower, rows[name].upper) for name in names], atol=1e-12
        )
        share = mean_over_seeds(both / budget.exponent, 0.8)
        said = {"mean loss": parts.exponent, **parts.shares, "count + falling": share}
        (right,) = ax.child_axes
        assert ticks(right.yaxis) == [style.interval(said[name]) for name in names]
        assert ax.get_xlabel() == f"part of the exponent along {axis.name}"

    def test_parts_add_up(self, simulated):
        ax = plot_exponent_parts(simulated)
        width = dict(zip(ticks(ax.yaxis), [bar.patches[0].get_width() for bar in ax.containers], strict=True))
        assert sum(width[part] for part in PARTS) == pytest.approx(width["mean loss"])

    def test_band_of_the_claim_along_n_alone(self, simulated):
        (band,) = [one for one in plot_exponent_parts(simulated).patches if one.get_facecolor()[0] == 0.92]
        exponent = simulated.here.budgets["N"].exponent.mean()
        assert (band.get_x(), band.get_x() + band.get_width()) == pytest.approx(
            (0.9 * exponent, 1.1 * exponent)
        )
        along_s = plot_exponent_parts(simulated, axis=S)
        assert not [one for one in along_s.patches if one.get_facecolor()[0] == 0.92]

    def test_one_seed_has_no_intervals(self, worlds):
        ax = plot_exponent_parts(worlds["one seed"])
        assert not ax.collections
        assert "[" not in "".join(ticks(ax.child_axes[0].yaxis))

    def test_says_when_there_is_nothing_to_split(self, worlds):
        assert texts(plot_exponent_parts(worlds["nothing learned"])) == ["the loss does not change along N"]
        assert texts(plot_exponent_parts(worlds["no loss"])) == ["the loss has no exponent along N"]
        assert texts(plot_exponent_parts(worlds["one width"])) == ["fewer than three values of N"]

    def test_what_is_not_known_is_said(self, slice_of):
        loss = np.ones((2, 3, 2, 2))
        loss[:, 1, 1, 1], loss[:, 2, 1, 1] = 0.6, 0.05
        ax = plot_exponent_parts(measure(slice_of(loss, [0.75, 0.25], step=[0, 100])))
        said = dict(zip(ticks(ax.yaxis), ticks(ax.child_axes[0].yaxis), strict=True))
        unknown = {name for name, text in said.items() if text == "not known"}
        assert unknown == {"falling", "stuck", "count + falling"}
