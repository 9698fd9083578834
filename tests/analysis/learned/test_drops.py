import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import minimize_scalar

from quanta.analysis.learned.drops import measure_drops

few = settings(max_examples=50)

STEP = np.r_[0, np.geomspace(1, 1e8, 1601)]


def multilinear(x, ratio=70.0):
    """Loss left of a skill R with S/R(0) = ratio that grows as in arXiv:2404.17563."""
    return ((1 - 1 / (1 + (ratio - 1) * np.exp(-x))) / (1 - 1 / ratio)) ** 2


def log_logistic(factor):
    """A drop from .9 to .1 within a factor."""
    steepness = np.log(81) / np.log(factor)
    return lambda x: 1 / (1 + x**steepness)


KNOWN = [
    (lambda x: np.exp(-x), 0.697),
    (lambda x: (1 + x) ** -2, 0.595),
    (lambda x: (1 + x**2) ** -2, 0.88),
    (multilinear, 0.97),
    (log_logistic(3), 0.98),
    (log_logistic(5), 0.92),
    (log_logistic(9), 0.82),
]
IDS = ["exponential", "filter", "sharp filter", "multilinear", "within 3", "within 5", "within 9"]


def drops_of(*curves, step=STEP, mass=None, **options):
    left = np.array(curves).T
    return measure_drops(
        np.asarray(step, float), left, np.ones(len(curves)) if mass is None else mass, **options
    )


def most_lost(step, left, factor=10.0, n=200_001):
    """Largest share of the fall within a factor of steps, by trying windows."""
    log_step = np.log(step)
    begin = np.linspace(log_step[0] - np.log(factor), log_step[-1], n)
    height = (left - left[-1]) / (left[0] - left[-1])
    return np.max(np.interp(begin, log_step, height) - np.interp(begin + np.log(factor), log_step, height))


class TestKnownAnswers:
    @pytest.mark.parametrize(("law", "share"), KNOWN, ids=IDS)
    def test_share_of_a_law_in_p_times_t(self, law, share):
        exact = -minimize_scalar(
            lambda log_x: law(10 * np.exp(log_x)) - law(np.exp(log_x)), bounds=(-9, 9), method="bounded"
        ).fun
        assert exact == pytest.approx(share, abs=0.005)
        for p in (1e-2, 1e-4):
            found = drops_of(law(p * STEP))
            # The curve is straight between evaluations that are 1 % apart, and ends a little above 0.
            assert found.share.item() == pytest.approx(exact, abs=1e-3)

    @pytest.mark.parametrize("factor", [2.0, 3.0, 5.0, 9.0])
    def test_log_logistic_drop_is_a_hyperbolic_tangent(self, factor):
        found = drops_of(log_logistic(factor)(1e-4 * STEP))
        assert found.share.item() == pytest.approx(
            np.tanh(np.log(10**0.5) * np.log(9) / np.log(factor)), abs=1e-3
        )
        assert found.share.item() == pytest.approx(np.tanh(2.53 / np.log(factor)), abs=1e-3)
        assert found.factor.item() == pytest.approx(factor, rel=1e-3)

    def test_hard_step_falls_in_a_drop_wherever_it_is(self):
        assert drops_of(*[STEP < at for at in (2, 1e3, 1e8)]).share.tolist() == [1, 1, 1]

    def test_two_halves_far_apart_are_two_drops(self):
        found = drops_of((STEP < 1e2) * 0.3 + (STEP < 1e5) * 0.7)
        assert found.share.item() == pytest.approx(0.7, rel=1e-12)

    @pytest.mark.parametrize("factor", [2.0, 100.0])
    def test_another_factor(self, factor):
        law, _ = KNOWN[0]
        found = drops_of(law(1e-4 * STEP), factor=factor)
        x = np.log(factor) / (factor - 1)  # where exp(-x) - exp(-f x) is largest
        assert found.share.item() == pytest.approx(np.exp(-x) - np.exp(-factor * x), abs=1e-3)


falling = arrays(float, 12, elements=st.floats(0, 1)).map(lambda x: np.sort(x)[::-1])
rising = st.lists(st.integers(1, 10**6), min_size=12, max_size=12, unique=True).map(
    lambda x: np.sort(np.array(x, dtype=float))
)


