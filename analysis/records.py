"""Records of results, which compare by what they hold."""

import math
from dataclasses import fields
from typing import Any

import numpy as np


class Record:
    """Base of a dataclass that is equal to another of its kind if all that it holds is equal.

    To be decorated by ``@dataclass(frozen=True, eq=False)``. Arrays are equal if type, shape and values are,
    tables and curves likewise; NaN is equal to NaN, since it is the same result.
    """

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        names = [field.name for field in fields(self) if field.compare]  # type: ignore[arg-type]
        return all(_equal(getattr(self, name), getattr(other, name)) for name in names)

    __hash__ = None  # type: ignore[assignment]


def _equal(one: Any, other: Any) -> bool:
    if one is other:
        return True
    if type(one) is not type(other):
        return False
    if isinstance(one, np.ndarray):
        is_number = one.dtype.kind in "fc"
        return one.dtype == other.dtype and np.array_equal(one, other, equal_nan=is_number)
    if isinstance(one, dict):
        return list(one) == list(other) and all(_equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_equal, one, other))
    if isinstance(one, float):
        return one == other or (math.isnan(one) and math.isnan(other))
    for name in ("identical", "equals"):  # of xarray, of pandas
        if hasattr(one, name):
            return bool(getattr(one, name)(other))
    return bool(one == other)
