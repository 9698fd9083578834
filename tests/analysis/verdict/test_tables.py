import json

import numpy as np
import pytest
from scipy import stats

from quanta.analysis import axes
from quanta.analysis.fits.intervals import mean_over_seeds
from quanta.analysis.learned.budget import PARTS, measure_budget
from quanta.analysis.learned.growth import measure_time_law
from quanta.analysis.learned.times import learning_times, time_bounds
from quanta.analysis.verdict.judge import claims_of
from quanta.analysis.verdict.statistics import TAUS, measure
from quanta.analysis.verdict.tables import (
    compare_along,
    sum_up_budgets,
    tabulate,
    tabulate_time_laws_until,
)
from quanta.tasks.frequencies import zipf_frequencies


@pytest.fixture(scope="module")
def statistics(brief):
    return measure(brief)


@pytest.fixture(scope="module")
def tables(statistics):
    return tabulate(statistics, 0.9)


def columns(row, name):
    return [row[name], row[f"{name}_lower"], row[f"{name}_upper"]]


def interval(values):
    """Mean and Student's interval."""
    mean, error = np.mean(values), np.std(values, ddof=1) / np.sqrt(len(values))
    half = stats.t.ppf(0.95, len(values) - 1) * error
    return pytest.approx([mean, mean - half, mean + half], rel=1e-9, abs=1e-12)


class TestBudget:
    def test_sums_up_what_is_measured(self, statistics):
        for axis, budget in statistics.here.budgets.items():
            found = sum_up_budgets(statistics, 0.9)[axis]
            assert found.exponent == mean_over_seeds(budget.exponent)
            for i, part in enumerate(PARTS):
                assert found.carries[part] == mean_over_seeds(budget.exponents[:, i])
                assert found.shares[part] == mean_over_seeds(budget.shares[:, i])
        ends = measure_budget(statistics.base.traces["N"], weights="ends").shares
        assert sum_up_budgets(statistics, 0.9)["N"].shares_of_ends["count"] == mean_over_seeds(ends[:, 0])

    def test_table(self, tables, statistics):
        table = tables["budget"].set_index(["axis", "part"])
        assert list(table.index) == [(axis, part) for axis in "NS" for part in ("all", *PARTS)]
        budget = statistics.here.budgets["N"]
        assert columns(table.loc["N", "all"], "exponent") == interval(budget.exponent)
        assert columns(table.loc["N", "count"], "exponent") == interval(budget.exponents[:, 0])
        assert columns(table.loc["N", "count"], "share") == interval(budget.shares[:, 0])
        of_parts = table.loc["N"].loc[list(PARTS)]
        assert of_parts["exponent"].sum() == pytest.approx(table.loc["N", "all"]["exponent"], rel=1e-12)
        assert of_parts["share"].sum() == pytest.approx(1, rel=1e-12)
        assert of_parts["share_of_ends"].sum() == pytest.approx(1, rel=1e-12)

    def test_parts_of_the_loss_at_every_place(self, tables, statistics):
        table = tables["loss_parts"]
        known = table.dropna()
        np.testing.assert_allclose(known[list(PARTS)].sum(axis=1), known["loss"], rtol=1e-12)
        along = table[(table["axis"] == "N") & (table["seed"] == 1)]
        assert along["x"].tolist() == statistics.base.left.n_parameters.tolist()
        np.testing.assert_allclose(along["loss"], statistics.base.traces["N"].mean_loss[1], rtol=1e-12)
        assert set(table["axis"]) == {"N", "S"}


class TestSensitivity:
    def test_rows(self, tables):
        table = tables["sensitivity"]
        assert list(zip(table["choice"], table["value"], strict=True)) == [
            *[("tau", f"{tau:g}") for tau in TAUS],
            *[("falling", value) for value in ("0.05", "0.1", "0.2")],
            ("weights", "ends"),
        ]

    def test_of_each_tau(self, tables, statistics):
        for tau, (_, row) in zip(TAUS, tables["sensitivity"].iterrows(), strict=False):
            here = statistics.by_tau[tau]
            assert row["n_learned"] == here.n_learned[:, -1].mean()
            assert columns(row, "beta") == interval(here.time_laws["S"].beta)
            gamma = here.mean_gamma(0.9)
            assert columns(row, "gamma") == pytest.approx([gamma.estimate, gamma.lower, gamma.upper])
            shares = here.budgets["N"].shares
            assert columns(row, "count") == interval(shares[:, 0])
            assert columns(row, "with_falling") == interval(shares[:, 0] + shares[:, 2])

    def test_of_the_other_choices(self, tables, statistics):
        rows = tables["sensitivity"].set_index(["choice", "value"])
        one = statistics.base.traces["N"]
        for choice, budget in {
            ("falling", "0.05"): measure_budget(one, fall=0.05),
            ("falling", "0.2"): measure_budget(one, fall=0.2),
            ("weights", "ends"): measure_budget(one, weights="ends"),
        }.items():
            assert columns(rows.loc[choice], "count") == interval(budget.shares[:, 0])
        # The usual choice is that of the verdict.
        usual = rows.loc["falling", "0.1"]
        assert columns(usual, "count") == columns(rows.loc["tau", "0.1"], "count")
        assert np.isnan(usual["beta"])

    def test_is_about_the_claims(self, tables, statistics):
        claims = {(one.axis, one.name): one for one in claims_of(statistics.here, "growth", 0.9)}
        row = tables["sensitivity"].set_index(["choice", "value"]).loc["tau", "0.1"]
        for claim, name in ((("S", "learning time"), "beta"), (("N", "room"), "gamma")):
            found = claims[claim]
            assert columns(row, name) == pytest.approx([found.statistic, found.lower, found.upper])


