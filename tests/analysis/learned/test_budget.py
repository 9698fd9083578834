import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from quanta.analysis import axes
from quanta.analysis.axes import Trace
from quanta.analysis.learned.budget import (
    PARTS,
    Budget,
    logarithmic_mean,
    measure_budget,
    measure_drift,
    split_exponent,
    split_loss,
)
from quanta.tasks.frequencies import zipf_frequencies

few = settings(max_examples=30)

COUNT, REST, FALLING, STUCK, DRIFT = range(5)


def trace_of(x, left, at_half=None, chance=1.0, frequency=None):
    """A trace of left (S, X, K); at half the steps it was the same, so that nothing falls."""
    left = np.asarray(left, dtype=float)
    n = left.shape[-1]
    return Trace(
        axes.N,
        np.asarray(x, dtype=float),
        left,
        left if at_half is None else np.asarray(at_half, dtype=float),
        np.broadcast_to(np.asarray(chance, dtype=float), n),
        zipf_frequencies(n, 0.4) if frequency is None else np.asarray(frequency),
    )


def split_by_hand(left, at_half, mass, tau, fall):
    """The parts of one loss, subtask by subtask as they are defined."""
    parts = np.zeros(5)
    for now, half, m in zip(left, at_half, mass, strict=True):
        if now < tau:
            parts[REST] += m * now
            continue
        parts[COUNT] += m
        if now >= 1 - tau:
            parts[DRIFT] += m * (now - 1)
        else:
            parts[FALLING if now < (1 - fall) * half else STUCK] -= m * (1 - now)
    return parts


def exponent_by_hand(x, parts):
    """Least squares as a weighted sum of the slopes between neighbours, each shared out by what changes."""
    x, loss = np.log(x), parts.sum(axis=1)
    weights = (x - x.mean()) / ((x - x.mean()) ** 2).sum()
    total = np.zeros(parts.shape[1])
    for i in range(len(x) - 1):
        change = parts[i + 1] - parts[i]
        if abs(loss[i + 1] / loss[i] - 1) > 1e-9:
            change = change * np.log(loss[i + 1] / loss[i]) / (loss[i + 1] - loss[i])
        else:
            change = change / loss[i]
        total -= change * weights[i + 1 :].sum()
    return total


shares = st.one_of(st.sampled_from([0.0, 0.05, 0.1, 0.5, 0.9, 1.0]), st.floats(0.001, 1.5))


def traces(n_places=5, n_subtasks=6, n_seeds=2, equal=False):
    """Whatever networks end with; what they had at half the steps is more."""
    shape = (n_seeds, n_places, n_subtasks)
    sizes = st.lists(st.integers(1, 1000), min_size=n_places, max_size=n_places, unique=not equal)
    return st.builds(
        lambda x, left, fallen, chance: trace_of(np.sort(x), left, left * (1 + fallen), chance),
        sizes,
        arrays(float, shape, elements=shares).map(lambda left: np.maximum(left, 1e-6)),
        arrays(float, shape, elements=st.sampled_from([0.0, 0.05, 0.12, 1.0])),
        arrays(float, n_subtasks, elements=st.sampled_from([0.5, 1.0, 4.0])),
    )


