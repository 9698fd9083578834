import json
from dataclasses import replace

import numpy as np
import pytest
from quanta.analysis.learned.discreteness import measure_discreteness
from quanta.analysis.learned.reconstruction import PermutationNull, measure_reconstruction
from quanta.analysis.verdict.checks import Check

from quanta.analysis import checks, select, simulate
from quanta.analysis import verdict as module
from quanta.analysis.fits.intervals import Interval
from quanta.analysis.fits.power_laws import fit_power_law
from quanta.analysis.theories.worlds import DEMO_WIDTHS
from quanta.analysis.verdict.exponents import Exponent
from quanta.analysis.verdict.judge import judge
from quanta.curves.dataset import make_curves
from quanta.tasks.frequencies import zipf_frequencies

N_DRAWS = 8
DOES_NOT_HOLD = ("domino", "spectral", "smooth", "shuffled", "uniform")
CHECKS = (
    "enough data",
    "order",
    "learning time",
    "count",
    "reconstruction",
    "which subtasks",
    "exponent from the count",
    "steps",
)

STATISTICS = {
    "order": "order",
    "learning time": "time_slopes",
    "count": "count_slopes",
    "reconstruction": "reconstructions",
    "exponent from the count": "slope_ratios",
}
"""What gives each check its values, by its name in `analysis.checks`."""


def failing(verdict):
    return {check.name for check in verdict.checks if check.passed is False}


def named(verdict, name):
    return next(check for check in verdict.checks if check.name == name)


def about(limit, *offsets):
    return [limit + offset for offset in offsets]


def judge_with(monkeypatch, curves, name, values):
    """Judge with the values of each seed (S,) in the place of the statistic of a check."""
    monkeypatch.setattr(checks, STATISTICS[name], lambda m: np.array(values))
    return judge(curves, n_bootstrap=1, n_permutations=99)


def say_sentences(verdict):
    """Whether the reasons of all checks are sentences that contain the statistic."""
    return all(
        check.why[0].isupper()
        and check.why[-1] in ".)"
        and "{" not in check.why
        and (
            check.statistic is None
            or f"{check.statistic:.2f}" in check.why
            or f"{check.statistic:.2g}" in check.why
        )
        for check in verdict.checks
    )


@pytest.fixture(scope="session")
def judge_draws():
    """Judge draws of a world, the same every time; each world once."""
    found = {}

    def judge_all(world):
        if world not in found:
            draws = [select(simulate(world, seed=draw)) for draw in range(N_DRAWS)]
            if world in DOES_NOT_HOLD:  # the other metrics can only object, and take half of the time
                draws = [curves.drop_vars(["accuracy", "brier"]) for curves in draws]
            found[world] = [judge(curves, n_bootstrap=1, n_permutations=99) for curves in draws]
        return found[world]

    return judge_all


@pytest.fixture(scope="session")
def curves():
    return select(simulate("sigmoid", seed=1))


@pytest.fixture(scope="session")
def brief(curves):
    """Without the other metrics, which take half of the time."""
    return curves.drop_vars(["accuracy", "brier"])


@pytest.fixture(scope="session")
def verdict(curves):
    return judge(curves.assign_attrs(study='{"name": "demo"}'))


@pytest.fixture(scope="session")
def nothing(slice_of):
    """Nothing is learned, and the loss is chance and the noise of its evaluation."""
    noise = np.exp(0.03 * np.random.default_rng(0).standard_normal((3, 11, 20, 64)))
    return slice_of(1.01 * noise, zipf_frequencies(64, 0.4), width=DEMO_WIDTHS)


