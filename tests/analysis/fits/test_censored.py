import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st
from lifelines import LogNormalAFTFitter
from scipy import optimize, stats

from quanta.analysis.fits.censored import fit_censored_power_law
from quanta.analysis.fits.censored_likelihood import CensoredLikelihood
from quanta.analysis.fits.errors import FitError, TooFewPoints
from quanta.analysis.fits.power_laws import fit_power_law
from quanta.tasks.frequencies import zipf_frequencies

INF = math.inf
P = zipf_frequencies(64, 0.4)
LAST = 100 / P[41]  # a third of the subtasks is learned later than this, if S_k = 100 / p_k
EVALUATIONS = LAST * 1.12 ** np.arange(-100, 1.0)


def between(values, grid):
    """Bounds on a grid: 0 below it, inf above it."""
    place = np.searchsorted(grid, values)
    return np.append(0, grid)[place], np.append(grid, INF)[place]


def learning_times(scatter, rng, n_seeds=3):
    """Frequencies and bounds of S_k = 100 / p_k with scatter, all seeds in one."""
    p = np.tile(P, n_seeds)
    return p, *between(100 / p * np.exp(scatter * rng.standard_normal(p.size)), EVALUATIONS)


def some_points(seed=0, n=60):
    """Points of all four kinds about y = 20 x^-1.2 with sigma 0.5."""
    rng = np.random.default_rng(seed)
    x = np.exp(rng.uniform(-5, 0, n))
    y = 20 * x**-1.2 * np.exp(0.5 * rng.standard_normal(n))
    lower, upper = between(y, np.geomspace(50, 2000, 16))
    exact = rng.random(n) < 0.2
    return x, np.where(exact, y, lower), np.where(exact, y, upper)


def log_likelihood(x, lower, upper, slope, intercept, sigma):
    """By the definition, without a care for tails."""
    law = intercept + slope * np.log(x)
    z_lower, z_upper = ((np.log(np.maximum(y, 1e-300)) - law) / sigma for y in (lower, upper))
    share = stats.norm.cdf(z_upper) - stats.norm.cdf(z_lower)
    density = stats.norm.pdf(z_upper) / sigma
    return np.log(np.where(lower == upper, density, share)).sum()


class TestExactPoints:
    X = np.geomspace(1, 1e4, 20)
    Y = X**-0.4 * np.exp(np.random.default_rng(0).normal(0, 0.3, 20))

    def test_is_least_squares(self):
        fit, oracle = fit_censored_power_law(self.X, self.Y, self.Y), fit_power_law(self.X, self.Y)
        sigma = np.sqrt(((np.log(self.Y) - np.log(oracle.predict(self.X))) ** 2).mean())
        assert fit.slope == pytest.approx(oracle.slope, abs=1e-10)
        assert fit.intercept == pytest.approx(oracle.intercept, abs=1e-10)
        assert fit.sigma == pytest.approx(sigma, abs=1e-10)
        assert fit.log_likelihood == pytest.approx(-10 * (math.log(2 * math.pi * sigma**2) + 1), abs=1e-10)
        assert (fit.n_exact, fit.n_interval, fit.n_left, fit.n_right) == (20, 0, 0, 0)
        assert (fit.window, fit.interval) == ((1, 1e4), None)

    @pytest.mark.parametrize("confidence", [0.5, 0.9, 0.99])
    def test_profile_interval_in_closed_form(self, confidence):
        # The profile falls by n/2 log(1 + d² Sxx / (n σ²)) at a slope that is off by d.
        fit = fit_censored_power_law(self.X, self.Y, self.Y, confidence=confidence)
        quantile, spread = stats.chi2.ppf(confidence, 1), np.log(self.X).var() * 20
        half = fit.sigma * math.sqrt(20 * math.expm1(quantile / 20) / spread)
        assert fit.interval.lower == pytest.approx(fit.slope - half, abs=1e-4 * half)
        assert fit.interval.upper == pytest.approx(fit.slope + half, abs=1e-4 * half)
        rest = fit.interval.estimate, fit.interval.kind, fit.interval.n, fit.interval.confidence
        assert rest == (fit.slope, "profile likelihood", 20, confidence)

    def test_a_fixed_slope_leaves_the_mean(self):
        fit = fit_censored_power_law(self.X, self.Y, self.Y, slope=-1)
        residual = np.log(self.Y) + np.log(self.X)
        assert fit.slope == -1
        assert fit.intercept == pytest.approx(residual.mean(), abs=1e-10)
        assert fit.sigma == pytest.approx(residual.std(), abs=1e-10)

    @given(st.floats(-6, 0))
    def test_scatter_however_small(self, exponent):
        y = np.exp(1 - np.log(self.X) + 10**exponent * np.log(self.Y * self.X**0.4))
        fit = fit_censored_power_law(self.X, y, y)
        assert fit.slope == pytest.approx(fit_power_law(self.X, y).slope, abs=1e-9)
        assert fit.sigma == pytest.approx(10**exponent * 0.27, rel=0.1)  # the 20 draws have 0.27


