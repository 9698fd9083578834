"""What exponent of the sizes of clusters a true exponent gives, and back.

Clustering makes sizes unequal that are equal and equal that are not, so the exponent of the sizes that were
found says little by itself. On the same network, samples can be drawn with any exponent; what the clusters of
these give says which true exponents go with what was found.

Shapes: R simulated samples.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from quanta.analysis.fits.errors import TooFewPoints
from quanta.analysis.fits.intervals import Interval
from quanta.analysis.records import Record

RANGE = (0.0, 3.0)
"""True exponents that are tried: from equal frequencies to a first rank that has more than 8 in 10."""

N_SIMULATED = 24
"""Simulated samples, their exponents evenly spaced."""

_DEGREE = 3
_FINENESS = 601


@dataclass(frozen=True, eq=False)
class Calibration(Record):
    """Exponents that were found where the true ones are known.

    Attributes
    ----------
    true, found : ndarray of float64, shape (R,)
    """

    true: NDArray[np.float64]
    found: NDArray[np.float64]


def calibrate(
    find: Callable[[float, int], float], *, n_simulated: int = N_SIMULATED, seed: int = 0
) -> Calibration:
    """Find exponents of samples with known ones.

    Parameters
    ----------
    find : callable
        Takes a true exponent and a seed; draws a sample and returns the exponent of its clusters' sizes.
    n_simulated : int, default 24
        R, at least 8.
    seed : int, default 0
        The samples have seeds from this one on.

    Returns
    -------
    Calibration
    """
    if n_simulated < 8:
        raise ValueError(f"n_simulated must be at least 8, not {n_simulated}")
    true = np.linspace(*RANGE, n_simulated)
    found = np.array([find(float(z), seed + i) for i, z in enumerate(true)])
    return Calibration(true, found)


def debias(calibration: Calibration, found: float, confidence: float = 0.9) -> Interval:
    """Say which true exponents go with the exponent that was found.

    A cubic in the true exponent is fitted to those that were found in simulation, and their scatter about it
    as a line. A true exponent is in the interval if what was found lies in its interval of prediction,
    Student's with R − 4 degrees of freedom; the estimate is the one that expects what was found most nearly.

    Parameters
    ----------
    calibration : Calibration
        Of at least 8 samples.
    found : float
    confidence : float, default 0.9
        Nominal coverage, between 0 and 1.

    Returns
    -------
    Interval
        Within the range of true exponents that were tried: an end at 0 or 3 may lie farther out, and `kind`
        says so. The estimate lies at an end of the range where all true exponents expect more, or less, than
        was found.

    Raises
    ------
    TooFewPoints
        If the calibration has fewer than 8 samples.

    References
    ----------
    Osborne (1991), doi:10.2307/1403690, on calibration by inverse prediction.
    """
    true, seen = calibration.true, calibration.found
    if true.size < 8:
        raise TooFewPoints(f"calibration must have at least 8 samples, not {true.size}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1, not {confidence!r}")
    design = np.vander(true, _DEGREE + 1)
    coefficients, *_ = np.linalg.lstsq(design, seen, rcond=None)
    residual = seen - design @ coefficients
    n_free = true.size - _DEGREE - 1
    pooled = float(np.sqrt(np.square(residual).sum() / n_free))
    line = np.polyfit(true, np.abs(residual), 1)

    tried = np.linspace(true[0], true[-1], _FINENESS)
    rows = np.vander(tried, _DEGREE + 1)
    # In proportion to the line, but never less than half the scatter of all.
    relative = np.maximum(np.polyval(line, tried) / max(float(np.abs(residual).mean()), 1e-12), 0.5)
    leverage = np.einsum("ij,jk,ik->i", rows, np.linalg.inv(design.T @ design), rows)
    scatter = np.maximum(pooled * relative * np.sqrt(1 + leverage), 1e-12)
    off = np.abs(found - rows @ coefficients)
    inside = off <= float(stats.t.ppf((1 + confidence) / 2, n_free)) * scatter
    estimate = float(tried[np.argmin(off)])
    kept = tried[inside] if inside.any() else np.array([estimate])
    lower, upper = min(float(kept[0]), estimate), max(float(kept[-1]), estimate)
    ends = [f"{end:g}" for end, at in ((tried[0], lower), (tried[-1], upper)) if end == at]
    kind = "inverse prediction from simulated samples"
    return Interval(
        estimate,
        lower,
        upper,
        f"{kind}, open at {' and '.join(ends)}" if ends else kind,
        true.size,
        confidence,
    )
