import math

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from quanta.curves.dataset import make_curves
from quanta.curves.schema import CurvesError
from quanta.curves.tables import curves_from_table
from quanta.tasks.frequencies import uniform_frequencies, zipf_frequencies

P = zipf_frequencies(3, 0.4)
STEPS = np.array([0, 10, 100, 1000])
LOSS = np.random.default_rng(0).uniform(0.1, 1, (2, 2, 4, 3))


def rows(loss=LOSS, steps=STEPS):
    """Rows of seeds 0 and 1, widths 4 and 8."""
    found = [
        {
            "seed": s,
            "width": (4, 8)[w],
            "n_parameters": (50, 98)[w],
            "step": steps[t],
            "subtask": k + 1,
            "frequency": P[k],
            "loss": loss[s, w, t, k],
            "note": "x",
        }
        for s, w, t, k in np.ndindex(loss.shape)
        if not math.isnan(loss[s, w, t, k])
    ]
    return pd.DataFrame(found)


EXPECTED = make_curves(
    LOSS, frequency=P, step=STEPS, width=[4, 8], n_parameters=[50, 98], seed=[0, 1], alpha=np.nan
)


@settings(max_examples=20)
@given(st.randoms(use_true_random=False))
def test_rows_in_any_order(random):
    order = list(range(LOSS.size))
    random.shuffle(order)
    xr.testing.assert_allclose(curves_from_table(rows().iloc[order]), EXPECTED)


def test_with_alpha_in_place_of_frequencies():
    found = curves_from_table(rows().drop(columns="frequency"), alpha=0.4, chance=1.0)
    xr.testing.assert_allclose(found, EXPECTED.assign_coords(alpha=[0.4]).assign(chance=found["chance"]))
    np.testing.assert_array_equal(found["chance"], 1)
    flat = curves_from_table(rows(), alpha=-1)
    np.testing.assert_allclose(flat["frequency"][0], uniform_frequencies(3))


def test_in_nats():
    table = rows().assign(loss=lambda t: t["loss"] * math.log(2))
    found = curves_from_table(table, unit="nat", chance=math.log(2))
    xr.testing.assert_allclose(found.drop_vars("chance"), EXPECTED)
    np.testing.assert_allclose(found["chance"], 1)


def test_without_width_the_size_is_that_of_the_model():
    found = curves_from_table(rows().drop(columns="width"))
    assert found["width"].values.tolist() == [50, 98]


def test_without_the_number_of_parameters_the_width_stands_for_it():
    found = curves_from_table(rows().drop(columns="n_parameters"))
    assert found["n_parameters"].values.tolist() == [4, 8]


def test_several_alphas_and_no_frequencies():
    table = pd.concat([rows().assign(alpha=alpha) for alpha in (0.4, -1, 1.2)]).drop(columns="frequency")
    found = curves_from_table(table, offset=2)
    assert found["alpha"].values.tolist() == [-1, 0.4, 1.2]
    expected = [uniform_frequencies(3), zipf_frequencies(3, 0.4, 2), zipf_frequencies(3, 1.2, 2)]
    np.testing.assert_allclose(found["frequency"], expected)


def test_alpha_is_said_once():
    with pytest.raises(CurvesError, match="alpha: expected a column or one number for all, found both"):
        curves_from_table(rows().assign(alpha=0.4), alpha=0.4)


def test_an_offset_is_of_frequencies_that_follow_from_alpha():
    with pytest.raises(CurvesError, match="offset: expected beside an alpha, found a column frequency"):
        curves_from_table(rows(), offset=1)


def test_rows_scattered_over_a_huge_grid():
    n = 3000
    scattered = dict.fromkeys(("seed", "width", "step"), np.arange(n))
    table = pd.DataFrame({**scattered, "subtask": 1, "n_parameters": np.arange(n), "loss": 0.5})
    with pytest.raises(
        CurvesError, match="expected rows that fill a grid, found 3000 in one of 27000000000 p"
    ):
        curves_from_table(table, alpha=0.4)


def test_a_network_that_is_not_there_is_named():
    table = rows()
    found = curves_from_table(table[(table["seed"] == 0) | (table["width"] == 4)])
    assert found["seed"].values.tolist() == [0]
    assert found.attrs["left_out"] == "seed 1: nothing was measured at width 8"


