import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quanta.analysis.fits.curves import CURVES, PowerLawWithFloor
from quanta.analysis.theories.quanta import FiniteK, ideal_loss
from quanta.tasks.frequencies import zipf_frequencies

X = np.geomspace(50, 20000, 25)
ORIGIN = np.log(X[0])
U = np.log(X) - ORIGIN
P = zipf_frequencies(64, 0.4)

FORMULAS = {
    "power": lambda x, A, a: A * x**-a,
    "power + floor": lambda x, E, A, a: E + A * x**-a,
    "finite K": lambda x, c, gamma: ideal_loss(P, np.minimum(c * x**gamma, 64)),
    "exponential": lambda x, A, b: A * np.exp(-b * x),
    "broken power": lambda x, a, b, c0, c1, d, f: a + b * x**-c0 * (1 + (x / d) ** (1 / f)) ** (-c1 * f),
}
COORDINATES = {
    "power": [-0.2, 0.4],
    "power + floor": [-0.2, 0.1, 0.7],
    "finite K": [-0.7, 0.77],
    "exponential": [-0.5, 0.006],
    "broken power": [-0.2, 0.1, 0.3, 0.5, 3.0, np.log(0.3)],
}
each_curve = pytest.mark.parametrize("curve", [*CURVES, FiniteK(P)], ids=lambda curve: curve.name)


@each_curve
def test_is_the_formula_of_its_parameters(curve):
    t = np.array(COORDINATES[curve.name])
    expected = np.log(FORMULAS[curve.name](X, **curve.parameters(t, ORIGIN)))
    np.testing.assert_allclose(curve.evaluate(t, U)[0], expected, rtol=0, atol=1e-12)


@each_curve
def test_derivatives_are_those_of_the_curve(curve):
    t = np.array(COORDINATES[curve.name])
    _, derivatives = curve.evaluate(t, U)
    step = 1e-6
    numeric = [
        (curve.evaluate(t + h, U)[0] - curve.evaluate(t - h, U)[0]) / (2 * step)
        for h in step * np.eye(t.size)
    ]
    # Central differences err by step² and by rounding over step, 1e-10; no n lies in a kink here.
    np.testing.assert_allclose(derivatives, np.transpose(numeric), atol=1e-8)


@each_curve
@given(st.integers(0, 2**32 - 1))
def test_starts_are_finite_and_within_bounds(curve, seed):
    rng = np.random.default_rng(seed)
    v = np.log(X**-0.4) + rng.normal(0, 0.5, X.size) + rng.normal()
    lower, upper = curve.bounds(U)
    for group in curve.starts(U, v):
        for start in group:
            start = np.clip(start, lower, upper)
            assert np.isfinite(curve.evaluate(curve.make_finite(start, U), U)[0]).all()


def test_finite_k_learns_no_more_than_all():
    log_loss, derivatives = FiniteK(P).evaluate(np.array([4.0, 1.0]), U)
    assert np.isneginf(log_loss[-1])
    assert (derivatives[-1] == 0).all()
    assert np.isfinite(derivatives).all()


def test_a_floor_alone_has_no_fall():
    assert PowerLawWithFloor().parameters(np.array([0.0, 1.0, 2.0]), ORIGIN) == {
        "E": 1,
        "A": 0,
        "a": 2,
    }


def test_exponent_is_a_parameter():
    exponents = {curve.name: curve.exponent for curve in CURVES}
    assert exponents == {"power": "a", "power + floor": "a", "exponential": None, "broken power": None}
    for curve in CURVES:
        names = curve.parameters(np.array(COORDINATES[curve.name]), ORIGIN)
        assert curve.exponent is None or curve.exponent in names


def test_of_another_chance_is_as_many_times_the_loss():
    t = np.array(COORDINATES["finite K"])
    (log_loss, slopes), (times_3, other) = (FiniteK(P, chance).evaluate(t, U) for chance in (1.0, 3.0))
    np.testing.assert_allclose(times_3 - log_loss, np.log(3), rtol=1e-12)
    np.testing.assert_allclose(other, slopes, rtol=1e-12)


@pytest.mark.parametrize(
    ("frequency", "chance", "message"),
    [
        ([1.0], 1, r"one value for each of at least 2 subtasks, not shape \(1,\)"),
        ([0.4, 0.6], 1, "frequency must be positive, the most frequent first"),
        ([1.0, 0.0], 1, "frequency must be positive, the most frequent first"),
        ([np.nan, 0.5], 1, "frequency must be positive, the most frequent first"),
        ([0.6, 0.3], 1, "frequency must sum to 1, not 0.9"),
        ([0.6, 0.4], 0, "chance must be positive and finite, not 0"),
    ],
)
def test_finite_k_refuses(frequency, chance, message):
    with pytest.raises(ValueError, match=message):
        FiniteK(frequency, chance)
