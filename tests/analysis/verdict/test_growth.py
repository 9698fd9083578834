import math
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

from quanta.analysis import axes
from quanta.analysis.fits.intervals import mean_over_seeds
from quanta.analysis.learned.growth import TimeLaw
from quanta.analysis.verdict.claims import settle
from quanta.analysis.verdict.growth import (
    beta_window,
    claim_beta,
    claim_gamma,
    claim_order,
    clock_beta,
    nearest_law,
)
from quanta.analysis.verdict.statistics import Base, measure
from quanta.tasks.frequencies import uniform_frequencies, zipf_frequencies

N_SEEDS = 5


def spread(mean, half=0.01, n=N_SEEDS):
    """One value a seed, about a mean."""
    return mean + half * np.linspace(-1, 1, n)


def here_with(*, alpha=0.4, law=None, order=None, expected=None, gamma=None, full=0.8, p=None):
    """Statistics of which only those asked for are there."""
    frequency = zipf_frequencies(64, alpha) if p is None else p
    left = SimpleNamespace(frequency=frequency, n_train=np.array([np.inf]))
    here = SimpleNamespace(base=Base(None, alpha, left, {}, {}))
    if law is not None:
        nothing = np.full(N_SEEDS, np.nan)
        known = {
            "beta": nothing,
            "scatter": spread(0.3),
            "first": nothing,
            "later": nothing,
            "drift": spread(0.0),
        } | law
        here.time_laws = {
            name: TimeLaw(**known, quarters=np.full((N_SEEDS, 4), np.nan), n_learned=np.full(N_SEEDS, 9))
            for name in ("S", "D")
        }
    if order is not None:
        here.concordance_of_widest = np.asarray(order, float)
        here.expected_concordance = np.broadcast_to(np.asarray(expected, float), N_SEEDS)
    if gamma is not None:
        here.gamma, here.gamma_rounding = np.asarray(gamma), 0.01
        here.mean_gamma = partial(mean_over_seeds, here.gamma, shared=here.gamma_rounding)
        here.is_full = np.arange(10) < np.full((N_SEEDS, 1), round(10 * full))
    return here


def settled(claim):
    return settle([claim], 0.9)[0]


class TestOrder:
    @pytest.mark.parametrize(
        ("order", "expected", "holds"),
        [
            (0.98, 0.98, True),
            (0.99, 0.95, True),  # better than expected is no objection
            (0.89, 0.95, True),
            (0.86, 0.95, None),
            (0.82, 0.95, False),
            (0.5, 0.75, False),
            (0.7, 0.75, True),  # as far as the scatter lets them
        ],
    )
    def test_window_is_moved_by_what_the_scatter_leaves(self, order, expected, holds):
        got = settled(claim_order(here_with(order=spread(order, 0.02), expected=expected), 0.9))
        assert got.holds is holds
        assert got.statistic == pytest.approx(order)
        assert got.window == (pytest.approx(expected - 0.1), math.inf)
        assert f"{order:.2f} [" in got.why
        assert f"{expected:.2f}" in got.why

    def test_is_asked_of_the_difference_in_each_seed(self):
        """Seeds that differ in their scatter differ in both."""
        both = spread(0.9, 0.09)
        got = settled(claim_order(here_with(order=both - 0.08, expected=both), 0.9))
        assert got.holds is True
        assert got.upper - got.lower == pytest.approx(0, abs=1e-9)

    def test_equal_frequencies_have_no_order(self):
        got = claim_order(here_with(p=uniform_frequencies(9), alpha=-1, order=spread(0.5), expected=0.9), 0.9)
        assert (got.statistic, got.holds, got.needs) == (None, None, "frequencies that differ")

    def test_too_few_learned(self):
        got = claim_order(here_with(order=spread(np.nan), expected=np.nan), 0.9)
        assert (got.statistic, got.holds, got.needs) == (None, None, "longer training")


class TestBetaWindow:
    @pytest.mark.parametrize(("alpha", "tolerance"), [(0.4, 0.1), (0.8, 0.1), (0.25, 0.1), (0.1, 1 / 22)])
    def test_is_a_tenth_or_half_way_to_the_serial_law(self, alpha, tolerance):
        low, high = beta_window(here_with(alpha=alpha))
        assert (low, high) == (pytest.approx(1 - tolerance), pytest.approx(1 + tolerance))
        assert 1 / (1 + alpha) < low

    def test_without_a_serial_law_it_is_a_tenth(self):
        assert beta_window(here_with(p=uniform_frequencies(9), alpha=-1)) == (0.9, 1.1)