class TestAgainstLifelines:
    # lifelines stops at its own tolerance; these digits are what it promises.

    def check(self, fit, oracle, jacobian):
        slope, intercept, log_sigma = oracle.params_.values
        assert fit.slope == pytest.approx(slope, abs=1e-4)
        assert fit.intercept == pytest.approx(intercept, abs=1e-4)
        assert fit.sigma == pytest.approx(math.exp(log_sigma), abs=1e-4)
        assert fit.log_likelihood == pytest.approx(oracle.log_likelihood_ + jacobian, abs=1e-5)

    def test_right_censored(self):
        rng = np.random.default_rng(0)
        x = np.exp(rng.uniform(-5, 0, 120))
        y = 20 * x**-1.2 * np.exp(0.5 * rng.standard_normal(120))
        until = np.minimum(y, 1000)
        learned = y < 1000
        fit = fit_censored_power_law(x, until, np.where(learned, until, INF))
        table = pd.DataFrame({"log_x": np.log(x), "until": until, "learned": learned})
        oracle = LogNormalAFTFitter().fit_right_censoring(table, "until", "learned", fit_intercept=True)
        # Theirs is the density of y, ours that of log y.
        self.check(fit, oracle, np.log(until[learned]).sum())
        assert fit.n_right == (~learned).sum() > 20

    def test_intervals(self):
        x, lower, upper = learning_times(0.4, np.random.default_rng(1))
        lower = np.where(upper < 2000, 0, lower)
        fit = fit_censored_power_law(x, lower, upper)
        # lifelines cannot start from a lower bound of 0.
        table = pd.DataFrame({"log_x": np.log(x), "lower": np.maximum(lower, 1e-6), "upper": upper})
        oracle = LogNormalAFTFitter().fit_interval_censoring(table, "lower", "upper", fit_intercept=True)
        self.check(fit, oracle, 0.0)
        assert min(fit.n_interval, fit.n_left, fit.n_right) > 10


