import importlib
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]

# They are not installed: benchmarks are run from the root of the repository, and so is this.
sys.path.insert(0, str(ROOT))
laws = importlib.import_module("benchmarks.laws")
worlds = importlib.import_module("benchmarks.worlds")
drawn_sizes = importlib.import_module("benchmarks.sizes")
sys.path.remove(str(ROOT))


def draw(seed=0, *, ranges=None, **changes):
    """Sizes and a generator to go on with."""
    rng = np.random.default_rng(seed)
    return replace(drawn_sizes.draw_sizes(rng, ranges or drawn_sizes.Ranges()), **changes), rng


class TestSizes:
    @pytest.mark.parametrize("seed", range(20))
    def test_lie_in_their_ranges(self, seed):
        ranges = drawn_sizes.Ranges()
        sizes, _ = draw(seed)
        for name in (
            "n_subtasks",
            "alpha",
            "n_seeds",
            "n_evaluations",
            "scatter",
            "drop",
            "first_time",
            "chance",
        ):
            low, high = getattr(ranges, name)
            assert low <= getattr(sizes, name) <= high
        assert ranges.n_widths[0] <= sizes.n_parameters.size <= ranges.n_widths[1]
        assert drawn_sizes.AT_LEAST_LEARNED <= sizes.n_learned <= sizes.room
        assert sizes.frequency.sum() == pytest.approx(1)
        assert sizes.frequency[0] / sizes.frequency[9] == pytest.approx(10 ** (1 + sizes.alpha))

    def test_large_draws_are_drawn_again(self):
        ranges = drawn_sizes.Ranges(n_subtasks=(400, 500), n_evaluations=(200, 300))
        for seed in range(20):
            sizes, _ = draw(seed, ranges=ranges)
            n = sizes.n_subtasks * sizes.n_seeds * sizes.n_parameters.size * sizes.n_evaluations
            assert n <= drawn_sizes.MOST_LOSSES


class TestPieces:
    @pytest.mark.parametrize("ramp", [False, True])
    @pytest.mark.parametrize("factor", [2.0, 9.0])
    def test_drop_takes_its_factor(self, ramp, factor):
        sizes, _ = draw(drop=factor, ramp=ramp)
        steps = np.array([0, 10_000 / factor, 10_000, 10**9])
        share = laws.fall_in_drops(sizes, steps, np.full((1, 1, 1), 10_000.0))[0, 0, :, 0]
        np.testing.assert_allclose(share, [1, 0.9, 0.1, 0], atol=1e-9)

    def test_without_room_a_loss_stays(self):
        sizes, _ = draw()
        share = laws.fall_in_drops(sizes, np.array([0, 1, 10**9]), np.full((1, 1, 1), np.inf))
        assert (share == 1).all()

    def test_room_is_taken_by_the_first(self):
        times = np.array([[[3.0, 1, 2, 4]]])
        left = laws.take_room(times, np.array([[2]]))
        np.testing.assert_array_equal(left, [[[np.inf, 1, 2, np.inf]]])

    @pytest.mark.parametrize("gamma", [0.6, 1.0])
    def test_room_grows_with_size(self, gamma):
        sizes, rng = draw(room_effect=0.0, rounding=0.5, room=1e4, n_subtasks=10**5)
        counted = laws.count_room(sizes, rng, gamma)
        slope = np.polyfit(np.log(sizes.n_parameters), np.log(counted[0]), 1)[0]
        assert slope == pytest.approx(gamma, abs=0.01)

    @pytest.mark.parametrize("shape", [laws.exponential, laws.ridge, laws.square_ridge])
    def test_modes_are_whole_at_first_and_cross_the_threshold_at_one(self, shape):
        np.testing.assert_allclose(shape(np.array([0.0, 1.0])), [1, laws.TAU])

    def test_scatter_is_shared_as_told(self):
        sizes, rng = draw(scatter=0.5, own=0.25, speed_effect=0.0, n_subtasks=400, n_seeds=40)
        log_times = np.log(laws.scatter_times(sizes, rng, np.ones(400)) / sizes.first_time)
        assert log_times.std() == pytest.approx(0.5, rel=0.03)
        shared = np.corrcoef(log_times[:, 0].ravel(), log_times[:, 1].ravel())[0, 1]
        assert shared == pytest.approx(0.75, abs=0.03)


