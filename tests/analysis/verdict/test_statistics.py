import numpy as np
import pytest

from quanta.analysis import axes
from quanta.analysis.axes import Axis
from quanta.analysis.learned.budget import measure_budget, measure_drift
from quanta.analysis.learned.drops import measure_drops
from quanta.analysis.learned.growth import measure_count_law, measure_curvature, measure_time_law
from quanta.analysis.learned.left import trace
from quanta.analysis.learned.order import concordance
from quanta.analysis.learned.times import cross_trace, find_full, learning_times, time_bounds
from quanta.analysis.verdict import statistics as module
from quanta.analysis.verdict.statistics import TAUS, log_slope, measure
from quanta.tasks.frequencies import uniform_frequencies, zipf_frequencies


@pytest.fixture(scope="module")
def measured(brief):
    return measure(brief)


@pytest.fixture(scope="module")
def along_data(data_world):
    return measure(data_world(), taus=())


def slope_of(x, y):
    return np.polyfit(np.log(x), np.log(y), 1)[0]


class TestMeasure:
    def test_thresholds_are_the_one_asked_for_and_those_to_compare(self, brief, measured):
        assert list(measured.by_tau) == sorted(TAUS)
        assert measured.here is measured.by_tau[0.1]
        other = measure(brief, 0.3, taus=(0.7, 0.3))
        assert (list(other.by_tau), other.tau, other.here.tau) == ([0.3, 0.7], 0.3, 0.3)
        for tau, one in measured.by_tau.items():
            np.testing.assert_array_equal(one.times["step"], learning_times(brief, tau)["step"])

    def test_traces_are_of_what_has_three_places(self, measured, along_data, brief):
        assert list(measured.base.traces) == ["N", "S"]
        assert list(along_data.base.traces) == ["N", "S", "D"]
        assert list(measure(brief.isel(width=[0, 3]), taus=()).base.traces) == ["S"]
        assert list(measure(brief.isel(step=[0, 20, -1]), taus=()).base.traces) == ["N"]

    def test_another_resource_is_followed(self, brief):
        compute = Axis("C", "compute", "width", "compute", "resource")
        curves = brief.assign(compute=("width", brief["n_parameters"].values * 7.0))
        found = measure(curves, taus=(), resources=(axes.N, compute))
        assert list(found.base.traces) == ["N", "C"]
        np.testing.assert_allclose(
            found.here.budgets["C"].exponents, found.here.budgets["N"].exponents, rtol=1e-9
        )

    def test_every_metric_that_there_is_has_drops(self, brief):
        loss = brief["loss"].values
        curves = brief.assign(accuracy=(brief["loss"].dims, 1 - loss / 2), brief=(brief["loss"].dims, loss))
        found = measure(curves, taus=()).base.drops
        assert list(found) == ["loss", "accuracy"]
        for of_loss, of_accuracy in zip(*found.values(), strict=True):
            np.testing.assert_allclose(of_accuracy.share, of_loss.share, rtol=1e-4)  # float32

    def test_drops_end_where_a_network_stopped(self, brief):
        late = (brief["step"] > 3000) & (brief["seed"] == 1)
        stopped = brief.assign(loss=brief["loss"].where(~late))
        until = int((brief["step"] <= 3000).sum())
        found = measure(stopped, taus=()).base
        left = measure(brief, taus=()).base.left
        expected = measure_drops(
            left.step[:until], left.share[-1, 1, -1, :until].astype(float), left.frequency
        )
        np.testing.assert_array_equal(found.drops["loss"][1].share, expected.share)
        assert found.traces["S"].x[-1] <= 3000

    @pytest.mark.parametrize("tau", [0.0, 1.0])
    def test_tau_out_of_range(self, brief, tau):
        with pytest.raises(ValueError, match="tau must be between 0 and 1"):
            measure(brief, tau)

    def test_curves_that_are_no_slice(self, brief, at_two_alphas):
        with pytest.raises(ValueError, match="alpha must be chosen: the curves hold"):
            measure(at_two_alphas(brief))


