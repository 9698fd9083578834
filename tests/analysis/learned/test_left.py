import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quanta.analysis import axes
from quanta.analysis.axes import Axis
from quanta.analysis.learned.left import halfway, measure_left, trace
from quanta.analysis.learned.monotone import MonotoneCurves, make_monotone
from quanta.tasks.frequencies import zipf_frequencies

few = settings(max_examples=30)


@pytest.fixture(scope="session")
def one(slice_of):
    """One network of equally frequent subtasks, each argument the loss curve of one."""

    def build(*curves, **options):
        loss = np.array(curves, dtype=np.float32).T[None, None]
        return slice_of(loss, np.full(len(curves), 1 / len(curves)), **options)

    return build


def share_of(curves, **options):
    return measure_left(curves, **options).share[0, 0, 0].T


class TestMeasureLeft:
    def test_is_the_monotone_share_of_each_chance(self, one):
        left = measure_left(one([2, 1, 1, 1.5, 1.5, 0.2], [8, 4, 0.4, 0.4, 0.4, 0.4], chance=[2, 4]))
        np.testing.assert_allclose(
            left.share[0, 0, 0].T, [[1, *[0.625] * 4, 0.1], [2, 1, *[0.1] * 4]], rtol=1e-7
        )
        assert left.share.shape == (1, 1, 1, 6, 2)
        assert left.share.dtype == np.float32
        assert (left.chance.tolist(), left.chance_source) == ([2, 4], "given")
        np.testing.assert_allclose(left.end[0, 0, 0], [0.1, 0.1], rtol=1e-7)

    def test_a_spike_does_not_unlearn_and_a_relapse_does(self, one):
        low = [0.01] * 20
        share = share_of(one([1, *low, 0.9, *low], [1, *low, *low, 0.9], [1, *low, *[0.9] * 21]))
        # At the very end too.
        np.testing.assert_allclose(share[:2, 1:], 0.01, rtol=1e-6)
        np.testing.assert_allclose(share[2, 1:], (20 * 0.01 + 21 * 0.9) / 41, rtol=1e-6)
        assert ((share < 0.1)[:, -1]).tolist() == [True, True, False]

    def test_relapse_is_what_lies_above(self, one):
        left = measure_left(one([1, 0.5, 0.5, 0.25], [1, 0.25, 0.75, 0.25]))
        # Only the second subtask relapses, to .75 where .25 is monotone; the mean there is .375.
        assert left.relapse.shape == (1, 1, 1)
        assert left.relapse.item() == pytest.approx((0 + 0 + 0.5 * 0.5 / 0.375 + 0) / 4, rel=1e-6)

    def test_no_relapse_where_curves_fall(self, ideal):
        assert (measure_left(ideal).relapse == 0).all()

    def test_after_an_early_stop_it_is_what_the_network_ended_with(self, slice_of):
        loss = np.ones((1, 2, 4, 2))
        loss[0, 0, 1:] = 0.5
        loss[0, 0, 2:] = np.nan
        left = measure_left(slice_of(loss, [0.5, 0.5], step=[0, 1, 2, 4]))
        assert left.last.tolist() == [[[1, 3]]]
        assert left.last_step.tolist() == [[[1, 4]]]
        assert left.share[0, 0, 0, :, 0].tolist() == [1, 0.5, 0.5, 0.5]
        assert left.relapse.tolist() == [[[0, 0]]]

    def test_of_a_finite_training_set_it_ends_at_the_lowest_mean(self, slice_of):
        """D = 10 overfits after step 4, D = 20 not at all; online there are no halves."""
        overfitted, learned = [1, 0.9, 0.05, 0.8, 0.9], [1, 0.9, 0.05, 0.04, 0.03]
        loss = np.array([overfitted, learned, learned])[:, None, None, :, None] * np.ones(2)
        curves = slice_of(loss, [0.75, 0.25], step=[0, 2, 4, 8, 16], n_train=[10, 20, np.inf])
        dims, halves = curves["loss"].dims, np.array(curves["loss"].values)
        halves[2] = np.nan
        reported = halves.copy()
        reported[:2, ..., 2, :] = 0.01  # by luck, on the half that no step is chosen by
        halved = curves.assign(selection_loss=(dims, halves), reported_loss=(dims, reported))
        left = measure_left(halved)
        assert left.last.ravel().tolist() == [2, 4, 4]
        assert left.last_step.ravel().tolist() == [4, 16, 16]
        # The last of the overfitted is no spike: the two before it decide.
        assert left.end[0].max() < 0.1
        np.testing.assert_allclose(left.end[2], 0.03, rtol=1e-6)
        assert measure_left(curves).end[0].min() > 0.4  # of curves from elsewhere all is read
        accuracy = halved.assign(accuracy=(dims, 1 - curves["loss"].values / 2))
        assert measure_left(accuracy, "accuracy").last.ravel().tolist() == [2, 4, 4]

    @pytest.mark.parametrize(
        ("metric", "of_learned"), [("accuracy", lambda left: 1 - left / 2), ("brier", lambda left: left / 4)]
    )
    def test_metrics_are_on_one_scale(self, slice_of, metric, of_learned):
        left = np.array([[1, 0.5, 0.25, 0.0], [1, 1, 1, 1]], dtype=np.float32).T[None, None]
        curves = slice_of(left, [0.5, 0.5], chance=3.0)
        curves = curves.assign({metric: (curves["loss"].dims, of_learned(left)[None])})
        np.testing.assert_allclose(share_of(curves, metric=metric), left[0, 0].T, atol=1e-7)

    def test_metric_must_be_measured_where_the_loss_is(self, one):
        curves = one([1, 0.5, np.nan])
        accuracy = np.array([0.5, 0.75, 1.0]).reshape(1, 1, 1, 3, 1)
        with pytest.raises(ValueError, match="accuracy must be measured wherever the loss is"):
            measure_left(curves.assign(accuracy=(curves["loss"].dims, accuracy)), "accuracy")

    def test_order_of_dimensions_does_not_matter(self, slice_of):
        loss = np.random.default_rng(0).uniform(size=(2, 2, 3, 5, 4))
        curves = slice_of(loss, zipf_frequencies(4, 0.4), n_train=[10, 20])
        expected = measure_left(curves)
        turned = measure_left(curves.transpose("subtask", "step", "seed", "n_train", "width"))
        np.testing.assert_array_equal(turned.share, expected.share)
        one = measure_left(curves.isel(n_train=1))
        np.testing.assert_array_equal(one.share, expected.share[1:])
        assert one.n_train.tolist() == [20]

    def test_refuses(self, one, at_two_alphas):
        curves = one([1, 0.5])
        with pytest.raises(ValueError, match="alpha must be chosen: the curves hold"):
            measure_left(at_two_alphas(curves))
        with pytest.raises(ValueError, match="metric must be one of loss, accuracy, brier, not 'nats'"):
            measure_left(curves, "nats")


