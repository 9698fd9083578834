"""How alike two samples are, from the cosine of their gradients.

Shapes: B samples.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Affinity:
    """A way to turn cosines into affinities.

    Attributes
    ----------
    sign : {"signed", "free"}
        Whether the cosines are of gradients as they are, or of the absolute values of their numbers.
    transform : callable
        Takes cosines, gives affinities of the same shape, from 0 to 1.
    meaning : str
    """

    sign: Literal["signed", "free"]
    transform: Callable[[Array], Array]
    meaning: str


def angular(cosine: Array) -> Array:
    """Angular similarity 1 − arccos(cos)/π: 1 where parallel, ½ where orthogonal, 0 where opposite."""
    return 1 - np.arccos(np.clip(cosine, -1, 1)) / np.pi


def fourth_power(cosine: Array) -> Array:
    """cos⁴: 1 where parallel or opposite, and next to nothing where nearly orthogonal."""
    return np.square(np.square(np.clip(cosine, -1, 1)))


def absolute(cosine: Array) -> Array:
    """|cos|: 1 where parallel or opposite, 0 where orthogonal."""
    return np.minimum(np.abs(cosine), 1)


AFFINITIES = {
    "angular": Affinity("signed", angular, "1 - arccos(cos)/pi, as in the paper"),
    "abs": Affinity("signed", absolute, "|cos|"),
    "elementwise": Affinity("free", angular, "1 - arccos(cos)/pi of the absolute values of gradients"),
    "cos4": Affinity("signed", fourth_power, "cos^4"),
}
"""By name. Angular and elementwise: Michaud et al. (2023), arXiv:2303.13506, section 5 and appendix."""
