import math
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import stats

from quanta.analysis.fits.intervals import jackknife_seeds
from quanta.analysis.learned.agreement import (
    agreement_between_seeds,
    agreement_between_widths,
    consensus_order,
    pairwise_agreement,
    summarize_q_sequence,
)
from quanta.analysis.learned.order import concordance, prefix_score
from quanta.analysis.learned.times import count_learned, learning_times
from quanta.tasks.frequencies import zipf_frequencies

NEVER = np.inf


def times_of(step):
    """Learning times given as (seed, width, subtask), inf if never."""
    step = np.asarray(step, dtype=float)
    learned = np.isfinite(step)
    dims = ("seed", "width", "subtask")
    return xr.Dataset(
        {
            "learned": (dims, learned),
            "step": (dims, np.where(learned, step, np.nan)),
            "frequency": ("subtask", zipf_frequencies(step.shape[2], 0.4)),
        },
        coords={"seed": np.arange(step.shape[0]), "width": 2 ** np.arange(step.shape[1])}
        | {"subtask": np.arange(1, step.shape[2] + 1)},
    )


def count_pairs(one, other):
    """Count the pairs in the same order, and the comparable ones, by going through all of them."""
    n_same = n_pairs = 0
    for i, j in combinations(range(len(one)), 2):
        if one[i] != one[j] and other[i] != other[j]:
            n_pairs += 1
            n_same += (one[i] < one[j]) == (other[i] < other[j])
    return n_same, n_pairs


def share(networks):
    """The share in the same order of the comparable pairs of any two of the networks."""
    counts = [count_pairs(one, other) for one, other in combinations(networks, 2)]
    n_same, n_pairs = np.sum([*counts, (0, 0)], axis=0)
    return n_same / n_pairs if n_pairs else np.nan


def orders(n_seeds, n_subtasks, seed=0):
    """Random orders without ties, one a seed, at one width."""
    rng = np.random.default_rng(seed)
    return rng.permuted(np.tile(np.arange(1.0, n_subtasks + 1), (n_seeds, 1)), axis=1)[:, None]


few = settings(max_examples=20)

# Few different times, so that there are ties as well as censored ones.
some_times = arrays(
    float,
    array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=4),
    elements=st.sampled_from([1.0, 2.0, 3.0, 5.0, NEVER]),
)


class TestPairwiseAgreement:
    @few
    @given(some_times)
    def test_against_all_pairs(self, step):
        got = pairwise_agreement(times_of(step))
        for index in np.ndindex(got["agreement"].shape):
            n_same, n_pairs = count_pairs(step[index[:2]], step[index[2:]])
            assert int(got["n_pairs"].values[index]) == n_pairs
            expected = n_same / n_pairs if n_pairs else np.nan
            np.testing.assert_allclose(got["agreement"].values[index], expected, rtol=1e-15)

    @pytest.mark.parametrize(
        ("one", "other", "expected", "n_pairs"),
        [
            ([1, 2, 3], [10, 20, 30], 1, 3),
            ([1, 2, 3], [3, 2, 1], 0, 3),
            ([1, 2, 3], [1, 3, 2], 2 / 3, 3),
            ([1, 2, 3], [1, NEVER, NEVER], 1, 2),  # all that is known of the other
            ([1, NEVER, NEVER], [NEVER, 1, NEVER], 0, 1),
            ([1, 1, 2], [1, 2, 3], 1, 2),  # a tie is not an order
            ([1, 2, 3], [NEVER, NEVER, NEVER], np.nan, 0),
            ([1, 1, 1], [1, 2, 3], np.nan, 0),
        ],
    )
    def test_by_hand(self, one, other, expected, n_pairs):
        got = pairwise_agreement(times_of([[one], [other]])).isel(width=0, other_width=0)
        np.testing.assert_allclose(got["agreement"].values[0, 1], expected, rtol=1e-15)
        assert int(got["n_pairs"][0, 1]) == n_pairs

    def test_is_kendalls_tau_where_all_is_learned_and_nothing_ties(self):
        step = orders(5, 40)
        agreement = pairwise_agreement(times_of(step))["agreement"].values[:, 0, :, 0]
        for one, other in np.ndindex(5, 5):
            tau = stats.kendalltau(step[one, 0], step[other, 0]).statistic
            assert agreement[one, other] == pytest.approx((tau + 1) / 2, abs=1e-12)

    def test_against_the_frequency_order_it_is_the_concordance(self, shuffled):
        times = learning_times(shuffled)
        by_rank = np.broadcast_to(np.arange(1.0, 65), (1, 11, 64))
        both = times_of(np.concatenate([times["step"].fillna(NEVER).values, by_rank]))
        got = pairwise_agreement(both)["agreement"].values[:3, :, 3, 0]
        np.testing.assert_allclose(got, concordance(times), rtol=1e-12)

    @few
    @given(some_times)
    def test_is_symmetric_and_bounded(self, step):
        got = pairwise_agreement(times_of(step))["agreement"]
        mirrored = got.transpose("other_seed", "other_width", "seed", "width").values
        np.testing.assert_array_equal(got.values, mirrored)
        known = got.values[np.isfinite(got.values)]
        assert ((known >= 0) & (known <= 1)).all()

    def test_mean_of_shares_is_below_a_half_without_relation_as_said(self):
        # All ways for each of two networks to learn one of K: the share is that of the docstring, 1/K, and of
        # all pairs together half are in the same order.
        K = 7
        got = pairwise_agreement(times_of(np.where(np.eye(K, dtype=bool), 1.0, NEVER)[:, None]))
        assert float(got["agreement"].mean()) == pytest.approx(1 / K, rel=1e-12)
        n_same = (got["agreement"] * got["n_pairs"]).sum()
        assert float(n_same / got["n_pairs"].sum()) == pytest.approx(0.5, rel=1e-12)


