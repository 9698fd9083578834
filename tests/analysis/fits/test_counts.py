import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats
from sklearn.linear_model import PoissonRegressor

from quanta.analysis.fits.counts import CountLikelihood, fit_count_power_law
from quanta.analysis.fits.errors import TooFewPoints

N = np.geomspace(1e3, 1e5, 11)


def draw(gamma=1.0, seed=0, expected=4.0, n_seeds=3):
    """Counts at N of several seeds, half of them stopped before they are full."""
    rng = np.random.default_rng(seed)
    x = np.tile(N, n_seeds)
    count = rng.poisson(expected * (x / 1e4) ** gamma)
    is_bound = rng.random(x.size) < 0.5
    return x, np.where(is_bound, np.floor(count * rng.uniform(0.2, 1, x.size)), count), is_bound


def log_likelihood(x, count, is_bound, slope, intercept):
    """By the definition: the probability of a count, or of as many or more."""
    mean = np.exp(intercept + slope * np.log(x))
    at_least = stats.poisson.logsf(count - 1, mean)
    return np.where(is_bound, at_least, stats.poisson.logpmf(count, mean)).sum()


class TestOracles:
    @pytest.mark.parametrize("seed", range(5))
    def test_direct_maximisation(self, seed):
        points = draw(seed=seed)
        found = fit_count_power_law(*points)
        start = [1.0, math.log(4) - math.log(1e4)]
        options = {"xatol": 1e-10, "fatol": 1e-12, "maxiter": 10**4}
        oracle = optimize.minimize(
            lambda line: -log_likelihood(*points, *line), start, method="Nelder-Mead", options=options
        )
        assert found.log_likelihood == pytest.approx(-oracle.fun, abs=1e-9)
        assert [found.slope, found.intercept] == pytest.approx(oracle.x, abs=1e-5)
        assert (found.n_values, found.n_bounds) == ((~points[2]).sum(), points[2].sum())
        assert found.window == (N[0], N[-1])

    def test_without_bounds_it_is_poisson_regression(self):
        x, count, _ = draw(seed=1)
        found = fit_count_power_law(x, count, np.zeros(x.size, dtype=bool))
        oracle = PoissonRegressor(alpha=0, tol=1e-10, max_iter=1000).fit(np.log(x / 1e4)[:, None], count)
        assert found.slope == pytest.approx(oracle.coef_[0], abs=1e-6)
        np.testing.assert_allclose(found.predict(1e4), np.exp(oracle.intercept_), rtol=1e-6)

    def test_a_held_slope_without_bounds_is_a_ratio_of_sums(self):
        x, count, _ = draw(seed=2)
        found = fit_count_power_law(x, count, np.zeros(x.size, dtype=bool), slope=0.7)
        assert math.exp(found.intercept) == pytest.approx(count.sum() / (x**0.7).sum(), rel=1e-12)
        assert found.slope == 0.7

    @pytest.mark.parametrize("seed", range(3))
    def test_a_held_slope_with_bounds(self, seed):
        points = draw(seed=seed)
        found = fit_count_power_law(*points, slope=1.0)
        oracle = optimize.minimize_scalar(
            lambda a: -log_likelihood(*points, 1.0, a), (-10.0, -5.0), tol=1e-12
        )
        assert found.intercept == pytest.approx(oracle.x, abs=1e-6)

    @pytest.mark.parametrize("dispersion", [0.01, 0.3, 3.0])
    def test_other_dispersions(self, dispersion):
        x, count, is_bound = draw(seed=4)
        found = fit_count_power_law(x, count, is_bound, dispersion=dispersion)

        def loss(line):
            mean = np.exp(line[1] + line[0] * np.log(x / 1e4))
            least = np.where(count > 0, count, 1) / dispersion
            at_least = np.where(count > 0, stats.gamma.logcdf(mean / dispersion, least), 0.0)
            return -np.where(is_bound, at_least, (count * np.log(mean) - mean) / dispersion).sum()

        options = {"xatol": 1e-10, "fatol": 1e-12, "maxiter": 10**4}
        start = [found.slope, math.log(found.predict(1e4)) + 0.1]
        oracle = optimize.minimize(loss, start, method="Nelder-Mead", options=options)
        assert found.slope == pytest.approx(oracle.x[0], abs=1e-5)
        without = ~is_bound
        known = (values[without] for values in (x, count, is_bound))
        alone = fit_count_power_law(*known, dispersion=dispersion).slope
        known = (values[without] for values in (x, count, is_bound))
        assert alone == pytest.approx(fit_count_power_law(*known).slope, abs=1e-8)

    @pytest.mark.parametrize("seed", range(3))
    def test_derivatives(self, seed):
        x, count, is_bound = draw(seed=seed)
        rows = np.column_stack([np.ones(x.size), np.log(x / 1e4)])
        likelihood = CountLikelihood(rows, 0.1 * rows[:, 1], count, is_bound)
        for theta in np.random.default_rng(seed).normal([1, 1], 1.0, (5, 2)):
            _, gradient, hessian = likelihood.evaluate(theta)
            assert np.linalg.eigvalsh(hessian).max() < 0
            # Central differences of this step are exact to about step² and rounding / step, 1e-8.
            for i, step in enumerate(1e-5 * np.eye(2)):
                above, below = likelihood.evaluate(theta + step), likelihood.evaluate(theta - step)
                assert gradient[i] == pytest.approx((above[0] - below[0]) / 2e-5, rel=1e-5, abs=1e-5)
                np.testing.assert_allclose(hessian[i], (above[1] - below[1]) / 2e-5, rtol=1e-5, atol=1e-5)

    def test_bounds_far_above_the_mean_keep_their_likelihood(self):
        # P(count >= 500) at a mean of 1e-3 is 1e-2635, below what a float holds: its first term, all but all.
        rows, count = np.ones((1, 1)), np.array([500.0])
        value, gradient, _ = CountLikelihood(rows, np.zeros(1), count, np.array([True])).evaluate(
            np.array([math.log(1e-3)])
        )
        expected = 500 * math.log(1e-3) - 1e-3 - math.lgamma(501)
        assert value == pytest.approx(expected, rel=1e-9)
        assert gradient[0] == pytest.approx(500, rel=1e-5)