class TestLikelihood:
    @pytest.mark.parametrize("seed", range(5))
    def test_gradient_and_hessian(self, seed):
        rng = np.random.default_rng(seed)
        exact, censored, interval = (rng.normal(size=(n, 3)) for n in (4, 6, 5))
        likelihood = CensoredLikelihood(exact, censored, interval, 10 ** rng.uniform(-3, 1, 5))
        theta = np.array([*rng.normal(size=2), rng.uniform(0.3, 3)])
        _, gradient, hessian = likelihood.evaluate(theta)
        # Central differences of this step are exact to about step² and rounding / step: 1e-8 of the values.
        for i, step in enumerate(1e-5 * np.eye(3)):
            above, below = likelihood.evaluate(theta + step), likelihood.evaluate(theta - step)
            assert gradient[i] == pytest.approx((above[0] - below[0]) / 2e-5, rel=1e-5, abs=1e-5)
            np.testing.assert_allclose(hessian[i], (above[1] - below[1]) / 2e-5, rtol=1e-5, atol=1e-5)

    @pytest.mark.parametrize("seed", range(5))
    def test_concave(self, seed):
        rng = np.random.default_rng(seed)
        rows = [rng.normal(size=(3, 3)) for _ in range(3)]
        likelihood = CensoredLikelihood(*rows, 10 ** rng.uniform(-3, 1, 3))
        for _ in range(20):
            _, _, hessian = likelihood.evaluate(np.array([*rng.normal(size=2), rng.uniform(0.3, 3)]))
            assert np.linalg.eigvalsh(hessian).max() < 0

    def test_far_tails_are_finite(self):
        # Points 1e4 standard deviations off, where distribution functions round to 0 and 1.
        row = np.array([[-1.0, 0.0]])
        for far in (-1e4, 1e4):
            theta = np.array([far, 1.0])
            value, gradient, _ = CensoredLikelihood(row[:0], row, row, np.array([0.5])).evaluate(theta)
            nearest = abs(far) - 0.5
            # The tail is φ(z) / z at far z; the censored row has probability 1 on the one side.
            expected = -(nearest**2) / 2 - math.log(math.sqrt(2 * math.pi) * nearest)
            expected += -(far**2) / 2 - math.log(math.sqrt(2 * math.pi) * far) if far > 0 else 0
            assert value == pytest.approx(expected, rel=1e-9)
            assert np.isfinite(gradient).all()

    def test_value_by_the_definition(self):
        points = some_points()
        fit = fit_censored_power_law(*points)
        assert min(fit.n_exact, fit.n_interval, fit.n_left, fit.n_right) >= 5
        expected = log_likelihood(*points, fit.slope, fit.intercept, fit.sigma)
        assert fit.log_likelihood == pytest.approx(expected, abs=1e-9)
        for step in 0.01 * np.concatenate([np.eye(3), -np.eye(3)]):
            other = log_likelihood(*points, *(np.array([fit.slope, fit.intercept, fit.sigma]) + step))
            assert other < expected


class TestProfileInterval:
    def test_by_brute_force(self):
        points = some_points(n=30)
        fit = fit_censored_power_law(*points, confidence=0.9)

        def profile(slope):
            def loss(line):
                return -log_likelihood(*points, slope, line[0], math.exp(line[1]))

            start = [fit.intercept + (slope - fit.slope) * 2.5, math.log(fit.sigma)]
            return -optimize.minimize(loss, start, method="Nelder-Mead", options={"xatol": 1e-4}).fun

        half = stats.chi2.ppf(0.9, 1) / 2
        for end in (fit.interval.lower, fit.interval.upper):
            assert profile(end) == pytest.approx(fit.log_likelihood - half, abs=1e-3)
        # Just inside and outside, where the profile changes by about 2 % of its fall.
        for share, inside in ((0.99, True), (1.01, False)):
            for end in (fit.interval.lower, fit.interval.upper):
                fall = fit.log_likelihood - profile(fit.slope + share * (end - fit.slope))
                assert (fall < half) == inside

    def test_fixed_slopes_reach_the_same_profile(self):
        points = some_points()
        fit = fit_censored_power_law(*points, confidence=0.9)
        held = fit_censored_power_law(*points, slope=fit.slope)
        assert held.log_likelihood == pytest.approx(fit.log_likelihood, abs=1e-9)
        assert held.interval is None
        for end in (fit.interval.lower, fit.interval.upper):
            at_end = fit_censored_power_law(*points, slope=end)
            fall = fit.log_likelihood - at_end.log_likelihood
            assert fall == pytest.approx(stats.chi2.ppf(0.9, 1) / 2, abs=1e-3)

    def test_coverage(self):
        rng = np.random.default_rng(2)
        covered = 0
        for _ in range(500):
            fit = fit_censored_power_law(*learning_times(0.4, rng), confidence=0.9)
            covered += fit.interval.lower <= -1 <= fit.interval.upper
        # Three binomial standard errors are 4 %.
        assert covered / 500 == pytest.approx(0.9, abs=0.04)


