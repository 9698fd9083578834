import numpy as np
import pytest
from drawn import bars, labels, line, texts, title

from quanta.analysis.axes import D, N, S
from quanta.analysis.figures import style
from quanta.analysis.figures.beta import plot_beta
from quanta.analysis.figures.times import plot_drift, plot_learning_times
from quanta.analysis.fits.intervals import mean_over_seeds
from quanta.analysis.theories.domino import Domino
from quanta.analysis.theories.quanta import Quanta
from quanta.analysis.verdict.predictions import observe
from quanta.analysis.verdict.statistics import measure
from quanta.analysis.verdict.tables import tabulate_time_laws, tabulate_time_laws_until
from quanta.tasks.frequencies import zipf_frequencies


def points(lines):
    """The points of some lines, in order."""
    xy = np.concatenate([np.column_stack(one.get_data()).reshape(-1, 2) for one in lines])
    return xy[np.lexsort(xy.T)]


@pytest.fixture(scope="module")
def two_laws(slice_of):
    """Two seeds in which S_k ∝ p_k^-0.8 for the first 12 ranks and p_k^-1.3 for the last 12."""
    p = zipf_frequencies(24, 0.4)
    at = 50 * p ** np.where(np.arange(24) < 12, -0.8, -1.3) * np.where(np.arange(24) < 12, 1, p[11] ** 0.5)
    step = np.unique(np.geomspace(1, 5e4, 500).astype(int))
    loss = np.where(step[:, None] < at, 1.0, 0.01) * np.ones((2, 1, 1, 1))
    return measure(slice_of(loss, p, step=step, width=[64]))


class TestLearningTimes:
    def test_every_subtask_of_every_seed_is_marked_once(self, stopped):
        ax = plot_learning_times(stopped)
        p = stopped.base.left.frequency
        times = stopped.here.times.sel(width=40)
        marks = {marker: points([o for o in ax.lines if o.get_marker() == marker]) for marker in "ov^"}
        known = times["learned"].values & (times["step_lower"] > 0).values
        x, y = np.broadcast_to(p, (2, 4))[known], times["step"].values[known]
        order = np.lexsort((x, y))
        np.testing.assert_allclose(marks["o"], np.column_stack([x, y])[order])
        # Seed 0 knew subtask 1 by step 1 and never learned 4; seed 1 stopped at 100 without 3 and 4.
        np.testing.assert_allclose(marks["v"], [[p[0], 1]])
        np.testing.assert_allclose(marks["^"], [[p[3], 100], [p[2], 100], [p[3], 1000]])
        assert labels(ax)[:3] == ["learned", "learned by the first evaluation", "not learned by the last"]

    @pytest.mark.parametrize("kind", ["world", "one seed"])
    def test_line_is_learning_all_at_once_at_the_fitted_constant(self, worlds, kind):
        ax = plot_learning_times(worlds[kind])
        x, y = line(ax, "β = 1").get_data()
        np.testing.assert_allclose(x * y, Quanta.fit(observe(worlds[kind].here)).learning_time)
        np.testing.assert_allclose(x * y, 100, rtol=0.1)  # the world is S_k = 100 / p_k
        assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
        assert (ax.get_xlabel(), ax.get_ylabel()) == ("frequency p$_k$", "optimisation step learned S$_k$")
        seeds = "3 seeds" if kind == "world" else "seed 0"
        assert title(ax) == f"width 128, {seeds}"

    def test_two_laws_are_seen_at_once(self, two_laws):
        ax = plot_learning_times(two_laws)
        parts = [one for one in ax.lines if one.get_linewidth() == 2]
        slopes = [-np.diff(np.log(one.get_ydata())) / np.diff(np.log(one.get_xdata())) for one in parts]
        assert np.ravel(slopes) == pytest.approx([0.8, 0.8, 1.3, 1.3], abs=0.03)
        quarters = two_laws.here.time_laws["S"].quarters.mean(axis=0)
        assert np.ravel(slopes) == pytest.approx(quarters)
        assert parts[-1].get_label() == "β of quarters: " + ", ".join(f"{beta:.2f}" for beta in quarters)
        # They lie on the points.
        p, at = two_laws.base.left.frequency, two_laws.here.times["step"].isel(seed=0, width=0).values
        for i, one in enumerate(parts):
            x, y = one.get_data()
            own = slice(6 * i, 6 * i + 6)
            fitted = np.exp(np.interp(np.log(p[own]), np.log(x[::-1]), np.log(y[::-1])))
            np.testing.assert_allclose(fitted, at[own], rtol=0.03)

    def test_beta_is_that_of_the_statistics(self, world):
        beta = mean_over_seeds(world.here.time_laws["S"].beta, 0.8)
        assert f"all: β = {style.interval(beta)}" in labels(plot_learning_times(world, confidence=0.8))

    def test_halves_where_there_are_too_few_for_quarters(self, quanta_world):
        # Eight are learned: enough for two halves of three and more.
        statistics = measure(quanta_world(n_subtasks=8, scatter=0.3))
        law = statistics.here.time_laws["S"]
        halves = ", ".join(f"{beta:.2f}".replace("-", "−") for beta in (law.first.mean(), law.later.mean()))
        assert f"β of halves: {halves}" in labels(plot_learning_times(statistics))

    def test_along_data(self, data_world):
        ax = plot_learning_times(data_world, axis=D)
        assert ax.get_ylabel() == "training examples learned D$_k$"
        learned = points([one for one in ax.lines if one.get_marker() == "o"])
        assert len(learned) == 2 * sum(data_world.base.left.frequency * 12800 >= 200)
        assert "not learned with the most" in labels(ax)

    def test_no_slope_under_equal_frequencies(self, worlds):
        assert not [label for label in labels(plot_learning_times(worlds["uniform"])) if "β" in label]

    def test_no_evaluation_is_said(self, worlds):
        assert texts(plot_learning_times(worlds["step 0 alone"])) == ["no evaluation after step 0"]


