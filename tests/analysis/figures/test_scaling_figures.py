import numpy as np
import pytest
from drawn import labels, line, texts
from matplotlib.collections import LineCollection, PathCollection

from quanta.analysis.figures.scaling import plot_scaling_fits, plot_window_audit
from quanta.analysis.fits.forecasts import audit_windows, compare_models, forecast, scaling_points
from quanta.analysis.fits.scaling import MODELS, fit_scaling
from quanta.analysis.theories.quanta import count_from_threshold, ideal_loss, local_slope
from quanta.tasks.frequencies import zipf_frequencies

each_scale = pytest.mark.parametrize("scale", ["parameters", "steps"])
each_plot = pytest.mark.parametrize("plot", [plot_scaling_fits, plot_window_audit])


@pytest.fixture(scope="module")
def world(quanta_world):
    return quanta_world(scatter=0.4)


@pytest.fixture(scope="module")
def exact(slice_of):
    """Subtask k is learned at 100 / p_k where the width is at least 4 k: n = c N, in hard steps."""
    p = zipf_frequencies(64, 0.4)
    widths, steps = 4 * np.array([1, 2, 4, 8, 16, 32]), np.unique(np.geomspace(50, 50000, 80).astype(int))
    learned = (np.arange(1, 65) <= widths[:, None, None] / 4) & (steps[:, None] >= 100 / p)
    return slice_of(np.where(learned, 0.0, 1.0)[None], p, width=widths, step=steps)


class TestScalingFits:
    @each_scale
    def test_marks_what_was_fitted_and_what_was_held_out(self, world, scale):
        ax = plot_scaling_fits(world, scale=scale, hold_out=3)
        x, y = scaling_points(world, scale)
        fitted, held_out = line(ax, "fitted (geometric mean of 3 seeds)"), line(ax, "held out")
        np.testing.assert_array_equal(np.r_[fitted.get_xdata(), held_out.get_xdata()], x)
        np.testing.assert_allclose(np.r_[fitted.get_ydata(), held_out.get_ydata()], y)
        assert held_out.get_xdata().min() > x.max() / 3 >= fitted.get_xdata().max()
        assert fitted.get_markerfacecolor() != held_out.get_markerfacecolor() == "white"
        assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
        assert ax.get_ylabel() == "mean loss (bits)"
        low, high = ax.get_ylim()
        assert low < y.min() < y.max() < high

    def test_draws_the_fits_of_the_table(self, world):
        ax = plot_scaling_fits(world)
        x, y = scaling_points(world)
        p = world["frequency"].values
        table = compare_models(x, y, frequency=p).set_index("model")
        fitted = x <= x.max() / 2
        for model in MODELS:
            if not table.loc[model, "converged"]:
                assert f"{model}: not fitted" in labels(ax)
                continue
            drawn = line(ax, (f"{model}:", f"{model} (E"))
            fit = fit_scaling(x[fitted], y[fitted], model, frequency=p)
            np.testing.assert_allclose(drawn.get_ydata(), fit.predict(drawn.get_xdata()), rtol=1e-6)
            assert drawn.get_label().endswith(f"error {table.loc[model, 'forecast_error']:.2f}")
        above = table["delta_aicc"].dropna()
        for model, delta in above.items():
            assert f"ΔAICc {delta:.1f}, " in line(ax, (f"{model}:", f"{model} (E")).get_label()

    def test_bands_the_best_beyond_what_was_fitted(self, world):
        ax = plot_scaling_fits(world, confidence=0.8)
        (band,) = ax.collections
        x, y = scaling_points(world)
        fitted, p = x <= x.max() / 2, world["frequency"].values
        best = compare_models(x, y, frequency=p).set_index("model")["aicc"].idxmin()
        assert band.get_label() == f"80% forecast of {best}"
        expected = forecast(fit_scaling(x[fitted], y[fitted], best, frequency=p), x[-1:], 0.8)
        edges = band.get_paths()[0].vertices
        at_end = edges[np.isclose(edges[:, 0], x[-1]), 1]
        assert (at_end.min(), at_end.max()) == pytest.approx((expected.lower[0], expected.upper[0]))
        assert edges[:, 0].min() >= x[fitted].max()

    def test_says_that_steps_are_not_independent(self, world):
        assert any(
            label.endswith("(if independent)") for label in labels(plot_scaling_fits(world, scale="steps"))
        )
        assert not any("independent" in label for label in labels(plot_scaling_fits(world)))

    def test_says_when_there_is_no_floor(self, exact):
        assert any(label.startswith("power + floor (E = 0)") for label in labels(plot_scaling_fits(exact)))


