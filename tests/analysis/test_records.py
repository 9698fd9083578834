import copy
import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from quanta.analysis import judge, select, simulate
from quanta.analysis.records import Record
from quanta.analysis.verdict.statistics import measure


@dataclass(frozen=True, eq=False)
class Held(Record):
    value: Any


@dataclass(frozen=True, eq=False)
class Other(Record):
    value: Any


VALUES = [
    np.arange(3),
    np.arange(3.0),
    np.arange(4.0),
    np.array([1.0, np.nan]),
    np.array(["a"]),
    np.array([True]),
    float("nan"),
    1.5,
    "text",
    None,
    (1, np.zeros(2)),
    (1, np.ones(2)),
    [1, np.zeros(2)],
    {"a": np.zeros(2)},
    {"b": np.zeros(2)},
    xr.Dataset({"x": ("t", [1.0, np.nan])}),
    xr.Dataset({"x": ("t", [1.0, 2.0])}),
    pd.DataFrame({"x": [1.0, np.nan]}),
    Held(np.zeros(2)),
]


def test_equal_is_what_holds_equal_things():
    for i, one in enumerate(VALUES):
        for j, other in enumerate(VALUES):
            answer = Held(copy.deepcopy(one)) == Held(copy.deepcopy(other))
            assert answer is (i == j), (one, other)
            assert (Held(one) != Held(other)) is (i != j)


def test_of_another_kind():
    assert Held(1) != Other(1)
    assert Held(1) != 1


def test_has_no_hash():
    with pytest.raises(TypeError, match="unhashable"):
        hash(Held(1))


@pytest.fixture(scope="module")
def curves():
    return select(simulate("ideal", n_subtasks=16))


def test_of_traces(curves):
    one, other = (measure(curves.copy(deep=True), 0.1).base.traces["N"] for _ in range(2))
    assert (one == other) is True
    assert (one == dataclasses.replace(one, x=one.x + 1)) is False


def test_of_verdicts(curves):
    assert (judge(curves) == judge(curves.copy(deep=True))) is True
    assert (judge(curves) == judge(curves, tau=0.2)) is False