class TestChance:
    STEPS = (0, *2 ** np.arange(10))

    def curves(self, one, start=1.0, rest=1.0, floor=0.01, n_rest=8, **options):
        """Four subtasks that are learned and some that come to rest."""
        late = np.arange(len(self.STEPS)) >= 5
        learned = np.where(late, floor, start)
        resting = np.where(late, rest, start)
        return one(*[learned] * 4, *[resting] * n_rest, step=self.STEPS, chance=None, **options)

    @pytest.mark.parametrize(("start", "rest"), [(1, 1), (0.69, 0.69), (4, 4), (10, 1), (3, 2)])
    def test_is_measured_where_subtasks_rest_unlearned_and_not_at_the_start(self, one, start, rest):
        left = measure_left(self.curves(one, start, rest))
        assert left.chance_source == "measured"
        np.testing.assert_allclose(left.chance, rest, rtol=1e-6)

    def test_what_still_falls_is_not_at_rest(self, one):
        falling = 3.0 * 0.9 ** np.arange(len(self.STEPS))
        at_rest = self.curves(one, n_rest=6)["loss"].values[0, 0, 0].T
        left = measure_left(one(*at_rest, *[falling] * 20, step=self.STEPS, chance=None))
        assert left.chance_source == "measured"
        np.testing.assert_allclose(left.chance, 1, rtol=1e-6)

    def test_where_most_are_learned_it_is_that_of_the_others(self, one):
        curves = self.curves(one, n_rest=6)["loss"].values[0, 0, 0].T
        left = measure_left(one(*[curves[0]] * 20, *curves, step=self.STEPS, chance=None))
        assert left.chance_source == "measured"
        np.testing.assert_allclose(left.chance, 1, rtol=1e-6)

    def test_is_assumed_where_few_rest(self, one):
        left = measure_left(self.curves(one, 2.0, 2.0, n_rest=3))
        assert left.chance_source == "assumed"
        assert (left.chance == 1).all()

    def test_is_not_measured_where_all_are_learned(self, one):
        """The floor on which everything learned comes to rest is not chance."""
        left = measure_left(self.curves(one, rest=0.01))
        assert left.chance_source == "assumed"
        assert (left.chance == 1).all()

    def test_is_assumed_at_a_single_evaluation(self, one):
        left = measure_left(one(*[[0.3]] * 12, chance=None))
        assert left.chance_source == "assumed"

    @given(st.floats(0.01, 100))
    @few
    def test_shares_do_not_depend_on_the_unit_of_the_loss(self, one, unit):
        curves = self.curves(one, start=1.2)
        scaled = curves.assign(loss=curves["loss"] * unit)
        np.testing.assert_allclose(share_of(scaled), share_of(curves), rtol=1e-6)  # float32


