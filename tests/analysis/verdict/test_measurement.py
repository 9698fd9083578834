from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from quanta.analysis.verdict.measurement import (
    average,
    count_slopes,
    count_slopes_in_steps,
    is_full,
    log,
    log_slope,
    loss_slopes,
    measure,
    naive_time_slopes,
    order,
    reconstructions,
    slope_ratios,
    step_slopes,
    step_windows,
    time_bounds,
    time_scatters,
    time_slopes,
)
from scipy import optimize, stats
from sklearn.linear_model import PoissonRegressor

from quanta.analysis import select, simulate
from quanta.analysis.learned.times import learning_times
from quanta.analysis.verdict.exponents import exponents
from quanta.curves.dataset import make_curves
from quanta.tasks.frequencies import uniform_frequencies, zipf_frequencies

P = zipf_frequencies(64, 0.4)


@pytest.fixture(scope="session")
def curves():
    """Three seeds of quanta with scatter and noise."""
    return select(simulate("sigmoid", seed=1))


@pytest.fixture(scope="session")
def m(curves):
    return measure(curves)


@pytest.fixture(scope="session")
def found(m):
    return exponents(m, 200)


@pytest.fixture(scope="session")
def blank(slice_of):
    """Networks that learn nothing, and so are full; what they are said to have learned can be replaced."""
    return measure(slice_of(np.ones((2, 6, 4, 64)), P, width=[1, 2, 4, 8, 16, 32]))


@pytest.fixture(scope="session")
def growing(slice_of):
    """Build what learns the n most frequent at once, a count a width, and no other; without noise."""

    def build(counts, n_parameters, frequency=P, n_seeds=3):
        loss = np.ones((n_seeds, len(counts), 6, frequency.size))
        for width, n in enumerate(counts):
            loss[:, width, 2:, :n] = 0
        return measure(
            slice_of(
                loss,
                frequency,
                width=np.arange(1, len(counts) + 1),
                n_parameters=n_parameters,
                step=[0, 1, 2, 10, 100, 1000],
            )
        )

    return build


@pytest.fixture(scope="session")
def punctual():
    """The widest of four learns 20 of 64 subtasks at S_k = 10^6 / p_k, seen to a thousandth; no noise."""
    times = 1e6 / P
    step = np.unique(np.round(np.concatenate([times * (1 - 1e-3), times * (1 + 1e-3)]))).astype(np.int64)
    n = np.array([5, 10, 15, 20])[:, None, None]
    learned = (step[:, None] >= times) & (np.arange(64) < n)
    loss = np.broadcast_to(~learned, (3, *learned.shape)).astype(float)
    return measure(
        select(
            make_curves(
                loss,
                frequency=P,
                step=step,
                width=[1, 2, 3, 4],
                n_parameters=[100, 200, 300, 400],
                seed=[0, 1, 2],
                alpha=[0.4],
            )
        )
    )


def slope_of(x, y):
    return stats.linregress(np.log(x), np.log(y)).slope


