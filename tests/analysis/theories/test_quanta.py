import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quanta.analysis.fits.power_laws import fit_power_law
from quanta.analysis.theories.quanta import (
    Quanta,
    count_from_threshold,
    expected_exponents,
    frequency_at_rank,
    ideal_loss,
    local_slope,
)
from quanta.tasks.frequencies import tail_mass, uniform_frequencies, zipf_frequencies

ALPHAS = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]
P = zipf_frequencies(500, 0.4)


class TestIdealLoss:
    def test_integers_are_tail_sums(self):
        expected = [1.0, *(P[n:].sum() for n in range(1, 500)), 0.0]
        np.testing.assert_allclose(ideal_loss(P, np.arange(501)), expected, rtol=1e-12)

    @given(st.floats(0, 500))
    def test_lies_between_neighbouring_integers(self, n):
        tail = tail_mass(P)
        assert tail[int(np.ceil(n))] <= ideal_loss(P, n) <= tail[int(np.floor(n))]

    def test_half_a_subtask_is_half_its_frequency(self):
        assert ideal_loss(P, 3.5) == pytest.approx(P[4:].sum() + P[3] / 2, rel=1e-12)

    @pytest.mark.parametrize("n", [-0.1, 500.1, np.nan])
    def test_refuses_counts_out_of_range(self, n):
        with pytest.raises(ValueError, match="n must be between 0 and K = 500"):
            ideal_loss(P, n)


class TestLocalSlope:
    @pytest.mark.parametrize("alpha", ALPHAS)
    def test_tends_to_the_continuum_formula(self, alpha):
        K, n = 10**6, 1000
        # The sum over k > n is the integral from n + 1/2: a factor n / (n + 1/2) up to 1/n^2.
        expected = alpha / (1 - (n / K) ** alpha)
        assert local_slope(zipf_frequencies(K, alpha), n) == pytest.approx(expected, rel=1.1 / n)

    @pytest.mark.parametrize(("alpha", "published"), [(0.1, 0.31), (0.4, 0.51)])
    def test_is_steeper_than_alpha_at_500_subtasks(self, alpha, published):
        # Published from the continuum at n = 10; the sum there is that of the continuum at 10.5, up to the
        # curvature of p over one rank, p'' / (8 p).
        got = float(local_slope(zipf_frequencies(500, alpha), 10))
        assert got > alpha
        assert got * 10.5 / 10 == pytest.approx(
            alpha / (1 - (10.5 / 500) ** alpha), rel=(1 + alpha) * (2 + alpha) / 800
        )
        assert alpha / (1 - (10 / 500) ** alpha) == pytest.approx(published, abs=0.005)

    def test_uniform(self):
        np.testing.assert_allclose(local_slope(uniform_frequencies(10), [0, 1, 5, 10]), [0, 1 / 9, 1, np.inf])


class TestExpectedExponents:
    def test_of_the_paper(self):
        assert expected_exponents(0.4) == {
            "alpha_N": 0.4,
            "alpha_S": pytest.approx(0.2857, abs=5e-5),
            "alpha_D": pytest.approx(0.2857, abs=5e-5),
        }

    @pytest.mark.parametrize("alpha", [np.nan, 0, -1, np.inf])
    def test_none_where_there_is_no_limit(self, alpha):
        assert set(expected_exponents(alpha).values()) == {None}


class TestCountFromThreshold:
    def test_at_a_frequency_is_its_rank(self):
        np.testing.assert_allclose(count_from_threshold(P, P[:-1]), np.arange(1, 500), rtol=1e-12)

    def test_is_exact_on_a_zipf_law(self):
        # log p is linear in log rank, so the interpolation is p^-1 itself.
        n = np.array([1.5, 7.25, 123.4])
        np.testing.assert_allclose(count_from_threshold(P, P[0] * n**-1.4), n, rtol=1e-12)

    @given(st.floats(1e-7, 1))
    def test_integer_part_counts(self, threshold):
        assert int(count_from_threshold(P, threshold)) == (threshold <= P).sum()

    def test_clipped(self):
        np.testing.assert_array_equal(count_from_threshold(P, [1.0, P[-1], P[-1] / 2]), [0, 500, 500])

    def test_uniform_is_all_or_nothing(self):
        p = uniform_frequencies(4)
        np.testing.assert_array_equal(count_from_threshold(p, [0.26, 0.25, 0.24]), [0, 4, 4])

    def test_refuses(self):
        with pytest.raises(ValueError, match="threshold must be positive, not 0"):
            count_from_threshold(P, [0.1, 0])


class TestFrequencyAtRank:
    @given(st.floats(1, 500))
    def test_undoes_count_from_threshold(self, n):
        assert count_from_threshold(P, frequency_at_rank(P, n) * (1 - 1e-12)) == pytest.approx(n, rel=1e-9)

    @pytest.mark.parametrize("n", [0.01, 0.5, 1, 3.7, 500, 2000])
    def test_is_exact_on_a_zipf_law_and_beyond_its_ends(self, n):
        assert frequency_at_rank(P, n) == pytest.approx(P[0] * n**-1.4, rel=1e-9)

    def test_of_an_unknown_rank_is_unknown(self):
        assert np.isnan(frequency_at_rank(P, np.nan))