class TestTruth:
    @pytest.mark.parametrize("gamma", [0.6, 1.0])
    def test_is_found_where_training_stopped_early(self, gamma):
        """Room for c N^γ, time for at most 8: what is learned at the wide ones is time's doing."""
        rng = np.random.default_rng(0)
        x = np.tile(N, 5)
        slopes, naive = [], []
        for _ in range(400):
            room, time = rng.poisson(3 * (x / 1e4) ** gamma), rng.poisson(8, x.size)
            count, is_bound = np.minimum(room, time), time < room
            slopes.append(fit_count_power_law(x, count, is_bound).slope)
            naive.append(fit_count_power_law(x[~is_bound], count[~is_bound], is_bound[~is_bound]).slope)
        error = np.std(slopes) / 20
        # Four standard errors of the mean; a maximum of likelihood is biased by about 1 / (number of points).
        assert np.mean(slopes) == pytest.approx(gamma, abs=4 * error + 0.02)
        assert np.mean(naive) < np.mean(slopes) - 0.05

    @pytest.mark.parametrize("seed", range(20))
    def test_an_exact_law_of_large_counts(self, seed):
        rng = np.random.default_rng(seed)
        gamma, is_bound = rng.uniform(0.2, 2), rng.random(N.size) < 0.4
        is_bound[[0, -1]] = False
        count = np.rint(1e9 * (N / N[-1]) ** gamma)
        # A bound that the law meets by far says nothing.
        found = fit_count_power_law(N, np.where(is_bound, np.floor(count / 10), count), is_bound)
        # Counts from 1e5 on are rounded by 1e-5 of themselves at most.
        assert found.slope == pytest.approx(gamma, abs=1e-5)


class TestInvariants:
    @given(st.integers(0, 50), st.floats(-20, 20), st.randoms(use_true_random=False))
    def test_units_and_order(self, seed, log_unit, shuffler):
        x, count, is_bound = draw(seed=seed)
        found = fit_count_power_law(x, count, is_bound)
        order = np.array(shuffler.sample(range(x.size), x.size))
        other = fit_count_power_law(math.exp(log_unit) * x[order], count[order], is_bound[order])
        assert other.slope == pytest.approx(found.slope, abs=1e-8)
        assert other.log_likelihood == pytest.approx(found.log_likelihood, abs=1e-8)

    @given(st.integers(0, 50))
    def test_at_least_0_is_no_news(self, seed):
        x, count, is_bound = draw(seed=seed)
        found = fit_count_power_law(x, count, is_bound)
        more = fit_count_power_law([*x, 10.0], [*count, 0], [*is_bound, True])
        assert more.slope == pytest.approx(found.slope, abs=1e-8)
        assert more.n_bounds == found.n_bounds + 1

    @given(st.integers(0, 50))
    def test_every_point_twice(self, seed):
        points = draw(seed=seed)
        twice = fit_count_power_law(*(np.tile(values, 2) for values in points))
        assert twice.slope == pytest.approx(fit_count_power_law(*points).slope, abs=1e-8)

    def test_equal_sizes_are_points_at_one_x(self):
        assert fit_count_power_law([1, 1, 2, 2], [2, 4, 5, 7], [False] * 4).slope == pytest.approx(1)


