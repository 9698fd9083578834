from datetime import UTC, datetime

import numpy as np
import pytest
import torch
import xarray as xr

from quanta.curves.dataset import load_curves
from quanta.store.errors import StoreError
from quanta.store.run_directory import RunDirectory
from quanta.store.slices import choose, group, units_to_read
from quanta.study.spec import StudySpec
from quanta.training.trainer import train_unit

TINY = {
    "name": "tiny",
    "alpha": [0.2, "uniform"],
    "seed": [0, 1],
    "task": {"n_subtasks": 4, "n_bits": 6, "k": 1},
    "population": {"widths": [2, 4]},
    "training": {"steps": 2, "batch_size": 16},
    "evaluation": {"samples_per_subtask": 8, "n_evaluations": 3},
}


@pytest.fixture
def make(tmp_path):
    """A run directory of a study that differs in some values, in which some units are done."""

    def make(is_done=lambda unit: True, **values):
        run = RunDirectory.create(tmp_path / "run", StudySpec.parse(TINY | values))
        for unit in run.study.units():
            if is_done(unit):
                run.write_done(unit, train_unit(unit), device=torch.device("cpu"), started=datetime.now(UTC))
        return run

    return make


def places(curves):
    return {axis: curves[axis].values.tolist() for axis in ("alpha", "n_train", "seed")}


def check_values(run, curves):
    """Whether every unit of a dataset is as it is on disk."""
    for unit in run.study.units():
        place = {axis: [value] for axis, value in unit.coordinates.items()}
        if all(value[0] in curves[axis].values for axis, value in place.items()):
            there = load_curves(run.folder(unit) / "curves.nc")
            xr.testing.assert_equal(curves.sel(place)[[*there.data_vars]], there)


class TestLoad:
    def test_several_alphas_come_together(self, make):
        run = make(n_train=["online", 10])
        curves = run.load()
        assert places(curves) == {"alpha": [-1, 0.2], "n_train": [10, np.inf], "seed": [0, 1]}
        assert curves.attrs["units_missing"] == 0
        assert "missing_units" not in curves.attrs
        check_values(run, curves)

    @pytest.mark.parametrize(
        ("asked", "alpha"),
        [
            ({"alpha": 0.2}, 0.2),
            ({"alpha": "uniform"}, -1),
            ({"alpha": -1}, -1),
            ({"alpha": 0.2, "n_subtasks": 4}, 0.2),
            ({"alpha": 0.2, "n_bits": 6, "batch_size": 16, "learning_rate": 1e-3}, 0.2),
        ],
    )
    def test_one_is_asked_for_by_its_condition(self, make, asked, alpha):
        run = make()
        curves = run.load(**asked)
        assert places(curves) == {"alpha": [alpha], "n_train": [np.inf], "seed": [0, 1]}
        check_values(run, curves)

    @pytest.mark.parametrize(
        ("asked", "message"),
        [
            (
                {"alpha": 0.3},
                r"no slice has alpha=0\.3; there are alpha=0\.2, n_subtasks=4; alpha=uniform, n_subtasks=4",
            ),
            ({"alpha": 0.2, "n_subtasks": 5}, r"no slice has alpha=0\.2, n_subtasks=5; there are"),
            ({"alpha": "zipf"}, r"no slice has alpha=zipf; there are"),
            (
                {"n_train": 10},
                r"slices are chosen by alpha, n_subtasks, n_bits, batch_size, learning_rate, not by n_train",
            ),
            ({"n_bits": 7}, r"no slice has n_bits=7; there are"),
        ],
    )
    def test_what_is_not_there_is_refused_and_what_is_there_named(self, make, asked, message):
        with pytest.raises(StoreError, match=f"run: {message}"):
            make(lambda unit: False).load(**asked)

    def test_a_unit_that_is_missing_is_named_and_its_seed_left_out(self, make):
        run = make(lambda unit: (unit.alpha, unit.seed) != ("uniform", 0))
        curves = run.load()
        assert places(curves) == {"alpha": [-1, 0.2], "n_train": [np.inf], "seed": [1]}
        [missing] = [unit.id for unit in run.study.units() if not run.is_done(unit)]
        assert (curves.attrs["units_missing"], curves.attrs["missing_units"]) == (1, missing)
        check_values(run, curves)
        whole = run.load(alpha=0.2)
        assert places(whole)["seed"] == [0, 1]
        assert whole.attrs["units_missing"] == 0

    def test_with_one_seed_a_missing_unit_leaves_the_other_alphas_readable(self, make):
        run = make(lambda unit: unit.alpha == 0.2, seed=7)
        curves = run.load()
        assert places(curves) == {"alpha": [0.2], "n_train": [np.inf], "seed": [7]}
        assert curves.attrs["missing_units"] == run.study.units()[1].id
        check_values(run, curves)
        message = f"run: 0 of 1 units are done and no seed is complete; .* such as {run.study.units()[1].id}"
        with pytest.raises(StoreError, match=message):
            run.load(alpha="uniform")

    def test_slices_without_a_seed_in_common_must_be_chosen(self, make):
        run = make(lambda unit: (unit.alpha == 0.2) == (unit.seed == 0))
        match = r"run: one slice must be chosen of alpha=0\.2, n_subtasks=4; alpha=uniform, n_subtasks=4"
        with pytest.raises(StoreError, match=match):
            run.load()
        assert places(run.load(alpha="uniform"))["seed"] == [1]

    def test_a_seed_must_be_done_at_every_n_train(self, make):
        run = make(lambda unit: unit.seed == 1 or unit.n_train == 10, n_train=["online", 10])
        assert places(run.load()) == {"alpha": [-1, 0.2], "n_train": [10, np.inf], "seed": [1]}
        assert run.load().attrs["units_missing"] == 2

    def test_nothing_is_done(self, make):
        run = make(lambda unit: False)
        message = f"run: 0 of 4 units are done and no seed is complete; .* such as {run.study.units()[0].id}"
        with pytest.raises(StoreError, match=message):
            run.load()