class TestWorlds:
    """The long version, with its error rates, is benchmarks/calibration.py."""

    @pytest.mark.parametrize("world", ["ideal", "sigmoid"])
    def test_the_hypothesis_is_supported_where_it_holds(self, judge_draws, world):
        for verdict in judge_draws(world):
            assert verdict.outcome == "supported"
            assert [check.passed for check in verdict.checks] == [True] * len(CHECKS)

    def test_serial_learning_is_told_by_learning_times_alone(self, judge_draws):
        for verdict in judge_draws("domino"):
            assert verdict.outcome == "rejected"
            assert failing(verdict) == {"learning time"}
            assert named(verdict, "order").passed
            assert named(verdict, "count").passed
            assert named(verdict, "learning time").upper < 1
        times = [named(verdict, "learning time") for verdict in judge_draws("domino")]
        # Nine in ten intervals hold the truth; of eight, fewer than six do so in one case of twenty-five.
        assert sum(check.lower < 1 / 1.4 < check.upper for check in times) >= 6
        assert all("leave out 0.71, learning one by one" in check.why for check in times)

    @pytest.mark.parametrize(
        ("world", "name"),
        [("spectral", "steps"), ("smooth", "steps"), ("shuffled", "order"), ("shuffled", "learning time")],
    )
    def test_worlds_that_break_it_are_rejected_for_what_they_break(self, judge_draws, world, name):
        for verdict in judge_draws(world):
            assert verdict.outcome == "rejected"
            assert name in failing(verdict)

    def test_smooth_learning_is_in_order_and_no_step(self, judge_draws):
        for verdict in judge_draws("spectral"):
            assert named(verdict, "order").passed
            # Modes behind a ridge-type filter take a factor of 40 or more.
            assert named(verdict, "steps").lower > 40

    def test_without_order_the_steps_and_the_count_are_there(self, judge_draws):
        for verdict in (*judge_draws("shuffled"), *judge_draws("uniform")):
            assert named(verdict, "steps").passed
            assert named(verdict, "count").passed
            assert not named(verdict, "order").passed

    def test_equal_frequencies_are_not_supported_and_mostly_rejected_for_their_order(self, judge_draws):
        verdicts = judge_draws("uniform")
        for verdict in verdicts:
            assert verdict.outcome == ("rejected" if failing(verdict) else "inconclusive")
            assert failing(verdict) <= {"order"}
        # C scatters about .5 by .07 between seeds, so that the interval ends at .62 on average; but that of
        # three seeds is sometimes more than twice as wide.
        assert sum("order" in failing(verdict) for verdict in verdicts) >= 6

    def test_equal_frequencies_say_nothing_of_learning_times(self, judge_draws):
        for verdict in judge_draws("uniform"):
            check = named(verdict, "learning time")
            assert check.statistic is check.passed is None
            assert check.why == "Could not be measured: all subtasks are equally frequent."
            # Any exchange of equal frequencies rebuilds the loss as well.
            assert named(verdict, "which subtasks").statistic == 1

    def test_every_reason_is_a_sentence_with_its_number(self, judge_draws):
        for world in ("ideal", "sigmoid", *DOES_NOT_HOLD):
            assert all(say_sentences(verdict) for verdict in judge_draws(world))

    @pytest.mark.parametrize(("world", "outcome"), [("sigmoid", "supported"), ("domino", "rejected")])
    def test_longer_training_of_full_networks_changes_nothing(self, world, outcome):
        verdict = judge(select(simulate(world, steps=30_000)), n_bootstrap=1, n_permutations=99)
        assert verdict.outcome == outcome
        assert failing(verdict) == ({"learning time"} if outcome == "rejected" else set())

    def test_serial_learning_too_close_to_tell_is_not_supported(self):
        # 1/(1+α) = .95 is within the tolerance about 1, and the interval holds both.
        verdict = judge(select(simulate("domino", alpha=0.05)), n_bootstrap=1, n_permutations=99)
        check = named(verdict, "learning time")
        assert check.lower < 1 / 1.05 < 1 < check.upper
        assert check.passed is None
        assert verdict.outcome == "inconclusive"


