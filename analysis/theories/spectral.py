"""No quanta: a filter on a power-law spectrum, as of random features (Maloney, Roberts and Sully 2022)."""

import math
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from quanta.analysis.theories.constants import fit_room, fit_scale
from quanta.analysis.theories.protocol import Observed, Theory
from quanta.analysis.theories.quanta import frequency_at_rank
from quanta.analysis.theories.shapes import ridge_drop

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Spectral(Theory):
    """Of mode k, of eigenvalue λ_k ∝ p_k, the share (1 + λ_k/κ)^-2 is left, where κ falls with N, S and D.

    κ is a sum of what each resource leaves of it: c / S of time, and of room or examples the frequency of the
    rank n ∝ N or n ∝ D. So the loss falls as N^-α and D^-α alike, and nothing is counted.

    Attributes
    ----------
    learning_time : float
        c: steps times frequency after which `tau` is left of a mode.
    parameters_per_mode, examples_per_mode : float
        N and D over the rank of the mode of which `tau` is left.
    tau : float
    """

    name: ClassVar[str] = "spectral"
    source: ClassVar[str] = "arXiv:2210.16859"

    learning_time: float = math.nan
    parameters_per_mode: float = math.nan
    examples_per_mode: float = math.nan
    tau: float = 0.1

    def _left(
        self, p: Array, N: Array | None, S: Array | None, D: Array | None, delay: Array, luck: Array | None
    ) -> Array:
        spectrum = np.sort(p)[::-1]
        kappa = np.zeros(1)
        with np.errstate(divide="ignore"):  # without steps or examples nothing passes the filter
            if S is not None:
                kappa = kappa + self.learning_time / S
            if N is not None:
                kappa = kappa + frequency_at_rank(spectrum, N / self.parameters_per_mode)
            if D is not None:
                kappa = kappa + frequency_at_rank(spectrum, D / self.examples_per_mode)
            return ridge_drop(p / delay / kappa, at=self.tau)

    @classmethod
    def fit(cls, observed: Observed) -> Self:
        p, examples = observed.frequency, math.nan
        if observed.examples_lower is not None and observed.examples_upper is not None:
            rank = np.arange(1.0, p.size + 1)
            examples = fit_scale(rank, observed.examples_lower, observed.examples_upper)
        return cls(
            fit_scale(1 / p, observed.time_lower, observed.time_upper),
            fit_room(observed.n_parameters, observed.n_learned, observed.is_full, p.size),
            examples,
            observed.tau,
        )
