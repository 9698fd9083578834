import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quanta.tasks.frequencies import is_zipf, tail_mass, uniform_frequencies, zipf_frequencies

EPS = np.finfo(np.float64).eps


class TestZipf:
    @pytest.mark.parametrize("offset", [Fraction(0), Fraction(1, 2), Fraction(7)])
    @pytest.mark.parametrize("alpha", [0, 1, 3])
    def test_against_exact_fractions(self, alpha, offset):
        weights = [(k + offset) ** -(1 + alpha) for k in range(1, 51)]
        expected = [float(weight / sum(weights)) for weight in weights]
        # exp(log w) is off by |log w| <= 4 log 57 < 17 roundings, the sum by another few.
        np.testing.assert_allclose(zipf_frequencies(50, alpha, float(offset)), expected, rtol=40 * EPS)

    @given(
        st.integers(1, 300),
        st.floats(-1, 4, allow_subnormal=False),
        st.floats(-0.9, 50, allow_subnormal=False),
    )
    def test_against_the_formula(self, n_subtasks, alpha, offset):
        weights = [(k + offset) ** -(1 + alpha) for k in range(1, n_subtasks + 1)]
        expected = np.array(weights) / math.fsum(weights)
        # 5 log 350 < 30 roundings in the exponent, up to 300 in the sum.
        np.testing.assert_allclose(zipf_frequencies(n_subtasks, alpha, offset), expected, rtol=400 * EPS)

    @given(st.integers(1, 500), st.floats(-0.99, 5), st.floats(-0.9, 50))
    def test_sums_to_one_and_falls(self, n_subtasks, alpha, offset):
        frequencies = zipf_frequencies(n_subtasks, alpha, offset)
        assert frequencies.shape == (n_subtasks,)
        assert math.fsum(frequencies) == pytest.approx(1, abs=n_subtasks * EPS)
        assert (np.diff(frequencies) < 0).all()

    def test_first_frequency_tends_to_one_over_zeta(self):
        # zeta(2) = pi^2/6, and what is left beyond K lies between 1/(K+1) and 1/K.
        n_subtasks = 10_000
        total = 1 / zipf_frequencies(n_subtasks, alpha=1)[0]
        assert 1 / (n_subtasks + 1) < math.pi**2 / 6 - total < 1 / n_subtasks

    def test_alpha_of_minus_one_is_uniform(self):
        np.testing.assert_array_equal(zipf_frequencies(7, -1, offset=3), uniform_frequencies(7))

    def test_steep_laws_do_not_overflow(self):
        frequencies = zipf_frequencies(100_000, 200, offset=-0.999)
        assert frequencies[0] == 1
        assert np.isfinite(frequencies).all()

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ((0, 0.4), "n_subtasks must be at least 1, not 0"),
            ((5, -1.1), "alpha must be a finite number >= -1, not -1.1"),
            ((5, math.nan), "alpha must be .* not nan"),
            ((5, math.inf), "alpha must be .* not inf"),
            ((5, 0.4, -1.0), "offset must be a finite number > -1, not -1.0"),
            ((5, 0.4, math.inf), "offset must be .* not inf"),
        ],
    )
    def test_names_the_argument_out_of_range(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            zipf_frequencies(*arguments)


class TestUniform:
    def test_all_equal(self):
        np.testing.assert_array_equal(uniform_frequencies(4), [0.25] * 4)

    def test_none_is_refused(self):
        with pytest.raises(ValueError, match="n_subtasks must be at least 1, not -1"):
            uniform_frequencies(-1)


class TestIsZipf:
    @given(st.integers(2, 300), st.floats(-0.9, 4), st.floats(-0.9, 50))
    def test_of_its_own_alpha(self, n_subtasks, alpha, offset):
        p = zipf_frequencies(n_subtasks, alpha, offset)
        if p[0] > 1.01 * p[-1]:
            assert is_zipf(p, alpha)
            assert is_zipf(p.astype(np.float32), alpha)
            assert is_zipf(7 * p, alpha)

    @given(st.integers(10, 300), st.floats(-0.8, 3), st.floats(0, 3), st.sampled_from([-1, 1]))
    def test_of_no_other(self, n_subtasks, alpha, offset, sign):
        assert not is_zipf(zipf_frequencies(n_subtasks, alpha, offset), alpha + 0.2 * sign)

    @pytest.mark.parametrize("alpha", [-1, -0.5, 0, 0.5, 1, 1.4, 2.4])
    def test_the_exponent_of_zipf_is_not_alpha(self, alpha):
        p = np.arange(1.0, 65) ** -1.4
        assert is_zipf(p, 0.4)
        assert not is_zipf(p, alpha)

    def test_uniform_frequencies_belong_to_minus_one_alone(self):
        p = uniform_frequencies(64)
        assert is_zipf(p, -1)
        assert not any(is_zipf(p, alpha) for alpha in (-0.999, 0, 0.4, 4))
        assert not is_zipf(zipf_frequencies(64, 0.4), -1)

    @pytest.mark.parametrize("alpha", [-1, 0.4])
    def test_what_lies_off_the_law_by_more_than_a_thousandth(self, alpha):
        p = zipf_frequencies(64, alpha)
        for place in range(1, 63):
            for factor, follows in ((1 + 9e-4, True), (1 - 9e-4, True), (1.0011, False), (0.9989, False)):
                changed = np.where(np.arange(64) == place, factor * p, p)
                assert is_zipf(changed, alpha) == follows

    @pytest.mark.parametrize("alpha", [-1, -0.5, 0, 0.4, 3])
    def test_what_no_power_law_is(self, alpha):
        k = np.arange(64)
        for p in (np.exp(-0.1 * k), zipf_frequencies(64, 0.4)[::-1], np.where(k < 32, 2.0, 1.0), 1.0 + k):
            assert not is_zipf(p, alpha)

    def test_any_alpha_has_one_subtask(self):
        assert all(is_zipf([1.0], alpha) for alpha in (-1, 0, 0.4))

    def test_neither_the_steepest_nor_the_nearly_flat_overflow(self):
        assert is_zipf([1.0, 1e-300, 1e-301], 10) is False
        assert is_zipf([1.0, 1e-300, 1e-301], -1 + 1e-12) is False
        assert is_zipf(zipf_frequencies(100, 60, offset=-0.999)[:40], 60) is True

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (([], 0.4), r"frequencies must have the shape \(K,\) with K at least 1, not \(0,\)"),
            (([[1.0]], 0.4), r"frequencies must have the shape .* not \(1, 1\)"),
            (([0.5, 0.5, 0.0], 0.4), "frequencies must be positive, not 0"),
            (([0.5, math.nan], 0.4), "frequencies must be positive, not nan"),
            (([1.0], math.nan), "alpha must be a finite number >= -1, not nan"),
            (([1.0], -1.1), "alpha must be a finite number >= -1, not -1.1"),
        ],
    )
    def test_names_the_argument_out_of_range(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            is_zipf(*arguments)


class TestTailMass:
    def test_known_answer(self):
        np.testing.assert_array_equal(tail_mass(np.array([0.5, 0.25, 0.25])), [1, 0.5, 0.25, 0])

    @given(st.integers(1, 300), st.floats(-1, 8))
    def test_against_exact_sums(self, n_subtasks, alpha):
        frequencies = zipf_frequencies(n_subtasks, alpha)
        expected = [math.fsum(frequencies[n:]) for n in range(n_subtasks + 1)]
        # Each addition of positive numbers rounds once, relative to the sum so far: small tails too.
        np.testing.assert_allclose(tail_mass(frequencies), expected, rtol=n_subtasks * EPS, atol=0)
