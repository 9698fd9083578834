import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from quanta.analysis.learned.reconstruction import explained_variance, measure_reconstruction
from scipy import stats

from quanta.analysis.learned.times import final_mean_loss, learning_times, unlearned_mass
from quanta.tasks.frequencies import uniform_frequencies, zipf_frequencies


@pytest.fixture
def learned_sets(slice_of):
    """Build a slice in which each network, by seed and width, ends up with the given subtasks learned."""

    def build(sets, frequency, residue=0.0):
        loss = np.ones((len(sets), len(sets[0]), 2, len(frequency)))
        for seed, of_seed in enumerate(sets):
            for width, learned in enumerate(of_seed):
                loss[seed, width, 1, np.array(learned, dtype=int) - 1] = residue
        curves = slice_of(loss, frequency)
        return curves, learning_times(curves)

    return build


def p_values(found):
    return found.null_of_sets.p_value, found.null_of_frequencies.p_value


class TestGap:
    def test_of_a_residue_is_known(self, learned_sets):
        curves, times = learned_sets([[[1], []], [[1], [1]]], [0.5, 0.5], residue=0.05)
        found = measure_reconstruction(curves, times, n_permutations=10)
        gap = math.log(1.05)  # .5 + .05 * .5 bits are left of .5, where subtask 1 is learned
        # Losses are float32.
        assert found.rms_gap == pytest.approx(math.sqrt(3 / 4) * gap, rel=1e-6)
        assert found.largest_gap == pytest.approx(1.05, rel=1e-6)
        assert (found.largest_gap_seed, found.largest_gap_width) == (0, 1)
        assert (found.n_networks, found.n_left_out) == (4, 0)

    def test_of_hard_steps_is_none(self, quanta_world):
        curves = quanta_world(sharpness=math.inf)
        found = measure_reconstruction(curves, learning_times(curves), n_permutations=10)
        assert found.rms_gap < 1e-6  # float32
        assert found.r_squared == pytest.approx(1)
        assert found.slope == pytest.approx(1, abs=1e-6)

    def test_takes_the_largest_either_way(self, learned_sets):
        curves, times = learned_sets([[[1], [1, 2], [1, 2, 3]]], zipf_frequencies(6, 0.4), residue=0.02)
        lower = curves.assign(mean_loss=curves["mean_loss"] * [[[1], [0.5], [1]]])
        found = measure_reconstruction(lower, times, n_permutations=1)
        assert found.largest_gap < 1
        assert found.largest_gap_width == 2

    def test_slope_and_r_squared_are_those_of_scipy(self, quanta_world):
        curves = quanta_world(scatter=0.5)
        times = learning_times(curves)
        found = measure_reconstruction(curves, times, n_permutations=1)
        measured = np.log(final_mean_loss(curves).values.astype(float).ravel())
        line = stats.linregress(np.log(unlearned_mass(times).values.ravel()), measured)
        assert found.slope == pytest.approx(line.slope)
        assert found.r_squared == pytest.approx(line.rvalue**2)
        assert found.r_squared == explained_variance(measured, np.log(unlearned_mass(times).values.ravel()))

    def test_is_large_without_quanta(self, smooth):
        assert measure_reconstruction(smooth, learning_times(smooth), n_permutations=1).rms_gap > 1


class TestNulls:
    """Against the share of permutations that are as good, counted by hand."""

    N = 4000

    @pytest.mark.parametrize(
        ("sets", "of_sets", "of_frequencies"),
        [
            # The most frequent of five.
            ([[[1]]], 1 / 5, 1 / 5),
            # One and two of five: drawn apart, or the same two frequencies in order.
            ([[[1], [1, 2]]], 1 / 5 / 10, 1 / 5 / 4),
            # Two seeds alike: the frequencies are exchanged for both at once.
            ([[[1]], [[1]]], 1 / 5 / 5, 1 / 5),
        ],
    )
    def test_are_drawn_as_said(self, learned_sets, sets, of_sets, of_frequencies):
        found = measure_reconstruction(
            *learned_sets(sets, zipf_frequencies(5, 0.4)), n_permutations=self.N, seed=1
        )
        for p, share in zip(p_values(found), (of_sets, of_frequencies), strict=True):
            # Four standard deviations of a binomial share.
            assert abs(p - share) < 4 * math.sqrt(share * (1 - share) / self.N) + 1 / self.N

    @pytest.mark.parametrize("which", [0, 1])
    def test_p_values_are_uniform_where_the_null_holds(self, learned_sets, which):
        """What is called learned has nothing to do with the loss that is measured."""
        frequency = zipf_frequencies(8, 0.4)
        curves, times = learned_sets([[[1], [1, 2], [1, 2, 3, 4]]] * 2, frequency, residue=0.01)
        learned = times["learned"].values
        rng = np.random.default_rng(0)
        found = []
        for draw in range(200):
            if which == 0:
                chance = rng.permuted(learned, axis=-1)
            else:
                chance = learned[..., rng.permutation(frequency.size)]
            random = times.assign(learned=(times["learned"].dims, chance))
            found.append(
                p_values(measure_reconstruction(curves, random, n_permutations=99, seed=draw))[which]
            )
        # Ties are rare: there are 840 ways at least. Within four standard deviations of a binomial share.
        for q in (0.1, 0.5):
            share = np.mean(np.array(found) <= q)
            assert abs(share - q) < 4 * math.sqrt(q * (1 - q) / len(found))

    def test_refuse_other_subtasks_and_other_frequencies(self, ideal):
        found = measure_reconstruction(ideal, learning_times(ideal), n_permutations=199)
        assert p_values(found) == (1 / 200, 1 / 200)
        assert found.null_of_sets.rms_gap.shape == (199,)
        assert found.null_of_sets.rms_gap.min() > found.rms_gap
        assert found.null_of_frequencies.rms_gap.min() > found.rms_gap

    def test_say_nothing_of_uniform_frequencies(self, uniform, slice_of):
        found = measure_reconstruction(uniform, learning_times(uniform), n_permutations=99)
        assert p_values(found) == (1, 1)
        # Also where sums of K frequencies differ by rounding.
        loss = np.ones((1, 3, 2, 7))
        loss[0, 0, 1, :2] = loss[0, 1, 1, 4:] = loss[0, 2, 1, ::2] = 0.03
        curves = slice_of(loss, uniform_frequencies(7))
        assert p_values(measure_reconstruction(curves, learning_times(curves), n_permutations=99)) == (1, 1)

    def test_depend_on_the_seed_alone(self, quanta_world):
        curves = quanta_world(by_rank=False)
        times = learning_times(curves)
        first, again, other = (
            measure_reconstruction(curves, times, n_permutations=50, seed=seed) for seed in (3, 3, 4)
        )
        assert first == again
        for name in ("null_of_sets", "null_of_frequencies"):
            assert np.array_equal(getattr(first, name).rms_gap, getattr(again, name).rms_gap)
            assert not np.array_equal(getattr(first, name).rms_gap, getattr(other, name).rms_gap)

    @given(st.lists(st.sets(st.integers(1, 6)), min_size=1, max_size=4), st.integers(0, 3))
    @settings(max_examples=40, deadline=None)
    def test_whatever_is_learned_numbers_are_honest(self, slice_of, sets, seed):
        loss = np.ones((1, len(sets), 2, 6))
        for width, learned in enumerate(sets):
            loss[0, width, 1, np.array(sorted(learned), dtype=int) - 1] = 0
        curves = slice_of(loss, zipf_frequencies(6, 0.4))
        found = measure_reconstruction(curves, learning_times(curves), n_permutations=20, seed=seed)
        n_whole = sum(len(learned) == 6 for learned in sets)
        assert (found.n_networks, found.n_left_out) == (len(sets) - n_whole, n_whole)
        for p in p_values(found):
            assert 1 / 21 <= p <= 1 if found.n_networks else math.isnan(p)