class TestTooFewPoints:
    @pytest.mark.parametrize(
        ("x", "count", "is_bound", "message"),
        [
            ([1, 2, 3], [0, 2, 3], [0, 0, 0], "above 0 at 3 points or more, not 2"),
            ([1, 2, 3], [2, 3, 4], [1, 1, 1], "0 known above 0, 0 of 0, 3 lower bounds above 0"),
            ([1, 1, 1], [2, 3, 4], [0, 0, 0], "does not determine the law: 3 known"),
            # One x is known, and all bounds are on one side of it: the steeper the likelier.
            ([1, 2, 3], [2, 3, 4], [0, 1, 1], "1 known above 0, 0 of 0, 2 lower"),
            ([1, 2, 3, 4], [0, 2, 3, 4], [0, 0, 1, 1], "1 known above 0, 1 of 0, 2 lower"),
            ([1, 2, 3, 4, 5], [0, 0, 2, 3, 4], [0, 0, 1, 1, 1], "0 known above 0, 2 of 0, 3 lower"),
        ],
    )
    def test_have_no_slope(self, x, count, is_bound, message):
        with pytest.raises(TooFewPoints, match=message):
            fit_count_power_law(x, count, np.array(is_bound, dtype=bool))

    @pytest.mark.parametrize(
        ("x", "count", "is_bound"),
        [
            # Known at one x, and held on either side of it: by bounds on both, or by a 0 and a bound on one.
            ([1, 2, 3], [2, 3, 4], [1, 0, 1]),
            ([1, 2, 3, 4], [2, 0, 3, 4], [0, 0, 1, 1]),
            # Known nowhere, and yet between zeros.
            ([1, 2, 2, 2, 3], [0, 1, 1, 1, 0], [0, 1, 1, 1, 0]),
        ],
    )
    def test_unless_bounds_hold_it(self, x, count, is_bound):
        points = np.array(x), np.array(count), np.array(is_bound, dtype=bool)
        found = fit_count_power_law(*points)
        for turn, shift in ((0.1, 0), (-0.1, 0), (0, 0.1), (0, -0.1)):
            line = found.slope + turn, found.intercept + shift
            assert log_likelihood(*points, *line) < found.log_likelihood

    def test_of_a_held_slope(self):
        with pytest.raises(TooFewPoints, match="2 lower bounds above 0"):
            fit_count_power_law([1, 2], [1, 2], [True, True], slope=1)
        with pytest.raises(TooFewPoints, match="above 0 at 1 points or more, not 0"):
            fit_count_power_law([1, 2], [0, 0], [False, False], slope=1)
        assert fit_count_power_law([2], [4], [False], slope=1).predict(1) == pytest.approx(2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1, 2], [1], [False]), r"one length, not \(2,\), \(1,\) and \(1,\)"),
        (([0.0, 1], [1, 1], [False] * 2), "x must be positive and finite, not 0"),
        (([1, 2], [1, 1.5], [False] * 2), "count must be a whole number from 0 up, not 1.5"),
        (([1, 2], [1, -1], [False] * 2), "count must be a whole number from 0 up, not -1"),
        (([1, 2], [1, math.nan], [False] * 2), "count must be a whole number from 0 up, not nan"),
        (([1, 2], [1, 1], [0, 1]), "lower_bound must be bool, not int64"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        fit_count_power_law(*arguments)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"slope": math.inf}, "slope must be finite, not inf"),
        ({"dispersion": 0.0}, "dispersion must be positive and finite, not 0.0"),
    ],
)
def test_refuses_options(options, message):
    with pytest.raises(ValueError, match=message):
        fit_count_power_law([1, 2], [1, 1], [False, False], **options)