class TestTimeLaws:
    def test_at_every_width(self, tables, brief):
        table = tables["learning_times"]
        assert table["width"].tolist() == brief["width"].values.tolist()
        times, p = learning_times(brief), brief["frequency"].values
        for i, (_, row) in enumerate(table.iterrows()):
            law = measure_time_law(p, *time_bounds(times, i))
            if np.isfinite(law.beta).all():
                assert columns(row, "beta") == interval(law.beta)
                assert row["sigma"] == pytest.approx(law.scatter.mean())
            else:
                assert np.isnan(row["beta"])
        widest = table.iloc[-1]
        assert columns(widest, "later") == interval(law.later)
        assert columns(widest, "first") == interval(law.first)

    def test_had_training_ended_earlier(self, statistics, brief):
        table = tabulate_time_laws_until(statistics, 0.9, n_steps=6)
        assert table["step"].is_monotonic_increasing
        assert table["step"].iloc[-1] == brief["step"][-1]
        for _, row in table.iterrows():
            cut = brief.isel(step=brief["step"].values <= row["step"])
            law = measure_time_law(cut["frequency"].values, *time_bounds(learning_times(cut)))
            expected = mean_over_seeds(law.beta).estimate
            assert row["beta"] == pytest.approx(expected, rel=1e-4, nan_ok=True)
        # Time is the limit, and the law is true: the slope does not move with the end of training.
        known = table["beta"].dropna()
        assert known.size >= 3
        assert known.between(0.8, 1.2).all()

    def test_nothing_learned(self, slice_of):
        nothing = measure(slice_of(np.ones((2, 3, 4, 3)), zipf_frequencies(3, 0.4)), taus=())
        assert tabulate_time_laws_until(nothing, 0.9).empty


def test_drops(tables, statistics):
    (row,) = tables["drops"].to_dict("records")
    drops = statistics.base.drops["loss"]
    assert row["metric"] == "loss"
    assert columns(row, "share") == interval([one.mean_share for one in drops])
    assert columns(row, "factor") == interval([one.median_factor for one in drops])
    assert row["resolved"] == pytest.approx(1, rel=1e-12)
    # Drops of steepness 8: from .9 to .1 in the eighth root of 81, wider by evaluations 30 % apart.
    assert 81 ** (1 / 8) < row["factor"] < 1.4 * 81 ** (1 / 8)


def test_networks_and_widths(tables, brief):
    networks, widths = tables["networks"], tables["widths"]
    assert networks[["seed", "width"]].to_numpy().tolist() == [
        [seed, width] for seed in brief["seed"].values for width in brief["width"].values
    ]
    loss = brief["loss"].values[0, :, :, -1].astype(float) @ brief["frequency"].values
    np.testing.assert_allclose(networks["mean_loss"], loss.ravel(), rtol=1e-5)
    assert (
        networks["n_learned"].tolist() == learning_times(brief)["learned"].values.sum(axis=2).ravel().tolist()
    )
    assert (networks["relapse"] == 0).all()
    assert widths["n_parameters"].tolist() == brief["n_parameters"].values.tolist()
    for row in widths.to_dict("records"):
        group = networks[networks["width"] == row["width"]]
        assert row["n_full"] == group["is_full"].sum()
        assert columns(row, "mean_loss") == interval(group["mean_loss"])
        assert row["n_learned"] == pytest.approx(group["n_learned"].mean())


def test_models(tables, statistics):
    table = tables["models"]
    assert set(table["axis"]) == {"N", "S"}
    for axis in (axes.N, axes.S):
        rivals = compare_along(statistics, axis)
        rows = table[table["axis"] == axis.name]
        assert rows["model"].tolist() == [one.model for one in rivals]
        assert "finite K" in set(rows["model"])
        for (_, row), rival in zip(rows.iterrows(), rivals, strict=True):
            assert json.loads(row["parameters"]) == ({} if rival.fit is None else rival.fit.parameters)


def test_every_table_of_every_poor_slice(slice_of, brief):
    """Nothing learned; everything; one subtask; one seed, one width, one evaluation after the start."""
    nothing = slice_of(np.ones((2, 3, 4, 3)), zipf_frequencies(3, 0.4))
    everything = slice_of(np.full((2, 3, 4, 3), 0.01), zipf_frequencies(3, 0.4))
    one = slice_of(np.linspace(1, 0.01, 30).reshape(1, 5, 6, 1)[:, ::-1], [1.0])
    for curves in (nothing, everything, one, brief.isel(seed=[0], width=[-1], step=[0, 20])):
        found = tabulate(measure(curves), 0.9)
        assert found["networks"].shape[0] == curves.sizes["seed"] * curves.sizes["width"]
        assert found["sensitivity"]["value"].tolist()[:4] == [f"{tau:g}" for tau in TAUS]


def test_columns_hold_numbers_and_text(tables):
    for name, table in tables.items():
        assert table.columns.is_unique
        assert not table.map(lambda value: isinstance(value, dict | list)).any(axis=None), name
