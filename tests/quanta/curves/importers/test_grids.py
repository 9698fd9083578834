from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quanta.curves.importers.grids import find_holes

GRID = list(product((1, 2, 3), (10, 20, 30, 40)))


def test_a_full_grid_stays():
    assert find_holes(GRID, ("seed", "width")) == {}
    assert find_holes([], ("seed", "width")) == {}


@pytest.mark.parametrize(
    ("missing", "gone"),
    [
        ([(2, 30)], {(1, 30), (3, 30)}),  # a width has fewer places than a seed
        ([(2, 10), (2, 20), (2, 30)], {(2, 40)}),
        ([(1, 20), (2, 30)], {(3, 20), (2, 20), (1, 30), (3, 30)}),
    ],
)
def test_what_costs_least_goes(missing, gone):
    places = [place for place in GRID if place not in missing]
    found = find_holes(places, ("seed", "width"))
    assert set(found) == gone


def test_it_says_which_value_and_where_the_hole_is():
    found = find_holes([place for place in GRID if place != (2, 30)], ("seed", "width"))
    assert found[1, 30] == "width 30 is not complete: there is none at seed 2, width 30"


@given(st.sets(st.tuples(*[st.integers(0, 3)] * 3), min_size=1))
def test_what_stays_is_a_grid(places):
    left_out = find_holes(sorted(places), ("a", "b", "c"))
    kept = places - set(left_out)
    assert kept
    axes = [{place[axis] for place in kept} for axis in range(3)]
    assert kept == set(product(*axes))