class TestBeta:
    @pytest.mark.parametrize(
        ("beta", "holds"),
        [(1.0, True), (1.08, True), (1.1, None), (1.2, False), (1.3, False), (0.8, False), (1 / 1.4, False)],
    )
    def test_window(self, beta, holds):
        here = here_with(law={"beta": spread(beta), "first": spread(beta, 0.05), "later": spread(beta, 0.03)})
        got = settled(claim_beta(axes.S, here, 0.9))
        assert got.holds is holds
        assert (got.axis, got.name) == ("S", "learning time")
        assert "0.71 one after another" in got.why

    def test_along_data_it_has_a_name_of_its_own(self):
        got = claim_beta(axes.D, here_with(law={"beta": spread(1.0)}), 0.9)
        assert (got.axis, got.name, got.holds) == ("D", "examples needed", True)
        assert "half of the ranks" not in got.why

    @pytest.mark.parametrize(
        ("first", "later", "drift", "holds"),
        [
            (spread(0.8), spread(1.2), spread(0.4), False),  # two laws that cancel
            (spread(0.95), spread(1.05), spread(0.1), None),  # each is allowed, and they differ
            (spread(0.8, 0.3), spread(1.2, 0.3), spread(0.4, 0.6), None),  # it may drift, or not
            (spread(1.0), spread(1.0, 0.05), spread(0.0, 0.1), True),
            (spread(1.0), spread(1.3), spread(0.3), False),
            (spread(np.nan), spread(np.nan), spread(0.3), None),
        ],
    )
    def test_one_beta_must_describe_both_halves(self, first, later, drift, holds):
        here = here_with(law={"beta": spread(1.0), "first": first, "later": later, "drift": drift})
        got = settled(claim_beta(axes.S, here, 0.9))
        assert got.holds is holds
        drifts = stats.ttest_1samp(drift, 0).pvalue < 0.02
        assert ("It drifts with rank" in got.why) == drifts
        assert (f"{first.mean():.2f} [" in got.why) == np.isfinite(first).all()

    @pytest.mark.parametrize(("drift", "holds"), [(0.39, True), (0.41, None)])
    def test_drift_must_be_seen_to_be_small(self, drift, holds):
        """Not only not seen: else fewer seeds would pass more easily."""
        noisy = spread(0.0, drift) * np.sqrt(N_SEEDS) / spread(0.0, 1.0).std(ddof=1)
        noisy /= stats.t.ppf(0.95, N_SEEDS - 1)  # its interval is ± drift
        got = settled(claim_beta(axes.S, here_with(law={"beta": spread(1.0), "drift": noisy}), 0.9))
        assert got.holds is holds

    def test_drift_that_most_seeds_do_not_know(self):
        drift = spread(0.0)
        drift[:3] = np.nan
        got = claim_beta(axes.S, here_with(law={"beta": spread(1.0), "drift": drift}), 0.9)
        assert got.holds is None
        assert "how much it drifts with rank is not known" in got.why

    def test_nothing_learned(self):
        got = claim_beta(axes.S, here_with(law={}), 0.9)
        assert (got.statistic, got.holds, got.needs, got.asked) == (None, None, "longer training", True)
        assert "9 are seen" in got.why

    def test_one_seed(self):
        law = {name: spread(1.0)[:1] for name in ("beta", "scatter", "first", "later", "drift")}
        here = here_with()
        here.time_laws = {"S": TimeLaw(**law, quarters=np.ones((1, 4)), n_learned=np.array([20]))}
        got = settled(claim_beta(axes.S, here, 0.9))
        assert (got.statistic, got.lower, got.holds) == (0.99, None, None)


