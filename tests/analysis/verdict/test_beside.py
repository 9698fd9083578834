import json
import math

import numpy as np
import pytest

from quanta.analysis import compare_published, select, simulate
from quanta.analysis.verdict import beside
from quanta.analysis.verdict.beside import INFINITE, OWN_FIT
from quanta.curves.dataset import make_curves

WIDTHS = (10, 30, 100, 300)


@pytest.fixture(scope="module")
def world():
    """A world of the hypothesis, of small K, that reaches the windows of α_N and α_S at width 300."""
    return simulate("ideal", alpha=0.4, widths=WIDTHS, n_seeds=4, steps=100_000, n_evaluations=80)


@pytest.fixture(scope="module")
def found(world):
    return compare_published(world)


@pytest.fixture
def no_theories(monkeypatch):
    """Simulate nothing, which takes seconds."""
    monkeypatch.setattr(beside, "THEORIES", ())


def pick(found, exponent, by, where=None):
    [one] = [
        one
        for one in found.readings
        if (one.exponent, one.by) == (exponent, by) and where in (None, one.where)
    ]
    return one


def test_what_is_there_and_what_is_left_out(found):
    rows = [(one.exponent, one.by, one.published) for one in found.readings]
    assert rows == [
        ("alpha_N", OWN_FIT, 0.38),
        ("alpha_N", "as published", 0.38),
        ("alpha_S", OWN_FIT, 0.346),
        ("alpha_S", "every 500 steps", 0.346),
        ("alpha_S", "as evaluated", 0.346),
        ("alpha_S", OWN_FIT, 0.45),
        ("beta", OWN_FIT, 0.81),
    ]
    assert found.left_out == {
        "alpha_S at width 500, steps 400-9000": "there is no width 500; the widest is 300",
        "alpha_D at width 500, D 10000-5000000": "there is no width 500; the widest is 300",
        "beta at width 500": "there is no width 500; the widest is 300",
    }
    assert [(one.steps, one.by) for one in found.windows] == [
        (steps, by)
        for steps in ((500, 15000), (400, 9000), (500, 100000))
        for by in ("every 500 steps", "as evaluated")
    ]


def test_differences_in_standard_errors(found, world):
    one = pick(found, "alpha_N", "as published")
    N = world["n_parameters"].values
    final = world["mean_loss"].values[0, 0, :, :, -1].astype(float)
    slopes = np.array([-np.polyfit(np.log(N), np.log(of_seed), 1)[0] for of_seed in final])
    assert one.measured.estimate == pytest.approx(slopes.mean(), abs=1e-6)
    assert one.difference == pytest.approx(slopes.mean() - 0.38, abs=1e-6)
    stderr = math.hypot(slopes.std(ddof=1) / 2, 0.01)
    assert one.n_stderr == pytest.approx(one.difference / stderr, rel=1e-4)
    assert one.disagrees  # K is 64 here, which makes it steeper by far
    infinite = one.predicted[INFINITE]
    assert infinite.value == 0.4
    assert infinite.n_stderr == pytest.approx((slopes.mean() - 0.4) / (slopes.std(ddof=1) / 2), rel=1e-4)
    assert infinite.disagrees


def test_a_true_theory_agrees_and_another_does_not(found):
    """Predicted is what the same reading gives on the theory's own curves."""
    for by in ("every 500 steps", "as evaluated"):
        predicted = pick(found, "alpha_S", by).predicted
        assert list(predicted) == ["multilinear", "domino", "smooth", "spectral", INFINITE]
    own = pick(found, "beta", OWN_FIT)
    assert not own.predicted["multilinear"].disagrees
    assert own.predicted["domino"].disagrees
    assert own.predicted["domino"].value == pytest.approx(1 / 1.4, abs=0.1)


def test_settings_that_differ_are_named(found):
    [note] = [note for note in found.notes if note.startswith("settings differ")]
    assert "n_subtasks 64 (500)" in note
    [note] = [note for note in found.notes if "not known" in note]
    assert "batch_size" in note


def test_one_seed_has_no_standard_error(world, no_theories):
    one = compare_published(world.isel(seed=[0]))
    assert "one seed gives no standard error" in one.notes
    for reading in one.readings:
        assert (reading.n_stderr, reading.disagrees, reading.measured.lower) == (None, None, None)
        assert reading.difference is not None
        assert all(each.n_stderr is None for each in reading.predicted.values())


def test_where_nothing_was_published(no_theories):
    found = compare_published(simulate("ideal", alpha=0.35, n_seeds=2))
    assert "nothing was published at α = 0.35" in found.notes
    assert {one.by for one in found.readings} == {OWN_FIT}
    assert {one.published for one in found.readings} == {None}
    assert found.left_out == {}
    assert pick(found, "alpha_N", OWN_FIT).predicted[INFINITE].value == 0.35


def test_short_runs_have_own_fits_alone(no_theories):
    found = compare_published(simulate("ideal", alpha=0.4, n_seeds=2))
    assert {one.by for one in found.readings} == {OWN_FIT}
    assert found.windows == ()
    assert found.left_out["alpha_N at widths 10-300, step 100000"] == "the widths are 4..128"


@pytest.mark.parametrize("alpha", [-1.0, math.nan])
def test_frequencies_of_no_published_law(alpha, no_theories):
    world = simulate("uniform", n_seeds=2)
    found = compare_published(world.assign_coords(alpha=[alpha]))
    assert any(note.startswith("nothing was published at") for note in found.notes)
    assert {one.published for one in found.readings} == {None}
    json.dumps(found.to_dict(), allow_nan=False)


def test_nothing_learned():
    flat = make_curves(
        np.ones((2, 4, 5, 8)),
        frequency=np.full(8, 1 / 8),
        step=[0, 1000, 5000, 10_000, 100_000],
        width=WIDTHS,
        n_parameters=[100, 300, 1000, 3000],
        seed=[0, 1],
        alpha=-1,
    )
    found = compare_published(select(flat))
    assert all(set(one.predicted) <= {INFINITE} for one in found.readings)
    json.dumps(found.to_dict(), allow_nan=False)


def test_is_plain_json(found):
    record = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert record["settings"] == {
        "alpha": 0.4,
        "n_subtasks": 64,
        "n_seeds": 4,
        "confidence": 0.9,
        "seed": 0,
    }
    assert record["readings"][1]["measured"]["kind"].startswith("mean over seeds")


def test_the_confidence_decides_what_disagrees(found, world, no_theories):
    with pytest.raises(ValueError, match="confidence must be between 0 and 1"):
        compare_published(world, confidence=1.0)
    surer = compare_published(world, confidence=0.999999)
    before, after = ([one.n_stderr for one in each.readings] for each in (found, surer))
    assert before == after
    assert any(one.disagrees for one in found.readings)
    assert not any(one.disagrees for one in surer.readings)


def test_a_study_that_is_text(world, no_theories):
    found = compare_published(world.assign_attrs(study="[1, 2"))
    assert found.study == "[1, 2"
    assert any(note.startswith("settings that are not known: n_bits, ") for note in found.notes)
