import numpy as np
import pytest

from quanta.analysis.discovery.scores import score


def test_one_where_names_alone_differ():
    scores = score(np.array([0, 0, 1, 1, 2]), np.array([7, 7, 3, 3, 5]))
    assert (scores.ari, scores.ami, scores.v) == pytest.approx((1, 1, 1))


def test_none_where_all_is_one_cluster():
    scores = score(np.array([0, 0, 1, 1, 2, 2]), np.zeros(6, dtype=int))
    assert (scores.ari, scores.ami, scores.v) == pytest.approx((0, 0, 0), abs=1e-9)


def test_of_pairs_counted_by_hand():
    # Pairs: 1 together in both, 3 in the first, 2 in the second, of 6; expected 3 * 2 / 6 = 1.
    scores = score(np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1]))
    assert scores.ari == pytest.approx((1 - 1) / ((3 + 2) / 2 - 1))


def test_chance_is_zero_where_it_is_adjusted_for():
    rng = np.random.default_rng(0)
    true, found = rng.integers(0, 20, 1000), rng.integers(0, 50, 1000)
    scores = score(true, found)
    assert abs(scores.ari) < 0.01
    assert abs(scores.ami) < 0.02
    assert scores.v > 0.1
