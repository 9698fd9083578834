import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from quanta.analysis.fits.forecasts import (
    audit_windows,
    compare_models,
    fit_models,
    forecast,
    forecast_error,
    hold_out_largest,
    scaling_points,
)
from quanta.analysis.fits.power_laws import fit_power_law
from quanta.analysis.fits.scaling import MODELS, ScalingFit, fit_scaling
from quanta.analysis.learned.times import final_mean_loss, learning_times
from quanta.analysis.theories.theory import ideal_loss
from quanta.tasks.frequencies import zipf_frequencies

N = 603 * np.array([4, 6, 8, 11, 16, 23, 32, 45, 64, 91, 128]) + 2.0
P = zipf_frequencies(64, 0.4)


def noisy(y, sd, seed=0):
    return y * np.exp(np.random.default_rng(seed).normal(0, sd, np.size(y)))


class TestScalingPoints:
    def test_in_parameters_are_final_losses(self, quanta_world):
        curves = quanta_world(scatter=0.4)
        x, y = scaling_points(curves)
        np.testing.assert_array_equal(x, curves["n_parameters"])
        np.testing.assert_allclose(y, stats.gmean(final_mean_loss(curves), axis=0), rtol=1e-6)

    def test_in_steps_are_between_the_first_and_last_learned(self, quanta_world):
        curves = quanta_world(n_seeds=1, scatter=0.4)
        x, y = scaling_points(curves, "steps")
        widest = curves.isel(width=-1, seed=0)
        at = learning_times(curves)["step"].isel(width=-1, seed=0)
        inside = curves["step"].where((curves["step"] >= at.min()) & (curves["step"] <= at.max()), drop=True)
        np.testing.assert_array_equal(x, inside)
        np.testing.assert_allclose(y, widest["mean_loss"].sel(step=inside.values.astype(int)), rtol=1e-6)

    def test_leave_out_what_has_no_logarithm(self, slice_of):
        loss = np.full((2, 4, 3, 2), 0.5)
        loss[0, 1] = 0  # everything learned in one seed
        loss[1, 2, 2:] = np.nan  # an early stop: the evaluation before counts
        loss[1, 2, 1] = 0.25
        x, y = scaling_points(slice_of(loss, [0.5, 0.5]))
        np.testing.assert_array_equal(x, [100, 300, 400])
        np.testing.assert_allclose(y, [0.5, math.sqrt(0.5 * 0.25), 0.5])

    def test_in_steps_leave_out_steps_after_an_early_stop(self, slice_of):
        loss = np.ones((2, 1, 6, 2))
        loss[:, 0, 2:, 0] = 0.01
        loss[:, 0, 5:, 1] = 0.01
        loss[0, 0, 5:] = np.nan
        x, _ = scaling_points(slice_of(loss, [0.6, 0.4], step=[1, 2, 4, 8, 16, 32]), "steps")
        # The first is learned between 2 and 4; the last, median of one seed's first and the other's second,
        # between 4 and 32; the evaluation at 32 lacks a seed.
        assert set(x) <= {4, 8, 16}
        assert 4 in x

    def test_in_steps_are_none_if_nothing_is_learned(self, slice_of):
        x, y = scaling_points(slice_of(np.ones((1, 2, 3, 2)), [0.5, 0.5]), "steps")
        assert x.size == y.size == 0

    def test_refuses(self, ideal):
        with pytest.raises(ValueError, match="scale must be one of parameters, steps, not 'data'"):
            scaling_points(ideal, "data")


class TestForecast:
    def test_of_a_line_is_the_prediction_interval(self):
        y = noisy(3 * N**-0.4, 0.1)
        found = forecast(fit_scaling(N, y, "power"), [2e5, 1e6], 0.8)
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
            found = forecast(fit_scaling(N[:8], y[:8], model, frequency=P), N[-1:])
            covered += found.lower[0] <= y[-1] <= found.upper[0]
        # The 4 % asked for are four standard errors of the share of 1000 draws.
        assert covered / n_draws == pytest.approx(0.9, abs=0.04)

    def test_knows_no_interval_once_all_is_learned(self):
        found = forecast(
            fit_scaling(N, noisy(ideal_loss(P, 2e-4 * N), 0.05), "finite K", frequency=P), [1e4, 1e9]
        )
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
        fit = fit_scaling(N, noisy(3 * N**-0.4, 0.1), "power", **options)
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
            ([1, 2, 4, 8], 0.5, "factor must be at least 1, not 0.5"),
        ],
    )
    def test_refuses(self, x, factor, message):
        with pytest.raises(ValueError, match=message):
            hold_out_largest(x, factor)


