"""What all units of a study share, section by section: population, training and evaluation."""

import itertools
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, BeforeValidator, Field

from quanta.tasks.config import Config

MAX_WIDTH = 100_000
"""The most hidden units a layer."""

Width = Annotated[int, Field(ge=1, le=MAX_WIDTH)]


def as_tuple(value: Any) -> Any:
    """Let one value stand for an axis of length one."""
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def _check_increasing(widths: tuple[int, ...]) -> tuple[int, ...]:
    if not widths or any(low >= high for low, high in itertools.pairwise(widths)):
        raise ValueError(f"must be at least one width, in increasing order, not {list(widths)}")
    return widths


def _expand_widths(value: Any) -> Any:
    """Turn ``{from, to, count}`` into geometrically spaced widths."""
    if not isinstance(value, dict):
        return as_tuple(value)
    if value.keys() != {"from", "to", "count"} or not all(type(v) is int for v in value.values()):
        raise ValueError(f"must be a list or {{from, to, count}} in whole numbers, not {value}")
    low, high, count = value["from"], value["to"], value["count"]
    if not (1 <= low < high and 2 <= count <= high - low + 1):
        raise ValueError(f"must satisfy 1 <= from < to and 2 <= count <= to - from + 1, not {value}")
    if high > MAX_WIDTH:
        raise ValueError(f"to must be at most {MAX_WIDTH}, not {high}")
    widths = tuple(dict.fromkeys(round(width) for width in np.geomspace(low, high, count).tolist()))
    if len(widths) < count:
        raise ValueError(f"count must be at most {len(widths)} for distinct widths, not {count}")
    return widths


class PopulationSpec(Config):
    """The ladder of MLPs."""

    widths: Annotated[
        tuple[Width, ...],
        Field(fail_fast=True),
        BeforeValidator(_expand_widths),
        AfterValidator(_check_increasing),
    ]
    """Hidden units a layer: a list, or {from, to, count} for geometric spacing."""
    n_hidden_layers: int = Field(1, ge=1, le=16)
    """Hidden layers of each MLP."""


class TrainingSpec(Config):
    """How the population is trained: AdamW on fresh or repeated batches, cross-entropy loss."""

    steps: int = Field(ge=1, le=10**9)
    """Optimisation steps S."""
    batch_size: int = Field(20_000, ge=1, le=10**8)
    """Samples a step."""
    sampling: Literal["replacement", "epochs"] = "replacement"
    """How batches are taken from a finite training set: every sample drawn from it with replacement, or the
    set gone through again and again, each time in a new order, min(n_train, batch_size) samples a step and
    what is left as a smaller last batch. Online data have no end, and are the same either way."""
    patience: int | None = Field(None, ge=1, le=10**5)
    """Stop after so many evaluations in a row in which no network had a new lowest mean test loss; without
    it, never. Evaluations are closer together in the beginning, so a few are few steps there."""
    learning_rate: float = Field(1e-3, gt=0, allow_inf_nan=False)
    """Learning rate of AdamW."""
    weight_decay: float = Field(0.0, ge=0, allow_inf_nan=False)
    """Decoupled weight decay of AdamW."""
    precision: Literal["float32", "float64", "bf16", "tf32"] = "float32"
    """Floating-point type; "bf16" is float32 but for weights and errors in the products with the bits, "tf32"
    (CUDA only) but for the factors of every product."""
    freeze_first_layer: bool = False
    """Keep embedding, weight and bias of the first layer as drawn, for a control that learns no features."""


class EvaluationSpec(Config):
    """How the population is measured: on one fixed set with the same number of samples of every subtask."""

    samples_per_subtask: int = Field(256, ge=1, le=10**6)
    """Test samples of each subtask."""
    n_evaluations: int = Field(100, ge=2, le=10**5)
    """Evaluations, log-spaced over the steps; step 0 and the last included. Equal steps are merged."""
