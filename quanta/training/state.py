"""Whether the state of a unit on its way, whoever wrote it, can be one that training left."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from quanta.curves.schema import VARIABLES
from quanta.study.spec import UnitSpec
from quanta.tasks.errors import QuantaError


class StateError(QuantaError):
    """A state that is not one of this unit."""


def check_samples_seen(unit: UnitSpec, samples_seen: Tensor, n_steps: int, total: int) -> None:
    """Raise ValueError unless these can be the samples of the batches up to a step, so many in all."""
    found = (samples_seen.dtype, tuple(samples_seen.shape))
    if found != (torch.int64, (unit.task.n_subtasks,)):
        raise ValueError(f"its samples_seen have the type and shape {found}")
    if samples_seen.min() < 0 or samples_seen.sum() != total:
        raise ValueError(f"its samples_seen are not the {total} up to step {n_steps}")


def check_measured(unit: UnitSpec, measured: Mapping[str, NDArray[Any]], n_steps: int) -> None:
    """Raise ValueError unless these are the evaluations up to a step; that at the step may be to come."""
    n_before = int((unit.evaluation_steps < n_steps).sum())
    if n_before == 0 and not measured:
        return
    K, G = unit.task.n_subtasks, len(unit.population.widths)
    shapes = {"loss": (G, K), "accuracy": (G, K), "brier": (G, K), "samples_seen": (K,)}
    shapes |= {"examples_seen": (K,)} if unit.n_train != "online" else {}
    shapes |= {"selection_loss": (G, K), "reported_loss": (G, K)} if unit.has_halves else {}
    expected = {name: (VARIABLES[name].dtype, shape) for name, shape in shapes.items()}
    found = {name: (str(values.dtype), values.shape[1:]) for name, values in measured.items()}
    counts = {len(values) for values in measured.values()}
    if found != expected or len(counts) > 1 or not counts <= {n_before, n_before + 1}:
        raise ValueError(f"its evaluations are not those up to step {n_steps}")
    for name, values in measured.items():
        if not (np.isfinite(values) & (values >= 0) & (values <= VARIABLES[name].upper)).all():
            raise ValueError(f"its evaluations of {name} are not from 0 to {VARIABLES[name].upper:g}")
