import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.isotonic import IsotonicRegression

from quanta.analysis import axes
from quanta.analysis.learned.left import measure_left, trace
from quanta.analysis.learned.monotone import MonotoneCurves
from quanta.analysis.learned.slices import select
from quanta.analysis.learned.times import (
    count_learned,
    cross,
    cross_trace,
    find_full,
    learning_times,
    time_bounds,
)
from quanta.curves.dataset import make_curves
from quanta.tasks.frequencies import uniform_frequencies, zipf_frequencies

STEPS = [0, 10, 100, 1000]

few = settings(max_examples=30)


@pytest.fixture(scope="session")
def one(slice_of):
    """One network; each argument is the loss curve of a subtask at STEPS."""

    def build(*curves, step=STEPS, **options):
        loss = np.array(curves, dtype=np.float32).T[None, None]
        return slice_of(loss, zipf_frequencies(len(curves), 0.4), step=step, **options)

    return build


def described(times):
    return [
        (bool(t.learned), float(t.step), float(t.step_lower), float(t.step_upper))
        for t in (times.isel(seed=0, width=0, subtask=k) for k in range(times.sizes["subtask"]))
    ]


class TestLearningTimes:
    def test_crossing_is_halfway_in_log_loss_and_log_step(self, one):
        # tau = 0.1 is the geometric mean of 1 and 0.01, so the crossing is that of 10 and 100.
        [(learned, step, lower, upper)] = described(learning_times(one([1, 1, 0.01, 0.01])))
        assert (learned, lower, upper) == (True, 10, 100)
        assert step == pytest.approx(np.sqrt(1000), rel=1e-6)  # float32 holds 0.01 to 2e-8

    def test_tau_is_a_share_of_chance(self, one):
        curves = one([2, 2, 0.3, 0.1], [2, 2, 0.3, 0.1], chance=[2, 4])
        times = learning_times(curves)
        # .1 of 2 bits is crossed after step 100, .1 of 4 before it.
        assert [t[2:] for t in described(times)] == [(100, 1000), (10, 100)]
        second = np.exp(np.log(10) + np.log(10) * np.log(2 / 0.4) / np.log(2 / 0.3))
        assert described(times)[1][1] == pytest.approx(second, rel=1e-6)

    def test_what_is_below_for_one_evaluation_alone_is_not_learned_by_then(self, one):
        # Of every three the median is 1, .5, .02, .02.
        [(learned, step, lower, upper)] = described(learning_times(one([1, 0.01, 0.5, 0.02])))
        assert (learned, lower, upper) == (True, 10, 100)
        part = np.log(0.5 / 0.1) / np.log(0.5 / 0.02)
        assert step == pytest.approx(10 * 10**part, rel=1e-6)

    def test_above_again_at_the_end_is_not_learned(self, one):
        assert described(learning_times(one([1, 0.01, 0.5, 0.5])))[0][0] is False

    def test_one_noisy_evaluation_does_not_unlearn(self, one):
        steps = [0, *range(1, 40)]
        loss = np.where(np.arange(40) < 5, 1.0, 0.01)
        loss[-1] = 0.2
        assert described(learning_times(one(loss, step=steps)))[0][0] is True

    def test_never_learned_is_censored_at_the_last_step(self, one):
        [(learned, step, lower, upper)] = described(learning_times(one([1, 1, 1, 1])))
        assert not learned
        assert np.isnan(step)
        assert (lower, upper) == (1000, np.inf)

    def test_loss_at_tau_is_not_below_it(self, slice_of):
        loss = np.array([1, 0.25]).reshape(1, 1, 2, 1)  # 0.25 is exact in float32
        assert not learning_times(slice_of(loss, [1.0]), tau=0.25)["learned"].any()
        assert learning_times(slice_of(loss, [1.0]), tau=0.26)["learned"].all()

    @pytest.mark.parametrize(("first", "expected"), [(0, 10), (1, 1), (5, 5)])
    def test_learned_at_the_first_evaluation(self, one, first, expected):
        """Step 0 is no place on a logarithmic axis: the first place is the evaluation after it."""
        times = learning_times(one([0.01, 0.01, 0.01, 0.01], step=[first, 10, 100, 1000]))
        assert described(times) == [(True, expected, 0, expected)]

    def test_between_step_0_and_the_next_evaluation_it_is_at_that(self, one):
        assert described(learning_times(one([1, 0, 0, 0], [0.2, 0.09, 0, 0]))) == [(True, 10, 0, 10)] * 2

    def test_loss_of_zero_has_a_logarithm(self, one):
        [(learned, step, lower, upper)] = described(learning_times(one([1, 1, 0, 0])))
        assert (learned, lower, upper) == (True, 10, 100)
        assert 10 < step < 100

    def test_after_an_early_stop_the_last_measured_step_is_the_last(self, one):
        nan = np.nan
        times = learning_times(one([1, 0.01, 0.01, nan], [1, 1, 1, nan], [1, 0.01, 1, nan]))
        assert times["learned"].values.ravel().tolist() == [True, False, False]
        assert times["step_lower"].values.ravel().tolist() == [0, 100, 100]

    def test_are_those_of_the_largest_training_set(self, slice_of):
        loss = np.ones((3, 2, 2, 4, 3))
        loss[2, 1, 0, 2:, 0] = 0.01
        times = learning_times(slice_of(loss, zipf_frequencies(3, 0.4), n_train=[5, 50, 500], step=STEPS))
        assert times["learned"].dims == ("seed", "width", "subtask")
        assert np.argwhere(times["learned"].values).tolist() == [[1, 0, 0]]

    def test_carries_frequency_parameters_and_tau(self, one):
        times = learning_times(one([1, 1, 0, 0], [1, 1, 1, 1]), tau=0.3)
        assert times.attrs["tau"] == 0.3
        assert times["n_parameters"].values.tolist() == [100]
        np.testing.assert_array_equal(times["frequency"], zipf_frequencies(2, 0.4))

    def test_what_is_left_need_not_be_measured_again(self, ideal):
        xr.testing.assert_identical(learning_times(measure_left(ideal)), learning_times(ideal))

    @pytest.mark.parametrize("tau", [0, 1, -0.1, np.nan])
    def test_tau_out_of_range(self, one, tau):
        with pytest.raises(ValueError, match="tau must be between 0 and 1"):
            learning_times(one([1, 1, 1, 1]), tau)

    @few
    @given(arrays(np.float32, (2, 2, 6, 3), elements=st.sampled_from([0.0, 0.05, 0.0625, 0.5, 1.0])))
    def test_agrees_with_the_definition(self, slice_of, loss):
        steps = [0, 1, 3, 10, 30, 100]
        times = learning_times(slice_of(loss, zipf_frequencies(3, 0.4), step=steps))
        model = IsotonicRegression(increasing=False)
        for seed, width, k in np.ndindex(2, 2, 3):
            raw = loss[seed, width, :, k].astype(float)
            inner = np.median([raw[:-2], raw[1:-1], raw[2:]], axis=0)
            curve = model.fit_transform(np.arange(6), [raw[0], *inner, min(raw[5], max(raw[3:5]))])
            if np.abs(curve - 0.1).min() < 1e-6:  # rounding decides
                continue
            got = {
                name: times[name].values[seed, width, k].item()
                for name in ("learned", "step", "step_lower", "step_upper")
            }
            first = next((t for t in range(6) if curve[t] < 0.1), None)
            assert got["learned"] == (first is not None)
            if first is None:
                continue
            assert got["step_upper"] == steps[max(first, 1)]
            assert got["step_lower"] == (steps[first - 1] if first > 1 else 0)
            assert max(got["step_lower"], 1) <= got["step"] <= got["step_upper"]

    def test_of_a_world_set_by_hand(self, ideal):
        # Between evaluations 8 % apart a sigmoid of steepness 8 is close to a power law.
        times = learning_times(ideal).isel(width=-1)
        learned = times["step"].where(times["learned"])
        expected = (100 / times["frequency"]).where(times["learned"]).transpose(*learned.dims)
        np.testing.assert_allclose(learned, expected, rtol=0.01)

    def test_nan_after_an_early_stop_is_a_curve_that_stays(self, ideal):
        """But for the step at which what is not learned is censored."""
        late = ideal["step"] > 3000
        last = ideal["loss"].isel(step=int((~late).sum()) - 1)
        stopped = learning_times(ideal.assign(loss=ideal["loss"].where(~late)))
        stays = learning_times(ideal.assign(loss=ideal["loss"].where(~late, last)))
        known = stays["learned"]
        assert 0 < int(known.sum()) < known.size
        xr.testing.assert_equal(stopped["learned"], known)
        for name in ("step", "step_lower", "step_upper"):
            xr.testing.assert_equal(stopped[name].where(known), stays[name].where(known))
        assert set(stopped["step_lower"].values[~known]) == {float(ideal["step"][~late][-1])}

    @given(st.sampled_from([2, 3, 4]))
    @settings(max_examples=3)
    def test_thinning_moves_times_within_the_wider_interval(self, ideal, every):
        thin = ideal.isel(step=np.arange(ideal.sizes["step"])[::-1][::every][::-1])
        whole, coarse = learning_times(ideal), learning_times(thin)
        xr.testing.assert_equal(whole["learned"], coarse["learned"])
        known = whole["learned"].values
        for bound, worse in (("step_lower", np.less_equal), ("step_upper", np.greater_equal)):
            assert worse(coarse[bound].values, whole[bound].values)[known].all()
        factor = (coarse["step"] / whole["step"]).values[known]
        assert np.abs(np.log(factor)).max() < 0.06  # evaluations are up to 8 % · 4 apart


