import numpy as np
import pytest
from drawn import bars, labels, line, texts
from matplotlib.collections import LineCollection, PathCollection
from scipy import stats

from quanta.analysis.axes import N, S
from quanta.analysis.figures.scaling import plot_scaling_fits, plot_windows
from quanta.analysis.fits.forecasts import forecast
from quanta.analysis.fits.intervals import mean_over_seeds
from quanta.analysis.fits.windows import audit_windows
from quanta.analysis.verdict.tables import compare_along

each_axis = pytest.mark.parametrize("axis", [N, S], ids=["N", "S"])


class TestScalingFits:
    @each_axis
    def test_marks_what_was_fitted_and_what_was_held_out(self, world, axis):
        ax = plot_scaling_fits(world, axis=axis, hold_out=3)
        x, loss = world.here.loss_points(axis)
        fitted, held_out = line(ax, "fitted (geometric mean of 3 seeds)"), line(ax, "held out")
        np.testing.assert_array_equal(np.r_[fitted.get_xdata(), held_out.get_xdata()], x)
        np.testing.assert_allclose(np.r_[fitted.get_ydata(), held_out.get_ydata()], stats.gmean(loss))
        assert held_out.get_xdata().min() > x.max() / 3 >= fitted.get_xdata().max()
        assert fitted.get_markerfacecolor() != held_out.get_markerfacecolor() == "white"
        assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
        assert (ax.get_xlabel(), ax.get_ylabel()) == (axis.label, "mean loss (bits)")
        low, high = ax.get_ylim()
        assert low < stats.gmean(loss).min() < stats.gmean(loss).max() < high

    @pytest.mark.parametrize("kind", ["simulated", "one seed"])
    def test_draws_the_rivals_best_first(self, worlds, kind):
        statistics = worlds[kind]
        ax = plot_scaling_fits(statistics)
        rivals = compare_along(statistics, N)
        said = [label for label in labels(ax) if label.startswith(tuple(rival.model for rival in rivals))]
        assert [label.split(":")[0] for label in said] == [rival.model for rival in rivals]
        for rival, label in zip(rivals, said, strict=True):
            if rival.fit is None:
                assert label == f"{rival.model}: not fitted"
                continue
            drawn = line(ax, label)
            expected = rival.fit.predict(drawn.get_xdata())
            np.testing.assert_allclose(drawn.get_ydata(), np.where(expected > 0, expected, np.nan))
            error = f"{rival.model}: {rival.forecast_error:.2f}"
            if kind == "one seed":
                assert label == error
            elif rival is rivals[0]:
                assert label == f"{error}, best"
            else:
                difference, stderr = 1e3 * rival.difference, 1e3 * rival.difference_stderr
                assert label == f"{error}, Δ {difference:.1f} ± {stderr:.1f}"

    def test_says_what_the_numbers_are(self, world, worlds):
        assert "error of log forecast, Δ without a seed (10$^{-3}$)" in labels(plot_scaling_fits(world))
        assert "error of log forecast" in labels(plot_scaling_fits(worlds["one seed"]))

    def test_bands_the_best_beyond_what_was_fitted(self, world):
        ax = plot_scaling_fits(world, confidence=0.8)
        (band,) = ax.collections
        x, _ = world.here.loss_points(N)
        best = compare_along(world, N)[0]
        assert band.get_label() == f"80% forecast of {best.model}"
        expected = forecast(best.fit, x[-1:], 0.8)
        edges = band.get_paths()[0].vertices
        at_end = edges[np.isclose(edges[:, 0], x[-1]), 1]
        assert (at_end.min(), at_end.max()) == pytest.approx((expected.lower[0], expected.upper[0]))
        assert edges[:, 0].min() >= x[x <= x.max() / 2].max()

    def test_says_what_cannot_be_fitted(self, worlds):
        assert texts(plot_scaling_fits(worlds["one width"])) == ["fewer than three values of N"]
        assert texts(plot_scaling_fits(worlds["no loss"])) == ["too few points with a loss"]
        assert texts(plot_scaling_fits(worlds["nothing learned"], axis=S)) == ["too few points with a loss"]


