from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lifelines.utils import concordance_index

from quanta.analysis.learned.order import (
    concordance,
    expected_concordance,
    find_inversions,
    prefix_score,
    tabulate_q_sequence,
)
from quanta.analysis.learned.times import learning_times
from quanta.tasks.frequencies import zipf_frequencies

STEPS = [1, 2, 4, 8, 16, 32]


@pytest.fixture(scope="session")
def learned_at(slice_of):
    """One network whose subtask k is learned at evaluation `at[k]` of STEPS; 6 is never."""

    def build(at):
        loss = (np.arange(len(STEPS))[:, None] < np.asarray(at)).astype(float)
        return slice_of(loss[None, None], zipf_frequencies(len(at), 0.4), step=STEPS)

    return build


def harrell(at):
    """Concordance by comparing all pairs; rank is the position, 6 is censored."""
    pairs = [(a < b) for a, b in combinations(at, 2) if a != b]
    return np.mean(pairs) if pairs else np.nan


@settings(max_examples=40)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=12))
def test_concordance_against_all_pairs(learned_at, at):
    got = concordance(learning_times(learned_at(at))).values
    np.testing.assert_allclose(got, [[harrell(at)]], rtol=1e-12)


def test_concordance_is_that_of_survival_analysis(slice_of):
    rng = np.random.default_rng(0)
    at = rng.integers(0, 40, 300)  # many at one time
    loss = (np.arange(30)[:, None] < at).astype(float)  # those from 30 on are censored
    times = learning_times(slice_of(loss[None, None], zipf_frequencies(300, 0.4), step=2.0 ** np.arange(30)))
    expected = concordance_index(at, np.arange(300), at < 30)
    assert 0.4 < expected < 0.6
    np.testing.assert_allclose(concordance(times), [[expected]], rtol=1e-12)


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ([0, 1, 2, 3, 4], 1),
        ([4, 3, 2, 1, 0], 0),
        ([0, 1, 6, 6, 6], 1),  # censored ones are later than all learned ones
        ([6, 6, 6, 0], 0),
        ([5, 6], 1),  # learned at the last evaluation is still before censored
        ([1, 0, 2], 2 / 3),
        ([6, 6, 6], np.nan),
        ([2, 2, 2], np.nan),
    ],
)
def test_concordance_by_hand(learned_at, at, expected):
    np.testing.assert_allclose(concordance(learning_times(learned_at(at))), [[expected]])


def test_ideal_order_is_exactly_one(ideal):
    values = concordance(learning_times(ideal))
    assert values.dims == ("seed", "width")
    assert (values == 1).all()


@pytest.mark.parametrize("world", ["uniform", "shuffled"])
def test_no_order_is_about_a_half(request, world):
    # In a random order the j-th learned leaves K - j behind, of which a number uniform on 0..K - j is rarer:
    # the pairs in order are a sum of independent uniform numbers.
    times = learning_times(request.getfixturevalue(world)).isel(width=[-1])
    n_seeds, K = times.sizes["seed"], times.sizes["subtask"]
    left = K - np.arange(1, int(times["learned"].sum("subtask").min()) + 1)
    deviation = np.sqrt((((left + 1) ** 2 - 1) / 12).sum()) / left.sum() / np.sqrt(n_seeds)
    assert deviation < 0.04
    assert abs(float(concordance(times).mean()) - 0.5) < 3 * deviation


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ([0, 1, 2, 6, 6], 1),
        ([2, 1, 0, 6, 6], 1),  # the order within the set is not asked
        ([0, 1, 6, 3, 6], 2 / 3),
        ([6, 6, 6, 6, 0], 0),
        ([6, 6, 0, 0, 0], 1 / 3),  # three of five: one at least is among the first three
        ([1, 3, 2, 5, 4], 1),
        ([6, 6, 6, 6, 6], np.nan),
    ],
)
def test_prefix_score_by_hand(learned_at, at, expected):
    score = prefix_score(learning_times(learned_at(at)))
    assert score.dims == ("seed", "width")
    np.testing.assert_allclose(score, [[expected]], rtol=1e-15)


@pytest.mark.parametrize("n", range(1, 7))
def test_prefix_score_of_a_random_set_is_n_over_k(slice_of, n):
    # All sets of n of 6, each a width of its own.
    sets = list(combinations(range(6), n))
    loss = np.ones((1, len(sets), 2, 6))
    for width, chosen in enumerate(sets):
        loss[0, width, 1, list(chosen)] = 0
    score = prefix_score(learning_times(slice_of(loss, zipf_frequencies(6, 0.4))))
    assert float(score.mean()) == pytest.approx(n / 6, rel=1e-12)


