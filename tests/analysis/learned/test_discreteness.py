import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from quanta.analysis.learned.dip import UNIFORM_DIP
from quanta.analysis.learned.discreteness import (
    HIGH,
    LOW,
    MAX_DROP_FACTOR,
    SKILL_RATIO,
    WINDOW,
    exponential_drop,
    logistic_drop,
    measure_discreteness,
    rescale,
    ridge_drop,
)
from scipy import stats
from scipy.optimize import brentq

from quanta.analysis.learned.times import final_loss, select
from quanta.analysis.theories.worlds import simulate
from quanta.tasks.frequencies import zipf_frequencies

STEPS = np.unique(np.geomspace(1, 10**8, 1200).astype(int))
SPACING = 10 ** (8 / 1199)


@pytest.fixture(scope="module")
def drops(slice_of):
    """Build a slice of K subtasks that all drop in one form, at crossings of .5 that lie a ratio apart."""

    def build(drop, n_subtasks=5, ratio=2.0, n_seeds=1, first=1e4):
        at = first * ratio ** np.arange(n_subtasks)
        loss = drop(STEPS[:, None] / at)
        frequency = zipf_frequencies(n_subtasks, 0.4)
        return slice_of(np.broadcast_to(loss, (n_seeds, 2, *loss.shape)), frequency, step=STEPS)

    return build


def hard_drop(x):
    return (x < 1).astype(float)


def with_other_metrics(curves):
    """Accuracy and Brier score that say what the loss says."""
    return curves.assign(accuracy=1 - curves["loss"] / 2, brier=curves["loss"] / 4)


def loss_of(curves, **options):
    return measure_discreteness(curves, metrics=("loss",), **options)["loss"]


def factor(drop):
    """From .9 to .1, by finding where the form crosses them."""

    def log_step(value):
        return brentq(lambda log_x: drop(np.exp(log_x)) - value, -9, 9, xtol=1e-12)

    return math.exp(log_step(LOW) - log_step(HIGH))


class TestForms:
    """The numbers behind MAX_DROP_FACTOR and the shares in drops, in closed form."""

    def test_factors(self):
        assert factor(exponential_drop) == pytest.approx(math.log(0.1) / math.log(0.9))
        assert factor(exponential_drop) == pytest.approx(21.9, abs=0.05)
        assert factor(ridge_drop) == pytest.approx((math.sqrt(10) - 1) / (math.sqrt(10 / 9) - 1))
        assert factor(ridge_drop) == pytest.approx(40, abs=0.05)
        assert factor(logistic_drop) == pytest.approx(2.9, abs=0.05)

    @pytest.mark.parametrize(("skill_ratio", "expected"), [(37, 4), (SKILL_RATIO, 2.9), (700, 2)])
    def test_factor_of_a_skill(self, skill_ratio, expected):
        """Solve R/S = 1/(1 + (S/R(0) - 1) e^-t) for the t at which (1 - R/S)^2 is some share of the first."""

        def t(share):
            skill = 1 - math.sqrt(share) * (1 - 1 / skill_ratio)
            return math.log((skill_ratio - 1) / (1 / skill - 1))

        assert t(LOW) / t(HIGH) == pytest.approx(expected, abs=0.05)
        if skill_ratio == SKILL_RATIO:
            assert factor(logistic_drop) == pytest.approx(t(LOW) / t(HIGH))

    def test_the_threshold_is_half_way_between(self):
        assert pytest.approx(math.sqrt(4 * 21.9), rel=0.1) == MAX_DROP_FACTOR

    @pytest.mark.parametrize("drop", [logistic_drop, exponential_drop, ridge_drop])
    def test_fall_from_one_through_half(self, drop):
        x = np.array([[0, 0.5], [1, 20]])
        assert drop(x).shape == (2, 2)
        assert drop(x)[0, 0] == pytest.approx(1)
        assert drop(x)[1, 0] == pytest.approx(0.5)
        assert (np.diff(drop(x).ravel()) < 0).all()


