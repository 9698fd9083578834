"""What training a unit leaves behind.

Shapes: G members, K subtasks, T evaluations.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from quanta.curves.dataset import make_curves
from quanta.study.spec import UnitSpec
from quanta.tasks.spec import CHANCE_BITS
from quanta.training.population import Population, count_parameters


@dataclass(frozen=True, eq=False)
class TrainedUnit:
    """What training a unit leaves behind. Two are equal if their curves and weights are, to the bit.

    Attributes
    ----------
    curves : Dataset
        The axes of a study have length one.
    population : Population
        As it was after the last step.
    seconds : float
        Time that it took, interruptions left out.
    """

    curves: xr.Dataset
    population: Population
    seconds: float

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TrainedUnit):
            return NotImplemented
        weights, others = self.population.state_dict(), other.population.state_dict()
        return (
            self.curves.identical(other.curves)
            and weights.keys() == others.keys()
            and all(torch.equal(weights[name], others[name]) for name in weights)
        )

    __hash__ = None  # type: ignore[assignment]


def as_curves(unit: UnitSpec, measured: Sequence[Mapping[str, NDArray[Any]]]) -> xr.Dataset:
    """Make Curves of the evaluations of a unit.

    Parameters
    ----------
    unit : UnitSpec
    measured : sequence of dict
        As `Trainer.evaluations`. If there are fewer than planned, training stopped early.

    Returns
    -------
    Dataset
        The axes of a study have length one.
    """
    by_name: dict[str, Any] = {}
    for name in measured[0]:
        values = np.stack([evaluation[name] for evaluation in measured])
        missing = [(0, len(unit.evaluation_steps) - len(values)), *[(0, 0)] * (values.ndim - 1)]
        if values.dtype.kind == "f":
            values = np.pad(values, missing, constant_values=np.nan).swapaxes(0, 1)  # widths before steps
        else:
            values = np.pad(values, missing, mode="edge")  # after an early stop nothing more is seen
        by_name[name] = values
    return make_curves(
        by_name.pop("loss"),
        **by_name,
        chance=CHANCE_BITS,
        frequency=unit.task_spec.frequencies,
        step=unit.evaluation_steps,
        width=unit.population.widths,
        n_parameters=[
            count_parameters(width, unit.task.n_subtasks, unit.task.n_bits, unit.population.n_hidden_layers)
            for width in unit.population.widths
        ],
        **unit.coordinates,
    )