class TestCross:
    @few
    @given(
        st.lists(st.integers(1, 10**6), min_size=2, max_size=8, unique=True),
        st.lists(st.floats(1e-4, 1), min_size=8, max_size=8),
        st.floats(1e-6, 1e6),
        st.booleans(),
    )
    def test_does_not_depend_on_the_unit(self, x, left, unit, from_zero):
        x = np.r_[[0.0] if from_zero else [], np.sort(x)]
        left = MonotoneCurves.of(np.sort(np.resize(left, x.size))[None, ::-1])
        found, other = cross(x, left, 0.1), cross(x * unit, left, 0.1)
        for one, two in zip(found, other, strict=True):
            np.testing.assert_allclose(two, one * unit, rtol=1e-9)

    @few
    @given(st.lists(st.floats(1e-4, 1), min_size=6, max_size=6), st.floats(0.01, 0.9))
    def test_against_interpolation_of_logarithms(self, left, tau):
        x = 3.0 ** np.arange(6)
        left = np.sort(left)[::-1]
        at, lower, upper = (float(values[0]) for values in cross(x, MonotoneCurves.of(left[None]), tau))
        if left[-1] >= tau:
            assert np.isnan(at)
            assert (lower, upper) == (x[-1], np.inf)
        elif left[0] < tau:
            assert (at, lower, upper) == (1, 0, 1)
        else:
            after = int(np.argmax(left < tau))
            assert (lower, upper) == (x[after - 1], x[after])
            # Falling to rising, as interp wants it; of equal values the last is meant.
            pair = np.log(left[[after, after - 1]]), np.log(x[[after, after - 1]])
            assert at == pytest.approx(np.exp(np.interp(np.log(tau), *pair)), rel=1e-9)


