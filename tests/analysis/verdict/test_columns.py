import csv

import pandas as pd
import pytest

from quanta.analysis import judge, select, simulate, tabulate
from quanta.analysis.theories.worlds import WORLDS
from quanta.analysis.verdict.columns import COLUMNS, tabulate_columns


@pytest.mark.parametrize("world", ["ideal", "spectral", "uniform"])
def test_every_column_of_every_table_has_a_meaning_and_no_other(world):
    assert world in WORLDS
    curves = select(simulate(world, n_subtasks=16, n_seeds=2))
    tables = tabulate(judge(curves).statistics, 0.9)
    assert COLUMNS.keys() == tables.keys()
    for name, table in tables.items():
        if len(table.columns):  # of nothing there are no columns
            assert set(table.columns) == set(COLUMNS[name]), name


def test_each_is_one_line_with_a_unit():
    for columns in COLUMNS.values():
        for meaning, unit in columns.values():
            assert meaning.isprintable()
            assert meaning.strip() == meaning != ""
            assert unit.isprintable()
            assert unit


def test_they_stand_beside_the_tables(run, copied):
    run("analyze", copied)
    with open(copied / "analysis" / "columns.csv", encoding="utf-8", newline="") as file:
        told = {(row["table"], row["column"]): row for row in csv.DictReader(file)}
    assert len(told) == len(tabulate_columns())
    files = [path for path in (copied / "analysis").glob("*.csv") if path.name != "columns.csv"]
    assert len(files) == len(COLUMNS)
    for path in files:
        if path.read_text().strip():
            for column in pd.read_csv(path).columns:
                assert told[path.stem, column]["meaning"]
    assert "counted from 1" in told["q_sequence", "subtask"]["meaning"]
