import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from quanta.analysis.discovery.zipf import STEEPEST, count_sizes, fit_line_to_envelope, fit_zipf
from quanta.analysis.fits.errors import TooFewPoints


def law(z, m):
    p = np.arange(1, m + 1.0) ** -z
    return p / p.sum()


@pytest.mark.parametrize("z", [-0.5, 0.0, 0.7, 1.4, 3.0])
@pytest.mark.parametrize("m", [2, 12, 500])
def test_exact_counts_give_the_exponent(z, m):
    assert fit_zipf(law(z, m) * 1e6).estimate == pytest.approx(z, abs=1e-6)


def test_is_the_maximum_of_the_likelihood():
    counts = np.array([50, 31, 9, 12, 0, 3])

    def negative(z):
        return -counts @ np.log(law(z, 6))

    found = fit_zipf(counts, 0.9)
    best = minimize_scalar(negative, bounds=(0, 4), method="bounded", options={"xatol": 1e-10})
    assert found.estimate == pytest.approx(best.x, abs=1e-6)
    for end in (found.lower, found.upper):  # half of the 0.9 quantile of chi-squared with 1 degree
        assert negative(end) - best.fun == pytest.approx(2.7055 / 2, abs=1e-4)
    assert (found.n, found.confidence) == (105, 0.9)


@pytest.mark.parametrize(("z", "m", "n"), [(1.4, 64, 300), (0.0, 12, 200), (2.0, 20, 1000)])
def test_intervals_cover_as_they_say(z, m, n):
    rng = np.random.default_rng(0)
    fits = [fit_zipf(rng.multinomial(n, law(z, m)), 0.9) for _ in range(400)]
    covered = np.mean([fit.lower <= z <= fit.upper for fit in fits])
    assert 0.85 < covered < 0.95
    estimates = np.array([fit.estimate for fit in fits])
    assert abs(estimates.mean() - z) < 4 * estimates.std() / 20 + 0.01


def test_sorting_makes_a_law_of_none():
    # Which is why exponents of clusters, whose ranks are their sizes, have to be debiased.
    counts = np.random.default_rng(0).multinomial(60, law(0, 20))
    assert fit_zipf(np.sort(counts)[::-1]).lower > 0.2


def test_all_in_one_rank_is_as_steep_as_it_gets():
    assert fit_zipf([9, 0, 0]).estimate == STEEPEST
    assert fit_zipf([9, 0, 0]).upper == STEEPEST
    assert fit_zipf([0, 0, 9]).estimate == -STEEPEST


@pytest.mark.parametrize("counts", [[], [3], [0, 0], [[1, 2], [3, 4]]])
def test_needs_counts_of_two_ranks(counts):
    with pytest.raises(TooFewPoints, match="counts must be of two ranks or more"):
        fit_zipf(counts)


def test_refuses():
    with pytest.raises(ValueError, match="counts must be at least 0, not -1"):
        fit_zipf([3, -1])
    with pytest.raises(ValueError, match="confidence must be between 0 and 1, not 1"):
        fit_zipf([3, 1], 1)


def test_a_line_goes_through_the_highest_of_each_rank():
    ranks = np.arange(1, 17)
    steep, flat = (1e6 * ranks**-1.5).astype(int), (1e6 * ranks[:8] ** -2.0).astype(int)
    assert fit_line_to_envelope([steep, flat]) == pytest.approx(1.5, abs=1e-3)
    assert fit_line_to_envelope([np.array([8, 2, 0])]) == pytest.approx(2)  # what is not there has no place


def test_sizes_are_sorted_and_empty_clusters_counted():
    assert count_sizes(np.array([2, 2, 0, 2, 0, 4]), 5).tolist() == [3, 2, 1, 0, 0]