class TestHandMadeWorlds:
    """Hard to steep steps on a grid of evaluations 1.09 apart; n is rounded down, so that it grows faster."""

    @pytest.mark.parametrize(
        "world",
        [{}, {"scatter": 0.2}, {"scatter": 0.4}, {"sharpness": np.inf}, {"sharpness": 4}, {"n_seeds": 5}],
    )
    def test_the_hypothesis_is_supported_where_it_holds(self, quanta_world, world):
        verdict = judge(quanta_world(**world), n_permutations=99)
        assert verdict.outcome == "supported"
        assert all(check.passed for check in verdict.checks)
        assert named(verdict, "count").why.endswith("to the power 1, is not what this is.")

    @pytest.mark.parametrize("world", ["uniform", "shuffled"])
    def test_worlds_without_order_are_rejected_for_it(self, request, world):
        verdict = judge(request.getfixturevalue(world), n_permutations=99)
        assert verdict.outcome == "rejected"
        assert "order" in failing(verdict)

    def test_lack_of_order_rejects_even_with_two_seeds_and_widths(self, quanta_world):
        world = quanta_world(by_rank=False, n_seeds=2, widths=np.array([64, 128]), n_subtasks=200)
        verdict = judge(world, n_permutations=99)
        assert {"enough data", "order"} <= failing(verdict)
        assert verdict.outcome == "rejected"

    def test_a_smooth_learner_is_rejected_for_all_it_lacks(self, smooth):
        verdict = judge(smooth, n_permutations=99)
        assert verdict.outcome == "rejected"
        assert failing(verdict) == {"reconstruction", "exponent from the count", "steps"}
        # Its loss is a fine power law all the same: that alone proves nothing.
        assert verdict.exponents["alpha_N"].estimate == pytest.approx(0.5, abs=0.01)

    def test_wrong_learning_times_are_rejected_for_them(self, quanta_world):
        # In order, but S_k ∝ p_k^-0.5.
        p = zipf_frequencies(64, 0.4)
        world = quanta_world(frequency=p**0.5 / (p**0.5).sum(), capacity=0.2)
        curves = make_curves(
            world["loss"].values,
            frequency=p,
            step=world["step"],
            width=world["width"],
            n_parameters=world["n_parameters"],
            seed=world["seed"],
            alpha=[0.4],
        )
        verdict = judge(select(curves), n_permutations=99)
        assert failing(verdict) == {"learning time"}
        assert named(verdict, "learning time").statistic == pytest.approx(0.5, abs=0.01)
        assert verdict.outcome == "rejected"