class TestUnbiased:
    @pytest.mark.parametrize("scatter", [0.2, 0.4, 0.6, 0.8])
    def test_with_a_third_censored(self, scatter):
        rng = np.random.default_rng(3)
        slopes, on_learned, shares = [], [], []
        for _ in range(250):
            p, lower, upper = learning_times(scatter, rng)
            slopes.append(fit_censored_power_law(p, lower, upper).slope)
            learned = np.isfinite(upper)
            on_learned.append(fit_power_law(p[learned], np.sqrt(lower * upper)[learned]).slope)
            shares.append(learned.mean())
        assert np.mean(shares) == pytest.approx(2 / 3, abs=0.02)
        # The standard error of the mean slope is at most 0.003.
        assert np.mean(slopes) == pytest.approx(-1, abs=0.01)
        # Least squares on what is learned, of the means and with the probabilities of truncated normal times.
        latest = np.log(LAST * P / 100) / scatter
        means = -np.log(P) - scatter * stats.norm.pdf(latest) / stats.norm.cdf(latest)
        naive = np.polyfit(np.log(P), means, 1, w=np.sqrt(stats.norm.cdf(latest)))[0]
        assert naive > -1 + 0.1 * scatter
        assert np.mean(on_learned) == pytest.approx(naive, abs=0.01)

    def test_counts(self):
        # Capacity c N^1 with scatter, seen only as whole subtasks of 64: mostly 0 to 5, sometimes all.
        rng = np.random.default_rng(4)
        n_parameters = np.tile(np.geomspace(100, 1e5, 12), 3)
        slopes = []
        for _ in range(300):
            capacity = 1e-3 * n_parameters * np.exp(0.3 * rng.standard_normal(36))
            slopes.append(fit_censored_power_law(n_parameters, *between(capacity, np.arange(1, 65))).slope)
        # The standard error of the mean is 0.003.
        assert np.mean(slopes) == pytest.approx(1, abs=0.02)


class TestInvariants:
    @given(st.floats(-20, 20), st.floats(-20, 20), st.integers(0, 100))
    def test_units_and_order(self, log_x_unit, log_y_unit, seed):
        x, lower, upper = some_points(seed)
        fit = fit_censored_power_law(x, lower, upper)
        shuffled = np.random.default_rng(seed).permutation(x.size)
        scale_x, scale_y = math.exp(log_x_unit), math.exp(log_y_unit)
        other = fit_censored_power_law(
            scale_x * x[shuffled], scale_y * lower[shuffled], scale_y * upper[shuffled]
        )
        assert other.slope == pytest.approx(fit.slope, abs=1e-9)
        assert other.sigma == pytest.approx(fit.sigma, abs=1e-9)
        assert other.log_likelihood == pytest.approx(fit.log_likelihood, abs=1e-8)
        # The slope's error comes in, times up to 20.
        assert other.intercept == pytest.approx(fit.intercept + log_y_unit - fit.slope * log_x_unit, abs=1e-7)

    @settings(max_examples=40)
    @given(st.integers(0, 100), st.floats(0.1, 10))
    def test_powers_of_x_divide_the_slope(self, seed, power):
        x, lower, upper = some_points(seed)
        fit = fit_censored_power_law(x, lower, upper, confidence=0.9)
        other = fit_censored_power_law(x**power, lower, upper, confidence=0.9)
        assert other.slope == pytest.approx(fit.slope / power, rel=1e-8)
        # Ends are found to 1e-4 of a standard error, which is about a fifth of the interval.
        tolerance = 1e-4 * (other.interval.upper - other.interval.lower)
        assert other.interval.lower == pytest.approx(fit.interval.lower / power, abs=tolerance)
        assert other.interval.upper == pytest.approx(fit.interval.upper / power, abs=tolerance)

    @given(st.integers(0, 100))
    def test_one_over_y_mirrors_left_and_right(self, seed):
        x, lower, upper = some_points(seed)
        fit = fit_censored_power_law(x, lower, upper)
        mirrored_lower = 1 / upper
        mirrored_upper = np.divide(1, lower, out=np.full(lower.shape, INF), where=lower > 0)
        mirror = fit_censored_power_law(x, mirrored_lower, mirrored_upper)
        assert mirror.slope == pytest.approx(-fit.slope, abs=1e-9)
        assert mirror.intercept == pytest.approx(-fit.intercept, abs=1e-9)
        assert mirror.sigma == pytest.approx(fit.sigma, abs=1e-9)
        assert (mirror.n_left, mirror.n_right) == (fit.n_right, fit.n_left)

    def test_points_of_which_nothing_is_known_are_left_out(self):
        x, lower, upper = some_points()
        more = fit_censored_power_law([*x, 1e9], [*lower, 0], [*upper, INF])
        assert more == fit_censored_power_law(x, lower, upper)

    def test_twice_the_points_have_twice_the_log_likelihood(self):
        points = some_points()
        once, twice = fit_censored_power_law(*points), fit_censored_power_law(*np.tile(points, 2))
        assert twice.slope == pytest.approx(once.slope, abs=1e-9)
        assert twice.log_likelihood == pytest.approx(2 * once.log_likelihood, abs=1e-8)
        assert twice.n_interval == 2 * once.n_interval


