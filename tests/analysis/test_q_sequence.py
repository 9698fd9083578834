from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.learning import learning_times
from analysis.q_sequence import concordance, tabulate_q_sequence
from tasks.frequencies import zipf_frequencies

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


@given(st.lists(st.integers(0, 6), min_size=1, max_size=12))
def test_concordance_against_all_pairs(learned_at, at):
    got = concordance(learning_times(learned_at(at))).values
    np.testing.assert_allclose(got, [[harrell(at)]], rtol=1e-12)


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
