"""What can be varied: the resources N, S and D, and the conditions α and K that decide which law holds.

A *resource* is the x of a loss curve: with more of it more is learned. Exponents are functions of the
*conditions*. Nothing here knows a theory; a function that works along a resource takes its `Axis`.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from quanta.analysis.records import Record

Array = NDArray[np.float64]

Role = Literal["resource", "condition"]


@dataclass(frozen=True)
class Axis:
    """Something that can be varied.

    Attributes
    ----------
    name : str
        Its letter: the key of tables, JSON and options.
    title : str
        What it is, for an axis of a figure and for sentences.
    dim : str
        The dimension of Curves along which it varies.
    coordinate : str
        The variable of Curves that holds its values along `dim`.
    role : {"resource", "condition"}
    """

    name: str
    title: str
    dim: str
    coordinate: str
    role: Role

    @property
    def label(self) -> str:
        """Title and letter, as under a figure."""
        return f"{self.title} {self.name}"

    @property
    def exponent(self) -> str:
        """Name of the exponent of the loss along this axis."""
        return f"alpha_{self.name}"

    def values(self, curves: xr.Dataset) -> Array:
        """Return the values along the axis, shape (n,)."""
        return np.atleast_1d(curves[self.coordinate].values).astype(np.float64)


N = Axis("N", "parameters", "width", "n_parameters", "resource")
S = Axis("S", "optimisation step", "step", "step", "resource")
D = Axis("D", "training examples", "n_train", "n_train", "resource")
ALPHA = Axis("alpha", "quanta exponent", "alpha", "alpha", "condition")
K = Axis("K", "number of subtasks", "subtask", "subtask", "condition")

RESOURCES = (N, S, D)
"""In the order of tables."""


@dataclass(frozen=True, eq=False)
class Trace(Record):
    """One resource varied and the others held at their largest. S seeds, X places, K subtasks.

    Attributes
    ----------
    axis : Axis
    x : ndarray, shape (X,)
        Positive and not decreasing; networks of equal size are points at one x.
    left : ndarray, shape (S, X, K)
        Share of chance that is left of each subtask's loss.
    at_half : ndarray, shape (S, X, K)
        The same at half the steps; NaN where no evaluation tells.
    chance : ndarray, shape (K,)
        Loss in bits of a subtask of which nothing is learned.
    frequency : ndarray, shape (K,)
    """

    axis: Axis
    x: Array
    left: Array
    at_half: Array
    chance: Array
    frequency: Array

    @cached_property
    def mean_loss(self) -> Array:
        """Σ p_k · loss_k in bits, shape (S, X)."""
        return np.asarray(self.left @ (self.frequency * self.chance))

    @property
    def is_a_curve(self) -> bool:
        """Whether there are at least three different places, so that a line along them can be wrong."""
        return np.unique(self.x).size >= 3
