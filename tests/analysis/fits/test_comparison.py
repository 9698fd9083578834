import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quanta.analysis.fits.comparison import compare_models
from quanta.analysis.fits.curves import CURVES, Exponential, PowerLaw, PowerLawWithFloor
from quanta.analysis.fits.errors import TooFewPoints
from quanta.analysis.fits.scaling import fit_scaling
from quanta.analysis.theories.quanta import FiniteK, ideal_loss
from quanta.tasks.frequencies import zipf_frequencies

N = 603 * np.array([4, 6, 8, 11, 16, 23, 32, 45, 64, 91, 128]) + 2.0
P = zipf_frequencies(64, 0.4)
ALL = (*CURVES, FiniteK(P))
FINITE = ideal_loss(P, 20 * (N / N[-1]) ** 0.9)


def seeds(truth, sd=0.02, n_seeds=4, seed=0):
    """Seeds that differ as a whole, and at each point."""
    rng = np.random.default_rng(seed)
    return truth * np.exp(rng.normal(0, sd, (n_seeds, 1)) + rng.normal(0, sd, (n_seeds, truth.size)))


def by_name(rivals):
    return {rival.model: rival for rival in rivals}


class TestRanking:
    def test_the_true_curve_is_first_and_the_others_clearly_worse(self):
        first, *others = compare_models(N, seeds(FINITE), ALL)
        assert first.model == "finite K"
        assert (first.difference, first.difference_stderr) == (0, 0)
        assert first.fit.parameters["gamma"] == pytest.approx(0.9, abs=0.1)
        power = by_name(others)["power"]
        assert power.difference > 5 * power.difference_stderr > 0
        scores = [rival.score for rival in others if not math.isnan(rival.score)]
        assert scores == sorted(scores)

    @pytest.mark.parametrize(("dtype", "n_seeds"), [(np.float64, 1), (np.float32, 3)])
    @pytest.mark.parametrize(
        ("truth", "expected"),
        [
            (lambda x: 3 * x**-0.4, "power"),
            (lambda x: 0.1 + 3 * x**-0.4, "power + floor"),
            (lambda x: 0.7 * np.exp(-2e-6 * x), "exponential"),
        ],
    )
    def test_an_exact_fit_is_first(self, truth, expected, dtype, n_seeds):
        x = np.geomspace(1e3, 1e6, 12)
        y = np.tile(truth(x).astype(dtype), (n_seeds, 1))
        first, second, *_ = compare_models(x, y)
        assert first.model == expected
        assert first.forecast_error < 1e-6
        assert second.forecast_error > 1e-6 or len(second.fit.parameters) > len(first.fit.parameters)

    def test_with_one_seed_by_forecast(self):
        y = seeds(FINITE, n_seeds=1)
        rivals = compare_models(N, y, ALL)
        errors = [rival.forecast_error for rival in rivals if rival.fit]
        assert errors == sorted(errors)
        assert all(math.isnan(rival.score) for rival in rivals)
        assert all(math.isnan(rival.difference_stderr) for rival in rivals)
        assert [r.model for r in compare_models(N, y[0], ALL)] == [r.model for r in rivals]

    def test_does_not_depend_on_the_order_given(self):
        y, curves = seeds(3 * N**-0.4), (*CURVES[:3], FiniteK(P))
        models = [rival.model for rival in compare_models(N, y, curves)]
        for order in (curves[::-1], curves[2:] + curves[:2]):
            assert [rival.model for rival in compare_models(N, y, order)] == models