class TestBrokenData:
    def test_nothing_learned(self, quanta_world):
        curves = quanta_world(capacity=0)
        found = measure_reconstruction(curves, learning_times(curves), n_permutations=19)
        assert p_values(found) == (1, 1)
        assert found.rms_gap == pytest.approx(0, abs=1e-6)
        assert math.isnan(found.r_squared)
        assert math.isnan(found.slope)

    def test_everything_learned(self, quanta_world):
        curves = quanta_world(capacity=100, sharpness=math.inf, n_subtasks=8)
        found = measure_reconstruction(curves, learning_times(curves), n_permutations=19)
        assert (found.n_networks, found.n_left_out) == (0, 33)
        assert all(math.isnan(p) for p in p_values(found))
        assert math.isnan(found.rms_gap)
        assert math.isnan(found.largest_gap)
        assert found.largest_gap_seed is None
        assert found.largest_gap_width is None
        assert found.null_of_sets.rms_gap.size == 0

    def test_networks_without_a_loss_are_left_out(self, learned_sets):
        curves, times = learned_sets([[[1], [1, 2], [1, 2, 3]]], [0.5, 0.3, 0.2])
        found = measure_reconstruction(curves, times, n_permutations=19)
        assert (found.n_networks, found.n_left_out) == (2, 1)
        assert math.isnan(found.slope)  # a line needs three

    def test_one_width(self, quanta_world):
        curves = quanta_world(widths=np.array([32]), n_seeds=1)
        found = measure_reconstruction(curves, learning_times(curves), n_permutations=99)
        assert found.n_networks == 1
        assert found.rms_gap == pytest.approx(abs(math.log(found.largest_gap)))
        assert found.null_of_sets.p_value == 0.01
        assert math.isnan(found.r_squared)

    def test_after_an_early_stop_the_last_value_counts(self, quanta_world):
        curves = quanta_world(sharpness=math.inf)
        late = curves["step"] > 3000
        stopped = curves.assign(
            {name: curves[name].where(~late | (curves["seed"] > 0)) for name in ("loss", "mean_loss")}
        )
        found = measure_reconstruction(stopped, learning_times(stopped), n_permutations=19)
        assert found.rms_gap < 1e-6  # float32
        assert found.n_left_out == 0

    def test_refuses_what_it_cannot_use(self, ideal):
        times = learning_times(ideal)
        with pytest.raises(ValueError, match="n_permutations must be at least 1, not 0"):
            measure_reconstruction(ideal, times, n_permutations=0)
        with pytest.raises(ValueError, match="times must be those of curves, but they differ in width"):
            measure_reconstruction(ideal, times.isel(width=slice(3)))


class TestExplainedVariance:
    def test_forgives_any_line(self):
        x = np.array([0.0, -1.0, -2.5, np.nan])
        assert explained_variance(3 - 2 * x, x) == pytest.approx(1)

    @pytest.mark.parametrize(
        ("log_loss", "log_rebuilt"),
        [([0, 1], [0, 1]), ([1, 1, 1], [0, 1, 2]), ([0, 1, 2], [1, 1, 1]), ([0, 1, np.nan], [0, 1, 2])],
    )
    def test_is_nan_where_there_is_nothing_to_explain(self, log_loss, log_rebuilt):
        assert math.isnan(explained_variance(np.array(log_loss, float), np.array(log_rebuilt, float)))