class TestDrops:
    @pytest.mark.parametrize("drop", [logistic_drop, exponential_drop, ridge_drop])
    def test_factor_is_that_of_the_form(self, drops, drop):
        found = loss_of(drops(drop))
        # Interpolated between evaluations SPACING apart, where log loss is nearly straight in log step.
        assert found.drop_factor.estimate == pytest.approx(factor(drop), rel=1e-3)
        assert found.n_drops == 10
        assert found.n_cut == 0
        assert found.resolution == pytest.approx(SPACING, rel=1e-3)

    @pytest.mark.parametrize(
        ("drop", "share"),
        [
            (exponential_drop, 2 ** -(WINDOW**-0.5) - 2 ** -(WINDOW**0.5)),
            (ridge_drop, (1 + (2**0.5 - 1) / WINDOW**0.5) ** -2 - (1 + (2**0.5 - 1) * WINDOW**0.5) ** -2),
            (logistic_drop, 0.956),
            (hard_drop, 1),
        ],
    )
    def test_share_inside_is_that_of_the_form(self, drops, drop, share):
        # Of the whole decrease a filter has still (1 + .41 * 600)^-2 < 1e-4 before it at the last evaluation.
        assert loss_of(drops(drop)).share_in_drops.estimate == pytest.approx(share, abs=2e-3)

    def test_the_documented_shares(self, drops):
        shares = [loss_of(drops(drop)).share_in_drops.estimate for drop in (exponential_drop, ridge_drop)]
        assert shares == pytest.approx([0.69, 0.59], abs=0.005)

    @pytest.mark.parametrize("ratio", [1.5, 30.0])
    def test_over_spacing_is_the_ratio_of_logarithms(self, drops, ratio):
        found = loss_of(drops(exponential_drop, ratio=ratio, n_subtasks=3))
        expected = math.log(factor(exponential_drop)) / math.log(ratio)
        assert found.drop_over_spacing.estimate == pytest.approx(expected, rel=2e-3)

    def test_of_hard_steps_is_no_wider_than_the_evaluations(self, quanta_world):
        found = loss_of(
            quanta_world(sharpness=math.inf, steps=np.unique(np.geomspace(1, 20000, 40).astype(int)))
        )
        assert 1 <= found.drop_factor.estimate <= found.resolution
        assert found.drop_over_spacing.estimate < 1
        assert found.share_in_drops.estimate == pytest.approx(1)

    def test_that_had_begun_are_cut(self, drops):
        early, late = loss_of(drops(ridge_drop, first=3, ratio=1.0)), loss_of(drops(ridge_drop))
        assert early.n_cut == early.n_drops == 10
        # Seen from step 1 on, where x = 1/3 and the loss .77; it ends where (1 + (√2 - 1) x)^-2 = .1.
        assert early.drop_factor.estimate == pytest.approx(3 * (10**0.5 - 1) / (2**0.5 - 1), rel=1e-2)
        assert late.n_cut == 0

    def test_a_value_below_from_the_start_is_no_drop(self, slice_of):
        curves = slice_of(np.full((1, 1, 4, 3), 0.01), zipf_frequencies(3, 0.4), step=[0, 1, 2, 4])
        found = loss_of(curves)
        assert found.n_drops == 0
        assert found.drop_factor is None
        assert found.share_in_drops is None
        assert math.isnan(found.resolution)

    def test_increases_count(self, slice_of):
        """Subtask 1 falls by .8 in one step and climbs back by .1 much later."""
        loss = np.ones((1, 1, 5, 2))
        loss[0, 0, :, 0] = [1, 1, 0.2, 0.2, 0.3]
        curves = slice_of(loss, [0.5, 0.5], step=[0, 100, 101, 10**4, 10**5])
        assert loss_of(curves).share_in_drops.estimate == pytest.approx(0.8 / 0.7, rel=1e-6)  # float32

    def test_after_an_early_stop_stay_what_they_were(self, drops):
        curves = drops(logistic_drop)
        measured = curves["step"] < 10**7
        stopped = curves.assign({name: curves[name].where(measured) for name in ("loss", "mean_loss")})
        # At 10^7 all is learned to 1e-6 and less.
        assert loss_of(stopped).share_in_drops.estimate == pytest.approx(
            loss_of(curves).share_in_drops.estimate, abs=1e-5
        )

    def test_at_one_step_have_no_spacing(self, quanta_world):
        found = loss_of(quanta_world(frequency=np.full(8, 1 / 8), capacity=1))
        assert found.drop_over_spacing is None
        assert found.drop_factor is not None

    def test_interval_is_students_of_the_log_over_seeds(self, drops):
        curves = drops(exponential_drop, n_seeds=3)
        loss = curves["loss"].values.copy()
        loss[1] = drops(ridge_drop)["loss"].values
        loss[2] = drops(logistic_drop)["loss"].values
        found = loss_of(curves.assign(loss=(curves["loss"].dims, loss)), confidence=0.8).drop_factor
        logs = np.log([factor(drop) for drop in (exponential_drop, ridge_drop, logistic_drop)])
        expected = stats.t.interval(0.8, 2, logs.mean(), stats.sem(logs))
        assert found.estimate == pytest.approx(np.exp(logs.mean()), rel=2e-3)
        assert (found.lower, found.upper) == pytest.approx(np.exp(expected), rel=1e-2)
        assert (found.n_seeds, found.confidence) == (3, 0.8)


