"""What holds for every theory, and how little a new one takes."""

import math
from dataclasses import dataclass, fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quanta.analysis.theories.domino import Domino
from quanta.analysis.theories.multilinear import Multilinear
from quanta.analysis.theories.protocol import Observed, Theory
from quanta.analysis.theories.quanta import Quanta
from quanta.analysis.theories.simulation import simulate
from quanta.analysis.theories.smooth import Smooth
from quanta.analysis.theories.spectral import Spectral
from quanta.tasks.frequencies import uniform_frequencies, zipf_frequencies

P = zipf_frequencies(64, 0.4)
THEORIES = [
    Quanta(32.0, 550.0, 100.0),
    Multilinear(32.0, 550.0, 100.0),
    Domino(285.0, 550.0),
    Spectral(32.0, 550.0, 100.0),
    Smooth(6.0, 110.0),
]
GRIDS = {
    "n_parameters": np.geomspace(10, 1e6, 30),
    "step": np.append(0, np.geomspace(1, 1e7, 30)),
    "n_examples": np.append(0, np.geomspace(1, 1e7, 30)),
}
each_theory = pytest.mark.parametrize("theory", THEORIES, ids=lambda theory: theory.name)
pairs = [(theory, resource) for theory in THEORIES for resource in theory.resources]
each_pair = pytest.mark.parametrize(("theory", "resource"), pairs, ids=lambda x: getattr(x, "name", x))


class TestEveryTheory:
    def test_has_a_name_of_its_own_and_a_source(self):
        assert len({theory.name for theory in THEORIES}) == len(THEORIES)
        assert all(theory.source.startswith("arXiv:") for theory in THEORIES)

    @each_pair
    def test_leaves_less_the_more_there_is(self, theory, resource):
        left = theory.left(P, **{resource: GRIDS[resource]})
        assert left.shape == (GRIDS[resource].size, 64)
        assert ((left >= -1e-12) & (left <= 1 + 1e-12)).all()
        assert (np.diff(left, axis=0) <= 1e-12).all()
        if resource != "n_parameters":
            assert (left[0] == 1).all()
        # And more of the frequent ones.
        assert (np.diff(left, axis=1) >= -1e-12).all()

    @each_pair
    def test_leaves_nothing_in_the_end(self, theory, resource):
        assert theory.mean_loss(P, **{resource: 1e15}) < 1e-4

    @each_theory
    def test_no_limit_leaves_nothing(self, theory):
        np.testing.assert_array_equal(theory.left(P), np.zeros(64))

    @each_theory
    def test_a_resource_left_out_is_no_limit(self, theory):
        step = np.geomspace(10, 1e4, 7)
        without = theory.left(P, step=step)
        plenty = theory.left(P, step=step, n_parameters=1e15)
        np.testing.assert_allclose(plenty, without, atol=1e-6)

    @each_theory
    def test_resources_are_broadcast(self, theory):
        N, S = np.array([2000.0, 9000.0]), np.array([0.0, 100, 1000])
        left = theory.left(P, n_parameters=N[:, None], step=S)
        assert left.shape == (2, 3, 64)
        np.testing.assert_array_equal(left[1, 2], theory.left(P, n_parameters=N[1], step=S[2]))
        np.testing.assert_allclose(theory.mean_loss(P, n_parameters=N[:, None], step=S), left @ P)

    @settings(max_examples=20)
    @each_theory
    @given(order=st.permutations(range(64)))
    def test_subtasks_have_no_other_mark_than_their_frequency(self, theory, order):
        at = {"n_parameters": 3000.0, "step": [100.0, 1000.0]}
        np.testing.assert_allclose(
            theory.left(P[list(order)], **at), theory.left(P, **at)[:, list(order)], rtol=1e-12
        )

    @each_theory
    @given(st.floats(0.1, 10))
    def test_a_delay_of_all_is_less_time(self, theory, delay):
        step = np.geomspace(10, 1e4, 7)
        np.testing.assert_allclose(
            theory.left(P, step=delay * step, delay=delay), theory.left(P, step=step), atol=1e-9
        )

    @each_theory
    def test_takes_equal_frequencies(self, theory):
        p = uniform_frequencies(8)
        assert np.isfinite(theory.left(p, n_parameters=[100, 1e4], step=[10, 1e3])).all()

    @each_pair
    def test_what_is_not_known_is_not_predicted(self, theory, resource):
        unknown = type(theory)()
        names = {field.name for field in fields(unknown) if math.isnan(getattr(unknown, field.name))}
        assert names
        assert np.isnan(unknown.left(P, **{resource: GRIDS[resource][5:]})).all()

    @each_theory
    @pytest.mark.parametrize(
        ("resource", "value", "message"),
        [
            ("n_parameters", 0, "n_parameters must be above 0, not 0"),
            ("step", [5, -1], "step must be from 0 up, not -1"),
            ("step", math.nan, "step must be from 0 up, not nan"),
        ],
    )
    def test_refuses(self, theory, resource, value, message):
        with pytest.raises(ValueError, match=message):
            theory.left(P, **{resource: value})

    @each_theory
    def test_says_what_it_does_not_speak_of(self, theory):
        for resource in set(GRIDS) - set(theory.resources):
            with pytest.raises(ValueError, match=f"{resource} must be left out: '{theory.name}' speaks of"):
                theory.left(P, **{resource: 100})
        assert {"n_parameters", "step"} <= set(theory.resources)


@dataclass(frozen=True)
class Toy(Theory):
    """Subtasks halve their loss every `half` steps, whatever their frequency."""

    name = "toy"
    source = "arXiv:0000.00000"
    resources = ("step",)

    half: float = math.nan

    def _left(self, p, N, S, D, delay, luck):
        return 0.5 ** (S / (self.half * delay)) * np.ones_like(p)

    @classmethod
    def fit(cls, observed):
        return cls(float(observed.time_upper[np.isfinite(observed.time_upper)].mean()))


class TestANewTheory:
    def test_predicts(self):
        np.testing.assert_allclose(Toy(10.0).mean_loss(P, step=[0, 10, 20]), [1, 0.5, 0.25])
        with pytest.raises(ValueError, match="n_examples must be left out: 'toy' speaks of step"):
            Toy(10.0).left(P, step=1, n_examples=5)

    def test_is_simulated(self):
        curves = simulate(Toy(1000.0), scatter=0.0, n_seeds=2, widths=(4, 8))
        assert "simulated-toy" in curves.attrs["study"]
        loss = curves["loss"].isel(alpha=0, n_train=0).sel(step=6000)
        # Half every 1000 steps; the speed of a seed, 5 %, is 23 % after six of them.
        assert np.log2(loss.values / 1.01) == pytest.approx(-6, abs=1)
        assert curves["mean_loss"].isel(alpha=0, n_train=0, step=0).values == pytest.approx(1.01, rel=0.1)

    def test_is_fitted(self):
        upper = np.array([[5.0, 15.0, np.inf]])
        one = np.ones((1, 1))
        observed = Observed(P[:3], upper - 1, upper, one[0], one.astype(int), one.astype(bool))
        assert Toy.fit(observed) == Toy(10.0)