class TestMeasure:
    def test_what_is_copied_from_the_slice(self, m, curves):
        assert (m.alpha, m.confidence, m.n_seeds) == (0.4, 0.9, 3)
        np.testing.assert_array_equal(m.frequency, curves["frequency"])
        np.testing.assert_array_equal(m.width, curves["width"])
        np.testing.assert_array_equal(m.n_parameters, curves["n_parameters"])
        np.testing.assert_array_equal(m.step, curves["step"])

    def test_losses_and_counts_by_loops(self, m, curves):
        final = curves["loss"].values[:, :, -1].astype(float)
        for seed, width in np.ndindex(m.loss.shape):
            # Below τ at every evaluation from some one on is below τ at the last.
            learned = final[seed, width] < 0.1
            assert m.n_learned[seed, width] == learned.sum()
            assert m.rebuilt[seed, width] == pytest.approx(sum(P[~learned]), rel=1e-12)
            # The mean is stored in float32.
            assert m.loss[seed, width] == pytest.approx(sum(P * final[seed, width]), rel=1e-6)
            assert m.log_loss[seed, width] == np.log(m.loss[seed, width])
            assert m.log_rebuilt[seed, width] == np.log(m.rebuilt[seed, width])

    def test_curve_of_the_widest(self, m, curves):
        for seed in range(3):
            mean = curves["loss"].values[seed, -1].astype(float) @ P
            np.testing.assert_allclose(m.log_curve[seed], np.log(mean), atol=1e-6)  # float32

    def test_order_is_the_share_of_pairs_in_order(self, m, curves):
        times = learning_times(curves)
        for seed in range(3):
            at = times["step"].values[seed, -1]
            pairs = [
                (at[k], at[j])
                for j in range(64)
                for k in range(j)
                if np.isfinite(at[k]) or np.isfinite(at[j])
            ]
            in_order = [np.isnan(rarer) or first < rarer for first, rarer in pairs]
            assert order(m)[seed] == pytest.approx(np.mean(in_order), abs=1e-12)

    def test_times_known_only_from_above_are_left_out(self, slice_of):
        # Rank 1 is learned by step 0, rank 2 between 0 and 1, rank 3 between 1 and 10, rank 4 never.
        loss = np.array([[0.01, 1, 1, 1], [0.01, 0.01, 1, 1], [0.01, 0.01, 0.01, 1]])[None, None]
        got = measure(slice_of(loss, zipf_frequencies(4, 0.4), step=[0, 1, 10]))
        # Log loss goes from 0 to log 0.01 and is log 0.1 half way, in log step.
        np.testing.assert_allclose(got.timed, [[np.nan, np.nan, np.sqrt(10), np.nan]], rtol=1e-6)  # float32
        np.testing.assert_array_equal(got.n_learned, [[3]])

    def test_tau_moves_what_is_learned(self, curves):
        counts = [measure(curves, tau).n_learned.sum() for tau in (0.0005, 0.1, 0.9999)]
        assert counts[0] == 0 < counts[1] < counts[2]

    def test_counts_say_nothing_of_none_and_all(self, blank):
        got = replace(blank, n_learned=np.array([[0, 1, 5, 63, 64, 64]] * 2)).counts
        np.testing.assert_array_equal(got, [[np.nan, 1, 5, 63, np.nan, np.nan]] * 2)

    @pytest.mark.parametrize("alpha", [0.1, 0.4, 1.5])
    def test_serial_beta_of_a_zipf_law(self, blank, alpha):
        got = replace(blank, frequency=zipf_frequencies(64, alpha)).serial_beta
        assert got == pytest.approx(1 / (1 + alpha), rel=1e-9)

    def test_no_serial_beta_of_equal_frequencies(self, blank):
        assert replace(blank, frequency=uniform_frequencies(64)).serial_beta is None

    @pytest.mark.parametrize("confidence", [0.0, 1.0, -0.1, 1.5, np.nan])
    def test_confidence_out_of_range(self, curves, confidence):
        with pytest.raises(ValueError, match="confidence must be between 0 and 1, not"):
            measure(curves, confidence=confidence)

    @pytest.mark.parametrize("tau", [0.0, 1.0])
    def test_tau_out_of_range(self, curves, tau):
        with pytest.raises(ValueError, match="tau must be between 0 and 1"):
            measure(curves, tau)

    def test_curves_that_are_no_slice(self, curves):
        with pytest.raises(ValueError, match=r"take them with analysis\.select"):
            measure(curves.expand_dims("alpha"))