class TestWindowAudit:
    @each_scale
    def test_draws_every_window_by_its_centre_and_length(self, world, scale):
        ax = plot_window_audit(world, scale=scale, min_factor=5)
        table = audit_windows(*scaling_points(world, scale), min_factor=5)
        (dots,) = [drawn for drawn in ax.collections if isinstance(drawn, PathCollection)]
        (bars,) = [drawn for drawn in ax.collections if isinstance(drawn, LineCollection)]
        expected = np.column_stack(
            [np.sqrt(table["lower"] * table["upper"]), -table["slope"], table["upper"] / table["lower"]]
        )
        drawn = np.column_stack([dots.get_offsets(), dots.get_array()])
        np.testing.assert_allclose(drawn[np.lexsort(drawn.T)], expected[np.lexsort(expected.T)])
        assert (np.diff(dots.get_array()) >= 0).all()  # long windows are drawn last
        heights = np.array([np.ptp(segment[:, 1]) for segment in bars.get_segments()])
        np.testing.assert_allclose(np.sort(heights), np.sort(2 * table["stderr"]))
        assert labels(ax)[0] == f"{len(table)} windows (bars: standard error)"

    def test_theory_in_parameters_is_the_local_slope(self, exact):
        ax = plot_window_audit(exact)
        theory = line(ax, "local slope, exact for K = 64")
        at = theory.get_xdata()
        n = at / 400  # N is 100 widths, and n a quarter of the width
        known = (n >= 1) & (n < 63)
        np.testing.assert_allclose(
            theory.get_ydata()[known], local_slope(exact["frequency"], n[known]), rtol=1e-6
        )
        assert set(line(ax, "infinite K, α = 0.40").get_ydata()) == {0.4}

    def test_theory_in_steps_is_the_slope_of_the_staircase(self, exact):
        ax = plot_window_audit(exact, scale="steps")
        theory = line(ax, "local slope")
        p, at = exact["frequency"].values, theory.get_xdata()
        # Over factors of two, on which the loss interpolated over n has its corners smoothed out.
        inside = (at > 2 * at[0]) & (at < at[-1] / 2)
        n = [count_from_threshold(p, 100 / (at[inside] * factor)) for factor in (0.5**0.5, 2**0.5)]
        mean_slope = -np.diff(np.log(ideal_loss(p, np.array(n))), axis=0)[0] / np.log(2)
        np.testing.assert_allclose(theory.get_ydata()[inside], mean_slope, rtol=0.1)
        assert line(ax, "infinite K, α/(1+α) = 0.29").get_ydata()[0] == pytest.approx(0.4 / 1.4)

    def test_uniform_frequencies_have_no_infinite_limit(self, uniform):
        assert not any("infinite" in label for label in labels(plot_window_audit(uniform)))

    def test_says_when_nothing_was_learned(self, slice_of):
        loss = np.linspace(1, 0.6, 5)[None, :, None, None] * np.ones((1, 5, 2, 2))
        ax = plot_window_audit(slice_of(loss, [0.6, 0.4], width=[1, 2, 4, 8, 16]))
        assert "no theory: nothing, or everything, learned" in labels(ax)
        assert labels(ax)[0].startswith("6 windows")


@each_plot
@each_scale
class TestBoth:
    def test_draw_on_given_axes_and_lay_out(self, world, plot, scale):
        ax = plot(world, scale=scale)
        assert plot(world, ax, scale=scale) is ax
        ax.figure.draw_without_rendering()

    def test_say_what_cannot_be_drawn(self, slice_of, plot, scale):
        for shape in ((1, 1, 1, 2), (1, 2, 3, 2), (3, 3, 4, 2)):
            loss = np.ones(shape)
            loss[:, :, -1] = 0  # nothing, then everything, learned
            for curves in (slice_of(np.ones(shape), [0.5, 0.5]), slice_of(loss, [0.5, 0.5])):
                ax = plot(curves, scale=scale)
                ax.figure.draw_without_rendering()
                assert texts(ax)[0].startswith(("fewer than 4 points", "no window of a factor 4"))

    def test_survive_an_early_stop(self, world, plot, scale):
        stopped = world.copy(deep=True)
        for name in ("loss", "mean_loss"):
            stopped[name][{"seed": 0, "step": slice(80, None)}] = np.nan
        ax = plot(stopped, scale=scale)
        ax.figure.draw_without_rendering()
        assert ax.has_data()

    def test_text_does_not_overlap(self, world, plot, scale):
        figure = plot(world, scale=scale).figure
        figure.draw_without_rendering()
        (ax, *_) = figure.axes
        legend = ax.get_legend().get_window_extent()
        assert legend.y0 >= ax.get_window_extent().y1
        assert legend.x1 <= figure.bbox.x1
