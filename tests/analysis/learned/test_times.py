import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from quanta.analysis.learned.times import (
    count_learned,
    count_learned_by,
    final_loss,
    final_mean_loss,
    learning_times,
    select,
    unlearned_mass,
)
from quanta.curves.dataset import make_curves
from quanta.tasks.frequencies import tail_mass, zipf_frequencies

STEPS = [0, 10, 100, 1000]


@pytest.fixture
def one(slice_of):
    """One network; each argument is the loss curve of a subtask at STEPS."""

    def build(*curves, step=STEPS):
        loss = np.array(curves, dtype=np.float32).T[None, None]
        return slice_of(loss, zipf_frequencies(len(curves), 0.4), step=step)

    return build


def described(times):
    return [
        (bool(t.learned), float(t.step), float(t.step_lower), float(t.step_upper))
        for t in (times.isel(seed=0, width=0, subtask=k) for k in range(times.sizes["subtask"]))
    ]


class TestLearningTimes:
    def test_crossing_is_halfway_in_log_loss_and_log_step(self, one):
        # tau = 0.1 is the geometric mean of 1 and 0.01, so the crossing is that of 10 and 100.
        times = learning_times(one([1, 1, 0.01, 0.01]))
        [(learned, step, lower, upper)] = described(times)
        assert (learned, lower, upper) == (True, 10, 100)
        assert step == pytest.approx(np.sqrt(1000), rel=1e-6)  # float32 holds 0.01 to 2e-8

    def test_a_relapse_delays_until_below_for_good(self, one):
        [(learned, step, lower, upper)] = described(learning_times(one([1, 0.01, 0.5, 0.02])))
        assert (learned, lower, upper) == (True, 100, 1000)
        assert 100 < step < 1000

    def test_below_and_above_again_at_the_end_is_not_learned(self, one):
        assert described(learning_times(one([1, 0.01, 0.01, 0.5])))[0][0] is False

    def test_never_learned_is_censored_at_the_last_step(self, one):
        [(learned, step, lower, upper)] = described(learning_times(one([1, 1, 1, 1])))
        assert not learned
        assert np.isnan(step)
        assert (lower, upper) == (1000, np.inf)

    def test_loss_at_tau_is_not_below_it(self, slice_of):
        loss = np.array([1, 0.25]).reshape(1, 1, 2, 1)  # 0.25 is exact in float32
        assert not learning_times(slice_of(loss, [1.0]), tau=0.25)["learned"].any()
        assert learning_times(slice_of(loss, [1.0]), tau=0.26)["learned"].all()

    @pytest.mark.parametrize(("first", "expected"), [(0, 1), (1, 1), (5, 5)])
    def test_learned_at_the_first_evaluation(self, one, first, expected):
        times = learning_times(one([0.01, 0.01, 0.01, 0.01], step=[first, 10, 100, 1000]))
        [(learned, step, lower, upper)] = described(times)
        assert (learned, lower, upper) == (True, 0, expected)
        assert step == pytest.approx(expected, rel=1e-15)

    def test_learned_right_after_step_zero_has_a_logarithm(self, one):
        [(learned, step, lower, upper)] = described(learning_times(one([0.1001, 0, 0, 0])))
        assert (learned, lower, upper) == (True, 0, 10)
        assert 1 <= step <= 10

    def test_after_an_early_stop_the_last_measured_step_is_the_last(self, one):
        nan = np.nan
        times = learning_times(one([1, 0.01, 0.01, nan], [1, 1, 1, nan], [1, 0.01, 1, nan]))
        assert times["learned"].values.ravel().tolist() == [True, False, False]
        assert times["step_lower"].values.ravel().tolist() == [0, 100, 100]

    def test_carries_frequency_parameters_and_tau(self, one):
        times = learning_times(one([1, 1, 0, 0], [1, 1, 1, 1]), tau=0.3)
        assert times.attrs["tau"] == 0.3
        assert times["n_parameters"].values.tolist() == [100]
        np.testing.assert_array_equal(times["frequency"], zipf_frequencies(2, 0.4))

    @pytest.mark.parametrize("tau", [0, 1, -0.1, np.nan])
    def test_tau_out_of_range(self, one, tau):
        with pytest.raises(ValueError, match="tau must be between 0 and 1"):
            learning_times(one([1, 1, 1, 1]), tau)

    @given(arrays(np.float32, (2, 3, 6, 4), elements=st.sampled_from([0.0, 0.05, 0.0625, 0.5, 1.0])))
    def test_agrees_with_the_definition(self, slice_of, loss):
        steps = [0, 1, 3, 10, 30, 100]
        times = learning_times(slice_of(loss, zipf_frequencies(4, 0.4), step=steps))
        for seed, width, k in np.ndindex(2, 3, 4):
            curve = loss[seed, width, :, k]
            first = next((t for t in range(6) if (curve[t:] < 0.1).all()), None)
            got = times.isel(seed=seed, width=width, subtask=k)
            assert bool(got["learned"]) == (first is not None)
            if first is None:
                continue
            assert float(got["step_upper"]) == max(steps[first], 1)
            assert float(got["step_lower"]) == (steps[first - 1] if first else 0)
            assert max(float(got["step_lower"]), 1) <= float(got["step"]) <= float(got["step_upper"])


