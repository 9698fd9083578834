"""The shipped studies, trained whole: what the demo has to show and the controls must not."""

import functools

import numpy as np
import pytest

from quanta import RunDirectory, load_study, run_sweep
from quanta.analysis import judge, select

pytestmark = pytest.mark.slow  # some minutes each


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """Train a shipped study, once for all tests, and judge it."""

    @functools.cache
    def train_and_judge(name, *overrides):
        run = RunDirectory.create(tmp_path_factory.mktemp(name) / "run", load_study(name, overrides))
        assert not run_sweep(run).failed
        return judge(select(run.load()))

    return train_and_judge


def statistic(verdict, name):
    return next(check.statistic for check in verdict.checks if check.name == name)


def test_the_demo_shows_the_staircase(judged):
    verdict = judged("demo")
    assert verdict.outcome == "supported"
    assert statistic(verdict, "order") >= 0.95
    assert statistic(verdict, "learning time") == pytest.approx(1, abs=0.25)
    assert statistic(verdict, "reconstruction") >= 0.95
    widest = verdict.scaling[verdict.scaling["width"] == verdict.scaling["width"].max()]
    assert 8 <= widest["n_learned"].mean() <= 16


def test_uniform_frequencies_have_no_order(judged):
    verdict = judged("control-uniform")
    assert verdict.outcome == "rejected"
    # About twenty of 64 learned in each of three seeds: were the order random, C would have a standard
    # error near .035, so this is four of them.
    assert statistic(verdict, "order") == pytest.approx(0.5, abs=0.14)
    assert not next(check for check in verdict.checks if check.name == "order").passed
    assert np.isfinite(verdict.scaling["mean_loss"]).all()


def test_a_frozen_first_layer_learns_nothing(judged):
    verdict = judged("control-frozen")
    assert verdict.outcome != "supported"
    assert (verdict.scaling["n_learned"] == 0).all()
    # A guess costs 1 bit, and is the best there is: a linear readout of 128 random features explains less
    # than a hundredth of the variance of a parity of 3 of 32 bits.
    np.testing.assert_allclose(verdict.scaling["mean_loss"], 1, rtol=0, atol=0.02)


def test_bf16_learns_as_many_as_float32_within_the_spread_of_seeds(judged):
    exact, rounded = judged("demo").scaling, judged("demo", "training.precision=bf16").scaling
    counts = [scaling.groupby("width")["n_learned"].agg(["mean", "std"]) for scaling in (exact, rounded)]
    gap = (counts[0]["mean"] - counts[1]["mean"]).abs()
    # Means of three seeds each; a spread of 0 is as little as counts of 3 seeds can show, not as there is.
    error = np.hypot(counts[0]["std"], counts[1]["std"]).clip(lower=0.5) / np.sqrt(3)
    assert (gap <= 3 * error).all(), (gap / error).tolist()