class TestAgreementBetween:
    @few
    @given(some_times)
    def test_against_all_pairs(self, step):
        between_widths, between_seeds = (
            function(times_of(step)) for function in (agreement_between_widths, agreement_between_seeds)
        )
        assert (between_widths.dims, between_seeds.dims) == (("seed",), ("width",))
        np.testing.assert_allclose(between_widths, [share(one) for one in step], rtol=1e-15)
        np.testing.assert_allclose(between_seeds, [share(one) for one in step.swapaxes(0, 1)], rtol=1e-15)

    @few
    @given(some_times, st.randoms(use_true_random=False))
    def test_does_not_depend_on_the_order_of_seeds_and_widths_or_on_the_unit_of_time(self, step, random):
        seeds, widths, subtasks = (random.sample(range(n), n) for n in step.shape)
        before, after = times_of(step), times_of((7 * step**2)[seeds][:, widths][:, :, subtasks])
        np.testing.assert_allclose(
            agreement_between_seeds(after), agreement_between_seeds(before)[widths], rtol=1e-12
        )
        np.testing.assert_allclose(
            agreement_between_widths(after), agreement_between_widths(before)[seeds], rtol=1e-12
        )

    def test_is_one_in_the_ideal_world(self, ideal):
        times = learning_times(ideal)
        assert (agreement_between_seeds(times) == 1).all()
        assert (agreement_between_widths(times) == 1).all()

    def test_widths_of_a_seed_agree_where_seeds_do_not(self, shuffled):
        times = learning_times(shuffled)
        assert (agreement_between_widths(times) == 1).all()
        assert float(agreement_between_seeds(times)[-1]) < 0.8

    def test_of_random_orders_is_a_half(self):
        # Kendall's tau of two independent orders has variance 2 (2K + 5) / (9 K (K - 1)); those of two pairs
        # of seeds are uncorrelated, also where they share a seed.
        n_seeds, K = 12, 40
        deviation = math.sqrt(2 * (2 * K + 5) / (9 * K * (K - 1))) / 2 / math.sqrt(math.comb(n_seeds, 2))
        assert deviation < 0.01
        agreement = float(agreement_between_seeds(times_of(orders(n_seeds, K)))[0])
        assert abs(agreement - 0.5) < 3 * deviation

    def test_of_random_sets_is_a_half(self):
        # 8 of 64 learned. Of each two networks the number of pairs in the same order less that in opposite
        # ones has mean 0, and these differences are uncorrelated: their squares give the variance of their
        # sum.
        step = orders(60, 64, seed=1)
        times = times_of(np.where(step <= 8, step, NEVER))
        pairs = pairwise_agreement(times).isel(width=0, other_width=0)
        once = np.triu_indices(60, 1)
        n_pairs = pairs["n_pairs"].values[once]
        difference = (2 * pairs["agreement"].values[once] - 1) * n_pairs
        deviation = math.sqrt((difference**2).sum()) / n_pairs.sum() / 2
        assert deviation < 0.02
        assert abs(float(agreement_between_seeds(times)[0]) - 0.5) < 3 * deviation
        # The mean of shares would not be.
        assert float(pairs["agreement"].values[once].mean()) < 0.45

    @pytest.mark.parametrize("step", [NEVER, 5.0], ids=["nothing learned", "everything at once"])
    def test_nothing_to_compare_is_not_known(self, step):
        times = times_of(np.full((2, 3, 4), step))
        assert np.isnan(agreement_between_seeds(times)).all()
        assert np.isnan(agreement_between_widths(times)).all()

    def test_one_seed_or_one_width_has_no_other(self):
        times = times_of(orders(2, 5))
        assert np.isnan(agreement_between_widths(times)).all()
        assert np.isnan(agreement_between_seeds(times.isel(seed=[0]))).all()


