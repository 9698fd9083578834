import numpy as np
import pytest

from quanta.analysis import axes
from quanta.analysis.axes import Axis, Trace


def trace_of(x, left=None, chance=(1.0, 1.0), frequency=(0.75, 0.25)):
    x = np.array(x, dtype=float)
    left = np.ones((1, x.size, 2)) if left is None else np.asarray(left)
    return Trace(axes.N, x, left, left, np.array(chance), np.array(frequency))


class TestAxis:
    @pytest.mark.parametrize(
        ("axis", "values"),
        [
            (axes.N, [100, 300, 300]),
            (axes.S, [0, 5]),
            (axes.D, [50, np.inf]),
            (axes.ALPHA, [0.4]),
            (axes.K, [1, 2]),
        ],
    )
    def test_values_are_those_of_the_curves(self, slice_of, axis, values):
        curves = slice_of(
            np.ones((2, 1, 3, 2, 2)),
            [0.6, 0.4],
            n_parameters=[100, 300, 300],
            step=[0, 5],
            n_train=[50, np.inf],
        )
        got = axis.values(curves)
        assert got.dtype == np.float64
        assert got.tolist() == values

    def test_value_that_was_chosen_is_an_axis_of_one(self, slice_of):
        curves = slice_of(np.ones((2, 1, 1, 2, 2)), [0.6, 0.4], n_train=[50, 70]).isel(n_train=0)
        assert axes.D.values(curves).tolist() == [50]

    def test_names(self):
        assert [axis.exponent for axis in axes.RESOURCES] == ["alpha_N", "alpha_S", "alpha_D"]
        assert axes.N.label == "parameters N"
        assert {axis.role for axis in axes.RESOURCES} == {"resource"}
        assert axes.ALPHA.role == axes.K.role == "condition"

    def test_another_axis_needs_no_edit(self, slice_of):
        toy = Axis("W", "hidden units", "width", "width", "condition")
        curves = slice_of(np.ones((1, 2, 2, 2)), [0.6, 0.4], width=[7, 9])
        assert (toy.values(curves).tolist(), toy.label) == ([7, 9], "hidden units W")


class TestTrace:
    def test_mean_loss_is_in_bits(self):
        left = [[[1.0, 0.5], [0.0, 2.0]]]
        got = trace_of([1, 2], left, chance=(2.0, 4.0)).mean_loss
        # .75 of 2 bits and .25 of half of 4; .25 of twice 4.
        np.testing.assert_allclose(got, [[0.75 * 2 + 0.25 * 2, 0.25 * 8]], rtol=1e-15)

    @pytest.mark.parametrize(
        ("x", "is_a_curve"),
        [([], False), ([1, 2], False), ([1, 1, 1, 2], False), ([1, 1, 2, 3], True), ([1, 2, 3], True)],
    )
    def test_is_a_curve_from_three_different_places_on(self, x, is_a_curve):
        assert trace_of(x, np.ones((1, len(x), 2))).is_a_curve == is_a_curve
