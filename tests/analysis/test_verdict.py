import json

import numpy as np
import pytest

from analysis import verdict as module
from analysis.power_laws import fit_power_law
from analysis.verdict import ALLOWED, Check, judge
from quanta.curves import make_curves
from tasks.frequencies import uniform_frequencies, zipf_frequencies


def failing(verdict):
    return {check.name for check in verdict.checks if check.passed is False}


def named(verdict, name):
    return next(check for check in verdict.checks if check.name == name)


class TestWorlds:
    @pytest.mark.parametrize(
        "world",
        [{}, {"scatter": 0.2}, {"scatter": 0.4}, {"sharpness": np.inf}, {"sharpness": 4}, {"n_seeds": 5}],
    )
    def test_the_hypothesis_is_supported_where_it_holds(self, quanta_world, world):
        verdict = judge(quanta_world(**world))
        assert verdict.outcome == "supported"
        assert all(check.passed for check in verdict.checks)

    @pytest.mark.parametrize("world", ["uniform", "shuffled"])
    def test_worlds_without_order_are_rejected_for_it(self, request, world):
        verdict = judge(request.getfixturevalue(world))
        assert verdict.outcome == "rejected"
        assert "order" in failing(verdict)
        assert named(verdict, "order").upper < module.MIN_CONCORDANCE

    def test_lack_of_order_rejects_even_with_two_seeds_and_widths(self, quanta_world):
        verdict = judge(quanta_world(by_rank=False, n_seeds=2, widths=np.array([64, 128])))
        assert named(verdict, "enough data").passed is False
        assert verdict.outcome == "rejected"

    def test_a_smooth_learner_is_rejected_by_the_reconstruction(self, smooth):
        verdict = judge(smooth)
        assert verdict.outcome == "rejected"
        assert {"reconstruction", "exponent from the count"} <= failing(verdict)
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
        verdict = judge(curves.isel(alpha=0, n_train=0))
        assert "order" not in failing(verdict)
        assert named(verdict, "learning time").statistic == pytest.approx(-0.5, abs=0.01)
        assert verdict.outcome == "rejected"

    def test_an_interval_across_the_threshold_decides_nothing(self, quanta_world, monkeypatch):
        world = quanta_world(scatter=0.4)
        order = named(judge(world), "order")
        assert order.lower < order.statistic < order.upper
        monkeypatch.setitem(ALLOWED, "order", ((order.statistic + order.upper) / 2, np.inf))
        assert judge(world).outcome == "inconclusive"


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
        verdict = judge(quanta_world(**world))
        assert verdict.outcome == "inconclusive"
        check = named(verdict, "enough data")
        assert check.passed is False
        assert reason in check.why
        json.dumps(verdict.to_dict(), allow_nan=False)

    def test_one_seed_has_no_intervals(self, quanta_world):
        verdict = judge(quanta_world(n_seeds=1))
        assert all(check.lower is None for check in verdict.checks)
        assert "no interval from one seed" in named(verdict, "order").why

    @pytest.mark.parametrize("level", [0.0, 0.01])
    def test_everything_learned_everywhere(self, slice_of, level):
        loss = np.ones((3, 5, 6, 8))
        loss[:, :, 3:] = level
        verdict = judge(slice_of(loss, zipf_frequencies(8, 0.4), width=[1, 2, 4, 8, 16]))
        assert verdict.outcome == "inconclusive"
        assert "15 of 15 networks left out" in named(verdict, "reconstruction").why
        json.dumps(verdict.to_dict(), allow_nan=False)

    def test_some_wide_ones_have_learned_everything(self, slice_of):
        n = np.array([1, 2, 4, 8, 8])
        steps = np.geomspace(1, 1000, 30).astype(int).cumsum()
        p = zipf_frequencies(8, 0.4)
        at = np.where(np.arange(8) < n[:, None], 50 / p, np.inf)
        loss = np.broadcast_to((steps[:, None] < at[:, None, :]).astype(float), (3, 5, 30, 8))
        verdict = judge(slice_of(loss, p, width=[1, 2, 4, 8, 16], step=steps))
        assert verdict.outcome == "supported"
        assert "6 of 15 networks left out" in named(verdict, "exponent from the count").why
        assert verdict.exponents["alpha_N"].n_points == 3
        assert verdict.exponents["alpha_N"].expected_finite == pytest.approx(
            verdict.exponents["alpha_N"].estimate, rel=1e-6
        )

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
        verdict = judge(curves.isel(alpha=0, n_train=0))
        json.dumps(verdict.to_dict(), allow_nan=False)
        assert named(verdict, "order").statistic == 1
        at = 100 / ideal["frequency"].values
        learned = [int((at < ideal["step"].values[last - 1]).sum()) for last in (80, 90, 101)]
        assert verdict.scaling.query("width == 128")["n_learned"].tolist() == learned
        assert len(set(learned)) == 3

    def test_curves_that_are_no_slice(self, ideal):
        with pytest.raises(ValueError, match=r"take them with analysis\.select"):
            judge(ideal.expand_dims("alpha"))


