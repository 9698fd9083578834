"""Constants of theories from what they themselves would leave to be seen."""

import math
from dataclasses import fields

import numpy as np
import pytest

from quanta.analysis.learned.slices import select
from quanta.analysis.learned.times import count_learned, find_full, learning_times, time_bounds
from quanta.analysis.theories.constants import fit_room, fit_scale
from quanta.analysis.theories.domino import Domino
from quanta.analysis.theories.multilinear import Multilinear
from quanta.analysis.theories.protocol import Observed
from quanta.analysis.theories.quanta import Quanta
from quanta.analysis.theories.simulation import SEED_EFFECT, simulate
from quanta.analysis.theories.smooth import Smooth
from quanta.analysis.theories.spectral import Spectral
from quanta.tasks.frequencies import zipf_frequencies

P = zipf_frequencies(64, 0.4)
INF = math.inf


class TestScale:
    @pytest.mark.parametrize("scatter", [0.2, 0.6])
    def test_of_censored_times_is_unbiased(self, scatter):
        rng, last = np.random.default_rng(0), 100 / P[20]
        found, on_learned = [], []
        for _ in range(200):
            times = 100 / P * np.exp(scatter * rng.standard_normal((3, 64)))
            learned = times < last
            lower, upper = np.where(learned, times, last), np.where(learned, times, INF)
            found.append(fit_scale(1 / P, lower, upper))
            on_learned.append(np.exp(np.log((times * P)[learned]).mean()))
        # The standard error is below scatter / √(3 · 21 · 200).
        assert np.log(found).mean() == pytest.approx(math.log(100), abs=4 * scatter / 112)
        assert np.log(on_learned).mean() < math.log(100) - 0.04 * scatter

    def test_of_exact_values_is_their_ratio(self):
        y = np.array([[3.0, 12.0, 48.0]])
        assert fit_scale(np.array([1.0, 2, 4]), y, y, slope=2.0) == pytest.approx(3)

    def test_of_bounds_alone_is_unknown(self):
        assert math.isnan(fit_scale(1 / P, np.full((1, 64), 9.0), np.full((1, 64), INF)))


class TestRoom:
    N = np.geomspace(1e3, 1e5, 9)

    def test_of_full_networks(self):
        counts = np.array([[1, 2, 3, 5, 10, 18, 32, 56, 64]])
        full = np.ones((1, 9), dtype=bool)
        found = fit_room(self.N, counts, full, 64)
        # The last has learned all there is: a bound, which 100 subtasks for 1e5 parameters meet.
        assert found == pytest.approx(self.N[:-1].sum() / counts[:, :-1].sum(), rel=1e-3)

    def test_networks_that_still_learn_pull_it_up_only(self):
        counts, full = np.array([[1, 2, 3, 5, 10, 11, 12, 13, 14]]), np.arange(9)[None] < 5
        found = fit_room(self.N, counts, full, 64)
        assert found == pytest.approx(fit_room(self.N[:5], counts[:, :5], full[:, :5], 64), rel=1e-2)
        low = fit_room(self.N, np.array([[1, 2, 3, 5, 10, 30, 60, 60, 60]]), full, 64)
        assert low < found * 0.95

    def test_with_another_slope(self):
        counts = np.rint((self.N / 700) ** 0.6)[None].astype(int)
        found = fit_room(self.N, counts, np.ones((1, 9), dtype=bool), 64, slope=0.6)
        assert found == pytest.approx(700, rel=0.05)  # whole numbers from 1 to 20

    def test_without_a_full_network_is_unknown(self):
        assert math.isnan(fit_room(self.N, np.ones((1, 9), dtype=int), np.zeros((1, 9), dtype=bool), 64))


def observe(curves):
    """What a slice says, as the verdict reads it."""
    times = learning_times(select(curves))
    lower, upper = time_bounds(times)
    return Observed(
        frequency=curves["frequency"].values[0],
        time_lower=lower,
        time_upper=upper,
        n_parameters=curves["n_parameters"].values,
        n_learned=count_learned(times).transpose("seed", "width").values,
        is_full=find_full(times),
    )


class TestATheoryAgreesWithItself:
    @pytest.mark.parametrize("theory", [Quanta(32.0, 550.0), Multilinear(32.0, 550.0), Domino(285.0, 550.0)])
    def test_simulated_and_fitted(self, theory):
        n_seeds = 12
        found = type(theory).fit(observe(simulate(theory, n_seeds=n_seeds, scatter=0.3)))
        # Between seeds both differ by 5 %; some 23 subtasks, three quarters of whose scatter a seed shares.
        error = math.hypot(SEED_EFFECT, 0.3 / math.sqrt(23)) / math.sqrt(n_seeds)
        assert math.log(found.learning_time / theory.learning_time) == pytest.approx(0, abs=4 * error)
        assert math.log(found.parameters_per_subtask / 550) == pytest.approx(0, abs=4 * error)
        assert math.isnan(found.examples_per_subtask)

    @pytest.mark.parametrize("tau", [0.05, 0.1, 0.3])
    @pytest.mark.parametrize(
        "theory",
        [
            Quanta(32.0, 550.0, 90.0),
            Multilinear(32.0, 550.0, 90.0),
            Domino(285.0, 550.0),
            Spectral(32.0, 550.0, 90.0),
            Smooth(6.0, 110.0, 0.7),
        ],
        ids=lambda theory: getattr(theory, "name", theory),
    )
    def test_exactly(self, theory, tau):
        """What it leaves is found again from where tau is left by each resource alone."""

        def reach(resource, **draw):
            """By bisection, for each subtask."""
            low, high = np.full(64, 1e-3), np.full(64, 1e12)
            for _ in range(100):
                middle = np.sqrt(low * high)
                is_left = np.diag(theory.left(P, **{resource: middle}, **draw)) > tau
                low, high = np.where(is_left, middle, low), np.where(is_left, high, middle)
            return high[None]

        times, ranks = reach("step"), np.array([4, 10, 21, 41])
        examples = reach("n_examples", luck=0.0) if "n_examples" in theory.resources else None
        N = reach("n_parameters", luck=0.0)[0, ranks - 1]
        observed = Observed(P, times, times, N, ranks[None], np.ones((1, 4), bool), examples, examples, tau)
        found = type(theory).fit(observed)
        for resource in theory.resources:
            # No hard step lies at these, and the fit of exact times is good to 1e-6.
            grid = np.geomspace(1.2345, 123456.7, 40)
            expected = theory.left(P, **{resource: grid})
            np.testing.assert_allclose(found.left(P, **{resource: grid}), expected, atol=2e-4)

    def test_times_that_fall_with_rarity_are_no_smooth_law(self):
        times, whole = (100.0 / np.arange(1, 65))[None], np.ones((1, 3), dtype=int)
        found = Smooth.fit(Observed(P, times, times, np.array([1.0, 2, 3]), 4 * whole, whole > 0))
        assert np.isnan([found.time, found.room, found.rarity]).all()

    def test_what_is_not_observed_is_unknown(self):
        none, whole = np.zeros((1, 64)), np.ones((1, 2), dtype=int)
        observed = Observed(P, none + 9, none + INF, np.array([1.0, 2]), whole, whole < 0)
        for theory in (Quanta, Multilinear, Domino, Spectral, Smooth):
            found = theory.fit(observed)
            assert all(math.isnan(getattr(found, field.name)) for field in fields(theory)[:2])
