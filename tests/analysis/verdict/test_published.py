"""Estimators are held against numpy's own line and laws that are exact."""

import math
from pathlib import Path

import numpy as np
import pytest

from quanta.analysis.learned.slices import select
from quanta.analysis.verdict.published import (
    OutOfReachError,
    Published,
    Series,
    load_published,
    read_as_published,
)
from quanta.curves.dataset import load_curves, make_curves
from quanta.tasks.frequencies import zipf_frequencies

MICHAUD = Path(__file__).parents[4] / "shared" / "data" / "michaud-alpha04.nc"
K = 20
P = zipf_frequencies(K, 0.4)
STEPS = np.arange(0, 100_001, 500)
WIDTHS = np.array([10, 30, 100, 300, 500])
N = 603 * WIDTHS + 2

PARAMETERS, STEPS_300, STEPS_500, DATA, BETA = load_published().series


def curves_of(mean_loss, *, step=STEPS, width=WIDTHS, **axes):
    """Curves all of whose subtasks have this loss, of shape (..., W, T)."""
    loss = np.repeat(np.asarray(mean_loss)[..., None], K, axis=-1)
    made = make_curves(
        loss, frequency=P, step=step, width=width, n_parameters=603 * np.asarray(width) + 2, alpha=0.4, **axes
    )
    return select(made)


def power_of_step(exponent, step=STEPS, n_seeds=1):
    """L = (S / 100)^-exponent at every width, a little otherwise in each seed."""
    one = np.maximum(step / 100, 1.0) ** -exponent
    return np.stack([np.tile(one ** (1 + 0.1 * seed), (len(WIDTHS), 1)) for seed in range(n_seeds)])


def slope(x, y):
    return -np.polyfit(np.log(x), np.log(y), 1)[0]