class TestNoScatter:
    """Worlds in which one line passes through all intervals."""

    def possible_slopes(self, x, lower, upper):
        """Find the ends by linear programming, over the lines (intercept, slope)."""
        rows = np.column_stack([np.ones_like(x), np.log(x)])
        below, above = np.isfinite(upper), lower > 0
        limits = np.append(np.log(upper[below]), -np.log(lower[above]))
        rows = np.concatenate([rows[below], -rows[above]])
        ends = [optimize.linprog([0, sign], rows, limits, bounds=(None, None)) for sign in (1, -1)]
        return None if ends[0].status == 2 else (ends[0].fun, -ends[1].fun)

    @settings(max_examples=40)
    @given(st.floats(-3, 3), st.floats(0.1, 1e3), st.floats(1.05, 10), st.integers(0, 100))
    def test_the_slope_is_the_middle_of_those_possible(self, slope, factor, ratio, seed):
        rng = np.random.default_rng(seed)
        x = np.exp(rng.uniform(-3, 3, 30))
        lower, upper = between(factor * 1.01 * x**slope, factor * ratio ** np.arange(-300, 300))
        lower, upper = np.where(x < math.exp(-2), 0, lower), np.where(x > math.exp(2), INF, upper)
        assume(np.unique(lower[(lower > 0) & (upper < INF)]).size > 1)
        fit = fit_censored_power_law(x, lower, upper, confidence=0.5)
        least, most = self.possible_slopes(x, lower, upper)
        # Lines may miss by 1e-6, and log x extends over more than 1.
        assert fit.slope == pytest.approx((least + most) / 2, abs=1e-6)
        assert abs(fit.slope - slope) <= (most - least) / 2 + 1e-6
        assert (fit.sigma, fit.log_likelihood) == (0, 0)
        line = fit.intercept + fit.slope * np.log(x)
        assert (line >= np.log(np.maximum(lower, 1e-300)) - 1e-6).all()
        assert (line <= np.log(upper) + 1e-6).all()
        assert fit.interval.lower <= least + 1e-6
        assert fit.interval.upper >= most - 1e-6
        assert "no scatter: lines of slope" in fit.message

    @given(st.integers(0, 300))
    def test_is_found_where_there_is_such_a_line_and_only_there(self, seed):
        rng = np.random.default_rng(seed)
        p, lower, upper = learning_times(10 ** rng.uniform(-3, -1), rng, n_seeds=1)
        possible = self.possible_slopes(p, lower, upper) is not None
        event(f"possible: {possible}")
        assert (fit_censored_power_law(p, lower, upper).sigma == 0) == possible

    @pytest.mark.parametrize("n_learned", [2, 3, 10, 40])
    def test_an_ideal_world(self, n_learned):
        lower, upper = between(100 / P, 100 / P[n_learned - 1] * 1.01 * 1.12 ** np.arange(-100, 1.0))
        fit = fit_censored_power_law(P, lower, upper)
        assert (fit.n_interval, fit.n_right) == (n_learned, 64 - n_learned)
        # Two intervals of 12 % leave slopes of ±0.11 over the range of log p.
        assert fit.slope == pytest.approx(-1, abs=0.12 / math.log(P[0] / P[n_learned - 1]))

    @pytest.mark.parametrize("shift", [1 - 1e-12, 1, 1 + 1e-12])
    def test_times_on_the_ends_of_intervals(self, shift):
        x = 2.0 ** np.arange(10)
        fit = fit_censored_power_law(x, shift * x, 2 * x, confidence=0.9)
        assert fit.slope == pytest.approx(1, abs=math.log(2) / math.log(512))
        above = np.arange(10) % 2 == 0  # now only one line is left
        fit = fit_censored_power_law(x, shift * np.where(above, x, x / 2), np.where(above, 2 * x, x))
        assert (fit.slope, fit.sigma) == (pytest.approx(1, abs=1e-6), 0)

    def test_exact_points_on_a_line(self):
        x = np.geomspace(1, 100, 5)
        fit = fit_censored_power_law(x, 3 * x**-0.5, 3 * x**-0.5, confidence=0.9)
        assert fit.slope == pytest.approx(-0.5, abs=1e-9)
        assert fit.intercept == pytest.approx(math.log(3), abs=1e-9)
        assert (fit.sigma, fit.log_likelihood) == (0, INF)
        assert fit.interval.lower == pytest.approx(-0.5, abs=1e-6)
        assert fit.interval.upper == pytest.approx(-0.5, abs=1e-6)

    def test_a_fixed_slope(self):
        x = np.geomspace(1, 100, 5)
        right, wrong = (fit_censored_power_law(x, x / 1.1, x * 1.1, slope=slope) for slope in (1.01, 0.9))
        assert (right.slope, right.sigma, right.log_likelihood) == (1.01, 0, 0)
        assert (wrong.slope, wrong.log_likelihood < -2, 0 < wrong.sigma < 0.3) == (0.9, True, True)

    def test_the_profile_interval_goes_beyond_the_slopes_possible(self):
        x, lower, upper = np.array([1, 10, 100]), np.array([1, 9, 100]), np.array([1.2, 12, 120])
        fit = fit_censored_power_law(x, lower, upper, confidence=0.999)
        least, most = self.possible_slopes(x, lower, upper)
        assert fit.interval.lower < least - 0.01 < most + 0.01 < fit.interval.upper
        for end in (fit.interval.lower, fit.interval.upper):
            held = fit_censored_power_law(x, lower, upper, slope=end)
            assert held.log_likelihood == pytest.approx(-stats.chi2.ppf(0.999, 1) / 2, abs=1e-3)


