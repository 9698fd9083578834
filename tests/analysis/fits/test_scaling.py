import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.optimize import curve_fit, differential_evolution, minimize
from scipy.special import huber

from quanta.analysis.fits import regression
from quanta.analysis.fits.curves import CURVES
from quanta.analysis.fits.errors import FitError, TooFewPoints
from quanta.analysis.fits.intervals import Interval
from quanta.analysis.fits.power_laws import fit_power_law
from quanta.analysis.fits.scaling import fit_scaling, profile_interval
from quanta.analysis.theories.quanta import FiniteK, ideal_loss
from quanta.tasks.frequencies import uniform_frequencies, zipf_frequencies

N = 603 * np.array([4, 6, 8, 11, 16, 23, 32, 45, 64, 91, 128]) + 2.0
X = np.geomspace(100, 1e5, 40)
P = zipf_frequencies(64, 0.4)
NAMED = {curve.name: curve for curve in (*CURVES, FiniteK(P))}


def power(x, A, a):
    return A * x**-a


def power_with_floor(x, E, A, a):
    return E + A * x**-a


def finite_k(x, c, gamma):
    return ideal_loss(P, np.minimum(c * x**gamma, 64))


def exponential(x, A, b):
    return A * np.exp(-b * x)


def broken_power(x, a, b, c0, c1, d, f):
    return a + b * x**-c0 * np.exp(-c1 * f * np.logaddexp(0, np.log(x / d) / f))


BROKEN = {"a": 0.05, "b": 2.0, "c0": 0.2, "c1": 0.5, "d": 1000.0, "f": 0.3}
LAWS = {
    "falling": ("power", N, power, {"A": 3.0, "a": 0.4}),
    "rising": ("power", N, power, {"A": 1e-3, "a": -0.6}),
    "constant": ("power", N, power, {"A": 0.5, "a": 0.0}),
    "high floor": ("power + floor", N, power_with_floor, {"E": 0.1, "A": 20.0, "a": 0.7}),
    "low floor": ("power + floor", N, power_with_floor, {"E": 1e-3, "A": 20.0, "a": 0.7}),
    "no floor": ("power + floor", N, power_with_floor, {"E": 0.0, "A": 20.0, "a": 0.7}),
    "few learned": ("finite K", N, finite_k, {"c": 2e-4, "gamma": 0.95}),
    # n = 1/4, 1/2, 1, 2 ... 32: most points lie in kinks of the law.
    "in kinks": ("finite K", 4.0**-1 * 2.0 ** np.arange(8), finite_k, {"c": 1.0, "gamma": 1.0}),
    "decaying": ("exponential", N, exponential, {"A": 0.7, "b": 3e-5}),
    "steeper": ("broken power", X, broken_power, BROKEN),
    "steeper, no floor": ("broken power", X, broken_power, BROKEN | {"a": 0.0}),
    "flatter": ("broken power", X, broken_power, BROKEN | {"c0": 0.8, "c1": -0.5, "d": 5000.0}),
}


def fit(x, y, model, **options):
    return fit_scaling(x, y, NAMED[model], **options)


def noisy(y, sd, seed=0):
    return y * np.exp(np.random.default_rng(seed).normal(0, sd, np.size(y)))


class TestExactLaws:
    @pytest.mark.parametrize("loss", ["squares", "huber"])
    @pytest.mark.parametrize(("model", "x", "law", "truth"), LAWS.values(), ids=LAWS)
    def test_are_recovered(self, model, x, law, truth, loss):
        y = law(x, **truth)
        found = fit(x, y, model, loss=loss)
        assert found.parameters == {
            name: pytest.approx(value, rel=1e-6, abs=1e-9) for name, value in truth.items()
        }
        np.testing.assert_allclose(found.predict(x), y, rtol=1e-6)

    @settings(max_examples=20)
    @given(st.floats(0.05, 1.5), st.floats(0.01, 0.9), st.floats(-3, 3))
    def test_with_any_floor_are_recovered(self, a, share, log_scale):
        scale = math.exp(log_scale)
        A = scale * (1 - share) * N.mean() ** a
        found = fit(N, power_with_floor(N, share * scale, A, a), "power + floor")
        # A flat floor and a small exponent are hard to tell apart: parameters lose digits to rounding.
        assert found.parameters["a"] == pytest.approx(a, rel=1e-5)
        assert found.parameters["E"] == pytest.approx(share * scale, rel=1e-4)


