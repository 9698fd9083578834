import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from quanta.analysis.fits.errors import FitError
from quanta.analysis.fits.intervals import Interval, difference_of_means, jackknife_seeds, mean_over_seeds

NAN = math.nan


class TestMeanOverSeeds:
    @pytest.mark.parametrize("confidence", [0.5, 0.9, 0.99])
    def test_is_the_t_interval_of_a_mean(self, confidence):
        values = np.random.default_rng(3).normal(size=5)
        found = mean_over_seeds(values, confidence)
        expected = stats.ttest_1samp(values, 0).confidence_interval(confidence)
        assert (found.lower, found.upper) == pytest.approx((expected.low, expected.high), rel=1e-12)
        assert (found.estimate, found.n, found.confidence) == (values.mean(), 5, confidence)
        assert found.kind == "mean over seeds, Student t"

    @given(st.lists(st.one_of(st.just(NAN), st.floats(-1e6, 1e6)), min_size=1, max_size=9))
    def test_seeds_that_do_not_know_it_are_left_out(self, values):
        known = [value for value in values if not math.isnan(value)]
        found = mean_over_seeds(values)
        assert found.n == len(known)
        if len(known) < len(values) / 2:
            assert math.isnan(found.estimate)
            assert (found.lower, found.upper) == (None, None)
            assert found.kind == f"none: known in {len(known)} of {len(values)} seeds"
            return
        alone = mean_over_seeds(known)
        assert (found.estimate, found.lower, found.upper) == (alone.estimate, alone.lower, alone.upper)
        n_unknown = len(values) - len(known)
        said = f" ({n_unknown} of {len(values)} seeds left out: not known)" if n_unknown else ""
        assert found.kind == alone.kind + said

    @pytest.mark.parametrize("shared", [0.0, 0.5, 2.0])
    def test_covers_with_an_error_that_all_seeds_share(self, shared):
        rng, n_studies = np.random.default_rng(8), 2000
        held = 0
        for values in shared * rng.normal(size=(n_studies, 1)) + rng.normal(size=(n_studies, 5)):
            found = mean_over_seeds(values, 0.9, shared=shared)
            held += found.lower <= 0 <= found.upper
        error = np.sqrt(0.9 * 0.1 / n_studies)
        assert 0.9 - 4 * error < held / n_studies < 0.93  # a t and a normal quantile, added in squares

    def test_one_seed_that_knows_it_has_no_interval(self):
        assert mean_over_seeds([2]) == Interval(2.0, None, None, "none: one seed has no spread", 1, 0.9)
        found = mean_over_seeds([NAN, 2])
        assert (found.estimate, found.lower, found.upper, found.n) == (2.0, None, None, 1)

    @pytest.mark.parametrize(
        ("values", "confidence", "message"),
        [
            ([], 0.9, "n_seeds must be at least 1, not 0"),
            ([[1.0, 2.0]], 0.9, r"values must have one dimension, the seeds, not shape \(1, 2\)"),
            ([1.0, math.inf], 0.9, "values must be finite, or NaN where not known, not inf"),
            ([1.0, 2.0], 1, "confidence must be between 0 and 1, not 1"),
        ],
    )
    def test_refuses(self, values, confidence, message):
        with pytest.raises(ValueError, match=message):
            mean_over_seeds(values, confidence)


class TestJackknifeSeeds:
    def test_is_the_t_interval_of_a_mean(self):
        values = np.random.default_rng(3).normal(size=4)
        found = jackknife_seeds(lambda seeds: values[seeds].mean(), 4, confidence=0.9)
        expected = stats.ttest_1samp(values, 0).confidence_interval(0.9)
        assert (found.lower, found.upper) == pytest.approx((expected.low, expected.high), rel=1e-12)
        assert (found.estimate, found.n, found.confidence) == (values.mean(), 4, 0.9)
        assert found.kind == "jackknife over seeds, Student t"

    @pytest.mark.parametrize("n_seeds", [3, 5, 10])
    def test_covers_as_it_says_with_few_seeds(self, n_seeds):
        values = np.random.default_rng(n_seeds).normal(size=(2000, n_seeds))
        covered = 0
        for sample in values:
            found = jackknife_seeds(lambda seeds, x=sample: math.exp(0.3 * x[seeds].mean()), n_seeds)
            covered += found.lower <= 1 <= found.upper
        # Four standard errors of a share of 2000, and 1 % for the curvature of the exponential.
        assert abs(covered / 2000 - 0.9) < 4 * math.sqrt(0.9 * 0.1 / 2000) + 0.01

    def test_one_seed_has_no_interval_and_says_so(self):
        found = jackknife_seeds(lambda seeds: 2.0, 1)
        assert found == Interval(2.0, None, None, "none: one seed has no spread", 1, 0.9)

    def test_undefined_without_a_seed_raises_with_the_estimate(self):
        def needs_seed_1(seeds):
            return 2.0 if 1 in seeds else math.nan

        with pytest.raises(FitError, match="without one of 1 of 3 seeds") as caught:
            jackknife_seeds(needs_seed_1, 3)
        assert caught.value.partial.estimate == 2.0
        assert caught.value.partial.lower is None

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [({"n_seeds": 0}, "n_seeds must be at least 1, not 0"), ({"confidence": 1.0}, "confidence must be")],
    )
    def test_refuses(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            jackknife_seeds(lambda seeds: 1.0, **{"n_seeds": 3} | arguments)


class TestDifferenceOfMeans:
    def test_is_welchs(self):
        rng = np.random.default_rng(4)
        after, before = rng.normal(1, 1, size=6), rng.normal(0, 3, size=4)
        found, p_value = difference_of_means(after, before, 0.9)
        # Welch (1947), with the degrees of freedom of Satterthwaite.
        variances = np.array([after.var(ddof=1) / 6, before.var(ddof=1) / 4])
        error = math.sqrt(variances.sum())
        freedom = variances.sum() ** 2 / (variances**2 / [5, 3]).sum()
        half = stats.t.ppf(0.95, freedom) * error
        difference = after.mean() - before.mean()
        assert found.estimate == pytest.approx(difference)
        assert (found.lower, found.upper) == pytest.approx((difference - half, difference + half))
        assert p_value == pytest.approx(2 * stats.t.sf(abs(difference) / error, freedom))
        assert (found.n, found.confidence) == (10, 0.9)

    def test_seeds_that_do_not_know_it_are_left_out(self):
        after, before = np.array([1.0, 2.0, NAN, 4.0]), np.array([0.0, 0.5, 0.2])
        assert difference_of_means(after, before) == difference_of_means([1, 2, 4.0], before)

    @pytest.mark.parametrize(
        ("after", "before"), [([1.0], [0.0, 1.0]), ([2.0, 2.0], [0.0, 0.0]), ([NAN, NAN, 1.0], [0.0, 1.0])]
    )
    def test_without_spread_there_is_no_interval(self, after, before):
        found, p_value = difference_of_means(after, before)
        assert (found.lower, found.upper, p_value) == (None, None, None)
        assert found.kind.startswith("none")

    def test_p_values_are_uniform_where_nothing_changes(self):
        rng = np.random.default_rng(5)
        found = [difference_of_means(*rng.normal(size=(2, 4)))[1] for _ in range(1000)]
        assert np.mean(np.array(found) < 0.1) == pytest.approx(0.1, abs=0.03)
