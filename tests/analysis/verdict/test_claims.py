import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from quanta.analysis.fits.intervals import Interval
from quanta.analysis.verdict.claims import (
    MOST_SEEDS,
    Claim,
    describe,
    hold,
    is_inside,
    n_seeds_for,
    number,
    p_beyond,
    p_outside,
    seeds_needed,
    settle,
    unknown,
)

few = settings(max_examples=50)

some_values = st.lists(st.integers(-20, 20), min_size=2, max_size=8).map(lambda x: np.array(x) / 8)


def claim(p_fails, name="a", holds=None, needs="more"):
    return Claim("N", name, 1.0, 0.9, 1.1, (0.9, 1.1), holds, "why", needs, p_fails)


class TestPValues:
    @few
    @given(some_values, st.integers(-10, 10).map(lambda edge: edge / 4))
    def test_are_students(self, values, edge):
        if np.ptp(values) == 0:
            return
        for side, alternative in ((1, "greater"), (-1, "less")):
            expected = stats.ttest_1samp(values, edge, alternative=alternative).pvalue
            assert p_beyond(values, edge, side) == pytest.approx(expected, rel=1e-9)
        # One of the two sides: less than half where the mean is outside.
        window = (edge, edge + 0.5)
        below = stats.ttest_1samp(values, window[0], alternative="less").pvalue
        above = stats.ttest_1samp(values, window[1], alternative="greater").pvalue
        assert p_outside(values, window) == pytest.approx(min(below, above), rel=1e-9)

    @few
    @given(some_values, st.sampled_from([0.5, 0.8, 0.9, 0.99]))
    def test_agree_with_the_interval(self, values, confidence):
        """The interval lies beyond an edge where the p-value of one side is below its level."""
        if np.ptp(values) == 0:
            return
        low, high = stats.ttest_1samp(values, 0).confidence_interval(confidence)
        for edge in (low - 0.01, low + 0.01):
            assert (p_beyond(values, edge, 1) < (1 - confidence) / 2) == (low > edge)
        for edge in (high - 0.01, high + 0.01):
            assert (p_beyond(values, edge, -1) < (1 - confidence) / 2) == (high < edge)

    def test_seeds_that_do_not_know_are_left_out_and_most_must_know(self):
        values = np.array([1.0, 1.25, np.nan, 1.5])
        assert p_beyond(values, 1.0, 1) == p_beyond(values[[0, 1, 3]], 1.0, 1)
        assert p_beyond(np.array([1.0, 1.25, np.nan, np.nan, np.nan]), 0.0, 1) == 1
        assert p_beyond(np.array([1.0, np.nan]), 0.0, 1) == 1
        assert p_beyond(np.array([1.0]), 0.0, 1) == 1

    def test_without_any_spread_there_is_no_doubt(self):
        values = np.full(3, 0.5)
        assert [p_beyond(values, edge, 1) for edge in (0.4, 0.5, 0.6)] == [0, 1, 1]
        assert [p_beyond(values, edge, -1) for edge in (0.4, 0.5, 0.6)] == [1, 1, 0]