class TestOracles:
    """Direct formulations in the parameters themselves, solved by other means, on points with scatter."""

    def test_power_is_the_line_of_fit_power_law(self):
        y = noisy(power(N, 3, 0.4), 0.1)
        found, line = fit(N, y, "power"), fit_power_law(N, y)
        assert found.exponent == found.parameters["a"] == pytest.approx(-line.slope, rel=1e-9)
        assert math.log(found.parameters["A"]) == pytest.approx(line.intercept, rel=1e-9)

    @pytest.mark.parametrize("name", ["high floor", "decaying", "steeper", "flatter"])
    def test_least_squares_agree_with_curve_fit(self, name):
        model, x, law, truth = LAWS[name]
        y = noisy(law(x, **truth), 0.003, seed=1)
        # The oracle starts at the truth, where its minimum is near; all parameters are scaled to one.
        start = np.array(list(truth.values()))
        factors, _ = curve_fit(
            lambda x, *factors: np.log(law(x, *(start * factors))),
            x,
            np.log(y),
            p0=np.ones(start.size),
            bounds=(0.1, 10),
            ftol=1e-15,
            xtol=1e-15,
            gtol=1e-15,
            max_nfev=1000,
        )
        found = np.array(list(fit(x, y, model).parameters.values()))
        # Its derivatives are differences, good to 1e-8; the worst determined direction loses three digits.
        np.testing.assert_allclose(found, start * factors, rtol=1e-4)

    @pytest.mark.parametrize("seed", range(4))
    def test_finite_k_agrees_with_a_global_search(self, seed):
        y = noisy(finite_k(N, 3e-4, 0.9), 0.08, seed)
        log_centre = np.log(N).mean()

        def squares(t):
            # By the logarithms of n at the centre, so that the search has a box to start from.
            n = np.exp(t[0] + t[1] * (np.log(N) - log_centre))
            return float(((np.log(ideal_loss(P, np.minimum(n, 63.9))) - np.log(y)) ** 2).sum())

        oracle = differential_evolution(squares, [(-1, 3), (0.3, 1.5)], seed=0, tol=1e-12)
        found = fit(N, y, "finite K").parameters
        assert found["gamma"] == pytest.approx(oracle.x[1], abs=1e-5)
        assert np.log(found["c"]) == pytest.approx(oracle.x[0] - oracle.x[1] * log_centre, abs=1e-4)

    @pytest.mark.parametrize("delta", [1e-3, 0.05])
    def test_huber_agrees_with_a_simplex(self, delta):
        y = noisy(power_with_floor(N, 0.1, 20, 0.7), 0.05, seed=2)
        y[3] *= 2

        def total(t):
            E, log_A, a = t
            return float(huber(delta, np.log(abs(E) + np.exp(log_A) * N**-a) - np.log(y)).sum())

        oracle = [0.1, math.log(20), 0.7]
        for _ in range(5):  # a simplex that has collapsed too early is opened again
            oracle = minimize(total, oracle, method="Nelder-Mead", options={"xatol": 1e-10, "fatol": 1e-14}).x
        found = fit(N, y, "power + floor", loss="huber", huber_delta=delta).parameters
        ours = [found["E"], math.log(found["A"]), found["a"]]
        assert total(ours) <= total(oracle) * (1 + 1e-9)
        np.testing.assert_allclose(ours, oracle, rtol=1e-3)

    @pytest.mark.parametrize("name", ["high floor", "decaying", "steeper", "few learned"])
    def test_starting_near_ends_at_the_same(self, name):
        model, x, law, truth = LAWS[name]
        y = law(x, **truth)
        near = fit(x, noisy(y, 0.01, seed=1), model)
        found, oracle = (fit(x, noisy(y, 0.01, seed=2), model, near=start) for start in (near, None))
        assert found.parameters == pytest.approx(oracle.parameters, rel=1e-4)

    def test_huber_hardly_minds_an_outlier(self):
        y = noisy(power(N, 3, 0.4), 0.01)
        y[-1] *= 3
        assert fit(N, y, "power", loss="huber").exponent == pytest.approx(0.4, abs=0.02)
        assert abs(fit(N, y, "power").exponent - 0.4) > 0.1