class TestAverage:
    @pytest.mark.parametrize("confidence", [0.5, 0.9, 0.99])
    def test_is_the_t_interval_of_a_mean(self, confidence):
        values = np.array([0.9, 1.1, 1.05, 0.7])
        got = average(values, confidence)
        oracle = stats.ttest_1samp(values, 0).confidence_interval(confidence)
        assert got.estimate == pytest.approx(values.mean(), rel=1e-12)
        assert (got.lower, got.upper) == (pytest.approx(oracle.low), pytest.approx(oracle.high))
        assert (got.n, got.confidence) == (4, confidence)
        assert got.kind == "jackknife over seeds, Student t"

    def test_leaves_out_unknown_seeds_and_says_so(self):
        got, known = average([1.0, np.nan, 1.2, 1.4, np.nan], 0.9), average([1.0, 1.2, 1.4], 0.9)
        assert (got.estimate, got.lower, got.upper) == (known.estimate, known.lower, known.upper)
        assert got.n == 3
        assert got.kind == "jackknife over seeds, Student t (2 of 5 seeds undefined)"

    @pytest.mark.parametrize(
        "values",
        [[np.nan], [np.nan, np.nan, 1.0], [np.nan, np.nan, np.nan, 1.0, 1.1], [np.inf, 1.0, -np.inf]],
    )
    def test_unknown_in_most_seeds_is_unknown(self, values):
        assert average(values, 0.9) is None

    def test_one_known_seed_has_no_interval(self):
        alone, of_two = average([1.5], 0.9), average([np.nan, 1.5], 0.9)
        assert (alone.estimate, alone.lower, alone.upper) == (1.5, None, None)
        assert (of_two.estimate, of_two.lower, of_two.upper) == (1.5, None, None)
        assert "one seed has no spread" in alone.kind
        assert "1 of 2 seeds undefined" in of_two.kind

    @given(
        st.lists(st.floats(-10, 10), min_size=2, max_size=8),
        st.floats(-10, 10),
        st.randoms(use_true_random=False),
    )
    def test_shifts_with_the_values_and_ignores_their_order(self, values, shift, random):
        got = average(values, 0.9)
        moved = [value + shift for value in values]
        random.shuffle(moved)
        shifted = average(moved, 0.9)
        for name in ("estimate", "lower", "upper"):
            # Values up to 20, n (n - 1) = 56 and a quantile of 6: rounding stays below 1e-11.
            assert getattr(shifted, name) == pytest.approx(getattr(got, name) + shift, abs=1e-11)


class TestLogarithms:
    def test_log_of_what_has_none(self):
        got = log(np.array([1.0, 0.0, -1.0, np.nan]))
        np.testing.assert_array_equal(got, [0.0, np.nan, np.nan, np.nan])

    def test_slope_leaves_out_what_has_no_logarithm(self):
        x = np.array([0.0, 1, 2, 4, 8, 16])
        y = np.array([1.0, 3, 12, np.nan, 0, 768])
        assert log_slope(x, y) == pytest.approx(2, rel=1e-12)

    @pytest.mark.parametrize(
        ("x", "y"), [([], []), ([1, 2], [1, 2]), ([1, 2, 3], [1, 0, 2]), ([2, 2, 2], [1, 2, 3])]
    )
    def test_no_slope(self, x, y):
        assert np.isnan(log_slope(np.array(x, dtype=float), np.array(y, dtype=float)))


class TestTimeSlopes:
    @pytest.mark.parametrize("width", [-1, 6])
    def test_against_the_likelihood_written_out(self, m, width):
        log_p = np.log(P)
        for seed, bounds in enumerate(zip(*time_bounds(m, width), strict=True)):
            lower, upper = np.log(bounds)  # all times are bounded from below here
            censored = np.isinf(upper)

            def cost(theta, lower=lower, upper=upper, censored=censored):
                slope, intercept, log_sigma = theta
                below, above = ((y - intercept + slope * log_p) / np.exp(log_sigma) for y in (lower, upper))
                inside = stats.norm.cdf(above[~censored]) - stats.norm.cdf(below[~censored])
                later = stats.norm.logsf(below[censored])
                return -np.log(np.maximum(inside, 1e-300)).sum() - later.sum()

            options = {"xatol": 1e-6, "fatol": 1e-9}
            found = optimize.minimize(cost, [1.0, 3.0, -1.0], method="Nelder-Mead", options=options)
            assert time_slopes(m, width)[seed] == pytest.approx(found.x[0], abs=1e-4)
            assert time_scatters(m, width)[seed] == pytest.approx(np.exp(found.x[2]), abs=1e-4)

    @pytest.mark.parametrize("width", [-1, 6])
    def test_bounds_of_what_is_not_learned(self, m, curves, width):
        times = learning_times(curves).isel(width=width)
        lower, upper = time_bounds(m, width)
        for seed in range(3):
            learned = times["learned"].values[seed]
            latest = max(times["step_upper"].values[seed][learned])
            for k in range(64):
                known = times["step_lower"].values[seed, k] if learned[k] else latest
                assert (lower[seed, k], upper[seed, k]) == (known, times["step_upper"].values[seed, k])

    def test_bounds_where_nothing_is_learned(self, blank):
        lower, upper = time_bounds(blank)
        np.testing.assert_array_equal(lower, np.full((2, 64), blank.step[-1]))
        np.testing.assert_array_equal(upper, np.full((2, 64), np.inf))

    @pytest.mark.parametrize(("world", "beta"), [("sigmoid", 1), ("domino", 1 / 1.4)])
    def test_training_a_full_network_for_longer_changes_nothing(self, world, beta):
        # Where room and not time is the limit, the rest are not late: it took 1.54 where they counted as
        # later than the end. β scatters by 0.05 between seeds.
        long = measure(select(simulate(world, steps=30_000, n_seeds=10)))
        assert is_full(long)[:, -1].all()
        assert time_slopes(long).mean() == pytest.approx(beta, abs=3 * 0.05 / np.sqrt(10))

    def test_naive_slope_is_least_squares_on_the_learned(self, m):
        for seed, times in enumerate(m.timed):
            known = np.isfinite(times)
            assert naive_time_slopes(m)[seed] == pytest.approx(-slope_of(P[known], times[known]), rel=1e-9)

    def test_naive_slope_is_the_smaller(self):
        # Subtasks that are late by chance are not learned, so that rare ones seem too early.
        wide = measure(select(simulate("sigmoid", scatter=0.6, n_seeds=10)))
        assert naive_time_slopes(wide).mean() < time_slopes(wide).mean() - 0.1

    def test_unknown_where_nothing_is_learned(self, blank):
        for statistic in (time_slopes, time_scatters, naive_time_slopes):
            np.testing.assert_array_equal(statistic(blank), [np.nan, np.nan])

    def test_unknown_where_frequencies_are_equal(self):
        got = measure(select(simulate("uniform")))
        assert got.n_learned[:, -1].min() > 10
        for statistic in (time_slopes, time_scatters, naive_time_slopes):
            np.testing.assert_array_equal(statistic(got), [np.nan] * 3)


