import itertools
import weakref

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from quanta.curves.combine import combine
from quanta.curves.dataset import make_curves
from quanta.curves.schema import CurvesError

FREQUENCY = {0.2: [0.5, 0.3, 0.2], 0.4: [0.4, 0.3, 0.3]}
GRID = {"alpha": [0.4, 0.2], "n_train": [np.inf, 100], "seed": [3, 1]}


def unit(alpha=0.2, n_train=100.0, seed=3, **given_values):
    """Curves of one unit: two widths, three steps and three subtasks, with everything optional in them."""
    rng = np.random.default_rng([round(10 * alpha), int(n_train == np.inf), seed])
    values = {
        "loss": rng.uniform(0, 2, (2, 3, 3)),
        "accuracy": rng.uniform(0, 1, (2, 3, 3)),
        "brier": rng.uniform(0, 1, (2, 3, 3)),
        "samples_seen": rng.integers(0, 9, (3, 3)).cumsum(axis=0),
        "chance": [1.0, 2.0, 0.5],
        "study": "{}",
    } | given_values
    return make_curves(
        **values,
        frequency=FREQUENCY[alpha],
        step=[0, 10, 20],
        width=[4, 8],
        n_parameters=[50, 98],
        seed=seed,
        alpha=alpha,
        n_train=n_train,
    )


def units():
    return [unit(*place) for place in itertools.product((0.2, 0.4), (100.0, np.inf), (3, 1))]


class TestCombine:
    @given(st.permutations(range(8)), st.booleans())
    @settings(max_examples=5)
    def test_any_order_gives_the_same_grid(self, order, is_told):
        parts = units()
        joined = combine([parts[i] for i in order], GRID if is_told else None)
        assert [joined[name].values.tolist() for name in ("alpha", "n_train", "seed")] == [
            [0.2, 0.4],
            [100, np.inf],
            [1, 3],
        ]
        for part in parts:
            place = {name: part[name].values for name in ("alpha", "n_train", "seed")}
            xr.testing.assert_identical(joined.sel(place), part)

    def test_what_is_joined_can_be_joined(self):
        parts = units()
        halves = [combine(parts[:4]), combine(parts[4:])]
        xr.testing.assert_identical(combine(halves), combine(parts))

    def test_with_xarray_as_oracle(self):
        parts = units()
        options = {"join": "exact", "compat": "equals", "combine_attrs": "override"}
        expected = xr.combine_by_coords(parts, data_vars="minimal", coords="minimal", **options)
        xr.testing.assert_identical(combine(parts), expected)

    def test_one_unit_alone_is_not_copied(self):
        part = unit()
        joined = combine([part])
        xr.testing.assert_identical(joined, part)
        assert np.shares_memory(joined["loss"].values, part["loss"].values)

    def test_no_part_is_kept_while_the_next_is_made(self):
        made = []

        def parts():
            for place in itertools.product((0.2, 0.4), (100.0, np.inf), (3, 1)):
                assert [of_before() for of_before in made] == [None] * len(made)
                part = unit(*place)
                made.append(weakref.ref(part["loss"].values))
                yield part
                del part

        joined = combine(parts(), GRID)
        assert len(made) == 8
        xr.testing.assert_identical(joined, combine(units()))

    def test_unknown_alpha(self):
        frequency = [0.5, 0.5]
        parts = [
            make_curves(np.ones((1, 1, 2)), frequency=frequency, step=1, width=1, n_parameters=9, seed=seed)
            for seed in (5, 2)
        ]
        joined = combine(parts)
        assert joined["seed"].values.tolist() == [2, 5]
        assert np.isnan(joined["alpha"].values).tolist() == [True]

    def test_other_variables_come_along(self):
        extra = {"temperature": ("width", [1.0, np.nan]), "room": (("seed", "place"), [[1, 2, 3]])}
        one, other = (unit(seed=seed).assign(extra) for seed in (1, 3))
        joined = combine([one, other])
        assert joined["room"].values.tolist() == [[1, 2, 3], [1, 2, 3]]
        xr.testing.assert_identical(joined.sel(seed=[3]), other)
        with pytest.raises(CurvesError, match=r"do not fill one grid \(temperature is not the same in all\)"):
            combine([one, other.assign(temperature=("width", [1.0, 2.0]))])

    def test_a_ragged_grid_is_refused(self):
        match = r"the units do not fill one grid \(there is none for alpha 0\.4, n_train inf, seed 1\)"
        with pytest.raises(CurvesError, match=match):
            combine(units()[:-1])
        with pytest.raises(CurvesError, match=match):
            combine(iter(units()[:-1]), GRID)

    def test_a_unit_that_is_not_of_the_grid_is_refused(self):
        with pytest.raises(CurvesError, match=r"do not fill one grid \(there is none for seed 5\)"):
            combine([unit(seed=5)], GRID)

    def test_a_unit_twice_is_refused(self):
        with pytest.raises(CurvesError, match=r"do not fill one grid \(one of them is there twice\)"):
            combine([unit(), unit()])

    def test_none_is_refused(self):
        with pytest.raises(CurvesError, match="curves: expected at least one unit, found none"):
            combine([])

    def test_what_is_no_curves_is_refused(self):
        with pytest.raises(CurvesError, match="loss: expected a variable"):
            combine([unit(), unit(seed=1).drop_vars("loss")])

    @pytest.mark.parametrize("name", ["width", "step"])
    def test_units_of_other_places_are_refused(self, name):
        other = unit(seed=1)
        other = other.assign_coords({name: other[name] + 1})
        with pytest.raises(CurvesError, match=rf"do not fill one grid \({name} is not the same in all\)"):
            combine([unit(), other])

    def test_units_of_other_shape_are_refused(self):
        match = r"do not fill one grid \(\w+ is \w+ of shape \(.*\) in one, not"
        with pytest.raises(CurvesError, match=match):
            combine([unit(), unit(seed=1).isel(step=slice(2))])

    def test_numbers_are_not_rounded(self):
        finer = unit(seed=1)
        finer = finer.assign(loss=finer["loss"].astype(np.float64))
        with pytest.raises(CurvesError, match=r"loss is float64 of shape .* in one, not float32 of"):
            combine([unit(), finer])

    def test_what_only_some_know_is_refused(self):
        with pytest.raises(CurvesError, match=r"do not fill one grid \(accuracy is known of some only\)"):
            combine([unit(), unit(seed=1).drop_vars("accuracy")])

    @pytest.mark.parametrize("name", ["n_parameters", "frequency", "chance"])
    def test_units_that_contradict_each_other_are_refused(self, name):
        one, other = unit(), unit(seed=1)
        changed = {
            "n_parameters": other["n_parameters"] + 1,
            "frequency": other["frequency"] * 0 + 1 / 3,
            "chance": other["chance"] * 2,
        }
        other = other.assign({name: changed[name]})
        if name == "frequency":
            other = other.assign(mean_loss=(other["loss"] / 3).sum("subtask", skipna=False))
        with pytest.raises(CurvesError, match=rf"do not fill one grid \({name} is not the same in all\)"):
            combine([one, other])
