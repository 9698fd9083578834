"""Quanta whose drops have a width, as in the multilinear model of Nam et al. (2024), arXiv:2404.17563."""

from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from quanta.analysis.theories.protocol import Observed
from quanta.analysis.theories.quanta import Quanta
from quanta.analysis.theories.shapes import SKILL_RATIO, skill_drop

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Multilinear(Quanta):
    """As `Quanta`, with a drop of the multilinear model in steps, and a ramp in examples.

    With d examples of a subtask its skill is 1 - √(1 - d/D_c) up to D_c, and what is left of the loss is the
    square of the rest: 1 - d/D_c. There is no scatter of d about D p_k here.

    Attributes
    ----------
    ratio : float
        S / R(0) of a skill: the larger, the narrower the drop.
    tau : float
        Share of its loss that is left of a subtask after its learning time, and with `examples_per_subtask`.
    """

    name: ClassVar[str] = "multilinear"
    source: ClassVar[str] = "arXiv:2404.17563"

    ratio: float = SKILL_RATIO
    tau: float = 0.1

    def left_after(self, progress: Array) -> Array:
        return skill_drop(progress, at=self.tau, ratio=self.ratio)

    def left_with(self, examples: Array, delay: Array, *, drawn: bool) -> Array:
        return np.maximum(1 - (1 - self.tau) * examples / (self.examples_per_subtask * delay), 0.0)

    @classmethod
    def fit(cls, observed: Observed) -> Self:
        return replace(super().fit(observed), tau=observed.tau)
