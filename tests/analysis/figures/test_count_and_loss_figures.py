import numpy as np
import pytest
from drawn import labels, line, texts

from quanta.analysis.axes import D, N, S
from quanta.analysis.figures import style
from quanta.analysis.figures.count import plot_count
from quanta.analysis.figures.expected import expect_loss
from quanta.analysis.figures.loss import plot_loss
from quanta.analysis.fits.intervals import mean_over_seeds
from quanta.analysis.theories.domino import Domino
from quanta.analysis.theories.quanta import Quanta, ideal_loss
from quanta.analysis.verdict.predictions import observe
from quanta.analysis.verdict.statistics import measure
from quanta.tasks.frequencies import zipf_frequencies


def slope_of(line):
    x, y = (np.asarray(values, dtype=float) for values in line.get_data())
    return np.log(y[-1] / y[0]) / np.log(x[-1] / x[0])


class TestLoss:
    def test_dots_are_the_mean_losses_of_every_seed(self, world):
        ax = plot_loss(world)
        loss = world.base.traces["N"].mean_loss
        dots = line(ax, "3 seeds")
        np.testing.assert_allclose(dots.get_xdata(), np.tile(world.base.left.n_parameters, 3))
        np.testing.assert_allclose(dots.get_ydata(), loss.ravel())
        mean = line(ax, "geometric mean").get_ydata()
        np.testing.assert_allclose(mean, np.exp(np.log(loss).mean(axis=0)))
        (band,) = ax.collections
        corners = band.get_paths()[0].vertices
        for n, column in zip(world.base.left.n_parameters, loss.T, strict=True):
            y = corners[corners[:, 0] == n, 1]
            np.testing.assert_allclose([y.min(), y.max()], [column.min(), column.max()])
        assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
        assert (ax.get_xlabel(), ax.get_ylabel()) == ("parameters N", "mean loss (bits)")

    def test_along_steps_there_is_a_line_a_seed(self, world):
        ax = plot_loss(world, axis=S)
        one = world.base.traces["S"]
        for drawn, loss in zip(ax.lines, one.mean_loss, strict=False):
            np.testing.assert_allclose(drawn.get_ydata(), loss)
        assert ax.get_xlabel() == "optimisation step S"

    @pytest.mark.parametrize(("kind", "axis"), [("world", N), ("world", S), ("simulated", S), ("data", D)])
    def test_exponent_is_that_of_the_statistics(self, worlds, kind, axis):
        statistics = worlds[kind]
        ax = plot_loss(statistics, axis=axis, confidence=0.8)
        found = mean_over_seeds(statistics.here.loss_exponent(axis), 0.8)
        drawn = line(ax, rf"$\alpha_{{{axis.name}}}$ = {style.interval(found)}")
        assert slope_of(drawn) == pytest.approx(-found.estimate)
        x, loss = statistics.here.loss_points(axis)
        assert drawn.get_xdata().tolist() == [x.min(), x.max()]
        # Through the middle of the points: the least-squares line, but for the window of each seed.
        middle = np.exp(np.log(x).mean())
        height = np.interp(np.log(middle), np.log(drawn.get_xdata()), np.log(drawn.get_ydata()))
        assert height == pytest.approx(np.log(loss).mean())

    def test_guide_has_the_slope_of_infinite_k(self, world, worlds):
        assert slope_of(line(plot_loss(world), r"infinite K: $\alpha_{N}$ = 0.40")) == pytest.approx(-0.4)
        steps = line(plot_loss(world, axis=S), r"infinite K: $\alpha_{S}$ = 0.29")
        assert slope_of(steps) == pytest.approx(-0.4 / 1.4)
        assert not [label for label in labels(plot_loss(worlds["uniform"])) if "infinite" in label]

    def test_draws_what_theories_expect(self, world):
        expected = {"half": lambda x: x / x / 2, "none": lambda x: np.full(x.shape, np.nan)}
        ax = plot_loss(world, expected=expected)
        assert set(line(ax, "half").get_ydata()) == {0.5}
        assert "none" not in labels(ax)

    def test_says_why_there_is_no_exponent(self, slice_of):
        ax = plot_loss(slice_of(np.ones((1, 2, 3, 2)), [0.6, 0.4]))
        assert labels(ax) == ["1 seed", r"no exponent $\alpha_{N}$: too few places with a loss to explain"]
        assert line(ax, "1 seed").get_ydata().tolist() == [1, 1]

    def test_some_losses_of_zero(self, slice_of):
        loss = np.ones((2, 4, 5, 4))
        loss[:, 1:, 2:, 0] = 0.01
        loss[0, 3, 4] = 0.0
        ax = plot_loss(slice_of(loss, [0.4, 0.3, 0.2, 0.1]))
        assert np.isfinite(line(ax, "geometric mean").get_ydata()).tolist() == [True, True, True, False]