class TestHold:
    WINDOW = (0.9, 1.1)

    @pytest.mark.parametrize(
        ("values", "holds", "fails"),
        [
            ([1.0, 1.01, 0.99], True, False),
            ([1.0, 1.2, 0.8], None, False),  # noisy
            ([1.1, 1.11, 1.09], None, False),  # at the edge
            ([1.3, 1.31, 1.29], None, True),
            ([0.5, 0.51, 0.49], None, True),
        ],
    )
    def test_whole_interval_inside_or_outside(self, values, holds, fails):
        got = hold("N", "room", np.array(values), self.WINDOW, 0.9, "It is {}.")
        low, high = stats.ttest_1samp(values, 0).confidence_interval(0.9)
        assert (got.lower, got.upper) == (pytest.approx(low), pytest.approx(high))
        assert got.statistic == pytest.approx(np.mean(values))
        assert got.holds is holds
        (settled,) = settle([got], 0.9)
        assert (settled.holds is False) == fails
        assert got.why.startswith(f"It is {np.mean(values):.2f} [")
        assert (got.axis, got.name, got.window, got.asked) == ("N", "room", self.WINDOW, True)

    def test_fewer_seeds_never_make_it_hold_more_easily(self):
        """Of nested sets of seeds with one mean and spread the smallest has the widest interval."""
        spread = np.array([0.95, 1.05])
        holds = [hold("N", "a", np.tile(spread, n), self.WINDOW, 0.9, "").holds for n in (1, 2, 3, 5, 20)]
        assert holds == sorted(holds, key=bool)
        assert holds[0] is None
        assert holds[-1] is True

    def test_one_seed_is_unclear_and_has_a_statistic(self):
        got = hold("N", "a", np.array([1.0]), self.WINDOW, 0.9, "{}")
        assert (got.statistic, got.lower, got.upper, got.holds, got.p_fails) == (1.0, None, None, None, 1.0)
        assert got.why == "1.00 (no interval from 1 seed)"
        assert got.needs == "at least 3 seeds, since one has no spread"

    def test_unknown_in_most_seeds(self):
        got = hold("S", "a", np.array([np.nan, np.nan, 1.0]), self.WINDOW, 0.9, "{}")
        assert (got.statistic, got.holds, got.p_fails) == (None, None, None)
        assert "not known in most seeds" in got.why

    def test_between_two_windows_it_neither_holds_nor_fails(self):
        values = np.array([0.77, 0.82, 0.87])
        got = hold("S", "drops", values, (0.9, math.inf), 0.9, "{}", fails=(0.75, math.inf))
        (settled,) = settle([got], 0.9)
        assert settled.holds is None
        # No number of seeds would make it fail.
        assert got.needs is None
        (failed,) = settle(
            [hold("S", "drops", values - 0.25, (0.9, math.inf), 0.9, "{}", fails=(0.75, math.inf))], 0.9
        )
        assert failed.holds is False

    def test_needs_of_a_claim_with_two_windows_are_of_the_nearer_edge_that_decides(self):
        noisy = np.array([0.5, 0.7, 0.9])
        got = hold("S", "drops", noisy, (0.9, math.inf), 0.9, "{}", fails=(0.75, math.inf))
        n = n_seeds_for(noisy.std(ddof=1), 0.75 - 0.7, 0.9)
        assert got.needs == f"about {n} seeds, if the mean stays, to show that it fails"

    @few
    @given(some_values, st.floats(-3, 3))
    def test_moves_with_values_and_window(self, values, shift):
        got, moved = (hold("N", "a", values + by, (0.1 + by, 0.9 + by), 0.9, "{}") for by in (0.0, shift))
        assert moved.statistic == pytest.approx(got.statistic + shift, abs=1e-9)
        assert moved.p_fails == pytest.approx(got.p_fails, abs=1e-6)


class TestInside:
    @pytest.mark.parametrize(
        ("lower", "upper", "inside"),
        [(0.9, 1.1, True), (0.89, 1.0, False), (1.0, 1.11, False), (None, None, False), (0.5, 2, False)],
    )
    def test_by_hand(self, lower, upper, inside):
        assert is_inside(Interval(1.0, lower, upper, "", 3, 0.9), (0.9, 1.1)) is inside


def reject_by_closed_testing(p, level):
    """Holm's procedure as the closure of Bonferroni's: rejected if every set with it is, at level / size."""
    n = len(p)
    sets = [s for size in range(1, n + 1) for s in combinations(range(n), size)]
    return [all(min(p[j] for j in s) <= level / len(s) for s in sets if i in s) for i in range(n)]