class TestDrift:
    def test_product_of_every_seed_against_rank(self, world):
        ax = plot_drift(world)
        network = world.here.times.isel(width=-1).transpose("seed", "subtask")
        product = (network["step"] * network["frequency"]).values
        for drawn, of_seed in zip(ax.lines, product, strict=False):
            known = np.isfinite(of_seed)
            np.testing.assert_array_equal(drawn.get_xdata(), np.flatnonzero(known) + 1)
            np.testing.assert_allclose(drawn.get_ydata(), of_seed[known])
        assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
        assert (ax.get_xlabel(), ax.get_ylabel()) == ("subtask (frequency rank)", "S$_k$ p$_k$ (steps)")

    def test_quarters_are_level_under_one_law_and_not_under_two(self, worlds, two_laws):
        level = line(plot_drift(worlds["one seed"]), "quarters of the ranks learned").get_ydata()
        np.testing.assert_allclose(level, 100, rtol=0.03)  # the world is S_k = 100 / p_k
        drifting = line(plot_drift(two_laws), "quarters of the ranks learned").get_ydata()
        # With β below 1 it falls with the rank, with β above it rises.
        assert drifting[1] < 0.9 * drifting[0]
        assert drifting[3] > 1.05 * drifting[2]
        p = two_laws.base.left.frequency
        at = two_laws.here.times["step"].isel(width=0).values
        np.testing.assert_allclose(drifting, np.exp(np.log(at * p).reshape(2, 4, 6).mean(axis=(0, 2))))

    def test_beta_of_the_halves_is_that_of_the_statistics(self, two_laws, world):
        assert "β of halves: 0.80 [0.80, 0.80], 1.30 [1.30, 1.30]" in labels(plot_drift(two_laws))
        law = world.here.time_laws["S"]
        said = ", ".join(style.interval(mean_over_seeds(half, 0.8)) for half in (law.first, law.later))
        assert f"β of halves: {said}" in labels(plot_drift(world, confidence=0.8))

    def test_what_is_not_learned_is_a_bound_and_opens_the_quarter(self, world, two_laws):
        ax = plot_drift(world)
        bounds = line(ax, "not learned by then")
        network = world.here.times.isel(width=-1).transpose("seed", "subtask")
        last = int(np.flatnonzero(network["learned"].any("seed").values).max()) + 1
        missing = (~network["learned"].values)[:, :last]
        assert len(bounds.get_xdata()) == missing.sum() > 0
        rank = bounds.get_xdata().astype(int)
        np.testing.assert_allclose(bounds.get_ydata(), 20000 * network["frequency"].values[rank - 1])
        some = line(ax, "quarters with subtasks not learned").get_xdata()
        places = line(ax, "quarters of the ranks learned").get_xdata()
        has_gap = np.zeros(4, dtype=bool)
        for learned in network["learned"].values:
            ranks = np.flatnonzero(learned)
            ends = np.linspace(0, ranks.size, 5).round().astype(int)
            for part in range(4):
                own = ranks[ends[part] : ends[part + 1]]
                has_gap[part] |= not learned[own[0] : own[-1]].all()
        assert 0 < has_gap.sum() < 4
        assert some.tolist() == places[has_gap].tolist()
        assert "quarters with subtasks not learned" not in labels(plot_drift(two_laws))

    def test_serial_learning_has_its_own_slope(self, world):
        ax = plot_drift(world)
        x, y = line(ax, "one after another: β = 0.71").get_data()
        p, observed = world.base.left.frequency[: x.size], observe(world.here)
        np.testing.assert_allclose(y / (x * p), Domino.fit(observed).learning_time)
        np.testing.assert_allclose(line(ax, "β = 1").get_ydata(), Quanta.fit(observed).learning_time)

    def test_along_data(self, data_world):
        ax = plot_drift(data_world, axis=D)
        assert ax.get_ylabel() == "D$_k$ p$_k$ (examples)"
        # Learned from 200 examples on, between sizes a factor 2 apart.
        assert all(one.get_ydata().min() >= 100 and one.get_ydata().max() <= 400 for one in ax.lines[:2])

    def test_says_what_is_missing(self, worlds):
        assert texts(plot_drift(worlds["nothing learned"])) == ["nothing seen being learned"]
        assert "too few learned for β of halves" in labels(plot_drift(worlds["stopped"]))


