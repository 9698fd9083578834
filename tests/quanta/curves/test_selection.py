import numpy as np
import pytest

from quanta.curves.dataset import make_curves
from quanta.curves.schema import CurvesError
from quanta.curves.selection import find_place, read_losses
from quanta.study.spec import StudySpec
from quanta.training.trainer import train_unit

STEP = [0, 1, 10, 100, 1000]
FREQUENCY = np.array([0.75, 0.25])
# Subtask 1 is learned and overfitted, subtask 2 learned late: the mean is lowest at step 100.
FIRST = np.array([1.0, 0.8, 0.2, 0.1, 0.4])
SECOND = np.array([1.0, 1.0, 0.9, 0.6, 0.5])
CHOICE = np.stack([FIRST, SECOND], axis=1)
REPORT = CHOICE + np.array([0.01, 0.02])


def make(choice=CHOICE, report=REPORT, **values):
    given = {"selection_loss": choice[None], "reported_loss": report[None]} if report is not None else {}
    loss = choice if report is None else (choice + report) / 2
    return make_curves(
        loss[None],
        frequency=FREQUENCY,
        step=STEP,
        width=[8],
        n_parameters=[100],
        n_train=[50],
        **given,
        **values,
    )


class TestKnownAnswers:
    def test_last(self):
        found = read_losses(make(), "last").squeeze()
        np.testing.assert_allclose(found["loss"], [0.405, 0.51], rtol=1e-6)
        assert found["mean_loss"].item() == pytest.approx(0.75 * 0.405 + 0.25 * 0.51, rel=1e-6)
        assert found["step"].item() == 1000

    def test_lowest_mean_is_the_default(self):
        for found in (read_losses(make()), read_losses(make(), "lowest mean")):
            np.testing.assert_allclose(found["loss"].squeeze(), [0.11, 0.62], rtol=1e-6)
            assert found["mean_loss"].item() == pytest.approx(0.75 * 0.11 + 0.25 * 0.62, rel=1e-6)
            assert found["step"].item() == 100
            assert found["step"].dims == ("alpha", "n_train", "seed", "width")

    def test_own_lowest(self):
        found = read_losses(make(), "own lowest").squeeze()
        np.testing.assert_allclose(found["loss"], [0.11, 0.52], rtol=1e-6)
        assert found["mean_loss"].item() == pytest.approx(0.75 * 0.11 + 0.25 * 0.52, rel=1e-6)
        assert found["step"].values.tolist() == [100, 1000]

    def test_the_step_is_chosen_on_one_half_alone(self):
        report = REPORT.copy()
        report[-1] = 0  # a stroke of luck on the half that is reported
        assert read_losses(make(report=report))["step"].item() == 100
        # On all samples that is the lowest.
        assert read_losses(make(report=report), same_samples=True)["step"].item() == 1000

    def test_after_an_early_stop_nothing_is_read(self):
        choice, report = CHOICE.copy(), REPORT.copy()
        choice[3:] = report[3:] = np.nan
        assert read_losses(make(choice, report), "last")["step"].item() == 10
        assert read_losses(make(choice, report))["step"].item() == 10
        assert read_losses(make(choice, report), "own lowest")["step"].values.ravel().tolist() == [10, 10]

    def test_the_first_of_equal_ones(self):
        flat = np.ones((5, 2))
        for at in ("lowest mean", "own lowest"):
            assert find_place(flat, FREQUENCY, at).tolist() == [0, 0]

    def test_of_a_trained_unit(self):
        [unit] = StudySpec.parse(
            {
                "name": "small",
                "n_train": 60,
                "task": {"n_subtasks": 3, "n_bits": 12, "k": 2},
                "population": {"widths": [4, 32]},
                "training": {"steps": 400, "batch_size": 60, "learning_rate": 1e-2, "sampling": "epochs"},
                "evaluation": {"samples_per_subtask": 64, "n_evaluations": 30},
            }
        ).units()
        curves = train_unit(unit).curves
        best, last = (read_losses(curves, at) for at in ("lowest mean", "last"))
        # 60 examples of 12 bits are learned by heart: the wide network is better before its end.
        assert (best["mean_loss"] < 0.8 * last["mean_loss"]).sel(width=32).all()
        assert (best["step"] < last["step"]).sel(width=32).all()


N_EVALUATIONS, N_NETWORKS, SIGMA = 200, 400, 0.01


@pytest.fixture(scope="module")
def flat():
    """Networks of which nothing changes but the noise, of standard deviation SIGMA on each half."""
    rng = np.random.default_rng(0)
    halves = 0.5 + SIGMA * rng.standard_normal((2, 1, 1, N_NETWORKS, 1, N_EVALUATIONS, 1))
    return make_curves(
        halves.mean(0),
        selection_loss=halves[0],
        reported_loss=halves[1],
        frequency=[1.0],
        step=np.arange(N_EVALUATIONS),
        width=[8],
        n_parameters=[100],
        n_train=[50],
        seed=np.arange(N_NETWORKS),
    )


class TestWinnersCurse:
    """Of a flat curve with noise, what is reported has no bias, and the lowest of all has one."""

    @pytest.mark.parametrize("at", ["lowest mean", "own lowest"])
    def test_what_is_reported_has_no_bias(self, flat, at):
        error = read_losses(flat, at)["mean_loss"].values - 0.5
        standard_error = SIGMA / N_NETWORKS**0.5
        assert abs(error.mean()) < 4 * standard_error
        assert error.std() == pytest.approx(SIGMA, rel=0.2)

    @pytest.mark.parametrize("at", ["lowest mean", "own lowest"])
    def test_the_lowest_on_the_same_samples_is_too_low(self, flat, at):
        error = read_losses(flat, at, same_samples=True)["mean_loss"].values - 0.5
        sigma = SIGMA / 2**0.5  # the mean of two halves
        # The lowest of T normal values: σ √(2 ln T) to leading order, and 2.746 σ for T = 200.
        assert error.mean() == pytest.approx(-2.746 * sigma, rel=0.03)
        assert -error.mean() == pytest.approx(sigma * (2 * np.log(N_EVALUATIONS)) ** 0.5, rel=0.2)


class TestRefused:
    def test_another_word(self):
        with pytest.raises(
            ValueError, match=r"^at must be one of last, lowest mean, own lowest, not 'best'$"
        ):
            read_losses(make(), "best")

    @pytest.mark.parametrize("at", ["lowest mean", "own lowest"])
    def test_without_halves(self, at):
        with pytest.raises(
            ValueError, match=f"at must be last where .* not {at}; same_samples=True"
        ) as caught:
            read_losses(make(report=None), at)
        assert len(str(caught.value).splitlines()) == 1
        assert read_losses(make(report=None), at, same_samples=True)["mean_loss"].notnull().all()
        assert read_losses(make(report=None), "last")["step"].item() == 1000

    def test_no_curves(self):
        with pytest.raises(CurvesError, match="expected a Dataset"):
            read_losses({"loss": 1})