class TestUndefinedSlope:
    def test_one_learned(self):
        lower, upper = between(100 / P, 100 / P[0] * 1.12 ** np.arange(-9.5, 1.0))
        assert np.isfinite(upper).sum() == 1
        with pytest.raises(TooFewPoints, match=r"too few different intervals \(1\), lines of slope -inf"):
            fit_censored_power_law(P, lower, upper, confidence=0.9)

    def test_an_early_and_a_final_evaluation(self):
        # Only a flat line ends at 200 where one is learned and begins there where none is.
        p = zipf_frequencies(10, 0.4)
        lower, upper = np.full(10, 200.0), np.full(10, INF)
        lower[2], upper[2] = 100, 200
        with pytest.raises(TooFewPoints, match=r"too few different intervals \(1\), lines of slope 0 to 0"):
            fit_censored_power_law(p, lower, upper)

    @given(st.integers(1, 63), st.floats(1.01, 1e6))
    def test_however_many_share_the_interval(self, n_learned, ratio):
        learned = np.arange(64) < n_learned
        lower, upper = np.where(learned, 100, 100 * ratio), np.where(learned, 100 * ratio, INF)
        with pytest.raises(TooFewPoints, match="too few different intervals"):
            fit_censored_power_law(P, lower, upper)

    def test_not_where_there_is_scatter(self):
        # One is learned too early for a line through all, and one too late.
        lower, upper = np.array([0, 200, 100, 100, 0, 200]), np.array([100, INF, 200, 200, 100, INF])
        fit = fit_censored_power_law([1, 2, 3, 4, 5, 9], lower, upper)
        assert fit.sigma > 0.1
        assert 0.1 < fit.slope < 1

    def test_not_where_the_values_are_known(self):
        assert fit_censored_power_law([1, 2, 3], [5, 5, 5], [5, 5, 5]).slope == pytest.approx(0, abs=1e-6)

    @pytest.mark.parametrize("sign", [-1, 1])
    def test_all_learned_at_one_x(self, sign):
        # Three seeds that learn the same subtask at different steps: the steeper, the later the others.
        x, lower, upper = np.array([2.0, 2, 2, 1, 3]), [1, 2, 3, 5, 0], [1, 2, 3, INF, 0.5]
        with pytest.raises(TooFewPoints, match="only points at one x have both bounds"):
            fit_censored_power_law(x**sign, lower, upper, confidence=0.9)

    def test_lines_however_steep(self):
        # Two seeds that learn the first of two subtasks, in intervals that overlap.
        with pytest.raises(TooFewPoints, match="undefined: lines of slope -inf to"):
            fit_censored_power_law([2, 2, 1, 1], [10, 11, 12, 12], [12, 13, INF, INF])

    def test_a_likelihood_that_is_flat_to_rounding(self):
        # At x = 1 log y is known to ±0.001 and at x = 2 to ±300 of that: no slope in between is likelier.
        x, lower, upper = [1, 1, 2, 2], [1, 1.002, 0.5, 0.5], [1, 1.002, 1.5, 1.5]
        with pytest.raises(FitError, match="finds no maximum of the likelihood") as caught:
            fit_censored_power_law(x, lower, upper)
        assert caught.value.partial.n_interval == 2