INVERSION = ["subtask_first", "subtask_later", "n_ranks", "time_factor", "at_least"]


def test_inversions_by_hand(learned_at):
    # Evaluations double, and the loss drops in one: every time is the same fraction of its interval.
    table = find_inversions(learning_times(learned_at([4, 6, 3, 1])))
    assert table.columns.tolist() == ["seed", "width", *INVERSION]
    into = float(learning_times(learned_at([1]))["step"].item())  # between 1 and 2
    expected = [
        (4, 2, 2, 32 / into, True),
        (4, 1, 3, 8, False),
        (3, 2, 1, 8 / into, True),
        (4, 3, 1, 4, False),
        (3, 1, 2, 2, False),
    ]
    assert table[INVERSION].drop(columns="time_factor").to_numpy().tolist() == [
        [first, later, n_ranks, at_least] for first, later, n_ranks, _, at_least in expected
    ]
    np.testing.assert_allclose(table["time_factor"], [factor for *_, factor, _ in expected], rtol=1e-12)


def test_inversion_is_bounded_where_the_first_was_known_at_once(learned_at):
    # Learned by step 1, nobody knows when: at least 16 times later for one learned at step 16 or after it.
    times = learning_times(learned_at([5, 0]))
    (row,) = find_inversions(times).to_dict("records")
    assert row["at_least"]
    assert row["time_factor"] == times["step"].values.max() >= 16


def test_order_before_the_first_evaluation_is_not_known(slice_of):
    # Both cross between steps 0 and 10, one deeper than the other: that is no order. A third comes later.
    loss = np.array([[1.0, 1.0, 1.0], [0.05, 0.01, 1.0], [0.05, 0.01, 0.02]])[None, None]
    times = learning_times(slice_of(loss, [0.4, 0.4, 0.2], step=[0, 10, 20]))
    assert find_inversions(times).empty
    np.testing.assert_array_equal(concordance(times), [[1.0]])  # of the two comparable pairs
    assert tabulate_q_sequence(times)["order"].tolist() == [1, 1, 3]


def test_order_at_step_0_alone_has_no_factor(slice_of):
    times = learning_times(slice_of(np.array([[[[1.0, 0.01]]]]), [0.6, 0.4], step=[0]))
    (row,) = find_inversions(times)[INVERSION].to_dict("records")
    assert (row["subtask_first"], row["time_factor"], row["at_least"]) == (2, 1.0, True)


@settings(max_examples=20)
@given(st.lists(st.lists(st.integers(0, 6), min_size=5, max_size=5), min_size=1, max_size=3))
def test_inversions_against_all_pairs(slice_of, at):
    # Several seeds; subtasks that share an evaluation tie, those of evaluation 6 are censored.
    loss = (np.arange(len(STEPS))[:, None] < np.asarray(at)[:, None]).astype(float)
    times = learning_times(slice_of(loss[:, None], zipf_frequencies(5, 0.4), step=STEPS))
    expected = {}
    for seed, one in enumerate(at):
        step = times["step"].values[seed, 0]
        for later, first in combinations(range(5), 2):
            if one[first] < one[later]:
                until = 32 if one[later] == 6 else step[later]
                bound = one[later] == 6 or one[first] == 0
                expected[seed, first + 1, later + 1] = (first - later, until / step[first], bound)
    table = find_inversions(times)
    assert table["time_factor"].is_monotonic_decreasing
    assert len(table) == len(expected)
    for row in table.itertuples():
        n_ranks, factor, bound = expected[row.seed, row.subtask_first, row.subtask_later]
        assert (row.n_ranks, row.at_least) == (n_ranks, bound)
        assert row.time_factor == pytest.approx(factor, rel=1e-12)


def test_inversions_are_what_concordance_lacks(shuffled):
    times = learning_times(shuffled)
    n_learned, K = times["learned"].sum("subtask"), times.sizes["subtask"]
    n_comparable = n_learned * (n_learned - 1) / 2 + n_learned * (K - n_learned)  # no two at the same time
    expected = ((1 - concordance(times)) * n_comparable).fillna(0).round().astype(int)
    table = find_inversions(times)
    assert len(table) == int(expected.sum()) > 1000
    for (seed, width), rows in table.groupby(["seed", "width"]):
        assert len(rows) == int(expected.sel(seed=seed, width=width))


