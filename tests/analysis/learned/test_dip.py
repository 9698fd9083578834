import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from quanta.analysis.learned.dip import LATTICE, UNIFORM_DIP, dip_statistic
from scipy.optimize import linprog


def slopes(x):
    """The matrix that takes values at x to the slopes between them."""
    differences = np.eye(x.size)[1:] - np.eye(x.size)[:-1]
    return differences / np.diff(x)[:, None]


def nearest_with_one_mode(x):
    """The definition, as a linear program for each place of the mode: where it may jump.

    Unknown are the values at the points, the value just before the mode, and the distance.
    """
    n = x.size
    below, above = np.arange(n) / n, np.arange(1, n + 1) / n
    distances = []
    for mode in range(n):
        just_after, distance = np.eye(n, n + 2), np.eye(n + 2)[-1]
        just_before = just_after.copy()
        just_before[mode] = np.eye(n + 2)[-2]
        rises = slopes(x[: mode + 1]) @ just_before[: mode + 1]
        falls = slopes(x[mode:]) @ just_after[mode:]
        at_most_0 = [-rises, -falls, rises[:-1] - rises[1:], falls[1:] - falls[:-1]]
        at_most_0.append(just_before[[mode]] - just_after[[mode]])
        rows = [
            just_before - distance,
            -just_before - distance,
            just_after - distance,
            -just_after - distance,
        ]
        bounds = np.concatenate([below, -below, above, -above, np.zeros(sum(map(len, at_most_0)))])
        program = linprog(distance, np.concatenate(rows + at_most_0), bounds, bounds=(0, 1))
        distances.append(program.fun)
    return min(distances)


class TestDip:
    @pytest.mark.parametrize("n", [2, 5, 9, 14])
    def test_is_the_distance_to_the_nearest_distribution_with_one_mode(self, n):
        rng = np.random.default_rng(n)
        for x in (rng.random(n), np.where(rng.random(n) < 0.4, 0, 0.9) + 0.1 * rng.random(n)):
            x = np.sort(x.round(5))
            assert dip_statistic(x) == pytest.approx(nearest_with_one_mode(x), abs=1e-8)

    @pytest.mark.parametrize("share", [0.1, 0.3, 0.5])
    def test_of_two_peaks_is_half_the_smaller(self, share):
        n = 1000
        x = np.concatenate(
            [np.linspace(0, 1e-3, int(share * n)), 1 + np.linspace(0, 1e-3, n - int(share * n))]
        )
        # A peak is as wide as a thousandth of the distance, and the dip a multiple of 1/(2n).
        assert dip_statistic(x) == pytest.approx(share / 2, abs=2e-3)

    def test_knows_equal_values(self):
        assert dip_statistic([0.3] * 7) == pytest.approx(1 / 14)
        assert dip_statistic([0.3]) == 0.5

    def test_uniform_values_rarely_exceed_the_yardstick(self):
        rng = np.random.default_rng(0)
        n, n_samples = 400, 1000
        above = sum(dip_statistic(rng.random(n)) > UNIFORM_DIP / np.sqrt(n) for _ in range(n_samples))
        # One in twenty, within four standard deviations of a binomial share.
        assert abs(above / n_samples - 0.05) < 4 * np.sqrt(0.05 * 0.95 / n_samples)

    @pytest.mark.parametrize("draw", ["normal", "exponential"])
    def test_one_mode_stays_far_below_the_yardstick(self, draw):
        values = getattr(np.random.default_rng(1), draw)(size=2000)
        assert dip_statistic(values) < UNIFORM_DIP / np.sqrt(2000)

    def test_two_modes_exceed_it(self):
        rng = np.random.default_rng(2)
        values = np.concatenate([rng.normal(0.05, 0.05, 100), rng.normal(1, 0.1, 1900)])
        assert dip_statistic(values) > UNIFORM_DIP / np.sqrt(2000)

    def test_a_lattice_is_not_many_modes(self):
        at_chance = np.random.default_rng(3).binomial(64, 0.5, size=2000) / 64
        assert dip_statistic(2 * (1 - at_chance)) < UNIFORM_DIP / np.sqrt(2000)

    def test_two_values_are_not_a_lattice(self):
        # Each is spread over L = LATTICE. With the mode in the second, what comes nearest, at distance d, is
        # convex before it: from d to 1/2 - d over L, on to 1/2 + d over 1 - L: (1/2 - 2d) / L = 2d / (1 - L).
        # The dip of 1000 points is a multiple of 1/2000 at best.
        assert dip_statistic([0] * 500 + [1] * 500) == pytest.approx((1 - LATTICE) / 4, abs=5e-4)

    @given(
        st.lists(st.integers(0, 10**4), min_size=1, max_size=40),
        st.floats(-3, 3).map(lambda shift: round(shift, 3)),
    )
    @settings(max_examples=50, deadline=None)
    def test_is_within_its_bounds_and_moves_with_nothing(self, values, shift):
        x = np.array(values) / 10**4
        dip = dip_statistic(x)
        assert 1 / (2 * x.size) <= dip <= max(1 / 4, 1 / (2 * x.size)) + 1e-12
        # Both are rounded to a millionth, which moves points by less than that of the lattice of 1e-4.
        assert dip_statistic(shift - x) == pytest.approx(dip, abs=1e-6)