class TestHalfway:
    STEP = np.array([0.0, 1, 2, 4, 8])
    SHARE = MonotoneCurves.of(np.array([[1.0, 0.8, 0.6, 0.4, 0.2]]))

    @pytest.mark.parametrize(
        ("at", "expected"),
        [
            (8, 0.4),  # an evaluation at half
            (4, 0.6),
            (4 * np.sqrt(2), 0.5),  # half way between 2 and 4 on a logarithmic axis
            (2, 0.8),
        ],
    )
    def test_by_hand(self, at, expected):
        assert halfway(self.STEP, self.SHARE, at).item() == pytest.approx(expected, rel=1e-12)

    @pytest.mark.parametrize(
        ("step", "at", "known"),
        [
            ([0, 100], 100, False),
            ([0, 20, 100], 100, False),  # before a quarter
            ([0, 25, 100], 100, True),
            ([0, 75, 100], 100, True),
            ([0, 80, 100], 100, False),  # after three quarters
            ([0, 1], 1, False),
        ],
    )
    def test_is_unknown_where_no_evaluation_tells(self, step, at, known):
        got = halfway(np.array(step, dtype=float), MonotoneCurves.of(np.ones((2, len(step)))), at)
        assert got.shape == (2,)
        assert np.isfinite(got).all() == known

    def test_before_the_first_step_there_is_no_place_to_interpolate_from(self):
        # Half of 4 lies between step 0 and the evaluation at 3.
        got = halfway(np.array([0.0, 3, 4]), MonotoneCurves.of(np.array([[1.0, 0.7, 0.1]])), 4)
        assert got.item() == 0.7

    @given(st.lists(st.integers(1, 10**4), min_size=2, max_size=8, unique=True), st.floats(1e-4, 1e4))
    @few
    def test_does_not_depend_on_the_unit_of_time(self, steps, unit):
        step = np.sort(np.array(steps, dtype=float))
        share = MonotoneCurves.of(np.linspace(1, 0, step.size)[None])
        edges = np.abs(step / step[-1] - np.array([[0.25], [0.75]])).min()
        if edges > 1e-9:  # rounding may move what lies on the edge of what is near enough
            expected = halfway(step, share, step[-1])
            np.testing.assert_allclose(halfway(unit * step, share, unit * step[-1]), expected, atol=1e-9)