@pytest.mark.parametrize("at", [[6, 6, 6], [0, 0, 0], [1, 2, 6], [3]])
def test_no_inversions_is_an_empty_table_with_its_types(learned_at, at):
    table = find_inversions(learning_times(learned_at(at)))
    assert table.empty
    full = find_inversions(learning_times(learned_at([1, 0])))
    assert table.dtypes.to_dict() == full.dtypes.to_dict()


def test_table_by_hand(learned_at):
    table = tabulate_q_sequence(learning_times(learned_at([3, 1, 6, 1])))
    assert table.columns.tolist() == [
        *("seed", "width", "n_parameters", "subtask", "frequency", "learned"),
        *("step", "step_lower", "step_upper", "order"),
    ]
    assert table["subtask"].tolist() == [1, 2, 3, 4]
    assert table["learned"].tolist() == [True, True, False, True]
    assert table["order"].tolist() == [3, 1, pd.NA, 1]  # learned together: the same place
    assert table["step_upper"].tolist() == [8, 2, np.inf, 2]


def test_table_has_a_row_for_every_subtask_of_every_network(ideal):
    table = tabulate_q_sequence(learning_times(ideal))
    assert len(table) == 3 * 11 * 64
    assert table["order"].notna().sum() == table["learned"].sum()
    widest = table[(table["seed"] == 0) & (table["width"] == 128) & table["learned"]]
    assert widest["order"].tolist() == widest["subtask"].tolist()


def harrell_of(at, n_learned):
    """Concordance of times without ties, of which all after the first n are censored, by all pairs."""
    censored = np.argsort(np.argsort(at)) >= n_learned
    pairs = [at[i] < at[j] for i, j in combinations(range(len(at)), 2) if not (censored[i] and censored[j])]
    return np.mean(pairs)


class TestExpectedConcordance:
    @pytest.mark.parametrize(("n_learned", "scatter"), [(1, 0.3), (5, 0.3), (12, 1.0), (5, 3.0)])
    def test_is_the_mean_over_all_pairs_of_the_same_draws(self, n_learned, scatter):
        frequency = zipf_frequencies(12, 0.4)
        noise = np.random.default_rng(0).standard_normal((20, 12))  # documented: always the same draws
        expected = np.mean([harrell_of(one, n_learned) for one in scatter * noise - np.log(frequency)])
        got = expected_concordance(frequency, scatter, n_learned, n_draws=20)
        assert got == pytest.approx(expected, rel=1e-12)

    def test_is_what_learning_times_with_that_scatter_have(self):
        # Other draws: the means differ by no more than four of their standard errors.
        frequency, n_learned, scatter = zipf_frequencies(40, 0.4), 15, 0.5
        rng = np.random.default_rng(7)
        found = [
            harrell_of(scatter * rng.standard_normal(40) - np.log(frequency), n_learned) for _ in range(100)
        ]
        got = expected_concordance(frequency, scatter, n_learned)
        assert 0.8 < got < 0.99
        assert abs(got - np.mean(found)) < 4 * np.std(found) * np.sqrt(2 / 100)

    def test_without_scatter_is_a_perfect_order(self):
        assert expected_concordance(zipf_frequencies(20, 0.1), 0.0, 7) == 1.0

    def test_falls_with_scatter_to_no_order(self):
        frequency = zipf_frequencies(64, 0.4)
        found = [expected_concordance(frequency, scatter, 20) for scatter in (0.1, 0.3, 1.0, 3.0, 1000.0)]
        assert np.all(np.diff(found) < 0)
        # In no order the j-th learned of 20 leaves 64 - j, a number uniform on 0..64 - j of which is rarer.
        left = 64 - np.arange(1, 21)
        deviation = np.sqrt((((left + 1) ** 2 - 1) / 12).sum()) / left.sum() / np.sqrt(100)
        assert abs(found[-1] - 0.5) < 4 * deviation

    @pytest.mark.parametrize(("scatter", "n_learned"), [(np.nan, 5), (0.3, 0)])
    def test_unknown(self, scatter, n_learned):
        assert np.isnan(expected_concordance(zipf_frequencies(10, 0.4), scatter, n_learned))
