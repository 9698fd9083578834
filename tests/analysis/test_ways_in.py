"""Every public function that takes Curves sees a checked dataset, whoever made it."""

import inspect

import pytest
import xarray as xr

from quanta import analysis
from quanta.curves.conversion import as_curves
from quanta.curves.dataset import load_curves, save_curves
from quanta.curves.schema import CurvesError

ARGUMENTS = {"axis": analysis.N, "tau": 0.1, "alpha": 0.4, "metric": "loss", "width": None}
"""What a function may ask for besides."""


def functions_of_curves():
    """Public functions whose first argument is a dataset, and what else they must have."""
    for name in analysis.__all__:
        found = getattr(analysis, name)
        if not inspect.isfunction(found):
            continue
        first, *others = inspect.signature(found).parameters.values()
        needed = {
            each.name for each in others if each.default is each.empty and each.kind != each.VAR_KEYWORD
        }
        takes_curves = "Dataset" in str(first.annotation) and first.name != "times"
        if takes_curves and needed <= ARGUMENTS.keys():
            yield name, needed


FUNCTIONS = list(functions_of_curves())


def test_there_are_many():
    assert len(FUNCTIONS) > 15
    assert {"judge", "measure", "select", "learning_times", "plot_loss"} <= {name for name, _ in FUNCTIONS}


@pytest.mark.parametrize(("name", "needed"), FUNCTIONS)
class TestRefused:
    def call(self, name, needed, curves):
        return getattr(analysis, name)(curves, **{each: ARGUMENTS[each] for each in needed})

    @pytest.mark.parametrize(
        ("wrong", "message"),
        [
            (lambda c: c.isel(seed=[0, 0, 0]), "seed: expected each value once, found 0 after 0"),
            (
                lambda c: xr.concat([c, c], "seed", data_vars="minimal"),
                "seed: expected each value once, found 0 after 0",
            ),
            (lambda c: c.isel(subtask=slice(0, 3)), "frequency: expected a sum of 1"),
            (lambda c: c.assign_coords(step=c["step"] / 7), "step: expected whole numbers, found"),
        ],
        ids=["a seed three times", "seeds joined with themselves", "a part of the subtasks", "epochs"],
    )
    def test_what_is_no_slice_of_a_sweep(self, name, needed, brief, wrong, message):
        with pytest.raises(CurvesError, match=message):
            self.call(name, needed, wrong(brief))


def test_what_lies_in_a_file_is_judged_as_what_was_loaded(brief, tmp_path):
    save_curves(brief, tmp_path / "a.nc")
    expected = analysis.judge(analysis.select(load_curves(tmp_path / "a.nc")), taus=())
    for chunks in ({}, None):
        with xr.open_dataset(tmp_path / "a.nc", engine="h5netcdf", chunks=chunks) as lazy:
            assert analysis.judge(analysis.select(lazy), taus=()) == expected
            assert analysis.judge(as_curves(lazy), taus=()) == expected