class TestLaws:
    def times(self, law, **changes):
        """Geometric mean times of the subtasks where all have room and time, from a law's crossings."""
        ranges = drawn_sizes.Ranges(n_subtasks=(20, 20), n_widths=(1, 1), n_seeds=(10, 10))
        fixed = {
            "scatter": 0.01,
            "speed_effect": 0.0,
            "linear": False,
            "n_evaluations": 3000,
            "limit": "room",
        }
        sizes, rng = draw(1, ranges=ranges, room=20.0, room_effect=0.0, rounding=0.5, **fixed, **changes)
        steps, share = law(replace(sizes, first_time=1e5), rng)
        crossed = (share >= laws.TAU).sum(axis=2)
        assert (crossed < steps.size).all()
        return sizes, np.exp(np.log(steps[crossed]).mean(axis=(0, 1)))

    @pytest.mark.parametrize(
        ("law", "beta"),
        [
            (laws.obey, 1.0),
            (laws.follow(0.8), 0.8),
            (laws.follow(1.3), 1.3),
            (laws.wait_in_line, None),
        ],
    )
    def test_learning_time_follows_frequency(self, law, beta):
        sizes, times = self.times(law)
        slope = -np.polyfit(np.log(sizes.frequency), np.log(times), 1)[0]
        assert slope == pytest.approx(beta or 1 / (1 + sizes.alpha), abs=0.02)

    def test_bent_is_two_laws_and_one_between_them(self):
        sizes, times = self.times(laws.bend, n_learned=20.0)
        log_p, log_t = np.log(sizes.frequency), np.log(times)
        first, later = (-np.polyfit(log_p[part], log_t[part], 1)[0] for part in (np.s_[:10], np.s_[10:]))
        assert first == pytest.approx(0.75, abs=0.02)
        assert later == pytest.approx(1.25, abs=0.02)

    def test_other_orders(self):
        for law in (laws.shuffle_each, laws.shuffle_all):
            sizes, times = self.times(law)
            assert abs(np.corrcoef(np.log(sizes.frequency), np.log(times))[0, 1]) < 0.7

    def test_a_sixth_of_the_exponent_is_drift(self):
        sizes, rng = draw(3, limit="room", linear=False, n_evaluations=40)
        _, share = laws.drift_a_sixth(sizes, rng)
        end, log_n = share[:, :, -1], np.log(sizes.n_parameters)
        unlearned = (np.where(end >= laws.TAU, 1.0, 0) @ sizes.frequency).mean(axis=0)
        loss = (end @ sizes.frequency).mean(axis=0)
        counted, whole = (np.polyfit(log_n, np.log(y), 1)[0] for y in (unlearned, loss))
        assert counted / whole == pytest.approx(5 / 6, abs=0.02)

    def test_no_count_has_one_count_and_a_falling_loss(self):
        sizes, rng = draw(4, limit="room")
        _, share = laws.never_count(sizes, rng)
        counts = (share[:, :, -1] < laws.TAU).sum(axis=-1)
        loss = (share[:, :, -1] @ sizes.frequency).mean(axis=0)
        assert np.ptp(counts) == 0
        assert (np.diff(loss) < 0).all()


class TestWorlds:
    @pytest.mark.parametrize("name", worlds.WORLDS)
    def test_gives_curves_that_it_describes(self, name):
        drawn = worlds.simulate(name, 0)
        loss, sizes = drawn.curves["loss"], drawn.sizes
        assert loss.sizes["seed"] == sizes.n_seeds
        assert loss.sizes["width"] == sizes.n_parameters.size
        assert loss.sizes["step"] <= sizes.n_evaluations
        assert loss.sizes["subtask"] == sizes.n_subtasks
        assert float(loss.median("seed").max()) > 0.5 * sizes.chance
        assert ("chance" in drawn.curves) == sizes.declared

    @pytest.mark.parametrize("seed", range(0, 12, 2))
    def test_widest_learns_enough(self, seed):
        drawn = worlds.simulate("room", seed)
        last = drawn.curves["loss"].isel(width=-1, step=-1).squeeze()
        learned = (last < laws.TAU * drawn.sizes.chance).sum("subtask")
        assert float(learned.median()) >= drawn_sizes.AT_LEAST_LEARNED - 1  # the room of a seed varies

    def test_are_the_same_for_the_same_seed(self):
        one, again, other = (worlds.simulate("both", seed).curves for seed in (2, 2, 4))
        assert one.identical(again)
        assert not one.equals(other)

    def test_two_widths_of_equal_size(self):
        n_parameters = worlds.simulate("equal sizes", 0).curves["n_parameters"].values
        assert np.unique(n_parameters).size == n_parameters.size - 1

    def test_halves_share_no_draw(self):
        tuning, showing = (worlds.list_seeds(half, 50) for half in ("tuning", "showing"))
        assert len(tuning) == len(showing) == 50
        assert not set(tuning) & set(showing)
        assert all(seed % 2 == 0 for seed in tuning)
