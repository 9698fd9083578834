import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from quanta.analysis.theories.shapes import SKILL_RATIO, exponential_drop, ridge_drop, skill_drop

SHAPES = [skill_drop, exponential_drop, ridge_drop]
each_shape = pytest.mark.parametrize("drop", SHAPES)


def steps_to(drop, share, **options):
    """Steps, in units of the crossing, at which a share is left."""
    x = np.geomspace(1e-4, 1e4, 400_001)
    return np.interp(-share, -drop(x, **options), x)


@each_shape
@given(at=st.floats(0.01, 0.99))
def test_starts_at_chance_and_crosses_at_1(drop, at):
    assert drop(0.0, at=at) == pytest.approx(1)
    assert drop(1.0, at=at) == pytest.approx(at)


@each_shape
@given(at=st.floats(0.01, 0.99))
def test_another_crossing_is_another_unit(drop, at):
    x = np.linspace(0, 5, 50)
    unit = steps_to(drop, at)
    np.testing.assert_allclose(drop(x, at=at), drop(x * unit), atol=1e-4)


@pytest.mark.parametrize(
    ("drop", "factor", "tolerance"),
    [
        (exponential_drop, np.log(0.1) / np.log(0.9), 1e-3),
        (ridge_drop, (10**0.5 - 1) / ((10 / 9) ** 0.5 - 1), 1e-3),
        # In the module's docstring.
        (skill_drop, 3.2, 0.02),
        (exponential_drop, 22, 0.01),
        (ridge_drop, 40, 0.01),
    ],
)
def test_steps_from_9_tenths_to_1(drop, factor, tolerance):
    assert steps_to(drop, 0.1) / steps_to(drop, 0.9) == pytest.approx(factor, rel=tolerance)


@pytest.mark.parametrize("ratio", [37, SKILL_RATIO, 700])
def test_skill_is_the_solution_of_the_multilinear_model(ratio):
    # dR/dt = R (S - R) from S / ratio in units of S; the loss is (S - R)².
    t = np.linspace(0, 15, 400)
    grown = solve_ivp(lambda _, r: r * (1 - r), (0, 15), [1 / ratio], t_eval=t, rtol=1e-10, atol=1e-13)
    loss = ((1 - grown.y[0]) / (1 - 1 / ratio)) ** 2
    half = solve_ivp(
        lambda _, r: r * (1 - r),
        (0, 15),
        [1 / ratio],
        events=lambda _, r: (1 - r[0]) ** 2 / (1 - 1 / ratio) ** 2 - 0.5,
        rtol=1e-10,
        atol=1e-13,
    ).t_events[0][0]
    np.testing.assert_allclose(skill_drop(t / half, ratio=ratio), loss, atol=1e-6)


@pytest.mark.parametrize(("ratio", "factor"), [(37, 4), (700, 2)])
def test_narrower_the_larger_the_ratio(ratio, factor):
    found = steps_to(skill_drop, 0.1, ratio=ratio) / steps_to(skill_drop, 0.9, ratio=ratio)
    assert found == pytest.approx(factor, rel=0.02)
