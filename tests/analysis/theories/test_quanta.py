import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quanta.analysis.fits.power_laws import fit_power_law
from quanta.analysis.theories.quanta import (
    count_from_threshold,
    expected_exponents,
    expected_loss_vs_parameters,
    expected_loss_vs_steps,
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


class TestExpectedLosses:
    def test_parameters_with_counts_in_proportion(self):
        N = np.array([100, 300, 1000])
        np.testing.assert_allclose(
            expected_loss_vs_parameters(P, N, [[2, 6, 20], [2, 6, 20]]), [P[n:].sum() for n in (2, 6, 20)]
        )

    def test_parameters_leave_out_nothing_and_everything_learned(self):
        N = np.array([1, 100, 10**6])
        np.testing.assert_allclose(expected_loss_vs_parameters(P, N, [0, 2, 500])[1:], [P[2:].sum(), 0])

    def test_parameters_need_a_count(self):
        with pytest.raises(ValueError, match=r"counts must hold a value in 1\.\.499"):
            expected_loss_vs_parameters(P, [1, 2], [0, 500])

    def test_steps_are_a_staircase(self):
        times = np.where(np.arange(500) < 3, 10 / P, np.nan)
        step = np.array([10 / P[0] * 0.99, 10 / P[0] * 1.01, 10 / P[4] * 1.001])
        np.testing.assert_allclose(expected_loss_vs_steps(P, step, times), [1, P[1:].sum(), P[5:].sum()])

    def test_steps_need_a_learned_subtask(self):
        with pytest.raises(ValueError, match="at least one learned subtask"):
            expected_loss_vs_steps(P, [1], np.full(500, np.nan))
        with pytest.raises(ValueError, match="step must be positive"):
            expected_loss_vs_steps(P, [0], 1 / P)

    def test_finite_k_predicts_the_published_step_exponents(self):
        # K = 500 over steps 500..15000. Only c is free: the one value serves all eight alphas.
        published = [0.22, 0.26, 0.30, 0.34, 0.38, 0.41, 0.43, 0.45]
        step = np.geomspace(500, 15000, 100)
        for alpha, expected in zip(ALPHAS, published, strict=True):
            p = zipf_frequencies(500, alpha)
            loss = expected_loss_vs_steps(p, step, 132 / p)
            some = loss < 1  # where anything is learned
            assert -fit_power_law(step[some], loss[some]).slope == pytest.approx(expected, abs=0.015)

    def test_finite_k_predicts_the_published_data_exponents(self):
        # A subtask is learned from 15000 examples, so D / 15000 takes the place of S / c.
        published = [0.26, 0.30, 0.31, 0.34, 0.37, 0.38, 0.41, 0.42]
        examples = np.geomspace(1e4, 5e6, 25)
        for alpha, expected in zip(ALPHAS, published, strict=True):
            p = zipf_frequencies(500, alpha)
            loss = expected_loss_vs_steps(p, examples, 15000 / p)
            some = loss < 1
            assert -fit_power_law(examples[some], loss[some]).slope == pytest.approx(expected, abs=0.025)