class TestThreeStates:
    """Seeds a - d, a, a + d have the interval a ± 1.69 d, Student's with two degrees of freedom at 90 %."""

    @pytest.mark.parametrize(
        ("name", "values", "passed"),
        [
            ("order", about(checks.MIN_CONCORDANCE, 0.05, 0.06, 0.07), True),
            ("order", about(checks.MIN_CONCORDANCE, -0.03, 0.02, 0.07), True),  # .02 - .08 to .02 + .08
            ("order", about(checks.MIN_CONCORDANCE, -0.07, -0.02, 0.03), None),
            ("order", about(checks.MIN_CONCORDANCE, -0.1, -0.09, -0.08), False),
            ("order", [np.nan, np.nan, 0.95], None),
            ("learning time", [0.99, 1.0, 1.01], True),
            ("learning time", [1.05, 1.15, 1.25], True),  # .98 to 1.32 meets .9 to 1.1
            ("learning time", [0.83, 0.88, 0.93], True),  # .80 to .96 meets it and leaves out .71
            ("learning time", [0.70, 0.80, 0.90], None),  # .63 to .97 meets it and holds .71
            ("learning time", [0.60, 1.0, 1.40], None),  # .33 to 1.67
            ("learning time", [0.70, 0.71, 0.72], False),
            ("learning time", [0.80, 0.81, 0.82], False),  # neither
            ("learning time", [1.30, 1.31, 1.32], False),
            ("learning time", [np.nan, np.nan, 1.0], None),
            ("count", [0.90, 1.0, 1.1], True),
            ("count", [0.10, 0.11, 0.12], True),
            ("count", [-0.10, 0.1, 0.3], None),  # -.24 to .44
            ("count", [-0.30, -0.1, 0.1], None),
            ("count", [-0.50, -0.4, -0.3], False),
            ("count", [np.nan, np.nan, 1.0], None),
            ("reconstruction", about(checks.MIN_R_SQUARED, 0.02, 0.03, 0.04), True),
            ("reconstruction", about(checks.MIN_R_SQUARED, -0.03, 0.01, 0.05), True),
            (
                "reconstruction",
                about(checks.MIN_R_SQUARED, -0.1, -0.03, 0.04),
                None,
            ),  # -.03 - .12 to -.03 + .12
            ("reconstruction", about(checks.MIN_R_SQUARED, -0.45, -0.4, -0.35), False),
            ("reconstruction", [np.nan, np.nan, 1.0], None),
            ("exponent from the count", [0.90, 1.0, 1.1], True),
            ("exponent from the count", [0.70, 0.85, 1.0], True),  # .60 to 1.10
            ("exponent from the count", [0.60, 0.75, 0.90], None),  # .50 to 1.00
            ("exponent from the count", [1.15, 1.25, 1.35], None),  # 1.08 to 1.42
            ("exponent from the count", [0.20, 0.25, 0.30], False),
            ("exponent from the count", [1.38, 1.40, 1.42], False),
            ("exponent from the count", [np.nan, np.nan, 1.0], None),
        ],
    )
    def test_pass_fail_and_unclear(self, monkeypatch, brief, name, values, passed):
        verdict = judge_with(monkeypatch, brief, name, values)
        check = named(verdict, name)
        assert check.passed is passed
        # All other checks pass.
        assert verdict.outcome == {True: "supported", False: "rejected", None: "inconclusive"}[passed]
        if np.isnan(values).sum() > 1:
            assert check.statistic is check.lower is None
            assert check.why.startswith("Could not be measured: ")
        else:
            assert check.statistic == pytest.approx(np.mean(values))
        assert say_sentences(verdict)

    def test_seeds_that_were_left_out_are_not_counted(self, monkeypatch, brief):
        check = named(judge_with(monkeypatch, brief, "order", [0.95, np.nan, 0.96]), "order")
        assert check.statistic == pytest.approx(0.955)
        assert "over 2 seeds)" in check.why

    @pytest.mark.parametrize(
        ("values", "proportion"), [([0.9, 1.0, 1.1], "may be"), ([0.5, 0.51, 0.52], "is not")]
    )
    def test_growth_in_proportion_is_said_and_not_asked_for(self, monkeypatch, brief, values, proportion):
        check = named(judge_with(monkeypatch, brief, "count", values), "count")
        assert check.passed
        assert f"to the power 1, {proportion} what this is." in check.why

    def test_serial_value_is_not_left_out_of_nothing(self, monkeypatch, brief):
        one = brief.isel(seed=[0])
        for name in ("learning time", "count"):
            check = named(judge_with(monkeypatch, one, name, [1.0]), name)
            assert (check.statistic, check.lower, check.passed) == (1.0, None, None)

    @pytest.mark.parametrize(
        ("of_sets", "of_frequencies", "passed"),
        [(0.05, 0.01, True), (0.051, 0.01, None), (0.01, 0.5, None), (np.nan, np.nan, None)],
    )
    def test_which_subtasks_never_fails_clearly(self, monkeypatch, brief, of_sets, of_frequencies, passed):
        nulls = [PermutationNull(p_value, np.ones(99)) for p_value in (of_sets, of_frequencies)]

        def measured(*arguments, **options):
            found = measure_reconstruction(*arguments, **options)
            return replace(found, null_of_sets=nulls[0], null_of_frequencies=nulls[1])

        monkeypatch.setattr(module, "measure_reconstruction", measured)
        verdict = judge(brief, n_bootstrap=1, n_permutations=99)
        check = named(verdict, "which subtasks")
        assert check.passed is passed
        worst = max(of_sets, of_frequencies)
        assert check.statistic == (None if np.isnan(worst) else worst)
        assert verdict.outcome == ("supported" if passed else "inconclusive")
        assert say_sentences(verdict)

    @pytest.mark.parametrize(
        ("factor", "lower", "upper", "passed"),
        [
            (4.0, 3.0, 5.0, True),
            (9.0, 7.0, 12.0, True),
            (12.0, 9.0, 16.0, None),
            (22.0, 15.0, 30.0, False),
            (12.0, None, None, None),
        ],
    )
    def test_steps_are_judged_in_the_slowest_metric(self, monkeypatch, curves, factor, lower, upper, passed):
        fast, slow = (
            Interval(*ends, "of the logarithm", 3, 0.9) for ends in ((2, 2, 2), (factor, lower, upper))
        )

        def measured(*arguments, **options):
            found = measure_discreteness(*arguments, **options)
            return {
                metric: replace(one, drop_factor=slow if metric == "accuracy" else fast)
                for metric, one in found.items()
            }

        monkeypatch.setattr(module, "measure_discreteness", measured)
        verdict = judge(curves, n_bootstrap=1, n_permutations=99)
        check = named(verdict, "steps")
        assert (check.statistic, check.lower, check.upper) == (factor, lower, upper)
        assert check.passed is passed
        assert "(accuracy, the slowest of loss, accuracy, brier)" in check.why
        assert say_sentences(verdict)

    def test_curves_with_the_loss_alone_are_judged_by_it(self, brief):
        check = named(judge(brief, n_bootstrap=1, n_permutations=99), "steps")
        assert check.passed
        assert "in steps (loss); at most" in check.why