class TestTable:
    def test_it_is_what_the_paper_gives(self):
        table = load_published()
        assert isinstance(table, Published)
        assert "arXiv:2303.13506" in table.source
        assert table.settings["n_subtasks"] == 500
        by_exponent = [(one.exponent, one.at(0.4)) for one in table.series]
        assert by_exponent == [
            ("alpha_N", 0.38),
            ("alpha_S", 0.346),
            ("alpha_S", 0.45),
            ("alpha_D", 0.308),
            ("beta", 0.81),
        ]
        for one in (PARAMETERS, STEPS_300, DATA):
            assert one.alpha == (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
            assert len(one.value) == 8
            assert list(one.value)[1:] == sorted(one.value[1:])

    def test_values_at_other_alphas_are_not_made_up(self):
        assert STEPS_300.at(0.1 + 0.2) == 0.307
        assert STEPS_500.at(0.3) is None
        assert PARAMETERS.at(0.35) is None
        assert PARAMETERS.at(math.nan) is None

    def test_where(self):
        assert [one.where for one in load_published().series] == [
            "widths 10-300, step 100000",
            "width 300, steps 500-15000",
            "width 500, steps 400-9000",
            "width 500, D 10000-5000000",
            "width 500",
        ]


class TestAlongParameters:
    def test_a_law_of_parameters_at_one_step(self):
        """Only widths in the window count, and only the loss at its step."""
        loss = np.ones((len(WIDTHS), len(STEPS))) * (N[:, None] / N[0]) ** -0.37
        loss[WIDTHS == 500] = 0.9
        loss[:, STEPS < 100_000] = 0.5
        found = read_as_published(curves_of(loss), PARAMETERS, None)
        assert found == pytest.approx([0.37], abs=1e-6)

    def test_training_went_on(self):
        step = np.array([0, 10_000, 100_000, 200_000])
        loss = (N[:, None] / N[0]) ** -np.array([0.0, 0.1, 0.3, 0.6])
        found = read_as_published(curves_of(loss, step=step), PARAMETERS, None)
        assert found == pytest.approx([0.3], abs=1e-6)

    @pytest.mark.parametrize(
        ("width", "step", "reason"),
        [
            ([20, 100, 300], STEPS, r"the widths are 20\.\.300"),
            ([10, 100, 250], STEPS, r"the widths are 10\.\.250"),
            ([10, 300], STEPS, "2 widths lie in it"),
            ([10, 100, 300], STEPS[:21], "the last evaluation is at step 10000"),
        ],
    )
    def test_out_of_reach(self, width, step, reason):
        curves = curves_of(np.full((len(width), len(step)), 0.5), width=width, step=step)
        with pytest.raises(OutOfReachError, match=reason):
            read_as_published(curves, PARAMETERS, None)


class TestAlongSteps:
    def test_a_law_is_read_exactly_however_one_looks(self):
        curves = curves_of(power_of_step(0.3, n_seeds=2), seed=[0, 1])
        for series in (STEPS_300, STEPS_500):
            for every in (None, 500):
                found = read_as_published(curves, series, every)
                assert found == pytest.approx([0.3, 0.33], abs=1e-6)

    def test_where_it_bends_window_and_spacing_decide(self):
        """As numpy reads it at the points that were meant."""
        step = np.unique(np.geomspace(1, 100_000, 400).round().astype(int))
        one = 1 / (1 + step / 2000)
        curves = curves_of(np.tile(one, (len(WIDTHS), 1)), step=step)
        inside = (step >= 500) & (step <= 15_000)
        own = read_as_published(curves, STEPS_300, None)
        assert own == pytest.approx([slope(step[inside], one[inside])], abs=1e-5)
        even = np.arange(500, 15_001, 500)
        spaced = read_as_published(curves, STEPS_300, 500)
        assert spaced == pytest.approx([slope(even, 1 / (1 + even / 2000))], abs=1e-3)
        assert spaced[0] > own[0] + 0.05

    def test_a_run_that_was_last_logged_before_its_end_reaches_it(self):
        step = np.arange(0, 15_000, 100)  # as the paper's code logs 15,000 steps
        curves = curves_of(power_of_step(0.3, step), step=step)
        assert read_as_published(curves, STEPS_300, 500)[0] == pytest.approx(0.3, abs=2e-3)

    @pytest.mark.parametrize(
        ("width", "step", "reason"),
        [
            ([10, 100], STEPS, "there is no width 300; the widest is 100"),
            ([300], STEPS[:29], "the last evaluation is at step 14000"),
            (
                [300],
                [0, 1000, 5000, 10_000, 15_000],
                "4 evaluations lie in it, the first of all at step 1000",
            ),
            ([300], [0, 100, 600, 20_000], "1 evaluations lie in it"),
        ],
    )
    def test_out_of_reach(self, width, step, reason):
        curves = curves_of(np.full((len(width), len(step)), 0.5), width=width, step=step)
        with pytest.raises(OutOfReachError, match=reason):
            read_as_published(curves, STEPS_300, 500)

    def test_a_seed_that_stopped_early_is_not_known(self):
        loss = power_of_step(0.3, n_seeds=2)
        loss[1, :, 20:] = np.nan
        found = read_as_published(curves_of(loss, seed=[0, 1]), STEPS_300, 500)
        assert found[0] == pytest.approx(0.3, abs=1e-6)
        assert math.isnan(found[1])

    def test_of_finite_data_there_is_none(self):
        curves = curves_of(np.full((1, 1, len(WIDTHS), len(STEPS)), 0.5), n_train=[1000])
        with pytest.raises(OutOfReachError, match="no batch was fresh"):
            read_as_published(curves, STEPS_300, 500)


class TestAlongData:
    SIZES = np.array([1e4, 1e5, 1e6, 5e6])

    def curves(self, at_lowest):
        """Networks whose loss is lowest at their third evaluation."""
        loss = np.asarray(at_lowest)[:, None] * np.array([1.9, 1.5, 1.0, 1.3])
        loss = np.tile(loss[:, None, None, :], (1, 1, len(WIDTHS), 1))
        return curves_of(loss, step=[0, 10, 20, 30], n_train=self.SIZES)

    def test_a_law_of_the_lowest_loss(self):
        found = read_as_published(self.curves(0.5 * (self.SIZES / 1e4) ** -0.31), DATA, None)
        assert found == pytest.approx([0.31], abs=1e-6)

    def test_it_begins_where_something_is_learned(self):
        law = 0.9 * (self.SIZES / 1e5) ** -0.31
        law[0] = 0.96
        assert read_as_published(self.curves(law), DATA, None) == pytest.approx([0.31], abs=1e-6)

    def test_out_of_reach(self):
        online = curves_of(np.full((len(WIDTHS), len(STEPS)), 0.5))
        with pytest.raises(OutOfReachError, match="all batches are fresh"):
            read_as_published(online, DATA, None)
        few = self.curves(np.full(4, 0.5)).isel(n_train=[0, 1])
        with pytest.raises(OutOfReachError, match=r"D is 10000\.\.100000"):
            read_as_published(few, DATA, None)


def test_learning_times_of_the_learned_alone():
    step = np.unique(np.geomspace(1, 1e6, 600).round().astype(int))
    at = 50 * P**-0.81
    at[8:] = np.inf
    loss = np.where(step[:, None] >= at, 0.05, 1.0)
    curves = select(
        make_curves(loss[None], frequency=P, step=step, width=[500], n_parameters=[301_502], alpha=0.4)
    )
    assert read_as_published(curves, BETA, None) == pytest.approx([0.81], abs=0.01)


@pytest.mark.skipif(not MICHAUD.is_file(), reason="the curves of the paper's own size are not here")
def test_known_readings_at_the_papers_own_size():
    curves = select(load_curves(MICHAUD))

    def read(series, every=None):
        return round(float(read_as_published(curves, series, every)[0]), 3)

    assert read(PARAMETERS) == 0.392
    for window, known in {
        (500, 15_000): (0.315, 0.344),
        (400, 9000): (0.352, 0.371),
        (500, 100_000): (0.229, 0.279),
    }.items():
        series = Series("alpha_S", "", (), (), width=300, window=window)
        assert (read(series, 500), read(series)) == known