class TestIsFull:
    STEPS = (1, 2, 4, 8, 16, 32, 64)

    def build(self, slice_of, last, n_learned=2, end=64):
        """One network of 4 subtasks: some are at 0.01 bit after the step `last`; measured until `end`."""
        loss = np.ones((1, 1, len(self.STEPS), 4))
        loss[..., np.array(self.STEPS) > last, :n_learned] = 0.01
        loss[..., np.array(self.STEPS) > end, :] = np.nan
        return measure(slice_of(loss, zipf_frequencies(4, 0.4), step=self.STEPS))

    @pytest.mark.parametrize(
        ("world", "full"),
        [
            ({"last": 2}, True),
            ({"last": 16}, True),  # crosses at 16 √2 = 22.6, before half of 64
            ({"last": 32}, False),  # at 45
            ({"last": 8, "end": 16}, False),  # after an early stop its last evaluation is the end
            ({"last": 4, "end": 16}, True),  # at 5.7, before half of 16
            ({"last": 2, "n_learned": 4}, False),  # all there is
            ({"last": 32, "n_learned": 4}, False),
            ({"last": 2, "n_learned": 0}, True),
            ({"last": 2, "n_learned": 0, "end": 1}, True),
        ],
    )
    def test_one_network(self, slice_of, world, full):
        np.testing.assert_array_equal(is_full(self.build(slice_of, **world)), [[full]])

    def test_each_network_alone(self, slice_of):
        loss = np.ones((2, 3, len(self.STEPS), 4))
        loss[0, 0, 2:, 0] = loss[0, 1, -1:, 1] = loss[1, 0, 1:] = loss[1, 2, 3:, :3] = 0.01
        got = is_full(measure(slice_of(loss, zipf_frequencies(4, 0.4), step=self.STEPS)))
        np.testing.assert_array_equal(got, [[True, False, True], [False, True, True]])