class TestFinalValues:
    @pytest.fixture
    def final(self, slice_of):
        """Two seeds, two widths: of 4 final values .05 .5 .95 1.2, and as many between as is said."""
        loss = np.ones((2, 2, 3, 4))
        loss[:, :, -1] = [0.05, 0.5, 0.95, 1.2]
        loss[1, 1, -1] = [0.2, 0.3, 0.4, 1.0]
        return slice_of(loss, zipf_frequencies(4, 0.4))

    def test_share_between_is_counted(self, final):
        found = loss_of(final)
        assert found.share_between.estimate == pytest.approx((1 + 1 + 1 + 3) / 16)
        assert found.share_between_widest.estimate == pytest.approx((1 + 3) / 8)

    def test_interval_is_students_over_seeds(self, final):
        found = loss_of(final).share_between
        by_seed = np.array([2, 4]) / 8
        expected = stats.t.interval(0.9, 1, by_seed.mean(), stats.sem(by_seed))
        assert (found.lower, found.upper) == pytest.approx(expected)

    def test_last_value_before_an_early_stop_counts(self, final):
        stopped = final.assign({name: final[name].where(final["step"] < 2) for name in ("loss", "mean_loss")})
        assert loss_of(stopped).share_between.estimate == 0

    def test_quanta_have_two_modes(self, ideal, smooth):
        found, other = loss_of(ideal), loss_of(smooth)
        assert found.dip > 2 * found.dip_uniform
        assert other.dip < other.dip_uniform
        assert found.dip_uniform == pytest.approx(UNIFORM_DIP / math.sqrt(final_loss(ideal).size))


class TestMetrics:
    def test_are_on_one_scale(self, quanta_world):
        curves = with_other_metrics(quanta_world(scatter=0.3, sharpness=3.0, n_seeds=2))
        loss, *others = measure_discreteness(curves).values()
        assert len(others) == 2
        for other in others:
            assert (other.n_drops, other.n_cut) == (loss.n_drops, loss.n_cut)
            assert other.dip == pytest.approx(loss.dip, rel=1e-3)  # float32
            for name in (
                "share_between",
                "share_between_widest",
                "drop_factor",
                "drop_over_spacing",
                "share_in_drops",
            ):
                assert getattr(other, name).estimate == pytest.approx(getattr(loss, name).estimate, rel=1e-3)

    def test_rescale_puts_chance_at_one(self, slice_of):
        curves = slice_of(np.ones((1, 1, 2, 2)), [0.6, 0.4])
        curves = curves.assign(accuracy=curves["loss"] * [0.5, 1.0], brier=curves["loss"] * [0.25, 0.0])
        for metric in ("accuracy", "brier"):
            assert rescale(curves, metric)["loss"].values[0, 0, 0].tolist() == [1, 0]
        assert rescale(curves, "loss") is curves

    def test_that_are_missing_are_left_out(self, ideal):
        assert list(measure_discreteness(ideal)) == ["loss"]
        assert measure_discreteness(ideal, metrics=("brier",)) == {}

    def test_come_in_the_order_asked(self, ideal):
        found = measure_discreteness(with_other_metrics(ideal), metrics=("brier", "loss"))
        assert [(name, part.metric) for name, part in found.items()] == [("brier", "brier"), ("loss", "loss")]

    def test_steps_of_accuracy_alone_are_not_steps(self, drops):
        """A smooth loss whose accuracy jumps: the metric's doing, and seen to be so."""
        curves = drops(ridge_drop)
        curves = curves.assign(accuracy=1 - (curves["loss"] > 0.5) / 2)
        found = measure_discreteness(curves)
        assert found["accuracy"].drop_factor.estimate < 2
        assert found["loss"].drop_factor.estimate > MAX_DROP_FACTOR

    def test_curves_stay_as_they_are(self, ideal):
        curves = with_other_metrics(ideal)
        before = curves.copy(deep=True)
        measure_discreteness(curves)
        assert curves.identical(before)