class TestCompareModels:
    def test_the_true_model_fits_and_forecasts_best(self):
        truth = ideal_loss(P, 20 * (N / N[-1]) ** 0.9)
        table = compare_models(N, noisy(truth, 0.01), frequency=P).set_index("model")
        assert table.index.tolist() == list(MODELS)
        assert table["aicc"].idxmin() == table["forecast_error"].idxmin() == "finite K"
        assert table.loc["finite K", "delta_aicc"] == 0
        assert table.loc["power", "delta_aicc"] > 10
        assert table.loc["finite K", "parameters"]["gamma"] == pytest.approx(0.9, abs=0.1)
        assert (table["n_points"] == 8).all()
        assert (table["n_held_out"] == 3).all()

    def test_row_is_that_of_the_fit_without_the_points_held_out(self):
        y = noisy(3 * N**-0.4, 0.1)
        row = compare_models(N, y).set_index("model").loc["power"]
        fit = fit_scaling(N[:8], y[:8], "power")
        assert (row["aicc"], row["exponent"], row["residual_sd"]) == (fit.aicc, fit.exponent, fit.residual_sd)
        gap = np.log(y[8:] / fit.predict(N[8:]))
        assert row["forecast_error"] == pytest.approx(np.sqrt((gap**2).mean()))

    def test_of_all_points_forecasts_nothing(self):
        y = noisy(3 * N**-0.4, 0.1)
        table = compare_models(N, y, hold_out=None).set_index("model")
        assert table["forecast_error"].isna().all()
        assert table.loc["power", "aicc"] == fit_scaling(N, y, "power").aicc

    def test_what_could_not_be_fitted_stays_with_the_reason(self):
        table = compare_models(N[:4], noisy(3 * N[:4] ** -0.4, 0.1)).set_index("model")
        assert not table.loc[["power + floor", "finite K", "broken power"], "converged"].any()
        assert table.loc["power + floor", "message"].endswith("at least 4 points for 'power + floor', not 3")
        assert table.loc["finite K", "message"].startswith("frequency must be given")
        assert table.loc["broken power", "parameters"] == {}
        assert table.loc["power", "converged"]
        assert table[["aicc", "delta_aicc"]].isna().all(axis=None)  # three points leave AICc undefined

    def test_of_a_constant_says_which_models_it_determines(self):
        table = compare_models(N, np.full(11, 0.5), frequency=P).set_index("model")
        assert table["converged"].to_dict() == {
            "power": True,
            "power + floor": False,
            "finite K": True,
            "exponential": True,
            "broken power": False,
        }
        assert table.loc["power", "exponent"] == pytest.approx(0, abs=1e-12)
        assert table["aicc"].isna().all()  # exact fits have no likelihood

    @pytest.mark.parametrize(
        ("x", "y", "message"),
        [
            (N, np.r_[0.0, np.ones(10)], "y must be positive and finite to have a logarithm, not 0"),
            (N[:2], [1, 1], "at least 3 points, not 2"),
            (N[:3], [3, 2, 1], "at least 3 points below the largest"),
            ([], [], "at least 3 points, not 0"),
        ],
    )
    def test_refuses(self, x, y, message):
        with pytest.raises(ValueError, match=message):
            compare_models(x, y)

    def test_forecast_of_nothing_is_infinitely_wrong(self):
        fit = fit_models(N, ideal_loss(P, 2e-4 * N), P)["finite K"]
        assert isinstance(fit, ScalingFit)
        assert forecast_error(fit, [1e9], [0.01]) == math.inf


class TestAuditWindows:
    def test_is_fit_power_law_in_every_window(self):
        x, y = N[::-1], noisy(3 * N**-0.4, 0.1)[::-1]
        table = audit_windows(x, y)
        expected = [(N[i], N[j]) for i in range(11) for j in range(11) if N[j] / N[i] >= 4 and j - i >= 2]
        assert list(zip(table["lower"], table["upper"], strict=True)) == expected
        for row in table.itertuples():
            inside = (x >= row.lower) & (x <= row.upper)
            fit = fit_power_law(x[inside], y[inside])
            assert row.n_points == fit.n_points
            assert (row.slope, row.stderr) == pytest.approx((fit.slope, fit.slope_stderr), rel=1e-9)

    @settings(max_examples=20)
    @given(st.floats(-2, 2), st.floats(-5, 5))
    def test_of_an_exact_law_has_one_slope(self, slope, level):
        table = audit_windows(N, np.exp(level) * N**slope)
        np.testing.assert_allclose(table["slope"], slope, atol=1e-12)
        # The root of a sum of squares that cancels to rounding, 1e-16 of values up to 50.
        assert (table["stderr"] < 1e-6).all()

    def test_needs_three_points_and_the_factor(self):
        assert audit_windows([1, 8, 64], [1, 2, 3])[["lower", "upper"]].to_numpy().tolist() == [[1, 64]]
        assert audit_windows([1, 2, 3], [1, 2, 3]).empty
        assert len(audit_windows([1, 2, 4], [1, 2, 3])) == 1  # a factor of exactly four is one
        assert len(audit_windows([1, 2, 3], [1, 2, 3], min_factor=2.5)) == 1

    def test_two_thousand_evaluations_are_no_trouble(self):
        x = np.geomspace(1, 1e5, 2000)
        table = audit_windows(x, noisy(x**-0.3, 0.05))
        assert len(table) == sum(x.size - np.searchsorted(x, 4 * x * (1 - 1e-9)))
        assert table["slope"].mean() == pytest.approx(-0.3, abs=0.01)

    @pytest.mark.parametrize(
        ("x", "y", "options", "message"),
        [
            ([1, 2, 8], [1, 0, 1], {}, "y must be positive"),
            ([1, 2, 8], [1, 1, 1], {"min_factor": 1}, "min_factor must be above 1, not 1"),
            ([1, 8, 8], [1, 1, 1], {}, "x must not repeat a value to have windows, but holds 8 again"),
        ],
    )
    def test_refuses(self, x, y, options, message):
        with pytest.raises(ValueError, match=message):
            audit_windows(x, y, **options)