class TestPreconditions:
    @pytest.mark.parametrize(
        ("world", "reason"),
        [
            ({"n_seeds": 1}, "1 seed (at least 3)"),
            ({"n_seeds": 2}, "2 seeds (at least 3)"),
            ({"widths": np.array([128])}, "1 width (at least 4)"),
            ({"widths": np.array([100, 110, 120, 130])}, "parameters over a factor of 1.3 (at least 4)"),
            ({"capacity": 0.03}, "3 subtasks learned at the widest (at least 5)"),
            ({"capacity": 100}, "a mean loss that falls by a factor of 1 (at least 1.5)"),
            ({"capacity": 0}, "0 subtasks learned at the widest (at least 5)"),
        ],
    )
    def test_too_little_is_inconclusive_and_says_why(self, quanta_world, world, reason):
        verdict = judge(quanta_world(**world), n_permutations=99)
        assert verdict.outcome == "inconclusive"
        check = named(verdict, "enough data")
        assert check.passed is False
        assert reason in check.why
        assert say_sentences(verdict)
        json.dumps(verdict.to_dict(), allow_nan=False)

    def test_too_little_comes_before_a_clear_failure(self):
        verdict = judge(select(simulate("domino", n_seeds=2, seed=1)), confidence=0.5, n_permutations=99)
        assert failing(verdict) == {"enough data", "learning time"}
        assert verdict.outcome == "inconclusive"

    @pytest.mark.parametrize(("capacity", "outcome"), [(0.03, "inconclusive"), (0.05, "rejected")])
    def test_lack_of_order_rejects_among_five_and_not_among_fewer(
        self, monkeypatch, quanta_world, capacity, outcome
    ):
        # 3 or 6 subtasks are learned at a width of 128.
        verdict = judge_with(monkeypatch, quanta_world(capacity=capacity), "order", [0.5, 0.51, 0.52])
        assert "order" in failing(verdict)
        assert verdict.outcome == outcome

    def test_one_seed_has_no_intervals(self, quanta_world):
        verdict = judge(quanta_world(n_seeds=1), n_permutations=99)
        assert all(check.lower is None for check in verdict.checks)
        assert not failing(verdict) - {"enough data"}
        assert "no interval from one seed" in named(verdict, "order").why

    def test_nothing_learned(self, nothing):
        verdict = judge(nothing, n_permutations=99)
        assert verdict.outcome == "inconclusive"
        assert "0 subtasks learned at the widest (at least 5)" in named(verdict, "enough data").why
        assert "a mean loss that falls by a factor of 0.99" in named(verdict, "enough data").why
        for name in CHECKS[1:]:
            assert named(verdict, name).passed is None
            # By chance all rebuild a constant as well.
            assert named(verdict, name).statistic == (1.0 if name == "which subtasks" else None)
        # A slope of 0 between constants is measured, and no other exponent is.
        assert verdict.exponents.pop("alpha_N").estimate == pytest.approx(0, abs=0.01)
        assert all(exponent.estimate is None for exponent in verdict.exponents.values())
        json.dumps(verdict.to_dict(), allow_nan=False)

    def test_two_of_three_seeds_learn_nothing(self, nothing, slice_of):
        loss = nothing["loss"].values.copy()
        for width in range(11):
            loss[0, width, 5:, : width + 1] = 0.01
        verdict = judge(slice_of(loss, zipf_frequencies(64, 0.4), width=DEMO_WIDTHS), n_permutations=99)
        assert verdict.outcome == "inconclusive"
        for name in ("order", "learning time", "count", "reconstruction", "exponent from the count"):
            assert named(verdict, name).statistic is None

    @pytest.mark.parametrize("level", [0.0, 0.01])
    def test_everything_learned_everywhere(self, slice_of, level):
        loss = np.ones((3, 5, 6, 8))
        loss[:, :, 3:] = level
        verdict = judge(slice_of(loss, zipf_frequencies(8, 0.4), width=[1, 2, 4, 8, 16]))
        assert verdict.outcome == "inconclusive"
        assert "15 of 15 networks left out" in named(verdict, "reconstruction").why
        assert "no loss is left" in named(verdict, "which subtasks").why
        json.dumps(verdict.to_dict(), allow_nan=False)

    def test_some_wide_ones_have_learned_everything(self, slice_of):
        n = np.array([1, 2, 4, 8, 8])
        steps = np.geomspace(1, 1000, 30).astype(int).cumsum()
        p = zipf_frequencies(8, 0.4)
        at = np.where(np.arange(8) < n[:, None], 50 / p, np.inf)
        loss = np.broadcast_to((steps[:, None] < at[:, None, :]).astype(float), (3, 5, 30, 8))
        verdict = judge(slice_of(loss, p, width=[1, 2, 4, 8, 16], step=steps), n_permutations=99)
        assert verdict.outcome == "supported"
        assert "6 of 15 networks left out" in named(verdict, "reconstruction").why
        got = verdict.exponents["alpha_N"]
        assert got.n_points == 9
        assert got.expected_finite == pytest.approx(got.estimate, rel=1e-5)  # losses are stored in float32

    def test_early_stops(self, ideal):
        loss = ideal["loss"].values.copy()
        for seed, last in enumerate((80, 90, 101)):
            loss[seed, :, last:] = np.nan
        curves = make_curves(
            loss,
            frequency=ideal["frequency"],
            step=ideal["step"],
            width=ideal["width"],
            n_parameters=ideal["n_parameters"],
            seed=ideal["seed"],
            alpha=[0.4],
        )
        verdict = judge(select(curves), n_permutations=99)
        json.dumps(verdict.to_dict(), allow_nan=False)
        assert named(verdict, "order").statistic == 1
        at = 100 / ideal["frequency"].values
        learned = [int((at < ideal["step"].values[last - 1]).sum()) for last in (80, 90, 101)]
        assert verdict.scaling.query("width == 128")["n_learned"].tolist() == learned
        assert len(set(learned)) == 3

    @pytest.mark.parametrize("n_measured", [1, 2, 30])
    def test_stopped_early_everywhere(self, brief, n_measured):
        measured = brief["step"] < brief["step"][n_measured]
        stopped = brief.assign(
            loss=brief["loss"].where(measured), mean_loss=brief["mean_loss"].where(measured)
        )
        verdict = judge(stopped, n_permutations=99)
        assert verdict.outcome == "inconclusive"
        json.dumps(verdict.to_dict(), allow_nan=False)

    def test_one_subtask_of_one_width_at_one_evaluation(self, slice_of):
        verdict = judge(slice_of(np.full((1, 1, 1, 1), 0.5), [1.0]), n_permutations=99)
        assert verdict.outcome == "inconclusive"
        assert all(check.statistic is None or check.name == "which subtasks" for check in verdict.checks)
        json.dumps(verdict.to_dict(), allow_nan=False)

    def test_curves_that_are_no_slice(self, ideal):
        with pytest.raises(ValueError, match=r"take them with analysis\.select"):
            judge(ideal.expand_dims("alpha"))

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"tau": 0}, "tau must be between 0 and 1 bit, not 0"),
            ({"tau": 1}, "tau must be between 0 and 1 bit, not 1"),
            ({"confidence": 0}, "confidence must be between 0 and 1, not 0"),
            ({"confidence": 1.5}, "confidence must be between 0 and 1, not 1.5"),
            ({"n_bootstrap": 0}, "n_resamples must be at least 1, not 0"),
            ({"n_permutations": 0}, "n_permutations must be at least 1, not 0"),
        ],
    )
    def test_arguments_out_of_range(self, brief, arguments, message):
        with pytest.raises(ValueError, match=message):
            judge(brief, **arguments)