class TestWorlds:
    """At the demo's size, with its noise."""

    @pytest.mark.parametrize("world", ["sigmoid", "domino", "shuffled"])
    def test_quanta_are_discrete_in_loss_and_brier_score(self, world):
        found = measure_discreteness(select(simulate(world, seed=1)), metrics=("loss", "brier"))
        for one in found.values():
            assert one.drop_factor.upper < MAX_DROP_FACTOR / 2
            assert one.drop_over_spacing.estimate > 1
            assert one.share_in_drops.estimate > 0.85
            assert one.share_between.estimate < 0.05

    @pytest.mark.parametrize("world", ["spectral", "smooth"])
    def test_worlds_without_quanta_are_not_in_any_metric(self, world):
        found = measure_discreteness(select(simulate(world, seed=1)))
        assert len(found) == 3
        for one in found.values():
            assert one.drop_factor.lower > MAX_DROP_FACTOR
            assert one.share_in_drops.estimate < 0.75
            assert one.share_between.estimate > 0.5


class TestBrokenData:
    def test_nothing_learned(self, quanta_world):
        found = loss_of(quanta_world(capacity=0))
        assert found.n_drops == 0
        assert found.drop_factor is found.drop_over_spacing is found.share_in_drops is None
        assert found.share_between.estimate == 0

    def test_one_seed_has_no_interval(self, quanta_world):
        found = loss_of(quanta_world(n_seeds=1, widths=np.array([32])))
        for name in ("share_between", "drop_factor", "drop_over_spacing", "share_in_drops"):
            interval = getattr(found, name)
            assert interval.lower is interval.upper is None
            assert interval.kind.startswith("none")
            assert math.isfinite(interval.estimate)

    def test_known_in_one_seed_only_has_no_interval(self, quanta_world):
        curves = quanta_world(n_seeds=3)
        idle = curves.assign(loss=curves["loss"].where(curves["seed"] == 1, 1.0))
        found = loss_of(idle).drop_factor
        assert found == loss_of(curves.sel(seed=[1])).drop_factor
        assert found.n_seeds == 1

    def test_one_evaluation(self, slice_of):
        found = loss_of(slice_of(np.ones((2, 2, 1, 3)), zipf_frequencies(3, 0.4)))
        assert found.n_drops == 0
        assert found.share_in_drops is None

    def test_an_interval_beyond_all_numbers_is_open(self, slice_of):
        loss = np.ones((2, 1, 4, 2))
        loss[0, 0, 1:] = 0.0
        loss[1, 0, 1:3] = [[0.8], [0.8]]
        loss[1, 0, 3] = 0.0
        curves = slice_of(loss, [0.5, 0.5], step=[1, 2, 10**9, 2 * 10**9])
        found = loss_of(curves, confidence=0.9999).drop_factor
        assert found.upper == math.inf
        assert found.lower == 0

    def test_refuses_what_it_cannot_use(self, ideal):
        with pytest.raises(ValueError, match="metrics must be among loss, accuracy, brier, not 'f1'"):
            measure_discreteness(ideal, metrics=("loss", "f1"))
        with pytest.raises(ValueError, match="curves must be at one alpha"):
            measure_discreteness(ideal.expand_dims("alpha"))
        with pytest.raises(ValueError, match="confidence"):
            measure_discreteness(ideal, confidence=1.0)
        holes = with_other_metrics(ideal)
        holes["accuracy"] = holes["accuracy"].where(holes["step"] != 1)
        with pytest.raises(ValueError, match="accuracy must be measured wherever the loss is"):
            measure_discreteness(holes)

    @given(st.data())
    @settings(max_examples=30, deadline=None)
    def test_whatever_the_curves_numbers_are_honest(self, slice_of, data):
        n_seeds, n_widths, n_steps, n_subtasks = (data.draw(st.integers(1, 3)) for _ in range(4))
        shape = (n_seeds, n_widths, n_steps, n_subtasks)
        n_values = math.prod(shape)
        loss = data.draw(st.lists(st.floats(0, 2, width=32), min_size=n_values, max_size=n_values))
        found = loss_of(slice_of(np.reshape(loss, shape), zipf_frequencies(n_subtasks, 0.4)))
        assert 0 <= found.share_between.estimate <= 1
        assert 0 <= found.n_cut <= found.n_drops <= n_seeds * n_widths * n_subtasks
        assert (found.drop_factor is None) == (found.n_drops == 0)
        if found.drop_factor is not None:
            assert found.drop_factor.estimate >= 1 - 1e-9
        for interval in (found.drop_factor, found.drop_over_spacing, found.share_in_drops):
            assert interval is None or math.isfinite(interval.estimate)