class TestSplit:
    def test_hands_out_every_slice_with_its_condition(self, make):
        run = make()
        found = list(run.split())
        assert [condition for condition, _ in found] == [
            {"alpha": 0.2, "n_subtasks": 4},
            {"alpha": "uniform", "n_subtasks": 4},
        ]
        for condition, curves in found:
            xr.testing.assert_identical(curves, run.load(**condition))

    def test_each_has_the_seeds_that_are_complete_in_it(self, make):
        run = make(lambda unit: (unit.alpha, unit.seed) != ("uniform", 0))
        found = [(places(curves)["seed"], curves.attrs["units_missing"]) for _, curves in run.split()]
        assert found == [([0, 1], 0), ([1], 1)]

    def test_a_slice_of_which_nothing_can_be_read(self, make):
        run = make(lambda unit: unit.alpha == 0.2)
        assert [condition["alpha"] for condition, _ in run.split()] == [0.2]
        _, empty = run.slices()
        assert empty.condition == {"alpha": "uniform", "n_subtasks": 4}
        assert empty.complete == ()
        assert empty.missing == empty.units == tuple(run.study.units()[2:])

    def test_nothing_at_all(self, make):
        run = make(lambda unit: False)
        with pytest.raises(StoreError, match="run: 0 of 4 units are done"):
            run.split()


SEVERAL = {
    "alpha": 0.2,
    "task": {"n_subtasks": [4, 5], "n_bits": 6, "k": 1},
    "training": {"steps": 2, "batch_size": 16, "learning_rate": [0.1, 0.01]},
}


class TestSections:
    """Conditions that stand in the sections of a study."""

    def test_are_named_where_there_are_several_values(self, make):
        run = make(**SEVERAL)
        expected = [
            {"alpha": 0.2, "n_subtasks": n_subtasks, "learning_rate": rate}
            for n_subtasks in (4, 5)
            for rate in (0.1, 0.01)
        ]
        assert [each.condition for each in run.slices()] == expected
        found = list(run.split())
        assert [condition for condition, _ in found] == expected
        for condition, curves in found:
            assert curves.sizes["subtask"] == condition["n_subtasks"]
            xr.testing.assert_identical(curves, run.load(**condition))
        assert not found[0][1]["loss"].equals(found[1][1]["loss"])

    def test_must_be_chosen(self, make):
        run = make(**SEVERAL)
        with pytest.raises(StoreError, match="one slice must be chosen of alpha=0"):
            run.load()
        with pytest.raises(StoreError, match=r"chosen .* learning_rate=0\.1; .* learning_rate=0\.01$"):
            run.load(n_subtasks=5)
        assert run.load(n_subtasks=5, learning_rate=0.01).sizes["subtask"] == 5

    def test_a_unit_that_is_missing_is_in_the_way_of_its_slice_alone(self, make):
        run = make(lambda unit: (unit.task.n_subtasks, unit.seed) != (5, 1), **SEVERAL)
        found = [(c["n_subtasks"], places(curves)["seed"]) for c, curves in run.split()]
        assert found == [(4, [0, 1]), (4, [0, 1]), (5, [0]), (5, [0])]

    def test_alphas_come_together_at_one_value_of_the_others(self, make):
        run = make(**SEVERAL | {"alpha": [0.2, "uniform"]})
        curves = run.load(n_subtasks=4, learning_rate=0.1)
        assert places(curves)["alpha"] == [-1, 0.2]

    def test_grouping_needs_no_study(self):
        small = StudySpec.parse(TINY | {"alpha": 0.2}).units()
        large = StudySpec.parse(TINY | {"alpha": 0.2, "task": {"n_subtasks": 5, "n_bits": 6, "k": 1}}).units()
        slices = group([*small, *large], [*small, *large])
        with pytest.raises(StoreError, match=r"of alpha=0\.2, n_subtasks=4; alpha=0\.2, n_subtasks=5$"):
            units_to_read(slices)
        assert units_to_read(choose(slices, {"n_subtasks": 5})) == large