class TestTrace:
    @pytest.fixture
    def left(self, slice_of):
        """Three sizes of training set, two seeds, four widths of which two are equal, steps 0 to 8."""
        rng = np.random.default_rng(1)
        loss = np.sort(rng.uniform(size=(3, 2, 4, 5, 6)), axis=-2)[..., ::-1, :]
        return measure_left(
            slice_of(
                loss,
                zipf_frequencies(6, 0.4),
                n_train=[10, 30, np.inf],
                n_parameters=[200, 300, 300, 400],
                step=[0, 1, 2, 4, 8],
            )
        )

    def test_along_n_is_the_end_by_size_at_the_largest_training_set(self, left):
        got = trace(left, axes.N)
        assert got.x.tolist() == [200, 300, 300, 400]
        np.testing.assert_array_equal(got.left, left.share[-1][:, :, -1])
        np.testing.assert_array_equal(got.at_half, left.share[-1][:, :, 3])  # step 4 is half of 8

    def test_along_d_is_the_end_of_the_widest_and_online_is_no_place(self, left):
        got = trace(left, axes.D)
        assert got.x.tolist() == [10, 30]
        np.testing.assert_array_equal(got.left, left.share[:2, :, -1, -1].swapaxes(0, 1))
        np.testing.assert_array_equal(got.at_half, left.share[:2, :, -1, 3].swapaxes(0, 1))
        narrow = trace(left, axes.D, width=0)
        np.testing.assert_array_equal(narrow.left, left.share[:2, :, 0, -1].swapaxes(0, 1))

    def test_along_s_is_every_evaluation_after_step_0(self, left):
        got = trace(left, axes.S)
        assert got.x.tolist() == [1, 2, 4, 8]
        np.testing.assert_array_equal(got.left, left.share[-1, :, -1, 1:])
        assert np.isnan(got.at_half[:, 0]).all()  # half of the first step
        np.testing.assert_array_equal(got.at_half[:, 1:], left.share[-1, :, -1, 1:-1])

    def test_carries_frequency_and_chance(self, left):
        for axis in axes.RESOURCES:
            got = trace(left, axis)
            assert got.axis == axis
            np.testing.assert_array_equal(got.frequency, left.frequency)
            np.testing.assert_array_equal(got.chance, left.chance)

    def test_along_s_ends_where_the_first_seed_stopped(self, slice_of):
        loss = np.ones((2, 1, 4, 2))
        loss[1, :, 3] = np.nan
        got = trace(measure_left(slice_of(loss, [0.5, 0.5])), axes.S)
        assert got.x.tolist() == [1, 2]

    @pytest.mark.parametrize("stop", [None, 1])
    def test_along_s_there_may_be_no_place(self, slice_of, stop):
        """Where step 0 is all that was measured, or a seed diverged right after it."""
        loss = np.ones((2, 1, 1 if stop is None else 4, 2))
        loss[1, :, stop:] = loss[1, :, stop:] if stop is None else np.nan
        got = trace(measure_left(slice_of(loss, [0.5, 0.5])), axes.S)
        assert got.x.shape == (0,)
        assert got.left.shape == got.at_half.shape == (2, 0, 2)
        assert not got.is_a_curve

    def test_along_another_resource_of_the_curves(self, slice_of):
        """One more resource is a variable of the curves and an `Axis`, and no edit."""
        loss = np.random.default_rng(5).uniform(size=(1, 3, 4, 2))
        curves = slice_of(loss, [0.5, 0.5]).assign(flops=("width", [30.0, 10.0, 20.0]))
        got = trace(measure_left(curves), Axis("C", "compute", "width", "flops", "resource"))
        assert got.x.tolist() == [10, 20, 30]
        np.testing.assert_array_equal(got.left, measure_left(curves).end[-1][:, [1, 2, 0]])

    @pytest.mark.parametrize("axis", [axes.ALPHA, axes.K])
    def test_refuses_a_condition(self, left, axis):
        with pytest.raises(
            ValueError, match=f"axis must be a resource, along width, n_train or step, not {axis.name}"
        ):
            trace(left, axis)


def test_nan_after_an_early_stop_is_a_curve_that_stays_where_it_stopped(slice_of):
    # Falling: of one that rises at its last evaluation it is not known whether that was a spike.
    loss = -np.sort(-np.random.default_rng(2).uniform(size=(3, 2, 9, 5)), axis=2)
    stays, stopped = loss.copy(), loss.copy()
    stays[1, :, 5:], stopped[1, :, 5:] = make_monotone(loss[1, 0, :5].T)[:, -1], np.nan
    stays[1, 1, 5:] = make_monotone(loss[1, 1, :5].T)[:, -1]
    frequency = zipf_frequencies(5, 0.4)
    got, expected = (measure_left(slice_of(one, frequency)) for one in (stopped, stays))
    np.testing.assert_allclose(got.share, expected.share, rtol=1e-6)
    np.testing.assert_allclose(got.end, expected.end, rtol=1e-6)


def test_labels_of_seeds_do_not_matter_and_they_are_sorted(slice_of):
    loss = np.random.default_rng(3).uniform(size=(4, 3, 7, 5))
    curves = slice_of(loss, zipf_frequencies(5, 0.4))
    expected = measure_left(curves)
    got = measure_left(curves.assign_coords(seed=[7, 11, 12, 90]))
    np.testing.assert_array_equal(got.share, expected.share)
    np.testing.assert_array_equal(measure_left(curves.isel(seed=[2, 0, 3, 1])).share, expected.share)


@given(st.integers(2, 5))
@settings(max_examples=4)
def test_thinning_a_falling_curve_changes_nothing_where_it_is_still_measured(ideal, every):
    steps = np.arange(ideal.sizes["step"])[::-1][::every][::-1]
    whole, thin = measure_left(ideal), measure_left(ideal.isel(step=steps))
    np.testing.assert_array_equal(thin.share, whole.share[..., steps, :])
