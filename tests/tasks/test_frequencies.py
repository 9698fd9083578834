import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quanta.tasks.frequencies import tail_mass, uniform_frequencies, zipf_frequencies

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


class TestTailMass:
    def test_known_answer(self):
        np.testing.assert_array_equal(tail_mass(np.array([0.5, 0.25, 0.25])), [1, 0.5, 0.25, 0])

    @given(st.integers(1, 300), st.floats(-1, 8))
    def test_against_exact_sums(self, n_subtasks, alpha):
        frequencies = zipf_frequencies(n_subtasks, alpha)
        expected = [math.fsum(frequencies[n:]) for n in range(n_subtasks + 1)]
        # Each addition of positive numbers rounds once, relative to the sum so far: small tails too.
        np.testing.assert_allclose(tail_mass(frequencies), expected, rtol=n_subtasks * EPS, atol=0)