class TestExpectedLoss:
    def test_is_that_of_the_constants_of_times_and_counts(self, slice_of):
        # Subtask k at step 100 / p_k, where there is room for N / 400 of them.
        p = zipf_frequencies(32, 0.4)
        step = np.unique(np.geomspace(50, 1e6, 800).astype(int))
        widths = np.array([4, 8, 12])
        learned = (np.arange(1, 33) <= widths[:, None, None] / 4) & (step[:, None] >= 100 / p)
        statistics = measure(slice_of(np.where(learned, 0.0, 1.0)[None], p, width=widths, step=step))
        (along_n,) = expect_loss(statistics, N, Quanta).values()
        at = np.array([400.0, 800.0, 1200.0])
        np.testing.assert_allclose(along_n(at), ideal_loss(p, np.arange(1, 4)), rtol=1e-3)
        (along_s,) = expect_loss(statistics, S, Quanta).values()
        # Half-way from one learning time to the next; the widest has room for three.
        at = np.sqrt(100 / p[:4] * 100 / p[1:5])
        expected = ideal_loss(p, np.array([0, 1, 2, 3, 3]))
        np.testing.assert_allclose(along_s(np.append(50 / p[0], at)), expected, rtol=1e-3)

    def test_is_in_bits(self, quanta_world):
        curves = quanta_world(scatter=0.1)
        scaled = curves.copy(deep=True)
        for name in ("loss", "mean_loss", "chance"):
            scaled[name] = 3 * curves[name]
        both = (expect_loss(measure(one), N, Quanta)["quanta theory"] for one in (curves, scaled))
        usual, large = (function(np.array([2000.0, 9000.0])) for function in both)
        np.testing.assert_allclose(large, 3 * usual, rtol=1e-6)

    def test_unknown_constants_give_no_line(self, worlds):
        (function,) = expect_loss(worlds["nothing learned"], S, Quanta).values()
        assert np.isnan(function(np.array([10.0, 100.0]))).all()

    def test_theories_that_do_not_speak_of_the_resource_are_left_out(self, data_world):
        assert Domino.resources != Quanta.resources
        missing = {"n_parameters", "step", "n_examples"} - set(Domino.resources)
        axis = {"n_parameters": N, "step": S, "n_examples": D}[missing.pop()]
        assert list(expect_loss(data_world, axis, Domino, Quanta)) == ["quanta theory"]


class TestCount:
    def test_full_networks_are_dots_and_others_bounds(self, simulated):
        ax = plot_count(simulated)
        here = simulated.here
        assert 0 < here.is_full.sum() < here.is_full.size
        n = here.is_full.size
        for start, chosen, marker in (("full", here.is_full, "o"), ("not full", ~here.is_full, "^")):
            drawn = line(ax, start)
            assert drawn.get_marker() == marker
            assert drawn.get_label().endswith(f" ({chosen.sum()} of {n})")
            np.testing.assert_array_equal(drawn.get_ydata(), here.n_learned[chosen])
            at = np.broadcast_to(simulated.base.left.n_parameters, chosen.shape)[chosen]
            np.testing.assert_allclose(drawn.get_xdata(), at, rtol=0.1)
        assert line(ax, "full").get_markerfacecolor() != line(ax, "not full").get_markerfacecolor() == "white"
        assert (ax.get_xscale(), ax.get_yscale()) == ("log", "symlog")
        assert (ax.get_xlabel(), ax.get_ylabel()) == ("parameters N", "subtasks learned n")
        assert 0 in ax.get_yticks()

    def test_gamma_is_that_of_the_statistics(self, simulated, worlds):
        found = simulated.here.mean_gamma(0.8)
        assert f"n ∝ N$^γ$ with γ = {style.interval(found)}" in labels(plot_count(simulated, confidence=0.8))
        assert "no γ: too few networks are full" in labels(plot_count(worlds["nothing learned"]))

    def test_guide_is_in_proportion_by_the_fitted_room(self, simulated):
        drawn = line(plot_count(simulated), "n ∝ N")
        assert slope_of(drawn) == pytest.approx(1)
        fitted = Quanta.fit(observe(simulated.here))
        assert drawn.get_xdata()[0] / drawn.get_ydata()[0] == pytest.approx(fitted.parameters_per_subtask)

    def test_along_steps_it_is_a_staircase_a_seed(self, world):
        ax = plot_count(world, axis=S)
        times = world.here.times["step"].isel(width=-1).transpose("seed", "subtask").values
        for drawn, at in zip(ax.lines, times, strict=False):
            assert drawn.get_drawstyle() == "steps-post"
            x, n = drawn.get_data()
            np.testing.assert_array_equal(n, [(at <= step).sum() for step in x])

    @pytest.mark.parametrize(("kind", "axis"), [("world", S), ("data", D)])
    def test_guide_is_the_count_if_all_are_learned_at_once(self, worlds, kind, axis):
        statistics = worlds[kind]
        x, n = line(plot_count(statistics, axis=axis), f"{axis.name}$_k$ ∝ 1/p$_k$").get_data()
        assert n.tolist() == list(range(1, statistics.base.left.frequency.size + 1))
        fitted = Quanta.fit(observe(statistics.here))
        constant = fitted.learning_time if axis == S else fitted.examples_per_subtask
        np.testing.assert_allclose(x * statistics.base.left.frequency, constant)

    def test_along_data_the_counts_are_dots(self, data_world):
        ax = plot_count(data_world, axis=D)
        x, n = ax.lines[0].get_data()
        assert x.tolist() == [400, 800, 1600, 3200, 6400, 12800]
        p = data_world.base.left.frequency
        assert n.tolist() == [(p * examples >= 200).sum() for examples in x]

    def test_shows_k_where_it_is_near(self, worlds, world):
        assert "K = 8" in labels(plot_count(worlds["everything learned"]))
        assert "K = 64" not in labels(plot_count(world))

    def test_says_what_is_missing(self, worlds):
        assert texts(plot_count(worlds["nothing learned"])) == ["nothing learned"]
        assert not [label for label in labels(plot_count(worlds["uniform"], axis=S)) if "∝" in label]