class TestBeta:
    @pytest.mark.parametrize(("axis", "column"), [(S, "step"), (N, "n_parameters")], ids=["S", "N"])
    def test_draws_the_table(self, world, axis, column):
        ax = plot_beta(world, axis=axis, confidence=0.8)
        table = (tabulate_time_laws_until if axis == S else tabulate_time_laws)(world, 0.8)
        series = {"first half of the ranks": "first", "all ranks": "beta", "later half of the ranks": "later"}
        for (label, name), intervals in zip(series.items(), ax.collections, strict=True):
            rows = table[table[name].notna()]
            assert len(rows) >= 2
            drawn = line(ax, label)
            np.testing.assert_allclose(drawn.get_xdata(), rows[column].to_numpy(float), rtol=0.05)
            np.testing.assert_allclose(drawn.get_ydata(), rows[name])
            np.testing.assert_allclose(
                bars(intervals), rows[[f"{name}_lower", f"{name}_upper"]].astype(float)
            )

    def test_names_its_axes_and_where_beta_has_to_lie(self, world):
        ax = plot_beta(world)
        assert (ax.get_xlabel(), ax.get_ylabel()) == (
            "step at which training ends",
            "β in S$_k$ ∝ p$_k$$^{-β}$",
        )
        assert plot_beta(world, axis=N).get_xlabel() == "parameters N"
        (band,) = ax.patches
        assert (band.get_y(), band.get_y() + band.get_height()) == pytest.approx((0.9, 1.1))
        assert "β = 1 ± 0.10" in labels(ax)
        assert set(line(ax, "one after another: 0.71").get_ydata()) == {world.base.serial_beta}

    def test_sees_two_laws(self, two_laws):
        ax = plot_beta(two_laws)
        assert line(ax, "first half").get_ydata()[-1] == pytest.approx(0.8, abs=0.03)
        assert line(ax, "later half").get_ydata()[-1] == pytest.approx(1.3, abs=0.03)

    @pytest.mark.parametrize("kind", ["nothing learned", "uniform"])
    @pytest.mark.parametrize("axis", [S, N], ids=["S", "N"])
    def test_too_few_are_said(self, worlds, kind, axis):
        assert texts(plot_beta(worlds[kind], axis=axis)) == ["too few learned to measure β"]


class TestLawsUntil:
    def test_are_those_of_training_that_ended_there(self, quanta_world):
        curves = quanta_world(scatter=0.3)
        table = tabulate_time_laws_until(measure(curves), 0.9)
        assert len(table) >= 8
        assert table["step"].is_monotonic_increasing
        assert table["step"].iloc[-1] == 20000
        for row in table.iloc[[3, -3, -1]].itertuples():
            short = measure(curves.sel(step=slice(0, int(row.step))))
            law = short.here.time_laws["S"]
            assert row.beta == pytest.approx(mean_over_seeds(law.beta).estimate, nan_ok=True)
            assert row.later == pytest.approx(mean_over_seeds(law.later).estimate, nan_ok=True)

    def test_nothing_learned_has_no_rows(self, worlds):
        assert tabulate_time_laws_until(worlds["nothing learned"], 0.9).empty