class TestCrossTrace:
    def test_along_data_it_is_monotone_and_equal_places_are_one(self, slice_of):
        # Final losses of two subtasks at four sizes of training set: the second relapses at the third.
        final = np.array([[1, 1], [1, 0.01], [0.01, 0.5], [0.01, 0.02]])
        loss = np.ones((4, 1, 1, 3, 2))
        loss[:, 0, 0, 1:] = final[:, None]
        data = trace(measure_left(slice_of(loss, [0.6, 0.4], n_train=[10, 100, 1000, 10000])), axes.D)
        at, lower, upper = cross_trace(data)
        assert at.shape == (1, 2)
        assert (lower[0].tolist(), upper[0].tolist()) == ([100, 1000], [1000, 10000])
        assert at[0, 0] == pytest.approx(np.sqrt(1e5), rel=1e-6)

    def test_equal_sizes_are_averaged(self, slice_of):
        loss = np.ones((1, 4, 2, 1))
        loss[0, :, 1, 0] = [1, 0.3, 0.01, 0.01]
        sizes = trace(measure_left(slice_of(loss, [1.0], n_parameters=[1, 2, 2, 4])), axes.N)
        at, lower, upper = (float(values[0, 0]) for values in cross_trace(sizes))
        assert (lower, upper) == (2, 4)  # .155 on average at 2
        assert at == pytest.approx(2 * 2 ** (np.log(1.55) / np.log(15.5)), rel=1e-6)


