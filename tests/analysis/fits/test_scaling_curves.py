import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quanta.analysis.fits.curves import make_curve
from quanta.analysis.fits.scaling import MODELS
from quanta.analysis.theories.theory import ideal_loss
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
each_model = pytest.mark.parametrize("model", MODELS)


@each_model
def test_is_the_formula_of_its_parameters(model):
    curve, t = make_curve(model, P), np.array(COORDINATES[model])
    expected = np.log(FORMULAS[model](X, **curve.parameters(t, ORIGIN)))
    np.testing.assert_allclose(curve.evaluate(t, U)[0], expected, rtol=0, atol=1e-12)


@each_model
def test_derivatives_are_those_of_the_curve(model):
    curve, t = make_curve(model, P), np.array(COORDINATES[model])
    _, derivatives = curve.evaluate(t, U)
    step = 1e-6
    numeric = [
        (curve.evaluate(t + h, U)[0] - curve.evaluate(t - h, U)[0]) / (2 * step)
        for h in step * np.eye(t.size)
    ]
    # Central differences err by step² and by rounding over step, 1e-10; no n lies in a kink here.
    np.testing.assert_allclose(derivatives, np.transpose(numeric), atol=1e-8)


@each_model
@given(st.integers(0, 2**32 - 1))
def test_starts_are_finite_and_within_bounds(model, seed):
    rng = np.random.default_rng(seed)
    v = np.log(X**-0.4) + rng.normal(0, 0.5, X.size) + rng.normal()
    curve = make_curve(model, P)
    lower, upper = curve.bounds(U)
    for group in curve.starts(U, v):
        for start in group:
            start = np.clip(start, lower, upper)
            assert np.isfinite(curve.evaluate(curve.make_finite(start, U), U)[0]).all()


def test_finite_k_learns_no_more_than_all():
    log_loss, derivatives = make_curve("finite K", P).evaluate(np.array([4.0, 1.0]), U)
    assert np.isneginf(log_loss[-1])
    assert (derivatives[-1] == 0).all()
    assert np.isfinite(derivatives).all()


def test_a_floor_alone_has_no_fall():
    assert make_curve("power + floor").parameters(np.array([0.0, 1.0, 2.0]), ORIGIN) == {
        "E": 1,
        "A": 0,
        "a": 2,
    }


@pytest.mark.parametrize(
    ("model", "frequency", "message"),
    [
        ("linear", None, "model must be one of power, power \\+ floor, .*, not 'linear'"),
        ("finite K", None, "frequency must be given for the model 'finite K'"),
        ("finite K", [1.0], r"one value for each of at least 2 subtasks, not shape \(1,\)"),
        ("finite K", [0.4, 0.6], "frequency must be positive, the most frequent first"),
        ("finite K", [1.0, 0.0], "frequency must be positive, the most frequent first"),
        ("finite K", [np.nan, 0.5], "frequency must be positive, the most frequent first"),
        ("finite K", [0.6, 0.3], "frequency must sum to 1, not 0.9"),
    ],
)
def test_refuses(model, frequency, message):
    with pytest.raises(ValueError, match=message):
        make_curve(model, frequency)
