from types import SimpleNamespace

import numpy as np
import pytest

from quanta.analysis import axes
from quanta.analysis.fits.intervals import mean_over_seeds
from quanta.analysis.learned.budget import PARTS, Budget
from quanta.analysis.verdict.claims import n_seeds_for, settle
from quanta.analysis.verdict.count import claim_count, claim_drift, claim_drops


def spread(mean, half=0.01, n=5):
    """One value a seed, about a mean."""
    return mean + half * np.linspace(-1, 1, n)


def here_with(shares=None, drops=None, resolved=1.0, exponent=None, drift=None, n_placed=0):
    """Statistics of which only those asked for are there."""
    n = 5
    found = {}
    if shares is not None:
        of_parts = np.zeros((n, 5))
        for name, values in shares.items():
            of_parts[:, PARTS.index(name)] = values
        exponent = spread(0.4) if exponent is None else np.asarray(exponent)
        found["N"] = Budget(np.arange(1.0, 4), np.ones((n, 3, 5)), exponent, of_parts * exponent[:, None])
    share = np.broadcast_to(spread(0.97) if drops is None else np.asarray(drops, float), n)
    fell = [
        SimpleNamespace(mean_share=float(one), resolved=float(placed), n_placed=n_placed)
        for one, placed in zip(share, np.broadcast_to(np.asarray(resolved, float), n), strict=True)
    ]
    base = SimpleNamespace(drops={"loss": fell}, drifts={"N": drift})
    return SimpleNamespace(base=base, budgets=found)


def ask(here, confidence=0.9):
    drops = claim_drops(here, confidence)
    return settle([claim_count(axes.N, here, here.budgets["N"], drops, confidence)], confidence)[0]


class TestDrops:
    @pytest.mark.parametrize(
        ("share", "holds"),
        [(0.97, True), (0.92, True), (0.88, None), (0.8, None), (0.76, None), (0.697, False), (0.595, False)],
    )
    def test_window_and_where_it_fails(self, share, holds):
        """A log-logistic drop within a factor 5 is one; smooth modes are not, and exponentials fail."""
        (got,) = settle([claim_drops(here_with(drops=spread(share)), 0.9)], 0.9)
        assert got.holds is holds
        assert (got.axis, got.name) == ("S", "drops")
        assert got.statistic == pytest.approx(share)
        assert f"{share:.2f} [" in got.why

    @pytest.mark.parametrize(("share", "holds"), [(0.88, True), (0.82, True), (0.78, None), (0.697, False)])
    def test_beside_the_budget_slower_ones_hold(self, share, holds):
        """A drop that takes a factor 9 is at .82; a mode cut off by room, at .78 and less, must not pass."""
        (got,) = settle([claim_drops(here_with(drops=spread(share)), 0.9, beside=True)], 0.9)
        assert got.holds is holds
        assert got.window[0] == 0.8

    def test_noise_does_not_pass(self):
        (got,) = settle([claim_drops(here_with(drops=spread(0.92, 0.1)), 0.9)], 0.9)
        assert got.holds is None
        assert got.lower < 0.9
        assert "seeds" in got.needs

    @pytest.mark.parametrize("share", [0.97, 0.6])
    @pytest.mark.parametrize(("resolved", "asked"), [([0.4] * 5, False), ([0.2, 0.3, 0.9, 0.9, 0.9], True)])
    def test_too_coarse_evaluations_neither_hold_nor_fail(self, share, resolved, asked):
        here = here_with(drops=spread(share), resolved=resolved)
        (got,) = settle([claim_drops(here, 0.9)], 0.9)
        assert (got.holds is not None) == asked
        assert ("too coarse" in got.why) != asked
        if not asked:
            assert got.statistic == pytest.approx(share)
            assert got.needs.startswith("evaluations at most 4-fold")

    @pytest.mark.parametrize(("n_placed", "holds"), [(4, None), (5, True)])
    def test_the_first_ones_may_have_fallen_before_one_looks(self, n_placed, holds):
        here = here_with(drops=spread(0.97), resolved=0.1, n_placed=n_placed)
        assert settle([claim_drops(here, 0.9)], 0.9)[0].holds is holds

    def test_nothing_fell(self):
        got = claim_drops(here_with(drops=np.nan, resolved=np.nan), 0.9)
        assert (got.statistic, got.holds, got.p_fails) == (None, None, None)
        assert got.needs == "longer training"

    @pytest.mark.parametrize("n_unknown", [2, 3])
    def test_seeds_in_which_nothing_fell(self, n_unknown):
        share = spread(0.97)
        share[:n_unknown] = np.nan
        got = claim_drops(here_with(drops=share, resolved=np.where(np.isnan(share), np.nan, 1)), 0.9)
        assert (got.holds is True) == (n_unknown == 2)