class TestSplitLoss:
    @few
    @given(traces(), st.sampled_from([0.05, 0.1, 0.3]), st.sampled_from([0.05, 0.1, 0.2]))
    def test_against_the_definition(self, trace, tau, fall):
        mass = trace.frequency * trace.chance
        found = split_loss(trace.left, trace.at_half, mass, tau, fall)
        for seed, place in np.ndindex(found.shape[:2]):
            expected = split_by_hand(trace.left[seed, place], trace.at_half[seed, place], mass, tau, fall)
            np.testing.assert_allclose(found[seed, place], expected, rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(found.sum(axis=-1), trace.mean_loss, rtol=1e-12, atol=1e-15)

    def test_by_hand(self):
        left, at_half = [0.02, 0.5, 0.5, 0.95, 1.3, 0.1, 0.9], [1, 1, 0.52, 0.95, 1, 0.1, 0.9]
        found = split_loss(np.array(left), np.array(at_half), np.full(7, 0.5))
        # Learned is below .1, not begun from .9 on; .5 was twice that, or nearly the same.
        expected = {"count": 3, "rest": 0.01, "falling": -0.25, "stuck": -0.25 - 0.45}
        expected["drift"] = 0.5 * (-0.05 + 0.3 - 0.1)
        assert dict(zip(PARTS, found, strict=True)) == pytest.approx(expected, rel=1e-12)

    def test_what_is_half_learned_of_which_no_evaluation_tells_is_neither_falling_nor_stuck(self):
        unknown = np.full((2, 3), np.nan)
        found = split_loss(np.array([[0.01, 0.5, 1], [0.01, 0.05, 1]]), unknown, np.ones(3))
        assert np.isnan(found).tolist() == [[False, False, True, True, False], [False] * 5]
        assert found[1].tolist() == [1, 0.01 + 0.05, 0, 0, 0]


class TestExponent:
    @few
    @given(traces())
    def test_parts_sum_to_the_loss_and_exponents_to_the_exponent(self, trace):
        found = measure_budget(trace)
        np.testing.assert_allclose(found.parts.sum(axis=2), trace.mean_loss, rtol=1e-12)
        scale = np.abs(found.exponents).sum(axis=1) + 1e-3
        np.testing.assert_array_less(np.abs(found.exponents.sum(axis=1) - found.exponent), 1e-9 * scale)
        for seed, loss in enumerate(trace.mean_loss):
            slope = np.polyfit(np.log(trace.x), np.log(loss), 1)[0]
            assert abs(found.exponent[seed] + slope) < 1e-9 * scale[seed]

    @few
    @given(traces())
    def test_against_a_sum_over_neighbours(self, trace):
        found = measure_budget(trace)
        for parts, exponents in zip(found.parts, found.exponents, strict=True):
            expected = exponent_by_hand(found.x, parts)
            np.testing.assert_allclose(exponents, expected, rtol=1e-7, atol=1e-9 * np.abs(expected).max())

    @few
    @given(traces())
    def test_ends_are_the_first_and_the_last_place_alone(self, trace):
        found = measure_budget(trace, weights="ends")
        log_x, log_loss = np.log(trace.x[[0, -1]]), np.log(trace.mean_loss[:, [0, -1]])
        slope = np.diff(log_loss)[:, 0] / np.diff(log_x)
        np.testing.assert_allclose(found.exponent, -slope, rtol=1e-9, atol=1e-9)
        alone = Trace(
            axes.N,
            *(
                getattr(trace, name)[..., [0, -1], :] if name != "x" else trace.x[[0, -1]]
                for name in ("x", "left", "at_half")
            ),
            trace.chance,
            trace.frequency,
        )
        np.testing.assert_allclose(found.exponents, measure_budget(alone).exponents, rtol=1e-12, atol=1e-15)
        np.testing.assert_array_equal(found.parts, measure_budget(trace).parts)

    @few
    @given(traces(), st.floats(1e-3, 1e3), st.sampled_from([0.25, 2.0, 1024.0]))
    def test_units_do_not_matter(self, trace, unit, bits):
        scaled = trace_of(trace.x * unit, trace.left, trace.at_half, trace.chance * bits)
        found, other = measure_budget(trace), measure_budget(scaled)
        np.testing.assert_allclose(other.exponents, found.exponents, rtol=1e-7, atol=1e-9)
        np.testing.assert_allclose(measure_drift(scaled), measure_drift(trace), rtol=1e-7, atol=1e-9)

    @few
    @given(traces(), st.permutations(range(6)), st.permutations(range(2)))
    def test_names_of_subtasks_and_seeds_do_not_matter(self, trace, subtasks, seeds):
        """A relabelling that is the same in all seeds, and another order of the seeds."""
        left, at_half = (x[list(seeds)][..., list(subtasks)] for x in (trace.left, trace.at_half))
        other = trace_of(
            trace.x, left, at_half, trace.chance[list(subtasks)], trace.frequency[list(subtasks)]
        )
        for measure in (lambda one: measure_budget(one).exponents, measure_drift):
            np.testing.assert_allclose(measure(other), measure(trace)[list(seeds)], rtol=1e-7, atol=1e-12)

    @few
    @given(traces(equal=True), st.randoms(use_true_random=False))
    def test_networks_of_equal_size_are_one_place_in_any_order(self, trace, random):
        if np.unique(trace.x).size < 2:
            return
        order = sorted(random.sample(range(5), 5), key=lambda i: trace.x[i])
        other = trace_of(trace.x, trace.left[:, order], trace.at_half[:, order], trace.chance)
        found, again = measure_budget(trace), measure_budget(other)
        assert found.x.tolist() == np.unique(trace.x).tolist()
        for x, parts in zip(found.x, found.parts.swapaxes(0, 1), strict=True):
            networks = split_loss(
                trace.left[:, trace.x == x], trace.at_half[:, trace.x == x], trace.frequency * trace.chance
            )
            np.testing.assert_allclose(parts, networks.mean(axis=1), rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(again.exponents, found.exponents, rtol=1e-7, atol=1e-12)
        np.testing.assert_allclose(measure_drift(other), measure_drift(trace), rtol=1e-7, atol=1e-12)

    def test_a_loss_of_zero_has_no_exponent(self):
        left = np.ones((2, 3, 4))
        left[1, 2] = 0
        left[0, 1:, 0] = 0
        found = measure_budget(trace_of([1, 2, 4], left))
        for values in (found.exponent, found.exponents[:, 0], measure_drift(trace_of([1, 2, 4], left))):
            assert np.isnan(values).tolist() == [False, True]
        np.testing.assert_allclose(found.shares[0], [1, 0, 0, 0, 0], atol=1e-12)

    def test_shares_of_no_exponent_are_not_known(self):
        exponents = np.array([[0.5, 0, 0, 0, -0.5], [0.4, 0, 0, 0, 0.1], [0, 0, 0, 0, 0]])
        found = Budget(np.array([1.0, 2]), np.ones((3, 2, 5)), np.array([0.0, 0.5, 0.0]), exponents)
        np.testing.assert_array_equal(np.isnan(found.shares[:, 0]), [True, False, True])
        np.testing.assert_allclose(found.shares[1], [0.8, 0, 0, 0, 0.2], rtol=1e-15)


class TestKnownAnswers:
    X = np.array([1.0, 2, 4, 8, 16])

    def share(self, left, at_half=None):
        found = measure_budget(trace_of(self.X, left[None], None if at_half is None else at_half[None]))
        return found.shares[0], measure_drift(trace_of(self.X, left[None])).item() / found.exponent.item()

    def learned(self, floor=0.0):
        """The n = N most frequent of 32."""
        return np.where(np.arange(32) < self.X[:, None], floor, 1.0)

    def test_hard_steps_are_all_count(self):
        share, drift = self.share(self.learned())
        np.testing.assert_allclose(share, [1, 0, 0, 0, 0], atol=1e-12)
        assert drift == pytest.approx(0, abs=1e-12)

    def test_exponent_of_the_tail_of_zipf(self):
        p = zipf_frequencies(32, 0.4)
        tail = [p[n:].sum() for n in self.X.astype(int)]
        expected = -np.polyfit(np.log(self.X), np.log(tail), 1)[0]
        assert measure_budget(trace_of(self.X, self.learned()[None])).exponent.item() == pytest.approx(
            expected
        )

    def test_floors_of_what_is_learned_are_rest(self):
        share, _ = self.share(self.learned(floor=0.05))
        assert share[COUNT] > 1 > 0 > share[REST]
        assert share[COUNT] + share[REST] == pytest.approx(1, rel=1e-12)

    def test_loss_that_falls_without_learning_is_drift(self):
        share, drift = self.share(np.broadcast_to(self.X[:, None] ** -0.02, (5, 32)))
        np.testing.assert_allclose(share, [0, 0, 0, 0, 1], atol=1e-9)
        assert drift == pytest.approx(1, rel=1e-9)

    def test_half_learned_is_falling_or_stuck(self):
        left = np.broadcast_to(0.8 * self.X[:, None] ** -0.3, (5, 32))
        share, drift = self.share(left)  # as it was at half the steps
        np.testing.assert_allclose(share, [0, 0, 0, 1, 0], atol=1e-9)
        assert drift == pytest.approx(1, rel=1e-9)
        share, _ = self.share(left, 1.2 * left)
        np.testing.assert_allclose(share, [0, 0, 1, 0, 0], atol=1e-9)
        falling = trace_of(self.X, left[None], 1.2 * left[None])
        assert measure_drift(falling).item() == pytest.approx(0, abs=1e-12)


def drift_by_hand(trace, tau=0.1, fall=0.1):
    """Neighbours of different sizes, subtask by subtask."""

    def state(now):
        return 0 if now < tau else 2 if now >= 1 - tau else 1

    def falls(now, half):
        return state(now) == 1 and now < (1 - fall) * half

    mass, found = trace.frequency * trace.chance, []
    for left, half, loss in zip(trace.left, trace.at_half, trace.mean_loss, strict=True):
        path = [0.0]
        for i in range(len(trace.x) - 1):
            change = sum(
                mass[k] * (left[i + 1, k] - left[i, k])
                for k in range(len(mass))
                if state(left[i, k]) == state(left[i + 1, k])
                and not falls(left[i, k], half[i, k])
                and not falls(left[i + 1, k], half[i + 1, k])
            )
            mean = (
                loss[i] if loss[i] == loss[i + 1] else (loss[i + 1] - loss[i]) / np.log(loss[i + 1] / loss[i])
            )
            path.append(path[-1] + change / mean)
        found.append(-np.polyfit(np.log(trace.x), path, 1)[0])
    return found


def test_drift_does_not_count_what_falls_from_unlearned_to_half():
    """As between sizes at which a subtask is begun later: no state is left in which it could drift."""
    left = np.array([[[1.0, 1.0], [0.6, 1.0], [0.05, 1.0]]])
    assert measure_drift(trace_of([1, 2, 4], left)).item() == pytest.approx(0, abs=1e-12)


class TestDrift:
    @few
    @given(traces())
    def test_against_the_definition(self, trace):
        np.testing.assert_allclose(measure_drift(trace), drift_by_hand(trace), rtol=1e-6, atol=1e-9)

    def test_is_unknown_where_it_is_not_known_what_falls(self):
        left = np.array([[[1, 1], [0.5, 1], [0.01, 1]], [[1, 1], [0.05, 1], [0.01, 1]]])
        found = measure_drift(trace_of([1, 2, 4], left, np.full(left.shape, np.nan)))
        assert np.isfinite(found).tolist() == [False, True]


class TestLogarithmicMean:
    @few
    @given(st.floats(1e-6, 1e6), st.floats(-3, 3))
    def test_lies_between_the_geometric_and_the_arithmetic_mean(self, a, log_ratio):
        b = a * np.exp(log_ratio)
        got = float(logarithmic_mean(np.array(a), np.array(b)))
        assert np.sqrt(a * b) * (1 - 1e-9) <= got <= (a + b) / 2 * (1 + 1e-9)
        assert got == pytest.approx(float(logarithmic_mean(np.array(b), np.array(a))), rel=1e-9)

    @pytest.mark.parametrize("ratio", [1.0, 1 + 1e-15, 1 - 1e-9, 1 + 1e-7, 1 + 3e-6, 1 - 1e-3, 2.0, 1e-9])
    def test_against_a_quadrature(self, ratio):
        # It is the integral of a^(1 - t) b^t over t from 0 to 1.
        nodes, weights = np.polynomial.legendre.leggauss(60)
        expected = (weights / 2 * ratio ** ((nodes + 1) / 2)).sum()
        assert float(logarithmic_mean(np.array(1.0), np.array(ratio))) == pytest.approx(expected, rel=2e-10)


def test_exponent_of_more_than_the_parts_of_a_budget():
    x = np.array([1.0, 2, 4])
    parts = np.array([[3.0, 1], [2, 1], [1, 1]])
    found = split_exponent(x, parts, parts.sum(axis=1))
    np.testing.assert_allclose(found, exponent_by_hand(x, parts), rtol=1e-12)
    assert found[1] == 0