class TestSummary:
    def test_estimates_are_those_of_the_functions(self, quanta_world):
        times = learning_times(quanta_world(scatter=0.4))
        table = summarize_q_sequence(times)
        assert table.columns.tolist() == [
            *("statistic", "width", "estimate", "lower", "upper", "kind", "n", "confidence"),
        ]
        for name, expected in [
            ("n_learned", count_learned(times).mean("seed")),
            ("concordance", concordance(times).mean("seed")),
            ("prefix_score", prefix_score(times).mean("seed")),
            ("agreement_between_seeds", agreement_between_seeds(times)),
        ]:
            rows = table[table["statistic"] == name]
            assert rows["width"].tolist() == times["width"].values.tolist()
            np.testing.assert_allclose(rows["estimate"], expected, rtol=1e-12)
        last = table.iloc[-1]
        assert last["statistic"] == "agreement_between_widths"
        assert last["width"] is pd.NA
        assert last["estimate"] == pytest.approx(float(agreement_between_widths(times).mean()))

    def test_intervals_are_students_within_what_is_possible(self, quanta_world):
        times = learning_times(quanta_world(scatter=0.6, n_seeds=4))
        table = summarize_q_sequence(times, confidence=0.8)
        (got,) = table.query("statistic == 'concordance' and width == 128").to_dict("records")
        values = concordance(times).sel(width=128).values
        lower, upper = stats.t.interval(0.8, 3, values.mean(), values.std(ddof=1) / 2)
        np.testing.assert_allclose([got["lower"], got["upper"]], [lower, upper], rtol=1e-12)
        shares = table.query("statistic != 'n_learned'")
        assert shares["lower"].min() >= 0
        assert shares["upper"].max() == 1

    def test_interval_of_agreement_between_seeds_is_the_jackknife(self, quanta_world):
        times = learning_times(quanta_world(scatter=0.8, n_seeds=5)).isel(width=[-1])
        expected = jackknife_seeds(lambda seeds: float(agreement_between_seeds(times.isel(seed=seeds))[0]), 5)
        got = summarize_q_sequence(times).set_index("statistic").loc["agreement_between_seeds"]
        found = [got["estimate"], got["lower"], got["upper"]]
        np.testing.assert_allclose(found, [expected.estimate, expected.lower, expected.upper], rtol=1e-12)

    def test_only_seeds_for_which_it_is_known_count(self):
        step = orders(4, 6)
        step[1] = NEVER
        table = summarize_q_sequence(times_of(step)).set_index("statistic")
        assert table["n"].to_dict() == {
            "n_learned": 4,
            "concordance": 3,
            "prefix_score": 3,
            "agreement_between_seeds": 3,
            "agreement_between_widths": 0,
        }
        values = concordance(times_of(step)).values[[0, 2, 3], 0]
        lower, _ = stats.t.interval(0.9, 2, values.mean(), values.std(ddof=1) / math.sqrt(3))
        assert table.loc["concordance", "lower"] == pytest.approx(max(lower, 0))

    def test_two_seeds_are_one_pair_and_have_no_interval(self):
        got = summarize_q_sequence(times_of(orders(2, 6))).set_index("statistic")
        agreement = got.loc["agreement_between_seeds"]
        assert 0 <= agreement["estimate"] <= 1
        assert np.isnan([agreement["lower"], agreement["upper"]]).all()
        assert agreement["kind"] == "none: rests on single seeds"

    def test_one_seed_has_estimates_and_no_interval(self):
        got = summarize_q_sequence(times_of(orders(1, 6))).set_index("statistic")
        assert got["lower"].isna().all()
        assert got["estimate"].notna().tolist() == [True, True, True, False, False]
        assert got.loc["concordance", "kind"] == "none: one seed has no spread"
        assert got.loc["agreement_between_seeds", "kind"] == "none: not known for any seed"

    def test_nothing_learned_is_said(self):
        got = summarize_q_sequence(times_of(np.full((3, 1, 4), NEVER))).set_index("statistic")
        assert got["estimate"].isna().tolist() == [False, True, True, True, True]
        assert got.loc["n_learned", "upper"] == 0

    def test_refuses_a_confidence_out_of_range(self):
        with pytest.raises(ValueError, match="confidence must be between 0 and 1"):
            summarize_q_sequence(times_of(orders(3, 4)), confidence=1.5)