class TestExponents:
    def test_of_the_ideal_world(self, ideal):
        exponents = judge(ideal).exponents
        scaling = judge(ideal).scaling.query("seed == 0")
        oracle = fit_power_law(scaling["n_parameters"], scaling["mean_loss"])
        assert exponents["alpha_N"].estimate == pytest.approx(-oracle.slope, rel=1e-9)
        assert exponents["alpha_N"].expected_infinite == 0.4
        # The count is a whole number where the theory has n = c N: at n = 1..4 that is up to 30 % off.
        assert exponents["alpha_N"].expected_finite == pytest.approx(exponents["alpha_N"].estimate, abs=0.05)
        assert exponents["alpha_S"].expected_infinite == pytest.approx(0.4 / 1.4)
        assert exponents["alpha_S"].expected_finite == pytest.approx(exponents["alpha_S"].estimate, abs=0.05)
        assert exponents["beta"].estimate == pytest.approx(1, abs=0.01)
        assert exponents["gamma"].estimate == pytest.approx(1, abs=0.05)
        assert exponents["alpha_D"].estimate is None

    def test_step_exponent_of_hard_steps_is_the_prediction(self, quanta_world):
        steps = np.unique(np.geomspace(1, 20000, 2000).astype(int))
        got = judge(quanta_world(sharpness=np.inf, steps=steps)).exponents["alpha_S"]
        assert got.estimate == pytest.approx(got.expected_finite, abs=0.005)
        assert got.window[0] == pytest.approx(100 / zipf_frequencies(64, 0.4)[0], rel=0.01)

    def test_unknown_alpha_leaves_the_finite_prediction(self, quanta_world, ideal):
        known = judge(ideal).exponents
        got = judge(quanta_world(frequency=zipf_frequencies(64, 0.4), alpha=np.nan)).exponents
        for name in ("alpha_N", "alpha_S", "alpha_D"):
            assert got[name].expected_infinite is None
            assert got[name].expected_finite == known[name].expected_finite

    def test_uniform_has_no_infinite_prediction(self, uniform):
        got = judge(uniform).exponents
        assert got["alpha_N"].expected_infinite is None
        assert got["alpha_N"].expected_finite is not None
        assert got["beta"].estimate is None


class TestRecord:
    def test_json_object(self, ideal):
        verdict = judge(ideal.assign_attrs(study='{"name": "demo"}'))
        got = json.loads(json.dumps(verdict.to_dict(), allow_nan=False))
        assert set(got) == {"schema", "study", "outcome", "checks", "exponents", "learned"}
        assert (got["schema"], got["study"], got["outcome"]) == (1, "demo", "supported")
        assert set(got["checks"][0]) == set(Check.__dataclass_fields__)
        assert set(got["exponents"]) == {"alpha_N", "alpha_S", "alpha_D", "beta", "gamma"}
        assert set(got["exponents"]["alpha_D"]) == {
            *("estimate", "lower", "upper", "expected_infinite", "expected_finite"),
        }
        assert got["learned"][3] == {
            "seed": 0,
            "width": 11,
            "n_parameters": 1100,
            "count": 3,
            "subtasks": [1, 2, 3],
        }

    def test_scaling_table(self, ideal):
        table = judge(ideal).scaling
        assert table.columns.tolist() == [
            *("seed", "width", "n_parameters", "mean_loss", "reconstructed_loss", "n_learned", "concordance"),
        ]
        assert len(table) == 33

    @pytest.mark.parametrize(
        ("study", "name"),
        [(None, None), ("pythia", "pythia"), ('{"name": "demo"}', "demo"), ("[1]", "[1]"), ("{}", "{}")],
    )
    def test_study_name(self, ideal, study, name):
        world = ideal if study is None else ideal.assign_attrs(study=study)
        assert judge(world, n_bootstrap=10).study == name

    def test_same_seed_same_verdict(self, quanta_world):
        world = quanta_world(scatter=0.4, n_seeds=5)
        assert judge(world).to_dict() == judge(world).to_dict()
        assert judge(world, n_bootstrap=50, seed=1).checks != judge(world, n_bootstrap=50, seed=2).checks

    def test_reasons_are_sentences_with_their_numbers(self, quanta_world):
        for check in judge(quanta_world(frequency=uniform_frequencies(64), scatter=0.3)).checks:
            assert check.why[0].isupper()
            assert check.why[-1] in ".)"
            if check.statistic is not None:
                assert f"{check.statistic:.2f}" in check.why