class TestBent:
    def test_exact_points_are_least_squares(self):
        x = np.geomspace(1, 1e4, 20)
        y = np.exp(1 - 0.5 * np.log(x) + 0.07 * np.log(x) ** 2 + np.random.default_rng(0).normal(0, 0.2, 20))
        fit, middle = fit_censored_power_law(x, y, y, bent=True), np.log(x).mean()
        oracle = np.polynomial.Polynomial.fit(
            np.log(x) - middle, np.log(y), 2, domain=[-1, 1], window=[-1, 1]
        )
        level, slope, half = oracle.coef
        assert (fit.slope, fit.curvature) == (pytest.approx(slope), pytest.approx(2 * half))
        assert fit.intercept + fit.slope * middle == pytest.approx(level)
        residuals = np.log(y) - oracle(np.log(x) - middle)
        assert fit.sigma == pytest.approx(np.sqrt((residuals**2).mean()))

    def test_is_the_maximum_of_the_likelihood(self):
        x, lower, upper = some_points()
        fit, line = (
            fit_censored_power_law(x, lower, upper, bent=True),
            fit_censored_power_law(x, lower, upper),
        )

        def of(slope, curvature, intercept, sigma):  # the bend taken off the bounds
            bend = np.exp(curvature / 2 * (np.log(x) - np.log(x).mean()) ** 2)
            return log_likelihood(x, lower / bend, upper / bend, slope, intercept, sigma)

        best = np.array([fit.slope, fit.curvature, fit.intercept, fit.sigma])
        assert fit.log_likelihood == pytest.approx(of(*best), abs=1e-9)
        assert (
            fit.log_likelihood
            > line.log_likelihood
            == pytest.approx(of(line.slope, 0, line.intercept, line.sigma), abs=1e-9)
        )
        for step in 0.01 * np.concatenate([np.eye(4), -np.eye(4)]):
            assert of(*(best + step)) < fit.log_likelihood

    def test_a_line_through_all_intervals_stays_one(self):
        x = np.array([1.0, 2, 3, 4])
        assert fit_censored_power_law(x, 0.9 * x, 1.1 * x, bent=True).curvature == 0

    def test_three_different_x(self):
        with pytest.raises(TooFewPoints, match="three different x"):
            fit_censored_power_law([1, 1, 2, 2], [1, 9, 2, 5], [2, 10, 3, 6], bent=True)

    @pytest.mark.parametrize("option", [{"slope": -1.0}, {"confidence": 0.9}])
    def test_excludes_others(self, option):
        with pytest.raises(ValueError, match="slope and confidence must be None"):
            fit_censored_power_law([1, 2, 3], [1, 2, 1], [2, 3, 2], bent=True, **option)