class TestAtTau:
    """Each is what its function says of the slice; computed from the curves anew."""

    @pytest.mark.parametrize("tau", TAUS)
    def test_counts(self, measured, brief, tau):
        times, here = learning_times(brief, tau), measured.by_tau[tau]
        np.testing.assert_array_equal(here.n_learned, times["learned"].values.sum(axis=2))
        np.testing.assert_array_equal(here.is_full, find_full(times))
        # A subtask that is learned is learned at the end, and the other way round.
        np.testing.assert_array_equal(here.n_learned, (here.base.left.end[-1] < tau).sum(axis=2))
        sizes = brief["n_parameters"].values.astype(float)
        gamma, rounding = measure_count_law(sizes, here.n_learned, here.is_full)
        np.testing.assert_array_equal(here.gamma, gamma)
        assert here.gamma_rounding == rounding > 0

    @pytest.mark.parametrize("tau", TAUS)
    def test_budgets_and_drifts(self, measured, tau):
        here = measured.by_tau[tau]
        for axis in (axes.N, axes.S):
            one = trace(measured.base.left, axis)
            budget = measure_budget(one, tau)
            np.testing.assert_array_equal(here.budgets[axis.name].exponents, budget.exponents)

    def test_drift_is_of_sizes_alone(self, measured):
        assert set(measured.base.drifts) == {"N"}
        drift = measure_drift(measured.base.traces["N"]) / measured.here.budgets["N"].exponent
        np.testing.assert_allclose(measured.base.drifts["N"], drift, rtol=1e-12)

    def test_a_loss_that_does_not_change_has_no_drift(self, slice_of):
        here = measure(slice_of(np.ones((2, 3, 4, 3)), zipf_frequencies(3, 0.4)), taus=()).here
        assert np.isnan(here.base.drifts["N"]).all()

    def test_law_of_learning_times_is_of_the_widest(self, measured, brief):
        times, p = learning_times(brief), brief["frequency"].values
        found, expected = measured.here.time_laws["S"], measure_time_law(p, *time_bounds(times))
        np.testing.assert_array_equal(found.beta, expected.beta)
        np.testing.assert_array_equal(found.later, expected.later)
        bent = measure_curvature(p, *time_bounds(times))
        np.testing.assert_array_equal(measured.here.curvature, bent)

    def test_law_along_data_is_censored_at_the_crossing_of_the_last(self, along_data):
        at, lower, upper = cross_trace(along_data.base.traces["D"])
        learned = np.isfinite(upper)
        assert not learned.all()
        last = np.max(at, axis=1, where=learned, initial=0)
        bounds = np.where(learned, lower, last[:, None]), upper
        expected = measure_time_law(along_data.base.left.frequency, *bounds)
        found = along_data.here.time_laws["D"]
        np.testing.assert_array_equal(found.beta, expected.beta)
        assert abs(found.beta.mean() - 1) < 0.1

    def test_nothing_learned_along_data(self, data_world):
        found = measure(data_world(examples=1e9), taus=()).here.time_laws["D"]
        assert np.isnan(found.beta).all()
        assert (found.n_learned == 0).all()

    def test_concordances(self, measured, brief):
        np.testing.assert_array_equal(measured.here.concordance, concordance(learning_times(brief)).values)
        np.testing.assert_array_equal(measured.here.concordance_of_widest, measured.here.concordance[:, -1])
        expected = measured.here.expected_concordance
        assert expected.shape == (3,)
        # The world scatters as is said: what is found is what is expected, within the spread over seeds.
        assert np.abs(measured.here.concordance[:, -1] - expected).max() < 0.05

    def test_window_is_from_the_first_to_the_last_learning_time(self, measured, brief):
        first, last = measured.here.window
        times = learning_times(brief)["step"].values[:, -1]
        np.testing.assert_array_equal(first, np.nanmin(times, axis=1))
        np.testing.assert_array_equal(last, np.nanmax(times, axis=1))

    def test_window_leaves_out_what_was_learned_before_one_could_see(self, slice_of):
        # Learned by step 1, between 1 and 10, never.
        loss = np.array([[1, 1, 1], [0.01, 1, 1], [0.01, 0.01, 1], [0.01, 0.01, 1]])[None, None]
        first, last = measure(slice_of(loss, zipf_frequencies(3, 0.4), step=[0, 1, 10, 20])).here.window
        np.testing.assert_allclose([first, last], [[np.sqrt(10)], [np.sqrt(10)]], rtol=1e-6)

    def test_window_of_nothing_is_not_known(self, slice_of):
        here = measure(slice_of(np.ones((2, 3, 4, 3)), zipf_frequencies(3, 0.4)), taus=()).here
        assert np.isnan(here.window).all()
        assert np.isnan(here.loss_exponent(axes.S)).all()


