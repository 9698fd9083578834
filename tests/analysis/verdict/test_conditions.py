"""Exponents as functions of the conditions, in worlds whose theory is known."""

import dataclasses
import functools
import json

import numpy as np
import pytest

from quanta.analysis import compare_conditions, judge, select, simulate, tabulate_conditions
from quanta.analysis.axes import N, S
from quanta.analysis.verdict.columns import CONDITION_COLUMNS
from quanta.analysis.verdict.conditions import PREDICTIONS, Compared, _errors

ALPHAS = (0.2, 0.4, 0.8)


@functools.cache
def verdict(world, alpha, n_subtasks=32):
    curves = simulate(world, alpha=alpha, n_subtasks=n_subtasks, n_seeds=4, n_evaluations=60)
    return judge(select(curves))


@functools.cache
def conditions(world):
    slices = (({"alpha": alpha, "n_subtasks": 32}, verdict(world, alpha)) for alpha in ALPHAS)
    return compare_conditions(slices)


def test_a_row_a_slice_as_its_verdict_says():
    found = conditions("ideal")
    assert [row.condition for row in found.rows] == [{"alpha": a, "n_subtasks": 32} for a in ALPHAS]
    assert (found.varied, found.exponents) == (("alpha",), ("alpha_N", "alpha_S"))
    for alpha, row in zip(ALPHAS, found.rows, strict=True):
        judged = verdict("ideal", alpha)
        assert row.outcomes == {name: question.outcome for name, question in judged.questions.items()}
        assert row.n_seeds == 4
        for name, one in row.exponents.items():
            expected = judged.exponents[name]
            assert (one.estimate, one.lower, one.upper) == (expected.estimate, expected.lower, expected.upper)
            assert (one.finite, one.infinite) == (expected.expected, expected.expected_infinite)
        assert row.exponents["alpha_N"].infinite == alpha
        assert row.exponents["alpha_S"].infinite == pytest.approx(alpha / (1 + alpha))


def test_in_a_finite_world_the_sum_over_finitely_many_predicts_best():
    errors = conditions("ideal").errors
    for name in ("alpha_N", "alpha_S"):
        assert errors[name]["n"] == 3
        assert errors[name]["finite"] < errors[name]["infinite"] / 3, name
    assert errors["alpha_S"]["finite"] < errors["alpha_S"]["serial"] / 2


def test_where_subtasks_are_learned_one_after_another_that_predicts_best():
    errors = conditions("domino").errors["alpha_S"]
    assert errors["serial"] < errors["finite"] / 2
    assert errors["serial"] < errors["infinite"] / 3


def test_with_k_the_exponent_changes_as_predicted():
    slices = [({"alpha": 0.4, "n_subtasks": n}, verdict("ideal", 0.4, n)) for n in (16, 64)]
    found = compare_conditions(slices)
    assert found.varied == ("n_subtasks",)
    [change, _] = found.changes
    assert (change.exponent, change.start["n_subtasks"], change.end["n_subtasks"]) == ("alpha_N", 16, 64)
    of_seeds = [v.statistics.here.loss_exponent(N) for _, v in slices]
    assert change.estimate == pytest.approx(of_seeds[1].mean() - of_seeds[0].mean())
    assert change.infinite == 0
    assert change.lower < change.estimate < change.upper < 0
    assert change.p_value < 0.05
    assert change.finite == pytest.approx(change.estimate, rel=0.35)


def test_changes_are_between_ends_of_one_condition_alone():
    found = conditions("ideal")
    assert [(c.exponent, c.start["alpha"], c.end["alpha"]) for c in found.changes] == [
        ("alpha_N", 0.2, 0.8),
        ("alpha_S", 0.2, 0.8),
    ]
    both = compare_conditions(
        ({"alpha": alpha, "n_subtasks": n}, verdict("ideal", alpha)) for alpha, n in ((0.2, 1), (0.4, 2))
    )
    assert (both.varied, both.changes) == (("alpha", "n_subtasks"), ())


def test_what_theories_do_not_speak_of_is_not_known(data_world):
    curves = data_world(n_seeds=3, n_subtasks=20, n_train=np.geomspace(300, 60_000, 5).round())
    found = compare_conditions([({"alpha": 0.4, "n_subtasks": 20}, judge(curves))])
    assert found.exponents == ("alpha_N", "alpha_S", "alpha_D")
    one = found.rows[0].exponents["alpha_D"]
    assert one.serial is None
    assert found.errors["alpha_D"]["serial"] is None
    assert found.errors["alpha_D"]["n"] == 1
    assert one.finite is not None
    assert one.infinite == pytest.approx(0.4 / 1.4)


def test_errors_are_over_the_slices_of_which_all_is_known():
    def compared(estimate, *predicted):
        return Compared(estimate, None, None, *predicted)

    known = [compared(1.0, 1.3, 1.0, 0.0), compared(2.0, 1.6, 2.0, 2.0)]
    unknown = [compared(None, 1, 1, 1), compared(5.0, 1, None, 1), None]
    found = _errors([*known, *unknown])
    assert found == {"infinite": pytest.approx(np.sqrt(0.125)), "finite": 0, "serial": np.sqrt(0.5), "n": 2}
    # Where no slice knows a prediction it is in nobody's way.
    assert _errors(unknown) == {"infinite": 4, "finite": None, "serial": 4, "n": 1}
    assert _errors([None]) == {"infinite": None, "finite": None, "serial": None, "n": 0}


def test_table():
    found = conditions("ideal")
    table = tabulate_conditions(found)
    assert set(table.columns) <= set(CONDITION_COLUMNS["conditions"])
    assert table["alpha"].tolist() == list(ALPHAS)
    for name in found.exponents:
        for prediction in PREDICTIONS:
            expected = [getattr(row.exponents[name], prediction) for row in found.rows]
            assert table[f"{name}_{prediction}"].tolist() == expected
    assert table["growth"].tolist() == [row.outcomes["growth"] for row in found.rows]


def test_is_plain(parse_json):
    found = conditions("ideal")
    assert parse_json(json.dumps(found.to_dict()) + "\n")["rows"][0] == dataclasses.asdict(found.rows[0])


def test_no_slice():
    with pytest.raises(ValueError, match="slices must be at least one"):
        compare_conditions([])


def test_axes_are_those_of_the_verdict():
    assert [axis.exponent for axis in (N, S)] == list(conditions("ideal").exponents)