class TestShare:
    @few
    @given(rising, falling)
    def test_against_all_windows(self, step, left):
        assume(left[-1] < 0.5 * left[0])
        found, tried = drops_of(left, step=step).share.item(), most_lost(step, left)
        # Between windows that are tried a share changes by no more than the steepest piece does.
        steepest = np.max(-np.diff(left) / np.diff(np.log(step))) / (left[0] - left[-1])
        spacing = (np.log(step[-1] / step[0]) + np.log(10)) / 200_000
        assert tried - 1e-9 <= found <= min(tried + steepest * spacing, 1) + 1e-9

    @few
    @given(rising, falling, st.floats(1e-6, 1e6))
    def test_does_not_depend_on_the_unit_of_time(self, step, left, unit):
        assume(left[-1] < 0.5 * left[0])
        found, other = drops_of(left, step=step), drops_of(left, step=step * unit)
        np.testing.assert_allclose(other.share, found.share, rtol=1e-9)
        np.testing.assert_allclose(other.factor, found.factor, rtol=1e-9)
        np.testing.assert_allclose(other.gap, found.gap, rtol=1e-9)
        assert other.resolved == found.resolved

    @few
    @given(falling, st.floats(0.1, 1), st.floats(0, 0.05))
    def test_is_of_its_own_fall(self, left, height, floor):
        """Neither the height of the fall nor a floor decides."""
        assume(left[-1] < 0.2 * left[0] and left[0] > 0.01)
        moved = (height * left + floor * left[0]) / (1 + floor)
        found, other = (drops_of(one, step=2.0 ** np.arange(12)) for one in (left, moved))
        np.testing.assert_allclose(other.share, found.share, rtol=1e-9)
        np.testing.assert_allclose(other.weight, found.weight * height / (1 + floor), rtol=1e-9)

    def test_what_begins_above_chance_falls_from_chance(self):
        law, _ = KNOWN[0]
        found = drops_of(10 * law(1e-4 * STEP), np.minimum(10 * law(1e-4 * STEP), 1.0))
        assert found.share[0] == found.share[1]
        # From chance on it is 10 exp(-x) with x from log 10 on: the window begins at chance.
        assert found.share[0] == pytest.approx(1 - np.exp(-9 * np.log(10)), abs=1e-3)

    def test_unseen_fall_before_the_first_evaluation_is_in_the_first_window(self):
        # .04 is lost between step 0 and step 1, .9 in a window from there and .06 after it.
        step = [0, 1, 10, 1000]
        assert drops_of([1, 0.96, 0.06, 0], step=step).share.item() == pytest.approx(0.94, rel=1e-9)

    @pytest.mark.parametrize(("law", "share"), KNOWN, ids=IDS)
    @pytest.mark.parametrize("every", [8, 32])
    def test_thinning_changes_little(self, law, share, every):
        thin = np.r_[0, np.arange(1, STEP.size)[::-1][::every][::-1]]
        found = [drops_of(law(1e-4 * STEP[places]), step=STEP[places]) for places in (slice(None), thin)]
        # Evaluations as far apart as a factor 1.1 and 1.4.
        assert abs(found[1].share - found[0].share).item() < 0.02
        assert found[1].resolved == found[0].resolved == 1


class TestWeights:
    def test_mean_is_weighted_by_what_it_takes_off_the_loss(self):
        sharp, slow = (STEP < 1e3) * 1.0, np.exp(-1e-4 * STEP)
        found = drops_of(sharp, 0.1 + 0.8 * slow, mass=np.array([0.75, 0.25]))
        weight = np.array([0.75, 0.25 * 0.8])
        np.testing.assert_allclose(found.weight, weight, rtol=1e-9)
        assert found.mean_share == pytest.approx((weight * found.share).sum() / weight.sum(), rel=1e-12)
        assert found.resolved == 1
        assert found.median_factor == pytest.approx(found.factor.mean(), rel=1e-12)

    def test_what_fell_by_less_than_half_does_not_count(self):
        found = drops_of(1 - 0.49 * (STEP > 10), 1 - 0.5 * (STEP > 10), 1 - 0.51 * (STEP > 10))
        assert np.isnan(found.share).tolist() == [True, True, False]
        assert found.weight.tolist() == pytest.approx([0, 0, 0.51])

    @pytest.mark.parametrize("step", [[0], [5], [0, 1, 2]])
    def test_nothing_fell(self, step):
        found = drops_of(np.ones(len(step)), np.zeros(len(step)), step=step)
        assert found.weight.tolist() == [0, 0]
        assert np.isnan([*found.share, found.mean_share, found.resolved, found.median_factor]).all()


class TestResolution:
    @pytest.mark.parametrize("unit", [1, 2, 3, 5, 7, 1000, 1 / 3000, np.pi])
    def test_a_factor_of_4_between_evaluations_places_a_fall(self, unit):
        """Whatever the unit of time: rounding must not decide."""
        step = np.r_[0, 4.0 ** np.arange(8)] * unit
        found = drops_of(*[np.where(np.arange(9) < n, 1, 0.01) for n in (2, 3, 5, 8)], step=step)
        np.testing.assert_allclose(found.gap, 4, rtol=1e-12)
        assert found.resolved == 1

    def test_a_wider_gap_does_not(self):
        step = [0, 1, 5, 6, 7]
        found = drops_of([1, 1, 0, 0, 0], [1, 1, 1, 0, 0], step=step, mass=np.array([0.7, 0.3]))
        np.testing.assert_allclose(found.gap, [5, 1.2], rtol=1e-12)
        assert found.resolved == pytest.approx(0.3, rel=1e-12)
        assert found.mean_share == found.share[1]
        assert found.median_factor == found.factor[1]

    def test_both_ends_of_the_fall_are_asked(self):
        # From .9 down within a factor 1.5, and to .1 between 3 and 30.
        found = drops_of([1, 1, 0.5, 0.4, 0], step=[0, 1, 1.5, 3, 30])
        assert found.gap.item() == pytest.approx(10, rel=1e-12)
        assert found.resolved == 0

    def test_before_the_first_evaluation_nothing_is_placed(self):
        found = drops_of([1, 0.5, 0.01, 0], step=[0, 1, 2, 3])
        assert found.gap.tolist() == [np.inf]
        assert np.isnan(found.factor).all()
        assert (found.resolved, found.mean_share) == (0, 1)  # of what is there, for a reader
        assert np.isnan(found.median_factor)
