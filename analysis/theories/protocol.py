"""What a theory is: constants, what is left of each subtask's loss at given resources, and how to fit them.

Predicting a mean loss, simulating curves and drawing the line in a figure all call `Theory.left`.

Shapes: S seeds, W widths, K subtasks.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quanta.analysis.records import Record

Array = NDArray[np.float64]

RESOURCES = {"N": "n_parameters", "S": "step", "D": "n_examples"}
"""How theories call what is varied along an axis, by the axis's name."""


@dataclass(frozen=True, eq=False)
class Observed(Record):
    """What the constants of a theory are fitted to: bounds of learning times, and counts.

    Attributes
    ----------
    frequency : ndarray, shape (K,)
        p_k, in rank order.
    time_lower, time_upper : ndarray, shape (S, K)
        Bounds of the steps after which each subtask was learned in a network that has room for it; 0 and inf
        where there is none.
    n_parameters : ndarray, shape (W,)
    n_learned : ndarray of int, shape (S, W)
    is_full : ndarray of bool, shape (S, W)
        Whether a network has room for no more; the count of any other is a lower bound.
    examples_lower, examples_upper : ndarray, shape (S, K), optional
        Bounds of the numbers of training examples from which on each subtask is learned.
    tau : float, default 0.1
        Share of its loss that is left of a subtask when it is learned.
    """

    frequency: Array
    time_lower: Array
    time_upper: Array
    n_parameters: Array
    n_learned: NDArray[np.int64]
    is_full: NDArray[np.bool_]
    examples_lower: Array | None = None
    examples_upper: Array | None = None
    tau: float = 0.1


class Theory(ABC):
    """A theory of what is learned. Subclasses are frozen dataclasses whose fields are its constants.

    A constant that is NaN is not known, and so is then what is left under the resource that it belongs to.

    Attributes
    ----------
    name : str
        How tables, figures and `quanta simulate` call it.
    source : str
        Where it is from: arXiv or DOI.
    resources : tuple of str
        What it speaks of, among the values of `RESOURCES`.
    """

    name: ClassVar[str]
    source: ClassVar[str]
    resources: ClassVar[tuple[str, ...]] = tuple(RESOURCES.values())

    def left(
        self,
        frequency: ArrayLike,
        *,
        n_parameters: ArrayLike | None = None,
        step: ArrayLike | None = None,
        n_examples: ArrayLike | None = None,
        delay: ArrayLike = 1.0,
        luck: ArrayLike | None = None,
    ) -> Array:
        """Return the share of each subtask's loss that is left.

        Parameters
        ----------
        frequency : array_like, shape (K,)
            p_k, positive; in any order.
        n_parameters, step, n_examples : array_like, optional
            N above 0, S and D from 0 up, each of any shape: they are broadcast with one another, to (...).
            Left out: that resource is no limit.
        delay : array_like, default 1
            By what factor each subtask needs more of S and D than the theory says: the scatter of a
            simulation. Broadcast with (..., K).
        luck : array_like, optional
            From 0 to 1, broadcast with (...), for one draw. Of theories that count, where there is room for n
            subtasks, a real number, it learns the whole number at or below n + luck: n on average if luck is
            uniform. Left out: what is expected, with a part of a subtask learned.

        Returns
        -------
        ndarray, shape (..., K)
            From 1, chance, to 0. NaN where a constant is not known.

        Raises
        ------
        ValueError
            If a resource is out of its range, or one that the theory does not speak of.
        """
        given = {"n_parameters": n_parameters, "step": step, "n_examples": n_examples}
        at = {name: self._place(name, value) for name, value in given.items()}
        p = np.asarray(frequency, dtype=np.float64)
        chosen = None if luck is None else np.asarray(luck, dtype=np.float64)[..., None]
        left = self._left(
            p, at["n_parameters"], at["step"], at["n_examples"], np.asarray(delay, dtype=np.float64), chosen
        )
        places = [value.shape for value in (*at.values(), chosen) if value is not None]
        shape = np.broadcast_shapes(left.shape, *places)
        return left if left.shape == shape else np.broadcast_to(left, shape).copy()

    @abstractmethod
    def _left(
        self, p: Array, N: Array | None, S: Array | None, D: Array | None, delay: Array, luck: Array | None
    ) -> Array:
        """As `left`, from arrays that broadcast: p (K,); N, S, D and luck (..., 1); delay (..., K)."""

    @classmethod
    @abstractmethod
    def fit(cls, observed: Observed) -> Self:
        """Fit the constants; those that the observations do not determine are NaN."""

    def exponents(self, alpha: float) -> dict[str, float | None]:
        """Return `beta` of S_k ∝ p_k^-beta and `gamma` of n ∝ N^gamma under Zipf's law; None where not so."""
        return {"beta": None, "gamma": None}

    def mean_loss(
        self,
        frequency: ArrayLike,
        *,
        n_parameters: ArrayLike | None = None,
        step: ArrayLike | None = None,
        n_examples: ArrayLike | None = None,
    ) -> Array:
        """Return Σ_k p_k times what is left, (...), as a share of chance; for the arguments see `left`."""
        left = self.left(frequency, n_parameters=n_parameters, step=step, n_examples=n_examples)
        return np.asarray(left @ np.asarray(frequency, dtype=np.float64))

    def _place(self, name: str, value: ArrayLike | None) -> Array | None:
        """Check a resource and give it an axis for the subtasks."""
        if value is None:
            return None
        if name not in self.resources:
            raise ValueError(f"{name} must be left out: {self.name!r} speaks of {', '.join(self.resources)}")
        at = np.asarray(value, dtype=np.float64)
        least = "above 0" if name == "n_parameters" else "from 0 up"
        if not ((at > 0) if name == "n_parameters" else (at >= 0)).all():
            raise ValueError(f"{name} must be {least}, not {at[~(at > 0)].min():g}")
        return at[..., None]


@dataclass(frozen=True)
class World:
    """What curves with a known answer can be drawn from: a theory, and how often its subtasks are used.

    Attributes
    ----------
    name : str
    meaning : str
        One line for people.
    theory : Theory
    uniform : bool, default False
        All subtasks are equally frequent, where alpha is -1.
    shuffled : bool, default False
        In every seed the subtasks have exchanged the frequencies by which they are learned.
    """

    name: str
    meaning: str
    theory: Theory
    uniform: bool = False
    shuffled: bool = False

    def exponents(self, alpha: float) -> dict[str, float | None]:
        """Return those of the theory; without beta where the order of learning is not that of frequency."""
        found = self.theory.exponents(alpha)
        return found | {"beta": None} if self.uniform or self.shuffled else found
