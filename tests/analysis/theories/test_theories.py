"""What tells the theories apart; `test_protocol` has what they share and `test_quanta` the first of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from quanta.analysis.theories.domino import Domino
from quanta.analysis.theories.multilinear import Multilinear
from quanta.analysis.theories.quanta import Quanta
from quanta.analysis.theories.smooth import Smooth
from quanta.analysis.theories.spectral import Spectral
from quanta.tasks.frequencies import zipf_frequencies

P = zipf_frequencies(64, 0.4)


class TestMultilinear:
    def test_is_quanta_with_drops(self):
        soft, hard = Multilinear(10.0, 550.0), Quanta(10.0, 550.0)
        np.testing.assert_array_equal(soft.left(P, n_parameters=1800), hard.left(P, n_parameters=1800))
        # The narrower the drop, the nearer: a ratio of e^200 takes a factor of 1.02 from .9 to .1.
        step = np.geomspace(10, 1e5, 200)
        away = np.abs(np.log(step[:, None] * P / 10)) > 0.05
        sharp = Multilinear(10.0, ratio=np.exp(200.0))
        np.testing.assert_allclose(
            sharp.left(P, step=step)[away], hard.left(P, step=step)[away].astype(float), atol=1e-2
        )

    @given(st.floats(0.02, 0.5))
    def test_learning_time_is_where_tau_is_left(self, tau):
        left = Multilinear(10.0, 1.0, 100.0, tau=tau).left(P, step=10 / P)
        np.testing.assert_allclose(np.diag(left), tau, rtol=1e-9)

    def test_examples_are_those_of_the_minimum_norm_solution(self):
        # Nam et al.: R_k / S = 1 - √(1 - d/D_c) for d < D_c, and the loss is (S - R)².
        D_c, d = 800.0, np.linspace(0, 1200, 25)
        skill = np.where(d < D_c, 1 - np.sqrt(np.maximum(1 - d / D_c, 0)), 1)
        theory = Multilinear(examples_per_subtask=0.9 * D_c)
        got = theory.left([1.0], n_examples=d)[:, 0]
        np.testing.assert_allclose(got, (1 - skill) ** 2, atol=1e-12)

    def test_is_the_model_it_is_named_after(self):
        # dR_k/dt = p_k R_k (S - R_k): each skill in its own time.
        p, t = P[:3] / P[:3].sum(), np.linspace(0, 60, 50)
        grown = solve_ivp(
            lambda _, R: p * R * (1 - R), (0, 60), np.full(3, 1 / 70), t_eval=t, rtol=1e-10, atol=1e-13
        ).y.T
        loss = ((1 - grown) / (1 - 1 / 70)) ** 2
        # .1 is left at R = 1 - √.1 (1 - 1/70), which takes log((R / (1 - R)) · 69).
        R = 1 - np.sqrt(0.1) * (1 - 1 / 70)
        theory = Multilinear(np.log(R / (1 - R) * 69), ratio=70)
        np.testing.assert_allclose(theory.left(p, step=t), loss, atol=1e-7)


class TestDomino:
    def test_one_after_another(self):
        left = Domino(100.0).left(P, step=100.0 * np.arange(1, 65))
        np.testing.assert_allclose(np.diag(left), 0.1, rtol=1e-9)

    @pytest.mark.parametrize("alpha", [0.1, 0.4, 0.8])
    def test_beta_is_that_of_its_times(self, alpha):
        p = zipf_frequencies(64, alpha)
        slope = np.polyfit(np.log(p), np.log(Domino().relative_times(p)), 1)[0]
        assert Domino().exponents(alpha)["beta"] == pytest.approx(-slope, rel=1e-9)
        assert Domino().exponents(np.nan)["beta"] is None
        assert Domino().exponents(-1.0)["beta"] is None


class TestSpectral:
    def test_is_one_filter_for_all(self):
        left = Spectral(10.0, 500.0, 70.0).left(P, n_parameters=4000, step=900, n_examples=700)
        kappa = 10 / 900 + P[7] + P[9]  # room for rank 8, examples for rank 10
        at_tau = 0.1**-0.5 - 1
        kappa = 10 / 900 + P[0] * 8**-1.4 + P[0] * 10**-1.4
        np.testing.assert_allclose(left, (1 + at_tau * P / kappa) ** -2, rtol=1e-9)

    def test_room_and_examples_are_alike(self):
        x = np.geomspace(500, 1e5, 9)
        theory = Spectral(10.0, 500.0, 500.0)
        np.testing.assert_allclose(theory.left(P, n_parameters=x), theory.left(P, n_examples=x))
        one = theory.left(P, n_parameters=x[:, None], n_examples=x)
        np.testing.assert_allclose(one, one.swapaxes(0, 1))

    @pytest.mark.parametrize("alpha", [0.4, 0.8])
    def test_exponents_of_an_endless_spectrum(self, alpha):
        # α in N and D, α/(1+α) in S, with no quanta at all; far from both ends of the spectrum.
        p = zipf_frequencies(10**6, alpha)
        theory = Spectral(1.0, 1.0, 1.0)
        for resource, expected in (
            ("n_parameters", alpha),
            ("n_examples", alpha),
            ("step", alpha / (1 + alpha)),
        ):
            places = np.array([30.0, 300.0])
            x = places if resource != "step" else 1 / (p[0] * places ** -(1 + alpha))
            loss = [theory.mean_loss(p, **{resource: value}) for value in x]
            slope = -np.log(loss[1] / loss[0]) / np.log(x[1] / x[0])
            # What the spectrum lacks beyond 10^6 is (300/10^6)^α of the loss: 4 % at α = .4.
            assert slope == pytest.approx(expected, rel=0.06)


class TestSmooth:
    def test_is_the_law(self):
        left = Smooth(6.0, 110.0, 0.5, 0.7).left(P, n_parameters=2000, step=500)
        r = 1 / (6 / 500 + 110 / 2000)
        expected = (1 + (r / np.sqrt(np.arange(1, 65))) ** 2) ** -0.35
        np.testing.assert_allclose(left, expected, rtol=1e-12)

    @pytest.mark.parametrize(("resource", "exponent"), [("step", 0.65), ("n_parameters", 0.65)])
    def test_tends_to_a_power_law(self, resource, exponent):
        loss = Smooth(6.0, 110.0).mean_loss(P, **{resource: [1e6, 1e7]})
        assert -np.log10(loss[1] / loss[0]) == pytest.approx(exponent, rel=1e-3)