class TestSettle:
    def test_worked_example(self):
        # Holm at .05: .005 ≤ .05/4, .01 ≤ .05/3, .03 > .05/2, and with it .04.
        found = settle([claim(p) for p in (0.01, 0.04, 0.03, 0.005)], confidence=0.9)
        assert [one.holds for one in found] == [False, None, None, False]
        assert [one.needs for one in found] == [None, "more", "more", None]

    @few
    @given(
        st.lists(st.sampled_from([0.0, 0.001, 0.01, 0.012, 0.016, 0.02, 0.03, 0.2, 1.0]), max_size=6),
        st.sampled_from([0.8, 0.9, 0.98]),
    )
    def test_is_the_closure_of_bonferroni(self, p, confidence):
        found = settle([claim(one) for one in p], confidence)
        expected = reject_by_closed_testing(p, (1 - confidence) / 2)
        assert [one.holds is False for one in found] == expected

    def test_what_cannot_be_asked_does_not_count(self):
        asked = [claim(0.03), claim(0.9)]
        assert settle(asked, 0.9)[0].holds is None  # .05 / 2
        assert settle([asked[0], claim(None)], 0.9)[0].holds is False  # .05
        assert settle([claim(None)], 0.9)[0].holds is None

    def test_keeps_order_and_all_else(self):
        claims = [claim(0.5, "b", True), claim(0.0, "a"), unknown("S", "c", (0, 1), "why", None)]
        found = settle(claims, 0.9)
        assert [one.name for one in found] == ["b", "a", "c"]
        assert (found[0], found[2]) == (claims[0], claims[2])

    def test_nothing_to_settle(self):
        assert settle([], 0.9) == ()

    def test_errors_of_all_claims_together(self):
        """Where all claims are true at the edge, some fails in no more than the level of studies."""
        rng, n, level = np.random.default_rng(0), 400, 0.05
        failed = 0
        for _ in range(n):
            claims = [
                hold("N", "a", 1.1 + 0.1 * rng.standard_normal(4), (0.9, 1.1), 1 - 2 * level, "{}")
                for _ in range(3)
            ]
            failed += any(one.holds is False for one in settle(claims, 1 - 2 * level))
        assert failed / n < level + 3 * math.sqrt(level * (1 - level) / n)


class TestSeedsNeeded:
    @pytest.mark.parametrize(("sd", "distance"), [(0.1, 0.1), (0.05, 0.1), (0.3, 0.1), (0.2, 0.05)])
    def test_is_the_first_with_a_short_enough_interval(self, sd, distance):
        def half(n):
            return stats.t.ppf(0.95, n - 1) * sd / math.sqrt(n)

        n = n_seeds_for(sd, distance, 0.9)
        assert half(n) <= distance
        assert n == 3 or half(n - 1) > distance

    def test_too_many_are_not_recommended(self):
        n_edge = n_seeds_for(1.0, 1.67 / math.sqrt(MOST_SEEDS), 0.9)
        assert n_edge is not None
        assert n_edge <= MOST_SEEDS
        assert n_seeds_for(1.0, 1.6 / math.sqrt(MOST_SEEDS), 0.9) is None
        assert n_seeds_for(0.1, 0.0, 0.9) is None

    @pytest.mark.parametrize(("mean", "what"), [(1.05, "holds"), (1.15, "fails"), (0.8, "fails")])
    def test_says_for_what(self, mean, what):
        values = mean + np.array([-0.2, 0, 0.2])
        distance = min(abs(mean - 0.9), abs(mean - 1.1))
        n = n_seeds_for(0.2, distance, 0.9)
        assert seeds_needed(values, (0.9, 1.1), 0.9) == (
            f"about {n} seeds, if the mean stays, to show that it {what}"
        )

    def test_a_side_without_end_is_no_edge(self):
        values = 0.95 + np.array([-0.1, 0, 0.1])
        assert seeds_needed(values, (0.9, math.inf), 0.9).startswith(f"about {n_seeds_for(0.1, 0.05, 0.9)} ")

    @pytest.mark.parametrize("outside", [True, False])
    def test_with_so_many_about_half_of_the_studies_decide(self, outside):
        """A power calculation, tried."""
        rng, sd, distance = np.random.default_rng(1), 0.1, 0.05
        n = n_seeds_for(sd, distance, 0.9)
        mean = 1.1 + distance if outside else 1.1 - distance
        decided = 0
        for _ in range(200):
            values = mean + sd * rng.standard_normal(n)
            (found,) = settle([hold("N", "a", values, (-math.inf, 1.1), 0.9, "{}")], 0.9)
            decided += found.holds is (not outside)
        assert 0.4 < decided / 200 < 0.7


class TestWords:
    @pytest.mark.parametrize(
        ("value", "text"),
        [(1.0, "1.00"), (0.996, "1.00"), (-0.001, "0.00"), (-0.126, "-0.13"), (12, "12.00")],
    )
    def test_numbers(self, value, text):
        assert number(value) == text

    @pytest.mark.parametrize(
        ("interval", "text"),
        [
            (Interval(1.0, 0.9, 1.105, "", 3, 0.9), "1.00 [0.90, 1.10]"),
            (Interval(1.0, None, None, "", 1, 0.9), "1.00 (no interval from 1 seed)"),
            (Interval(1.0, None, None, "", 2, 0.9), "1.00 (no interval from 2 seeds)"),
        ],
    )
    def test_estimates(self, interval, text):
        assert describe(interval) == text
