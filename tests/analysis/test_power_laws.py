import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from analysis.power_laws import FitError, Interval, bootstrap_seeds, fit_power_law

X = np.geomspace(1, 1e4, 20)


class TestFitPowerLaw:
    @given(st.floats(-5, 5), st.floats(-20, 20))
    def test_recovers_an_exact_law(self, slope, intercept):
        fit = fit_power_law(X, np.exp(intercept + slope * np.log(X)))
        assert fit.slope == pytest.approx(slope, abs=1e-12)
        # The intercept lies 4.6 below the mean of log x, so it carries the slope's error times that.
        assert fit.intercept == pytest.approx(intercept, abs=1e-11)

    def test_agrees_with_scipy_on_scatter(self):
        y = X**-0.4 * np.exp(np.random.default_rng(0).normal(0, 0.3, X.size))
        fit, oracle = fit_power_law(X, y), stats.linregress(np.log(X), np.log(y))
        assert fit.slope == pytest.approx(oracle.slope, rel=1e-12)
        assert fit.intercept == pytest.approx(oracle.intercept, rel=1e-12)
        assert fit.slope_stderr == pytest.approx(oracle.stderr, rel=1e-12)
        assert fit.r_squared == pytest.approx(oracle.rvalue**2, rel=1e-12)

    def test_says_what_it_fitted(self):
        fit = fit_power_law([4, 1, 2], [1, 1, 1])
        assert (fit.window, fit.n_points, fit.converged) == ((1, 4), 3, True)
        assert fit.slope == 0
        assert math.isnan(fit.r_squared)

    def test_predict_evaluates_the_law(self):
        fit = fit_power_law(X, 3 * X**-0.4)
        np.testing.assert_allclose(fit.predict([[1, 2], [4, 8]]), 3 * np.array([[1, 2], [4, 8]]) ** -0.4)

    @pytest.mark.parametrize(
        ("x", "y", "message"),
        [
            ([1, 2], [1, 2], "at least 3 points, not 2"),
            ([1, 2, 3], [1, 2], r"same length, not \(3,\) and \(2,\)"),
            ([0, 1, 2], [1, 2, 3], "x must be positive and finite to have a logarithm, not 0"),
            ([1, 2, 3], [1, -2, 3], "y must be positive and finite to have a logarithm, not -2"),
            ([1, 2, 3], [1, np.nan, 3], "y must be positive and finite to have a logarithm, not nan"),
            ([5, 5, 5], [1, 2, 3], "at least two different values, not only 5"),
        ],
    )
    def test_refuses(self, x, y, message):
        with pytest.raises(ValueError, match=message):
            fit_power_law(x, y)


class TestBootstrapSeeds:
    def test_coverage_of_a_normal_mean(self):
        # The percentile interval of a mean is about mean ± z s' / sqrt(n), with s' the spread about the mean
        # over n, so it covers where |t| < z sqrt((n - 1) / n).
        n, n_worlds, confidence = 15, 400, 0.9
        z = stats.norm.ppf((1 + confidence) / 2)
        expected = 1 - 2 * stats.t.sf(z * math.sqrt((n - 1) / n), df=n - 1)
        rng = np.random.default_rng(0)
        covered = 0
        for world in range(n_worlds):
            values = rng.normal(size=n)
            interval = bootstrap_seeds(
                lambda seeds, values=values: float(values[seeds].mean()), n, n_resamples=200, seed=world
            )
            covered += interval.lower < 0 < interval.upper
        # Three binomial standard deviations.
        tolerance = 3 * math.sqrt(expected * (1 - expected) / n_worlds)
        assert abs(covered / n_worlds - expected) < tolerance

    def test_coverage_said_in_the_docstring(self):
        z = stats.norm.ppf(0.95)
        for n, coverage in ((3, 0.69), (5, 0.78), (10, 0.85)):
            exact = 1 - 2 * stats.t.sf(z * math.sqrt((n - 1) / n), df=n - 1)
            assert exact == pytest.approx(coverage, abs=0.005)

    def test_agrees_with_scipy(self):
        values = np.random.default_rng(1).normal(size=12)
        ours = bootstrap_seeds(lambda seeds: float(values[seeds].mean()), 12, n_resamples=20000)
        theirs = stats.bootstrap(
            (values,), np.mean, confidence_level=0.9, method="percentile", n_resamples=20000, rng=1
        ).confidence_interval
        # A 5 % quantile of 20000 draws of a normal has a standard error of sd * sqrt(.05*.95/20000)/.103.
        standard_error = values.std() / math.sqrt(12) * math.sqrt(0.05 * 0.95 / 20000) / 0.103
        assert ours.lower == pytest.approx(theirs.low, abs=5 * standard_error)
        assert ours.upper == pytest.approx(theirs.high, abs=5 * standard_error)

    def test_the_same_seed_gives_the_same_interval(self):
        values = np.arange(6.0)
        first, again, other = (
            bootstrap_seeds(lambda seeds: float(values[seeds].mean()), 6, n_resamples=50, seed=seed)
            for seed in (0, 0, 1)
        )
        assert first == again
        assert first != other

    def test_one_seed_has_no_interval_and_says_so(self):
        got = bootstrap_seeds(lambda seeds: 2.0, 1)
        assert got == Interval(2.0, None, None, "none: one seed has no spread", 1, 0.9)

    def test_undefined_everywhere_raises_with_what_there_is(self):
        with pytest.raises(FitError, match="nan on all 3 seeds") as caught:
            bootstrap_seeds(lambda seeds: math.nan, 3)
        assert caught.value.partial.n_seeds == 3

    def test_undefined_on_most_resamples_raises_with_the_estimate(self):
        def only_on_all(seeds):
            return 1.0 if len(set(seeds)) == 3 else math.nan

        with pytest.raises(FitError, match="of 2000 resamples") as caught:
            bootstrap_seeds(only_on_all, 3)
        assert caught.value.partial.estimate == 1.0

    def test_undefined_on_some_resamples_is_said(self):
        # All three seeds the same has probability 1/9.
        got = bootstrap_seeds(lambda seeds: 1.0 if len(set(seeds)) > 1 else math.nan, 3)
        n_undefined = int(got.kind.split("(")[1].split()[0])
        assert n_undefined == pytest.approx(2000 / 9, abs=4 * math.sqrt(2000 * 8 / 81))

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"n_seeds": 0}, "n_seeds must be at least 1, not 0"),
            ({"confidence": 1}, "confidence must be between 0 and 1, not 1"),
            ({"n_resamples": 0}, "n_resamples must be at least 1, not 0"),
        ],
    )
    def test_refuses(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            bootstrap_seeds(lambda seeds: 1.0, **{"n_seeds": 3} | arguments)