class TestCounts:
    def test_of_a_world_set_by_hand(self, ideal):
        n = count_learned(learning_times(ideal))
        assert n.dims == ("seed", "width")
        # The three seeds are equal: no scatter. Room is floor(0.3 width); time is enough for 22.
        assert n.values.tolist() == [[1, 1, 2, 3, 4, 6, 9, 13, 19, 22, 22]] * 3


def times_of(at, end=1000.0, frequency=None):
    """Learning times (seed, width, subtask), inf if never; seen exactly."""
    at = np.asarray(at, dtype=float)
    learned, dims = np.isfinite(at), ("seed", "width", "subtask")
    return xr.Dataset(
        {
            "learned": (dims, learned),
            "step": (dims, np.where(learned, at, np.nan)),
            "step_lower": (dims, np.where(learned, at * 0.9, end)),
            "step_upper": (dims, np.where(learned, at * 1.1, np.inf)),
            "frequency": ("subtask", zipf_frequencies(at.shape[2], 0.4) if frequency is None else frequency),
        }
    )


NEVER = np.inf


class TestFindFull:
    K = 40
    P = zipf_frequencies(K, 0.4)

    def network(self, n, unit=10.0):
        """The first n learned at S_k = unit / p_k."""
        return np.where(np.arange(self.K) < n, unit / self.P, NEVER)

    def full(self, *networks, end):
        return find_full(times_of([networks], end))[0].tolist()

    def test_with_time_for_four_more_it_is_full(self):
        # Of 5 learned at S_k = 10 / p_k, a network with room had learned 9 by 10 / p_9.
        n, ends = 5, 10 / self.P[[7, 8]] * 1.001
        assert [self.full(self.network(n), end=end) for end in ends] == [[False], [True]]

    @pytest.mark.parametrize("unit", [1.0, 1e-3, 1e5])
    def test_does_not_depend_on_the_unit_of_time(self, unit):
        for k in range(5, 15):
            end = unit / self.P[k] * 1.001
            assert self.full(self.network(5, unit), end=end) == [k >= 8]

    def test_all_learned_says_nothing_of_room(self):
        assert self.full(self.network(self.K), end=1e9) == [False]

    def test_fewer_than_four_left_say_nothing(self):
        assert self.full(self.network(self.K - 3), self.network(self.K - 4), end=1e9) == [False, True]

    def test_nothing_learned_is_measured_by_when_the_first_width_began(self):
        began = 10 / self.P[0]
        late, early = began / self.P[3] * self.P[0] * 1.001, began / self.P[2] * self.P[0] * 1.001
        nothing = self.network(0)
        assert self.full(nothing, self.network(1), end=late) == [True, False]
        assert self.full(nothing, self.network(1), end=early)[0] is False

    def test_nothing_learned_anywhere_in_a_seed_is_not_known(self):
        got = find_full(times_of([[self.network(0)] * 2, [self.network(0), self.network(9)]], 1e9))
        assert got.tolist() == [[False, False], [True, True]]

    def test_learned_before_anything_was_seen(self, one):
        """Where step 0 is all there is, no room can be seen."""
        times = learning_times(one(*[[0.01]] * 2, *[[1.0]] * 6, step=[0]))
        assert find_full(times).tolist() == [[False]]

    def test_equal_frequencies_are_due_together(self):
        times = times_of([[[5.0, 6.0, *[NEVER] * 4], [5.0, 6.0, 7.0, *[NEVER] * 3]]], 10.0, np.full(6, 1 / 6))
        assert find_full(times).tolist() == [[True, False]]

    def test_of_a_world_set_by_hand(self, ideal):
        # Room at 64 is 19 and time for 22; at 91 and 128 the limit is time.
        got = find_full(learning_times(ideal))
        assert got.tolist() == [[True] * 8 + [False] * 3] * 3

    def test_equal_frequencies_world(self, uniform):
        got, n = find_full(learning_times(uniform)), count_learned(learning_times(uniform)).values
        assert uniform_frequencies(64)[0] == float(uniform["frequency"][0])
        np.testing.assert_array_equal(got, n <= 60)