class TestGamma:
    @pytest.mark.parametrize(
        ("gamma", "holds"), [(1.0, True), (0.85, True), (0.8, None), (0.6, False), (1.4, False)]
    )
    def test_window(self, gamma, holds):
        got = settled(claim_gamma(here_with(gamma=spread(gamma)), 0.9))
        assert got.holds is holds
        assert (got.axis, got.name, got.asked) == ("N", "room", True)
        assert "40 of 50 networks are full" in got.why

    def test_where_room_is_no_limit_it_is_not_asked(self):
        got = claim_gamma(here_with(gamma=np.full(N_SEEDS, np.nan), full=0.2), 0.9)
        assert (got.statistic, got.holds, got.p_fails, got.asked) == (None, None, None, False)
        assert "10 of 50 networks" in got.why


class TestLaws:
    @pytest.mark.parametrize(
        ("c", "betas"),
        [
            (0.0, [1, 1, 1, 1, 1]),
            (0.5, [0.955, 0.917, 0.857, 0.812, 0.778]),
            (1.0, [0.909, 0.833, 0.714, 0.625, 0.556]),
        ],
    )
    def test_clock_known_values(self, c, betas):
        for alpha, beta in zip((0.1, 0.2, 0.4, 0.6, 0.8), betas, strict=True):
            assert clock_beta(alpha, c) == pytest.approx(beta, abs=6e-4)

    def test_clock_of_the_loss_itself_is_serial(self):
        assert clock_beta(0.37, 1.0) == pytest.approx(1 / 1.37, rel=1e-12)

    @pytest.fixture(scope="class")
    @classmethod
    def measured(cls, brief):
        return measure(brief, taus=()).here

    def test_nearest_is_the_true_one_and_by_how_much(self, measured):
        rows = nearest_law(measured, 0.9)
        assert [row["law"] for row in rows] == ["parallel", "clock", "serial", "free", "bent"]
        assert [row["beta"] for row in rows[:3]] == [1.0, clock_beta(0.4), pytest.approx(1 / 1.4)]
        assert rows[3]["beta"] == pytest.approx(measured.time_laws["S"].beta.mean())
        likelihoods = measured.likelihoods([1.0, clock_beta(0.4), measured.base.serial_beta, None])
        betas, curvatures, of_bent = measured.curvature
        likelihoods = np.column_stack([likelihoods, of_bent])
        assert (rows[4]["beta"], rows[4]["curvature"]) == (
            pytest.approx(betas.mean()),
            pytest.approx(curvatures.mean()),
        )
        assert [row["curvature"] for row in rows[:4]] == [0] * 4
        for i, row in enumerate(rows):
            assert row["log_likelihood"] == pytest.approx(likelihoods[:, i].mean())
            behind = likelihoods[:, 0] - likelihoods[:, i]
            assert row["behind"] == pytest.approx(behind.mean(), abs=1e-12)
            if i:
                low, high = stats.ttest_1samp(behind, 0).confidence_interval(0.9)
                assert (row["lower"], row["upper"]) == (pytest.approx(low), pytest.approx(high))
        assert rows[0]["behind"] == 0
        assert 0 < rows[1]["behind"] < rows[2]["behind"]
        assert rows[4]["behind"] <= rows[3]["behind"] <= 0

    def test_serial_times_are_nearest_to_the_serial_law(self, slice_of):
        p, k = zipf_frequencies(40, 0.4), np.arange(1.0, 41)
        steps = np.r_[0, np.unique(np.geomspace(10, 3000, 80).astype(int))]
        at = 50 * k * np.exp(0.1 * np.random.default_rng(0).standard_normal((3, 1, 1, 40)))
        loss = np.where(steps[:, None] < at, 1.0, 0.01)
        here = measure(slice_of(loss, p, step=steps), taus=()).here
        assert nearest_law(here, 0.9)[0]["law"] == "serial"

    def test_equal_frequencies_have_parallel_learning_alone(self, uniform):
        rows = nearest_law(measure(uniform.isel(seed=[0, 1]), taus=()).here, 0.9)
        assert [row["law"] for row in rows] == ["parallel", "free", "bent"]

    def test_nothing_learned_has_no_likelihood(self, slice_of):
        here = measure(slice_of(np.ones((2, 1, 3, 9)), zipf_frequencies(9, 0.4)), taus=()).here
        rows = nearest_law(here, 0.9)
        assert len(rows) == 5
        assert all(math.isnan(row["log_likelihood"]) for row in rows)