def test_a_network_that_stopped_early():
    loss = LOSS.copy()
    loss[1, 0, 2:] = np.nan
    found = curves_from_table(rows(loss))
    np.testing.assert_array_equal(np.isnan(found["loss"].values[0, 0]), np.isnan(loss))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda t: t.drop(columns="loss"), "table: expected a column loss, found seed, width"),
        (lambda t: t.drop(columns="frequency"), "table: expected a column frequency, or alpha"),
        (
            lambda t: pd.concat([t, t.iloc[[5]]]),
            "table: expected each place once, found .*seed 0, width 4, step 10, subtask 3 twice",
        ),
        (
            lambda t: t.assign(n_parameters=np.arange(len(t))),
            "n_parameters: expected one value at width 4, found several",
        ),
        (
            lambda t: t[(t["step"] != 10) | (t["width"] != 8)],
            "step: expected the same for each network, found none at 10 for seed 0, width 8; "
            "10 for seed 1, width 8; align",
        ),
        (
            lambda t: t[(t["subtask"] == 1) | (t["seed"] == 0) | (t["width"] == 4) | (t["step"] < 100)],
            "subtask: expected the same at each step, found none of 2, 3 for seed 1, width 8, step 100; "
            "2, 3 for seed 1, width 8, step 1000$",
        ),
        (
            lambda t: t[(t["seed"] == 0) | ~t["step"].isin([0, 10])].assign(n_train=7, alpha=0.4),
            "found none at 0, 10 for seed 1, width 4; 0, 10 for seed 1, width 8; align",
        ),
        (
            lambda t: t.drop(columns=["width", "n_parameters"]),
            "table: expected a column width or n_parameters, found seed, step",
        ),
        (lambda t: t.assign(subtask=t["subtask"] - 1), "subtask: expected 1..3, all of them, found 0"),
        (lambda t: t.assign(width=t["width"] / 10), "width: expected whole numbers, found 0.4"),
        (lambda t: t.assign(step=t["step"].astype(str)), "step: expected numbers, found type string"),
        (lambda t: t.assign(loss=t["loss"] > 0.5), "loss: expected numbers, found type boolean"),
        (
            lambda t: t.assign(subtask=t["subtask"].where(t["subtask"] != 2)),
            "subtask: expected a number in each",
        ),
        (lambda t: pd.concat([t, t[["loss"]]], axis=1), "table: expected each column once, found loss twice"),
        (lambda t: t.iloc[:0], "table: expected at least one row, found none"),
    ],
)
def test_refusals(wrong, message):
    with pytest.raises(CurvesError, match=message):
        curves_from_table(wrong(rows()))


@pytest.mark.parametrize(
    "types",
    [
        {"step": "Int64", "seed": "UInt8", "loss": "Float64", "frequency": "Float64"},
        {"seed": "category", "width": "object", "subtask": "int8"},
    ],
)
def test_types_of_pandas(types):
    found = curves_from_table(rows().astype(types))
    xr.testing.assert_identical(found, curves_from_table(rows()))


def test_what_pandas_marks_as_missing():
    table = rows().astype({"loss": "Float64"})
    last = (table["seed"] == 1) & (table["step"] == 1000)
    found = curves_from_table(table.assign(loss=table["loss"].mask(last)))
    xr.testing.assert_identical(found, curves_from_table(rows()[~last]))


class TestAlign:
    def test_onto_the_steps_of_the_coarsest(self):
        """Losses that are linear in log step are read exactly; beyond its last a network has none."""
        fine = np.array([1, 2, 5, 10, 30, 100])
        coarse = np.array([1, 3, 20, 200])
        tables = []
        for width, n, steps in ((4, 50, fine), (8, 98, coarse)):
            for k in range(3):
                loss = 2 - (k + 1) * np.log(steps) / 20
                tables.append(
                    pd.DataFrame(
                        {
                            "width": width,
                            "n_parameters": n,
                            "step": steps,
                            "subtask": k + 1,
                            "frequency": P[k],
                            "loss": loss,
                        }
                    )
                )
        table = pd.concat(tables)
        with pytest.raises(CurvesError, match="align brings them onto common steps"):
            curves_from_table(table)
        found = curves_from_table(table, align=True)
        assert found["step"].values.tolist() == coarse.tolist()
        expected = 2 - np.arange(1, 4) * np.log(coarse)[:, None] / 20
        np.testing.assert_allclose(found["loss"].values[0, 0, 0, 1], expected, rtol=1e-6)
        np.testing.assert_allclose(found["loss"].values[0, 0, 0, 0, :3], expected[:3], rtol=1e-6)
        assert np.isnan(found["loss"].values[0, 0, 0, 0, 3]).all()

    def test_common_steps_stay_as_they_are(self):
        xr.testing.assert_allclose(curves_from_table(rows(), align=True), EXPECTED)
