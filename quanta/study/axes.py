"""The axes of a study, which are what its units differ in: one table for all who need to list them.

A *condition* decides which law holds, and one value of each condition is a *slice*. With more of a *resource*
more is learned, so all of it lies inside a slice. A *replicate* is the same again with other random numbers.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Value = int | float | str
"""What stands on an axis: a number, or a word for one."""


@dataclass(frozen=True)
class StudyAxis:
    """One axis of a study.

    Attributes
    ----------
    name : str
        Of the field in a study (all values) and in a unit (one of them), of a condition, and in `--at`.
    role : {"condition", "resource", "replicate"}
    symbol : str
        How it is printed.
    section : str, optional
        The section of a study that the field is in; without one it stands at the top, and is a dimension of
        Curves too.
    in_ids : str, optional
        Its name in the ids of units. They are names of folders, so it must not change. Of an axis without
        one, the hash at their end tells.
    words : mapping of str to float
        Words among its values, and the coordinate in Curves that each stands for.
    is_whole : bool
        Whether its numbers are whole.
    """

    name: str
    role: Literal["condition", "resource", "replicate"]
    symbol: str
    section: str | None = None
    in_ids: str | None = None
    words: Mapping[str, float] = field(default_factory=dict)
    is_whole: bool = True

    @property
    def path(self) -> str:
        """Where the field is, as in `--set`."""
        return self.name if self.section is None else f"{self.section}.{self.name}"

    def of(self, holder: Any) -> Any:
        """Read the field: of a unit its value, of a study all values."""
        return getattr(holder if self.section is None else getattr(holder, self.section), self.name)

    def coordinate(self, value: Value) -> int | float:
        """Turn a value of a study, which has been validated, into its coordinate in Curves."""
        return self.words[value] if isinstance(value, str) else value

    def check_distinct(self, values: tuple[Value, ...]) -> tuple[Value, ...]:
        """Return the values of a study, or raise ValueError unless each has a place of its own in Curves."""
        if not values or len(set(map(self.coordinate, values))) != len(values):
            raise ValueError(f"must be at least one value, each once, not {list(values)}")
        return values


ALPHA = StudyAxis("alpha", "condition", "α", in_ids="alpha", words={"uniform": -1.0}, is_whole=False)
"""Quanta exponent. Uniform frequencies are Zipf's law at α = -1."""

N_SUBTASKS = StudyAxis("n_subtasks", "condition", "K", section="task")
"""Number of subtasks."""

N_BITS = StudyAxis("n_bits", "condition", "bits", section="task")
"""Bits of a sample."""

BATCH_SIZE = StudyAxis("batch_size", "condition", "batch", section="training")
"""Samples a step."""

LEARNING_RATE = StudyAxis("learning_rate", "condition", "learning rate", section="training", is_whole=False)
"""Of AdamW."""

N_TRAIN = StudyAxis("n_train", "resource", "D", in_ids="n_train", words={"online": math.inf})
"""Distinct training examples D. They never end where every batch is fresh."""

SEED = StudyAxis("seed", "replicate", "seed", in_ids="seed")

STUDY_AXES = (ALPHA, N_SUBTASKS, N_BITS, BATCH_SIZE, LEARNING_RATE, N_TRAIN, SEED)
"""All of them, in the order in which units are listed, and which ids and the dimensions of Curves have."""

CONDITIONS = tuple(axis for axis in STUDY_AXES if axis.role == "condition")
CURVES_AXES = tuple(axis for axis in STUDY_AXES if axis.section is None)
"""Those that are dimensions of Curves, and fields at the top of a study."""


def symbol_of(condition: str) -> str:
    """Return how a condition is printed, by its name; that itself if it is none of ours."""
    return next((axis.symbol for axis in CONDITIONS if axis.name == condition), condition)
