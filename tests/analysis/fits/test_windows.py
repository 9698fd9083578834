import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quanta.analysis.fits.errors import TooFewPoints
from quanta.analysis.fits.power_laws import fit_power_law
from quanta.analysis.fits.windows import audit_windows

N = 603 * np.array([4, 6, 8, 11, 16, 23, 32, 45, 64, 91, 128]) + 2.0


def noisy(y, sd, seed=0):
    return y * np.exp(np.random.default_rng(seed).normal(0, sd, np.size(y)))


def check_against_fit_power_law(x, y):
    """Every pair of ends a factor 4 apart, and what `fit_power_law` says of the points between them."""
    found = audit_windows(x, y)
    ends = np.unique(x)
    expected = [
        (lower, upper)
        for lower in ends
        for upper in ends
        if upper >= 4 * lower and ((x >= lower) & (x <= upper)).sum() >= 3
    ]
    assert list(zip(found.lower, found.upper, strict=True)) == expected
    for i, (lower, upper) in enumerate(expected):
        inside = (x >= lower) & (x <= upper)
        fit = fit_power_law(x[inside], y[inside])
        assert found.n_points[i] == fit.n_points
        assert (found.slope[i], found.stderr[i]) == pytest.approx((fit.slope, fit.slope_stderr), rel=1e-9)


def test_is_fit_power_law_in_every_window():
    check_against_fit_power_law(N[::-1], noisy(3 * N**-0.4, 0.1)[::-1])


@settings(max_examples=30)
@given(st.lists(st.sampled_from([1.0, 2.0, 3.0, 5.0, 8.0, 13.0, 40.0]), min_size=3, max_size=12))
def test_points_at_one_x_are_in_the_same_windows(x):
    x = np.array([*x, 100.0])
    check_against_fit_power_law(x, noisy(x**-0.4, 0.1))


@settings(max_examples=20)
@given(st.floats(-2, 2), st.floats(-5, 5))
def test_of_an_exact_law_has_one_slope(slope, level):
    found = audit_windows(N, np.exp(level) * N**slope)
    np.testing.assert_allclose(found.slope, slope, atol=1e-12)
    # The root of a sum of squares that cancels to rounding, 1e-16 of values up to 50.
    assert (found.stderr < 1e-6).all()


def test_needs_three_points_and_the_factor():
    one = audit_windows([1, 8, 64], [1, 2, 3])
    assert (one.lower.tolist(), one.upper.tolist()) == ([1], [64])
    assert audit_windows([1, 2, 3], [1, 2, 3]).slope.size == 0
    assert audit_windows([1, 2, 4], [1, 2, 3]).slope.size == 1  # a factor of exactly four is one
    assert audit_windows([1, 2, 3], [1, 2, 3], min_factor=2.5).slope.size == 1
    assert audit_windows([1, 8, 8], [1, 2, 3]).n_points.tolist() == [3]


def test_two_thousand_evaluations_are_no_trouble():
    x = np.geomspace(1, 1e5, 2000)
    found = audit_windows(x, noisy(x**-0.3, 0.05))
    assert found.slope.size == sum(x.size - np.searchsorted(x, 4 * x * (1 - 1e-9)))
    assert found.slope.mean() == pytest.approx(-0.3, abs=0.01)


def test_refuses():
    with pytest.raises(ValueError, match="y must be positive"):
        audit_windows([1, 2, 8], [1, 0, 1])
    with pytest.raises(ValueError, match="min_factor must be above 1, not 1"):
        audit_windows([1, 2, 8], [1, 1, 1], min_factor=1)
    with pytest.raises(TooFewPoints, match="at least two different values"):
        audit_windows([8, 8, 8], [1, 1, 1])
