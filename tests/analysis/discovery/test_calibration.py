import numpy as np
import pytest

from quanta.analysis.discovery.calibration import Calibration, calibrate, debias
from quanta.analysis.fits.errors import TooFewPoints


def bent(z, rng, scatter=0.1):
    """What a clustering may make of an exponent: it compresses, and has a floor."""
    return 0.6 + 0.2 * z + 0.25 * z**2 - 0.03 * z**3 + rng.normal(0, scatter)


def calibration(rng, scatter=0.1, n=24):
    return calibrate(lambda z, _: bent(z, rng, scatter), n_simulated=n)


def test_without_scatter_it_is_the_inverse():
    known = calibration(np.random.default_rng(0), scatter=0)
    for z in (0.5, 1.4, 2.5):
        found = debias(known, bent(z, np.random.default_rng(0), scatter=0))
        assert found.estimate == pytest.approx(z, abs=0.01)
        assert found.upper - found.lower < 0.02


@pytest.mark.parametrize("z", [1.2, 1.8])
def test_intervals_cover_as_they_say(z):
    rng = np.random.default_rng(0)
    found = [debias(calibration(rng), bent(z, rng), 0.9) for _ in range(400)]
    covered = np.mean([one.lower <= z <= one.upper for one in found])
    assert 0.85 < covered < 0.95
    assert np.median([one.estimate for one in found]) == pytest.approx(z, abs=0.03)


def test_where_the_exponent_tells_nothing_the_interval_is_everything():
    rng = np.random.default_rng(0)
    flat = calibrate(lambda z, _: 0.7 + rng.normal(0, 0.1))
    found = debias(flat, 0.7)
    assert (found.lower, found.upper) == (0, 3)
    assert found.kind.endswith("open at 0 and 3")


def test_of_less_than_any_it_is_the_end():
    found = debias(calibration(np.random.default_rng(0)), -5.0)
    assert (found.estimate, found.lower, found.upper) == (0, 0, 0)
    assert "open at 0" in found.kind


def test_a_falling_one_is_inverted_too():
    falling = calibrate(lambda z, _: 1 - 0.2 * z)
    assert debias(falling, 0.6).estimate == pytest.approx(2, abs=0.01)


def test_samples_have_seeds_of_their_own():
    asked = []
    found = calibrate(lambda z, seed: asked.append((z, seed)) or z, n_simulated=8, seed=40)
    assert [seed for _, seed in asked] == list(range(40, 48))
    assert [z for z, _ in asked] == found.true.tolist() == found.found.tolist()
    assert (found.true[0], found.true[-1]) == (0, 3)


def test_refuses():
    with pytest.raises(ValueError, match="n_simulated must be at least 8, not 7"):
        calibrate(lambda z, _: z, n_simulated=7)
    few = Calibration(np.arange(7.0), np.arange(7.0))
    with pytest.raises(TooFewPoints, match="calibration must have at least 8 samples, not 7"):
        debias(few, 1.0)
    with pytest.raises(ValueError, match="confidence must be between 0 and 1, not 0"):
        debias(calibration(np.random.default_rng(0)), 1.0, 0)