class TestCountSlopes:
    @pytest.mark.parametrize("power", [0.5, 1, 2])
    def test_exact_power_laws(self, blank, power):
        size = np.array([1.0, 4, 9, 16, 25, 36])
        got = replace(blank, n_parameters=7 * size, n_learned=np.array([size**power] * 2).astype(int))
        np.testing.assert_allclose(count_slopes(got), power, rtol=1e-9)

    @pytest.mark.parametrize("counts", [[0, 0, 1, 2, 7, 11], [3, 1, 4, 1, 5, 9]])
    def test_against_scikit_learn(self, blank, counts):
        got = count_slopes(replace(blank, n_learned=np.array([counts] * 2)))
        log_n = np.log(blank.n_parameters)[:, None]
        # Centred, or else its Newton steps end early.
        oracle = PoissonRegressor(alpha=0, solver="newton-cholesky", tol=1e-9).fit(
            log_n - log_n.mean(), counts
        )
        np.testing.assert_allclose(got, oracle.coef_[0], rtol=1e-6)

    @given(st.lists(st.integers(0, 63), min_size=6, max_size=6))
    def test_solves_the_equations_of_poisson_regression(self, blank, counts):
        counts = np.array(counts)
        got = count_slopes(replace(blank, n_learned=np.array([counts] * 2)))
        if np.count_nonzero(counts) < 3 or np.ptp(counts) == 0:
            np.testing.assert_array_equal(got, [np.nan] * 2)
            return
        law = blank.n_parameters ** got[0]
        expected = counts.sum() * law / law.sum()  # the intercept that solves the first equation
        # And the second: counts up to 378 in all times log N up to 8, at a slope good to about 1e-11.
        residual = (counts - expected) @ np.log(blank.n_parameters)
        assert residual == pytest.approx(0, abs=1e-6)

    @pytest.mark.parametrize(
        ("counts", "known"),
        [([0, 0, 0, 0, 3, 9], False), ([4, 4, 4, 4, 4, 4], False), ([0, 0, 0, 2, 3, 9], True)],
    )
    def test_needs_three_counts_that_differ(self, blank, counts, known):
        got = count_slopes(replace(blank, n_learned=np.array([counts] * 2)))
        assert np.isfinite(got).tolist() == [known] * 2

    def test_steep_laws_of_widths_close_together(self, blank):
        n_parameters = np.array([1000.0, 1002, 1004, 1006, 1008, 1010])
        counts = np.array([0, 0, 0, 6, 18, 54])
        got = count_slopes(replace(blank, n_parameters=n_parameters, n_learned=np.array([counts] * 2)))[0]
        law = (n_parameters / 1000) ** got
        assert (law / law.sum()) @ n_parameters == pytest.approx(counts @ n_parameters / 78, rel=1e-6)
        assert got > 300

    def test_only_full_networks_count(self, m):
        full = is_full(m)
        assert not full.all()
        assert (full.sum(axis=1) >= 5).all()
        for seed in range(3):
            n_parameters, counts = m.n_parameters[full[seed]], m.n_learned[seed, full[seed]]
            law = n_parameters ** count_slopes(m)[seed]
            residual = (counts - counts.sum() * law / law.sum()) @ np.log(n_parameters)
            assert residual == pytest.approx(0, abs=1e-6)

    def test_unknown_where_nothing_or_all_is_learned(self, blank, slice_of):
        np.testing.assert_array_equal(count_slopes(blank), [np.nan] * 2)
        everything = measure(slice_of(np.full((2, 6, 4, 8), 0.01), zipf_frequencies(8, 0.4)))
        np.testing.assert_array_equal(count_slopes(everything), [np.nan] * 2)


class TestGrowthInSteps:
    def test_against_a_loop(self, m):
        for seed, times in enumerate(m.timed):
            at = sorted(time for time in times if np.isfinite(time))
            counts = [n - 0.5 for n in range(1, len(at) + 1)]
            assert count_slopes_in_steps(m)[seed] == pytest.approx(slope_of(at, counts), rel=1e-9)

    def test_what_was_learned_before_the_first_evaluation_counts(self, m, curves):
        # From the evaluation on by which 3 are learned at the widest of the first seed.
        third = np.sort(m.timed[0])[2]
        late = measure(curves.isel(step=slice(int((m.step < third).sum()), None)))
        n_before = late.n_learned[0, -1] - np.isfinite(late.timed[0]).sum()
        assert n_before == 3
        at = np.sort(m.timed[0])[3 : late.n_learned[0, -1]]
        assert count_slopes_in_steps(late)[0] == pytest.approx(
            slope_of(at, np.arange(at.size) + 3.5), rel=1e-9
        )
        # The law does not depend on where one starts to look.
        assert count_slopes_in_steps(late)[0] == pytest.approx(count_slopes_in_steps(m)[0], abs=0.1)

    def test_unknown_where_nothing_is_learned(self, blank):
        np.testing.assert_array_equal(count_slopes_in_steps(blank), [np.nan] * 2)