class TestRecord:
    def test_by_hand(self):
        x, y = np.array([1.0, 2, 4, 8, 16]), np.array([1.0, 0.7, 0.45, 0.4, 0.25])
        found = fit(x, y, "power")
        line = stats.linregress(np.log(x), np.log(y))
        residuals = np.log(y) - line.intercept - line.slope * np.log(x)
        assert found.residual_sd == pytest.approx(np.sqrt((residuals**2).sum() / 3))
        assert (found.model, found.window, found.n_points) == ("power", (1, 16), 5)

    def test_three_points_allow_a_line(self):
        found = fit([1, 2, 4], [1.0, 0.7, 0.55], "power")
        assert found.exponent == pytest.approx(-fit_power_law([1, 2, 4], [1.0, 0.7, 0.55]).slope)

    def test_exponents_are_of_power_laws_alone(self):
        y = noisy(power_with_floor(X, 0.1, 20, 0.7), 0.01)
        found = {name: fit(X, y, name) for name in NAMED}
        assert found["power + floor"].exponent == found["power + floor"].parameters["a"]
        assert found["broken power"].exponent is None
        assert found["exponential"].exponent is None
        assert found["finite K"].exponent is None

    def test_says_that_there_is_no_floor(self):
        # Steeper at the end than at the start, as no floor makes it.
        found = fit(N, exponential(N, 0.7, 3e-5), "power + floor")
        assert found.parameters["E"] == 0
        assert found.message.endswith("; no floor")
        assert found.exponent == pytest.approx(fit(N, exponential(N, 0.7, 3e-5), "power").exponent, rel=1e-6)

    def test_predicts_any_shape_and_nothing_once_all_is_learned(self):
        found = fit(N, finite_k(N, 2e-4, 0.95), "finite K")
        np.testing.assert_allclose(
            found.predict([[1000, 2000]]), [finite_k(np.array([1000, 2000]), 2e-4, 0.95)]
        )
        assert found.predict(1e9) == 0

    def test_fits_are_reproducible_and_compare(self):
        y = noisy(power_with_floor(N, 0.1, 20, 0.7), 0.05)
        assert fit(N, y, "power + floor") == fit(N, y, "power + floor")


class TestInvariants:
    @settings(max_examples=15)
    @given(st.floats(-5, 5), st.floats(-5, 5))
    def test_units_change_only_what_has_them(self, log_y_unit, log_x_unit):
        y_unit, x_unit = math.exp(log_y_unit), math.exp(log_x_unit)
        y = noisy(power_with_floor(N, 0.1, 20, 0.7), 0.02)
        for model in ("power", "power + floor", "exponential"):
            before = fit(N, y, model).parameters
            after = fit(N * x_unit, y * y_unit, model).parameters
            expected = {"E": y_unit, "A": y_unit * x_unit ** before.get("a", 0), "a": 1, "b": 1 / x_unit}
            assert after == {
                name: pytest.approx(value * expected[name], rel=1e-6) for name, value in before.items()
            }

    @settings(max_examples=5)
    @given(st.permutations(range(N.size)))
    def test_points_have_no_order(self, order):
        y = noisy(finite_k(N, 3e-4, 0.9), 0.05)
        for model in ("power", "power + floor", "finite K", "exponential"):
            assert fit(N[order], y[order], model).parameters == pytest.approx(fit(N, y, model).parameters)

    def test_more_parameters_fit_no_worse(self):
        y = noisy(finite_k(X / 1e3, 1, 0.5), 0.05)
        power_cost, floor_cost, broken_cost = (
            found.regression.cost(found.coordinates)
            for found in (fit(X, y, model) for model in ("power", "power + floor", "broken power"))
        )
        assert broken_cost <= floor_cost * (1 + 1e-9)
        assert floor_cost <= power_cost * (1 + 1e-9)


