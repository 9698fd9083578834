import math

import numpy as np
import pytest
from scipy import stats

from quanta.analysis.fits.curves import CURVES, PowerLaw
from quanta.analysis.fits.errors import TooFewPoints
from quanta.analysis.fits.forecasts import forecast, forecast_error, hold_out_largest
from quanta.analysis.fits.scaling import fit_scaling
from quanta.analysis.theories.quanta import FiniteK, ideal_loss
from quanta.tasks.frequencies import zipf_frequencies

N = 603 * np.array([4, 6, 8, 11, 16, 23, 32, 45, 64, 91, 128]) + 2.0
P = zipf_frequencies(64, 0.4)
NAMED = {curve.name: curve for curve in (*CURVES, FiniteK(P))}


def noisy(y, sd, seed=0):
    return y * np.exp(np.random.default_rng(seed).normal(0, sd, np.size(y)))


class TestForecast:
    def test_of_a_line_is_the_prediction_interval(self):
        y = noisy(3 * N**-0.4, 0.1)
        found = forecast(fit_scaling(N, y, PowerLaw()), [2e5, 1e6], 0.8)
        u, line = np.log(N), stats.linregress(np.log(N), np.log(y))
        residual_sd = np.sqrt(((np.log(y) - line.intercept - line.slope * u) ** 2).sum() / (N.size - 2))
        for i, x in enumerate([2e5, 1e6]):
            leverage = 1 / N.size + (np.log(x) - u.mean()) ** 2 / ((u - u.mean()) ** 2).sum()
            half = stats.t.ppf(0.9, N.size - 2) * residual_sd * np.sqrt(1 + leverage)
            middle = line.intercept + line.slope * np.log(x)
            got = np.log([found.lower[i], found.estimate[i], found.upper[i]])
            np.testing.assert_allclose(got, [middle - half, middle, middle + half], rtol=1e-9)

    @pytest.mark.parametrize(
        ("model", "truth"),
        [
            ("power", 3 * N**-0.4),
            ("exponential", 0.7 * np.exp(-1e-5 * N)),
            pytest.param("finite K", ideal_loss(P, 10 * (N / N[-1]) ** 0.9), marks=pytest.mark.slow),
            pytest.param("power + floor", 0.1 + 20 * N**-0.7, marks=pytest.mark.slow),
        ],
    )
    def test_covers_as_it_says(self, model, truth):
        """Fitted to the eight smallest of eleven scales, forecasting the largest, of three times as much."""
        rng, n_draws, covered = np.random.default_rng(0), 1000, 0
        for _ in range(n_draws):
            y = truth * np.exp(rng.normal(0, 0.05, N.size))
            found = forecast(fit_scaling(N[:8], y[:8], NAMED[model]), N[-1:])
            covered += found.lower[0] <= y[-1] <= found.upper[0]
        # The 4 % asked for are four standard errors of the share of 1000 draws.
        assert covered / n_draws == pytest.approx(0.9, abs=0.04)

    def test_knows_no_interval_once_all_is_learned(self):
        found = forecast(fit_scaling(N, noisy(ideal_loss(P, 2e-4 * N), 0.05), FiniteK(P)), [1e4, 1e9])
        assert found.estimate[1] == 0
        assert np.isnan([found.lower[1], found.upper[1]]).all()
        assert found.lower[0] < found.estimate[0] < found.upper[0]

    @pytest.mark.parametrize(
        ("x", "options", "confidence", "message"),
        [
            ([0.0], {}, 0.9, "x must be positive and finite, not 0"),
            ([np.inf], {}, 0.9, "x must be positive and finite, not inf"),
            ([1.0], {}, 1.0, "confidence must be between 0 and 1, not 1.0"),
            (
                [1.0],
                {"loss": "huber"},
                0.9,
                "fit must be by squares to have a forecast interval, not by 'huber'",
            ),
        ],
    )
    def test_refuses(self, x, options, confidence, message):
        fit = fit_scaling(N, noisy(3 * N**-0.4, 0.1), PowerLaw(), **options)
        with pytest.raises(ValueError, match=message):
            forecast(fit, x, confidence)


class TestHoldOutLargest:
    @pytest.mark.parametrize(
        ("x", "factor", "expected"),
        [
            ([1, 2, 4, 8, 16], 2, [0, 0, 0, 0, 1]),  # above 8, not at it
            ([16, 1, 4, 9, 2], 2, [1, 0, 0, 1, 0]),
            ([1, 2, 4, 8, 16], 1, [0, 0, 0, 0, 1]),
            ([1, 2, 4, 8, 16], 100, [0, 0, 0, 1, 1]),  # three are left
            ([10, 11, 12, 13], 2, [0, 0, 0, 1]),
            ([1, 2, 3, 4, 4], 1, [0, 0, 0, 1, 1]),
        ],
    )
    def test_by_hand(self, x, factor, expected):
        assert hold_out_largest(x, factor).astype(int).tolist() == expected

    @pytest.mark.parametrize(
        ("x", "factor", "message"),
        [
            ([1, 2, 4], 2, "at least 3 points below the largest .* not 2"),
            ([1, 2, 4, 4], 2, "at least 3 points below the largest .* not 2"),
            ([], 2, "at least 3 points below the largest .* not 0"),
        ],
    )
    def test_too_few_points(self, x, factor, message):
        with pytest.raises(TooFewPoints, match=message):
            hold_out_largest(x, factor)

    def test_refuses_a_factor(self):
        with pytest.raises(ValueError, match="factor must be at least 1"):
            hold_out_largest([1, 2, 4, 8], 0.5)


class TestForecastError:
    def test_by_hand(self):
        fit = fit_scaling([1, 2, 4], [1, 0.5, 0.25], PowerLaw())
        assert forecast_error(fit, [8, 16], [0.125 * math.e, 0.0625]) == pytest.approx(math.sqrt(0.5))

    def test_of_nothing_is_infinite(self):
        fit = fit_scaling(N, ideal_loss(P, 2e-4 * N), FiniteK(P))
        assert forecast_error(fit, [1e9], [0.01]) == math.inf
