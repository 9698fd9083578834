"""The axes of a study, which are what its units differ in: one table for all who need to list them.

A *condition* decides which law holds, and one value of each condition is a *slice*. With more of a *resource*
more is learned, so all of it lies inside a slice. A *replicate* is the same again with other random numbers.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Value = int | float | str
"""What stands on an axis: a number, or a word for one."""


@dataclass(frozen=True)
class StudyAxis:
    """One axis of a study.

    Attributes
    ----------
    name : str
        Of the field in a study (all values) and in a unit (one of them), and of the dimension of Curves.
    in_ids : str
        Its name in the ids of units. They are names of folders, so it must not change.
    role : {"condition", "resource", "replicate"}
    words : mapping of str to float
        Words among its values, and the coordinate in Curves that each stands for.
    """

    name: str
    in_ids: str
    role: Literal["condition", "resource", "replicate"]
    words: Mapping[str, float] = field(default_factory=dict)

    def coordinate(self, value: Value) -> int | float:
        """Turn a value of a study, which has been validated, into its coordinate in Curves."""
        return self.words[value] if isinstance(value, str) else value

    def check_distinct(self, values: tuple[Value, ...]) -> tuple[Value, ...]:
        """Return the values of a study, or raise ValueError unless each has a place of its own in Curves."""
        if not values or len(set(map(self.coordinate, values))) != len(values):
            raise ValueError(f"must be at least one value, each once, not {list(values)}")
        return values


ALPHA = StudyAxis("alpha", "alpha", "condition", {"uniform": -1.0})
"""Quanta exponent. Uniform frequencies are Zipf's law at α = -1."""

N_TRAIN = StudyAxis("n_train", "n_train", "resource", {"online": math.inf})
"""Distinct training examples D. They never end where every batch is fresh."""

SEED = StudyAxis("seed", "seed", "replicate")

STUDY_AXES = (ALPHA, N_TRAIN, SEED)
"""All of them, in the order that ids and the dimensions of Curves have."""
