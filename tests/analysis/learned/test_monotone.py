import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import signal
from scipy.optimize import lsq_linear
from sklearn.isotonic import IsotonicRegression

from quanta.analysis.learned.monotone import MonotoneCurves, make_monotone, remove_spikes

few = settings(max_examples=30)

some_curves = arrays(
    float,
    array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=7),
    elements=st.sampled_from([0.0, 0.01, 0.1, 0.3, 0.5, 1.0, 1.5, 9.0]),
)


class TestMakeMonotone:
    @few
    @given(some_curves)
    def test_against_the_formula_of_least_and_greatest_means(self, values):
        # Barlow et al. (1972): the regression at t is the least over beginnings a, up to t, of the greatest
        # over ends b, from t on, of the means of a..b.
        n_subtasks, n = values.shape
        expected = [
            [
                min(max(values[k, a : b + 1].mean() for b in range(t, n)) for a in range(t + 1))
                for t in range(n)
            ]
            for k in range(n_subtasks)
        ]
        np.testing.assert_allclose(make_monotone(values), expected, rtol=1e-12, atol=1e-15)

    @few
    @given(some_curves)
    def test_against_scikit_learn(self, values):
        model = IsotonicRegression(increasing=False)
        expected = [model.fit_transform(np.arange(row.size), row) for row in values]
        np.testing.assert_allclose(make_monotone(values), expected, rtol=1e-12, atol=1e-15)

    @pytest.mark.parametrize("seed", range(5))
    def test_against_a_quadratic_program(self, seed):
        values = np.random.default_rng(seed).normal(size=8)
        # The last value is free, and each one before it is larger by a number that is not negative.
        steps = np.triu(np.ones((8, 8)))
        bounds = (np.r_[np.zeros(7), -np.inf], np.full(8, np.inf))
        found = lsq_linear(steps, values, bounds, method="bvls", tol=1e-14)
        np.testing.assert_allclose(make_monotone(values[None])[0], steps @ found.x, atol=1e-7)

    @few
    @given(some_curves, st.sampled_from([0.25, 2.0, 1024.0]))
    def test_is_a_projection_that_keeps_the_mean_and_the_unit(self, values, unit):
        found = make_monotone(values)
        assert (np.diff(found) <= 0).all()
        np.testing.assert_allclose(make_monotone(found), found, rtol=1e-15)
        np.testing.assert_allclose(found.mean(axis=1), values.mean(axis=1), rtol=1e-12)
        np.testing.assert_allclose(make_monotone(unit * values), unit * found, rtol=1e-14)

    def test_falling_curves_stay_as_they_are_and_so_does_the_argument(self):
        values = np.array([[1.0, 0.5, 0.5], [1.0, 2.0, 0.0]])
        before = values.copy()
        found = make_monotone(values)
        assert found.tolist() == [[1, 0.5, 0.5], [1.5, 1.5, 0]]
        np.testing.assert_array_equal(values, before)


class TestRemoveSpikes:
    @given(arrays(np.float64, (2, 7), elements=st.floats(0, 10)))
    def test_a_falling_curve_is_its_own(self, values):
        falling = -np.sort(-values)
        np.testing.assert_array_equal(remove_spikes(falling), falling)

    @pytest.mark.parametrize("at", range(2, 8))
    def test_one_spike_leaves_nothing(self, at):
        curve = np.array([[1, 0.5, 0.2, 0.1, 0.1, 0.05, 0.05, 0.05]])
        spiked = curve.copy()
        spiked[:, at] = 0.9
        found = remove_spikes(spiked)
        assert (found <= np.maximum(curve, np.roll(curve, 1)))[:, 1:].all()

    @few
    @given(arrays(float, (3, 9), elements=st.floats(0, 10)))
    def test_against_scipys_median_of_three(self, values):
        found = remove_spikes(values)
        np.testing.assert_array_equal(found[:, 1:-1], signal.medfilt(values, (1, 3))[:, 1:-1])
        np.testing.assert_array_equal(found[:, 0], values[:, 0])
        # The last may be a spike, but no dip: nothing is known of what comes after it.
        np.testing.assert_array_equal(found[:, -1], np.minimum(values[:, -1], values[:, -3:-1].max(axis=1)))

    @pytest.mark.parametrize("n", [0, 1, 2])
    def test_too_short_to_tell(self, n):
        np.testing.assert_array_equal(remove_spikes(np.ones((3, n))), np.ones((3, n)))


class TestMonotoneCurves:
    @few
    @given(some_curves, st.data())
    def test_hold_all_of_what_they_were_made_of(self, values, data):
        falling = -np.sort(-values)
        curves = MonotoneCurves.of(falling)
        np.testing.assert_array_equal(curves.dense(), falling)
        n_subtasks, n = falling.shape
        assert (curves.n_subtasks, curves.n_evaluations) == (n_subtasks, n)
        places = np.array(
            data.draw(st.lists(st.integers(0, n - 1), min_size=n_subtasks, max_size=n_subtasks))
        )
        np.testing.assert_array_equal(curves.at(places), falling[np.arange(n_subtasks), places])
        np.testing.assert_array_equal(curves.at(-1), falling[:, -1])
        level = data.draw(st.sampled_from([0.0, 0.05, 0.1, 0.3, 2.0, 10.0]))
        np.testing.assert_array_equal(curves.n_not_below(level), (falling >= level).sum(axis=1))

    def test_keep_a_level_once(self):
        curves = MonotoneCurves.of(np.array([[1, 1, 0.5, 0.5], [0.5, 0.5, 0.5, 0]], dtype=np.float32))
        assert curves.level.tolist() == [1, 0.5, 0.5, 0]
        assert curves.begin.tolist() == [0, 2, 4, 7]
        assert curves.level.dtype == np.float32

    def test_are_divided_each_by_its_own(self):
        curves = MonotoneCurves.of(np.array([[4.0, 2.0, 2.0], [3.0, 3.0, 1.5]]))
        got = curves.divided_by(np.array([2.0, 3.0]))
        assert got.dense().tolist() == [[2, 1, 1], [1, 1, 0.5]]
        assert got == MonotoneCurves.of(got.dense()) != curves
