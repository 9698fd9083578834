"""The sections of a unit: population, training and evaluation; and those of a study that hold axes."""

import itertools
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, model_validator

from quanta.study.axes import BATCH_SIZE, LEARNING_RATE, N_BITS, N_SUBTASKS
from quanta.tasks.config import Config
from quanta.tasks.spec import NBits, NSubtasks, TaskShape, check_subsets

MAX_WIDTH = 100_000
"""The most hidden units a layer."""

Width = Annotated[int, Field(ge=1, le=MAX_WIDTH)]
BatchSize = Annotated[int, Field(ge=1, le=10**8)]
LearningRate = Annotated[float, Field(gt=0, allow_inf_nan=False)]


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
    batch_size: BatchSize = 20_000
    """Samples a step."""
    sampling: Literal["replacement", "epochs"] = "replacement"
    """How batches are taken from a finite training set: every sample drawn from it with replacement, or the
    set gone through again and again, each time in a new order, min(n_train, batch_size) samples a step and
    what is left as a smaller last batch. Online data have no end, and are the same either way."""
    patience: int | None = Field(None, ge=1, le=10**5)
    """Stop after so many evaluations in a row in which no network had a new lowest mean test loss; without
    it, never. Evaluations are closer together in the beginning, so a few are few steps there."""
    learning_rate: LearningRate = 1e-3
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
    """Evaluations over the steps; step 0 and the last included. Equal steps are merged."""
    spacing: Literal["log", "linear"] = "log"
    """How they are spaced: "log" from the last step down to the first, or "linear", evenly from step 0 to the
    last, as the paper logs: a least-squares line over those weighs late steps most."""


AS_WRITTEN = PlainSerializer(lambda values: values[0] if len(values) == 1 else values, when_used="json")
"""Write one value alone, as it was before there were lists."""

# A study's sections are those of its units, but for fields that are axes and hold all values: which mypy,
# rightly, takes for another type.


class StudyTask(TaskShape):
    """The sizes of the tasks of a study."""

    n_subtasks: Annotated[
        tuple[NSubtasks, ...],
        Field(fail_fast=True),
        BeforeValidator(as_tuple),
        AfterValidator(N_SUBTASKS.check_distinct),
        AS_WRITTEN,
    ] = (500,)  # type: ignore[assignment]
    """Axis: numbers of subtasks K. One value or a list."""
    n_bits: Annotated[
        tuple[NBits, ...],
        Field(fail_fast=True),
        BeforeValidator(as_tuple),
        AfterValidator(N_BITS.check_distinct),
        AS_WRITTEN,
    ] = (100,)  # type: ignore[assignment]
    """Axis: numbers of bits n of a sample. One value or a list."""

    @model_validator(mode="after")
    def _check_subsets(self) -> Self:
        for n_subtasks, n_bits in itertools.product(self.n_subtasks, self.n_bits):
            check_subsets(n_subtasks, n_bits, self.k)
        return self


class StudyTraining(TrainingSpec):
    """How the populations of a study are trained."""

    batch_size: Annotated[
        tuple[BatchSize, ...],
        Field(fail_fast=True),
        BeforeValidator(as_tuple),
        AfterValidator(BATCH_SIZE.check_distinct),
        AS_WRITTEN,
    ] = (20_000,)  # type: ignore[assignment]
    """Axis: samples a step. One value or a list."""
    learning_rate: Annotated[
        tuple[LearningRate, ...],
        Field(fail_fast=True),
        BeforeValidator(as_tuple),
        AfterValidator(LEARNING_RATE.check_distinct),
        AS_WRITTEN,
    ] = (1e-3,)  # type: ignore[assignment]
    """Axis: learning rates of AdamW. One value or a list."""