class TestRecord:
    def test_json_object(self, verdict):
        got = json.loads(json.dumps(verdict.to_dict(), allow_nan=False))
        assert set(got) == {"schema", "study", "outcome", "settings", "checks", "exponents", "learned"}
        assert (got["schema"], got["study"], got["outcome"]) == (1, "demo", "supported")
        assert [check["name"] for check in got["checks"]] == list(CHECKS)
        assert set(got["checks"][0]) == set(Check.__dataclass_fields__)
        assert list(got["exponents"]) == ["alpha_N", "alpha_S", "alpha_D", "beta", "gamma", "gamma_S"]
        for exponent in got["exponents"].values():
            assert set(exponent) == set(Exponent.__dataclass_fields__)
        assert got["settings"] == {
            "alpha": 0.4,
            "n_train": None,  # inf: every batch was fresh
            "n_subtasks": 64,
            "n_seeds": 3,
            "tau": 0.1,
            "confidence": 0.9,
            "n_bootstrap": 2000,
            "n_permutations": 999,
            "seed": 0,
        }

    def test_json_of_unknown_alpha(self, brief):
        verdict = judge(brief.assign_coords(alpha=np.nan), n_bootstrap=1, n_permutations=99)
        got = json.loads(json.dumps(verdict.to_dict(), allow_nan=False))
        assert got["settings"]["alpha"] is None
        assert got["exponents"]["alpha_N"]["expected_infinite"] is None
        assert verdict.outcome == "supported"

    def test_json_of_an_interval_without_end(self, slice_of):
        # One seed drops at once and one slowly: at this confidence their interval is beyond any float.
        steps = np.array([1, 10, 100, 1000])
        loss = np.ones((2, 1, 4, 8))
        loss[0, :, 2:] = 0.01
        loss[1] = np.array([0.95, 0.8, 0.5, 0.01])[:, None]
        got = judge(slice_of(loss, zipf_frequencies(8, 0.4), step=steps), confidence=0.99999)
        assert named(got, "steps").upper == np.inf
        record = json.loads(json.dumps(got.to_dict(), allow_nan=False))
        assert record["checks"][-1]["upper"] is None
        assert record["checks"][-1]["statistic"] == named(got, "steps").statistic

    def test_learned_subtasks(self, ideal):
        # 11 · 0.3 = 3.3 subtasks fit into a width of 11.
        assert judge(ideal, n_bootstrap=1, n_permutations=99).learned[3] == {
            "seed": 0,
            "width": 11,
            "n_parameters": 1100,
            "count": 3,
            "subtasks": [1, 2, 3],
        }

    def test_scaling_table(self, verdict, curves):
        table = verdict.scaling
        assert table.columns.tolist() == [
            *("seed", "width", "n_parameters", "mean_loss", "reconstructed_loss", "n_learned", "concordance"),
        ]
        assert len(table) == 33
        final = curves["mean_loss"].isel(step=-1).sel(seed=2, width=45).item()
        (row,) = table.query("seed == 2 and width == 45").to_dict("records")
        assert row["mean_loss"] == final
        assert row["n_parameters"] == curves["n_parameters"].sel(width=45)
        assert row["n_learned"] == [one for one in verdict.learned if one["seed"] == 2][7]["count"]

    def test_slope_of_the_table_is_the_exponent(self, verdict):
        slopes = [
            -fit_power_law(of_seed["n_parameters"], of_seed["mean_loss"]).slope
            for _, of_seed in verdict.scaling.groupby("seed")
        ]
        assert verdict.exponents["alpha_N"].estimate == pytest.approx(np.mean(slopes), rel=1e-9)

    @pytest.mark.parametrize(
        ("study", "name"),
        [(None, None), ("pythia", "pythia"), ('{"name": "demo"}', "demo"), ("[1]", "[1]"), ("{}", "{}")],
    )
    def test_study_name(self, ideal, study, name):
        world = (ideal if study is None else ideal.assign_attrs(study=study)).isel(width=[0])
        assert judge(world, n_bootstrap=1, n_permutations=1).study == name

    def test_same_arguments_same_verdict(self, brief):
        same, again, other = (
            judge(brief, n_bootstrap=50, n_permutations=99, seed=seed) for seed in (1, 1, 2)
        )
        assert same.to_dict() == again.to_dict()
        for name in ("alpha_N", "alpha_S", "beta"):
            assert same.exponents[name].bootstrap != other.exponents[name].bootstrap
            assert same.exponents[name].lower == other.exponents[name].lower

    def test_confidence_moves_intervals_and_no_estimate(self, brief):
        narrow, wide = (judge(brief, confidence=c, n_bootstrap=1, n_permutations=99) for c in (0.5, 0.99))
        for one, other in zip(narrow.checks, wide.checks, strict=True):
            assert one.statistic == other.statistic
            if one.lower is not None:
                assert other.lower < one.lower < one.upper < other.upper
        assert "(50% interval" in named(narrow, "order").why
        assert "(99% interval" in named(wide, "order").why

    def test_tau_moves_what_is_learned(self, brief):
        strict, lax = (judge(brief, tau=tau, n_bootstrap=1, n_permutations=99) for tau in (0.0005, 0.5))
        assert strict.scaling["n_learned"].sum() < lax.scaling["n_learned"].sum()
        assert (strict.settings["tau"], lax.settings["tau"]) == (0.0005, 0.5)
