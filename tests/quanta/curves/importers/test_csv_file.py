import os

import numpy as np
import pandas as pd
import pytest

from quanta.curves.importers import csv_file
from quanta.curves.importers.csv_file import curves_from_csv
from quanta.curves.schema import CurvesError
from quanta.curves.tables import curves_from_table

TABLE = pd.DataFrame(
    [
        (seed, width, step, subtask, 0.9 / subtask / (1 + step) + width / 100 + 1e-17 * seed)
        for seed in (0, 1)
        for width in (4, 8)
        for step in (0, 10, 100)
        for subtask in (1, 2)
    ],
    columns=["seed", "width", "step", "subtask", "loss"],
)


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "log.csv"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return write


def test_the_same_as_the_table(write):
    text = TABLE.assign(note="a, b").to_csv(index=False)
    expected = curves_from_table(TABLE, alpha=0.4, offset=1, unit="nat", chance=0.7)
    for form in (text, "\ufeff" + text, text.replace("\n", "\r\n"), text.replace("seed,", " seed , ")):
        found = curves_from_csv(write(form), alpha=0.4, offset=1, unit="nat", chance=0.7)
        assert found.identical(expected)


def test_align(write):
    table = TABLE[(TABLE["width"] == 4) | (TABLE["step"] != 10)]
    path = write(table.to_csv(index=False))
    with pytest.raises(
        CurvesError, match=r"log.csv: step: expected .* none at 10 for seed 0, width 8; 10 for"
    ):
        curves_from_csv(path, alpha=0.4)
    assert curves_from_csv(path, alpha=0.4, align=True)["step"].values.tolist() == [0, 100]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a readable table"),
        ("a,b\n1,2\n", r"expected columns alpha, .*, found a, b"),
        ("seed;width;loss\n1;2;3\n", r"expected columns .*, found seed;width;loss"),
        ("step,subtask,width\n0,1,4\n", "table: expected a column loss, found step, subtask, width"),
        ("step,subtask,width,loss\n", "table: expected at least one row, found none"),
        (
            "step,subtask,width,loss\n0,1,4,.5\n0,2,4,oops\n",
            "line 3: loss: expected a number, found 'oops'",
        ),
        ("step,subtask,width,loss,loss\n0,1,4,.5,.5\n", "table: expected each column once, found loss twice"),
        ("step,subtask,width,loss\n0,1,4,.5\n0,2,4,.5,7,7\n", "not a readable table"),
        (b"step,subtask,width,loss\n0,1,4,\xff\n", "not a readable table"),
        (
            "step,subtask,width,loss\n0,1,4,.5\n0,2,4,\n",
            "subtask: expected the same at each step, found none of 2 for seed 0, width 4, step 0",
        ),
        ("step,subtask,width,loss\n0,1,4,.5\n,2,4,.5\n", "step: expected a number in each row, found NaN"),
        ("step,subtask,width,loss\n0,1,4,True\n", "loss: expected numbers, found type boolean"),
    ],
)
def test_refusals(write, text, message):
    with pytest.raises(CurvesError, match=f"^.*log.csv: {message}") as error:
        curves_from_csv(write(text), alpha=0.4)
    assert "\n" not in str(error.value)


def test_what_is_compressed_is_no_table(write, tmp_path):
    path = tmp_path / "log.csv.gz"
    TABLE.to_csv(path, index=False)
    with pytest.raises(CurvesError, match="not a readable table"):
        curves_from_csv(path, alpha=0.4)


def test_what_has_no_end(tmp_path):
    os.mkfifo(tmp_path / "log.csv")
    with pytest.raises(CurvesError, match="expected a plain file"):
        curves_from_csv(tmp_path / "log.csv")
    with pytest.raises(FileNotFoundError):
        curves_from_csv(tmp_path / "nowhere.csv")


def test_too_large(write, monkeypatch):
    monkeypatch.setattr(csv_file, "memory_size", lambda: 1000)
    with pytest.raises(CurvesError, match="expected at most 31 bytes, found"):
        curves_from_csv(write(TABLE.to_csv(index=False)), alpha=0.4)


def test_numbers_to_their_last_digit(write):
    values = np.random.default_rng(0).uniform(0, 1, len(TABLE))
    found = curves_from_csv(write(TABLE.assign(brier=values).to_csv(index=False)), alpha=0.4)
    assert found.identical(curves_from_table(TABLE.assign(brier=values), alpha=0.4))
