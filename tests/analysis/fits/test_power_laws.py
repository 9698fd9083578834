import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from quanta.analysis.fits.errors import TooFewPoints
from quanta.analysis.fits.power_laws import fit_power_law

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
        assert (fit.window, fit.n_points) == ((1, 4), 3)
        assert fit.slope == 0
        assert math.isnan(fit.r_squared)

    def test_predict_evaluates_the_law(self):
        fit = fit_power_law(X, 3 * X**-0.4)
        np.testing.assert_allclose(fit.predict([[1, 2], [4, 8]]), 3 * np.array([[1, 2], [4, 8]]) ** -0.4)

    @pytest.mark.parametrize(
        ("x", "y", "message"),
        [
            ([1, 2, 3], [1, 2], r"same length, not \(3,\) and \(2,\)"),
            ([0, 1, 2], [1, 2, 3], "x must be positive and finite to have a logarithm, not 0"),
            ([1, 2, 3], [1, -2, 3], "y must be positive and finite to have a logarithm, not -2"),
            ([1, 2, 3], [1, np.nan, 3], "y must be positive and finite to have a logarithm, not nan"),
        ],
    )
    def test_refuses(self, x, y, message):
        with pytest.raises(ValueError, match=message) as caught:
            fit_power_law(x, y)
        assert not isinstance(caught.value, TooFewPoints)

    @pytest.mark.parametrize(
        ("x", "y", "message"),
        [
            ([1, 2], [1, 2], "at least 3 points, not 2"),
            ([], [], "at least 3 points, not 0"),
            ([5, 5, 5], [1, 2, 3], "at least two different values, not only 5"),
        ],
    )
    def test_too_few_points(self, x, y, message):
        with pytest.raises(TooFewPoints, match=message):
            fit_power_law(x, y)