class TestLossExponent:
    def test_along_steps_is_of_the_window(self, measured, brief):
        first, last = measured.here.window
        step, p = brief["step"].values, brief["frequency"].values
        for seed, found in enumerate(measured.here.loss_exponent(axes.S)):
            inside = (step >= first[seed]) & (step <= last[seed])
            loss = brief["loss"].values[0, seed, -1].astype(float)[inside] @ p
            assert found == pytest.approx(-slope_of(step[inside], loss), rel=1e-5)

    def test_along_parameters_is_of_the_ends(self, measured, brief):
        loss = brief["loss"].values[0, :, :, -1].astype(float) @ brief["frequency"].values
        for found, of_seed in zip(measured.here.loss_exponent(axes.N), loss, strict=True):
            assert found == pytest.approx(-slope_of(brief["n_parameters"].values, of_seed), rel=1e-5)

    def test_is_that_of_the_budget_also_where_sizes_are_equal(self, brief):
        """One statistic, and not two that differ."""
        sizes = brief["n_parameters"].values.copy()
        sizes[2] = sizes[1]
        here = measure(brief.assign(n_parameters=("width", sizes)), taus=()).here
        np.testing.assert_allclose(here.loss_exponent(axes.N), here.budgets["N"].exponent, rtol=1e-9)

    def test_is_unknown_where_the_resource_does_not_vary(self, measured):
        assert np.isnan(measured.here.loss_exponent(axes.D)).tolist() == [True] * 3

    def test_points_that_laws_are_fitted_to(self, brief):
        sizes = brief["n_parameters"].values.copy()
        sizes[2] = sizes[1]
        here = measure(brief.assign(n_parameters=("width", sizes)), taus=()).here
        x, loss = here.loss_points(axes.N)
        assert x.tolist() == np.unique(sizes).tolist()
        ends = here.base.traces["N"].mean_loss
        np.testing.assert_allclose(loss[:, 1], ends[:, 1:3].mean(axis=1), rtol=1e-12)
        step, of_step = here.loss_points(axes.S)
        first, last = (np.median(values) for values in here.window)
        assert first <= step[0] < step[-1] <= last
        assert of_step.shape == (3, step.size)

    def test_points_without_a_logarithm_are_left_out(self, slice_of):
        loss = np.ones((2, 4, 3, 2))
        loss[:, 1:, 1:, 0] = 0
        loss[0, 3, 1:] = 0
        x, points = measure(slice_of(loss, [0.6, 0.4]), taus=()).here.loss_points(axes.N)
        assert x.tolist() == [100, 200, 300]
        np.testing.assert_allclose(points, [[1, 0.4, 0.4]] * 2, rtol=1e-6)


class TestLogSlope:
    def test_leaves_out_what_has_no_logarithm(self):
        x = np.array([0.0, 1, 2, 4, 8, 16])
        y = np.array([1.0, 3, 12, np.nan, 0, 768])
        assert log_slope(x, y) == pytest.approx(2, rel=1e-12)

    @pytest.mark.parametrize(
        ("x", "y"), [([], []), ([1, 2], [1, 2]), ([1, 2, 3], [1, 0, 2]), ([2, 2, 2], [1, 2, 3])]
    )
    def test_unknown(self, x, y):
        assert np.isnan(log_slope(np.array(x, dtype=float), np.array(y, dtype=float)))

    def test_a_mistake_shows_itself(self, monkeypatch):
        def broken(*arguments):
            raise ValueError("a mistake in the program")

        monkeypatch.setattr(module, "fit_power_law", broken)
        with pytest.raises(ValueError, match="a mistake"):
            log_slope(np.arange(1.0, 5), np.arange(1.0, 5))


@pytest.mark.parametrize("alpha", [0.1, 0.4, 1.5])
def test_serial_beta_of_a_zipf_law(slice_of, alpha):
    curves = slice_of(np.ones((1, 1, 2, 64)), zipf_frequencies(64, alpha))
    assert measure(curves, taus=()).base.serial_beta == pytest.approx(1 / (1 + alpha), rel=1e-9)


def test_no_serial_beta_of_equal_frequencies(slice_of):
    curves = slice_of(np.ones((1, 1, 2, 64)), uniform_frequencies(64), alpha=-1)
    base = measure(curves, taus=()).base
    assert np.isnan(base.serial_beta)
    assert base.alpha == -1


def test_likelihoods_are_of_the_widest(measured):
    found = measured.here.likelihoods([1.0, 0.5, None])
    assert found.shape == (3, 3)
    assert (found[:, 2] >= found[:, :2].max(axis=1)).all()
    assert (found[:, 0] > found[:, 1]).all()


def everything(curves):
    """Statistics of a slice that must not depend on names and units, one array each."""
    here = measure(curves, taus=()).here
    law = here.time_laws["S"]
    drops = here.base.drops["loss"]
    return {
        "n_learned": here.n_learned,
        "is_full": here.is_full,
        "shares": here.budgets["N"].shares,
        "exponent": here.budgets["N"].exponent,
        "exponents in steps": here.budgets["S"].exponents,
        "drift": here.base.drifts["N"],
        "beta": law.beta,
        "halves": np.stack([law.first, law.later], axis=1),
        "scatter": law.scatter,
        "gamma": here.gamma,
        "concordance": here.concordance,
        "expected": here.expected_concordance,
        "alpha_S": here.loss_exponent(axes.S),
        "mean share": np.array([one.mean_share for one in drops]),
        "factor": np.array([one.median_factor for one in drops]),
        "resolved": np.array([one.resolved for one in drops]),
    }


