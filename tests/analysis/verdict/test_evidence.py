import numpy as np
import pandas as pd
import pytest
from quanta.analysis.verdict.evidence import TAUS, gather_evidence, judge_by_tau, tabulate_time_slopes

from quanta.analysis.fits.forecasts import audit_windows, compare_models, scaling_points
from quanta.analysis.learned.order import find_inversions
from quanta.analysis.learned.times import learning_times, select
from quanta.analysis.theories.worlds import simulate
from quanta.analysis.verdict.judge import judge


@pytest.fixture(scope="module")
def world():
    return select(simulate("sigmoid", seed=1))


@pytest.fixture(scope="module")
def evidence(world):
    return gather_evidence(world, tau=0.15)


class TestJudgeByTau:
    def test_is_the_verdict_at_each(self, world):
        table = judge_by_tau(world, [0.3, 0.1])
        assert table["tau"].tolist() == [0.3, 0.1]
        for row in table.to_dict("records"):
            verdict = judge(world, tau=row["tau"], n_bootstrap=1)
            assert row["outcome"] == verdict.outcome
            for check in verdict.checks[1:]:
                assert row[check.name] == check.statistic
                if check.lower is not None:
                    assert (row[f"{check.name}_lower"], row[f"{check.name}_upper"]) == (
                        check.lower,
                        check.upper,
                    )
            n_learned = learning_times(world, row["tau"])["learned"].isel(width=-1).sum("subtask").mean()
            assert row["n_learned"] == float(n_learned)

    def test_what_is_not_known_is_nan(self, slice_of):
        loss = np.ones((2, 3, 4, 5))
        table = judge_by_tau(slice_of(loss, np.full(5, 0.2)), [0.1])
        assert table["outcome"].tolist() == ["inconclusive"]
        assert table["n_learned"].tolist() == [0]
        assert np.isnan(table["learning time"].item())


class TestTimeSlopes:
    def test_widest_is_the_exponent_beta(self, world):
        table = tabulate_time_slopes(world)
        beta = judge(world).exponents["beta"]
        last = table.iloc[-1]
        assert (last["beta"], last["beta_lower"], last["beta_upper"]) == (
            beta.estimate,
            beta.lower,
            beta.upper,
        )
        assert table["width"].tolist() == world["width"].values.tolist()
        # The world scatters log S_k by .3; from 3 · 22 learning times that is off by .3 / sqrt(2 · 66).
        assert last["sigma"] == pytest.approx(0.3, abs=4 * 0.3 / np.sqrt(132))

    def test_room_does_not_bend_it(self, world):
        """At width 45 there is room for 8 subtasks, which says nothing of how long the others would take."""
        table = tabulate_time_slopes(world).set_index("width")
        assert np.isnan(table["beta"].iloc[0])
        # One seed is off by .08 (see docs/statistics.md); counted as later than the end it would be 1.3.
        assert table.loc[45, "beta"] == pytest.approx(1, abs=3 * 0.08 / np.sqrt(3))


class TestGatherEvidence:
    def test_by_tau_holds_the_tau_asked_for(self, evidence):
        assert evidence.by_tau["tau"].tolist() == sorted([*TAUS, 0.15])

    @pytest.mark.parametrize("scale", ["parameters", "steps"])
    def test_models_and_windows_are_those_of_the_scale(self, world, evidence, scale):
        x, y = scaling_points(world, scale, tau=0.15)
        for found, expected in (
            (evidence.models, compare_models(x, y, frequency=world["frequency"].values)),
            (evidence.windows, audit_windows(x, y)),
        ):
            one = found[found["scale"] == scale].drop(columns="scale").reset_index(drop=True)
            pd.testing.assert_frame_equal(one, expected)

    def test_inversions_are_of_the_widest(self, world, evidence):
        times = learning_times(world, 0.15).isel(width=[-1])
        pd.testing.assert_frame_equal(evidence.inversions, find_inversions(times))

    def test_discreteness_has_every_metric(self, evidence):
        table = evidence.discreteness.set_index("metric")
        assert table.index.tolist() == ["loss", "accuracy", "brier"]
        assert table.loc["loss", "drop_factor_lower"] < table.loc["loss", "drop_factor"] < 10

    @pytest.mark.parametrize(
        "changed", [{"n_seeds": 1}, {"widths": [64]}, {"steps": 5}, {"n_subtasks": 3, "steps": 10**6}]
    )
    def test_poor_curves_give_what_they_can(self, changed):
        found = gather_evidence(select(simulate("sigmoid", **changed)))
        assert len(found.by_tau) == 4
        assert set(found.by_tau["outcome"]) == {"inconclusive"}

    def test_curves_without_accuracy(self, world):
        found = gather_evidence(world.drop_vars(["accuracy", "brier", "samples_seen"]))
        assert found.discreteness["metric"].tolist() == ["loss"]