class TestLosses:
    def test_slopes_and_reconstructions_by_linregress(self, m):
        for seed in range(3):
            log_loss, log_rebuilt = np.log(m.loss[seed]), np.log(m.rebuilt[seed])
            measured, rebuilt = (
                slope_of(m.n_parameters, m.loss[seed]),
                slope_of(m.n_parameters, m.rebuilt[seed]),
            )
            assert loss_slopes(m)[seed] == pytest.approx(-measured, rel=1e-9)
            assert slope_ratios(m)[seed] == pytest.approx(rebuilt / measured, rel=1e-9)
            r_squared = stats.linregress(log_rebuilt, log_loss).rvalue ** 2
            assert reconstructions(m)[seed] == pytest.approx(r_squared, rel=1e-9)

    def test_windows_and_slopes_in_steps_by_loops(self, m, curves):
        for seed in range(3):
            learned = [time for time in m.timed[seed] if np.isfinite(time)]
            inside = [i for i, step in enumerate(m.step) if min(learned) <= step <= max(learned)]
            np.testing.assert_array_equal(np.flatnonzero(step_windows(m)[seed]), inside)
            mean = curves["loss"].values[seed, -1].astype(float) @ P
            # The mean is stored in float32.
            assert step_slopes(m)[seed] == pytest.approx(-slope_of(m.step[inside], mean[inside]), rel=1e-5)

    def test_losses_of_zero_are_left_out(self, growing):
        p = zipf_frequencies(8, 0.4)
        got = growing([1, 2, 4, 6, 8, 8], [100, 200, 400, 600, 800, 1600], p)
        left = [p[n:].sum() for n in (1, 2, 4, 6)]
        # Losses are stored in float32.
        np.testing.assert_allclose(loss_slopes(got), -slope_of([1, 2, 4, 6], left), rtol=1e-5)
        np.testing.assert_allclose(slope_ratios(got), 1, rtol=1e-5)
        np.testing.assert_allclose(reconstructions(got), 1, rtol=1e-5)

    def test_unknown_where_nothing_is_learned(self, blank):
        for statistic in (reconstructions, slope_ratios, step_slopes):
            np.testing.assert_array_equal(statistic(blank), [np.nan] * 2)
        assert not step_windows(blank).any()

    def test_a_constant_reconstruction_has_no_slope_to_compare(self, slice_of):
        # The loss of the evaluation's noise has a slope, and that of a constant is 0.
        noise = np.exp(0.03 * np.random.default_rng(0).standard_normal((3, 6, 4, 64)))
        got = measure(slice_of(1.01 * noise, P))
        assert (np.abs(loss_slopes(got)) > 1e-6).all()
        np.testing.assert_array_equal(slope_ratios(got), [np.nan] * 3)

    def test_a_constant_loss_has_no_slope_to_compare(self, growing):
        got = replace(growing([1, 2, 4], [100, 200, 400]), loss=np.full((3, 3), 0.5))
        np.testing.assert_array_equal(slope_ratios(got), [np.nan] * 3)

    def test_only_the_seed_that_learns_nothing_is_unknown(self, growing):
        got = growing([1, 2, 4, 8], [100, 200, 400, 800])
        rebuilt = got.rebuilt.copy()
        rebuilt[1] = 1.0
        np.testing.assert_allclose(slope_ratios(replace(got, rebuilt=rebuilt)), [1, np.nan, 1], rtol=1e-5)

    def test_units_of_size_do_not_matter(self, m):
        scaled = replace(m, n_parameters=1000 * m.n_parameters)
        for statistic in (loss_slopes, count_slopes, slope_ratios):
            np.testing.assert_allclose(statistic(scaled), statistic(m), rtol=1e-8)