class TestRefusals:
    @pytest.mark.parametrize(
        ("x", "lower", "upper", "message"),
        [
            ([1, 2], [1, 1], [2, 2], "must bound at least 3 points, not 2"),
            ([1, 2, 3], [1, 1, 0], [2, 2, INF], "must bound at least 3 points, not 2"),
            ([], [], [], "both bound at least one point"),
            ([5, 5, 5], [1, 2, 3], [2, 3, 4], "at least two different values, not only 5"),
            ([1, 2, 3], [1, 2, 3], [INF] * 3, "0 points have only an upper bound and 3 only a lower"),
            ([1, 2, 3], [0, 0, 0], [1, 2, 3], "3 points have only an upper bound and 0 only a lower"),
            ([1, 2, 3], [0, 2, 0], [1, INF, 3], "2 points have only an upper bound and 1 only a lower"),
        ],
    )
    def test_too_few_points(self, x, lower, upper, message):
        with pytest.raises(TooFewPoints, match=message):
            fit_censored_power_law(x, lower, upper)

    def test_a_held_slope_needs_one_point_with_both_bounds(self):
        fit = fit_censored_power_law([4, 4], [9, 0], [16, INF], slope=-1)
        assert math.exp(fit.intercept) == pytest.approx(4 * 12)
        with pytest.raises(TooFewPoints, match="0 points have only an upper bound and 2 only a lower"):
            fit_censored_power_law([4, 5], [9, 9], [INF, INF], slope=-1)

    @pytest.mark.parametrize(
        ("x", "lower", "upper", "message"),
        [
            ([1, 2, 3], [1, 1, 1], [2, 2], r"same length, not \(3,\), \(3,\) and \(2,\)"),
            ([[1, 2, 3]], [[1, 1, 1]], [[2, 2, 2]], "one dimension"),
            ([0, 1, 2], [1, 1, 1], [2, 2, 2], "x must be positive and finite, not 0"),
            ([1, INF, 2], [1, 1, 1], [2, 2, 2], "x must be positive and finite, not inf"),
            ([1, math.nan, 2], [1, 1, 1], [2, 2, 2], "x must be positive and finite, not nan"),
            ([1, 2, 3], [1, -1, 1], [2, 2, 2], "lower must be finite and not negative, not -1"),
            ([1, 2, 3], [1, INF, 1], [2, INF, 2], "lower must be finite and not negative, not inf"),
            ([1, 2, 3], [1, math.nan, 1], [2, 2, 2], "lower must be finite and not negative, not nan"),
            ([1, 2, 3], [0, 1, 1], [0, 2, 2], "upper must be positive, not 0"),
            ([1, 2, 3], [1, 1, 1], [2, math.nan, 2], "upper must be positive, not nan"),
            ([1, 2, 3], [1, 3, 1], [2, 2, 2], "lower must not exceed upper, not 3 and 2"),
        ],
    )
    def test_points(self, x, lower, upper, message):
        with pytest.raises(ValueError, match=message) as caught:
            fit_censored_power_law(x, lower, upper)
        assert not isinstance(caught.value, TooFewPoints)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"confidence": 0}, "confidence must be between 0 and 1, not 0"),
            ({"confidence": 1.0}, "confidence must be between 0 and 1, not 1.0"),
            ({"slope": math.nan}, "slope must be finite, not nan"),
            ({"slope": -1, "confidence": 0.9}, "confidence must be None where the slope is given"),
        ],
    )
    def test_options(self, options, message):
        with pytest.raises(ValueError, match=message):
            fit_censored_power_law(*some_points(), **options)