class TestCounts:
    def test_counts_and_reconstruction_of_a_world_set_by_hand(self, ideal):
        times = learning_times(ideal)
        n = count_learned(times)
        assert n.dims == ("seed", "width")
        # The three seeds are equal: no scatter. Room is floor(0.3 width); time is enough for 22.
        assert n.values.tolist() == [[1, 1, 2, 3, 4, 6, 9, 13, 19, 22, 22]] * 3
        np.testing.assert_allclose(unlearned_mass(times), tail_mass(ideal["frequency"].values)[n], rtol=1e-12)

    def test_learning_times_of_a_world_set_by_hand(self, ideal):
        # Between evaluations 8 % apart a sigmoid of steepness 8 is close to a power law.
        times = learning_times(ideal).isel(width=-1)
        learned = times["step"].where(times["learned"])
        expected = (100 / times["frequency"]).where(times["learned"]).transpose(*learned.dims)
        np.testing.assert_allclose(learned, expected, rtol=0.01)

    def test_count_by_step(self, one):
        times = learning_times(one([1, 0.01, 0.01, 0.01], [1, 1, 0.01, 0.01], [1, 1, 1, 1]))
        by = count_learned_by(times, [0, 5, 50, 1000])
        assert by.dims == ("seed", "width", "step")
        assert by.values.ravel().tolist() == [0, 1, 2, 2]

    def test_count_at_the_end_is_the_count(self, ideal, shuffled):
        for world in (ideal, shuffled):
            times = learning_times(world)
            last = count_learned_by(times, world["step"].values[-1]).isel(step=0)
            np.testing.assert_array_equal(last, count_learned(times))

    def test_all_learned_leaves_exactly_nothing(self, one):
        assert unlearned_mass(learning_times(one([0] * 4, [0] * 4, [0] * 4))).values.item() == 0

    def test_final_losses_after_an_early_stop(self, slice_of):
        loss = np.ones((2, 2, 3, 2))
        loss[0, 1, 1] = 0.5
        loss[0, 1, 2] = np.nan
        loss[1, 0, 2] = 0.25
        world = slice_of(loss, [0.5, 0.5])
        assert final_mean_loss(world).values.tolist() == [[1, 0.5], [0.25, 1]]
        assert final_loss(world).dims == ("seed", "width", "subtask")
        assert final_loss(world).values[0, 1].tolist() == [0.5, 0.5]


class TestSelect:
    @pytest.fixture
    def curves(self):
        return make_curves(
            np.ones((2, 2, 1, 1, 2, 3)),
            frequency=[zipf_frequencies(3, 0.2), zipf_frequencies(3, 0.4)],
            alpha=[0.2, 0.4],
            n_train=[1000, np.inf],
            step=[0, 1],
            width=[4],
            n_parameters=[100],
        )

    def test_takes_the_slice(self, curves):
        got = select(curves, alpha=0.4, n_train=np.inf)
        assert got["loss"].dims == ("seed", "width", "step", "subtask")
        assert (float(got["alpha"]), float(got["n_train"])) == (0.4, np.inf)
        np.testing.assert_array_equal(got["frequency"], zipf_frequencies(3, 0.4))

    @pytest.mark.parametrize(
        ("chosen", "message"),
        [
            ({}, "alpha must be chosen: the curves hold 0.2, 0.4"),
            ({"alpha": 0.4}, "n_train must be chosen: the curves hold 1000, inf"),
            ({"alpha": 0.3, "n_train": 1000}, "alpha must be one of 0.2, 0.4, not 0.3"),
        ],
    )
    def test_refuses(self, curves, chosen, message):
        with pytest.raises(ValueError, match=message):
            select(curves, **chosen)

    def test_unknown_alpha_matches_nan(self, curves):
        unknown = curves.isel(alpha=[0]).assign_coords(alpha=[np.nan])
        assert np.isnan(select(unknown, alpha=np.nan, n_train=1000)["alpha"])