class TestConsensus:
    def test_by_hand(self):
        # Ranks 1 2 3.5 3.5 and 2 1 3 4: the censored share what is left. The last is learned by one.
        step = [[[10, 20, NEVER, NEVER]], [[30, 15, 40, 50]]]
        table = consensus_order(times_of(step))
        assert table["subtask"].tolist() == [1, 2, 3, 4]
        assert table["order"].tolist() == [1, 1, 3, 4]
        assert table["mean_rank"].tolist() == [1.5, 1.5, 3.25, 3.75]
        assert table["n_seeds_learned"].tolist() == [2, 2, 1, 1]
        np.testing.assert_allclose(table["frequency"], zipf_frequencies(4, 0.4))
        # t with one degree of freedom reaches far: past 1, and past K for the last.
        half = stats.t.ppf(0.95, 1) * 0.25
        np.testing.assert_allclose(table["lower"], [1, 1, 3.25 - half, 3.75 - half], rtol=1e-12)
        np.testing.assert_allclose(table["upper"], [4, 4, 4, 4], rtol=1e-12)

    def test_leaves_out_what_no_seed_learned_and_orders_by_mean_rank(self):
        step = [[[30, 10, NEVER, 20]], [[NEVER, 15, NEVER, 10]], [[20, 10, NEVER, 40]]]
        table = consensus_order(times_of(step))
        assert table["subtask"].tolist() == [2, 4, 1]
        np.testing.assert_allclose(table["mean_rank"], [4 / 3, 2, 8.5 / 3])
        assert table["order"].tolist() == [1, 2, 3]

    def test_interval_is_students(self):
        step = orders(6, 30)
        table = consensus_order(times_of(step), confidence=0.8).set_index("subtask")
        mean, error = step[:, 0].mean(axis=0), step[:, 0].std(axis=0, ddof=1) / math.sqrt(6)
        lower, upper = stats.t.interval(0.8, 5, mean, error)
        ranks = np.arange(1, 31)
        np.testing.assert_allclose(table["lower"][ranks], np.maximum(lower, 1), rtol=1e-12)
        np.testing.assert_allclose(table["upper"][ranks], np.minimum(upper, 30), rtol=1e-12)

    def test_ideal_order_is_the_frequency_order_of_all_widths_have_learned(self, ideal):
        times = learning_times(ideal)
        for width in (16, 128):
            table = consensus_order(times, width)
            n_learned = int(count_learned(times).sel(seed=0, width=width))
            assert table["subtask"].tolist() == list(range(1, n_learned + 1))
            assert table["order"].tolist() == table["mean_rank"].tolist() == table["subtask"].tolist()
            assert (table["upper"] - table["lower"]).max() == 0
        assert consensus_order(times).equals(consensus_order(times, 128))

    @few
    @given(some_times, st.randoms(use_true_random=False))
    def test_does_not_depend_on_the_order_of_seeds_or_on_the_unit_of_time(self, step, random):
        seeds = random.sample(range(len(step)), len(step))
        before, after = consensus_order(times_of(step)), consensus_order(times_of(7 * step[seeds] ** 2))
        assert before[["order", "subtask", "mean_rank"]].equals(after[["order", "subtask", "mean_rank"]])
        # Rounding of a jackknife that adds the seeds in another order.
        for bound in ("lower", "upper"):
            np.testing.assert_allclose(before[bound], after[bound], atol=1e-9)

    def test_one_seed_has_no_interval(self):
        table = consensus_order(times_of(orders(1, 5)))
        assert table[["lower", "upper"]].isna().all(axis=None)
        assert table["lower"].dtype == float
        assert table["order"].tolist() == [1, 2, 3, 4, 5]

    def test_nothing_learned_is_an_empty_table_with_its_types(self):
        table = consensus_order(times_of(np.full((2, 1, 3), NEVER)))
        assert table.empty
        assert table.dtypes.to_dict() == consensus_order(times_of(orders(2, 3))).dtypes.to_dict()

    def test_refuses_another_width(self):
        with pytest.raises(ValueError, match="width must be one of 1, 2, not 3"):
            consensus_order(times_of(np.ones((2, 2, 3))), 3)