class TestWindows:
    @each_axis
    def test_draws_every_window_by_its_centre_and_length(self, world, axis):
        ax = plot_windows(world, axis=axis, min_factor=5, confidence=0.8)
        x, loss = world.here.loss_points(axis)
        audits = [audit_windows(x, of_seed, min_factor=5) for of_seed in loss]
        lower, upper = audits[0].lower, audits[0].upper
        found = [mean_over_seeds(-slopes, 0.8) for slopes in np.stack([a.slope for a in audits], axis=1)]
        (dots,) = [one for one in ax.collections if isinstance(one, PathCollection)]
        expected = np.column_stack([np.sqrt(lower * upper), [one.estimate for one in found], upper / lower])
        drawn = np.column_stack([dots.get_offsets(), dots.get_array()])
        np.testing.assert_allclose(drawn[np.lexsort(drawn.T)], expected[np.lexsort(expected.T)])
        assert (np.diff(dots.get_array()) >= 0).all()  # long windows are drawn last
        (intervals,) = [one for one in ax.collections if isinstance(one, LineCollection)]
        shortest = [int(np.flatnonzero(lower == low)[0]) for low in np.unique(lower)]
        ends = [(found[i].lower, found[i].upper) for i in shortest]
        np.testing.assert_allclose(bars(intervals), ends)
        assert labels(ax)[0] == f"{lower.size} windows, 80% intervals over 3 seeds"
        assert ax.get_xlabel() == f"{axis.label}, centre of window"

    def test_power_law_has_its_exponent_in_every_window(self, slice_of):
        width = 2 ** np.arange(6)
        loss = np.ones((2, 6, 3, 2)) * width[:, None, None] ** -0.3
        ax = plot_windows(slice_of(loss, [0.6, 0.4], width=width))
        (dots,) = [one for one in ax.collections if isinstance(one, PathCollection)]
        np.testing.assert_allclose(dots.get_offsets()[:, 1], 0.3, rtol=1e-6)
        # Of the 15 pairs of ends, 5 are a factor 2 apart.
        assert labels(ax)[0] == "10 windows, 90% intervals over 2 seeds"

    def test_draws_what_theories_expect(self, world):
        expected = {"steep": lambda x: x**-0.7, "bent": lambda x: np.where(x < 3000, x**-0.2, 0)}
        ax = plot_windows(world, expected=expected)
        np.testing.assert_allclose(line(ax, "steep, windows of a factor 4").get_ydata(), 0.7)
        bent = line(ax, "bent")
        np.testing.assert_allclose(bent.get_ydata(), 0.2)
        assert bent.get_xdata().max() < 1500  # windows that lie where it is known

    def test_guide_of_infinite_k(self, world, worlds):
        assert set(line(plot_windows(world), "infinite K: 0.40").get_ydata()) == {0.4}
        assert line(plot_windows(world, axis=S), "infinite K: 0.29").get_ydata()[0] == pytest.approx(
            0.4 / 1.4
        )
        assert not [label for label in labels(plot_windows(worlds["uniform"])) if "infinite" in label]

    def test_one_seed_has_no_intervals(self, worlds):
        ax = plot_windows(worlds["one seed"])
        assert not [one for one in ax.collections if isinstance(one, LineCollection)]
        assert labels(ax)[0].endswith(" windows")

    def test_says_what_is_missing(self, worlds, world):
        assert texts(plot_windows(worlds["one width"])) == ["fewer than three values of N"]
        assert texts(plot_windows(worlds["no loss"])) == ["too few points with a loss"]
        assert texts(plot_windows(world, min_factor=1e3)) == ["no window of a factor 1000"]