class TestFaults:
    @pytest.mark.parametrize(
        ("model", "y", "message"),
        [
            ("broken power", power(N, 3, 0.4), "the 11 points do not determine the parameters"),
            ("broken power", np.full(11, 0.5), "the 11 points do not determine the parameters"),
            ("power + floor", np.full(11, 0.5), "a ran to its bound 0"),
            ("power + floor", N * 1e-5, "a ran to its bound 0"),
            ("power + floor", np.r_[0.9, np.full(10, 0.5)], "a ran to its bound"),
            ("finite K", np.full(11, 2.0), "log_n ran to its bound"),
        ],
    )
    def test_no_answer_is_an_error_with_what_there_is(self, model, y, message):
        with pytest.raises(FitError, match=f"^{model.replace('+', '.')}: {message}") as caught:
            fit(N, y, model)
        assert caught.value.partial.message.startswith(message)
        assert set(caught.value.partial.parameters) <= set("EAabcdf") | {"gamma", "c0", "c1"}

    def test_a_descent_that_is_cut_short_is_an_error(self, monkeypatch):
        monkeypatch.setattr(regression, "MAX_EVALUATIONS", 2)
        with pytest.raises(FitError, match=r"power \+ floor: no minimum found in 2 evaluations") as caught:
            fit(N, noisy(power_with_floor(N, 0.1, 20, 0.7), 0.1), "power + floor")
        assert caught.value.partial.n_points == 11

    def test_a_window_too_short_for_a_float_is_an_error(self):
        x = 1e6 * (1 + 1e-3 * np.arange(4))
        with pytest.raises(FitError, match=r"power: the window 1e\+06\.\.1\.003e\+06 is too short"):
            fit(x, [1.0, 0.9, 0.8, 0.75], "power")

    def test_uniform_frequencies_are_a_law_too(self):
        p = uniform_frequencies(8)
        found = fit_scaling(N, 1 - 0.5 * N / N[-1], FiniteK(p))
        assert found.parameters == pytest.approx({"c": 4 / N[-1], "gamma": 1})

    @pytest.mark.parametrize(
        ("x", "y", "model", "options", "message"),
        [
            ([1, 2, 3], [1, 0, 2], "power", {}, "y must be positive and finite to have a logarithm, not 0"),
            ([1, 2, 3], [1, math.nan, 2], "finite K", {}, "y must be positive .* not nan"),
            ([1, 2, 3], [1, 2, 3], "power", {"loss": "l1"}, "loss must be one of squares, huber, not 'l1'"),
            ([1, 2, 3], [1, 2, 3], "power", {"huber_delta": 0}, "huber_delta must be positive, not 0"),
        ],
    )
    def test_refuses(self, x, y, model, options, message):
        with pytest.raises(ValueError, match=message) as caught:
            fit(x, y, model, **options)
        assert not isinstance(caught.value, TooFewPoints)

    @pytest.mark.parametrize(
        ("n", "model", "message"),
        [
            (2, "power", "at least 3 points, not 2"),
            (3, "power + floor", r"at least 4 points for 'power \+ floor', not 3"),
            (6, "broken power", "at least 7 points for 'broken power', not 6"),
        ],
    )
    def test_too_few_points(self, n, model, message):
        with pytest.raises(TooFewPoints, match=message):
            fit(N[:n], N[:n] ** -0.4, model)

    def test_near_must_be_of_the_same_curve_and_points(self):
        near = fit(N, noisy(power(N, 3, 0.4), 0.1), "power")
        for x, model in ((N, "exponential"), (2 * N, "power")):
            with pytest.raises(ValueError, match=r"near must be a fit of .* at the same x, not of 'power'"):
                fit(x, power(N, 3, 0.4), model, near=near)

    def test_a_name_is_no_curve(self):
        with pytest.raises(
            TypeError, match=r"curve must be a ScalingCurve, such as PowerLaw\(\), not 'power'"
        ):
            fit_scaling(N, 3 * N**-0.4, "power")


