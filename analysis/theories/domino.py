"""Serial learning: one subtask after another, as in the Domino model (Liu et al. 2025, arXiv:2501.12391)."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from quanta.analysis.theories.multilinear import Multilinear

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Domino(Multilinear):
    """The subtask of rank k is learned at S_k = c k, which under a Zipf law is p_k^(-1/(1+α)).

    Only the times are theirs. Drops are those of the multilinear model, so that the times are all that tells
    this theory from it; in the Domino model skill k is a ramp from (k - 1) c to k c.

    Attributes
    ----------
    learning_time : float
        c: steps from one subtask to the next.
    """

    name: ClassVar[str] = "domino"
    source: ClassVar[str] = "arXiv:2501.12391"
    resources: ClassVar[tuple[str, ...]] = ("n_parameters", "step")

    def relative_times(self, p: Array) -> Array:
        return np.asarray(1.0 + (-p).argsort(kind="stable").argsort(), dtype=np.float64)

    def exponents(self, alpha: float) -> dict[str, float | None]:
        return {"beta": 1 / (1 + alpha) if alpha > -1 else None, "gamma": 1.0}