class TestQuanta:
    theory = Quanta(10.0, 550.0, 1000.0)

    def test_room_for_n_leaves_the_rest(self):
        n = np.array([0.25, 1, 2, 6.5, 20, 500, 1000])
        got = self.theory.mean_loss(P, n_parameters=550 * n)
        np.testing.assert_allclose(got, ideal_loss(P, np.minimum(n, 500)), rtol=1e-9, atol=1e-15)

    def test_times_are_a_staircase(self):
        step = np.array([0, 10 / P[0] * 0.99, 10 / P[0] * 1.01, 10 / P[4] * 1.001])
        expected = [1, 1, P[1:].sum(), P[5:].sum()]
        np.testing.assert_allclose(self.theory.mean_loss(P, step=step), expected)
        step = np.geomspace(1, 1e7, 50)
        expected = ideal_loss(P, np.floor(count_from_threshold(P, 10 / step)))
        np.testing.assert_allclose(self.theory.mean_loss(P, step=step), expected, atol=1e-12)

    def test_the_scarcer_of_room_and_time_is_the_limit(self):
        got = self.theory.left(P, n_parameters=550 * np.array([3, 9]), step=10 / P[5] * 1.01)
        assert (got == 0).sum(axis=-1).tolist() == [3, 6]

    @pytest.mark.parametrize(
        ("n_examples", "expected", "digits"),
        [(1e4, 0.47636, 5e-6), (1e5, 0.15623, 5e-6), (1e6, 9.0e-8, 5e-9)],
    )
    def test_known_answers_of_examples(self, n_examples, expected, digits):
        p = zipf_frequencies(64, 0.4)
        assert self.theory.mean_loss(p, n_examples=n_examples) == pytest.approx(expected, abs=digits)

    def test_one_example_each_is_the_law_of_hutter(self):
        # Hutter (2021), arXiv:2102.04074: Σ p_k (1 - p_k)^D; exp(-D p_k) is D p_k² / 2 off, at D p_k = 1.
        p, n = zipf_frequencies(500, 0.4), np.array([100, 1000, 10000])
        got = Quanta(examples_per_subtask=1.0).mean_loss(p, n_examples=n)
        np.testing.assert_allclose(got, [0.210008, 0.075254, 0.011765], rtol=0.006)

    @given(st.floats(0.1, 30))
    def test_luck_is_fair(self, n):
        luck = (np.arange(1000) + 0.5) / 1000
        p = P[:30] / P[:30].sum()
        whole = self.theory.left(p, n_parameters=550 * n, luck=luck)
        assert set(np.unique(whole)) <= {0, 1}
        np.testing.assert_allclose(
            whole.mean(axis=0), self.theory.left(p, n_parameters=550 * n), atol=1e-3
        )  # a thousand draws

    def test_the_first_to_be_learned_have_the_room(self):
        delay = np.ones(500)
        delay[0] = 100.0
        left = self.theory.left(P, n_parameters=550 * 3, delay=delay)
        assert np.flatnonzero(left == 0).tolist() == [1, 2, 3]

    def test_a_draw_learns_from_enough_examples_or_not(self):
        left = self.theory.left(P, n_examples=1000 / P[4] * 1.001, luck=0.3)
        assert np.flatnonzero(left == 0).tolist() == [0, 1, 2, 3, 4]
        assert (left[5:] == 1).all()

    def test_a_delay_needs_more_examples(self):
        once = self.theory.left(P, n_examples=1e5, delay=np.full(500, 2.0))
        np.testing.assert_allclose(once, Quanta(examples_per_subtask=2000.0).left(P, n_examples=1e5))

    def test_finite_k_predicts_the_published_step_exponents(self):
        # K = 500 over steps 500..15000. Only c is free: the one value serves all eight alphas.
        published = [0.22, 0.26, 0.30, 0.34, 0.38, 0.41, 0.43, 0.45]
        step = np.geomspace(500, 15000, 100)
        for alpha, expected in zip(ALPHAS, published, strict=True):
            loss = Quanta(132.0).mean_loss(zipf_frequencies(500, alpha), step=step)
            some = loss < 1  # where anything is learned
            assert -fit_power_law(step[some], loss[some]).slope == pytest.approx(expected, abs=0.015)

    def test_finite_k_predicts_the_published_data_exponents(self):
        published = [0.26, 0.30, 0.31, 0.34, 0.37, 0.38, 0.41, 0.42]
        n = np.geomspace(1e4, 5e6, 25)
        for alpha, expected in zip(ALPHAS, published, strict=True):
            loss = Quanta(examples_per_subtask=15000.0).mean_loss(zipf_frequencies(500, alpha), n_examples=n)
            some = loss < 0.999
            assert -fit_power_law(n[some], loss[some]).slope == pytest.approx(expected, abs=0.025)

    def test_exponents(self):
        assert self.theory.exponents(0.4) == {"beta": 1, "gamma": 1}