class TestProfileInterval:
    @pytest.mark.parametrize("n", [3, 5, 11])
    @pytest.mark.parametrize("confidence", [0.5, 0.9, 0.99])
    def test_of_a_line_is_the_exact_interval_of_student(self, n, confidence):
        y = noisy(power(N[:n], 3, 0.4), 0.1, seed=n)
        line = fit_power_law(N[:n], y)
        half = stats.t.ppf((1 + confidence) / 2, n - 2) * line.slope_stderr
        found = profile_interval(fit(N[:n], y, "power"), "a", confidence)
        assert (found.lower, found.upper) == pytest.approx((-line.slope - half, -line.slope + half), rel=1e-7)
        kind = "profile likelihood, threshold of Student t"
        assert found == Interval(found.estimate, found.lower, found.upper, kind, n, confidence)
        assert found.estimate == pytest.approx(-line.slope, rel=1e-7)

    @pytest.mark.parametrize("seed", [0, 1])
    def test_of_a_floored_law_ends_where_the_others_fit_that_much_worse(self, seed):
        y = noisy(power_with_floor(N, 0.1, 20, 0.7), 0.05, seed)
        found = fit(N, y, "power + floor")
        interval = profile_interval(found, "a")
        threshold = 1 + stats.t.ppf(0.95, 8) ** 2 / 8
        for a in (interval.lower, interval.upper):

            def squares(t, a=a):
                model = np.logaddexp(np.log(max(t[0], 1e-300)), t[1] - a * np.log(N / N.mean()))
                return float(((model - np.log(y)) ** 2).sum())

            options = {"xatol": 1e-12, "fatol": 1e-14}
            oracle = minimize(squares, [0.05, np.log(0.2)], method="Nelder-Mead", options=options)
            assert oracle.fun / (8 * found.residual_sd**2) == pytest.approx(threshold, rel=1e-5)
        assert interval.lower < found.exponent < interval.upper

    @pytest.mark.slow
    def test_of_gamma_covers_as_it_says(self):
        rng, truth, n_draws = np.random.default_rng(0), finite_k(N, 3e-4, 0.9), 500
        covered = 0
        for _ in range(n_draws):
            found = profile_interval(fit(N, truth * np.exp(rng.normal(0, 0.05, N.size)), "finite K"), "gamma")
            covered += found.lower <= 0.9 <= found.upper
        # The 4 % asked for are three standard errors of the share of 500 draws.
        assert covered / n_draws == pytest.approx(0.9, abs=0.04)

    def test_may_have_no_end(self):
        # Four points leave one degree of freedom: any drop before a floor fits well enough, and so does none.
        y = noisy(power_with_floor(N[:4], 0.4, 20, 0.7), 0.02, seed=0)
        found = profile_interval(fit(N[:4], y, "power + floor"), "a")
        assert (found.lower, found.upper) == (0, math.inf)

    @pytest.mark.parametrize(
        ("model", "parameter", "options", "message"),
        [
            ("power", "A", {}, "parameter must be one of a for 'power', not 'A'"),
            ("exponential", "b", {}, "parameter must be one of none for 'exponential', not 'b'"),
            ("finite K", "c", {}, "parameter must be one of gamma for 'finite K', not 'c'"),
        ],
    )
    def test_refuses_a_parameter(self, model, parameter, options, message):
        with pytest.raises(ValueError, match=message):
            profile_interval(fit(N, noisy(power(N, 3, 0.4), 0.1), model), parameter)

    def test_refuses_other_fits_and_confidences(self):
        y = noisy(power(N, 3, 0.4), 0.1)
        with pytest.raises(ValueError, match="fit must be by squares to have a profile, not by 'huber'"):
            profile_interval(fit(N, y, "power", loss="huber"), "a")
        with pytest.raises(ValueError, match="confidence must be between 0 and 1, not 1"):
            profile_interval(fit(N, y, "power"), "a", 1)
        with pytest.raises(FitError, match="exact to rounding, which leaves a no interval"):
            profile_interval(fit(N, power(N, 3, 0.4), "power"), "a")
