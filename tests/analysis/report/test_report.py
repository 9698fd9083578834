"""The verdict as text, at eighty columns and at sixty."""

import dataclasses
import io

import pytest
from rich.console import Console

from quanta.analysis import judge, render, render_details, select, simulate, tabulate


@pytest.fixture(scope="module")
def verdict():
    return judge(select(simulate("domino", n_seeds=3, n_evaluations=60)))


def printed(write, width=80):
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    write(console)
    return console.file.getvalue()


def test_the_answers_come_first_and_each_claim_has_its_line(verdict):
    lines = printed(lambda console: render(verdict, console)).splitlines()
    outcomes = {name: question.outcome.upper() for name, question in verdict.questions.items()}
    assert lines[0].rstrip() == (f"simulated-domino: count {outcomes['count']}, growth {outcomes['growth']}")
    for question in verdict.questions.values():
        assert any(line.startswith(question.text) for line in lines)
        for claim in question.claims:
            if claim.statistic is not None:
                assert any(
                    line.startswith(f"  {claim.axis}: ") and f"{round(claim.statistic, 2) + 0.0:.2f}" in line
                    for line in lines
                )


@pytest.mark.parametrize("width", [60, 80, 100])
def test_no_number_is_cut(verdict, width):
    tables = tabulate(verdict.statistics, 0.9)
    for write in (
        lambda console: render(verdict, console),
        lambda console: render_details(verdict, tables, console),
    ):
        text = printed(write, width)
        assert "…" not in text
        assert max(map(len, text.splitlines())) <= width


def test_details_say_why(verdict):
    text = " ".join(printed(lambda c: render_details(verdict, tabulate(verdict.statistics, 0.9), c)).split())
    for question in verdict.questions.values():
        for claim in question.claims:
            assert " ".join(claim.why.split()) in text


def test_in_few_columns_tables_are_cut_into_blocks_and_lose_nothing(verdict):
    wide, narrow = ("".join(printed(lambda c: render(verdict, c), width).split()) for width in (100, 24))
    assert "…" not in narrow
    for question in verdict.questions.values():
        for claim in question.claims:
            assert f"{claim.axis}:" in narrow
    assert narrow.count("holds") >= wide.count("holds")
    assert narrow.count("FAILS") >= wide.count("FAILS")


@pytest.mark.parametrize(("share", "said"), [(0.9, "90%"), (0.995, "99.5%"), (0.9999999, "99.99999%")])
def test_a_confidence_is_not_rounded(verdict, share, said):
    told = dataclasses.replace(verdict, settings=verdict.settings | {"confidence": share})
    assert f"intervals: {said}, " in " ".join(printed(lambda c: render(told, c)).split())