class TestCount:
    @pytest.mark.parametrize(
        ("count", "falling", "holds"),
        [
            (1.0, 0.0, True),
            (1.02, -0.02, True),
            (1.15, -0.15, True),  # on its way to be counted: the second end decides
            (0.9, -0.2, False),
            (0.72, 0.0, False),  # a sixth from drift
            (1.8, 0.0, False),
            (1.1, 0.0, None),  # at the edge
        ],
    )
    def test_with_drops_the_second_end_decides(self, count, falling, holds):
        got = ask(here_with({"count": spread(count), "falling": falling}))
        assert got.holds is holds
        assert got.statistic == pytest.approx(count + falling)
        assert "the second decides" in got.why

    @pytest.mark.parametrize("options", [{"drops": spread(0.8)}, {"resolved": 0.1}, {"drops": spread(0.6)}])
    @pytest.mark.parametrize(
        ("count", "falling", "holds"),
        [
            (1.0, 0.05, True),
            (1.15, -0.15, None),  # one end inside
            (1.2, -0.5, None),  # outside on two sides
            (1.3, -0.1, False),  # outside on one side
            (0.6, 0.1, False),
        ],
    )
    def test_without_drops_both_ends_are_asked(self, options, count, falling, holds):
        got = ask(here_with({"count": spread(count), "falling": falling}, **options))
        assert got.holds is holds
        assert "both are asked" in got.why
        # The interval holds both.
        ends = [mean_over_seeds(values, 0.9) for values in (spread(count), spread(count) + falling)]
        assert got.lower == pytest.approx(min(end.lower for end in ends))
        assert got.upper == pytest.approx(max(end.upper for end in ends))
        assert got.lower <= got.statistic <= got.upper

    @pytest.mark.parametrize(("falling", "second"), [(-0.24, True), (-0.26, False)])
    def test_with_much_still_falling_both_ends_are_asked(self, falling, second):
        got = ask(here_with({"count": spread(1 - falling), "falling": falling}))
        assert ("the second decides" in got.why) == second
        assert got.holds is (True if second else None)

    @pytest.mark.parametrize(
        ("exponent", "asked"),
        [(spread(0.4), True), (spread(0.01, 0.05), False), (spread(-0.4), False), (np.zeros(5), False)],
    )
    def test_where_the_loss_does_not_fall_there_is_nothing_to_explain(self, exponent, asked):
        here = here_with({"count": spread(3.0)}, exponent=exponent, drift=spread(0.0))
        count, drift = ask(here), claim_drift(axes.N, here, 0.9)
        assert (count.statistic is not None) == asked
        assert (count.holds is False) == asked
        assert (drift.statistic is not None) == asked

    def test_unknown_exponent(self):
        nothing = np.full(5, np.nan)
        got = ask(here_with({"count": nothing}, exponent=nothing))
        assert got.statistic is None
        assert "no exponent" in got.why

    def test_unknown_falling_says_what_would_tell(self):
        got = ask(here_with({"count": spread(1.0), "falling": np.nan}))
        assert (got.statistic, got.holds) == (None, None)
        assert got.needs == "an evaluation at half the steps"

    def test_what_would_decide(self):
        values = spread(1.05, 0.1)
        got = ask(here_with({"count": values}))
        assert got.holds is None
        assert got.needs.startswith(f"about {n_seeds_for(values.std(ddof=1), 0.05, 0.9)} seeds")

    def test_says_where_all_of_it_comes_from(self):
        got = ask(
            here_with({"count": spread(0.8), "rest": 0.05, "falling": -0.01, "stuck": 0.03, "drift": 0.13})
        )
        assert "count carries 0.80 [" in got.why
        assert "rest 0.05, falling -0.01, stuck 0.03, drift 0.13" in got.why


class TestDrift:
    @pytest.mark.parametrize(
        ("drift", "holds"),
        [(0.0, True), (0.02, True), (-0.02, True), (0.08, None), (0.12, False), (-0.2, False), (0.9, False)],
    )
    def test_window(self, drift, holds):
        here = here_with({"count": spread(1.0)}, drift=spread(drift))
        (got,) = settle([claim_drift(axes.N, here, 0.9)], 0.9)
        assert got.holds is holds
        assert (got.axis, got.name) == ("N", "drift")
        assert got.statistic == pytest.approx(drift)

    def test_unknown(self):
        here = here_with({"count": spread(1.0)}, drift=np.full(5, np.nan))
        assert claim_drift(axes.N, here, 0.9).holds is None


def test_one_seed_has_statistics_and_no_answer():
    here = here_with({"count": spread(1.0), "falling": -0.02}, drift=spread(0.0))
    one = SimpleNamespace(
        base=SimpleNamespace(
            drops={"loss": here.base.drops["loss"][:1]}, drifts={"N": here.base.drifts["N"][:1]}
        ),
        budgets={
            "N": Budget(
                *(x if x.ndim == 1 and x.size == 3 else x[:1] for x in vars(here.budgets["N"]).values())
            )
        },
    )
    drops = claim_drops(one, 0.9)
    claims = settle(
        [drops, claim_count(axes.N, one, one.budgets["N"], drops, 0.9), claim_drift(axes.N, one, 0.9)], 0.9
    )
    for claim in claims:
        assert (claim.lower, claim.upper, claim.holds) == (None, None, None)
        assert np.isfinite(claim.statistic)
        assert claim.needs == "at least 3 seeds, since one has no spread"