@pytest.fixture(scope="module")
def expected(brief):
    return everything(brief)


class TestInvariants:
    def check(self, found, expected, rtol=1e-4, order=slice(None)):
        for name, values in expected.items():
            # Newton's method ends at a relative 1e-6 or so, and losses are float32.
            np.testing.assert_allclose(found[name], values[order], rtol=rtol, atol=1e-5, err_msg=name)

    @pytest.mark.parametrize("unit", [2, 1000, 7])
    def test_unit_of_time(self, brief, expected, unit):
        self.check(everything(brief.assign_coords(step=brief["step"] * unit)), expected)

    @pytest.mark.parametrize("unit", [2.0, 1.5, np.log(2), 10.0])
    def test_unit_of_the_loss(self, brief, expected, unit):
        scaled = brief.assign(loss=brief["loss"] * np.float32(unit), chance=brief["chance"] * unit)
        self.check(everything(scaled), expected)

    @pytest.mark.parametrize("unit", [1.5, np.log(2), 4.0])
    def test_unit_of_the_loss_where_chance_is_measured(self, brief, expected, unit):
        scaled = brief.assign(loss=brief["loss"] * np.float32(unit)).drop_vars("chance")
        assert measure(scaled, taus=()).base.left.chance_source == "measured"
        self.check(everything(scaled), expected)

    def test_order_and_names_of_seeds(self, brief, expected):
        order = [2, 0, 1]
        other = brief.isel(seed=order).assign_coords(seed=[5, 17, 90])
        self.check(everything(other), expected, order=order)

    def test_names_of_widths(self, brief, expected):
        self.check(everything(brief.assign_coords(width=[1, 2, 3, 4, 5])), expected)

    def test_unit_of_size(self, brief, expected):
        self.check(everything(brief.assign(n_parameters=brief["n_parameters"] * 1000)), expected)

    def test_networks_of_equal_size_in_any_order(self, brief):
        sizes = brief["n_parameters"].values.copy()
        sizes[1:4] = sizes[2]
        one = brief.assign(n_parameters=("width", sizes))
        other = one.isel(width=[0, 3, 1, 2, 4]).assign_coords(width=brief["width"])
        expected = everything(one)
        for name in ("n_learned", "is_full", "concordance"):
            expected[name] = expected[name][:, [0, 3, 1, 2, 4]]
        self.check(everything(other), expected)

    def test_names_of_equally_frequent_subtasks(self, uniform):
        """A relabelling that is the same in all seeds; the order of learning is that of the labels alone."""
        subtasks = np.random.default_rng(0).permutation(64)
        other = uniform.isel(subtask=subtasks).assign_coords(subtask=uniform["subtask"])
        found, expected = everything(other), everything(uniform)
        found.pop("concordance"), expected.pop("concordance")
        self.check(found, expected)

    @pytest.mark.parametrize("every", [2, 3])
    def test_thinning_a_curve_without_noise_changes_little(self, brief, expected, every):
        thin = brief.isel(step=np.r_[0, np.arange(1, brief.sizes["step"])[::-1][::every][::-1]])
        found = everything(thin)
        for name, tolerance in {
            "n_learned": 0, "shares": 0.03, "exponent": 1e-6, "drift": 0.02, "beta": 0.05,
            "mean share": 0.05, "concordance": 0.02,
        }.items():  # fmt: skip
            np.testing.assert_allclose(found[name], expected[name], atol=tolerance, rtol=0, err_msg=name)

    def test_nan_after_an_early_stop_is_a_curve_that_stays(self, brief):
        """As far as what is learned, when, and what is left goes; what still falls is asked at the stop."""
        late = brief["step"] > 3000
        last = brief["loss"].isel(step=int((~late).sum()) - 1)
        stopped = everything(brief.assign(loss=brief["loss"].where(~late)))
        stays = everything(brief.assign(loss=brief["loss"].where(~late, last)))
        for name in (
            "n_learned",
            "exponent",
            "beta",
            "halves",
            "concordance",
            "alpha_S",
            "mean share",
            "factor",
        ):
            np.testing.assert_allclose(stopped[name], stays[name], rtol=1e-4, err_msg=name)
        np.testing.assert_allclose(stopped["shares"][:, 0], stays["shares"][:, 0], rtol=1e-6)