class TestTimeBounds:
    def test_what_is_not_learned_is_later_than_the_crossing_of_the_last(self):
        times = times_of([[[10, NEVER, 40, 20, NEVER]], [[NEVER, 7, NEVER, NEVER, 70]]], 1000)
        lower, upper = time_bounds(times)
        np.testing.assert_allclose(lower, [[9, 40, 36, 18, 40], [70, 6.3, 70, 70, 63]], rtol=1e-12)
        np.testing.assert_allclose(upper[0], [11, NEVER, 44, 22, NEVER], rtol=1e-12)

    def test_type_one_is_later_than_the_last_evaluation(self):
        lower, _ = time_bounds(times_of([[[10, NEVER, 40]]], 1000), type_one=True)
        np.testing.assert_allclose(lower, [[9, 1000, 36]], rtol=1e-12)

    def test_at_another_width(self):
        times = times_of([[[10, NEVER], [20, 30]]])
        assert time_bounds(times, 0)[0].tolist() == [[9, 10]]
        assert time_bounds(times, 1)[0].tolist() == [[18, 27]]

    def test_until_a_step_is_as_if_training_had_ended_there(self, quanta_world):
        curves = quanta_world(scatter=0.3)
        for end in (2, 50, 90):
            cut = curves.isel(step=slice(end))
            expected = time_bounds(learning_times(cut))
            found = time_bounds(learning_times(curves), until=float(cut["step"][-1]))
            for got, wanted in zip(found, expected, strict=True):
                np.testing.assert_allclose(got, wanted, rtol=1e-6)

    def test_nothing_learned_bounds_nothing(self):
        lower, upper = time_bounds(times_of([[[NEVER, NEVER]]]))
        assert (lower.tolist(), upper.tolist()) == ([[0, 0]], [[NEVER, NEVER]])

    def test_training_a_full_network_for_longer_changes_nothing(self, quanta_world):
        """Of what there is no room for, a longer wait tells nothing."""
        steps = np.unique(np.geomspace(1, 2000, 80).astype(int))
        short, long = (
            time_bounds(learning_times(quanta_world(capacity=0.03, steps=one)))
            for one in (steps, np.r_[steps, 10**5, 10**6])
        )
        assert np.isfinite(short[1]).sum(axis=1).tolist() == [3, 3, 3]
        np.testing.assert_array_equal(short[0], long[0])
        np.testing.assert_array_equal(short[1], long[1])


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
        got = select(curves, alpha=0.4)
        assert got["loss"].dims == ("n_train", "seed", "width", "step", "subtask")
        assert float(got["alpha"]) == 0.4
        assert got["n_train"].values.tolist() == [1000, np.inf]
        np.testing.assert_array_equal(got["frequency"], zipf_frequencies(3, 0.4))

    @pytest.mark.parametrize("n_train", [1000, np.inf])
    def test_takes_one_size_of_training_set_as_an_axis_of_one(self, curves, n_train):
        got = select(curves, alpha=0.2, n_train=n_train)
        assert got["n_train"].values.tolist() == [n_train]
        assert got["loss"].dims == ("n_train", "seed", "width", "step", "subtask")

    def test_the_only_alpha_need_not_be_named(self, curves):
        xr.testing.assert_identical(select(curves.isel(alpha=[1])), select(curves, alpha=0.4))
        xr.testing.assert_identical(select(select(curves, alpha=0.4)), select(curves, alpha=0.4))

    @pytest.mark.parametrize(
        ("chosen", "message"),
        [
            ({}, "alpha must be chosen: the curves hold 0.2, 0.4"),
            ({"alpha": 0.3, "n_train": 1000}, "alpha must be one of 0.2, 0.4, not 0.3"),
            ({"alpha": 0.4, "n_train": 999}, "n_train must be one of 1000, inf, not 999"),
        ],
    )
    def test_refuses(self, curves, chosen, message):
        with pytest.raises(ValueError, match=message):
            select(curves, **chosen)

    def test_unknown_alpha_matches_nan(self, curves):
        unknown = curves.isel(alpha=[0]).assign_coords(alpha=[np.nan])
        assert np.isnan(select(unknown, alpha=np.nan, n_train=1000)["alpha"])
