"""No quanta: all subtasks improve together by one power law in N and S.

As where a network interpolates a smooth function: Sharma and Kaplan (2020), arXiv:2004.10802, where the
exponent is about 4/d in d dimensions.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from quanta.analysis.fits.censored import fit_censored_power_law
from quanta.analysis.fits.errors import NoEstimate
from quanta.analysis.theories.constants import fit_room
from quanta.analysis.theories.protocol import Observed, Theory

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Smooth(Theory):
    """Of the subtask of rank k the share (1 + (r / k^q)²)^(-b/2) is left, where 1/r = T/S + R/N.

    It tends to a power law with exponent b in N and in S. T and R are the steps and the parameters at which
    the law begins for the first subtask, and q says how much more of them a rarer one needs.

    Attributes
    ----------
    time, room : float
        T and R.
    rarity : float
        q.
    exponent : float
        b. What is observed of learning does not determine it: it is not fitted.
    """

    name: ClassVar[str] = "smooth"
    source: ClassVar[str] = "arXiv:2004.10802"
    resources: ClassVar[tuple[str, ...]] = ("n_parameters", "step")

    time: float = math.nan
    room: float = math.nan
    rarity: float = 0.5
    exponent: float = 0.65

    def _left(
        self, p: Array, N: Array | None, S: Array | None, D: Array | None, delay: Array, luck: Array | None
    ) -> Array:
        inverse = np.zeros(1)
        with np.errstate(divide="ignore"):
            if S is not None:
                inverse = inverse + self.time / S
            if N is not None:
                inverse = inverse + self.room / N
            rank = 1.0 + (-p).argsort(kind="stable").argsort()
            return np.asarray((1 + (1 / (inverse * rank**self.rarity * delay)) ** 2) ** (-self.exponent / 2))

    @classmethod
    def fit(cls, observed: Observed) -> Self:
        # τ is left at r = r_τ k^q: with room at S_k = T r_τ k^q, and with time at n = (N / (R r_τ))^(1/q).
        n_subtasks = observed.frequency.size
        rank = np.broadcast_to(np.arange(1.0, n_subtasks + 1), observed.time_lower.shape)
        try:
            times = fit_censored_power_law(
                rank.ravel(), observed.time_lower.ravel(), observed.time_upper.ravel()
            )
        except NoEstimate:
            return cls(math.nan, math.nan, math.nan)
        if not times.slope > 0:  # where rare subtasks are learned first, there is no such law
            return cls(math.nan, math.nan, math.nan)
        at_tau = math.sqrt(observed.tau ** (-2 / cls.exponent) - 1)
        room = fit_room(
            observed.n_parameters, observed.n_learned, observed.is_full, n_subtasks, 1 / times.slope
        )
        return cls(math.exp(times.intercept) / at_tau, room / at_tau, times.slope)