class TestExponents:
    def test_estimates_are_the_averages(self, m, found):
        for name, statistic in (
            ("alpha_N", loss_slopes),
            ("alpha_S", step_slopes),
            ("beta", time_slopes),
            ("gamma", count_slopes),
            ("gamma_S", count_slopes_in_steps),
        ):
            oracle = stats.ttest_1samp(statistic(m), 0).confidence_interval(0.9)
            got = found[name]
            assert got.estimate == pytest.approx(statistic(m).mean(), rel=1e-12)
            assert (got.lower, got.upper) == (pytest.approx(oracle.low), pytest.approx(oracle.high))
            assert got.bootstrap[0] < got.estimate < got.bootstrap[1]
            assert statistic(m).min() <= got.bootstrap[0] <= got.bootstrap[1] <= statistic(m).max()

    def test_profile_of_alpha_n_is_the_t_interval_of_a_line(self, m, found):
        line = stats.linregress(np.log(m.n_parameters), np.log(m.loss).mean(axis=0))
        half = stats.t.ppf(0.95, 11 - 2) * line.stderr
        lower, upper = found["alpha_N"].profile
        assert lower == pytest.approx(-line.slope - half, rel=1e-4)
        assert upper == pytest.approx(-line.slope + half, rel=1e-4)
        assert lower < found["alpha_N"].estimate < upper

    def test_profile_of_beta_is_of_all_seeds(self, m, found):
        lower, upper = found["beta"].profile
        assert lower < found["beta"].estimate < upper
        # Three times the points of one seed, of scatter σ: about 1.64 σ / (√(3 · learned) · sd of log p).
        error = 1.64 * time_scatters(m).mean() / np.sqrt(m.n_learned[:, -1].sum()) / np.log(P[:21]).std()
        assert upper - lower == pytest.approx(2 * error, rel=0.5)

    def test_windows_and_points(self, m, found):
        assert (found["alpha_N"].window, found["alpha_N"].n_points) == (
            (m.n_parameters[0], m.n_parameters[-1]),
            33,
        )
        inside = step_windows(m)
        steps = np.broadcast_to(m.step, inside.shape)[inside]
        assert (found["alpha_S"].window, found["alpha_S"].n_points) == (
            (steps.min(), steps.max()),
            steps.size,
        )
        # Those not learned enter too.
        assert (found["beta"].window, found["beta"].n_points) == ((P[-1], P[0]), 3 * 64)
        entered = np.broadcast_to(m.n_parameters, m.loss.shape)[is_full(m)]
        assert (found["gamma"].window, found["gamma"].n_points) == (
            (entered.min(), entered.max()),
            entered.size,
        )
        assert entered.size < 33
        times = m.timed[np.isfinite(m.timed)]
        assert (found["gamma_S"].window, found["gamma_S"].n_points) == (
            (times.min(), times.max()),
            times.size,
        )

    def test_points_of_seeds_without_an_estimate_do_not_count(self, m):
        n_learned = m.n_learned.copy()
        n_learned[0] = 3
        got = exponents(replace(m, n_learned=n_learned), 10)["gamma"]
        assert got.n_points == is_full(m)[1:].sum()

    def test_data_need_more_than_a_slice(self, found):
        got = found["alpha_D"]
        assert got.estimate is got.lower is got.window is got.expected_finite is None
        assert got.expected_infinite == pytest.approx(0.4 / 1.4)

    def test_expected_in_the_limit(self, found):
        expected = {name: exponent.expected_infinite for name, exponent in found.items()}
        assert expected == {
            "alpha_N": 0.4,
            "alpha_S": pytest.approx(0.4 / 1.4),
            "alpha_D": pytest.approx(0.4 / 1.4),
            "beta": 1.0,
            "gamma": 1.0,
            "gamma_S": pytest.approx(1 / 1.4),
        }

    def test_expected_in_parameters_is_the_fit_where_n_is_proportional_to_them(self, growing):
        got = exponents(growing([1, 2, 4, 8, 16], [100, 200, 400, 800, 1600]), 10)
        oracle = -slope_of([1, 2, 4, 8, 16], [P[n:].sum() for n in (1, 2, 4, 8, 16)])
        assert got["alpha_N"].expected_finite == pytest.approx(oracle, rel=1e-9)
        assert got["alpha_N"].expected_count == pytest.approx(oracle, rel=1e-6)  # γ = 1 but for its solver
        assert got["alpha_N"].estimate == pytest.approx(oracle, rel=1e-5)  # float32
        assert got["gamma"].estimate == pytest.approx(1, rel=1e-9)
        # Far from α: a finite K is steeper.
        assert oracle > 0.5

    def test_expected_from_the_count_takes_the_measured_gamma(self, growing):
        got = exponents(growing([1, 4, 9, 16, 25], [100, 200, 300, 400, 500]), 10)
        assert got["gamma"].estimate == pytest.approx(2, rel=1e-9)
        assert got["alpha_N"].expected_count == pytest.approx(got["alpha_N"].estimate, rel=1e-5)  # float32
        assert got["alpha_N"].expected_finite < 0.8 * got["alpha_N"].estimate

    def test_expected_in_steps_is_the_fit_where_times_are_inverse_frequencies(self, punctual):
        got = exponents(punctual, 10)
        assert got["alpha_S"].expected_finite == pytest.approx(got["alpha_S"].estimate, rel=1e-5)  # float32
        # A step is rounded to a whole number, to a millionth.
        assert got["gamma_S"].expected_finite == pytest.approx(got["gamma_S"].estimate, rel=1e-4)
        oracle = slope_of(1 / P[:20], np.arange(20) + 0.5)
        assert got["gamma_S"].expected_finite == pytest.approx(oracle, rel=1e-9)
        # Times are known to a thousandth, over e^4 in frequency.
        assert got["beta"].estimate == pytest.approx(1, abs=1e-3)

    def test_fits_without_scatter_have_no_profile_in_parameters(self, growing):
        exact = growing([1, 2, 4, 8, 16], [100, 200, 400, 800, 1600])
        law = np.broadcast_to(exact.n_parameters**-0.5, exact.loss.shape)
        assert exponents(replace(exact, loss=law), 10)["alpha_N"].profile is None

    def test_unknown_alpha_leaves_the_finite_prediction(self, m, found):
        got = exponents(replace(m, alpha=np.nan), 10)
        for name in ("alpha_N", "alpha_S", "alpha_D", "gamma_S"):
            assert got[name].expected_infinite is None
            assert got[name].expected_finite == found[name].expected_finite
            assert got[name].estimate == found[name].estimate

    def test_uniform_frequencies(self):
        got = exponents(measure(select(simulate("uniform"))), 10)
        assert got["alpha_N"].expected_infinite is None
        # The loss 1 - n/K is a line, and so falls by a growing power.
        assert got["alpha_N"].expected_finite == pytest.approx(got["alpha_N"].estimate, rel=0.3)
        assert got["gamma_S"].expected_infinite is None
        assert got["beta"].estimate is got["beta"].profile is got["beta"].window is None
        assert got["gamma_S"].expected_finite is None  # all at the same time
        assert got["gamma"].estimate == pytest.approx(1, abs=0.2)

    def test_one_seed_has_a_profile_and_no_other_interval(self, curves):
        got = exponents(measure(curves.isel(seed=[0])), 10)
        for name in ("alpha_N", "alpha_S", "beta", "gamma", "gamma_S"):
            assert got[name].estimate is not None
            assert got[name].lower is got[name].upper is got[name].bootstrap is None
        for name in ("alpha_N", "beta"):
            lower, upper = got[name].profile
            assert lower < got[name].estimate < upper

    def test_nothing_learned(self, blank):
        got = exponents(blank, 10)
        for name in ("alpha_S", "beta", "gamma", "gamma_S"):
            assert got[name].estimate is got[name].profile is got[name].window is got[name].n_points is None
        assert got["alpha_N"].estimate == 0
        assert got["alpha_N"].expected_finite is got["alpha_N"].expected_count is None

    def test_all_learned(self, slice_of):
        got = exponents(measure(slice_of(np.full((2, 6, 4, 8), 0.0), zipf_frequencies(8, 0.4))), 10)
        for exponent in got.values():
            assert exponent.estimate is exponent.profile is exponent.expected_count is None

    def test_one_width(self, curves):
        got = exponents(measure(curves.isel(width=[-1])), 10)
        for name in ("alpha_N", "gamma"):
            assert got[name].estimate is got[name].profile is got[name].window is None
        assert got["beta"].estimate is not None

    def test_resampling_is_reproducible(self, m):
        same, again, other = (exponents(m, 20, seed) for seed in (1, 1, 2))
        assert same == again
        assert same["beta"].bootstrap != other["beta"].bootstrap
        assert same["beta"].lower == other["beta"].lower

    def test_resamples_out_of_range(self, m):
        with pytest.raises(ValueError, match="n_resamples must be at least 1, not 0"):
            exponents(m, 0)
