import numpy as np
import pytest

from quanta.analysis.discovery.affinities import AFFINITIES

KNOWN = {
    "angular": {1: 1, 0.5: 2 / 3, 0: 0.5, -(0.5**0.5): 0.25, -1: 0},
    "elementwise": {1: 1, 0.5: 2 / 3, 0: 0.5},
    "abs": {1: 1, 0.5: 0.5, 0: 0, -0.5: 0.5, -1: 1},
    "cos4": {1: 1, 0.5: 0.0625, 0: 0, -0.1: 1e-4, -1: 1},
}


@pytest.mark.parametrize("name", AFFINITIES)
def test_known_values(name):
    cosines = np.array(list(KNOWN[name]), dtype=np.float64)
    np.testing.assert_allclose(AFFINITIES[name].transform(cosines), list(KNOWN[name].values()), atol=1e-12)


@pytest.mark.parametrize("name", AFFINITIES)
def test_rounding_beyond_one_is_one(name):
    beyond = AFFINITIES[name].transform(np.array([1 + 1e-6, -1 - 1e-6], dtype=np.float32))
    assert np.array_equal(beyond, AFFINITIES[name].transform(np.array([1, -1], dtype=np.float32)))


def test_only_the_elementwise_one_is_of_absolute_gradients():
    assert {name: one.sign for name, one in AFFINITIES.items() if one.sign == "free"} == {
        "elementwise": "free"
    }