class TestScores:
    def test_are_of_the_seed_left_out(self):
        y = seeds(3 * N**-0.4, sd=0.1)
        rivals = by_name(compare_models(N, y, (PowerLaw(), Exponential())))
        squares = {}
        for curve in (PowerLaw(), Exponential()):
            squares[curve.name] = np.empty(4)
            for seed in range(4):
                mean = np.exp(np.log(np.delete(y, seed, axis=0)).mean(axis=0))
                gap = np.log(y[seed] / fit_scaling(N, mean, curve).predict(N))
                squares[curve.name][seed] = (gap**2).mean()
            assert rivals[curve.name].score == pytest.approx(squares[curve.name].mean())
        difference = squares["exponential"] - squares["power"]
        assert rivals["exponential"].difference == pytest.approx(difference.mean())
        assert rivals["exponential"].difference_stderr == pytest.approx(difference.std(ddof=1) / 2)

    def test_forecasts_are_of_the_fit_without_the_points_held_out(self):
        y = seeds(3 * N**-0.4, sd=0.1)
        (rival,) = compare_models(N, y, (PowerLaw(),))
        mean = np.exp(np.log(y).mean(axis=0))
        fit = fit_scaling(N[:8], mean[:8], PowerLaw())
        assert (rival.fit, rival.n_held_out) == (fit, 3)
        gap = np.log(mean[8:] / fit.predict(N[8:]))
        assert rival.forecast_error == pytest.approx(np.sqrt((gap**2).mean()))

    def test_holding_nothing_out_forecasts_nothing(self):
        y = seeds(3 * N**-0.4, sd=0.1)
        (rival,) = compare_models(N, y, (PowerLaw(),), hold_out=None)
        assert (rival.n_held_out, rival.fit.n_points) == (0, 11)
        assert math.isnan(rival.forecast_error)
        assert rival.score == compare_models(N, y, (PowerLaw(),))[0].score

    @settings(max_examples=5)
    @given(st.floats(-5, 5), st.floats(-5, 5))
    def test_have_no_unit(self, log_x_unit, log_y_unit):
        y, curves = seeds(0.1 + 20 * N**-0.7), (PowerLaw(), PowerLawWithFloor())
        before = compare_models(N, y, curves)
        after = compare_models(N * math.exp(log_x_unit), y * math.exp(log_y_unit), curves)
        for one, other in zip(before, after, strict=True):
            assert other.model == one.model
            assert other.score == pytest.approx(one.score, rel=1e-6)
            assert other.forecast_error == pytest.approx(one.forecast_error, rel=1e-5)


class TestWithoutAFit:
    def test_stays_with_the_reason(self):
        rivals = by_name(compare_models(N[:4], seeds(3 * N[:4] ** -0.4)))
        assert rivals["power"].fit is not None
        assert rivals["power + floor"].fit is None
        assert rivals["power + floor"].message.endswith("at least 4 points for 'power + floor', not 3")
        assert rivals["broken power"].message.endswith("at least 7 points for 'broken power', not 3")
        assert math.isnan(rivals["broken power"].score)

    def test_is_last(self):
        *_, last = compare_models(N, seeds(np.full(N.size, 0.5), sd=1e-3), (PowerLawWithFloor(), PowerLaw()))
        assert last.model == "power + floor"

    @pytest.mark.parametrize(
        ("x", "y", "message"),
        [
            (N[:2], [[1, 1]], "at least 3 points, not 2"),
            (N[:3], [[3, 2, 1]], "at least 3 points below the largest"),
            (np.ones(5), np.ones((2, 5)), "at least two different values"),
        ],
    )
    def test_too_few_points(self, x, y, message):
        with pytest.raises(TooFewPoints, match=message):
            compare_models(x, y)

    @pytest.mark.parametrize(
        ("y", "curves", "message"),
        [
            (np.r_[0.0, np.ones(10)], CURVES, "y must be positive and finite to have a logarithm, not 0"),
            (np.ones((2, 10)), CURVES, r"one dimension and the same length, not \(11,\) and \(10,\)"),
            (np.ones((0, 11)), CURVES, r"y must have the shape \(seeds, points\), not \(0, 11\)"),
            (np.ones((1, 1, 11)), CURVES, r"y must have the shape \(seeds, points\), not \(1, 1, 11\)"),
            (np.ones(11), (), r"curves must be at least one, of different names, not \[\]"),
            (np.ones(11), (PowerLaw(), PowerLaw()), "different names, not .'power', 'power'"),
        ],
    )
    def test_refuses(self, y, curves, message):
        with pytest.raises(ValueError, match=message):
            compare_models(N, y, curves)
